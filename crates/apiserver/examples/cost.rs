//! What one call costs the server, on one thread, from request to response without TLS and disk:
//! `cargo run --release -p apiserver --example cost`.

use apiserver::core::access::{Ask, Who};
use apiserver::core::rbac::Rbac;
use apiserver::http::{Config, Peer, Server};
use apiserver::{Api, Authorizer, Caller, Parts};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt;
use kinds::rbac::{ROLEBINDINGS, policy};
use meta::{Draft, Env, Snapshot, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const CALLS: usize = 5_000;
const LISTS: usize = 50;
const DECISIONS: usize = 200_000;
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
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
        self.ask_for(JSON, method, path, media, body).await
    }

    async fn ask_for(&self, accept: &str, method: &str, path: &str, media: &str, body: String) -> usize {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", accept)
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
        eprintln!("{what:<40} {each:>9.1} µs  {:>9} bytes", bytes / count);
    }
}

/// What it costs to find out whether somebody may, with the roles that every cluster has and 500 bindings besides.
// LONG: what is asked, and the cluster that it is asked of.
fn decisions() {
    let mut seen = Snapshot::default();
    let put = |seen: &mut Snapshot, res, namespace: &str, mut object: Value| {
        object["metadata"]["namespace"] = namespace.into();
        if let Ok(draft) = Draft::new(object) {
            let revision = seen.revision() + 1;
            seen.put(res, draft.seal(revision));
        }
    };
    for default in policy::defaults() {
        put(&mut seen, default.res, default.namespace, default.object);
    }
    for i in 0..500 {
        let subjects = json!([{"kind": "ServiceAccount", "name": "app"}]);
        let role = json!({"kind": "ClusterRole", "name": "system:aggregate-to-edit"});
        let binding = json!({"metadata": {"name": format!("b{i}")}, "roleRef": role, "subjects": subjects});
        put(&mut seen, ROLEBINDINGS, &format!("n{}", i % 100), binding);
    }
    let rbac = Rbac::default();
    let groups = |own: &[&str]| own.iter().map(|g| (*g).to_string()).collect::<Vec<String>>();
    let app = groups(&[
        "system:serviceaccounts",
        "system:serviceaccounts:n7",
        "system:authenticated",
    ]);
    let admin = groups(&["system:masters", "system:authenticated"]);
    let ask = |verb, group, resource| Ask {
        verb,
        group,
        resource,
        namespace: "n7",
        ..Ask::default()
    };
    for (what, name, groups, ask) in [
        ("administrator", "admin", &admin, ask("get", "", "pods")),
        (
            "account, first rule",
            "system:serviceaccount:n7:app",
            &app,
            ask("get", "", "secrets"),
        ),
        (
            "account, last rule",
            "system:serviceaccount:n7:app",
            &app,
            ask("create", "resource.k8s.io", "resourceclaims"),
        ),
        (
            "account, refused",
            "system:serviceaccount:n7:app",
            &app,
            ask("create", "", "nodes"),
        ),
    ] {
        let start = Instant::now();
        let allowed = (0..DECISIONS)
            .filter(|_| rbac.allows(Who { name, groups }, &ask, &seen))
            .count();
        let each = start.elapsed().as_secs_f64() * 1e9 / DECISIONS as f64;
        eprintln!(
            "decision: {what:<24} {each:>9.0} ns  allowed {}",
            allowed == DECISIONS
        );
    }
    let start = Instant::now();
    for i in 0..100 {
        let binding =
            json!({"metadata": {"name": format!("c{i}")}, "roleRef": {"kind": "Role", "name": "r"}});
        put(&mut seen, ROLEBINDINGS, "n1", binding);
        rbac.allows(
            Who {
                name: "x",
                groups: &app,
            },
            &ask("get", "", "pods"),
            &seen,
        );
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / 100.0;
    eprintln!("decision: after a new binding      {each:>9.1} µs");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    decisions();
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
        address: None,
    });
    let bench = Bench {
        server: Server::new(api, Config::default()),
        peer,
    };
    let name = r#"{"metadata":{"name":"default"}}"#;
    bench.ask("POST", "/api/v1/namespaces", JSON, name.into()).await;
    bench.one_by_one().await;
    bench.many().await;
    let delete = async |i: usize| bench.ask("DELETE", &path(i), JSON, String::new()).await;
    bench.measure("delete", CALLS, delete).await;
}

fn path(i: usize) -> String {
    format!("{CONFIGMAPS}/c{i}")
}

fn body(i: usize, n: usize) -> String {
    let (label, filler) = (i % 10, "x".repeat(700));
    format!(
        r#"{{"metadata":{{"name":"c{i}","labels":{{"app":"a{label}"}}}},"data":{{"k":"{n}","f":"{filler}"}}}}"#
    )
}

impl Bench {
    async fn one_by_one(&self) {
        let create = async |i: usize| self.ask("POST", CONFIGMAPS, JSON, body(i, 0)).await;
        self.measure("create 1 kB", CALLS, create).await;
        let get = async |i: usize| self.ask("GET", &path(i), JSON, String::new()).await;
        self.measure("get", CALLS, get).await;
        let get = async |i: usize| self.ask_for(PROTOBUF, "GET", &path(i), JSON, String::new()).await;
        self.measure("get, protobuf, first", CALLS, get).await;
        self.measure("get, protobuf, again", CALLS, get).await;
        let update = async |i: usize| self.ask("PUT", &path(i), JSON, body(i, 1)).await;
        self.measure("update", CALLS, update).await;
        let patch = async |i: usize| {
            self.ask(
                "PATCH",
                &path(i),
                "application/merge-patch+json",
                r#"{"data":{"k":"2"}}"#.into(),
            )
            .await
        };
        self.measure("merge patch", CALLS, patch).await;
    }

    async fn many(&self) {
        for (what, query) in [
            ("list 2,200", "limit=2200"),
            ("list by label (1 in 10)", "labelSelector=app%3Da1"),
        ] {
            let path = format!("{CONFIGMAPS}?{query}");
            let list = async |_: usize| self.ask("GET", &path, JSON, String::new()).await;
            self.measure(what, LISTS, list).await;
            let list = async |_: usize| self.ask_for(PROTOBUF, "GET", &path, JSON, String::new()).await;
            self.measure(&format!("{what}, protobuf, first"), 1, list).await;
            self.measure(&format!("{what}, protobuf"), LISTS, list).await;
        }
        let path = format!("{CONFIGMAPS}?limit=2200");
        for (what, accept) in [("metadata", JSON), ("metadata, protobuf", PROTOBUF)] {
            let accept = format!("{accept};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
            let list = async |_: usize| self.ask_for(&accept, "GET", &path, JSON, String::new()).await;
            self.measure(&format!("list 2,200, {what}"), LISTS, list).await;
        }
    }
}
