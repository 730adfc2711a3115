//! The cluster's network namespace as a file: made once, kept alive by a bind mount in a small
//! tmpfs of its own under the data directory, found again after a restart, removed without a trace.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};

/// A path mounted more often than this is not ours to clean up.
const UNMOUNTS_MAX: usize = 16;

/// Why the namespace cannot be had or removed.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error("cannot {what} {}: {source}", path.display())]
    Path {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot start a thread for the network namespace: {0}; raise the process limit")]
    Thread(io::Error),
    #[error("cannot make a network namespace: {0}; isopod needs root (CAP_SYS_ADMIN)")]
    Unshare(Errno),
    #[error("cannot enter the network namespace: {0}; isopod needs root (CAP_SYS_ADMIN)")]
    Enter(Errno),
    #[error("the thread inside the network namespace ended unexpectedly")]
    ThreadDied,
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NamespaceError {
    let path = path.to_owned();
    move |source| NamespaceError::Path { what, path, source }
}

/// Opens the namespace kept under `run_dir`, or makes it. The flag says that it is new.
pub fn open_or_create(run_dir: &Path) -> Result<(File, bool), NamespaceError> {
    let path = run_dir.join("netns");
    if is_namespace(&path) {
        return File::open(&path)
            .map(|file| (file, false))
            .map_err(at("open", &path));
    }
    fs::create_dir_all(run_dir).map_err(at("create directory", run_dir))?;
    if !is_mount_point(run_dir)? {
        mount_tmpfs(run_dir)?;
    }
    File::create(&path).map_err(at("create", &path))?;
    let target = path.clone();
    in_new_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Unshare)?;
        // Of this thread, not of the process: /proc/self is the main thread's.
        let source = Path::new("/proc/thread-self/ns/net");
        mount(
            Some(source),
            &target,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .map_err(|e| at("mount the network namespace on", &target)(e.into()))
    })?;
    File::open(&path)
        .map(|file| (file, true))
        .map_err(at("open", &path))
}

/// Removes what [`open_or_create`] made, whole or half-made. Nothing there is fine, too.
pub fn remove(run_dir: &Path) -> Result<(), NamespaceError> {
    unmount_all(&run_dir.join("netns"))?;
    unmount_all(run_dir)?;
    // A crash between the tmpfs and the first file, or an older tmpfs, may leave plain files.
    match fs::remove_dir_all(run_dir) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(at("remove", run_dir)(e)),
    }
    let Some(parent) = run_dir.parent() else {
        return Ok(());
    };
    match fs::remove_dir(parent) {
        Ok(()) => Ok(()),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        Err(e) => Err(at("remove", parent)(e)),
    }
}

/// Whether a live namespace is mounted on `path`.
pub fn is_namespace(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC)
}

/// Moves the calling thread into `namespace`. The thread must not be used for anything else after.
pub fn enter(namespace: impl AsFd) -> Result<(), NamespaceError> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Enter)
}

/// Runs `job` on a short-lived thread inside `namespace` and waits for it (about 50 µs).
pub fn run_inside<T: Send + 'static>(
    namespace: File,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NamespaceError> {
    in_new_thread(move || {
        enter(&namespace)?;
        Ok(job())
    })
}

fn in_new_thread<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, NamespaceError> + Send + 'static,
) -> Result<T, NamespaceError> {
    let thread = std::thread::Builder::new().name("net-enter".into()).spawn(job);
    thread
        .map_err(NamespaceError::Thread)?
        .join()
        .map_err(|_| NamespaceError::ThreadDied)?
}

/// Shared, so that unmounting it here also unmounts the copies that other mount namespaces
/// (containers being started) hold; else one of them could keep the namespace alive.
fn mount_tmpfs(dir: &Path) -> Result<(), NamespaceError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some("isopod-net"),
        dir,
        Some("tmpfs"),
        flags,
        Some("size=1m,mode=0700"),
    )
    .map_err(|e| at("mount a tmpfs on", dir)(e.into()))?;
    mount(None::<&str>, dir, None::<&str>, MsFlags::MS_SHARED, None::<&str>)
        .map_err(|e| at("share the mount", dir)(e.into()))
}

fn is_mount_point(dir: &Path) -> Result<bool, NamespaceError> {
    let parent = dir.join("..");
    let own = fs::metadata(dir).map_err(at("look at", dir))?;
    let above = fs::metadata(&parent).map_err(at("look at", &parent))?;
    Ok(own.dev() != above.dev())
}

fn unmount_all(path: &Path) -> Result<(), NamespaceError> {
    for _ in 0..UNMOUNTS_MAX {
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            // Not a mount point, or not there at all.
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(e) => return Err(at("unmount", path)(e.into())),
        }
    }
    Err(at("unmount", path)(io::Error::other(format!(
        "it is mounted more than {UNMOUNTS_MAX} times"
    ))))
}
