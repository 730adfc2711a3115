//! A server over memory with a clock and randomness that repeat, and a way to send it requests.

use apiserver::http::{Body, Config, Peer, Server};
use apiserver::{Api, Authenticator, Authenticators, Caller, NodeOps, Parts, Tokens};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use meta::{Call, Env, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 2026-01-02T03:04:05Z, and a counter for randomness.
#[derive(Default)]
struct Still(AtomicU64);

impl Env for Still {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-01-02T03:04:05Z").expect("a time")
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

pub struct World {
    pub server: Arc<Server>,
    pub admin: Arc<Peer>,
}

pub fn admin() -> Caller {
    Caller {
        name: "admin".into(),
        groups: vec!["system:masters".into(), "system:authenticated".into()],
        ..Caller::default()
    }
}

impl World {
    fn parts() -> Parts {
        let store = store::Store::memory(store::Options::new("test"));
        Parts::new(store, Arc::new(Still::default()))
    }

    pub async fn new() -> Self {
        Self::of(Self::parts()).await
    }

    pub async fn with_tokens(tokens: Arc<Tokens>) -> Self {
        let mut parts = Self::parts();
        parts.signer = Some(tokens.clone());
        parts.authenticator = Some(tokens);
        Self::of(parts).await
    }

    /// A server that signs with the first and believes all.
    pub async fn with_authenticators(tokens: Arc<Tokens>, all: Vec<Arc<dyn Authenticator>>) -> Self {
        let mut parts = Self::parts();
        parts.signer = Some(tokens);
        parts.authenticator = Some(Arc::new(Authenticators(all)));
        Self::of(parts).await.with_roles().await
    }

    async fn of(parts: Parts) -> Self {
        let api = Api::new(parts);
        let client = api.client(admin());
        for name in ["default", "other"] {
            let call = Call::create(
                kinds::lifecycle::NAMESPACES,
                "",
                json!({"metadata": {"name": name}}),
            );
            client.call(call).await.expect("a namespace");
        }
        let peer = Peer {
            caller: Some(admin()),
            loopback: true,
            address: Some([192, 0, 2, 1].into()),
        };
        Self {
            server: Server::new(api, Config::default()),
            admin: Arc::new(peer),
        }
    }

    /// The roles and bindings that every cluster has.
    pub async fn with_roles(self) -> Self {
        let client = self.server.api().client(admin());
        for name in ["kube-system", "kube-public"] {
            let namespace = json!({"metadata": {"name": name}});
            let call = Call::create(kinds::lifecycle::NAMESPACES, "", namespace);
            client.call(call).await.expect("a namespace");
        }
        for call in kinds::rbac::policy::calls(&client.snapshot())
            .into_iter()
            .flatten()
        {
            client.call(call).await.expect("a default role");
        }
        self
    }

    pub fn with_node(self, node: Arc<dyn NodeOps>) -> Self {
        self.server.api().set_node(node);
        self
    }

    pub async fn send(&self, request: Request<Bytes>) -> Response<Body> {
        self.server.clone().respond_to(self.admin.clone(), request).await
    }

    /// `GET /path`, or with headers and a body after it. Status code and body.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::copy_from_slice(body)).expect("a request");
        let response = tokio::time::timeout(Duration::from_secs(20), self.send(request)).await;
        let response = response.expect("an answer in time");
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (code, body)
    }

    pub async fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let media = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (code, bytes) = self
            .ask(method, path, &[("content-type", media)], text.as_bytes())
            .await;
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}
