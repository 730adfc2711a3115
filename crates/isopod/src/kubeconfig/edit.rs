//! Changes to a kubeconfig: one context a cluster, added by `up` and taken away by `rm`; all else in the file stays.

use super::{context_name, to_yaml};
use crate::place::write_atomic;
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a kubeconfig holds, as client-go's `clientcmd` has it.
const LISTS: [&str; 3] = ["clusters", "users", "contexts"];
const OTHERS: [&str; 5] = [
    "apiVersion",
    "kind",
    "preferences",
    "current-context",
    "extensions",
];
/// The extension that says that the file was not there before; kubectl keeps extensions.
const MADE: &str = "isopod.dev/made-this-file";
/// As many links are followed as the kernel does.
const LINKS_MAX: usize = 40;

/// The kubeconfig at `path`; `None` where nothing is.
pub fn read(path: &Path) -> Result<Option<Value>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let none = || {
        let shown = path.display();
        format!("{shown} is not a kubeconfig; repair it, or name another file: --kubeconfig FILE")
    };
    let value: Value = serde_saphyr::from_str(&text).with_context(none)?;
    judge(&value)
        .map_err(|why| anyhow::anyhow!(why))
        .with_context(none)?;
    Ok(Some(value))
}

/// Refuses what kubectl would refuse, and what would be lost or spoilt if it were taken for a kubeconfig.
fn judge(value: &Value) -> Result<(), String> {
    let Some(fields) = value.as_object() else {
        return Err("it is no map".into());
    };
    for (field, wanted) in [("apiVersion", "v1"), ("kind", "Config")] {
        let found = &value[field];
        if !(found.is_null() || found == wanted || found == "") {
            return Err(format!("its {field} is {found}, not {wanted:?}"));
        }
    }
    for (field, content) in fields {
        if LISTS.contains(&field.as_str()) {
            let named = |entries: &Vec<Value>| entries.iter().all(|entry| entry["name"].is_string());
            if !(content.is_null() || content.as_array().is_some_and(named)) {
                return Err(format!("its {field} are no list of things with a name"));
            }
        } else if !OTHERS.contains(&field.as_str()) {
            return Err(format!("it has a field {field:?}"));
        }
    }
    Ok(())
}

/// Whether `add` can work on this file: told before a server is started.
pub fn check(path: &Path) -> Result<()> {
    read(path).map(|_| ())
}

/// Puts the cluster's entries in, replacing older ones of the same name, and makes its context the current one.
pub fn add(path: &Path, cluster: &str, own: &Value) -> Result<()> {
    let path = behind_links(path)?;
    let _alone = lock(&path)?;
    let name = context_name(cluster);
    let mut config = match read(&path)? {
        Some(config) => config,
        None => {
            let mut new = own.clone();
            for list in LISTS {
                new[list] = json!([]);
            }
            if !path.exists() {
                new["extensions"] = json!([{"name": MADE, "extension": {}}]);
            }
            new
        }
    };
    for list in LISTS {
        let mut entries = config[list].as_array().cloned().unwrap_or_default();
        entries.retain(|entry| entry["name"] != *name);
        entries.extend(own[list].as_array().cloned().unwrap_or_default());
        config[list] = entries.into();
    }
    config["current-context"] = name.into();
    write_atomic(&path, to_yaml(&config)?.as_bytes(), 0o600)
}

/// Takes the cluster's entries out. A file that was not there before `add` goes away with its last entry.
pub fn remove(path: &Path, cluster: &str) -> Result<()> {
    let path = behind_links(path)?;
    if !path.exists() {
        return Ok(());
    }
    let _alone = lock(&path)?;
    let Some(mut config) = read(&path)? else {
        return Ok(());
    };
    let name = context_name(cluster);
    let mut left = 0;
    for list in LISTS {
        if let Some(entries) = config.get_mut(list).and_then(Value::as_array_mut) {
            entries.retain(|entry| entry["name"] != *name);
            left += entries.len();
        }
    }
    if config["current-context"] == *name {
        config["current-context"] = "".into();
    }
    let extensions = config["extensions"].as_array();
    let ours = extensions.is_some_and(|all| all.len() == 1 && all[0]["name"] == MADE);
    if left > 0 || !ours {
        return write_atomic(&path, to_yaml(&config)?.as_bytes(), 0o600);
    }
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

/// The file that a path means, through symbolic links, also where it is not there yet: the links stay.
fn behind_links(path: &Path) -> Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..LINKS_MAX {
        let Ok(target) = std::fs::read_link(&path) else {
            return Ok(path);
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    bail!("{} is a circle of symbolic links", path.display())
}

/// Keeps another `isopod` from changing a file of this folder meanwhile: what it wrote would be lost.
fn lock(path: &Path) -> Result<Flock<File>> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let locked = File::open(folder)
        .and_then(|file| Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error.into()));
    locked.with_context(|| format!("cannot lock {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Value {
        json!({"clusters": [{"name": "isopod-a"}], "users": [{"name": "isopod-a"}], "contexts": [{"name": "isopod-a"}]})
    }

    #[test]
    fn what_others_put_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        let theirs = "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster: {server: https://prod}\n\
            contexts:\n- name: prod\n  context: {cluster: prod, user: me}\ncurrent-context: prod\nusers:\n- name: me\n  user: {token: x}\n";
        std::fs::write(&path, theirs).expect("written");
        add(&path, "a", &own()).expect("added");
        add(&path, "a", &own()).expect("added once more");
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
        add(&path, "a", &own()).expect("added");
        remove(&path, "a").expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn an_empty_one_that_was_there_before_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        for content in ["", "apiVersion: v1\nkind: Config\n", "clusters: null\n"] {
            let path = folder.path().join("config");
            std::fs::write(&path, content).expect("written");
            add(&path, "a", &own()).expect("added");
            remove(&path, "a").expect("removed");
            assert!(path.exists(), "{content:?}");
        }
    }

    #[test]
    fn what_is_no_kubeconfig_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("values.yaml");
        for content in [
            "][",
            "- 1",
            "replicas: 3\nimage: {repository: x}\n",
            "apiVersion: apps/v1\nkind: StatefulSet\n",
            "apiVersion: v1\nkind: ConfigMap\n",
            "clusters: 5\n",
            "kind: Config\ncontexts: [{context: {}}]\n",
        ] {
            std::fs::write(&path, content).expect("written");
            for told in [check(&path), add(&path, "a", &own()), remove(&path, "a")] {
                let error = told.expect_err(content);
                assert!(error.to_string().contains("is not a kubeconfig"), "{error}");
            }
            assert_eq!(std::fs::read_to_string(&path).expect("reads"), content);
        }
    }

    #[test]
    fn links_stay_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, dotfile) = (folder.path().join("config"), folder.path().join("dot/file"));
        std::os::unix::fs::symlink("dot/file", &link).expect("linked");
        add(&link, "a", &own()).expect("added through a link to nothing");
        assert!(dotfile.exists());
        remove(&link, "a").expect("removed");
        assert!(!dotfile.exists());
        assert!(link.is_symlink());
        std::os::unix::fs::symlink("circle", folder.path().join("circle")).expect("linked");
        add(&folder.path().join("circle"), "a", &own()).expect_err("a circle");
    }

    #[test]
    fn two_at_once_both_stand_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::thread::scope(|scope| {
            for cluster in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let name = context_name(&cluster.to_string());
                    let own = json!({"clusters": [{"name": name}], "users": [], "contexts": []});
                    add(path, &cluster.to_string(), &own).expect("added");
                });
            }
        });
        let all = read(&path).expect("reads").expect("is there");
        assert_eq!(all["clusters"].as_array().map(Vec::len), Some(8));
    }
}
