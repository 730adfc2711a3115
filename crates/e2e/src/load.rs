//! Load on the API and on HTTP servers: N clients, each with a connection of its own, call as fast as they are answered.

use crate::client::{Connection, Protocol, Target, request};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Where clients write.
const NAMESPACE: &str = "load";
/// Where what GET and LIST read lies, untouched by the writes.
const LISTED_NAMESPACE: &str = "listed";
/// Payload of an object; with its metadata it is about 1 kB.
const PAYLOAD_BYTES: usize = 800;
/// How many objects LIST gives back, as in the figures of upstream.
pub const LISTED: u64 = 2_200;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Get,
    Update,
    Patch,
    List,
    /// Create, get, update and patch in turn.
    Mixed,
    /// Create and delete again.
    Churn,
}

/// What came of it.
#[derive(Debug)]
pub struct Figures {
    pub calls: u64,
    pub seconds: f64,
    /// Sorted.
    pub latencies_us: Vec<u32>,
}

impl Figures {
    pub fn json(&self) -> Value {
        json!({"calls": self.calls, "per_s": self.calls as f64 / self.seconds,
               "p50_ms": self.percentile(50), "p99_ms": self.percentile(99)})
    }

    fn percentile(&self, percent: usize) -> f64 {
        let index = (self.latencies_us.len() * percent / 100).min(self.latencies_us.len().saturating_sub(1));
        self.latencies_us.get(index).copied().unwrap_or_default() as f64 / 1000.0
    }
}

fn collection(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn object(name: &str, note: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "load"}},
           "data": {"note": note, "payload": "x".repeat(PAYLOAD_BYTES)}})
}

async fn expect(
    connection: &mut Connection,
    method: Method,
    path: &str,
    kind: &str,
    body: &Value,
) -> Result<()> {
    let body = if body.is_null() {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    let answer = connection.run(request(method.clone(), path, kind, body)?).await?;
    if !answer.status.is_success() {
        bail!(
            "{method} {path}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
    }
    Ok(())
}

/// Makes the namespaces, with the objects that GET and LIST read.
pub async fn prepare(target: &Target) -> Result<()> {
    let mut connection = target.connect(Protocol::Http2).await?;
    for name in [NAMESPACE, LISTED_NAMESPACE] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let body = namespace.to_string().into();
        let answer = connection
            .call(Method::POST, "/api/v1/namespaces", "application/json", body)
            .await?;
        if answer.status == 409 {
            return Ok(());
        }
        if answer.status != 201 {
            bail!("no namespace: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    let path = collection(LISTED_NAMESPACE);
    for n in 0..LISTED {
        let body = object(&format!("listed-{n}"), "first");
        expect(&mut connection, Method::POST, &path, "application/json", &body).await?;
    }
    Ok(())
}

/// Keeps new pods off a node.
pub async fn cordon(target: &Target, node: &str) -> Result<()> {
    let mut connection = target.connect(Protocol::Http2).await?;
    let patch = json!({"spec": {"unschedulable": true}});
    let path = format!("/api/v1/nodes/{node}");
    let kind = "application/merge-patch+json";
    expect(&mut connection, Method::PATCH, &path, kind, &patch).await
}

/// Runs `clients` of them for `duration`. Their names begin with `tag`, which must be a new one each time for creates.
pub async fn run(
    target: &Target,
    operation: Operation,
    clients: usize,
    duration: Duration,
    tag: &str,
    protocol: Protocol,
) -> Result<Figures> {
    let mut connections = Vec::new();
    for n in 0..clients {
        let mut connection = target.connect(protocol).await?;
        if matches!(operation, Operation::Update | Operation::Patch | Operation::Mixed) {
            let body = object(&format!("{tag}-own-{n}"), "0");
            expect(
                &mut connection,
                Method::POST,
                &collection(NAMESPACE),
                "application/json",
                &body,
            )
            .await?;
        }
        connections.push(connection);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for (n, mut connection) in connections.into_iter().enumerate() {
        let tag = tag.to_owned();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while started.elapsed() < duration {
                let begun = Instant::now();
                one_call(&mut connection, operation, &tag, n, latencies.len()).await?;
                latencies.push(begun.elapsed().as_micros() as u32);
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies_us = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies_us.extend(ended??);
    }
    latencies_us.sort_unstable();
    Ok(Figures {
        calls: latencies_us.len() as u64,
        seconds: started.elapsed().as_secs_f64(),
        latencies_us,
    })
}

async fn one_call(
    connection: &mut Connection,
    operation: Operation,
    tag: &str,
    client: usize,
    call: usize,
) -> Result<()> {
    let (load, listed) = (collection(NAMESPACE), collection(LISTED_NAMESPACE));
    let own = format!("{tag}-own-{client}");
    let new = |call: usize| format!("{tag}-{client}-{call}");
    let turns = [
        Operation::Create,
        Operation::Get,
        Operation::Update,
        Operation::Patch,
    ];
    let operation = match operation {
        Operation::Mixed => turns[call % turns.len()],
        other => other,
    };
    let (method, path, kind, body) = match operation {
        Operation::Create => (Method::POST, load, "application/json", object(&new(call), "new")),
        Operation::Churn if call.is_multiple_of(2) => {
            (Method::POST, load, "application/json", object(&new(call), "new"))
        }
        Operation::Churn => (
            Method::DELETE,
            format!("{load}/{}", new(call - 1)),
            "",
            Value::Null,
        ),
        Operation::Get => {
            let n = (call as u64 * 7919 + client as u64 * 104_729) % LISTED;
            (Method::GET, format!("{listed}/listed-{n}"), "", Value::Null)
        }
        Operation::Update => {
            let body = object(&own, &call.to_string());
            (Method::PUT, format!("{load}/{own}"), "application/json", body)
        }
        Operation::Patch => {
            let body = json!({"data": {"note": call.to_string()}});
            let path = format!("{load}/{own}");
            (Method::PATCH, path, "application/merge-patch+json", body)
        }
        Operation::List | Operation::Mixed => (Method::GET, listed, "", Value::Null),
    };
    expect(connection, method, &path, kind, &body).await
}

/// Fan-out: `watchers` see what `writers` write; how many events a second, and how long each took from the write's start.
pub async fn watch(
    target: &Target,
    watchers: usize,
    writers: usize,
    duration: Duration,
    tag: &str,
) -> Result<Figures> {
    let began = Instant::now();
    let ended = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..watchers {
        let mut connection = target.connect(Protocol::Http1).await?;
        let path = format!(
            "{}?watch=1&labelSelector=fan%3D{tag}&timeoutSeconds=600",
            collection(NAMESPACE)
        );
        let request = Request::get(path)
            .header("accept", "application/json")
            .body(Full::new(Bytes::new()))?;
        let response = connection.start(request).await?;
        if response.status() != 200 {
            bail!("a watch: {}", response.status());
        }
        open.push((connection, response.into_body()));
    }
    for (connection, mut body) in open {
        let ended = ended.clone();
        tasks.spawn(async move {
            let (mut latencies, mut rest) = (Vec::new(), Vec::new());
            while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(2), body.frame()).await {
                let frame = frame.context("a watch broke")?;
                let now = began.elapsed().as_micros() as u64;
                let piece = frame.data_ref().map_or(&[][..], |data| data);
                let sent = sent_times(&mut rest, piece);
                latencies.extend(sent.iter().map(|sent| now.saturating_sub(*sent) as u32));
                if ended.load(Ordering::SeqCst) && rest.is_empty() {
                    break;
                }
            }
            drop(connection);
            anyhow::Ok(latencies)
        });
    }
    let written = write_stamped(target, writers, duration, tag, began).await?;
    ended.store(true, Ordering::SeqCst);
    let mut latencies_us = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies_us.extend(done??);
    }
    latencies_us.sort_unstable();
    Ok(Figures {
        calls: latencies_us.len() as u64,
        seconds: written.as_secs_f64(),
        latencies_us,
    })
}

/// The times that the lines of a stream carry which end in this piece; `rest` is the line that has begun.
fn sent_times(rest: &mut Vec<u8>, piece: &[u8]) -> Vec<u64> {
    let (mut times, mut from) = (Vec::new(), 0);
    for end in memchr::memchr_iter(b'\n', piece) {
        let line = &piece[from..end];
        if rest.is_empty() {
            times.extend(sent_us(line));
        } else {
            rest.extend_from_slice(line);
            times.extend(sent_us(rest));
            rest.clear();
        }
        from = end + 1;
    }
    rest.extend_from_slice(&piece[from..]);
    times
}

/// The time that a write carries, found without parsing the event.
fn sent_us(line: &[u8]) -> Option<u64> {
    let rest = &line[memchr::memmem::find(line, b"sent-")? + 5..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

async fn write_stamped(
    target: &Target,
    writers: usize,
    duration: Duration,
    tag: &str,
    began: Instant,
) -> Result<Duration> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..writers {
        let mut connection = target.connect(Protocol::Http2).await?;
        let name = format!("{tag}-fan-{n}");
        tasks.spawn(async move {
            let stamp = || format!("sent-{}", began.elapsed().as_micros());
            let mut body = object(&name, &stamp());
            body["metadata"]["labels"]["fan"] = json!(name.split("-fan-").next());
            expect(
                &mut connection,
                Method::POST,
                &collection(NAMESPACE),
                "application/json",
                &body,
            )
            .await?;
            while started.elapsed() < duration {
                let path = format!("{}/{name}", collection(NAMESPACE));
                let patch = json!({"data": {"note": stamp()}});
                expect(
                    &mut connection,
                    Method::PATCH,
                    &path,
                    "application/merge-patch+json",
                    &patch,
                )
                .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(started.elapsed())
}

/// GETs over kept connections to any HTTP server.
pub async fn http(address: SocketAddr, path: &str, clients: usize, duration: Duration) -> Result<Figures> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let path = path.to_owned();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while started.elapsed() < duration {
                let stream = TcpStream::connect(address)
                    .await
                    .with_context(|| format!("connect to {address}"))?;
                stream.set_nodelay(true)?;
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(async move { connection.await.ok() });
                // A server may end a connection after some requests: then a new one is made.
                while started.elapsed() < duration && sender.ready().await.is_ok() {
                    let begun = Instant::now();
                    let request = Request::get(&path)
                        .header("host", "bench")
                        .body(Full::new(Bytes::new()))?;
                    let Ok(response) = sender.send_request(request).await else {
                        break;
                    };
                    if response.status() != 200 {
                        bail!("{address}{path}: {}", response.status());
                    }
                    response.into_body().collect().await?;
                    latencies.push(begun.elapsed().as_micros() as u32);
                }
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies_us = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies_us.extend(done??);
    }
    latencies_us.sort_unstable();
    Ok(Figures {
        calls: latencies_us.len() as u64,
        seconds: started.elapsed().as_secs_f64(),
        latencies_us,
    })
}
