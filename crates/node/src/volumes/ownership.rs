//! fsGroup: gives a volume's files to a group. Walks by descriptors and never follows a link, since a container may
//! change the tree meanwhile. Source: kubelet's `SetVolumeOwnership`.

use crate::images::fd_path;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, fchownat};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const SET_GID: u32 = 0o2000;
const MAX_DEPTH: usize = 500;

/// `fsGroupChangePolicy`
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Policy {
    Always,
    /// Only when the volume's root is not right yet.
    OnRootMismatch,
}

pub(super) fn apply(root: &Path, gid: u32, policy: Policy, read_only: bool) -> io::Result<()> {
    let meta = fs::metadata(root)?;
    let mask = wanted_bits(true, read_only);
    if policy == Policy::OnRootMismatch && meta.gid() == gid && meta.mode() & mask == mask {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = nix::fcntl::open(root, flags, Mode::empty())?;
    below(&dir, gid, read_only, 0)?;
    // The root last: it says that all below is done.
    std::os::unix::fs::chown(root, None, Some(gid))?;
    fs::set_permissions(root, fs::Permissions::from_mode(meta.mode() & 0o7777 | mask))
}

fn wanted_bits(is_dir: bool, read_only: bool) -> u32 {
    let bits = if read_only { 0o440 } else { 0o660 };
    if is_dir { bits | 0o110 | SET_GID } else { bits }
}

fn below(dir: &OwnedFd, gid: u32, read_only: bool, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!(
            "folders are nested deeper than {MAX_DEPTH}"
        )));
    }
    for entry in fs::read_dir(fd_path(dir))? {
        let name = entry?.file_name();
        let stat = match fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => continue, // removed meanwhile
            Err(errno) => return Err(errno.into()),
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFLNK {
            fchownat(
                dir,
                name.as_os_str(),
                None,
                Some(Gid::from_raw(gid)),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )?;
            continue;
        }
        let is_dir = kind == SFlag::S_IFDIR;
        let mask = wanted_bits(is_dir, read_only);
        let flags = match is_dir {
            true => OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            false => OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        };
        let file = openat(dir, name.as_os_str(), flags, Mode::empty())?;
        if is_dir {
            below(&file, gid, read_only, depth + 1)?;
        }
        let now = fstat(&file)?;
        if now.st_gid == gid && now.st_mode & mask == mask {
            continue;
        }
        if SFlag::from_bits_truncate(now.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK {
            continue; // swapped for a link after we looked
        }
        let path = fd_path(&file); // this very inode, whatever its name means now
        std::os::unix::fs::chown(&path, None, Some(gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(now.st_mode & 0o7777 | mask))?;
    }
    Ok(())
}
