//! Where a pod's files lie below the data directory. Only what is named here is the runtime's.

use std::path::{Path, PathBuf};

pub const SOCKET: &str = "shim.sock";
pub const SHIM_LOG: &str = "shim.log";
/// What a pod's directory holds only while the pod may run: `release_pod` removes it.
pub const TRANSIENT: [&str; 5] = ["ns", "shm", "containers", SOCKET, SHIM_LOG];
/// The files and directories of a pod's directory that `remove_pod` removes.
pub const OWNED: [&str; 8] = [
    "ns",
    "shm",
    "containers",
    "logs",
    SOCKET,
    SHIM_LOG,
    "state.json",
    "sandbox.json",
];

pub fn pods_dir(data: &Path) -> PathBuf {
    data.join("pods")
}

pub fn pod_dir(data: &Path, uid: &str) -> PathBuf {
    pods_dir(data).join(uid)
}

pub fn log_path(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir
        .join("logs")
        .join(container)
        .join(format!("{attempt}.log"))
}

pub fn termination_path(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    crate::shim::container_dir(pod_dir, container, attempt).join("termination-log")
}
