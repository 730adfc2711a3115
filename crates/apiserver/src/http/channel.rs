//! Exec and attach, over WebSocket or SPDY. Here is WebSocket: the channel protocols (`v5.channel.k8s.io` and its older
//! forms), where the first byte of a message says which stream it belongs to.

use super::body::Body;
use super::route::Place;
use super::{Server, forward, spdy};
use crate::node_ops::{ExecOptions, Exit, NodeOps, Output, Session};
use crate::options::Query;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::SplitStream;
use futures::{SinkExt, Stream, StreamExt};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use meta::Status;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

pub type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Only in v5: half-closes the stream that the next byte names.
const CLOSE: u8 = 255;

/// How long a client may take to close its end when all is said.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait for the answer to a ping that every session begins with.
const PONG_LIMIT: Duration = Duration::from_millis(500);
/// Between that answer and the first output. kubectl before v1.34 reads before it has set up what it reads into,
/// and throws away ("Unknown stream id") what comes meanwhile; a command here can be done before that.
const SETTLE: Duration = Duration::from_millis(10);
/// Largest message that a client may send.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Newest first; `true` carries bytes in base64.
const PROTOCOLS: [(&str, bool); 6] = [
    ("v5.channel.k8s.io", false),
    ("v4.channel.k8s.io", false),
    ("v4.base64.channel.k8s.io", true),
    ("channel.k8s.io", false),
    ("base64.channel.k8s.io", true),
    ("", false),
];

/// Answers 101 and hands the socket to `run`, which outlives the request.
pub fn upgrade<F>(
    server: &Arc<Server>,
    parts: &mut Parts,
    protocol: &str,
    run: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Response<Body>, Status>
where
    F: Future<Output = ()> + Send,
{
    let key = parts.headers.get(SEC_WEBSOCKET_KEY).cloned();
    let key = key.ok_or_else(|| Status::bad_request("the WebSocket handshake has no Sec-WebSocket-Key"))?;
    upgraded(server, parts, |upgraded| async {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let io = TokioIo::new(upgraded);
        run(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
    })?;
    let mut response = Response::new(Body::Full(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let text = |text: &str| HeaderValue::from_str(text).map_err(Status::internal);
    headers.insert(SEC_WEBSOCKET_ACCEPT, text(&derive_accept_key(key.as_bytes()))?);
    if !protocol.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, text(protocol)?);
    }
    Ok(response)
}

/// Waits until a client to which all is said closes its end. To close on one that still sends would take from it what it
/// has not read yet.
pub async fn drained(mut rest: impl Stream + Unpin) {
    let drain = async { while rest.next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, drain).await.is_err() {
        tracing::debug!("a client did not close its end of an exec or attach");
    }
}

/// Hands the connection to `run` once the answer is out; it ends with the server.
pub fn upgraded<F>(
    server: &Arc<Server>,
    parts: &mut Parts,
    run: impl FnOnce(hyper::upgrade::Upgraded) -> F + Send + 'static,
) -> Result<(), Status>
where
    F: Future<Output = ()> + Send,
{
    let upgrade = parts
        .extensions
        .remove::<hyper::upgrade::OnUpgrade>()
        .ok_or_else(|| Status::bad_request("this connection cannot be upgraded; use HTTP/1.1"))?;
    let closing = server.closing.clone();
    server.tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => tokio::select! {
                () = run(upgraded) => {}
                () = closing.cancelled() => {}
            },
            Err(error) => tracing::debug!(%error, "an upgrade failed"),
        }
    });
    Ok(())
}

/// The subprotocols that a client offers; an error when it does not ask for a WebSocket at all.
pub fn offered(parts: &Parts) -> Result<Vec<String>, Status> {
    let has = |name: &http::HeaderName, wanted: &str| {
        parts.headers.get_all(name).iter().any(|v| {
            v.to_str()
                .is_ok_and(|t| t.split(',').any(|p| p.trim().eq_ignore_ascii_case(wanted)))
        })
    };
    if !has(&UPGRADE, "websocket") || !has(&CONNECTION, "upgrade") {
        return Err(Status::bad_request(
            "Upgrade request required: this endpoint speaks WebSocket and SPDY/3.1",
        ));
    }
    let all = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let texts = all.iter().filter_map(|v| v.to_str().ok());
    Ok(texts
        .flat_map(|t| t.split(',').map(|p| p.trim().to_string()))
        .collect())
}

fn choose(offered: &[String]) -> Result<(&'static str, bool), Status> {
    if offered.is_empty() {
        return Ok(("", false));
    }
    let known = |(name, _): &&(&str, bool)| offered.iter().any(|o| o == name);
    PROTOCOLS.iter().find(known).copied().ok_or_else(|| {
        Status::bad_request(format!(
            "none of the WebSocket protocols is supported: {}",
            offered.join(", ")
        ))
    })
}

pub async fn session(
    server: &Arc<Server>,
    node: Arc<dyn NodeOps>,
    place: Place,
    options: ExecOptions,
    parts: &mut Parts,
) -> Result<Response<Body>, Status> {
    let by_spdy = spdy::is_asked_for(parts);
    let (protocol, base64) = match by_spdy {
        true => (spdy::choose(parts, &["v4.channel.k8s.io"])?, false),
        false => choose(&offered(parts)?)?,
    };
    let streams = spdy::streams(options.stdin, options.stdout, options.stderr, options.tty);
    // Before the upgrade, so that what is wrong is answered as a `Status`: kubectl shows nothing else.
    let session = match place.subresource {
        "attach" => node.attach(&place.namespace, &place.name, options).await?,
        _ => node.exec(&place.namespace, &place.name, options).await?,
    };
    if by_spdy {
        return spdy::upgrade(server, parts, protocol, move |pipe| {
            spdy::exec(pipe, session, streams)
        });
    }
    let closes = protocol == "v5.channel.k8s.io";
    let plain_error = !protocol.starts_with('v');
    upgrade(server, parts, protocol, move |socket| async move {
        let wire = Wire {
            base64,
            closes,
            plain_error,
        };
        if let Err(error) = wire.run(socket, session).await {
            tracing::debug!(%error, "an exec or attach stream ended early");
        }
    })
}

pub async fn port_forward(
    server: &Arc<Server>,
    node: Arc<dyn NodeOps>,
    place: Place,
    parts: &mut Parts,
    query: &Query,
) -> Result<Response<Body>, Status> {
    forward::serve(server, node, place, parts, query)
}

/// How one protocol version writes.
struct Wire {
    base64: bool,
    closes: bool,
    /// Before v4 the error channel carries text and is silent on success.
    plain_error: bool,
}

impl Wire {
    async fn run(
        &self,
        socket: Socket,
        session: Session,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let (mut out, mut input) = socket.split();
        let Session {
            mut stdin,
            mut output,
            resize,
            exit,
        } = session;
        let reads = Notify::new();
        let up = self.read(&mut input, &mut stdin, resize.as_ref(), &reads);
        let down = async {
            out.send(Message::Ping(Bytes::new())).await?;
            if tokio::time::timeout(PONG_LIMIT, reads.notified()).await.is_err() {
                tracing::debug!("a client did not answer the ping of an exec or attach");
            }
            tokio::time::sleep(SETTLE).await;
            while let Some(piece) = output.recv().await {
                let message = match piece {
                    Output::Stdout(bytes) => self.message(STDOUT, &bytes),
                    Output::Stderr(bytes) => self.message(STDERR, &bytes),
                };
                out.send(message).await?;
            }
            Ok::<_, tokio_tungstenite::tungstenite::Error>(true)
        };
        // Each on its own, so that a command that waits for its output to be taken never blocks what it still has to
        // read.
        let said_all = tokio::select! {
            said = down => said?,
            () = up => false,
        };
        if !said_all {
            return Ok(());
        }
        let exit = exit
            .await
            .unwrap_or_else(|_| Exit::Failed("the command's end was not seen".into()));
        let verdict = self.verdict(&exit);
        if !verdict.is_empty() {
            out.send(self.message(ERROR, verdict.as_bytes())).await?;
        }
        let normal = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        out.send(Message::Close(Some(normal))).await?;
        out.flush().await?;
        drained(input).await;
        Ok(())
    }

    /// Hands on what the client sends, until it is gone; `reads` is told that it takes messages.
    async fn read(
        &self,
        input: &mut SplitStream<Socket>,
        stdin: &mut Option<mpsc::Sender<Bytes>>,
        resize: Option<&mpsc::Sender<(u16, u16)>>,
        reads: &Notify,
    ) {
        while let Some(message) = input.next().await {
            let message = match message {
                Ok(Message::Pong(_)) => {
                    reads.notify_one();
                    continue;
                }
                Ok(Message::Ping(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(_)) => return,
                Ok(message) => message,
                Err(error) => return tracing::debug!(%error, "a client's stream broke"),
            };
            match self.parse(message) {
                Some((STDIN, bytes)) => {
                    if let Some(sender) = stdin
                        && sender.send(bytes).await.is_err()
                    {
                        *stdin = None;
                    }
                }
                Some((RESIZE, bytes)) => resized(resize, &bytes),
                Some((CLOSE, bytes)) if self.closes && bytes.first() == Some(&STDIN) => *stdin = None,
                _ => {}
            }
        }
    }

    fn message(&self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            return Message::text(format!("{channel}{}", STANDARD.encode(bytes)));
        }
        let mut all = Vec::with_capacity(bytes.len() + 1);
        all.push(channel);
        all.extend_from_slice(bytes);
        Message::binary(all)
    }

    fn parse(&self, message: Message) -> Option<(u8, Bytes)> {
        let data = message.into_data();
        let channel = *data.first()?;
        if self.base64 {
            let bytes = STANDARD.decode(&data[1..]).ok()?;
            return Some((channel.checked_sub(b'0')?, bytes.into()));
        }
        Some((channel, data.slice(1..)))
    }

    /// What the error channel says at the end: a `Status`, also for success.
    fn verdict(&self, exit: &Exit) -> String {
        let status = exit_status(exit);
        if !self.plain_error {
            return status.to_string();
        }
        match exit {
            Exit::Code(0) => String::new(),
            _ => status["message"].as_str().unwrap_or_default().to_string(),
        }
    }
}

pub fn exit_status(exit: &Exit) -> Value {
    match exit {
        Exit::Code(0) => json!({"metadata": {}, "status": "Success"}),
        Exit::Code(code) => json!({"metadata": {}, "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
        Exit::Failed(why) => json!({"metadata": {}, "status": "Failure", "reason": "InternalError",
            "message": format!("Internal error occurred: {why}"), "code": 500,
            "details": {"causes": [{"message": why}]}}),
    }
}

/// `{"Width":80,"Height":24}`; a terminal that cannot keep up misses sizes that are old anyway.
pub fn resized(resize: Option<&mpsc::Sender<(u16, u16)>>, bytes: &[u8]) {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    if let (Some(resize), Ok(size)) = (resize, serde_json::from_slice::<Size>(bytes))
        && resize.try_send((size.width, size.height)).is_err()
    {
        tracing::debug!("a terminal size was skipped");
    }
}
