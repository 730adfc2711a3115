//! The small files of a pod (/etc/hosts and so on), where its containers' root file systems lie, and their removal.

use super::shell::Shell;
use crate::images::Images;
use crate::machine::PodView;
use crate::runtime::Mount;
use crate::volumes::{self, Volumes};
use k8s_openapi::api::core::v1::Container;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

fn dir(pod_dir: &Path) -> PathBuf {
    // In the sandbox's tmpfs: made anew with it, and a disk finds no room for new files fast where many were removed.
    pod_dir.join("ns/etc")
}

/// Where an attempt's root file system is mounted and what it writes is kept.
pub fn rootfs_dir(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join("rootfs").join(format!("{container}.{attempt}"))
}

/// The newest attempt of each container that has written a log here.
pub fn newest_logs(pod_dir: &Path) -> io::Result<BTreeMap<String, u32>> {
    let mut newest = BTreeMap::new();
    for container in entries(&pod_dir.join("logs"))? {
        for log in entries(&container.path())? {
            let name = log.file_name();
            // Rotated ones have more behind the number.
            let attempt: Option<u32> = name
                .to_str()
                .and_then(|name| name.split('.').next()?.parse().ok());
            // One that could not be created has an empty log, and is tried again under its number.
            if let (Some(attempt), Ok(container), true) = (
                attempt,
                container.file_name().into_string(),
                log.metadata()?.len() > 0,
            ) {
                let known: &mut u32 = newest.entry(container).or_default();
                *known = attempt.max(*known);
            }
        }
    }
    Ok(newest)
}

fn entries(dir: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes /etc/hosts, /etc/hostname and /etc/resolv.conf of the pod.
pub async fn write(shell: &Shell, pod: &PodView, ips: &[String]) -> Result<(), String> {
    let spec = pod.pod.spec.clone().unwrap_or_default();
    let host_hosts = match pod.host_network {
        true => Some(read_or_empty(Path::new("/etc/hosts")).map_err(|e| format!("read /etc/hosts: {e}"))?),
        false => None,
    };
    let hosts = volumes::files::hosts(&pod.pod, &shell.config.cluster_domain, ips, host_hosts.as_deref());
    let hostname = volumes::files::kernel_hostname(&pod.pod, &shell.config.cluster_domain);
    let policy = match spec.dns_policy.as_deref() {
        Some("ClusterFirstWithHostNet") => "ClusterFirst",
        Some("ClusterFirst") | None if pod.host_network => "Default",
        Some(policy) => policy,
        None => "ClusterFirst",
    };
    let resolv = shell
        .network
        .resolv_conf(&pod.namespace, policy, spec.dns_config.as_ref());
    let dir = dir(&shell.pod_dir(&pod.uid));
    let texts = [hosts, format!("{hostname}\n"), resolv];
    let work = move || -> io::Result<()> {
        std::fs::create_dir_all(&dir)?;
        for (name, text) in FILES.iter().zip(texts) {
            let path = dir.join(name);
            // In place: containers have the file itself mounted, and a pod's own changes to it stay.
            if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
                continue;
            }
            std::fs::write(&path, text)?;
        }
        Ok(())
    };
    shell
        .blocking(work)
        .await?
        .map_err(|e| format!("write the pod's files in /etc: {e}"))
}

fn read_or_empty(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// The mounts of the small files, but for those that the container mounts itself.
pub fn mounts(pod_dir: &Path, container: &Container) -> Vec<Mount> {
    let own = |path: &str| {
        container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.mount_path == path)
    };
    let files = FILES.iter().map(|name| (name, format!("/etc/{name}")));
    files
        .filter(|(_, path)| !own(path))
        .map(|(name, path)| Mount {
            source: dir(pod_dir).join(name),
            destination: path.into(),
            ..Mount::default()
        })
        .collect()
}

/// Removes what this room has made for a pod: root file systems, volumes, files.
pub fn remove(images: &Images, volumes: &Volumes, pod_dir: &Path, uid: &str) -> Result<(), String> {
    let roots = pod_dir.join("rootfs");
    match std::fs::read_dir(&roots) {
        Ok(entries) => {
            for entry in entries {
                let path = entry
                    .map_err(|e| format!("read {}: {e}", roots.display()))?
                    .path();
                images.remove_rootfs(&path).map_err(|e| e.to_string())?;
                gone(std::fs::remove_dir(&path), &path)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("read {}: {error}", roots.display())),
    }
    volumes.tear_down(uid).map_err(|e| e.to_string())?;
    let etc = dir(pod_dir);
    for path in FILES.map(|name| etc.join(name)) {
        gone(std::fs::remove_file(&path), &path)?;
    }
    // One by one and never recursively: a mount that was left behind could be somebody's data.
    [&roots, &etc]
        .into_iter()
        .try_for_each(|path| gone(std::fs::remove_dir(path), path))
}

/// Removes the pod's own folder, which is empty by now.
pub fn remove_folder(pod_dir: &Path) -> Result<(), String> {
    gone(std::fs::remove_dir(pod_dir), pod_dir)
}

fn gone(removed: io::Result<()>, path: &Path) -> Result<(), String> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}
