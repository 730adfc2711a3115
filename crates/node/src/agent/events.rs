//! Events that pods' owners read. Written beside the work: a slow API never holds up a container.

use crate::machine::{PodEvent, PodView};
use futures::StreamExt;
use kinds::Registry;
use kinds::event::record;
use kinds::plan::{EventAct, Seen, Target};
use kinds::pod::PODS;
use meta::{Client, Env};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that wait to be written; more are dropped with a warning.
const WAITING_LIMIT: usize = 4096;
const AT_ONCE: usize = 8;
const TRIES: usize = 3;
pub const COMPONENT: &str = "kubelet";

#[derive(Clone)]
pub struct Recorder(mpsc::Sender<EventAct>);

impl Recorder {
    /// The recorder, and the task that writes until all recorders are gone.
    pub fn new(
        client: Arc<dyn Client>,
        env: Arc<dyn Env>,
        rows: Arc<dyn Fn() -> Registry + Send + Sync>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING_LIMIT);
        let told = futures::stream::unfold(receiver, async |mut r| r.recv().await.map(|told| (told, r)));
        let task = told.for_each_concurrent(AT_ONCE, move |told| {
            let (client, env, rows) = (client.clone(), env.clone(), rows.clone());
            async move { write(&*client, &*env, &rows(), told).await }
        });
        (Self(sender), task)
    }

    pub fn pod(&self, pod: &PodView, event: PodEvent) {
        let about = Target {
            res: PODS,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            revision: Some(pod.revision),
        };
        self.send("Pod", about, event);
    }

    pub fn volume(&self, volume: &meta::Object, event: PodEvent) {
        self.send(
            "PersistentVolume",
            Target::of(kinds::persistentvolume::PERSISTENTVOLUMES, volume),
            event,
        );
    }

    fn send(&self, kind: &str, about: Target, event: PodEvent) {
        let act = EventAct {
            about,
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            warning: event.warning,
            reason: event.reason,
            message: event.message,
            field_path: event.field_path,
        };
        if self.0.try_send(act).is_err() {
            tracing::warn!("too many events wait to be written, one was dropped");
        }
    }
}

async fn write(client: &dyn Client, env: &dyn Env, rows: &Registry, told: EventAct) {
    for _ in 0..TRIES {
        let snapshot = client.snapshot();
        let seen = Seen {
            now: env.now(),
            snapshot: &snapshot,
            rows,
        };
        match client.call(record(COMPONENT, &told, &seen)).await {
            Ok(_) => return,
            // A repeat of itself was faster, or it has expired meanwhile.
            Err(status) if matches!(status.code, 404 | 409) => {}
            Err(status) => {
                return tracing::debug!(%status, reason = told.reason, "an event was not written");
            }
        }
    }
}
