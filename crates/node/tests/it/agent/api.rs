//! A small API in memory for tests of the agent: objects, revisions, preconditions, deletion with grace; no rules.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use meta::client::{Call, Client, Reply, Verb};
use meta::{Change, ChangeKind, Draft, Env, Object, Res, Snapshot, Status, Timestamp};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

pub struct RealEnv;

impl Env for RealEnv {
    fn now(&self) -> Timestamp {
        Timestamp::new(jiff::Timestamp::now())
    }

    fn random(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(until.since(self.now())))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

#[derive(Default)]
struct World {
    snapshot: Snapshot,
    changes: Vec<Change>,
    revision: u64,
}

#[derive(Clone)]
pub struct Api {
    world: Arc<Mutex<World>>,
    revision: watch::Sender<u64>,
    env: Arc<dyn Env>,
}

impl Api {
    pub fn new(env: Arc<dyn Env>) -> Self {
        Self {
            world: Arc::default(),
            revision: watch::Sender::new(0),
            env,
        }
    }

    /// Resolves when the object's value fits, or fails after 20 s.
    pub async fn wait(
        &self,
        res: Res,
        namespace: &str,
        name: &str,
        what: &str,
        fits: impl Fn(Option<&Value>) -> bool,
    ) -> Value {
        let mut revision = self.revision.subscribe();
        let found = async {
            loop {
                let value = self.snapshot().get(res, namespace, name).map(Object::value);
                if fits(value.as_ref()) {
                    return value.unwrap_or(Value::Null);
                }
                revision.changed().await.expect("the API lives");
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(20), found).await {
            Ok(value) => value,
            Err(_) => panic!(
                "{what}: {:#}",
                self.snapshot()
                    .get(res, namespace, name)
                    .map_or(Value::Null, Object::value)
            ),
        }
    }

    /// `reason: message` of all events, in the order of their first writing.
    pub fn events(&self) -> Vec<String> {
        let world = self.world.lock().expect("lock");
        let added = world
            .changes
            .iter()
            .filter(|c| c.res == kinds::event::EVENTS && c.kind == ChangeKind::Added);
        added
            .map(|change| {
                let value = change.object.value();
                format!(
                    "{}: {}",
                    value["reason"].as_str().unwrap_or(""),
                    value["message"].as_str().unwrap_or("")
                )
            })
            .collect()
    }

    fn commit(&self, world: &mut World, res: Res, kind: ChangeKind, value: Value) -> Object {
        world.revision += 1;
        let object = Draft::new(value).expect("an object").seal(world.revision);
        let previous = match kind {
            ChangeKind::Deleted => world.snapshot.remove(res, &object.meta().key(), world.revision),
            _ => world.snapshot.put(res, object.clone()),
        };
        world.changes.push(Change {
            res,
            kind,
            object: object.clone(),
            previous,
            revision: world.revision,
        });
        self.revision.send_replace(world.revision);
        object
    }

    fn run(&self, call: Call) -> Result<Reply, Status> {
        let mut world = self.world.lock().expect("lock");
        let world = &mut *world;
        let done = |object| {
            Ok(Reply::Object {
                object,
                created: false,
            })
        };
        if call.verb == Verb::Create {
            return self.create(world, call);
        }
        let stored = world.snapshot.get(call.res, &call.namespace, &call.name).cloned();
        let stored = stored.ok_or_else(|| Status::not_found(call.res, &call.name))?;
        let other = call.options.uid.as_ref().is_some_and(|uid| uid != stored.uid());
        if other
            || call
                .options
                .revision
                .is_some_and(|revision| revision != stored.revision())
        {
            return Err(Status::stale(call.res, &call.name));
        }
        let mut value = stored.value();
        match call.verb {
            Verb::PatchMerge => {
                merge(&mut value, call.body.as_ref().expect("a patch"));
                done(self.commit(world, call.res, ChangeKind::Modified, value))
            }
            Verb::Delete => {
                let grace = call.options.grace_seconds.or(value
                    .pointer("/spec/terminationGracePeriodSeconds")
                    .and_then(Value::as_i64));
                if call.res != kinds::pod::PODS || grace.unwrap_or(0) == 0 {
                    return done(self.commit(world, call.res, ChangeKind::Deleted, value));
                }
                value["metadata"]["deletionTimestamp"] =
                    self.env.now().plus_seconds(grace.unwrap_or(0)).rfc3339().into();
                value["metadata"]["deletionGracePeriodSeconds"] = grace.into();
                done(self.commit(world, call.res, ChangeKind::Modified, value))
            }
            verb => panic!("the test's API does not know {verb:?}"),
        }
    }

    fn create(&self, world: &mut World, call: Call) -> Result<Reply, Status> {
        let mut value = call.body.expect("an object");
        if call.subresource == "token" {
            let expires = self.env.now().plus_seconds(3600).rfc3339();
            let value = json!({"status": {"token": format!("token-of-{}", call.name), "expirationTimestamp": expires}});
            return Ok(Reply::Value { value, created: true });
        }
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if world.snapshot.get(call.res, &call.namespace, &name).is_some() {
            return Err(Status::already_exists(call.res, &name));
        }
        if !call.namespace.is_empty() {
            value["metadata"]["namespace"] = call.namespace.as_str().into();
        }
        if value["metadata"]["uid"].is_null() {
            value["metadata"]["uid"] = meta::env::uuid(&*self.env).into();
        }
        value["metadata"]["generation"] = 1.into();
        Ok(Reply::Object {
            object: self.commit(world, call.res, ChangeKind::Added, value),
            created: true,
        })
    }
}

fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        return *value = patch.clone();
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, part) in patch {
        match part {
            Value::Null => drop(value.as_object_mut().expect("a map").remove(key)),
            part => merge(&mut value[key], part),
        }
    }
}

#[async_trait::async_trait]
impl Client for Api {
    async fn call(&self, call: Call) -> Result<Reply, Status> {
        self.run(call)
    }

    fn snapshot(&self) -> Snapshot {
        self.world.lock().expect("lock").snapshot.clone()
    }

    fn changes(&self, revision: u64) -> BoxStream<'static, Result<Change, Status>> {
        let state = (self.world.clone(), self.revision.subscribe(), revision);
        futures::stream::unfold(state, async |(world, mut newest, after)| {
            loop {
                let next = {
                    let world = world.lock().expect("lock");
                    world
                        .changes
                        .iter()
                        .find(|change| change.revision > after)
                        .cloned()
                };
                if let Some(change) = next {
                    let after = change.revision;
                    return Some((Ok(change), (world, newest, after)));
                }
                newest.changed().await.ok()?;
            }
        })
        .boxed()
    }
}
