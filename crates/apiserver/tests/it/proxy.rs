//! The proxy verbs as text in, text out: what a pod is sent, and what its answers become. The pods are a small server
//! behind a pipe.

use crate::world::World;
use apiserver::NodeOps;
use apiserver::http::Peer;
use apiserver::node_ops::{Duplex, ExecOptions, LogOptions, Session};
use bytes::Bytes;
use futures::stream::BoxStream;
use meta::Status;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(20);
const POD: &str = "/api/v1/namespaces/default/pods/p/proxy";

/// What a pod does after its answer.
#[derive(Clone, Copy)]
enum Then {
    Ends,
    Echoes,
    Stays,
}

/// Pods that answer with what the test says, or show what they were sent. Nobody listens at port 81; 443 speaks TLS.
#[derive(Clone)]
struct Pods {
    answer: Option<String>,
    then: Then,
}

#[async_trait::async_trait]
impl NodeOps for Pods {
    async fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Status> {
        Err(Status::method_not_allowed())
    }

    async fn exec(&self, _: &str, _: &str, _: ExecOptions) -> Result<Session, Status> {
        Err(Status::method_not_allowed())
    }

    async fn attach(&self, _: &str, _: &str, _: ExecOptions) -> Result<Session, Status> {
        Err(Status::method_not_allowed())
    }

    async fn dial(&self, _: &str, _: &str, _: u16) -> Result<Box<dyn Duplex>, Status> {
        Err(Status::method_not_allowed())
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Duplex>> {
        if to.port() == 81 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (pods, name) = (self.clone(), format!("at {to}"));
        tokio::spawn(async move {
            match to.port() {
                443 => {
                    pods.serve(acceptor().accept(ours).await.expect("TLS"), name)
                        .await
                }
                _ => pods.serve(ours, name).await,
            }
        });
        Ok(Box::new(theirs))
    }
}

impl Pods {
    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, name: String) {
        let request = read_request(&mut stream).await;
        let shown = format!("{name}\n{}", request.replace('\r', ""));
        let shown = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{shown}",
            shown.len()
        );
        let answer = self.answer.unwrap_or(shown);
        stream.write_all(answer.as_bytes()).await.expect("written");
        match self.then {
            Then::Ends => stream.shutdown().await.expect("shut down"),
            Then::Echoes => {
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::io::copy(&mut read, &mut write).await.expect("copied");
                write.shutdown().await.expect("shut down");
            }
            Then::Stays => {
                stream.read_to_end(&mut Vec::new()).await.expect("the end");
            }
        }
    }
}

/// One request as it came: its head, then its body as long as the head says.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let done = match length {
                Some(length) => body.len() >= length.parse::<usize>().expect("a length"),
                None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
            };
            if done {
                return text;
            }
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.expect("a request");
        assert!(count > 0, "it ended early: {text}");
        text.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
    }
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = ["somebody.else".to_string()];
    let own = rcgen::CertificateParams::new(names).expect("parameters");
    let certificate = own.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        );
    Arc::new(config.expect("a configuration")).into()
}

async fn world(answer: Option<&str>, then: Then) -> World {
    let answer = answer.map(str::to_string);
    let world = World::new().await.with_node(Arc::new(Pods { answer, then }));
    let path = "/api/v1/namespaces/default";
    let put = async |method: &str, path: &str, body: Value| {
        let (code, answer) = world.json(method, path, &body).await;
        assert!(code < 300, "{answer}");
    };
    let account = json!({"metadata": {"name": "default"}});
    put("POST", &format!("{path}/serviceaccounts"), account).await;
    for (name, ip) in [("p", "10.244.0.7"), ("bare", ""), ("lo", "127.0.0.1")] {
        let ports = json!([{"containerPort": 8080}, {"containerPort": 9090}]);
        let ports = if name == "p" { ports } else { json!([]) };
        let pod = json!({"metadata": {"name": name},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i", "ports": ports}]}});
        put("POST", &format!("{path}/pods"), pod).await;
        if !ip.is_empty() {
            let status = json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
            put("PATCH", &format!("{path}/pods/{name}/status"), status).await;
        }
    }
    let target = |name: &str| json!({"kind": "Pod", "namespace": "default", "name": name});
    let ports =
        json!([{"name": "web", "port": 8080}, {"name": "tls", "port": 443}, {"name": "shut", "port": 81}]);
    let ready = json!([{"ip": "10.244.0.7", "targetRef": target("p")}]);
    // Addresses that are no pod's here, whoever wrote them.
    let foreign = json!([{"ip": "10.244.0.9", "targetRef": target("p")}, {"ip": "10.244.0.7"}]);
    let unready = json!([{"notReadyAddresses": ready.clone(), "ports": ports.clone()}]);
    for (name, subsets) in [
        ("s", json!([{"addresses": ready, "ports": ports}])),
        ("empty", json!([])),
        ("unready", unready),
        ("foreign", json!([{"addresses": foreign, "ports": ports.clone()}])),
    ] {
        let service = json!({"metadata": {"name": name}, "spec": {"ports": [
            {"name": "web", "port": 80}, {"name": "tls", "port": 443}, {"name": "shut", "port": 8181}]}});
        put("POST", &format!("{path}/services"), service).await;
        let endpoints = json!({"metadata": {"name": name}, "subsets": subsets});
        put("POST", &format!("{path}/endpoints"), endpoints).await;
    }
    world
}

/// A connection to the API server, with `text` sent on it.
async fn said(world: &World, text: &str) -> tokio::io::DuplexStream {
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(world.server.clone().serve_stream(theirs, (*world.admin).clone()));
    ours.write_all(text.as_bytes()).await.expect("sent");
    ours
}

/// All that is answered to a request and its headers, as it is on the wire but for the date.
async fn exchange(world: &World, request: &str) -> String {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let head = head.replace('\n', "\r\n");
    let text = format!("{head}\r\nHost: api.test\r\nConnection: close\r\n\r\n{body}");
    let mut stream = said(world, &text).await;
    let mut answer = String::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    let lines = answer.split("\r\n").filter(|line| !line.starts_with("date: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_pod_is_sent_the_request_without_credentials() {
    let world = world(None, Then::Ends).await;
    let mut shown = Vec::new();
    for request in [
        format!("GET {POD}/a%2Fb/%ff//c?x=1&y=%20 HTTP/1.1\nAccept: application/json\nCookie: a=b"),
        format!("POST {POD}:/no HTTP/1.1",).replace("/p/proxy:", "/http:p:9090/proxy"),
        format!("POST {POD} HTTP/1.1\nContent-Length: 5\n\nhello"),
        format!(
            "PUT {POD}/up HTTP/1.1\nTransfer-Encoding: chunked\nExpect: nothing\n\n5\r\nhello\r\n0\r\n\r\n"
        ),
        format!(
            "PATCH {POD}/x HTTP/1.1\nAuthorization: Bearer secret\nImpersonate-User: system:admin\nImpersonate-Group: system:masters\n\
             X-Remote-User: root\nX-Remote-Extra-Scopes: all\nProxy-Authorization: Basic secret\nKeep-Alive: 5\nX-Forwarded-For: 203.0.113.9\n\
             Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.c2VjcmV0, chat\nUser-Agent: me/1"
        ),
        format!(
            "DELETE {POD}/page HTTP/1.1\nAccept: text/html,*/*\nAccept-Encoding: gzip\nTE: trailers, deflate"
        ),
        format!("OPTIONS {POD}/ HTTP/1.1"),
        "GET /api/v1/namespaces/default/services/s:web/proxy/a HTTP/1.1".into(),
        "GET /api/v1/namespaces/default/services/http:s:80/proxy/a HTTP/1.1".into(),
        "GET /api/v1/namespaces/default/services/https:s:443/proxy/secure HTTP/1.1".into(),
        "GET /api/v1/namespaces/default/pods/https:p:443/proxy/secure HTTP/1.1".into(),
    ] {
        shown.push(format!("> {request}\n{}", exchange(&world, &request).await));
    }
    insta::assert_snapshot!(shown.join("\n----\n"));
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_in_upstreams_words() {
    let world = world(None, Then::Ends).await;
    let mut lines = Vec::new();
    for (method, path) in [
        ("GET", "pods/none/proxy/"),
        ("GET", "pods/ftp:p:80/proxy/"),
        ("GET", "pods/a:b:c:d/proxy/"),
        ("GET", "pods/:80/proxy/"),
        ("GET", "pods/p:web/proxy/"),
        ("GET", "pods/p:81/proxy/"),
        ("GET", "pods/p:99999/proxy/"),
        ("GET", "pods/bare/proxy/"),
        ("GET", "pods/lo/proxy/"),
        ("GET", "pods/p/proxy/?dryRun=All"),
        ("TRACE", "pods/p/proxy/"),
        ("GET", "services/none/proxy/"),
        ("GET", "services/none:80/proxy/"),
        ("GET", "services/ftp:s:80/proxy/"),
        ("GET", "services/s:82/proxy/"),
        ("GET", "services/s:none/proxy/"),
        ("GET", "services/s/proxy/"),
        ("GET", "services/s:shut/proxy/"),
        ("GET", "services/empty:web/proxy/"),
        ("GET", "services/unready:web/proxy/"),
        ("GET", "services/foreign:web/proxy/"),
        ("GET", "configmaps/c/proxy/"),
    ] {
        let whole = format!("/api/v1/namespaces/default/{path}");
        let (code, answer) = world.json(method, &whole, &Value::Null).await;
        let (reason, message) = (&answer["reason"], &answer["message"]);
        lines.push(format!("{method} {path}: {code} {reason} {message}"));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn each_method_needs_its_own_verb() {
    let mut world = world(None, Then::Ends).await;
    world.admin = Arc::new(Peer {
        caller: Some(apiserver::Caller {
            name: "weak".into(),
            groups: vec!["system:authenticated".into()],
            ..apiserver::Caller::default()
        }),
        ..Peer::default()
    });
    let mut lines = Vec::new();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let (code, answer) = world.json(method, &format!("{POD}/x"), &Value::Null).await;
        lines.push(format!("{method}: {code} {}", answer["message"]));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn an_empty_path_is_led_to_one_with_a_slash() {
    let world = world(None, Then::Ends).await;
    for method in ["GET", "HEAD"] {
        let answer = exchange(&world, &format!("{method} {POD}?a=b HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 301 Moved Permanently\n"), "{answer}");
        assert!(answer.contains(&format!("location: {POD}/?a=b\n")), "{answer}");
    }
}

#[tokio::test]
async fn answers_come_back_with_links_below_the_proxy() {
    let page = "<a href=\"/x\">x</a>";
    let html = |more: &str| {
        let size = page.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {size}\r\n{more}\r\n{page}"
        )
    };
    let mut shown = Vec::new();
    for answer in [
        "HTTP/1.1 302 Found\r\nLocation: /there?x=1#y\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 302 Found\r\nLocation: http://10.244.0.7:8080/there\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 302 Found\r\nLocation: https://api.test/there\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n".into(),
        html(""),
        html("Content-Encoding: gzip\r\n"),
        "HTTP/1.1 418 I'm a teapot\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Own: 2\r\n\
         Access-Control-Allow-Origin: *\r\nCache-Control: max-age=5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            .into(),
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end".into(),
        "HTTP/1.1 204 No Content\r\n\r\n".into(),
        "not HTTP\r\n\r\n".into(),
        String::new(),
    ] {
        let world = world(Some(&answer), Then::Ends).await;
        let back = exchange(&world, &format!("GET {POD}/ HTTP/1.1")).await;
        shown.push(format!("> {}\n{back}", answer.replace('\r', "")));
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n";
    let world = world(Some(head), Then::Ends).await;
    shown.push(exchange(&world, &format!("HEAD {POD}/ HTTP/1.1")).await);
    insta::assert_snapshot!(shown.join("\n----\n"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde";
    let world = world(Some(cut), Then::Ends).await;
    let back = exchange(&world, &format!("GET {POD}/ HTTP/1.1")).await;
    assert!(back.contains("abc") && !back.contains("\n0\n"), "{back}");
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: 1\r\n\r\nwelcome ";
    let world = world(Some(agreed), Then::Echoes).await;
    let request = format!(
        "GET {POD}/ws HTTP/1.1\r\nHost: api.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly "
    );
    let mut stream = said(&world, &request).await;
    let mut answer = String::new();
    while !answer.ends_with("early ") {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(LIMIT, stream.read(&mut piece)).await;
        let count = read.expect("an answer in time").expect("an answer");
        assert!(count > 0, "it ended early: {answer:?}");
        answer.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
    }
    stream.write_all(b"and late").await.expect("sent");
    stream.shutdown().await.expect("half closed");
    let read = tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    let (head, rest) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(
        head.contains("upgrade: websocket") && head.contains("x-own: 1"),
        "{head}"
    );
    assert_eq!(rest, "welcome early and late");
}

#[tokio::test]
async fn an_upgrade_that_fails_is_answered() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nHost: a\r\n\r\n";
    for (answer, port, wanted) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 80, "no"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
            80,
            "invalid upgrade response: status code 200",
        ),
        (
            "",
            81,
            "error dialing backend: dial tcp 10.244.0.7:81: connect: connection refused",
        ),
    ] {
        let world = world(Some(answer), Then::Ends).await;
        let path = format!("/api/v1/namespaces/default/pods/p:{port}/proxy/");
        let mut stream = said(&world, &format!("GET {path} HTTP/1.1\r\n{upgrade}")).await;
        let mut back = String::new();
        while !back.contains(wanted) {
            let mut piece = [0; 4096];
            let read = tokio::time::timeout(LIMIT, stream.read(&mut piece)).await;
            let count = read.expect("an answer in time").expect("an answer");
            assert!(count > 0, "{wanted:?} is not in {back:?}");
            back.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
        }
    }
}

#[tokio::test]
async fn what_still_runs_ends_with_the_server() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let upgraded = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc";
    for (answer, headers) in [(endless, ""), (upgraded, "Connection: Upgrade\r\nUpgrade: x\r\n")] {
        let world = world(Some(answer), Then::Stays).await;
        let mut stream = said(
            &world,
            &format!("GET {POD}/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n"),
        )
        .await;
        let mut back = String::new();
        while !back.contains("abc") {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).await.expect("an answer");
            assert!(count > 0, "it ended early: {back}");
            back.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
        }
        world.server.close().await;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await;
        ended.expect("it ends").ok();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a part looks like the whole");
    }
}

/// Requests that wait for a pod take no place from others.
#[tokio::test]
async fn the_limit_of_requests_is_not_for_pods() {
    let world = world(
        Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
        Then::Stays,
    )
    .await;
    let mut held = Vec::new();
    for _ in 0..600 {
        held.push(said(&world, &format!("GET {POD}/ HTTP/1.1\r\nHost: a\r\n\r\n")).await);
    }
    for stream in &mut held {
        let mut piece = [0; 16];
        stream.read_exact(&mut piece).await.expect("an answer");
        assert_eq!(&piece[..12], b"HTTP/1.1 200");
    }
    let (code, _) = world
        .json("GET", "/api/v1/namespaces/default/pods", &Value::Null)
        .await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn discovery_and_openapi_name_the_verbs() {
    let world = World::new().await;
    let (_, found) = world.json("GET", "/api/v1", &Value::Null).await;
    let (_, openapi) = world.json("GET", "/openapi/v3/api/v1", &Value::Null).await;
    let resources = found["resources"].as_array().expect("resources");
    for (name, kind) in [("pods", "PodProxyOptions"), ("services", "ServiceProxyOptions")] {
        let sub = format!("{name}/proxy");
        let own = resources.iter().find(|r| r["name"] == *sub).expect("a resource");
        assert_eq!(own["kind"], kind);
        assert_eq!(
            own["verbs"],
            json!(["create", "delete", "get", "patch", "update"])
        );
        let path = format!("/api/v1/namespaces/{{namespace}}/{name}/{{name}}/proxy/{{path}}");
        let id = &openapi["paths"][&path]["patch"]["operationId"];
        let short = kind.trim_end_matches("ProxyOptions");
        assert_eq!(id, &format!("connectCoreV1PatchNamespaced{short}ProxyWithPath"));
    }
}
