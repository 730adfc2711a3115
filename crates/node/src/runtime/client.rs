//! The server's side of a pod's socket: the main connection with requests, replies and events, and the
//! connections of single execs and attachments with their descriptors.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{oneshot, watch};

use super::error::RuntimeError;
use super::paths::SOCKET;
use crate::shim::fds;
use crate::shim::protocol::{self, Message, Reply, Request, RequestFrame, WireError};

type Answer = Result<Reply, WireError>;
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

pub struct ShimClient {
    uid: String,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    next: AtomicU64,
    /// `None` once the shim is gone.
    waiting: Waiting,
    gone: watch::Receiver<bool>,
}

/// A path to the socket that fits however deep the data directory is: by a descriptor of the pod's directory.
pub fn with_socket_path<T>(dir: &Path, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let dir = std::fs::File::open(dir)?;
    use_it(Path::new(&format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd())))
}

fn connect(dir: &Path) -> io::Result<UnixStream> {
    let socket = with_socket_path(dir, |path| std::os::unix::net::UnixStream::connect(path))?;
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

impl ShimClient {
    /// Connects and says hello. `on_message` gets the events in order, and `None` when the shim is gone.
    pub async fn connect(
        uid: &str,
        dir: &Path,
        on_message: impl Fn(Option<Message>) + Send + 'static,
    ) -> Result<(Arc<Self>, Reply), RuntimeError> {
        let socket = connect(dir).map_err(|error| {
            tracing::debug!(pod = uid, %error, "no shim answers");
            RuntimeError::ShimGone(uid.to_owned())
        })?;
        let (reader, writer) = socket.into_split();
        let gone = watch::Sender::new(false);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let client = Arc::new(Self {
            uid: uid.to_owned(),
            writer: tokio::sync::Mutex::new(writer),
            next: AtomicU64::new(1),
            waiting: Arc::clone(&waiting),
            gone: gone.subscribe(),
        });
        tokio::spawn(async move {
            read_messages(reader, waiting, on_message).await;
            gone.send_replace(true);
        });
        let hello = client
            .call(Request::Hello {
                version: protocol::PROTOCOL_VERSION,
            })
            .await?
            .map_err(RuntimeError::from)?;
        Ok((client, hello))
    }

    /// The outer error: the shim is gone; the inner one: it refused.
    pub async fn call(&self, request: Request) -> Result<Answer, RuntimeError> {
        let gone = || RuntimeError::ShimGone(self.uid.clone());
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = protocol::encode(&RequestFrame { id, request })
            .map_err(|e| RuntimeError::Internal(format!("encode a request: {e}")))?;
        let (sender, receiver) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .ok_or_else(gone)?
            .insert(id, sender);
        self.writer
            .lock()
            .await
            .write_all(&frame)
            .await
            .map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())
    }

    /// Until the shim has closed its socket, which it does by ending.
    pub async fn wait_gone(&self) {
        // An error means that the reading task is gone, and with it the connection.
        if self.gone.clone().wait_for(|gone| *gone).await.is_err() {
            tracing::debug!(pod = self.uid, "the connection's task ended");
        }
    }

    pub fn is_gone(&self) -> bool {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }
}

async fn read_messages(mut reader: OwnedReadHalf, waiting: Waiting, on_message: impl Fn(Option<Message>)) {
    let mut buffer = Vec::new();
    let why = loop {
        match protocol::take_frame(&mut buffer) {
            Ok(Some(frame)) => match serde_json::from_slice(&frame) {
                Ok(Message::Reply { id, reply }) => answer(&waiting, id, Ok(reply)),
                Ok(Message::Refused { id, error }) => answer(&waiting, id, Err(error)),
                Ok(message) => on_message(Some(message)),
                Err(error) => tracing::warn!(%error, "a message of the shim is not understood"),
            },
            Ok(None) => match reader.read_buf(&mut buffer).await {
                Ok(0) => break "it closed its socket".to_owned(),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            },
            Err(error) => break error,
        }
    };
    tracing::debug!(why, "a shim is gone");
    // Dropping the senders tells everyone who waits.
    drop(waiting.lock().unwrap_or_else(PoisonError::into_inner).take());
    on_message(None);
}

fn answer(waiting: &Waiting, id: u64, answer: Answer) {
    let sender = waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_mut()
        .and_then(|map| map.remove(&id));
    if sender.is_none_or(|sender| sender.send(answer).is_err()) {
        tracing::debug!(id, "nobody waits for an answer of the shim");
    }
}

/// A connection for one exec or attachment.
pub struct StreamConnection {
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl StreamConnection {
    /// Sends a request with descriptors and waits for the answer, with the descriptor that it carries.
    pub async fn open(
        uid: &str,
        dir: &Path,
        request: Request,
        given: &[OwnedFd],
    ) -> Result<(Self, Result<Option<OwnedFd>, WireError>), RuntimeError> {
        let gone = |error: io::Error| {
            tracing::debug!(pod = uid, %error, "a stream to the shim failed");
            RuntimeError::ShimGone(uid.to_owned())
        };
        let mut connection = Self {
            socket: connect(dir).map_err(gone)?,
            buffer: Vec::new(),
        };
        connection
            .send(&RequestFrame { id: 1, request }, given)
            .await
            .map_err(gone)?;
        let mut received = Vec::new();
        match connection.next(&mut received).await.map_err(gone)? {
            Some(Message::Reply { .. }) => Ok((connection, Ok(received.pop()))),
            Some(Message::Refused { error, .. }) => Ok((connection, Err(error))),
            _ => Err(RuntimeError::ShimGone(uid.to_owned())),
        }
    }

    async fn send(&self, message: &impl Serialize, given: &[OwnedFd]) -> io::Result<()> {
        let frame = protocol::encode(message)?;
        let mut rights: Vec<RawFd> = given.iter().map(AsRawFd::as_raw_fd).collect();
        let mut sent = 0;
        while sent < frame.len() {
            let send = || fds::send(self.socket.as_raw_fd(), &frame[sent..], &rights);
            sent += self.socket.async_io(Interest::WRITABLE, send).await?;
            rights.clear();
        }
        Ok(())
    }

    /// The next message; `None` at the end.
    async fn next(&mut self, received: &mut Vec<OwnedFd>) -> io::Result<Option<Message>> {
        loop {
            if let Some(frame) = protocol::take_frame(&mut self.buffer).map_err(io::Error::other)? {
                return Ok(Some(serde_json::from_slice(&frame)?));
            }
            let mut bytes = [0; 4096];
            let receive = || fds::receive(self.socket.as_raw_fd(), &mut bytes, received);
            match self.socket.async_io(Interest::READABLE, receive).await? {
                0 => return Ok(None),
                count => self.buffer.extend_from_slice(&bytes[..count]),
            }
        }
    }

    /// Waits until the exec's process has ended. `None`: the shim went first.
    pub async fn exec_exit(mut self) -> Option<(i32, i32)> {
        loop {
            match self.next(&mut Vec::new()).await {
                Ok(Some(Message::ExecExited { code, signal })) => return Some((code, signal)),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(%error, "an exec's connection failed");
                    return None;
                }
            }
        }
    }

    pub fn into_socket(self) -> UnixStream {
        self.socket
    }
}
