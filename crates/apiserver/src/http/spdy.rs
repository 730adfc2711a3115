//! The part of SPDY/3.1 that `kubectl port-forward` uses, tunnelled in binary WebSocket messages: a pair of streams
//! (error, data) a connection, named by their headers `streamtype`, `port` and `requestid`.

use super::channel::Socket;
use super::forward::{PIECE_BYTES, QUEUE, Target};
use super::spdy_words::DICTIONARY;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status as Inflate};
use futures::{SinkExt, StreamExt};
use std::collections::HashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;

/// A frame may not be longer: clients send 32 KiB at a time.
const MAX_FRAME_BYTES: usize = 1 << 20;
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Streams at the same time: twice the connections.
const MAX_STREAMS: usize = 2_000;

/// Why a tunnel cannot go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("a SPDY frame is malformed: {0}")]
    Frame(&'static str),
    #[error("the headers of a SPDY stream cannot be read: {0}")]
    Headers(String),
    #[error("more than {MAX_STREAMS} streams are open")]
    TooMany,
    #[error("the client is gone")]
    Gone,
}

/// Serves one tunnel until the client ends it.
pub async fn serve(socket: Socket, target: Target) {
    let (mut out, mut input) = socket.split();
    let (to_client, mut frames) = mpsc::channel::<Bytes>(QUEUE);
    let mut tunnel = Tunnel::new(target, to_client);
    // Apart from reading, so that a pod that waits for its answer to be taken never blocks what it still has to read.
    let writer = async {
        while let Some(frame) = frames.recv().await {
            if out.send(Message::Binary(frame)).await.is_err() {
                break;
            }
        }
        Err(Broken::Gone)
    };
    let reader = async {
        let mut buffer = BytesMut::new();
        loop {
            match input.next().await {
                Some(Ok(Message::Binary(data))) => {
                    buffer.extend_from_slice(&data);
                    tunnel.take(&mut buffer).await?;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
            }
        }
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
    inflate: Decompress,
    dictionary_set: bool,
    first_reply: bool,
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
    fn new(target: Target, to_client: mpsc::Sender<Bytes>) -> Self {
        Self {
            target,
            to_client,
            inflate: Decompress::new(true),
            dictionary_set: false,
            first_reply: true,
            streams: HashMap::new(),
            errors: HashMap::new(),
        }
    }

    /// Takes whole frames out of `buffer`.
    async fn take(&mut self, buffer: &mut BytesMut) -> Result<(), Broken> {
        while buffer.len() >= 8 {
            let length = u32::from_be_bytes([0, buffer[5], buffer[6], buffer[7]]) as usize;
            if length > MAX_FRAME_BYTES {
                return Err(Broken::Frame("it is too long"));
            }
            if buffer.len() < 8 + length {
                return Ok(());
            }
            let mut head = buffer.split_to(8);
            let body = buffer.split_to(length).freeze();
            let first = head.get_u32();
            let flags = head.get_u8();
            if first & 0x8000_0000 == 0 {
                self.data(first, flags, body).await;
                continue;
            }
            match first as u16 {
                SYN_STREAM => self.open(body).await?,
                RST_STREAM if body.len() >= 4 => {
                    let id = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
                    self.streams.remove(&id);
                }
                PING => self.send(control(PING, 0, &body)).await?,
                GOAWAY => return Err(Broken::Gone),
                SETTINGS => {}
                _ => {}
            }
        }
        Ok(())
    }

    async fn data(&mut self, id: u32, flags: u8, body: Bytes) {
        let Some(Stream::Data(pod)) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(sender) = pod
            && !body.is_empty()
            && sender.send(body).await.is_err()
        {
            *pod = None;
        }
        if flags & FIN != 0 {
            *pod = None;
        }
    }

    async fn open(&mut self, body: Bytes) -> Result<(), Broken> {
        if body.len() < 10 {
            return Err(Broken::Frame("SYN_STREAM is too short"));
        }
        if self.streams.len() >= MAX_STREAMS {
            return Err(Broken::TooMany);
        }
        let id = u32::from_be_bytes([body[0], body[1], body[2], body[3]]) & 0x7fff_ffff;
        let headers = self.headers(&body[10..])?;
        let get = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        let reply = self.reply(id);
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

    /// Headers are one zlib stream over all SYN_STREAMs of the tunnel, with SPDY's dictionary.
    fn headers(&mut self, block: &[u8]) -> Result<HashMap<String, String>, Broken> {
        let failed = |e: flate2::DecompressError| Broken::Headers(e.to_string());
        let mut out = Vec::with_capacity(MAX_HEADER_BYTES);
        let mut at = 0;
        loop {
            let before = self.inflate.total_in();
            let step = self
                .inflate
                .decompress_vec(&block[at..], &mut out, FlushDecompress::Sync);
            at += (self.inflate.total_in() - before) as usize;
            match step {
                Err(e) if e.needs_dictionary().is_some() && !self.dictionary_set => {
                    self.inflate.set_dictionary(&DICTIONARY).map_err(failed)?;
                    self.dictionary_set = true;
                }
                Err(e) => return Err(failed(e)),
                Ok(Inflate::StreamEnd) => break,
                Ok(_) if at >= block.len() || out.len() == out.capacity() => break,
                Ok(Inflate::BufError) => break,
                Ok(Inflate::Ok) => {}
            }
        }
        parse_headers(&out).ok_or(Broken::Frame("a header block is malformed"))
    }

    /// SYN_REPLY without headers. The block is stored, not compressed: only its frame is zlib's.
    fn reply(&mut self, id: u32) -> Bytes {
        let mut body = BytesMut::new();
        body.put_u32(id);
        let block = 0u32.to_be_bytes();
        if std::mem::take(&mut self.first_reply) {
            // zlib header with a dictionary, and the dictionary's Adler-32.
            body.put_slice(&[0x78, 0xbb]);
            body.put_u32(adler32(&DICTIONARY));
        }
        body.put_u8(0);
        body.put_u16_le(block.len() as u16);
        body.put_u16_le(!(block.len() as u16));
        body.put_slice(&block);
        // An empty block tells Go's reader to hand out what it has, as a flush does.
        body.put_slice(&[0, 0, 0, 0xff, 0xff]);
        control(SYN_REPLY, 0, &body)
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

fn control(kind: u16, flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u16(0x8003);
    frame.put_u16(kind);
    frame.put_u32(u32::from(flags) << 24 | body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

fn data(stream: u32, flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u32(stream);
    frame.put_u32(u32::from(flags) << 24 | body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

/// Count, then name and value, each with a length of 32 bits.
fn parse_headers(mut block: &[u8]) -> Option<HashMap<String, String>> {
    let text = |block: &mut &[u8]| -> Option<String> {
        let length = block.try_get_u32().ok()? as usize;
        let bytes = block.get(..length)?;
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        block.advance(length);
        Some(text)
    };
    let count = block.try_get_u32().ok()?;
    let mut headers = HashMap::new();
    for _ in 0..count.min(100) {
        let name = text(&mut block)?;
        headers.insert(name.to_ascii_lowercase(), text(&mut block)?);
    }
    Some(headers)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_protocols() {
        assert_eq!((DICTIONARY.len(), adler32(&DICTIONARY)), (1423, 0xe3c6_a7c2));
    }
}
