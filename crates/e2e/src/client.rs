//! One connection to the API that a kubeconfig names: HTTP/1.1 or HTTP/2 over TLS, with the admin's certificate or none.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const READ_BYTES: usize = 64 * 1024;

/// Where the API is and how to talk to it.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    admin: Arc<ClientConfig>,
    anonymous: Arc<ClientConfig>,
}

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Target {
    /// Reads the current context of a kubeconfig that `isopod up` wrote.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Value = serde_saphyr::from_str(&text).context("the kubeconfig is not YAML")?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let server = cluster["server"].as_str().context("no server")?;
        let address = server
            .strip_prefix("https://")
            .context("not https")?
            .parse()
            .with_context(|| format!("not an address: {server}"))?;
        let data = |value: &Value| -> Result<Vec<u8>> {
            Ok(STANDARD.decode(value.as_str().context("missing in the kubeconfig")?)?)
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&data(
            &cluster["certificate-authority-data"],
        )?)?)?;
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&data(&user["client-certificate-data"])?)
                .collect::<Result<_, _>>()
                .map_err(|e| anyhow!("client certificate: {e:?}"))?;
        let key = PrivateKeyDer::from_pem_slice(&data(&user["client-key-data"])?)
            .map_err(|e| anyhow!("client key: {e:?}"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || -> Result<_> {
            Ok(ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots.clone()))
        };
        let admin = builder()?.with_client_auth_cert(chain, key)?;
        let anonymous = builder()?.with_no_client_auth();
        Ok(Self {
            address,
            admin: Arc::new(admin),
            anonymous: Arc::new(anonymous),
        })
    }

    /// A connection as the kubeconfig's user.
    pub async fn connect(&self, protocol: Protocol) -> Result<Connection> {
        self.connect_as(&self.admin, protocol).await
    }

    /// A connection without a client certificate.
    pub async fn connect_anonymous(&self, protocol: Protocol) -> Result<Connection> {
        self.connect_as(&self.anonymous, protocol).await
    }

    async fn connect_as(&self, config: &Arc<ClientConfig>, protocol: Protocol) -> Result<Connection> {
        let mut config = (**config).clone();
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        let tcp = TcpStream::connect(self.address).await.context("connect")?;
        tcp.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        // rustls reads 4 KiB at a time: without the buffer, what is measured would be this side's system calls.
        let tcp = BufReader::with_capacity(READ_BYTES, tcp);
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .context("TLS")?;
        let io = TokioIo::new(tls);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                // Its end is seen by the sender; nobody else needs to hear of it.
                tokio::spawn(async move { connection.await.ok() });
                Connection::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(async move { connection.await.ok() });
                Connection::Http2(sender)
            }
        })
    }
}

/// An open connection.
pub enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Sends a request whose URI is a path; the answer's body is still to be read.
    pub async fn start(&mut self, mut request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                request
                    .headers_mut()
                    .entry("host")
                    .or_insert(http::HeaderValue::from_static("127.0.0.1"));
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
            Self::Http2(sender) => {
                let path = request
                    .uri()
                    .path_and_query()
                    .map_or("/", |p| p.as_str())
                    .to_owned();
                *request.uri_mut() = format!("https://127.0.0.1{path}").parse()?;
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
        }
    }

    /// Sends a request and reads the whole answer, of which the body is kept only where the call failed.
    pub async fn run(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let (head, mut body) = self.start(request).await?.into_parts();
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            if !head.status.is_success() {
                kept.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            }
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: kept.into(),
        })
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let (head, body) = self.start(request).await?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// A call with a JSON body, or none where `body` is empty.
    pub async fn call(&mut self, method: Method, path: &str, kind: &str, body: Bytes) -> Result<Answer> {
        self.send(request(method, path, kind, body)?).await
    }
}

/// A request for JSON with a JSON body, or with none where `body` is empty.
pub fn request(method: Method, path: &str, kind: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept", "application/json");
    if !body.is_empty() {
        request = request.header("content-type", kind);
    }
    Ok(request.body(Full::new(body))?)
}
