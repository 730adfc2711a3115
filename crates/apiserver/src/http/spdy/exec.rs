//! Exec and attach over SPDY: one stream each for errors, stdin, stdout, stderr and the terminal's size, named by their
//! header `streamtype`.

use super::super::channel::{drained, exit_status, resized};
use super::Pipe;
use super::frames::{Broken, FIN, Frame, Frames, data};
use crate::node_ops::{Exit, Output, Session};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Sink, SinkExt, StreamExt};
use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a client may take to open its streams.
const STREAMS_LIMIT: Duration = Duration::from_secs(30);
/// Frames on their way to the client.
const QUEUE: usize = 16;
const MAX_STREAMS: usize = 5;

/// The streams that a client opens for a session.
pub fn wanted(stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Vec<&'static str> {
    let all = [
        (true, "error"),
        (stdin, "stdin"),
        (stdout, "stdout"),
        (stderr && !tty, "stderr"),
        (tty, "resize"),
    ];
    all.into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| name)
        .collect()
}

/// Serves one session until the command or the client ends it.
pub async fn serve(pipe: Pipe, session: Session, wanted: Vec<&'static str>) {
    let Pipe { input, output } = pipe;
    let (to_client, frames) = mpsc::channel(QUEUE);
    let reader = Reader {
        frames: Frames::new(),
        input,
        buffer: BytesMut::new(),
        streams: HashMap::new(),
        to_client,
    };
    // The writer goes on until all that was said has been written.
    let ((ended, rest), written) = tokio::join!(run(reader, session, wanted), write(frames, output));
    if let Err(broken) = ended.and(written) {
        tracing::debug!(%broken, "an exec or attach over SPDY ended early");
    }
    drained(rest).await;
}

/// All of a session; gives back what the client may still send.
async fn run(
    mut reader: Reader,
    session: Session,
    wanted: Vec<&'static str>,
) -> (Result<(), Broken>, BoxStream<'static, Bytes>) {
    let ended = async {
        let opened = tokio::time::timeout(STREAMS_LIMIT, reader.open(&wanted)).await;
        opened.unwrap_or(Err(Broken::Frame("the streams were not opened in time")))?;
        let ids = wanted.iter().map(|name| (*name, reader.id(name))).collect();
        let Session {
            stdin,
            output,
            resize,
            exit,
        } = session;
        let down = down(ids, output, exit, reader.to_client.clone());
        tokio::select! {
            ended = down => ended,
            ended = reader.read(stdin, resize) => ended,
        }
    };
    let ended = ended.await;
    (ended, reader.input)
}

async fn write(
    mut frames: mpsc::Receiver<Bytes>,
    mut output: Pin<Box<dyn Sink<Bytes, Error = Broken> + Send>>,
) -> Result<(), Broken> {
    while let Some(frame) = frames.recv().await {
        output.send(frame).await?;
    }
    output.close().await
}

/// What the command says, then how it ended.
async fn down(
    ids: HashMap<&'static str, u32>,
    mut output: mpsc::Receiver<Output>,
    exit: tokio::sync::oneshot::Receiver<Exit>,
    to_client: mpsc::Sender<Bytes>,
) -> Result<(), Broken> {
    while let Some(piece) = output.recv().await {
        let (name, bytes) = match piece {
            Output::Stdout(bytes) => ("stdout", bytes),
            Output::Stderr(bytes) => ("stderr", bytes),
        };
        if let Some(id) = ids.get(name) {
            send(&to_client, data(*id, 0, &bytes)).await?;
        }
    }
    let exit = exit
        .await
        .unwrap_or_else(|_| Exit::Failed("the command's end was not seen".into()));
    if let Some(id) = ids.get("error") {
        let status = exit_status(&exit).to_string();
        send(&to_client, data(*id, 0, status.as_bytes())).await?;
    }
    for id in ids.values() {
        send(&to_client, data(*id, FIN, &[])).await?;
    }
    Ok(())
}

async fn send(to_client: &mpsc::Sender<Bytes>, frame: Bytes) -> Result<(), Broken> {
    to_client.send(frame).await.map_err(|_| Broken::Gone)
}

struct Reader {
    frames: Frames,
    input: BoxStream<'static, Bytes>,
    buffer: BytesMut,
    /// What each stream is for.
    streams: HashMap<u32, String>,
    to_client: mpsc::Sender<Bytes>,
}

impl Reader {
    fn id(&self, name: &str) -> u32 {
        let found = self.streams.iter().find(|(_, n)| *n == name);
        found.map_or(0, |(id, _)| *id)
    }

    async fn next(&mut self) -> Result<Frame, Broken> {
        loop {
            match self.frames.take(&mut self.buffer)? {
                Some(Frame::Ping(answer)) => send(&self.to_client, answer).await?,
                Some(Frame::GoAway) => return Err(Broken::Gone),
                Some(frame) => return Ok(frame),
                None => {
                    let more = self.input.next().await.ok_or(Broken::Gone)?;
                    self.buffer.extend_from_slice(&more);
                }
            }
        }
    }

    /// Waits for all streams that the session has. Nothing is sent on them before.
    async fn open(&mut self, wanted: &[&str]) -> Result<(), Broken> {
        while !wanted.iter().all(|name| self.id(name) != 0) {
            if let Frame::Open { stream, headers } = self.next().await? {
                if self.streams.len() >= MAX_STREAMS {
                    return Err(Broken::TooMany);
                }
                let name = headers.get("streamtype").cloned().unwrap_or_default();
                self.streams.insert(stream, name);
                let reply = self.frames.reply(stream);
                send(&self.to_client, reply).await?;
            }
        }
        Ok(())
    }

    /// Hands on what the client sends, until it is gone. Apart from what the command says, so that a command that waits
    /// for its output to be taken never blocks what it still has to read.
    async fn read(
        &mut self,
        mut stdin: Option<mpsc::Sender<Bytes>>,
        resize: Option<mpsc::Sender<(u16, u16)>>,
    ) -> Result<(), Broken> {
        loop {
            let (stream, ends, bytes) = match self.next().await? {
                Frame::Data { stream, ends, bytes } => (stream, ends, bytes),
                Frame::Reset { stream } => (stream, true, Bytes::new()),
                _ => continue,
            };
            match self.streams.get(&stream).map(String::as_str) {
                Some("stdin") => {
                    if let Some(sender) = &stdin
                        && !bytes.is_empty()
                        && sender.send(bytes).await.is_err()
                    {
                        stdin = None;
                    }
                    if ends {
                        stdin = None;
                    }
                }
                Some("resize") => {
                    for size in bytes.split(|b| *b == b'\n').filter(|size| !size.is_empty()) {
                        resized(resize.as_ref(), size);
                    }
                }
                _ => {}
            }
        }
    }
}
