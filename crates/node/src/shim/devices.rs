//! The host's devices as a privileged container sees them: all nodes directly in /dev.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::{Value, json};

/// The most of them; a machine with more shows the first.
const HOST_DEVICES_LIMIT: usize = 512;
/// They come from libcontainer anyway.
const USUAL: [&str; 9] = [
    "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "core",
];

/// OCI device nodes.
pub fn host_devices() -> Vec<Value> {
    let entries = match fs::read_dir("/dev") {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(%error, "cannot read /dev for a privileged container");
            return Vec::new();
        }
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| !USUAL.iter().any(|name| entry.file_name() == *name))
        // Of the entry itself: a link is not followed. One that went meanwhile is left out.
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .filter_map(|(path, metadata)| node(&path, &metadata))
        .take(HOST_DEVICES_LIMIT)
        .collect()
}

fn node(path: &Path, metadata: &Metadata) -> Option<Value> {
    let kind = match metadata.file_type() {
        t if t.is_char_device() => "c",
        t if t.is_block_device() => "b",
        _ => return None,
    };
    Some(json!({
        "path": path, "type": kind,
        "major": nix::sys::stat::major(metadata.rdev()), "minor": nix::sys::stat::minor(metadata.rdev()),
        "fileMode": metadata.mode() & 0o777, "uid": metadata.uid(), "gid": metadata.gid(),
    }))
}
