//! Watches: events as they come, and waiting for one object to be as wanted.

use super::Session;
use super::client::JSON;
use super::error::Failed;
use super::resources::{Kind, query, text};
use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::time::Duration;

/// An event longer than this is no object that the API would have taken.
const MAX_LINE_BYTES: usize = 64 << 20;

/// A body cut into lines of JSON.
pub struct Events {
    body: Incoming,
    pending: Vec<u8>,
}

impl Events {
    pub fn new(body: Incoming) -> Self {
        Self {
            body,
            pending: Vec::new(),
        }
    }

    /// The next event's type and object; `None` when the server ended the watch.
    pub async fn next(&mut self) -> Result<Option<(String, Value)>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.pending[searched..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=searched + end).collect();
                let mut event: Value = serde_json::from_slice(&line).context("the watch sent no JSON")?;
                let object = event["object"].take();
                let kind = text(&event, "/type").to_string();
                if kind == "ERROR" {
                    return Err(Failed::from_status(&object).into());
                }
                return Ok(Some((kind, object)));
            }
            searched = self.pending.len();
            anyhow::ensure!(searched <= MAX_LINE_BYTES, "the watch sent an endless line");
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.context("the watch broke off")?.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

/// Why waiting ended without what was waited for.
#[derive(Debug, thiserror::Error)]
#[error("timed out waiting for the condition on {0}")]
pub struct TimedOut(pub String);

impl Session {
    /// Waits until `done` says so of the object, or of its absence; at most `limit`.
    pub async fn until(
        &self,
        kind: &Kind,
        name: &str,
        limit: Option<Duration>,
        done: impl FnMut(Option<&Value>) -> Result<bool>,
    ) -> Result<()> {
        self.until_in(&self.namespace, kind, name, limit, done).await
    }

    pub async fn until_in(
        &self,
        namespace: &str,
        kind: &Kind,
        name: &str,
        limit: Option<Duration>,
        mut done: impl FnMut(Option<&Value>) -> Result<bool>,
    ) -> Result<()> {
        let wait = async {
            // Each round lists and watches; a watch that the server ends begins the next one.
            loop {
                if self.one_round(namespace, kind, name, &mut done).await? {
                    return Ok(());
                }
            }
        };
        match limit {
            None => wait.await,
            Some(limit) => match tokio::time::timeout(limit, wait).await {
                Ok(ended) => ended,
                Err(_) => Err(TimedOut(format!("{}/{name}", kind.plural)).into()),
            },
        }
    }

    async fn one_round(
        &self,
        namespace: &str,
        kind: &Kind,
        name: &str,
        done: &mut impl FnMut(Option<&Value>) -> Result<bool>,
    ) -> Result<bool> {
        let only = ("fieldSelector", format!("metadata.name={name}"));
        let base = kind.collection(namespace);
        let list = self
            .client
            .get(&format!("{base}{}", query(std::slice::from_ref(&only))))
            .await?;
        let first = list["items"].as_array().and_then(|items| items.first());
        if done(first)? {
            return Ok(true);
        }
        let from = (
            "resourceVersion",
            text(&list, "/metadata/resourceVersion").to_string(),
        );
        let path = format!("{base}{}", query(&[only, from, ("watch", "true".to_string())]));
        let mut events = Events::new(self.client.stream(&path, JSON).await?);
        while let Some((event, object)) = events.next().await? {
            let there = (event != "DELETED").then_some(&object);
            if event != "BOOKMARK" && done(there)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
