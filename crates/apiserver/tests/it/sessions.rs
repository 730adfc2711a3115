//! Exec, attach, logs and port-forward over real WebSockets, with a node that echoes.

use crate::world::World;
use apiserver::NodeOps;
use apiserver::http::Peer;
use apiserver::node_ops::{Duplex, ExecOptions, Exit, LogOptions, Output, Session};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{SinkExt, Stream, StreamExt};
use meta::Status;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Echoes stdin to stdout, the command to stderr, and ends with the code that the command names.
struct Echo;

#[async_trait::async_trait]
impl NodeOps for Echo {
    async fn logs(
        &self,
        _: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        let text = format!("{pod} {:?}\n", options.tail_lines);
        let written = futures::stream::iter([Ok(Bytes::from(text))]);
        Ok(match options.follow {
            true => written.chain(futures::stream::pending()).boxed(),
            false => written.boxed(),
        })
    }

    async fn exec(&self, _: &str, pod: &str, options: ExecOptions) -> Result<Session, Status> {
        if options.container == "none" {
            let text = format!("container none is not valid for pod {pod}");
            return Err(Status::bad_request(text));
        }
        let (stdin, mut input) = mpsc::channel::<Bytes>(4);
        let (sender, output) = mpsc::channel(4);
        let (ended, exit) = oneshot::channel();
        tokio::spawn(async move {
            let words = options.command.join(" ");
            sender.send(Output::Stderr(words.clone().into())).await.ok();
            while let Some(bytes) = input.recv().await {
                sender.send(Output::Stdout(bytes)).await.ok();
            }
            ended.send(Exit::Code(words.len() as i32)).ok();
        });
        Ok(Session {
            stdin: Some(stdin),
            output,
            resize: None,
            exit,
        })
    }

    async fn attach(&self, namespace: &str, pod: &str, options: ExecOptions) -> Result<Session, Status> {
        self.exec(namespace, pod, options).await
    }

    async fn dial(&self, _: &str, _: &str, port: u16) -> Result<Box<dyn Duplex>, Status> {
        if port != 80 {
            return Err(Status::bad_request("connection refused"));
        }
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(ours);
            tokio::io::copy(&mut read, &mut write).await.ok();
            write.shutdown().await.ok();
        });
        Ok(Box::new(theirs))
    }

    async fn connect(&self, to: SocketAddr) -> std::io::Result<Box<dyn Duplex>> {
        Err(std::io::Error::other(format!("{to} is not here")))
    }
}

async fn world() -> World {
    let world = World::new().await.with_node(Arc::new(Echo));
    let account = json!({"metadata": {"name": "default"}});
    world
        .json("POST", "/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let (code, answer) = world.json("POST", "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 201, "{answer}");
    world
}

async fn connect(world: &World, path: &str, protocol: &str) -> WebSocketStream<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(world.server.clone().serve_stream(theirs, (*world.admin).clone()));
    let uri = format!("ws://localhost/api/v1/namespaces/default/pods/p/{path}");
    let mut request = uri.into_client_request().expect("a request");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol.parse().expect("a header"));
    let (socket, response) = tokio_tungstenite::client_async(request, ours)
        .await
        .expect("an upgrade");
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    socket
}

/// The next message that carries data, if there is one.
async fn said(socket: &mut (impl Stream<Item = Result<Message, Error>> + Unpin)) -> Option<Bytes> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Binary(data))) => return Some(data),
            _ => return None,
        }
    }
}

/// kubectl before 1.34 throws away what it reads before it is ready for it.
#[tokio::test]
async fn nothing_is_said_to_a_client_that_has_not_shown_that_it_reads() {
    let world = world().await;
    let mut socket = connect(
        &world,
        "exec?command=ls&stdout=true&stderr=true",
        "v5.channel.k8s.io",
    )
    .await;
    let first = socket.next().await.expect("a message").expect("no error");
    assert!(matches!(first, Message::Ping(_)), "{first:?}");
    // The answer goes out with the next read.
    assert_eq!(said(&mut socket).await.as_deref(), Some(&b"\x02ls"[..]));
}

#[tokio::test]
async fn exec_carries_streams_and_the_exit_code() {
    let world = world().await;
    let path = "exec?command=ls&command=x&stdin=true&stdout=true&stderr=true";
    let mut socket = connect(&world, path, "v5.channel.k8s.io").await;
    socket
        .send(Message::binary(b"\x00hello".to_vec()))
        .await
        .expect("sent");
    socket
        .send(Message::binary(b"\xff\x00".to_vec()))
        .await
        .expect("sent");
    let mut seen = Vec::new();
    while let Some(data) = said(&mut socket).await {
        seen.push(data);
    }
    assert_eq!(seen[0], &b"\x02ls x"[..]);
    assert_eq!(seen[1], &b"\x01hello"[..]);
    assert_eq!(seen[2][0], 3);
    let status: Value = serde_json::from_slice(&seen[2][1..]).expect("a status");
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(
        status["details"]["causes"][0],
        json!({"reason": "ExitCode", "message": "4"})
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_session_is_told_before_the_upgrade() {
    let world = world().await;
    let spdy = [
        ("connection", "Upgrade"),
        ("upgrade", "SPDY/3.1"),
        ("x-stream-protocol-version", "v4.channel.k8s.io"),
    ];
    let websocket = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let none = "container none is not valid for pod p";
    let plain = "Upgrade request required: this endpoint speaks WebSocket and SPDY/3.1";
    let cases = [
        ("none", &spdy[..], 400, none),
        ("none", &websocket[..], 400, none),
        ("c", &[], 400, plain),
        (
            "c",
            &spdy[..2],
            403,
            "unable to upgrade: unable to negotiate protocol: client supports [], server accepts [v4.channel.k8s.io]",
        ),
    ];
    for (container, headers, code, said) in cases {
        let path =
            format!("/api/v1/namespaces/default/pods/p/exec?command=ls&stdout=true&container={container}");
        let (given, answer) = world.ask("POST", &path, headers, b"").await;
        let status: Value = serde_json::from_slice(&answer).expect("a status");
        assert_eq!((given, status["message"].as_str()), (code, Some(said)));
    }
}

/// More bytes than all queues hold, through a command that writes what it reads: neither side waits for the other.
#[tokio::test]
async fn much_goes_through_both_ways_at_once() {
    let world = world().await;
    let socket = connect(
        &world,
        "exec?command=cat&stdin=true&stdout=true",
        "v5.channel.k8s.io",
    )
    .await;
    let (mut out, mut input) = socket.split();
    let piece: Vec<u8> = [&[0][..], &[7; 16 * 1024]].concat();
    let send = async {
        for _ in 0..200 {
            out.send(Message::binary(piece.clone())).await.expect("sent");
        }
        out.send(Message::binary(b"\xff\x00".to_vec()))
            .await
            .expect("sent");
    };
    let receive = async {
        let mut bytes = 0;
        while let Some(data) = said(&mut input).await {
            if data[0] == 1 {
                bytes += data.len() - 1;
            }
            // What the client has not read yet holds the command up.
            tokio::task::yield_now().await;
        }
        bytes
    };
    let both = async { tokio::join!(send, receive) };
    let ((), bytes) = tokio::time::timeout(std::time::Duration::from_secs(20), both)
        .await
        .expect("no side waits for the other for ever");
    assert_eq!(bytes, 200 * 16 * 1024);
}

#[tokio::test]
async fn logs_are_plain_text() {
    let world = world().await;
    let (code, text) = world
        .ask(
            "GET",
            "/api/v1/namespaces/default/pods/p/log?tailLines=3",
            &[],
            b"",
        )
        .await;
    assert_eq!((code, &text[..]), (200, &b"p Some(3)\n"[..]));
    let (code, _) = world
        .ask(
            "GET",
            "/api/v1/namespaces/default/pods/p/log?tailLines=-3",
            &[],
            b"",
        )
        .await;
    assert_eq!(code, 422);
}

#[tokio::test]
async fn ports_are_forwarded_by_channels() {
    let world = world().await;
    let mut socket = connect(&world, "portforward?ports=80", "v4.channel.k8s.io").await;
    socket
        .send(Message::binary(b"\x00ping".to_vec()))
        .await
        .expect("sent");
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(socket.next().await.expect("more").expect("no error").into_data());
    }
    assert_eq!(
        seen,
        [&b"\x00\x50\x00"[..], &b"\x01\x50\x00"[..], &b"\x00ping"[..]]
    );
}

#[tokio::test]
async fn a_tls_free_stream_can_be_read_to_its_end() {
    let world = world().await;
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(world.server.clone().serve_stream(theirs, (*world.admin).clone()));
    ours.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut text = String::new();
    ours.read_to_string(&mut text).await.expect("read");
    assert!(
        text.starts_with("HTTP/1.1 200 OK") && text.ends_with("ok"),
        "{text}"
    );
}

#[tokio::test]
async fn a_followed_log_ends_when_the_server_closes() {
    let world = world().await;
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(world.server.clone().serve_stream(theirs, (*world.admin).clone()));
    let request = "GET /api/v1/namespaces/default/pods/p/log?follow=true HTTP/1.1\r\nhost: x\r\n\r\n";
    ours.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    while !text.contains("p None") {
        let mut piece = vec![0; 1024];
        let count = ours.read(&mut piece).await.expect("an answer");
        assert!(count > 0, "it ended early: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    world.server.close().await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), ours.read_to_end(&mut rest)).await;
    ended.expect("the log ends").expect("in good order");
    assert!(rest.ends_with(b"0\r\n\r\n"), "the body is complete");
}

/// A client that reads nothing before all is sent: each answer is there then, and the connection goes on.
#[tokio::test]
async fn who_is_answered_early_may_still_send() {
    let world = world().await;
    let path = "/api/v1/namespaces/default/configmaps";
    for (peer, path, media_type, size_bytes, expected) in [
        (
            &*world.admin,
            "/api/v1/namespaces/default/configmaps/x/y",
            "application/json",
            300_000,
            404,
        ),
        (&*world.admin, path, "text/plain", 300_000, 415),
        (&*world.admin, path, "application/json", 4_000_000, 413),
        (&Peer::default(), path, "application/json", 300_000, 403),
    ] {
        let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(world.server.clone().serve_stream(theirs, peer.clone()));
        for _ in 0..2 {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\ncontent-length: {size_bytes}\r\n\r\n"
            );
            ours.write_all(head.as_bytes()).await.expect("sent");
            ours.write_all(&vec![b'['; size_bytes])
                .await
                .expect("all is taken");
            let mut answer = String::new();
            while !answer.ends_with("}\n") {
                let mut piece = vec![0; 4096];
                let count = ours.read(&mut piece).await.expect("an answer");
                assert!(count > 0, "it ended early: {answer}");
                answer.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
            let begin = format!("HTTP/1.1 {expected} ");
            assert!(
                answer.starts_with(&begin),
                "{size_bytes} bytes to {path}: {answer}"
            );
        }
    }
}
