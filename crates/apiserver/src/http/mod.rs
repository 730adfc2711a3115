//! HTTP/1.1 and HTTP/2 over TLS: connections, who is at the other end, limits, and a guard around every request.

mod asked;
mod body;
mod channel;
mod forward;
mod gather;
mod handle;
mod impersonate;
mod issuer;
mod negotiate;
mod pods;
mod probes;
mod proxy;
mod request;
mod respond;
mod route;
mod spdy;
mod table;
mod watch;

pub use body::Body;
pub(crate) use negotiate::{Encoding, MEDIA_TYPES, Range, pick};

use crate::core::Caller;
use crate::{Api, discovery, openapi};
use futures::FutureExt;
use gather::Gather;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// After the end was asked for, requests under way get this long.
const GRACE: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: usize = 4_000;
const MAX_STREAMS: u32 = 250;
/// Most bytes of a request's path and headers over HTTP/2, as upstream's server takes.
const MAX_HEADERS_BYTES: u32 = 1 << 20;
/// After a failed accept (no file descriptors left), the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the server answers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Requests at the same time: all that read, and all that write. Watches and streams do not count.
    pub max_reads: usize,
    pub max_writes: usize,
    pub max_body_bytes: usize,
    /// Large responses are compressed for clients that accept it: never, to other machines, or always.
    pub compress: Compress,
    /// What `/version` says; the build's own when `None`.
    pub git_version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    Never,
    /// Loopback is faster than gzip.
    Remote,
    Always,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_reads: 400,
            max_writes: 200,
            max_body_bytes: 3 * 1024 * 1024,
            compress: Compress::Remote,
            git_version: format!("v1.36.0+isopod.{}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// Certificates for `tls`.
pub struct Tls {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// Whose client certificates are believed.
    pub client_ca: Vec<CertificateDer<'static>>,
}

/// Why the given certificates cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate or key of the API server does not work: {0}")]
    Certificate(#[from] rustls::Error),
    #[error("the CA for client certificates does not work: {0}")]
    ClientCa(#[from] rustls::server::VerifierBuilderError),
}

/// A TLS acceptor with optional client certificates, HTTP/2 first.
pub fn tls(parts: Tls) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in parts.client_ca {
        roots.add(ca)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(parts.chain, parts.key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The HTTP side of an API. One can serve several listeners.
pub struct Server {
    api: Api,
    config: Config,
    closing: CancellationToken,
    reads: AtomicUsize,
    writes: AtomicUsize,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    discovery: discovery::Cache,
    openapi: openapi::Cache,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// From a client certificate.
    pub caller: Option<Caller>,
    pub loopback: bool,
    /// What pods behind the proxy verbs are told.
    pub address: Option<IpAddr>,
}

impl Server {
    pub fn new(api: Api, config: Config) -> Arc<Self> {
        Arc::new(Self {
            api,
            config,
            closing: CancellationToken::new(),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            tasks: TaskTracker::new(),
            discovery: discovery::Cache::default(),
            openapi: openapi::Cache::default(),
        })
    }

    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Accepts until `close`. Ends with the listener closed; connections may still be finishing.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: TlsAcceptor) {
        loop {
            let permit = tokio::select! {
                permit = self.connections.clone().acquire_owned() => permit,
                () = self.closing.cancelled() => return,
            };
            let Ok(permit) = permit else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    let server = self.clone();
                    let tls = tls.clone();
                    self.tasks.spawn(async move {
                        server.connection(stream, from.ip(), tls).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the API server could not accept a connection");
                    // pause: no event tells that file descriptors are free again
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Ends watches at once and everything else when it is done, at the latest after five seconds.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some API connections did not end in time");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: IpAddr, tls: TlsAcceptor) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let accepted = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await;
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
        let peer = Peer {
            caller: certificate.and_then(request::caller_of_certificate),
            loopback: from.is_loopback(),
            address: Some(from),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let gather = Gather::new(stream);
            let sender = gather.clone();
            self.drive(gather, peer, |cx| sender.send(cx)).await;
        } else {
            self.serve_stream(stream, peer).await;
        }
    }

    /// Serves one connection that is already decrypted, until either side ends it.
    pub async fn serve_stream<S>(self: Arc<Self>, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.drive(stream, peer, |_| Poll::Ready(Ok(()))).await;
    }

    /// Serves one connection; `after` is called after each poll of it.
    async fn drive<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        mut after: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let peer = Arc::new(peer);
        let service = service_fn(|request| {
            let (server, peer) = (self.clone(), peer.clone());
            async move { Ok::<_, Infallible>(server.respond(peer, request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            // With it, hyper loses the 101 of an upgrade whose client has already sent more.
            .pipeline_flush(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            // Over this, HTTP/2 itself answers 431 without a body; a long path below it gets a `Status`.
            .max_header_list_size(MAX_HEADERS_BYTES)
            .max_concurrent_streams(MAX_STREAMS);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let closing = self.closing.cancelled();
        tokio::pin!(connection, closing);
        let mut closes = false;
        let ended = std::future::poll_fn(|cx| {
            if !closes && closing.as_mut().poll(cx).is_ready() {
                closes = true;
                connection.as_mut().graceful_shutdown();
            }
            let ended = connection.as_mut().poll(cx);
            match after(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                _ => ended,
            }
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an API connection ended early");
        }
    }

    /// One request, guarded: over the limit is 429, and a bug in here is a 500 and a line in the log.
    pub async fn respond(self: Arc<Self>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_string();
        let request = Request::from_parts(parts, request::RequestBody::Wire(request::Wire::new(body)));
        match AssertUnwindSafe(self.limited(peer, request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(path, "a request made the API server panic; this is a bug");
                let status = meta::Status::internal("the request could not be processed");
                respond::status(&status, negotiate::Form::JSON)
            }
        }
    }

    /// A request from inside this process (tests): the same path without a connection.
    pub async fn respond_to(
        self: Arc<Self>,
        peer: Arc<Peer>,
        request: Request<bytes::Bytes>,
    ) -> Response<Body> {
        let request = request.map(request::RequestBody::Bytes);
        self.limited(peer, request).await
    }

    async fn limited(
        self: Arc<Self>,
        peer: Arc<Peer>,
        request: Request<request::RequestBody>,
    ) -> Response<Body> {
        if handle::is_long_running(&request) {
            return handle::handle(self, peer, request).await;
        }
        let reads = matches!(*request.method(), http::Method::GET | http::Method::HEAD);
        let (count, limit) = match reads {
            true => (&self.reads, self.config.max_reads),
            false => (&self.writes, self.config.max_writes),
        };
        let _place = Place::take(count);
        if count.load(Ordering::Relaxed) > limit {
            let text = "Too many requests, please try again later.";
            return respond::status(&meta::Status::too_many_requests(text, 1), negotiate::Form::JSON);
        }
        handle::handle(self.clone(), peer, request).await
    }
}

/// One request under way.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
