//! Logs, exec, attach and port-forward: the API's sessions over the node agent's streams.

use apiserver::NodeOps;
use apiserver::node_ops::{Duplex, ExecOptions, Exit, LogOptions, Output, Session};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use meta::{Env, Status};
use node::agent::Agent;
use node::runtime::stream::{Reader, Resizer, Writer};
use node::runtime::{AttachStreams, ExecSpec, RuntimeError, TerminalSize};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

/// Pieces of input and output on their way; a slow reader holds the writer up after these.
const QUEUE: usize = 16;
const PIECE_BYTES: usize = 32 * 1024;

pub struct Sessions {
    pub agent: Agent,
}

#[async_trait]
impl NodeOps for Sessions {
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Status> {
        let now = super::env::RealEnv.now();
        let since = options
            .since_time
            .or(options.since_seconds.map(|s| now.plus_seconds(-s)));
        let read = node::runtime::logs::LogOptions {
            tail_lines: options.tail_lines,
            since_ns: since.map(|at| at.jiff().as_nanosecond() as i64),
            timestamps: options.timestamps,
            limit_bytes: options.limit_bytes,
            follow: options.follow,
            stream: None,
        };
        Ok(self
            .agent
            .logs(namespace, pod, &options.container, options.previous, read)
            .await?)
    }

    async fn exec(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<Session, Status> {
        let spec = ExecSpec {
            args: options.command.clone(),
            tty: options.tty,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr && !options.tty,
            ..ExecSpec::default()
        };
        let (ends, exit) = oneshot::channel();
        let session = match self.agent.exec(namespace, pod, &options.container, &spec).await {
            Ok(session) => session,
            // A command that cannot be started is an answer about the command, not about the request.
            Err(node::agent::SessionError::Runtime(RuntimeError::Exec { message, .. })) => {
                return Ok(failed(message));
            }
            Err(error) => return Err(error.into()),
        };
        let end = session.exit;
        tokio::spawn(async move {
            let outcome = match end.wait().await {
                Ok(exit) => Exit::Code(exit.code),
                Err(error) => Exit::Failed(error.to_string()),
            };
            // The client may have gone.
            ends.send(outcome).ok();
        });
        Ok(Session {
            stdin: session.stdin.map(pump_in),
            output: pump_out(session.stdout, session.stderr, ()),
            resize: session.resize.map(pump_size),
            exit,
        })
    }

    async fn attach(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<Session, Status> {
        let streams = AttachStreams {
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let session = self
            .agent
            .attach(namespace, pod, &options.container, streams)
            .await?;
        let (ends, exit) = oneshot::channel();
        // An attachment ends with its streams; how the container ended is in its status.
        ends.send(Exit::Code(0)).ok();
        Ok(Session {
            stdin: session.stdin.map(pump_in),
            output: pump_out(session.stdout, session.stderr, session.guard),
            resize: session.resize.map(pump_size),
            exit,
        })
    }

    async fn dial(&self, namespace: &str, pod: &str, port: u16) -> Result<Box<dyn Duplex>, Status> {
        Ok(Box::new(self.agent.dial(namespace, pod, port).await?))
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Duplex>> {
        Ok(Box::new(self.agent.connect(to).await?))
    }
}

fn failed(message: String) -> Session {
    let (ends, exit) = oneshot::channel();
    ends.send(Exit::Failed(message)).ok();
    let (_, output) = mpsc::channel(1);
    Session {
        stdin: None,
        output,
        resize: None,
        exit,
    }
}

fn pump_in(mut writer: Writer) -> mpsc::Sender<Bytes> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(QUEUE);
    tokio::spawn(async move {
        while let Some(piece) = pieces.recv().await {
            if let Err(error) = writer.write_all(&piece).await {
                tracing::debug!(%error, "the process reads no more");
                return;
            }
        }
    });
    sender
}

/// Both streams in one queue; `guard` lives until both have ended.
fn pump_out<G: Send + 'static>(
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    guard: G,
) -> mpsc::Receiver<Output> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let out = copy(stdout, sender.clone(), Output::Stdout);
        let err = copy(stderr, sender, Output::Stderr);
        tokio::join!(out, err);
        drop(guard);
    });
    receiver
}

async fn copy(reader: Option<Reader>, sender: mpsc::Sender<Output>, wrap: fn(Bytes) -> Output) {
    let Some(mut reader) = reader else { return };
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        match reader.read_buf(&mut piece).await {
            Ok(0) => return,
            Ok(_) => {
                if sender.send(wrap(piece.freeze())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a stream of a process broke");
                return;
            }
        }
    }
}

fn pump_size(resize: Resizer) -> mpsc::Sender<(u16, u16)> {
    let (sender, mut sizes) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some((columns, rows)) = sizes.recv().await {
            if let Err(error) = resize(TerminalSize {
                width: columns,
                height: rows,
            }) {
                tracing::debug!(%error, "the terminal keeps its size");
            }
        }
    });
    sender
}
