//! Opens and makes a subPath within a volume. A link or `..` that leads out of the volume is an error, not followed:
//! the kernel itself refuses (`openat2`, `RESOLVE_BENEATH`), so nobody can swap a folder for a link in between.

use crate::images::{fd_path, open_in_root};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

const MAX_RACES: usize = 16;

/// Opens a file that a container wrote, for reading. Links lead on within the volume, as if it were `/`; a fifo or a device,
/// which could make its reader wait, is refused before it is opened.
pub(super) fn open_file(root: &Path, path: &Path) -> io::Result<fs::File> {
    let base: OwnedFd = fs::File::open(root)?.into();
    let handle = open_in_root(base.as_fd(), path, OFlag::O_PATH)?;
    if !fs::metadata(fd_path(&handle))?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // Without waiting for somebody who holds a lease on it.
    let mut options = fs::File::options();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    options.open(fd_path(&handle))
}

/// Opens (as a mere handle) what is at `path` below `root`; missing folders are made with the mode of `root`.
pub(super) fn open_or_make(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    if path
        .components()
        .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Err(io::Error::other("it must be relative and not contain '..'"));
    }
    let base: OwnedFd = fs::File::open(root)?.into();
    match open(&base, path) {
        Err(Errno::ENOENT) => {}
        outcome => return outcome.map_err(explain),
    }
    let mode = fs::metadata(root)?.permissions().mode() & 0o777;
    let mut so_far = PathBuf::new();
    let mut parent = open(&base, Path::new(".")).map_err(explain)?;
    for part in path.components() {
        so_far.push(part);
        parent = match open(&base, &so_far) {
            Err(Errno::ENOENT) => {
                match mkdirat(&parent, part.as_os_str(), Mode::from_bits_truncate(mode)) {
                    Ok(()) | Err(Errno::EEXIST) => {} // somebody else made it: then it must open below
                    Err(errno) => return Err(errno.into()),
                }
                let made = open(&base, &so_far).map_err(explain)?;
                // Past the umask; the set-gid bit and the group come from the folder above.
                let now = fs::metadata(fd_path(&made))?.permissions().mode();
                let wanted = fs::Permissions::from_mode(now & 0o7000 | mode);
                fs::set_permissions(fd_path(&made), wanted)?;
                made
            }
            outcome => outcome.map_err(explain)?,
        };
    }
    Ok(parent)
}

fn open(base: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(base, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) if tries < MAX_RACES => tries += 1,
            outcome => return outcome,
        }
    }
}

fn explain(errno: Errno) -> io::Error {
    match errno {
        Errno::EXDEV => io::Error::other("it leads out of the volume through a symbolic link"),
        other => other.into(),
    }
}
