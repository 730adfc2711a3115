//! One connection to a pod for one request, from inside the cluster's network; over TLS nobody's certificate is checked,
//! since pods have no names that a certificate could be for (as upstream does).

use super::target::Target;
use crate::http::Server;
use crate::http::request::RequestBody;
use crate::node_ops::{Duplex, NodeOps};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::io::{self, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// As Go's transport has it.
const DIAL_LIMIT: Duration = Duration::from_secs(30);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The head of an answer, and what is read ahead of a client that is slow.
const BUFFER_BYTES: usize = 256 * 1024;
const MAX_HEADERS: usize = 256;

/// Why there is no answer, in the words of Go's network library.
pub enum Failure {
    Dial(String),
    Exchange(String),
}

/// Sends the request and waits for the head of the answer. There is no limit on that wait: a pod may take its time,
/// and it ends when the client goes or the server closes.
pub async fn ask(
    server: &Server,
    node: &dyn NodeOps,
    target: &Target,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, Failure> {
    let stream = dial(node, target).await.map_err(Failure::Dial)?;
    let broken = |error: hyper::Error| {
        let early = error.is_incomplete_message();
        Failure::Exchange(if early { "EOF".into() } else { told(&error) })
    };
    let handshake = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake::<_, RequestBody>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    let closing = server.closing.clone();
    server.tasks.spawn(async move {
        tokio::select! {
            ended = connection.with_upgrades() => if let Err(error) = ended {
                tracing::debug!(%error, "a connection to a pod ended early");
            },
            () = closing.cancelled() => {}
        }
    });
    tokio::select! {
        answer = sender.send_request(request) => answer.map_err(broken),
        () = server.closing.cancelled() => Err(Failure::Exchange("the server is shutting down".into())),
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", told(cause)),
        None => error.to_string(),
    }
}

async fn dial(node: &dyn NodeOps, target: &Target) -> Result<Box<dyn Duplex>, String> {
    let to = target.address;
    let stream = match tokio::time::timeout(DIAL_LIMIT, node.connect(to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("dial tcp {to}: connect: {}", reason(&error))),
        Err(_) => return Err(format!("dial tcp {to}: i/o timeout")),
    };
    if !target.tls {
        return Ok(stream);
    }
    let connector = TlsConnector::from(tls().map_err(|e| e.to_string())?);
    let handshake = connector.connect(ServerName::from(to.ip()), stream);
    match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Err("EOF".into()),
        Ok(Err(error)) => Err(format!("tls: {error}")),
        Err(_) => Err("net/http: TLS handshake timeout".into()),
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::HostUnreachable => "no route to host".into(),
        ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        ErrorKind::TimedOut => "connection timed out".into(),
        _ => error.to_string(),
    }
}

/// Made once: all pods are asked in the same way.
fn tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// Encrypts, and believes whoever answers.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
