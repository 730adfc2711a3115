//! What a host user reaches: Services published on the host's loopback by a forwarder in user space.
//!
//! Each new connection goes to the Service's own address inside the cluster's namespace, so the same rules
//! balance it as any pod's. All host users are one client (the node's address) there: a Service with
//! `sessionAffinity: ClientIP` gives them one endpoint, which is what their common 127.0.0.1 says.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::relay::{DATAGRAM_BYTES, Flows, accept, pump, reset, within_dial_timeout};
use crate::services::Protocol;
use crate::sockets::Sockets;

/// Published TCP connections at once, over all Services; further clients wait in the listener's backlog.
const CONNECTIONS_LIMIT: usize = 4096;
/// Addresses that a LoadBalancer is tried on: 127.0.0.1, then 127.0.0.2 to 127.0.0.250.
const LAST_LOOPBACK: u8 = 250;

/// Where a Service may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PublishOn {
    /// 127.0.0.1 only, each port for itself (node ports).
    Localhost,
    /// The first of 127.0.0.1 to 127.0.0.250 that has all of the Service's ports free (LoadBalancer).
    AnyLoopback,
    /// This address only, each port for itself (host ports).
    Address(Ipv4Addr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishPort {
    pub protocol: Protocol,
    /// On the host.
    pub port: u16,
    /// Inside the cluster's namespace: the ClusterIP and its port, or the node's address and the node port.
    pub target: SocketAddrV4,
    /// Where a TCP connection goes that the target refuses.
    pub otherwise: Option<SocketAddrV4>,
}

/// One Service to publish, or a pod's host ports. `(service, on)` is unique: a LoadBalancer Service has one of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// `namespace/name`.
    pub service: String,
    pub on: PublishOn,
    /// Tried first: where it was before the server's restart.
    pub prefer: Option<Ipv4Addr>,
    pub ports: Vec<PublishPort>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error(
        "port {port}/{protocol} is taken on 127.0.0.1; stop what listens there or choose another nodePort"
    )]
    NodePortTaken { port: u16, protocol: Protocol },
    #[error(
        "port {port}/{protocol} is taken on {address}; stop what listens there or choose another hostPort"
    )]
    HostPortTaken {
        address: Ipv4Addr,
        port: u16,
        protocol: Protocol,
    },
    #[error(
        "no address from 127.0.0.1 to 127.0.0.250 has all ports of the Service free ({ports}); stop what listens there (see `ss -lntu`) or choose other ports"
    )]
    NoAddress { ports: String },
    #[error("cannot listen on {address}: {message}")]
    Listen { address: SocketAddrV4, message: String },
}

/// What became of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    pub protocol: Protocol,
    pub port: u16,
    pub bound: Result<SocketAddrV4, PublishError>,
}

/// What became of one [`Publication`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub service: String,
    pub on: PublishOn,
    pub ports: Vec<PublishedPort>,
}

impl Published {
    /// The Service's address on the host, when all of its ports are bound: the ingress IP of its status.
    pub fn address(&self) -> Option<Ipv4Addr> {
        let bound = |p: &PublishedPort| p.bound.as_ref().ok().map(|addr| *addr.ip());
        let first = self.ports.first().and_then(bound)?;
        self.ports
            .iter()
            .all(|p| bound(p) == Some(first))
            .then_some(first)
    }
}

type PortKey = (Protocol, u16);

struct Listener {
    target: Arc<ArcSwap<PublishPort>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Active {
    address: Ipv4Addr,
    listeners: BTreeMap<PortKey, Listener>,
}

/// Publishes Services on the host's loopback. Dropping it ends listeners and connections.
pub struct Publisher {
    context: Context,
    active: Mutex<BTreeMap<(String, PublishOn), Active>>,
}

#[derive(Clone)]
struct Context {
    sockets: Sockets,
    connections: Arc<Semaphore>,
    ended: CancellationToken,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.context.ended.cancel();
    }
}

impl Publisher {
    pub fn new(sockets: Sockets) -> Self {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
        let context = Context {
            sockets,
            connections,
            ended: CancellationToken::new(),
        };
        Self {
            context,
            active: Mutex::new(BTreeMap::new()),
        }
    }

    /// Publishes exactly `desired` from now on. What stays the same is not touched; connections go on even when
    /// their Service goes. A port that could not be bound is tried again at the next call.
    pub async fn set(&self, desired: &[Publication]) -> Vec<Published> {
        let mut active = self.active.lock().await;
        // First free what is no longer wanted: a new Service may want the same port.
        let wanted = |key: &(String, PublishOn)| desired.iter().find(|p| p.service == key.0 && p.on == key.1);
        let keys: Vec<_> = active.keys().cloned().collect();
        for key in keys {
            let ports: Vec<PortKey> = wanted(&key)
                .map(|p| p.ports.iter().map(port_key).collect())
                .unwrap_or_default();
            let Some(entry) = active.get_mut(&key) else {
                continue;
            };
            for gone in entry.listeners.extract_if(.., |port, _| !ports.contains(port)) {
                stop(gone.1).await;
            }
            if entry.listeners.is_empty() {
                active.remove(&key);
            }
        }
        let mut published = Vec::with_capacity(desired.len());
        for publication in desired {
            let key = (publication.service.clone(), publication.on);
            let before = active.remove(&key);
            let (now, report) = match publication.on {
                PublishOn::Localhost | PublishOn::Address(_) => self.publish_each(publication, before).await,
                PublishOn::AnyLoopback => self.publish_together(publication, before).await,
            };
            if !now.listeners.is_empty() {
                active.insert(key, now);
            }
            published.push(report);
        }
        published
    }

    /// Ends all listeners and connections, and returns when the ports are free.
    pub async fn close(self) {
        self.context.ended.cancel();
        for entry in std::mem::take(&mut *self.active.lock().await).into_values() {
            for listener in entry.listeners.into_values() {
                stop(listener).await;
            }
        }
    }

    async fn publish_each(&self, publication: &Publication, before: Option<Active>) -> (Active, Published) {
        let mut now = before.unwrap_or(Active {
            address: match publication.on {
                PublishOn::Address(address) => address,
                _ => Ipv4Addr::LOCALHOST,
            },
            listeners: BTreeMap::new(),
        });
        let mut ports = Vec::new();
        for port in &publication.ports {
            let address = SocketAddrV4::new(now.address, port.port);
            let (number, protocol) = (port.port, port.protocol);
            let taken = match publication.on {
                PublishOn::Address(address) => PublishError::HostPortTaken {
                    address,
                    port: number,
                    protocol,
                },
                _ => PublishError::NodePortTaken {
                    port: number,
                    protocol,
                },
            };
            let bound = match self.ensure(&mut now, port).await {
                Ok(()) => Ok(address),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(taken),
                Err(e) => Err(PublishError::Listen {
                    address,
                    message: e.to_string(),
                }),
            };
            ports.push(PublishedPort {
                protocol: port.protocol,
                port: port.port,
                bound,
            });
        }
        (now, report(publication, ports))
    }

    // LONG: one story from top to bottom; its parts make no sense alone.
    async fn publish_together(
        &self,
        publication: &Publication,
        before: Option<Active>,
    ) -> (Active, Published) {
        let mut now = before.unwrap_or(Active {
            address: publication
                .prefer
                .filter(Ipv4Addr::is_loopback)
                .unwrap_or(Ipv4Addr::LOCALHOST),
            listeners: BTreeMap::new(),
        });
        let (start, mut last_error) = (now.address, None);
        let others = (1..=LAST_LOOPBACK)
            .map(|last| Ipv4Addr::new(127, 0, 0, last))
            .filter(|a| *a != start);
        for address in std::iter::once(start).chain(others) {
            if address != now.address {
                // All ports share one address: what was bound on the other one moves, too.
                for listener in std::mem::take(&mut now.listeners).into_values() {
                    stop(listener).await;
                }
                now.address = address;
            }
            match self.ensure_all(&mut now, &publication.ports).await {
                Ok(()) => {
                    let bound = |p: &PublishPort| Ok(SocketAddrV4::new(address, p.port));
                    return (
                        now,
                        report(
                            publication,
                            publication.ports.iter().map(|p| outcome(p, bound(p))).collect(),
                        ),
                    );
                }
                Err((port, e)) if e.kind() == io::ErrorKind::AddrInUse => {
                    tracing::debug!(%address, port, "taken on the host; trying the next address");
                }
                Err((port, e)) => {
                    let address = SocketAddrV4::new(address, port);
                    last_error = Some(PublishError::Listen {
                        address,
                        message: e.to_string(),
                    });
                    break;
                }
            }
        }
        for listener in std::mem::take(&mut now.listeners).into_values() {
            stop(listener).await;
        }
        let list: Vec<_> = publication
            .ports
            .iter()
            .map(|p| format!("{}/{}", p.port, p.protocol))
            .collect();
        let error = last_error.unwrap_or(PublishError::NoAddress {
            ports: list.join(", "),
        });
        (
            now,
            report(
                publication,
                publication
                    .ports
                    .iter()
                    .map(|p| outcome(p, Err(error.clone())))
                    .collect(),
            ),
        )
    }

    async fn ensure_all(&self, entry: &mut Active, ports: &[PublishPort]) -> Result<(), (u16, io::Error)> {
        for port in ports {
            self.ensure(entry, port).await.map_err(|e| (port.port, e))?;
        }
        Ok(())
    }

    /// Listens on the port unless that is so already; the target may be a new one.
    async fn ensure(&self, entry: &mut Active, port: &PublishPort) -> io::Result<()> {
        if let Some(listener) = entry.listeners.get(&port_key(port)) {
            listener.target.store(Arc::new(*port));
            return Ok(());
        }
        let address = SocketAddr::from((entry.address, port.port));
        let target = Arc::new(ArcSwap::from_pointee(*port));
        let stop = self.context.ended.child_token();
        let (context, aim, stopped) = (self.context.clone(), target.clone(), stop.clone());
        let task = match port.protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(address).await?;
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(listener, context, aim) => {}
                        () = stopped.cancelled() => {}
                    }
                })
            }
            Protocol::Udp => {
                let socket = Arc::new(UdpSocket::bind(address).await?);
                tokio::spawn(async move {
                    tokio::select! {
                        () = receive(socket, context, aim, &stopped) => {}
                        () = stopped.cancelled() => {}
                    }
                })
            }
        };
        entry
            .listeners
            .insert(port_key(port), Listener { target, stop, task });
        Ok(())
    }
}

fn port_key(port: &PublishPort) -> PortKey {
    (port.protocol, port.port)
}

fn outcome(port: &PublishPort, bound: Result<SocketAddrV4, PublishError>) -> PublishedPort {
    PublishedPort {
        protocol: port.protocol,
        port: port.port,
        bound,
    }
}

fn report(publication: &Publication, ports: Vec<PublishedPort>) -> Published {
    Published {
        service: publication.service.clone(),
        on: publication.on,
        ports,
    }
}

/// Returns when the port is free again.
async fn stop(listener: Listener) {
    listener.stop.cancel();
    if let Err(e) = listener.task.await {
        tracing::error!("a publishing task failed: {e}");
    }
}

async fn serve(listener: TcpListener, context: Context, target: Arc<ArcSwap<PublishPort>>) {
    loop {
        // The semaphore is never closed; should it be, the listener ends.
        let Ok(permit) = context.connections.clone().acquire_owned().await else {
            return;
        };
        let client = accept(&listener, "a published connection").await;
        tokio::spawn(forward(client, context.clone(), **target.load(), permit));
    }
}

async fn forward(
    client: tokio::net::TcpStream,
    context: Context,
    port: PublishPort,
    permit: OwnedSemaphorePermit,
) {
    let target = port.target;
    let dial = within_dial_timeout(async {
        match (context.sockets.dial(target).await, port.otherwise) {
            (Err(e), Some(other)) if e.kind() == io::ErrorKind::ConnectionRefused => {
                context.sockets.dial(other).await
            }
            (dialed, _) => dialed,
        }
    });
    let result = tokio::select! {
        result = dial => result,
        () = context.ended.cancelled() => return,
    };
    match result {
        Ok(server) => {
            if let Err(e) = client.set_nodelay(true) {
                tracing::trace!("no TCP_NODELAY for a client that is gone: {e}");
            }
            pump(client, server, context.ended).await;
        }
        Err(e) => {
            tracing::debug!(%target, "a published Service does not answer: {e}");
            reset(&client);
        }
    }
    drop(permit);
}

async fn receive(
    socket: Arc<UdpSocket>,
    context: Context,
    target: Arc<ArcSwap<PublishPort>>,
    stopped: &CancellationToken,
) {
    let flows = Arc::new(Flows::<SocketAddr>::new());
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(e) => {
                // An earlier answer met a closed port; says nothing about this socket.
                tracing::trace!("receiving for a published Service: {e}");
                continue;
            }
        };
        let target = target.load().target;
        let upstream = match flows.touch(&client, target) {
            Some(upstream) => upstream,
            None => match context.sockets.udp_connect(target).await {
                Ok(upstream) => {
                    let upstream = Arc::new(upstream);
                    let ended = flows.insert(client, upstream.clone(), target, stopped);
                    tokio::spawn(answer(
                        socket.clone(),
                        client,
                        upstream.clone(),
                        flows.clone(),
                        ended,
                    ));
                    upstream
                }
                Err(e) => {
                    tracing::debug!(%target, "cannot open a UDP flow: {e}");
                    continue;
                }
            },
        };
        if let Err(e) = upstream.send(&buffer[..length]).await {
            tracing::trace!(%target, "a datagram was not sent: {e}");
        }
    }
}

/// Brings answers back to one client until the flow is idle or ended.
async fn answer(
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    upstream: Arc<UdpSocket>,
    flows: Arc<Flows<SocketAddr>>,
    ended: CancellationToken,
) {
    let answers = async {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            match upstream.recv(&mut buffer).await {
                Ok(length) => {
                    flows.used(&client);
                    if let Err(e) = socket.send_to(&buffer[..length], client).await {
                        tracing::trace!(%client, "an answer was not delivered: {e}");
                    }
                }
                // Refused by the Service; the next datagram may find an endpoint.
                Err(e) => tracing::trace!(%client, "a UDP flow's target: {e}"),
            }
        }
    };
    tokio::select! {
        () = answers => {}
        () = flows.until_idle(&client) => {}
        () = ended.cancelled() => {}
    }
}
