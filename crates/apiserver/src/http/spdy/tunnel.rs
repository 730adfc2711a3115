//! Port-forward over SPDY: a pair of streams (error, data) a connection, named by their headers `streamtype`, `port` and
//! `requestid`.

use super::super::forward::{PIECE_BYTES, QUEUE, Target};
use super::Pipe;
use super::frames::{Broken, FIN, Frame, Frames, data};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use std::collections::HashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Streams at the same time: twice the connections.
const MAX_STREAMS: usize = 2_000;

/// Serves one tunnel until the client ends it.
pub async fn serve(pipe: Pipe, target: Target) {
    let Pipe {
        mut input,
        mut output,
    } = pipe;
    let (to_client, mut frames) = mpsc::channel::<Bytes>(QUEUE);
    let mut tunnel = Tunnel {
        target,
        to_client,
        frames: Frames::new(),
        streams: HashMap::new(),
        errors: HashMap::new(),
    };
    // Apart from reading, so that a pod that waits for its answer to be taken never blocks what it still has to read.
    let writer = async {
        while let Some(frame) = frames.recv().await {
            output.send(frame).await?;
        }
        Err(Broken::Gone)
    };
    let reader = async {
        let mut buffer = BytesMut::new();
        while let Some(bytes) = input.next().await {
            buffer.extend_from_slice(&bytes);
            while let Some(frame) = tunnel.frames.take(&mut buffer)? {
                tunnel.take(frame).await?;
            }
        }
        Ok(())
    };
    let ended: Result<(), Broken> = tokio::select! {
        ended = reader => ended,
        ended = writer => ended,
    };
    if let Err(broken) = ended {
        tracing::debug!(%broken, "a port-forward tunnel ended");
    }
}

struct Tunnel {
    target: Target,
    to_client: mpsc::Sender<Bytes>,
    frames: Frames,
    streams: HashMap<u32, Stream>,
    /// Error streams that wait for their data stream, by request id.
    errors: HashMap<String, u32>,
}

enum Stream {
    /// Carries at most one message to the client.
    Error,
    /// Data to the pod; `None` after the client's end. A pod that does not read holds up its tunnel.
    Data(Option<mpsc::Sender<Bytes>>),
}

impl Tunnel {
    async fn take(&mut self, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::Open { stream, headers } => self.open(stream, &headers).await,
            Frame::Data { stream, ends, bytes } => {
                self.data(stream, ends, bytes).await;
                Ok(())
            }
            Frame::Reset { stream } => {
                self.streams.remove(&stream);
                Ok(())
            }
            Frame::Ping(answer) => self.send(answer).await,
            Frame::GoAway => Err(Broken::Gone),
            Frame::Other => Ok(()),
        }
    }

    async fn data(&mut self, id: u32, ends: bool, body: Bytes) {
        let Some(Stream::Data(pod)) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(sender) = pod
            && !body.is_empty()
            && sender.send(body).await.is_err()
        {
            *pod = None;
        }
        if ends {
            *pod = None;
        }
    }

    async fn open(&mut self, id: u32, headers: &HashMap<String, String>) -> Result<(), Broken> {
        if self.streams.len() >= MAX_STREAMS {
            return Err(Broken::TooMany);
        }
        let get = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        let reply = self.frames.reply(id);
        self.send(reply).await?;
        let request = get("requestid").to_string();
        if get("streamtype") == "error" {
            self.streams.insert(id, Stream::Error);
            self.errors.insert(request, id);
            return Ok(());
        }
        let port = get("port")
            .parse::<u16>()
            .map_err(|_| Broken::Headers("port is not a number".into()))?;
        let error = self.errors.remove(&request);
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.streams.insert(id, Stream::Data(Some(sender)));
        tokio::spawn(connect(
            self.target.clone(),
            port,
            Ids { data: id, error },
            receiver,
            self.to_client.clone(),
        ));
        Ok(())
    }

    async fn send(&self, frame: Bytes) -> Result<(), Broken> {
        self.to_client.send(frame).await.map_err(|_| Broken::Gone)
    }
}

#[derive(Clone, Copy)]
struct Ids {
    data: u32,
    error: Option<u32>,
}

/// One connection to the pod: bytes both ways, then the end of both streams.
async fn connect(
    target: Target,
    port: u16,
    ids: Ids,
    mut from_client: mpsc::Receiver<Bytes>,
    to_client: mpsc::Sender<Bytes>,
) {
    let send = async |frame: Bytes| to_client.send(frame).await.is_ok();
    match target.dial(port).await {
        Ok(stream) => {
            let (mut read, mut write) = tokio::io::split(stream);
            let down = async {
                let mut buffer = vec![0; PIECE_BYTES];
                while let Ok(n) = read.read(&mut buffer).await {
                    if n == 0 || !send(data(ids.data, 0, &buffer[..n])).await {
                        break;
                    }
                }
                send(data(ids.data, FIN, &[])).await;
            };
            let up = async {
                while let Some(bytes) = from_client.recv().await {
                    if write.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                if let Err(error) = write.shutdown().await {
                    tracing::debug!(%error, "a forwarded connection was closed early");
                }
            };
            tokio::join!(down, up);
        }
        Err(status) => {
            if let Some(error) = ids.error {
                let text = format!(
                    "error forwarding port {port} to pod {}: {}",
                    target.pod, status.message
                );
                send(data(error, 0, text.as_bytes())).await;
            }
            send(data(ids.data, FIN, &[])).await;
        }
    }
    if let Some(error) = ids.error {
        send(data(error, FIN, &[])).await;
    }
}
