//! Byte streams to processes in containers: pipes and terminals as tokio readers and writers, and the sessions
//! of exec and attach that are made of them.

#![allow(unsafe_code)] // Registering a descriptor with tokio.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::error::RuntimeError;
use super::spec::TerminalSize;
use crate::shim::fds;

pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A pipe's end or a terminal's master.
pub struct FdStream(AsyncFd<OwnedFd>);

impl FdStream {
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        fds::set_nonblocking(fd.as_raw_fd(), true)?;
        // SAFETY: the OwnedFd inside stays the same descriptor for the AsyncFd's life.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }
}

impl AsyncRead for FdStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let space = buffer.initialize_unfilled();
            match guard.try_io(|fd| nix::unistd::read(fd.get_ref(), space).map_err(io::Error::from)) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // A terminal whose last process has closed it.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for FdStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| nix::unistd::write(fd.get_ref(), bytes).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Dropping the writer is what closes it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How an exec's process ended: the code as a shell counts, the signal or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecExit {
    pub code: i32,
    pub signal: i32,
}

/// Changes the terminal's size.
pub type Resizer = Box<dyn Fn(TerminalSize) -> io::Result<()> + Send + Sync>;

/// A process that runs in a container for the caller. Dropping `exit` kills it; dropping `stdin` ends its input.
pub struct ExecSession {
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    /// `None` with a terminal: there it is one stream.
    pub stderr: Option<Reader>,
    /// `None` without a terminal.
    pub resize: Option<Resizer>,
    pub exit: ExecEnd,
}

/// The end of an exec's process.
pub struct ExecEnd(oneshot::Receiver<ExecExit>);

impl ExecEnd {
    pub fn new(receiver: oneshot::Receiver<ExecExit>) -> Self {
        Self(receiver)
    }

    /// Waits for the process. An error means that it was lost with its shim.
    pub async fn wait(self) -> Result<ExecExit, RuntimeError> {
        self.0
            .await
            .map_err(|_| RuntimeError::Internal("the process ended with its pod".to_owned()))
    }
}

/// A running container's own stdio, shared with whoever else is attached. Readers end when the container does; who does
/// not read makes it wait, as with other runtimes.
pub struct AttachSession {
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    pub stderr: Option<Reader>,
    pub resize: Option<Resizer>,
    /// Keeps the attachment; dropping it detaches.
    pub guard: AttachGuard,
}

/// The connection that an attachment hangs on.
#[derive(Default)]
pub struct AttachGuard {
    _connection: Option<tokio::net::UnixStream>,
}

impl AttachGuard {
    pub(crate) fn new(connection: tokio::net::UnixStream) -> Self {
        Self {
            _connection: Some(connection),
        }
    }

    /// Nothing to detach from (fakes).
    pub fn none() -> Self {
        Self::default()
    }
}
