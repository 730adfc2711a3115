//! One connection of the server to the shim: frames and descriptors in, frames out, never blocking.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;

use super::{fds, protocol};

/// A server that does not read is cut off at this much; it reads the state again when it comes back.
const OUT_LIMIT_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 16 << 10;

pub struct Connection {
    socket: UnixStream,
    incoming: Vec<u8>,
    fds: Vec<OwnedFd>,
    outgoing: VecDeque<u8>,
    /// A descriptor that goes with the next bytes.
    with_next: Option<OwnedFd>,
    pub wants_events: bool,
}

impl Connection {
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            incoming: Vec::new(),
            fds: Vec::new(),
            outgoing: VecDeque::new(),
            with_next: None,
            wants_events: false,
        })
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub fn wants_to_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads what is there. `Ok(false)`: the other side is gone.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match fds::receive(self.socket.as_raw_fd(), &mut buffer, &mut self.fds) {
                Ok(0) => return Ok(false),
                Ok(count) => self.incoming.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.incoming.len() > protocol::FRAME_LIMIT_BYTES + READ_BYTES {
                return Ok(true); // Let the frames be taken first.
            }
        }
    }

    /// The next whole frame, with all descriptors that came by now.
    pub fn next_frame(&mut self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let frame = protocol::take_frame(&mut self.incoming).map_err(io::Error::other)?;
        if self.incoming.is_empty() {
            self.incoming = Vec::new(); // Give a large container's memory back.
        }
        Ok(frame.map(|frame| (frame, std::mem::take(&mut self.fds))))
    }

    /// Queues a message and writes what can be written. An error means: drop this connection.
    pub fn send(&mut self, message: &impl Serialize, fd: Option<OwnedFd>) -> io::Result<()> {
        let frame = protocol::encode(message)?;
        if self.outgoing.len() + frame.len() > OUT_LIMIT_BYTES {
            return Err(io::Error::other("the server does not read its events"));
        }
        if fd.is_some() {
            // Only replies on a fresh connection carry one, so nothing is queued before it.
            self.with_next = fd;
        }
        self.outgoing.extend(frame);
        self.flush()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let (bytes, _) = self.outgoing.as_slices();
            let rights: Vec<RawFd> = self.with_next.iter().map(AsRawFd::as_raw_fd).collect();
            match fds::send(self.socket.as_raw_fd(), bytes, &rights) {
                Ok(count) => {
                    self.with_next = None;
                    self.outgoing.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing = VecDeque::new();
        Ok(())
    }
}
