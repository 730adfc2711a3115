//! The shim's state file: what is known of a pod when nobody answers on its socket any more.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use crate::runtime::spec::{ContainerStatus, PodSandboxSpec};

pub const STATE_FILE: &str = "state.json";
/// The extension of files that were not finished.
pub const TEMPORARY: &str = "new";
pub const SANDBOX_FILE: &str = "sandbox.json";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShimState {
    pub version: u32,
    /// The kernel's boot id: another one now means that the machine was restarted.
    pub boot_id: String,
    pub shim_pid: i32,
    pub containers: Vec<ContainerStatus>,
}

/// What the server keeps of the sandbox, for the time after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxRecord {
    pub boot_id: String,
    pub sandbox: PodSandboxSpec,
}

pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Whole or not at all: a new file renamed over the old one.
pub fn write_atomically(path: &Path, value: &impl Serialize) -> io::Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // A name of its own for each writer: two at once must not take each other's file away.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.{TEMPORARY}", std::process::id()));
    fs::write(&temporary, serde_json::to_vec(value)?)?;
    fs::rename(&temporary, path)
}

/// `None`: there is none.
pub fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
