//! What server and shim say to each other over the pod's Unix socket: frames of a length (u32, little
//! endian) and JSON; file descriptors ride on a frame's first byte. Unknown fields are ignored and unknown
//! requests refused by name, so servers and shims of different versions understand each other.

use serde::{Deserialize, Serialize};

use crate::runtime::spec::{
    ContainerId, ContainerSpec, ContainerStatus, ExecSpec, Exit, PodSandboxSpec, TerminalSize,
};

/// Raised when a message changes its meaning; new fields and messages do not need it.
pub const PROTOCOL_VERSION: u32 = 1;
/// The largest frame either side accepts: a container with a very large environment fits.
pub const FRAME_LIMIT_BYTES: usize = 4 << 20;
/// The most descriptors that one frame carries.
pub const FDS_PER_FRAME: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
pub struct RequestFrame {
    pub id: u64,
    #[serde(flatten)]
    pub request: Request,
}

/// Read first, so that a request that this version does not know can still be refused by its id.
#[derive(Debug, Deserialize)]
pub struct RequestHead {
    pub id: u64,
    #[serde(default)]
    pub op: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// First on the main connection; from then on it gets the events.
    Hello { version: u32 },
    /// Create and start.
    Start { spec: Box<ContainerSpec> },
    /// To the container's first process; `all` means every process in its cgroup.
    Kill {
        container: ContainerId,
        signal: i32,
        #[serde(default)]
        all: bool,
    },
    /// Forget an ended container.
    Remove { container: ContainerId },
    /// Descriptors: the process's stdin, stdout, stderr, as far as the spec asks for them (none with a tty:
    /// there the reply carries the terminal's master). The connection is then the exec's: its end kills the
    /// process, and `Exited` comes on it.
    Exec {
        container: ContainerId,
        spec: Box<ExecSpec>,
    },
    /// Descriptors: where to write the container's stdout and stderr. The reply carries the container's
    /// stdin (or terminal) if it has one and `stdin` asks for it. Ends when the connection does.
    Attach {
        container: ContainerId,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// Of a container's own terminal.
    Resize {
        container: ContainerId,
        size: TerminalSize,
    },
    /// Kill what runs and exit.
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The container could not be made: CreateContainerError.
    Create,
    /// It was made but its command could not run: StartError, exit code 128.
    Start,
    NotFound,
    /// Not in the state that the request needs.
    Conflict,
    /// This shim does not know the request.
    Unsupported,
    Internal,
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireError {
    pub kind: ErrorKind,
    pub message: String,
    /// The exit code that a shell would give (126, 127), where it is about a command.
    #[serde(default)]
    pub code: i32,
}

impl WireError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: 0,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    pub version: u32,
    pub pid: i32,
    pub started_at_ns: i64,
    pub containers: Vec<ContainerStatus>,
    pub sandbox: Option<PodSandboxSpec>,
    /// What did not stop the request but should be known.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    Reply {
        id: u64,
        #[serde(flatten)]
        reply: Reply,
    },
    Refused {
        id: u64,
        error: WireError,
    },
    Started {
        container: ContainerId,
        pid: i32,
        started_at_ns: i64,
    },
    Exited {
        container: ContainerId,
        exit: Exit,
    },
    /// On an exec's own connection.
    ExecExited {
        code: i32,
        signal: i32,
    },
    #[serde(other)]
    Unknown,
}

/// The length prefix and JSON of a message.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The first whole frame in `buffer`, taken out of it. `Err` names a frame over the limit.
pub fn take_frame(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > FRAME_LIMIT_BYTES {
        return Err(format!(
            "a frame of {length} bytes is over the limit of {FRAME_LIMIT_BYTES}"
        ));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let frame = buffer[4..4 + length].to_vec();
    buffer.drain(..4 + length);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut wire = encode(&RequestFrame {
            id: 1,
            request: Request::Shutdown,
        })
        .expect("encode");
        wire.extend(
            encode(&RequestFrame {
                id: 2,
                request: Request::Hello { version: 1 },
            })
            .expect("encode"),
        );
        let (mut buffer, mut ids) = (Vec::new(), Vec::new());
        for byte in wire {
            buffer.push(byte);
            while let Some(frame) = take_frame(&mut buffer).expect("no limit reached") {
                ids.push(serde_json::from_slice::<RequestHead>(&frame).expect("head").id);
            }
        }
        assert_eq!(ids, [1, 2]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_newer_sides_words_are_understood_or_refused_by_id() {
        let head: RequestHead = serde_json::from_str(r#"{"id":7,"op":"checkpoint","to":"x"}"#).expect("head");
        assert_eq!((head.id, head.op.as_str()), (7, "checkpoint"));
        assert!(serde_json::from_str::<RequestFrame>(r#"{"id":7,"op":"checkpoint"}"#).is_err());
        let hello: RequestFrame =
            serde_json::from_str(r#"{"id":1,"op":"hello","version":9,"new":true}"#).expect("hello");
        assert!(matches!(hello.request, Request::Hello { version: 9 }));
        let unknown: Message = serde_json::from_str(r#"{"type":"paused","x":1}"#).expect("unknown message");
        assert!(matches!(unknown, Message::Unknown));
    }

    #[test]
    fn an_oversized_frame_is_an_error_not_an_allocation() {
        let mut buffer = (u32::MAX).to_le_bytes().to_vec();
        assert!(
            take_frame(&mut buffer)
                .expect_err("limit")
                .contains("over the limit")
        );
    }
}
