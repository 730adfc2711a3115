//! Port-forward over WebSocket: `kubectl` tunnels SPDY/3.1 frames in binary messages; older clients use numbered
//! channels, two a port (data, error).

use super::body::Body;
use super::channel::{Socket, offered, upgrade};
use super::route::Place;
use super::{Server, spdy};
use crate::node_ops::{Duplex, NodeOps};
use crate::options::Query;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::Response;
use http::request::Parts;
use meta::Status;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

pub const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// Ports in one request of the channel protocol: two channels each in one byte.
const MAX_PORTS: usize = 100;
/// Pieces of data on their way, a connection or a tunnel.
pub const QUEUE: usize = 32;
pub const PIECE_BYTES: usize = 32 * 1024;

/// Where the pod is, for each new connection.
#[derive(Clone)]
pub struct Target {
    pub node: Arc<dyn NodeOps>,
    pub namespace: String,
    pub pod: String,
}

impl Target {
    pub async fn dial(&self, port: u16) -> Result<Box<dyn Duplex>, Status> {
        self.node.dial(&self.namespace, &self.pod, port).await
    }
}

pub fn serve(
    server: &Arc<Server>,
    node: Arc<dyn NodeOps>,
    place: Place,
    parts: &mut Parts,
    query: &Query,
) -> Result<Response<Body>, Status> {
    let target = Target {
        node,
        namespace: place.namespace,
        pod: place.name,
    };
    if spdy::is_asked_for(parts) {
        let protocol = spdy::choose(parts, &["portforward.k8s.io"])?;
        return spdy::upgrade(server, parts, protocol, move |pipe| {
            spdy::port_forward(pipe, target)
        });
    }
    let offered = offered(parts)?;
    if offered.iter().any(|o| o == TUNNEL) {
        return upgrade(server, parts, TUNNEL, move |socket| {
            spdy::port_forward(spdy::Pipe::tunnelled(socket), target)
        });
    }
    if !offered.is_empty() && !offered.iter().any(|o| o == CHANNELS) {
        let text = format!(
            "none of the WebSocket protocols is supported: {}",
            offered.join(", ")
        );
        return Err(Status::bad_request(text));
    }
    let ports = ports(query)?;
    let protocol = if offered.is_empty() { "" } else { CHANNELS };
    upgrade(server, parts, protocol, move |socket| {
        channels(socket, target, ports)
    })
}

fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let mut ports = Vec::new();
    for text in query.all("ports").flat_map(|v| v.split(',')) {
        match text.parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => {
                return Err(Status::bad_request(format!(
                    "query parameter \"ports\": unable to parse {text:?} as a port"
                )));
            }
        }
    }
    if ports.is_empty() || ports.len() > MAX_PORTS {
        return Err(Status::bad_request("query parameter \"ports\" is required"));
    }
    Ok(ports)
}

async fn channels(socket: Socket, target: Target, ports: Vec<u16>) {
    let (mut out, mut input) = socket.split();
    let (to_client, mut from_pods) = mpsc::channel::<Message>(QUEUE);
    let mut pods: Vec<Option<mpsc::Sender<Bytes>>> = Vec::new();
    for (i, port) in ports.into_iter().enumerate() {
        let (data, error) = (2 * i as u8, 2 * i as u8 + 1);
        for channel in [data, error] {
            let [low, high] = port.to_le_bytes();
            if out.send(Message::binary(vec![channel, low, high])).await.is_err() {
                return;
            }
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        pods.push(Some(sender));
        tokio::spawn(connection(
            target.clone(),
            port,
            data,
            receiver,
            to_client.clone(),
        ));
    }
    drop(to_client);
    loop {
        tokio::select! {
            message = from_pods.recv() => match message {
                Some(message) => if out.send(message).await.is_err() { return },
                None => break,
            },
            message = input.next() => match message {
                Some(Ok(Message::Binary(data))) => {
                    let Some(&channel) = data.first() else { continue };
                    let Some(Some(pod)) = pods.get(channel as usize / 2) else { continue };
                    if channel % 2 == 0 && pod.send(data.slice(1..)).await.is_err() {
                        pods[channel as usize / 2] = None;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    }
    if let Err(error) = out.close().await {
        tracing::debug!(%error, "a port-forward did not end in order");
    }
}

/// One port of the channel protocol, until either side ends.
async fn connection(
    target: Target,
    port: u16,
    data: u8,
    mut from_client: mpsc::Receiver<Bytes>,
    to_client: mpsc::Sender<Message>,
) {
    let send = async |channel: u8, bytes: &[u8]| {
        let mut all = Vec::with_capacity(bytes.len() + 1);
        all.push(channel);
        all.extend_from_slice(bytes);
        to_client.send(Message::binary(all)).await.is_ok()
    };
    let stream = match target.dial(port).await {
        Ok(stream) => stream,
        Err(status) => {
            send(data + 1, status.message.as_bytes()).await;
            return;
        }
    };
    let (mut read, mut write) = tokio::io::split(stream);
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        tokio::select! {
            count = read.read(&mut buffer) => match count {
                Ok(0) | Err(_) => return,
                Ok(n) => if !send(data, &buffer[..n]).await { return },
            },
            bytes = from_client.recv() => match bytes {
                Some(bytes) => if write.write_all(&bytes).await.is_err() { return },
                None => return,
            },
        }
    }
}
