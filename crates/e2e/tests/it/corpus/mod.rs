//! Bad requests over real HTTPS: whatever is sent, the answer is one clear Status of the 4xx kind; the server neither
//! fails, nor panics, nor hangs, and what it holds stays as it is.

mod fields;
mod handpicked;
mod mutated;
mod objects;
mod patches;
mod values;

use crate::harness::Cluster;
use bytes::Bytes;
use e2e::client::{Answer, Connection, Protocol, Target};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use std::time::Duration;

/// Far above what any answer takes; what passes it hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const AT_LEAST: usize = 500;

/// What must come back.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// One of these codes.
    Code(Vec<u16>),
    /// Any 4xx.
    ClientError,
    /// Anything but a 5xx: what was made from a seed may happen to be right.
    Answer,
}

/// A request that deserves a refusal.
#[derive(Clone, Debug)]
pub struct Bad {
    pub why: String,
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub want: Want,
    /// Words that the message must hold.
    pub says: Vec<String>,
    pub anonymous: bool,
}

impl Bad {
    pub fn new(why: impl Into<String>, method: Method, path: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            want: Want::ClientError,
            says: Vec::new(),
            anonymous: false,
        }
    }

    pub fn get(why: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(why, Method::GET, path)
    }

    pub fn post(why: impl Into<String>, path: impl Into<String>, body: &Value) -> Self {
        Self::new(why, Method::POST, path).json(body)
    }

    pub fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub fn raw(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.push(("content-type", kind.to_owned()));
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn code(mut self, code: u16) -> Self {
        self.want = Want::Code(vec![code]);
        self
    }

    pub fn codes(mut self, codes: &[u16]) -> Self {
        self.want = Want::Code(codes.to_vec());
        self
    }

    pub fn any_answer(mut self) -> Self {
        self.want = Want::Answer;
        self
    }

    pub fn says(mut self, words: &str) -> Self {
        self.says.push(words.to_owned());
        self
    }

    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.path.as_str());
        for (name, value) in &self.headers {
            request = request.header(*name, value.as_str());
        }
        request
            .body(Full::new(self.body.clone().into()))
            .unwrap_or_else(|e| panic!("{}: not a request at all: {e}", self.why))
    }

    /// What is wrong with the answer, if anything is.
    fn complaint(&self, answer: &Answer) -> Option<String> {
        let code = answer.status.as_u16();
        if answer.status.is_server_error() {
            return Some("a 5xx".to_owned());
        }
        let right = match &self.want {
            Want::Code(codes) => codes.contains(&code),
            Want::ClientError => answer.status.is_client_error(),
            Want::Answer => return None,
        };
        if !right {
            return Some(format!("wanted {:?}", self.want));
        }
        let Ok(status) = answer.json() else {
            return Some("the body is not JSON".to_owned());
        };
        if status["kind"] != "Status" || status["code"] != code || status["status"] != "Failure" {
            return Some("the body is not a failure's Status with the same code".to_owned());
        }
        let message = status["message"].as_str().unwrap_or_default();
        if message.is_empty() {
            return Some("no message".to_owned());
        }
        let missing = self.says.iter().find(|words| !message.contains(words.as_str()));
        missing.map(|words| format!("the message does not say {words:?}"))
    }
}

struct Sender {
    target: Target,
    protocol: Protocol,
    admin: Connection,
    nobody: Connection,
}

impl Sender {
    async fn new(target: Target, protocol: Protocol) -> Self {
        Self {
            admin: target.connect(protocol).await.expect("connected"),
            nobody: target.connect_anonymous(protocol).await.expect("connected"),
            target,
            protocol,
        }
    }

    /// Sends on an open connection; once more on a fresh one, since the server may close one after a bad request.
    async fn send(&mut self, bad: &Bad) -> Result<Answer, String> {
        let mut last = String::new();
        for _ in 0..2 {
            let connection = if bad.anonymous {
                &mut self.nobody
            } else {
                &mut self.admin
            };
            match tokio::time::timeout(ANSWER_LIMIT, connection.send(bad.request())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = format!("no answer: {error:#}"),
                Err(_) => return Err(format!("no answer in {ANSWER_LIMIT:?}")),
            }
            *self = Self::new(self.target.clone(), self.protocol).await;
        }
        Err(last)
    }
}

/// The whole corpus; what it acts on is made by `objects::stored`.
pub fn corpus() -> Vec<Bad> {
    [
        fields::wrong_types(),
        fields::unknown_fields(),
        fields::missing(),
        mutated::truncated(),
        mutated::scrambled(),
        handpicked::bodies(),
        handpicked::routes(),
        handpicked::queries(),
        handpicked::callers(),
        handpicked::names(),
        handpicked::values(),
        handpicked::conflicts(),
        handpicked::immutables(),
        patches::all(),
    ]
    .concat()
}

#[test]
fn bad_requests_are_refused_one_by_one() {
    let corpus = corpus();
    assert!(corpus.len() >= AT_LEAST, "only {} bad requests", corpus.len());
    let Some(cluster) = Cluster::start("bad_requests_are_refused_one_by_one", &[]) else {
        return;
    };
    cluster.apply(&objects::stored());
    let before = held(&cluster);
    let target = Target::from_kubeconfig(&cluster.kubeconfig).expect("a target");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut complaints = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        runtime.block_on(async {
            let mut sender = Sender::new(target.clone(), protocol).await;
            for bad in &corpus {
                let complaint = match sender.send(bad).await {
                    Err(complaint) => Some(complaint),
                    Ok(answer) => bad.complaint(&answer).map(|what| {
                        let body = String::from_utf8_lossy(&answer.body).into_owned();
                        format!("{what}; {} {}", answer.status, shorten(&body))
                    }),
                };
                if let Some(what) = complaint {
                    let line = format!(
                        "{protocol:?} {}: {} {}: {what}",
                        bad.why,
                        bad.method,
                        shorten(&bad.path)
                    );
                    complaints.push(line);
                }
            }
            let alive = sender.send(&Bad::get("alive", "/readyz")).await.expect("alive");
            assert_eq!(alive.status, StatusCode::OK);
        });
    }
    let log = cluster.server_log();
    assert!(!log.contains("panicked"), "the server panicked:\n{log}");
    assert!(
        complaints.is_empty(),
        "{} of {} answers are wrong:\n{}",
        complaints.len(),
        corpus.len() * 2,
        complaints.join("\n")
    );
    assert_eq!(before, held(&cluster), "a refused request changed something");
    cluster.remove();
}

/// The objects that the corpus acts on, each with its version.
fn held(cluster: &Cluster) -> String {
    cluster.kubectl(
        "get cm,secret,svc,sts,deploy,pvc,sa -n corpus -o \
         'jsonpath={range .items[*]}{.kind}/{.metadata.name}@{.metadata.uid}:{.spec}{.data}{\"\\n\"}{end}'",
    )
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(400).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
