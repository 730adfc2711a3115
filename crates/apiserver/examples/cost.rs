//! What one call costs the server, on one thread, from request to response without TLS and disk:
//! `cargo run --release -p apiserver --example cost`.

use apiserver::http::{Config, Peer, Server};
use apiserver::{Api, Caller, Parts};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt;
use meta::{Env, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const CALLS: usize = 5_000;
const LISTS: usize = 50;
const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Time stands still and randomness counts: neither is measured here.
#[derive(Default)]
struct Still(AtomicU64);

impl Env for Still {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

struct Bench {
    server: Arc<Server>,
    peer: Arc<Peer>,
}

impl Bench {
    async fn ask(&self, method: &str, path: &str, media: &str, body: String) -> usize {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media);
        let Ok(request) = request.body(Bytes::from(body)) else {
            return 0;
        };
        let response = self.server.clone().respond_to(self.peer.clone(), request).await;
        assert!(
            response.status().is_success(),
            "{method} {path}: {}",
            response.status()
        );
        response
            .into_body()
            .collect()
            .await
            .map_or(0, |b| b.to_bytes().len())
    }

    async fn measure(&self, what: &str, count: usize, call: impl AsyncFn(usize) -> usize) {
        let start = Instant::now();
        let mut bytes = 0;
        for i in 0..count {
            bytes += call(i).await;
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / count as f64;
        eprintln!("{what:<28} {each:>9.1} µs  {:>9} bytes", bytes / count);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = store::Store::memory(store::Options::new("cost"));
    let api = Api::new(Parts::new(store, Arc::new(Still::default())));
    let admin = Caller {
        name: "admin".into(),
        groups: vec!["system:masters".into()],
        agent: "cost".into(),
        ..Caller::default()
    };
    let peer = Arc::new(Peer {
        caller: Some(admin),
        loopback: true,
    });
    let bench = Bench {
        server: Server::new(api, Config::default()),
        peer,
    };
    let json = "application/json";
    bench
        .ask(
            "POST",
            "/api/v1/namespaces",
            json,
            r#"{"metadata":{"name":"default"}}"#.into(),
        )
        .await;
    let filler = "x".repeat(700);
    let body = |i: usize, n: usize| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c{i}","labels":{{"app":"a{}"}}}},"data":{{"k":"{n}","f":"{filler}"}}}}"#,
            i % 10
        )
    };
    bench
        .measure("create 1 kB", CALLS, async |i| {
            bench.ask("POST", CONFIGMAPS, json, body(i, 0)).await
        })
        .await;
    bench
        .measure("get", CALLS, async |i| {
            bench
                .ask("GET", &format!("{CONFIGMAPS}/c{i}"), json, String::new())
                .await
        })
        .await;
    bench
        .measure("update", CALLS, async |i| {
            bench
                .ask("PUT", &format!("{CONFIGMAPS}/c{i}"), json, body(i, 1))
                .await
        })
        .await;
    let patch = "application/merge-patch+json";
    bench
        .measure("merge patch", CALLS, async |i| {
            bench
                .ask(
                    "PATCH",
                    &format!("{CONFIGMAPS}/c{i}"),
                    patch,
                    r#"{"data":{"k":"2"}}"#.into(),
                )
                .await
        })
        .await;
    bench
        .measure("list 2,200", LISTS, async |_| {
            bench
                .ask("GET", &format!("{CONFIGMAPS}?limit=2200"), json, String::new())
                .await
        })
        .await;
    bench
        .measure("list by label (1 in 10)", LISTS, async |_| {
            bench
                .ask(
                    "GET",
                    &format!("{CONFIGMAPS}?labelSelector=app%3Da1"),
                    json,
                    String::new(),
                )
                .await
        })
        .await;
    bench
        .measure("delete", CALLS, async |i| {
            bench
                .ask("DELETE", &format!("{CONFIGMAPS}/c{i}"), json, String::new())
                .await
        })
        .await;
}
