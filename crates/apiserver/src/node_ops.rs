//! What the API asks of the node for a running pod: logs, exec, attach and connections. The binary wires it to the
//! node agent.

use bytes::Bytes;
use futures::stream::BoxStream;
use meta::{Status, Timestamp};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogOptions {
    /// Empty: the pod's only (or default) container.
    pub container: String,
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub since_seconds: Option<i64>,
    pub since_time: Option<Timestamp>,
    pub tail_lines: Option<u64>,
    pub limit_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecOptions {
    /// Empty: the pod's only (or default) container.
    pub container: String,
    /// Empty for attach.
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// A running command, seen from outside. Dropping it closes the command's stdin and lets it go.
pub struct Session {
    /// Bounded by the node; dropping the sender is end of file.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Ends when both streams have ended.
    pub output: mpsc::Receiver<Output>,
    /// Columns and rows of the terminal.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    pub exit: oneshot::Receiver<Exit>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Stdout(Bytes),
    Stderr(Bytes),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Exit {
    Code(i32),
    /// It could not be started, or its end was not seen.
    Failed(String),
}

/// A connection to a pod's port.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The node agent, as the API uses it. Errors are answered to the client as they are.
#[async_trait::async_trait]
pub trait NodeOps: Send + Sync {
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status>;

    async fn exec(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<Session, Status>;

    async fn attach(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<Session, Status>;

    /// Connects to a port inside the pod's network namespace, on its loopback.
    async fn dial(&self, namespace: &str, pod: &str, port: u16) -> Result<Box<dyn Duplex>, Status>;

    /// Connects from inside the cluster's network to an address of a pod. The caller sets the time limit.
    async fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Duplex>>;
}
