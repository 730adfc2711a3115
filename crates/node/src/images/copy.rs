//! Copies what is in a folder, with owners, modes, times, links and attributes. No link is followed: every folder is
//! opened below the one that was given, and what lies in it is named relative to that.

use super::beneath::{fd_path, open_in_root, set_owner_and_mode};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fstatat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{linkat, symlinkat};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Copies `from` with all below it to `to`, an empty folder that nobody else has yet. How much that is was bounded when
/// the image was unpacked.
pub(super) fn copy_folder(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut copy = Copy {
        from,
        to,
        folders: vec![PathBuf::new()],
        linked: HashMap::new(),
    };
    let mut place = 0;
    while let Some(folder) = copy.folders.get(place).cloned() {
        copy.entries(&folder)?;
        place += 1;
    }
    // Inner folders first: a new file changes the time of its folder.
    for folder in copy.folders.iter().rev() {
        let (from, to) = (open_folder(from, folder)?, open_folder(to, folder)?);
        let name = OsStr::new(".");
        let stat = fstatat(&from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        copy_attributes((&from, &to), name, &stat)?;
    }
    Ok(())
}

struct Copy<'a> {
    from: &'a OwnedFd,
    to: &'a OwnedFd,
    /// Found so far; their attributes come last.
    folders: Vec<PathBuf>,
    /// Files of several names, by inode: where the first name is now.
    linked: HashMap<u64, PathBuf>,
}

impl Copy<'_> {
    fn entries(&mut self, folder: &Path) -> io::Result<()> {
        let (from, to) = (open_folder(self.from, folder)?, open_folder(self.to, folder)?);
        for entry in fs::read_dir(fd_path(&from))? {
            let name = entry?.file_name();
            let path = folder.join(&name);
            self.entry((&from, &to), &name, &path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }

    fn entry(&mut self, (from, to): (&OwnedFd, &OwnedFd), name: &OsStr, path: &Path) -> io::Result<()> {
        let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let own = Mode::from_bits_truncate(0o600);
        if kind == SFlag::S_IFDIR {
            self.folders.push(path.to_owned());
            return Ok(mkdirat(to, name, Mode::from_bits_truncate(0o700))?);
        }
        if stat.st_nlink > 1
            && let Some(first) = self.linked.get(&stat.st_ino)
        {
            return Ok(linkat(self.to, first, to, name, AtFlags::empty())?);
        }
        match kind {
            SFlag::S_IFREG => {
                let mut source = File::from(openat(from, name, OFlag::O_RDONLY | closed(), Mode::empty())?);
                let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
                let mut target = File::from(openat(to, name, new | closed(), own)?);
                io::copy(&mut source, &mut target)?;
            }
            SFlag::S_IFLNK => symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?,
            SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK => mknodat(to, name, kind, own, stat.st_rdev)?,
            _ => return Ok(()), // a socket, whose listener stayed where the image was made
        }
        if stat.st_nlink > 1 {
            self.linked.insert(stat.st_ino, path.to_owned());
        }
        copy_attributes((from, to), name, &stat)
    }
}

fn closed() -> OFlag {
    OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn open_folder(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let folder = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    open_in_root(root.as_fd(), path, folder)
}

fn copy_attributes((from, to): (&OwnedFd, &OwnedFd), name: &OsStr, stat: &FileStat) -> io::Result<()> {
    let is_link = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK;
    let mode = (!is_link).then_some(stat.st_mode & 0o7777);
    set_owner_and_mode(to, name, (stat.st_uid, stat.st_gid), mode)?;
    if !is_link {
        copy_xattrs(&fd_path(from).join(name), &fd_path(to).join(name))?;
    }
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    let no_follow = UtimensatFlags::NoFollowSymlink;
    Ok(utimensat(to, name, &accessed, &modified, no_follow)?)
}

fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let unsupported = |error: &io::Error| error.raw_os_error() == Some(nix::libc::EOPNOTSUPP);
    let names = match xattr::list(from) {
        Err(error) if unsupported(&error) => return Ok(()),
        names => names?,
    };
    for name in names {
        let Some(value) = xattr::get(from, &name)? else {
            continue;
        };
        match xattr::set(to, &name, &value) {
            Err(error) if unsupported(&error) => {
                tracing::warn!(file = %to.display(), attribute = %name.display(), "the disk does not keep this attribute");
            }
            outcome => outcome?,
        }
    }
    Ok(())
}
