//! File system calls that cannot leave a root directory: every path is resolved by the kernel as if that directory
//! were `/` (`openat2`, `RESOLVE_IN_ROOT`), so neither `..` nor a symbolic link of any kind leads out.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// `openat2` answers EAGAIN when the tree is renamed under it; tried this often, then the error is given back.
const MAX_RACES: usize = 16;
/// The kernel's own limit of links in one path.
const MAX_LINKS: usize = 40;

/// The path with only normal components, or `None` when it has `..`: archives have no good reason for one.
pub(crate) fn normalize(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// Opens a path inside of `root`; links are followed, but within `root` only.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let mut tries = 0;
    loop {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(root, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) if tries < MAX_RACES => tries += 1,
            outcome => return outcome,
        }
    }
}

/// Opens a directory inside of `root`, with missing parts made as `mode`; also those that a dangling link points to.
pub(crate) fn make_dir_all(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
    make_dirs(root, path, mode, MAX_LINKS)
}

fn make_dirs(root: BorrowedFd<'_>, path: &Path, mode: Mode, links_left: usize) -> Result<OwnedFd, Errno> {
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match open_in_root(root, path, directory) {
        Err(Errno::ENOENT) => {}
        outcome => return outcome,
    }
    let mut so_far = PathBuf::new();
    let mut parent = open_in_root(root, Path::new("."), directory)?;
    for component in path.components() {
        let above = so_far.clone();
        so_far.push(component);
        match open_in_root(root, &so_far, directory) {
            Err(Errno::ENOENT) if kind_at(&parent, component.as_os_str())? == Some(SFlag::S_IFLNK) => {
                let links_left = links_left.checked_sub(1).ok_or(Errno::ELOOP)?;
                let target = readlinkat(&parent, component.as_os_str())?;
                parent = make_dirs(root, &fold(&above.join(target)), mode, links_left)?;
            }
            Err(Errno::ENOENT) => {
                mkdirat(&parent, component.as_os_str(), mode)?;
                parent = open_in_root(root, &so_far, directory)?;
            }
            outcome => parent = outcome?,
        }
    }
    Ok(parent)
}

/// `a/../b` to `b`, not above the root, without asking the disk.
pub(crate) fn fold(path: &Path) -> PathBuf {
    let mut folded = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                folded.pop();
            }
            Component::Normal(name) => folded.push(name),
            _ => {}
        }
    }
    folded
}

/// What is at `name` itself (links not followed); `None` when nothing is.
pub(crate) fn kind_at(dir: &OwnedFd, name: &OsStr) -> Result<Option<SFlag>, Errno> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Removes `name`, with all below it when it is a directory; not being there is fine.
pub(crate) fn remove_at(dir: &OwnedFd, name: &OsStr) -> std::io::Result<()> {
    match kind_at(dir, name)? {
        None => Ok(()),
        Some(SFlag::S_IFDIR) => std::fs::remove_dir_all(fd_path(dir).join(name)), // openat-based, follows no link below
        Some(_) => Ok(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?),
    }
}

/// A path for calls that take no descriptor; valid as long as the descriptor is open.
pub(crate) fn fd_path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Owner first, then mode: a change of owner clears the set-id bits.
pub(crate) fn set_owner_and_mode(
    dir: &OwnedFd,
    name: &OsStr,
    (uid, gid): (u32, u32),
    mode: Option<u32>,
) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match mode {
        Some(mode) => fchmodat(
            dir,
            name,
            Mode::from_bits_truncate(mode),
            FchmodatFlags::FollowSymlink,
        ),
        None => Ok(()),
    }
}

pub(crate) fn set_mtime(dir: &OwnedFd, name: &OsStr, seconds: u64) -> Result<(), Errno> {
    let time = TimeSpec::new(i64::try_from(seconds).unwrap_or(i64::MAX), 0);
    utimensat(dir, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
