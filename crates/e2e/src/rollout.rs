//! How long a workload takes from "scale it" to "all are ready", and back to nothing, as a watching client sees it.

use crate::client::{Connection, Protocol, Target};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What is rolled out.
#[derive(Clone, Debug)]
pub struct Workload {
    /// `statefulsets` or `deployments`.
    pub plural: String,
    pub name: String,
    pub image: String,
    pub replicas: u64,
    /// A StatefulSet's podManagementPolicy.
    pub policy: String,
    pub probe: bool,
}

impl Workload {
    fn object(&self) -> Value {
        let labels = json!({"app": self.name});
        let mut container = json!({
            "name": "main", "image": self.image, "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "VISITS_FILE", "value": "/data/visits.txt"}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        });
        if self.probe {
            container["readinessProbe"] =
                json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1});
        }
        let mut spec = json!({
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container],
                "terminationGracePeriodSeconds": 30, "volumes": [{"name": "data", "emptyDir": {}}]}},
        });
        let mut kind = "Deployment";
        if self.plural == "statefulsets" {
            kind = "StatefulSet";
            spec["serviceName"] = json!(self.name);
            spec["podManagementPolicy"] = json!(self.policy);
        }
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": self.name}, "spec": spec})
    }

    fn collection(&self) -> String {
        format!("/apis/apps/v1/namespaces/default/{}", self.plural)
    }
}

/// Lines of a watch.
struct Events {
    body: hyper::body::Incoming,
    rest: Vec<u8>,
    _connection: Connection,
}

impl Events {
    async fn open(target: &Target, path: &str) -> Result<Self> {
        let mut connection = target.connect(Protocol::Http1).await?;
        let request = Request::get(path)
            .header("accept", "application/json")
            .body(Full::new(Bytes::new()))?;
        let response = connection.start(request).await?;
        if response.status() != 200 {
            bail!("{path}: {}", response.status());
        }
        Ok(Self {
            body: response.into_body(),
            rest: Vec::new(),
            _connection: connection,
        })
    }

    async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            let frame = self.body.frame().await.context("the watch ended")??;
            self.rest
                .extend_from_slice(frame.data_ref().map_or(&[][..], |d| d));
        }
    }
}

/// A workload on a cluster, made with no replicas.
pub struct Rollout {
    workload: Workload,
    target: Target,
    connection: Connection,
}

const LIMIT: Duration = Duration::from_secs(300);

impl Rollout {
    pub async fn create(target: &Target, workload: Workload) -> Result<Self> {
        let mut connection = target.connect(Protocol::Http2).await?;
        let body = workload.object().to_string().into();
        let answer = connection
            .call(Method::POST, &workload.collection(), "application/json", body)
            .await?;
        if answer.status != 201 {
            bail!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(Self {
            workload,
            target: target.clone(),
            connection,
        })
    }

    /// One that `create` made before.
    pub async fn existing(target: &Target, workload: Workload) -> Result<Self> {
        Ok(Self {
            workload,
            target: target.clone(),
            connection: target.connect(Protocol::Http2).await?,
        })
    }

    /// Deletes it, for the next one of its name.
    pub async fn remove(&mut self) -> Result<()> {
        let path = format!("{}/{}", self.workload.collection(), self.workload.name);
        let answer = self
            .connection
            .call(Method::DELETE, &path, "", Bytes::new())
            .await?;
        if !answer.status.is_success() {
            bail!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(())
    }

    async fn scale(&mut self, replicas: u64) -> Result<()> {
        let path = format!("{}/{}/scale", self.workload.collection(), self.workload.name);
        let body = json!({"spec": {"replicas": replicas}}).to_string().into();
        let answer = self
            .connection
            .call(Method::PATCH, &path, "application/merge-patch+json", body)
            .await?;
        if answer.status != 200 {
            bail!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(())
    }

    /// From nothing to all replicas ready, in milliseconds.
    pub async fn up(&mut self) -> Result<f64> {
        let path = format!(
            "{}?watch=1&fieldSelector=metadata.name%3D{}",
            self.workload.collection(),
            self.workload.name
        );
        let mut events = Events::open(&self.target, &path).await?;
        let started = Instant::now();
        let replicas = self.workload.replicas;
        self.scale(replicas).await?;
        let all = async {
            loop {
                let event = events.next().await?;
                if event["object"]["status"]["readyReplicas"] == json!(replicas) {
                    return anyhow::Ok(started.elapsed().as_secs_f64() * 1000.0);
                }
            }
        };
        tokio::time::timeout(LIMIT, all)
            .await
            .context("not all are ready in time")?
    }

    /// From all replicas to no pod at all, in milliseconds: by scaling to nothing, or by deleting the workload.
    pub async fn down(&mut self, delete: bool) -> Result<f64> {
        let path = format!(
            "/api/v1/namespaces/default/pods?watch=1&labelSelector=app%3D{}",
            self.workload.name
        );
        let mut events = Events::open(&self.target, &path).await?;
        let mut there = BTreeSet::new();
        let name = |event: &Value| {
            event["object"]["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        while (there.len() as u64) < self.workload.replicas {
            there.insert(name(&events.next().await?));
        }
        let started = Instant::now();
        if delete {
            let path = format!("{}/{}", self.workload.collection(), self.workload.name);
            self.connection
                .call(Method::DELETE, &path, "", Bytes::new())
                .await?;
        } else {
            self.scale(0).await?;
        }
        let all = async {
            while !there.is_empty() {
                let event = events.next().await?;
                if event["type"] == "DELETED" {
                    there.remove(&name(&event));
                }
            }
            anyhow::Ok(started.elapsed().as_secs_f64() * 1000.0)
        };
        tokio::time::timeout(LIMIT, all)
            .await
            .context("not all are gone in time")?
    }
}
