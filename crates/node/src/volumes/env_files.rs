//! Files of variables in emptyDir volumes, which earlier containers of the pod wrote, for `valueFrom.fileKeyRef`.

use super::{Volumes, beneath};
use crate::env::file::{self, Found};
use k8s_openapi::api::core::v1::{Container, FileKeySelector, Pod};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// A file that a container takes variables from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnvFile {
    /// On the host.
    pub path: PathBuf,
    /// Those that were asked for and found.
    pub values: BTreeMap<String, String>,
    /// It is missing, or what follows in it is wrong.
    pub is_damaged: bool,
}

/// By volume and path in it.
pub type EnvFiles = BTreeMap<(String, String), EnvFile>;

impl Volumes {
    /// The files as they are now; to be called at each start of the container.
    pub fn env_files(&self, pod: &Pod, container: &Container) -> EnvFiles {
        let mut wanted: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for reference in references(container) {
            let file = (reference.volume_name.as_str(), reference.path.as_str());
            wanted.entry(file).or_default().insert(&reference.key);
        }
        let mut files = EnvFiles::new();
        for ((volume, path), keys) in wanted {
            if let Some(root) = self.empty_dir(pod, volume) {
                files.insert((volume.to_owned(), path.to_owned()), read(&root, path, &keys));
            }
        }
        files
    }

    fn empty_dir(&self, pod: &Pod, name: &str) -> Option<PathBuf> {
        let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volume = volumes.find(|volume| volume.name == name && volume.empty_dir.is_some())?;
        self.host_path(pod, volume, &super::Sources::default())
    }
}

/// Whether a container needs `Volumes::env_files` at all.
pub fn needs_env_files(container: &Container) -> bool {
    references(container).next().is_some()
}

fn references(container: &Container) -> impl Iterator<Item = &FileKeySelector> {
    let sources = container
        .env
        .iter()
        .flatten()
        .filter_map(|v| v.value_from.as_ref());
    sources.filter_map(|source| source.file_key_ref.as_ref())
}

fn read(root: &Path, path: &str, keys: &BTreeSet<&str>) -> EnvFile {
    let found = match beneath::open_file(root, Path::new(path)) {
        Ok(opened) => file::read(BufReader::new(opened), keys),
        Err(error) => Found {
            error: Some(error.into()),
            ..Found::default()
        },
    };
    let on_host = root.join(path);
    if let Some(error) = &found.error {
        // The pod's own message says no more than that it is so.
        tracing::warn!(file = %on_host.display(), %error, "a file of variables cannot be used");
    }
    EnvFile {
        path: on_host,
        values: found.values,
        is_damaged: found.error.is_some(),
    }
}
