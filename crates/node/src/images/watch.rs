//! Hears of changes of the image store, whoever makes them: this server's pulls or `isopod image` in another process.
#![allow(unsafe_code)] // tokio's registration of a descriptor, which safe code could close too early.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's word that a file was replaced.
pub struct IndexWatch {
    inotify: AsyncFd<Watched>,
    name: OsString,
}

struct Watched(Inotify);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl IndexWatch {
    /// From now on; `name` is replaced by renames within `dir`. Needs tokio.
    pub(super) fn new(dir: &Path, name: &str) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(dir, AddWatchFlags::IN_MOVED_TO)?;
        // SAFETY: the descriptor is the inotify's own, which lives in the AsyncFd, is never replaced and closes after it.
        let inotify = unsafe { AsyncFd::register_with_interest(Watched(inotify), Interest::READABLE) };
        Ok(Self {
            inotify: inotify.map_err(io::Error::from)?,
            name: name.into(),
        })
    }

    /// Returns when the file has been replaced since the last call, however often.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let read = ready.try_io(|watched| Ok(watched.get_ref().0.read_events()?));
            match read {
                // An overflow names nothing, and may stand for anything.
                Ok(Ok(events))
                    if events
                        .iter()
                        .any(|e| e.name.as_ref().is_none_or(|name| *name == self.name)) =>
                {
                    return Ok(());
                }
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}
