//! The user's kubeconfig: one context a cluster, added by `up` and taken away by `rm`; all else in the file stays.

use crate::pki::{Identity, Pki};
use crate::place::{Place, write_atomic};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The context, cluster and user of a cluster.
pub fn context_name(cluster: &str) -> String {
    format!("isopod-{cluster}")
}

/// Where kubectl looks: the first file of `KUBECONFIG`, or `~/.kube/config`.
pub fn default_path() -> Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG") {
        let first = std::env::split_paths(&list).find(|p| !p.as_os_str().is_empty());
        if let Some(first) = first {
            return Ok(std::path::absolute(first)?);
        }
    }
    let home =
        std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set; say --kubeconfig FILE")?;
    Ok(Path::new(&home).join(".kube/config"))
}

/// How a cluster's API is reached.
pub struct Access {
    /// `https://host:port`
    pub server: String,
    pub ca: String,
    pub identity: Option<Identity>,
    pub token: Option<String>,
    /// Of the context, where it has one.
    pub namespace: Option<String>,
}

impl Access {
    /// From the cluster's own folder, which only root may read.
    pub fn of_place(place: &Place) -> Result<Self> {
        let settings = place.settings()?;
        let (ca, admin) = Pki::read_admin(place)?;
        Ok(Self {
            server: format!("https://127.0.0.1:{}", settings.api_port),
            ca,
            identity: Some(admin),
            token: None,
            namespace: None,
        })
    }

    /// From a context of a kubeconfig; the current one when none is named.
    pub fn of_file(path: &Path, context: Option<&str>) -> Result<Self> {
        let shown = path.display();
        let config = read(path)?.with_context(|| format!("there is no kubeconfig {shown}"))?;
        let context = match context
            .or(config["current-context"].as_str())
            .filter(|c| !c.is_empty())
        {
            Some(context) => context.to_string(),
            None => bail!("{shown} has no current context; name one: --context NAME"),
        };
        let entry = |list: &str, name: &str| {
            let entries = config[list].as_array()?;
            entries.iter().find(|e| e["name"] == name).cloned()
        };
        let missing = |what: &str, name: &str| {
            format!(
                "{shown} has no {what} {name:?}; bring the cluster up (isopod up), or name another context: --context NAME"
            )
        };
        let chosen =
            entry("contexts", &context).with_context(|| missing("context", &context))?["context"].take();
        let name = chosen["cluster"].as_str().unwrap_or_default();
        let cluster = entry("clusters", name).with_context(|| missing("cluster", name))?["cluster"].take();
        let name = chosen["user"].as_str().unwrap_or_default();
        let user = entry("users", name).with_context(|| missing("user", name))?["user"].take();
        let folder = path.parent().unwrap_or(Path::new("."));
        let pem = |object: &Value, key: &str| pem(object, key, folder).with_context(|| format!("in {shown}"));
        let identity = match (pem(&user, "client-certificate")?, pem(&user, "client-key")?) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            _ => None,
        };
        let server = cluster["server"].as_str();
        Ok(Self {
            server: server
                .with_context(|| format!("{shown} says no server for {context}"))?
                .to_string(),
            ca: pem(&cluster, "certificate-authority")?
                .with_context(|| format!("{shown} has no certificate-authority for {context}"))?,
            identity,
            token: user["token"].as_str().map(str::to_string),
            namespace: chosen["namespace"].as_str().map(str::to_string),
        })
    }
}

/// `KEY-data` in base64, or the file that `KEY` names.
fn pem(object: &Value, key: &str, folder: &Path) -> Result<Option<String>> {
    let data_key = format!("{key}-data");
    if let Some(data) = object[&data_key].as_str() {
        let bytes = STANDARD
            .decode(data)
            .with_context(|| format!("{data_key} is no base64"))?;
        return Ok(Some(
            String::from_utf8(bytes).with_context(|| format!("{data_key} is no text"))?,
        ));
    }
    let Some(file) = object[key].as_str() else {
        return Ok(None);
    };
    let file = folder.join(file);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(text))
}

/// A kubeconfig with this cluster alone.
pub fn config(cluster: &str, port: u16, ca: &str, admin: &Identity) -> Value {
    let name = context_name(cluster);
    json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {},
        "clusters": [{"name": name, "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": STANDARD.encode(ca),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": STANDARD.encode(&admin.certificate),
            "client-key-data": STANDARD.encode(&admin.key),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    })
}

pub fn to_yaml(config: &Value) -> Result<String> {
    serde_saphyr::to_string(config).context("cannot print the kubeconfig")
}

fn read(path: &Path) -> Result<Option<Value>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let value: Value = serde_saphyr::from_str(&text).with_context(|| {
        format!(
            "{} is not a kubeconfig; repair it, or name another file: --kubeconfig FILE",
            path.display()
        )
    })?;
    if !value.is_object() {
        bail!(
            "{} is not a kubeconfig; repair it, or name another file: --kubeconfig FILE",
            path.display()
        );
    }
    Ok(Some(value))
}

fn write(path: &Path, config: &Value) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    write_atomic(path, to_yaml(config)?.as_bytes(), 0o600)
}

/// Whether `add` can work on this file: told before a server is started.
pub fn check(path: &Path) -> Result<()> {
    read(path).map(|_| ())
}

const LISTS: [&str; 3] = ["clusters", "users", "contexts"];

/// Puts the cluster's entries in, replacing older ones of the same name, and makes its context the current one.
pub fn add(path: &Path, cluster: &str, own: &Value) -> Result<()> {
    let Some(mut config) = read(path)? else {
        return write(path, own);
    };
    let name = context_name(cluster);
    for list in LISTS {
        let mut entries = config
            .get(list)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        entries.retain(|entry| entry.get("name").and_then(Value::as_str) != Some(&name));
        entries.extend(own[list].as_array().cloned().unwrap_or_default());
        config[list] = entries.into();
    }
    config["current-context"] = name.into();
    write(path, &config)
}

/// Takes the cluster's entries out. A file in which nothing is left goes away, since it was ours.
pub fn remove(path: &Path, cluster: &str) -> Result<()> {
    let Some(mut config) = read(path)? else {
        return Ok(());
    };
    let name = context_name(cluster);
    let mut left = 0;
    for list in LISTS {
        if let Some(entries) = config.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(|entry| entry.get("name").and_then(Value::as_str) != Some(&name));
            left += entries.len();
        }
    }
    if config.get("current-context").and_then(Value::as_str) == Some(&name) {
        config["current-context"] = "".into();
    }
    if left > 0 {
        return write(path, &config);
    }
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_put_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        let theirs = "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster: {server: https://prod}\n\
            contexts:\n- name: prod\n  context: {cluster: prod, user: me}\ncurrent-context: prod\nusers:\n- name: me\n  user: {token: x}\n";
        std::fs::write(&path, theirs).expect("written");
        let own = json!({"clusters": [{"name": "isopod-a"}], "users": [{"name": "isopod-a"}], "contexts": [{"name": "isopod-a"}]});
        add(&path, "a", &own).expect("added");
        add(&path, "a", &own).expect("added once more");
        let both = read(&path).expect("reads").expect("is there");
        assert_eq!(both["clusters"].as_array().map(Vec::len), Some(2));
        assert_eq!(both["current-context"], "isopod-a");
        remove(&path, "a").expect("removed");
        let left = read(&path).expect("reads").expect("is there");
        assert_eq!(left["clusters"][0]["name"], "prod");
        assert_eq!(left["users"][0]["user"]["token"], "x");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_ours_alone_goes_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/config");
        let own = json!({"clusters": [{"name": "isopod-a"}], "users": [], "contexts": []});
        add(&path, "a", &own).expect("added");
        remove(&path, "a").expect("removed");
        assert!(!path.exists());
        std::fs::write(&path, "][").expect("written");
        let error = add(&path, "a", &own).expect_err("not a kubeconfig");
        assert!(error.to_string().contains("is not a kubeconfig"), "{error}");
    }
}
