//! Mounts of overlayfs with the kernel's own limits kept: one page of options, `:` and `,` in paths escaped.

use super::error::{Context, Error, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount as mount_call, umount2};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One page, less a byte for the terminating zero and some for other options.
const MAX_LOWER_BYTES: usize = 3000;
/// The kernel's own limit of layers.
const MAX_LAYERS: usize = 500;
/// Mounts can be stacked on one folder; more than this is not our doing.
const MAX_STACKED: usize = 16;

/// Mounts `lowers` (topmost first) with `upper` on `target`. Metadata-only copies and redirects are off, since an upper
/// folder may become a layer for others. The kernel does not sync the upper folder when it is unmounted (`volatile`):
/// what must outlive a power cut is synced by who needs it, and each unmount would wait for the whole disk.
pub(crate) fn mount(lowers: &[PathBuf], upper: &Path, work: &Path, target: &Path) -> Result<()> {
    if lowers.len() > MAX_LAYERS {
        return Err(Error::BadImage {
            image: target.display().to_string(),
            what: format!("has {} layers, the kernel's limit is {MAX_LAYERS}", lowers.len()),
        });
    }
    let mut lower = join(lowers.iter().map(PathBuf::as_path));
    // Long lists go by descriptor: about 17 bytes a layer instead of a whole path.
    let mut open = Vec::new();
    if lower.len() > MAX_LOWER_BYTES {
        for path in lowers {
            open.push(File::open(path).at("open", path)?);
        }
        let paths: Vec<PathBuf> = open
            .iter()
            .map(|f| format!("/proc/self/fd/{}", f.as_raw_fd()).into())
            .collect();
        lower = join(paths.iter().map(PathBuf::as_path));
    }
    let options = format!(
        "lowerdir={lower},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=off",
        escape(upper),
        escape(work)
    );
    let call = |options: &str| {
        let kind = Some("overlay");
        mount_call(kind, target, kind, MsFlags::empty(), Some(options))
    };
    match call(&format!("{options},volatile")) {
        Err(Errno::EINVAL) => call(&options), // Linux before 5.10 does not know it.
        done => done,
    }
    .at("mount overlay on", target)
}

/// Takes every mount off `target`; none being there, or no such folder, is fine.
pub(crate) fn unmount(target: &Path) -> Result<()> {
    for _ in 0..MAX_STACKED {
        match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(errno) => return Err(errno).at("unmount", target),
        }
    }
    Err(Errno::EBUSY).at("unmount (too many mounts on)", target)
}

/// True when something is mounted on the folder.
pub(crate) fn is_mounted(target: &Path) -> Result<bool> {
    let Some(above) = target.parent() else {
        return Ok(true);
    };
    match target.metadata() {
        Ok(meta) => Ok(meta.dev() != above.metadata().at("stat", above)?.dev()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("stat", target),
    }
}

fn join<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    paths.map(escape).collect::<Vec<_>>().join(":")
}

fn escape(path: &Path) -> String {
    path.to_string_lossy()
        .replace('\\', "\\\\")
        .replace(':', "\\:")
        .replace(',', "\\,")
}
