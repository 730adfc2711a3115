//! The API over TLS with the administrator's certificate: one connection is kept for calls, streams have their own.

use super::error::Failed;
use crate::kubeconfig::Access;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Far above what a cluster's largest list has; a server that sends more is not ours.
const MAX_BODY_BYTES: usize = 512 << 20;

pub const JSON: &str = "application/json";
/// What kubectl asks for when it prints the server's own columns.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
pub const APPLY: &str = "application/apply-patch+yaml";
pub const MERGE: &str = "application/merge-patch+json";

pub struct Client {
    host: String,
    port: u16,
    tls: TlsConnector,
    token: Option<String>,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Client {
    pub fn new(access: &Access) -> Result<Self> {
        let (host, port) = host_and_port(&access.server)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(access.ca.as_bytes()) {
            roots.add(certificate.context("the cluster's CA certificate is damaged")?)?;
        }
        let builder = builder.with_root_certificates(roots);
        let config = match &access.identity {
            Some(identity) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
                builder.with_client_auth_cert(
                    chain.context("the client certificate is damaged")?,
                    key.context("the client key is damaged")?,
                )?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self {
            host,
            port,
            tls: TlsConnector::from(Arc::new(config)),
            token: access.token.clone(),
            idle: Mutex::new(None),
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let at = format!("{}:{}", self.host, self.port);
        let refused = || {
            format!(
                "The connection to the server {at} was refused - did you specify the right host or port? Is the cluster up? see: isopod ls"
            )
        };
        let connecting =
            tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect((self.host.as_str(), self.port)));
        let socket = connecting.await.with_context(refused)?.with_context(refused)?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone()).context("the server's name is none")?;
        let stream = self
            .tls
            .connect(name, socket)
            .await
            .with_context(|| format!("no secure connection to {at} (another cluster's kubeconfig?)"))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "the connection ended");
            }
        });
        Ok(sender)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("isopod/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let bytes = match body {
            Some((kind, bytes)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                bytes
            }
            None => Bytes::new(),
        };
        request
            .body(Full::new(bytes))
            .with_context(|| format!("{path:?} is no path"))
    }

    /// One call; an answer of 400 and above is the server's `Status` as an error.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Value> {
        let request = self.request(method, path, accept, body)?;
        let mut sender = self.idle.lock().await.take().filter(SendRequest::is_ready);
        let mut sender = match sender.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender
            .send_request(request)
            .await
            .context("the server broke off")?;
        let status = response.status();
        let bytes = collect(response).await?;
        *self.idle.lock().await = Some(sender);
        decode(status, &bytes)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, JSON, None).await
    }

    /// An answer that is read piece by piece: logs and watches.
    pub async fn stream(&self, path: &str, accept: &str) -> Result<Incoming> {
        let request = self.request(Method::GET, path, accept, None)?;
        let response = self
            .connect()
            .await?
            .send_request(request)
            .await
            .context("the server broke off")?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status();
        let bytes = collect(response).await?;
        Err(Failed::from_body(status, &bytes).into())
    }

    /// A connection turned into a WebSocket's, with the subprotocol agreed on.
    pub async fn upgrade(&self, path: &str, protocol: &str) -> Result<hyper::upgrade::Upgraded> {
        let mut request = self.request(Method::GET, path, "*/*", None)?;
        let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
        let headers = request.headers_mut();
        for (name, value) in [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, &key),
            (header::SEC_WEBSOCKET_PROTOCOL, protocol),
        ] {
            headers.insert(name, value.parse()?);
        }
        let response = self
            .connect()
            .await?
            .send_request(request)
            .await
            .context("the server broke off")?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return hyper::upgrade::on(response)
                .await
                .context("the server did not change to a WebSocket");
        }
        let status = response.status();
        let bytes = collect(response).await?;
        Err(Failed::from_body(status, &bytes).into())
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes> {
    let body = http_body_util::Limited::new(response.into_body(), MAX_BODY_BYTES)
        .collect()
        .await;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => bail!("the server's answer broke off: {error}"),
    }
}

fn decode(status: StatusCode, bytes: &[u8]) -> Result<Value> {
    if !status.is_success() {
        return Err(Failed::from_body(status, bytes).into());
    }
    serde_json::from_slice(bytes).context("the server's answer is no JSON")
}

fn host_and_port(server: &str) -> Result<(String, u16)> {
    let uri: http::Uri = server
        .parse()
        .with_context(|| format!("{server:?} is no address of a server"))?;
    if uri.scheme_str() != Some("https") {
        bail!("the server's address {server:?} must start with https://");
    }
    let host = uri.host().with_context(|| format!("{server:?} names no host"))?;
    Ok((host.to_string(), uri.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn addresses_of_servers() {
        let good = host_and_port("https://127.0.0.1:6443").expect("an address");
        assert_eq!(good, ("127.0.0.1".to_string(), 6443));
        assert_eq!(host_and_port("https://a.b").expect("an address").1, 443);
        assert!(host_and_port("http://a.b").is_err());
    }
}
