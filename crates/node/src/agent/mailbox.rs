//! What a pod's worker has to hear, folded together: it never grows beyond one entry a container.

use crate::runtime::{ContainerId, Exit};
use meta::Object;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Default)]
pub struct Mail {
    /// The newest object.
    pub object: Option<Object>,
    /// The object was deleted from the API.
    pub gone: bool,
    /// Nanoseconds since the epoch.
    pub starts: BTreeMap<ContainerId, i64>,
    pub exits: BTreeMap<ContainerId, Exit>,
    /// The pod's shim died.
    pub lost: bool,
    /// The node is being switched off.
    pub switch_off: bool,
    /// A ConfigMap or Secret that the pod refers to changed.
    pub sources: bool,
    /// One of its claims changed, or the volume of one.
    pub claims: bool,
}

#[derive(Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    wake: Notify,
}

impl Mailbox {
    pub fn put(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// Waits until something was put since the last `take`.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    pub fn take(&self) -> Mail {
        std::mem::take(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
