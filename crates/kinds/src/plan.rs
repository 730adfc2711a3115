//! What a controller decides: a closed list of acts, when to look again, and why. Pure data; `control` carries it out.

use crate::Registry;
use meta::{Change, Object, Propagation, Res, Snapshot, Status, Timestamp, Verb};
use serde_json::Value;
use std::sync::Arc;

/// The decision for one key at one revision.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Carried out in order; the first failure ends them, and `Controller::failed` says what follows.
    pub acts: Vec<Act>,
    /// Plan again at this time even if nothing changes.
    pub wake: Option<Timestamp>,
    /// Reasons a person can read: what it does, or what it waits for.
    pub why: Vec<String>,
    /// An object as the acts will leave it: this controller's plans for other keys count on it until the snapshot has it.
    /// For those that share out something (room on nodes), as what is given away twice cannot be taken back.
    pub assumed: Option<Assumed>,
}

/// What a plan will have made of an object.
#[derive(Clone, Debug)]
pub struct Assumed {
    pub res: Res,
    pub object: Object,
    /// Whether the stored object is that far already, and perhaps further.
    pub is_there: fn(&Object) -> bool,
}

/// One write, with the preconditions that make it safe to have been decided on an older snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Create {
        res: Res,
        namespace: String,
        object: Value,
    },
    /// Replaces the object (or its subresource) if it is still at `target.revision`.
    Update {
        target: Target,
        subresource: &'static str,
        object: Value,
    },
    /// JSON merge patch, guarded by uid (and revision where given).
    Patch {
        target: Target,
        subresource: &'static str,
        patch: Value,
    },
    /// POST to a subresource: `binding`.
    Post {
        target: Target,
        subresource: &'static str,
        object: Value,
    },
    Delete {
        target: Target,
        grace_seconds: Option<i64>,
        propagation: Option<Propagation>,
    },
    /// A core/v1 Event about an object; the executor folds repeats into a count.
    Event(EventAct),
}

/// Which object a write is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub res: Res,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// `None`: any revision of this uid.
    pub revision: Option<u64>,
}

/// In the message of an event: the name of what the act before it made, which is generated only then.
pub const NAME_MADE: &str = "{name made}";

#[derive(Clone, Debug, PartialEq)]
pub struct EventAct {
    pub about: Target,
    /// `apiVersion` and `kind` of what it is about.
    pub api_version: String,
    pub kind: String,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
    /// The part of the object that it is about: `spec.containers{app}`.
    pub field_path: Option<String>,
}

/// Names one thing to plan for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub res: Res,
    /// `namespace/name`, or the name.
    pub key: Arc<str>,
}

/// What a plan may look at: one consistent snapshot, the rows, and the time.
pub struct Seen<'a> {
    pub now: Timestamp,
    pub snapshot: &'a Snapshot,
    pub rows: &'a Registry,
}

/// A controller is one line of a table: whom it serves, what wakes it, how it decides.
#[derive(Clone, Copy)]
pub struct Controller {
    /// Also its identity: `system:serviceaccount:kube-system:<name>`, and the source of its events.
    pub name: &'static str,
    /// Which keys a change wakes.
    pub wakes: fn(&Change, &Seen) -> Vec<Key>,
    /// An empty plan for a key whose object is gone, unless that is what it waits for.
    pub plan: fn(&Seen, &Key) -> Plan,
    /// What is told and written when an act of a plan has failed, before the key is planned again after a while:
    /// events about it, and the status, which would say nothing otherwise. `untold` where neither is due.
    pub failed: fn(&Seen, &Key, &Failure) -> Plan,
}

/// The act that ended a run, and what the API said to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub verb: Verb,
    pub res: Res,
    /// Empty for a new object whose name is the server's to give.
    pub name: String,
    pub status: Status,
}

/// For controllers that have no status to write and nobody to tell.
pub fn untold(_seen: &Seen, _key: &Key, _failure: &Failure) -> Plan {
    Plan::nothing()
}

impl Key {
    pub fn new(res: Res, namespace: &str, name: &str) -> Self {
        Self {
            res,
            key: meta::object::key(namespace, name).into(),
        }
    }

    pub fn of(res: Res, object: &Object) -> Self {
        Self {
            res,
            key: object.meta().key().into(),
        }
    }

    pub fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(ns, _)| ns)
    }

    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or(&*self.key, |(_, name)| name)
    }
}

impl Target {
    /// This very object, unchanged since it was read.
    pub fn exactly(res: Res, object: &Object) -> Self {
        Self {
            revision: Some(object.revision()),
            ..Self::of(res, object)
        }
    }

    /// This object (by uid), at whatever revision it is by then.
    pub fn of(res: Res, object: &Object) -> Self {
        let meta = object.meta();
        Self {
            res,
            namespace: meta.namespace.to_string(),
            name: meta.name.to_string(),
            uid: meta.uid.to_string(),
            revision: None,
        }
    }
}

impl Plan {
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn why(mut self, reason: impl Into<String>) -> Self {
        self.why.push(reason.into());
        self
    }

    /// Looks again at the earlier of both times.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }
}
