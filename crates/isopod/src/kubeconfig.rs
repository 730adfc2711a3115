//! The user's kubeconfig: what `isopod` puts there, and how a cluster is reached by what stands there.

mod edit;

pub use edit::{add, check, remove};

use crate::pki::{Identity, Pki};
use crate::place::Place;
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
        let config = edit::read(path)?.with_context(|| format!("there is no kubeconfig {shown}"))?;
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
