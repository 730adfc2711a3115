//! Volumes of pods on this node: set up under `<data>/pods/<uid>/volumes/<kind>/<name>`, kept up to date, mounted into
//! containers, torn down. Blocking (disk). Secrets, tokens and what the downward API gives lie on a tmpfs a volume, as
//! upstream: they never reach the disk that way.

mod atomic;
mod beneath;
pub mod downward;
mod env_files;
pub mod files;
mod hostpath;
mod mounts;
mod ownership;
mod payload;
mod tmpfs;

pub use downward::Facts;
pub use env_files::{EnvFile, EnvFiles, needs_env_files};
pub use hostpath::check as check_host_path;
pub use mounts::{Mount, Propagation, is_recursively_read_only};
pub use payload::{Needed, TokenRequest, needed};

use crate::images::{remove_any, unmount};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, EmptyDirVolumeSource, Pod, Secret, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The objects that a pod's volumes and environment refer to, as the caller fetched them. What is not in here does not
/// exist. `needed` says what a pod refers to.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub secrets: BTreeMap<String, Secret>,
    /// By claim name: the host folder of the bound volume.
    pub claims: BTreeMap<String, PathBuf>,
    /// Claims whose folders are the host's own: their files keep the owners that they have.
    pub host_claims: BTreeSet<String>,
    /// Service account tokens by what was asked for.
    pub tokens: BTreeMap<TokenRequest, String>,
    /// Of the container whose environment is made; see `Volumes::env_files`.
    pub env_files: EnvFiles,
}

/// A volume that cannot be set up or mounted; the text is the one of kubelet's `FailedMount` event (or of
/// `CreateContainerConfigError` for `Mount`).
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {why}")]
    SetUp { volume: String, why: String },
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\": {why}")]
    Mount {
        volume: String,
        container: String,
        why: String,
    },
    #[error("cannot clean up {path}: {source}", path = path.display())]
    TearDown { path: PathBuf, source: io::Error },
}

/// The volumes below one data folder.
#[derive(Clone, Debug)]
pub struct Volumes {
    data: PathBuf,
}

const KINDS: [&str; 5] = ["empty-dir", "configmap", "secret", "downward-api", "projected"];
/// Those whose files are kept in memory.
const IN_MEMORY: [&str; 3] = ["secret", "downward-api", "projected"];
/// A mount can be hidden by another; more rounds than this mean that somebody mounts while we unmount.
const MAX_UNMOUNT_ROUNDS: usize = 16;
const MAX_USAGE_DEPTH: usize = 500;

impl Volumes {
    pub fn new(data: impl Into<PathBuf>) -> Volumes {
        Volumes { data: data.into() }
    }

    /// `<data>/pods/<uid>`
    pub fn pod_dir(&self, pod: &Pod) -> PathBuf {
        self.uid_dir(pod.metadata.uid.as_deref().unwrap_or("no-uid"))
    }

    fn uid_dir(&self, uid: &str) -> PathBuf {
        self.data.join("pods").join(uid)
    }

    /// Sets up all volumes of the pod. Idempotent: called again it repairs, remounts after a reboot and updates, and
    /// never touches what an emptyDir holds. Gives all errors at once, one a volume.
    pub fn set_up(&self, pod: &Pod, sources: &Sources, facts: &Facts) -> Result<(), Vec<VolumeError>> {
        self.for_each(pod, |volume| {
            self.set_up_one(pod, volume, sources, facts).map(|_| ())
        })
        .map(|_| ())
    }

    /// Brings configMap, secret, downwardAPI and projected volumes up to date, each by one atomic swap. Returns the
    /// names of the volumes that changed.
    pub fn update(
        &self,
        pod: &Pod,
        sources: &Sources,
        facts: &Facts,
    ) -> Result<Vec<String>, Vec<VolumeError>> {
        let outcome = self.for_each(pod, |volume| match payload::kind(volume) {
            Some(kind) => self.write_payload(pod, volume, kind, sources, facts),
            None => Ok(false),
        })?;
        Ok(outcome
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(name, _)| name)
            .collect())
    }

    fn for_each<T>(
        &self,
        pod: &Pod,
        mut act: impl FnMut(&Volume) -> Result<T, String>,
    ) -> Result<Vec<(String, T)>, Vec<VolumeError>> {
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            match act(volume) {
                Ok(value) => done.push((volume.name.clone(), value)),
                Err(why) => errors.push(VolumeError::SetUp {
                    volume: volume.name.clone(),
                    why,
                }),
            }
        }
        if errors.is_empty() { Ok(done) } else { Err(errors) }
    }

    fn set_up_one(
        &self,
        pod: &Pod,
        volume: &Volume,
        sources: &Sources,
        facts: &Facts,
    ) -> Result<bool, String> {
        if let Some(kind) = payload::kind(volume) {
            return self.write_payload(pod, volume, kind, sources, facts);
        }
        if let Some(empty_dir) = &volume.empty_dir {
            return self.make_empty_dir(pod, volume, empty_dir).map(|()| false);
        }
        if let Some(host_path) = &volume.host_path {
            return hostpath::check(Path::new(&host_path.path), host_path.type_.as_deref()).map(|()| false);
        }
        if let Some(claim) = payload::claim_name(pod, volume) {
            let path = sources
                .claims
                .get(&claim)
                .ok_or_else(|| format!("persistentvolumeclaim \"{claim}\" is not bound"))?;
            let meta = fs::metadata(path).map_err(|e| format!("path {path:?} of claim \"{claim}\": {e}"))?;
            if !meta.is_dir() {
                return Err(format!("path {path:?} of claim \"{claim}\" is not a directory"));
            }
            let read_only = volume.persistent_volume_claim.as_ref().and_then(|c| c.read_only) == Some(true);
            let ours = !read_only && !sources.host_claims.contains(&claim);
            return match fs_group(pod) {
                Some(gid) if ours => ownership::apply(path, gid, change_policy(pod), false),
                _ => Ok(()),
            }
            .map(|()| false)
            .map_err(|e| format!("applying fsGroup to {}: {e}", path.display()));
        }
        Err("this kind of volume is not supported; isopod has emptyDir, configMap, secret, downwardAPI, projected, hostPath and persistentVolumeClaim".to_owned())
    }

    fn write_payload(
        &self,
        pod: &Pod,
        volume: &Volume,
        kind: &str,
        sources: &Sources,
        facts: &Facts,
    ) -> Result<bool, String> {
        let files = payload::files(pod, volume, sources, facts)?;
        let dir = self.make_volume_dir(pod, kind, &volume.name)?;
        if IN_MEMORY.contains(&kind) {
            tmpfs::mount_on(&dir, None)?;
        }
        atomic::write(&dir, &files, fs_group(pod)).map_err(|e| format!("writing {}: {e}", dir.display()))
    }

    fn make_volume_dir(&self, pod: &Pod, kind: &str, name: &str) -> Result<PathBuf, String> {
        let pods = self.data.join("pods");
        let dir = self.pod_dir(pod).join("volumes").join(kind).join(name);
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&pods)
            .and_then(|()| {
                let new = !dir.exists();
                fs::create_dir_all(&dir)?;
                // 0777 as upstream: who may get here is decided by the container's own file system.
                if new {
                    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))
                } else {
                    Ok(())
                }
            });
        made.map_err(|e| format!("creating {}: {e}", dir.display()))?;
        Ok(dir)
    }

    fn make_empty_dir(
        &self,
        pod: &Pod,
        volume: &Volume,
        source: &EmptyDirVolumeSource,
    ) -> Result<(), String> {
        let dir = self.make_volume_dir(pod, "empty-dir", &volume.name)?;
        match source.medium.as_deref() {
            None | Some("") => {}
            Some("Memory") => tmpfs::mount_on(&dir, tmpfs::limit(source)?)?,
            Some(other) => {
                return Err(format!(
                    "emptyDir medium {other:?} is not supported; use \"\" or \"Memory\""
                ));
            }
        }
        match fs_group(pod) {
            Some(gid) => ownership::apply(&dir, gid, ownership::Policy::OnRootMismatch, false)
                .map_err(|e| format!("applying fsGroup to {}: {e}", dir.display())),
            None => Ok(()),
        }
    }

    /// Where the volume lies on the host.
    fn host_path(&self, pod: &Pod, volume: &Volume, sources: &Sources) -> Option<PathBuf> {
        let in_pod = |kind: &str| self.pod_dir(pod).join("volumes").join(kind).join(&volume.name);
        if let Some(kind) = payload::kind(volume) {
            return Some(in_pod(kind));
        }
        if volume.empty_dir.is_some() {
            return Some(in_pod("empty-dir"));
        }
        if let Some(host_path) = &volume.host_path {
            return Some(PathBuf::from(&host_path.path));
        }
        sources.claims.get(&payload::claim_name(pod, volume)?).cloned()
    }

    /// Unmounts and removes all that was set up for the pod. Idempotent. Claims' and hostPaths' contents stay.
    pub fn tear_down(&self, uid: &str) -> Result<(), VolumeError> {
        let dir = self.uid_dir(uid);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| VolumeError::TearDown { path, source }
        };
        let real = match fs::canonicalize(&dir) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(&dir)(error)),
        };
        let ours = [real.join("volumes"), real.join("volume-subpaths")];
        unmount_below(&ours).map_err(failed(&real))?;
        mounts::remove_subpaths(&ours[1]).map_err(failed(&ours[1]))?;
        for kind in KINDS {
            let path = ours[0].join(kind);
            remove_any(&path).map_err(|e| failed(&path)(io::Error::other(e)))?;
        }
        match fs::remove_dir(&ours[0]) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&ours[0])(error)),
            _ => Ok(()),
        }
    }

    /// Disk (or memory) that an emptyDir takes, in bytes, for its `sizeLimit`.
    pub fn empty_dir_usage(&self, pod: &Pod, volume: &str) -> io::Result<u64> {
        usage(&self.pod_dir(pod).join("volumes/empty-dir").join(volume), 0)
    }
}

fn usage(dir: &Path, depth: usize) -> io::Result<u64> {
    let mut bytes = 0;
    if depth > MAX_USAGE_DEPTH {
        return Err(io::Error::other(format!(
            "{} is nested too deep to be measured",
            dir.display()
        )));
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A file may go while we look; links are not followed.
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes += usage(&entry.path(), depth + 1)?,
            Ok(meta) => bytes += meta.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Takes off every mount at or below the folders, the newest first.
fn unmount_below(dirs: &[PathBuf]) -> io::Result<()> {
    for _ in 0..MAX_UNMOUNT_ROUNDS {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let targets = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .map(unescape);
        let mut found: Vec<PathBuf> = targets
            .filter(|target| dirs.iter().any(|dir| target.starts_with(dir)))
            .collect();
        if found.is_empty() {
            return Ok(());
        }
        found.reverse();
        for target in found {
            unmount(&target).map_err(io::Error::other)?;
        }
    }
    Err(io::Error::other("mounts keep coming back"))
}

/// The kernel writes space, tab, newline and backslash as `\040` and so on.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let octal: Option<u8> = match byte {
            b'\\' => {
                let digits: Vec<u8> = bytes.by_ref().take(3).collect();
                std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| u8::from_str_radix(digits, 8).ok())
            }
            _ => Some(byte),
        };
        out.extend(octal);
    }
    PathBuf::from(std::ffi::OsString::from(
        String::from_utf8_lossy(&out).into_owned(),
    ))
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

fn change_policy(pod: &Pod) -> ownership::Policy {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    match context.and_then(|context| context.fs_group_change_policy.as_deref()) {
        Some("OnRootMismatch") => ownership::Policy::OnRootMismatch,
        _ => ownership::Policy::Always,
    }
}

/// A Secret's value as bytes.
pub(crate) fn lookup<'a>(data: Option<&'a BTreeMap<String, ByteString>>, key: &str) -> Option<&'a [u8]> {
    data?.get(key).map(|bytes| bytes.0.as_slice())
}
