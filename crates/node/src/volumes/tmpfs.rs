//! Volumes in memory. The kernel is asked not to swap them out; one that is too old for that (before 6.4) may.

use crate::images::is_mounted;
use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Seen once, not asked again: the kernel writes a line to its log for each time.
static NO_SWAP_IS_UNKNOWN: AtomicBool = AtomicBool::new(false);

/// An emptyDir's `sizeLimit` in bytes; without one the kernel's default holds, half of the memory.
pub(super) fn limit(source: &EmptyDirVolumeSource) -> Result<Option<i64>, String> {
    let Some(limit) = &source.size_limit else {
        return Ok(None);
    };
    let size = meta::quantity::Quantity::parse(&limit.0)
        .ok_or_else(|| format!("sizeLimit {:?} is not a quantity", limit.0))?;
    Ok(Some(size.value()))
}

/// Mounts a tmpfs on the folder, unless something is mounted there already.
pub(super) fn mount_on(dir: &Path, size_bytes: Option<i64>) -> Result<(), String> {
    if is_mounted(dir).map_err(|e| e.to_string())? {
        return Ok(());
    }
    let size = size_bytes.map_or_else(String::new, |size| format!(",size={size}"));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let make = |options: &str| {
        let options = format!("mode=0777{size}{options}");
        mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some(options.as_str()))
    };
    let made = match NO_SWAP_IS_UNKNOWN.load(Ordering::Relaxed) {
        true => make(""),
        false => match make(",noswap") {
            Err(Errno::EINVAL) => {
                let made = make("");
                NO_SWAP_IS_UNKNOWN.store(made.is_ok(), Ordering::Relaxed);
                made
            }
            other => other,
        },
    };
    made.map_err(|e| format!("mounting a tmpfs on {}: {e}", dir.display()))
}
