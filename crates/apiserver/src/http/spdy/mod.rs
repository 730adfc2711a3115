//! SPDY/3.1, which Kubernetes' clients spoke before WebSocket and still fall back to: on a connection of its own, or
//! tunnelled in WebSocket messages. One file for its frames, one for each use of them.

mod exec;
mod frames;
mod tunnel;
mod words;

pub use exec::{serve as exec, wanted as streams};
pub use tunnel::serve as port_forward;

use super::Server;
use super::body::Body;
use super::channel::{Socket, upgraded};
use bytes::{Bytes, BytesMut};
use frames::Broken;
use futures::sink::{self, Sink};
use futures::stream::{self, BoxStream};
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use meta::Status;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

const NAME: &str = "SPDY/3.1";
const VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const READ_BYTES: usize = 64 * 1024;

/// Bytes both ways, on whatever carries them.
pub struct Pipe {
    input: BoxStream<'static, Bytes>,
    output: Pin<Box<dyn Sink<Bytes, Error = Broken> + Send>>,
}

impl Pipe {
    /// In binary messages of a WebSocket.
    pub fn tunnelled(socket: Socket) -> Self {
        let (out, input) = socket.split();
        let input = input
            .take_while(|message| {
                let goes_on = matches!(message, Ok(message) if !message.is_close());
                std::future::ready(goes_on)
            })
            .filter_map(|message| {
                let bytes = match message {
                    Ok(Message::Binary(bytes)) => Some(bytes),
                    _ => None,
                };
                std::future::ready(bytes)
            });
        let out = out.sink_map_err(|_| Broken::Gone);
        Self {
            input: input.boxed(),
            output: Box::pin(out.with(|bytes| std::future::ready(Ok::<_, Broken>(Message::Binary(bytes))))),
        }
    }

    fn direct(upgraded: hyper::upgrade::Upgraded) -> Self {
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        let input = stream::unfold(read, |mut read| async move {
            let mut bytes = BytesMut::with_capacity(READ_BYTES);
            match read.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => None,
                Ok(_) => Some((bytes.freeze(), read)),
            }
        });
        let output = sink::unfold(write, |mut write, bytes: Bytes| async move {
            let gone = |_| Broken::Gone;
            write.write_all(&bytes).await.map_err(gone)?;
            write.flush().await.map_err(gone)?;
            Ok(write)
        });
        Self {
            input: input.boxed(),
            output: Box::pin(output),
        }
    }
}

/// Whether a request asks for SPDY on its connection.
pub fn is_asked_for(parts: &Parts) -> bool {
    let upgrades = parts.headers.get_all(UPGRADE).iter();
    upgrades
        .filter_map(|v| v.to_str().ok())
        .any(|v| v.eq_ignore_ascii_case(NAME))
}

/// The first of the client's protocols that is `known`, in the client's order.
pub fn choose(parts: &Parts, known: &[&'static str]) -> Result<&'static str, Status> {
    let texts = parts
        .headers
        .get_all(VERSION)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let offered: Vec<&str> = texts.flat_map(|t| t.split(',').map(str::trim)).collect();
    let found = offered
        .iter()
        .find_map(|o| known.iter().find(|k| *k == o).copied());
    found.ok_or_else(|| {
        let why = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            offered.join(" "),
            known.join(" ")
        );
        Status::new(403, "Forbidden", why)
    })
}

/// Answers 101 and hands the connection to `run`, which outlives the request.
pub fn upgrade<F>(
    server: &Arc<Server>,
    parts: &mut Parts,
    protocol: &'static str,
    run: impl FnOnce(Pipe) -> F + Send + 'static,
) -> Result<Response<Body>, Status>
where
    F: Future<Output = ()> + Send,
{
    upgraded(server, parts, |upgraded| run(Pipe::direct(upgraded)))?;
    let mut response = Response::new(Body::Full(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(NAME));
    headers.insert(VERSION, HeaderValue::from_static(protocol));
    Ok(response)
}
