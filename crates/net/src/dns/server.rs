//! The DNS server inside the cluster's namespace, over UDP and TCP, at the DNS Service's address (which is on lo
//! there) and a port that the rules lead to. Names of the cluster are answered at once from the table; the rest is forwarded.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::{Message, Query, ResponseCode};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::{Reply, answer, encode, failure, udp_limit};
use super::forward::{Upstreams, read_message, write_message};
use super::table::DnsTable;
use crate::cluster::ClusterNet;
use crate::relay::accept;
use crate::table::DNS_INNER_PORT;

/// Questions being forwarded at once; a further one is answered SERVFAIL.
const FORWARDS_LIMIT: usize = 512;
/// TCP clients at once; further ones wait in the listener's backlog.
const TCP_CLIENTS_LIMIT: usize = 128;
/// A TCP client that says nothing for so long is disconnected.
const TCP_IDLE: Duration = Duration::from_secs(10);
const TCP_MESSAGE_MAX: usize = 65_535;
const UDP_REQUEST_BYTES: usize = 4096;

struct Shared {
    table: ArcSwap<DnsTable>,
    upstreams: Upstreams,
    forwards: Arc<Semaphore>,
    turn: AtomicUsize,
}

/// The running server; dropping it ends it.
pub struct DnsServer {
    shared: Arc<Shared>,
    _ended: DropGuard,
}

impl DnsServer {
    pub async fn start(net: &ClusterNet, table: DnsTable, upstreams: Upstreams) -> io::Result<Self> {
        let address = SocketAddrV4::new(net.config().dns_ip, DNS_INNER_PORT);
        let udp = Arc::new(net.udp_bind(address).await?);
        let tcp = net.listen(address).await?;
        let shared = Arc::new(Shared {
            table: ArcSwap::from_pointee(table),
            upstreams,
            forwards: Arc::new(Semaphore::new(FORWARDS_LIMIT)),
            turn: AtomicUsize::new(0),
        });
        let ended = CancellationToken::new();
        let (stop, for_udp, for_tcp) = (ended.clone(), shared.clone(), shared.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = serve_udp(udp, for_udp) => {}
                () = serve_tcp(tcp, for_tcp) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Self {
            shared,
            _ended: ended.drop_guard(),
        })
    }

    /// Answers from `table` from now on.
    pub fn set_table(&self, table: DnsTable) {
        self.shared.table.store(Arc::new(table));
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; UDP_REQUEST_BYTES];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(e) => {
                tracing::trace!("receiving DNS questions: {e}");
                continue;
            }
        };
        let bytes = &buffer[..length];
        let Some(step) = shared.step(bytes) else {
            continue;
        };
        match step {
            Step::Send(message, limit) => send(&socket, client, message, limit).await,
            Step::Ask(work) => {
                let (socket, shared, bytes) = (socket.clone(), shared.clone(), bytes.to_vec());
                tokio::spawn(async move {
                    let limit = udp_limit(&work.request);
                    match shared.resolve(*work, &bytes, false).await {
                        Answer::Raw(answer) => send_bytes(&socket, client, &answer).await,
                        Answer::Message(message) => send(&socket, client, message, limit).await,
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, client: SocketAddr, message: Message, limit: usize) {
    match encode(message, limit) {
        Ok(bytes) => send_bytes(socket, client, &bytes).await,
        Err(e) => tracing::warn!("a DNS answer cannot be written: {e}"),
    }
}

async fn send_bytes(socket: &UdpSocket, client: SocketAddr, bytes: &[u8]) {
    if let Err(e) = socket.send_to(bytes, client).await {
        tracing::debug!(%client, "a DNS answer was not sent: {e}");
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let clients = Arc::new(Semaphore::new(TCP_CLIENTS_LIMIT));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else {
            return;
        };
        let stream = accept(&listener, "a DNS connection").await;
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(e) = serve_client(stream, shared, permit).await {
                tracing::trace!("a DNS client's connection ended: {e}");
            }
        });
    }
}

async fn serve_client(
    mut stream: TcpStream,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
) -> io::Result<()> {
    // Ends when the client does, or has been silent for TCP_IDLE.
    loop {
        let bytes = match tokio::time::timeout(TCP_IDLE, read_message(&mut stream)).await {
            Ok(read) => read?,
            Err(_) => return Ok(()),
        };
        let Some(step) = shared.step(&bytes) else {
            return Ok(());
        };
        let answer = match step {
            Step::Send(message, _) => Answer::Message(message),
            Step::Ask(work) => shared.resolve(*work, &bytes, true).await,
        };
        let answer = match answer {
            Answer::Raw(bytes) => bytes,
            Answer::Message(message) => encode(message, TCP_MESSAGE_MAX).map_err(io::Error::other)?,
        };
        tokio::time::timeout(TCP_IDLE, write_message(&mut stream, &answer)).await??;
    }
}

enum Step {
    Send(Message, usize),
    Ask(Box<Work>),
}

/// A question that the host's resolvers have a part in.
struct Work {
    request: Message,
    /// What is answered already, and what is left to ask; `None`: the question as it is.
    rest: Option<(Message, Query)>,
    permit: OwnedSemaphorePermit,
}

enum Answer {
    Raw(Vec<u8>),
    Message(Message),
}

impl Shared {
    /// What to do with a question; `None`: nothing, it is not one.
    fn step(&self, bytes: &[u8]) -> Option<Step> {
        let request = match Message::from_vec(bytes) {
            Ok(request) => request,
            Err(e) => {
                tracing::debug!("a DNS question cannot be read: {e}");
                return unreadable(bytes);
            }
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let rest = match answer(&self.table.load(), &request, turn) {
            Reply::Ignore => return None,
            Reply::Message(message) => return Some(Step::Send(*message, udp_limit(&request))),
            Reply::Forward => None,
            Reply::Chase { partial, query } => Some((*partial, query)),
        };
        match self.forwards.clone().try_acquire_owned() {
            Ok(permit) => Some(Step::Ask(Box::new(Work {
                request,
                rest,
                permit,
            }))),
            Err(_) => Some(Step::Send(
                failure(&request, ResponseCode::ServFail),
                udp_limit(&request),
            )),
        }
    }

    async fn resolve(&self, work: Work, bytes: &[u8], over_tcp: bool) -> Answer {
        let Work {
            request,
            rest,
            permit,
        } = work;
        let result = match rest {
            None => self.upstreams.ask(bytes, over_tcp).await.map(Answer::Raw),
            Some((partial, query)) => self.chase(&request, partial, query, over_tcp).await,
        };
        drop(permit);
        result.unwrap_or_else(|e| {
            tracing::debug!("a DNS question could not be forwarded: {e}");
            Answer::Message(failure(&request, ResponseCode::ServFail))
        })
    }

    /// The addresses behind an ExternalName: resolvers in pods do not follow it themselves.
    async fn chase(
        &self,
        request: &Message,
        mut partial: Message,
        query: Query,
        over_tcp: bool,
    ) -> io::Result<Answer> {
        let mut question = request.clone();
        question.queries = vec![query];
        let bytes = question.to_vec().map_err(io::Error::other)?;
        let found = self.upstreams.ask(&bytes, over_tcp).await?;
        let found = Message::from_vec(&found).map_err(io::Error::other)?;
        partial.metadata.response_code = found.metadata.response_code;
        partial.metadata.truncation = found.metadata.truncation;
        partial.add_answers(found.answers);
        Ok(Answer::Message(partial))
    }
}

/// A request whose body is not DNS: FORMERR when there is a header to answer to.
fn unreadable(bytes: &[u8]) -> Option<Step> {
    let id = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
    let is_request = bytes.len() >= 12 && bytes[2] & 0x80 == 0;
    let message = Message::error_msg(id, hickory_proto::op::OpCode::Query, ResponseCode::FormErr);
    is_request.then_some(Step::Send(message, 512))
}
