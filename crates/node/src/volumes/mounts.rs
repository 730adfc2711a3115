//! What is mounted where in a container: its volumeMounts, with subPaths pinned by a bind mount of the checked folder.

use super::{Sources, VolumeError, Volumes, beneath};
use crate::env::expand;
use crate::images::{fd_path, unmount};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use nix::mount::{MsFlags, mount};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How mounts made later on one side are seen on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// `None`: not at all.
    Private,
    HostToContainer,
    Bidirectional,
}

/// A bind mount of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub source: PathBuf,
    pub destination: PathBuf,
    pub read_only: bool,
    /// … and all that is mounted below.
    pub recursive_read_only: bool,
    pub propagation: Propagation,
}

/// Whether a mount is read-only with all that lies below it. `IfPossible` always is: the kernels that run isopod can.
pub fn is_recursively_read_only(wanted: &VolumeMount) -> bool {
    let mode = wanted.recursive_read_only.as_deref();
    wanted.read_only == Some(true) && matches!(mode, Some("Enabled" | "IfPossible"))
}

impl Volumes {
    /// The mounts of a container of a pod that is set up, in the order in which they must be made. `env` is the
    /// container's resolved environment, for subPathExpr. To be called at each start of the container.
    pub fn mounts(
        &self,
        pod: &Pod,
        container: &Container,
        sources: &Sources,
        env: &[(String, String)],
    ) -> Result<Vec<Mount>, VolumeError> {
        let mut mounts = Vec::new();
        for (place, wanted) in container.volume_mounts.iter().flatten().enumerate() {
            let made = self.mount_of(pod, container, wanted, place, sources, env);
            mounts.push(made.map_err(|why| VolumeError::Mount {
                volume: wanted.name.clone(),
                container: container.name.clone(),
                why,
            })?);
        }
        // Outer before inner: a mount on /data must not hide one on /data/cache.
        mounts.sort_by_key(|mount| mount.destination.components().count());
        Ok(mounts)
    }

    fn mount_of(
        &self,
        pod: &Pod,
        container: &Container,
        wanted: &VolumeMount,
        place: usize,
        sources: &Sources,
        env: &[(String, String)],
    ) -> Result<Mount, String> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volume = volumes.into_iter().find(|volume| volume.name == wanted.name);
        let volume = volume.ok_or_else(|| format!("the pod has no volume \"{}\"", wanted.name))?;
        let root = self
            .host_path(pod, volume, sources)
            .ok_or("the volume is not set up")?;
        let sub_path = sub_path(wanted, env)?;
        let source = match sub_path.as_str() {
            "" => root,
            path => self.pin(pod, container, &wanted.name, place, &root, path)?,
        };
        let claim_read_only = volume
            .persistent_volume_claim
            .as_ref()
            .and_then(|claim| claim.read_only);
        let from_api = super::payload::kind(volume).is_some();
        Ok(Mount {
            source,
            destination: PathBuf::from(&wanted.mount_path),
            // Files from the API are the API's: always read-only, as upstream.
            read_only: from_api || wanted.read_only == Some(true) || claim_read_only == Some(true),
            recursive_read_only: is_recursively_read_only(wanted),
            propagation: match wanted.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        })
    }

    /// Binds what the subPath means now to a place of the pod's own, which no container can change any more.
    fn pin(
        &self,
        pod: &Pod,
        container: &Container,
        volume: &str,
        place: usize,
        root: &Path,
        sub_path: &str,
    ) -> Result<PathBuf, String> {
        if sub_path.starts_with('/') {
            return Err(format!("subPath {sub_path:?} must not be an absolute path"));
        }
        let handle = beneath::open_or_make(root, Path::new(sub_path))
            .map_err(|e| format!("subPath {sub_path:?}: {e}"))?;
        let above = self
            .pod_dir(pod)
            .join("volume-subpaths")
            .join(volume)
            .join(&container.name);
        let target = above.join(place.to_string());
        let bind = || -> io::Result<()> {
            fs::create_dir_all(&above)?;
            unmount(&target).map_err(io::Error::other)?; // of the container's last run
            let is_dir = fs::metadata(fd_path(&handle))?.is_dir();
            remove_target(&target)?;
            match is_dir {
                true => fs::create_dir(&target)?,
                false => drop(fs::File::create(&target)?),
            }
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            Ok(mount(
                Some(&fd_path(&handle)),
                &target,
                None::<&str>,
                flags,
                None::<&str>,
            )?)
        };
        bind().map_err(|e| format!("subPath {sub_path:?}: {e}"))?;
        Ok(target)
    }
}

fn sub_path(wanted: &VolumeMount, env: &[(String, String)]) -> Result<String, String> {
    let Some(expression) = wanted
        .sub_path_expr
        .as_deref()
        .filter(|expression| !expression.is_empty())
    else {
        return Ok(wanted.sub_path.clone().unwrap_or_default());
    };
    let missing = RefCell::new(None);
    let path = expand(expression, |name| {
        let value = env
            .iter()
            .rfind(|(n, _)| n == name)
            .map(|(_, value)| value.clone());
        if value.is_none() {
            missing.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        value
    });
    match missing.into_inner() {
        Some(name) => Err(format!("subPathExpr {expression:?}: missing value for {name:?}")),
        None => Ok(path),
    }
}

/// Never recursive: should it still be a mount of a claim, then its data must not go.
fn remove_target(target: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_dir() => fs::remove_dir(target),
        Ok(_) => fs::remove_file(target),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the (unmounted) places of subPaths: volume, container, number.
pub(super) fn remove_subpaths(root: &Path) -> io::Result<()> {
    remove_level(root, 2)
}

fn remove_level(dir: &Path, levels_below: usize) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        match levels_below {
            0 => remove_target(&path)?,
            _ => remove_level(&path, levels_below - 1)?,
        }
    }
    fs::remove_dir(dir)
}
