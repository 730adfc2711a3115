//! A server on loopback that answers as the test says, and notes what it was asked.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// One question, and when it is part of the log, what was asked before it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn authorization(&self) -> Option<&str> {
        let value = self.headers.get("authorization")?;
        Some(value.to_str().expect("text"))
    }
}

pub type Answer = Response<Full<Bytes>>;

pub fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let answer = Response::builder().status(status);
    answer.body(Full::new(body.into())).expect("an answer")
}

pub fn with_header(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer
        .headers_mut()
        .insert(name, value.parse().expect("a header"));
    answer
}

pub struct Stub {
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    /// `None` is silence. The second argument counts how often this method and path were asked before.
    pub async fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
        reply: impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (asked.clone(), Arc::new(reply));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (log, reply, tls) = (log.clone(), reply.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, log, reply).await,
                        Some(tls) => match tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                            Ok(stream) => serve(stream, log, reply).await,
                            Err(error) => eprintln!("no handshake: {error}"),
                        },
                    }
                });
            }
        });
        Stub { host, asked, task }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    log: Arc<Mutex<Vec<Asked>>>,
    reply: Arc<impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (log, reply) = (log.clone(), reply.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let asked = Asked {
                method: parts.method.to_string(),
                path: parts.uri.to_string(),
                headers: parts.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            let before = {
                let mut log = log.lock().expect("lock");
                let same = |known: &&Asked| known.method == asked.method && known.path == asked.path;
                let before = log.iter().filter(same).count();
                log.push(asked.clone());
                before
            };
            match reply(&asked, before) {
                Some(answer) => Ok::<_, Infallible>(answer),
                None => std::future::pending().await,
            }
        }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        eprintln!("a connection ended: {error}");
    }
}
