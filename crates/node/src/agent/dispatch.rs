//! Brings changes of the API and events of the runtime to the workers of the pods that they concern.

use super::mailbox::Mailbox;
use super::shell::{PodHandle, Shell};
use super::{AgentError, apparmor, worker};
use crate::machine::Refusal;
use crate::runtime::RuntimeEvent;
use crate::volumes::needed;
use futures::StreamExt;
use futures::stream::{BoxStream, Fuse};
use k8s_openapi::api::core::v1::Pod;
use kinds::configmap::CONFIGMAPS;
use kinds::node::NODES;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use kinds::pod::PODS;
use kinds::row::text;
use kinds::secret::SECRETS;
use kinds::workload;
use meta::{Change, ChangeKind, Object, Snapshot, Status};
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The one field that decides whether a pod is ours.
#[derive(Deserialize)]
struct Placed {
    #[serde(default)]
    spec: PlacedSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlacedSpec {
    #[serde(default)]
    node_name: Option<String>,
}

struct Dispatch {
    shell: Arc<Shell>,
    nodes: HashSet<String>,
    stop: CancellationToken,
}

type Changes = Fuse<BoxStream<'static, Result<Change, Status>>>;

/// Takes over what is there, then follows.
pub async fn start(
    shell: &Arc<Shell>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<(), AgentError> {
    let events = shell.runtime.subscribe();
    let left = shell.runtime.list().await?;
    let dispatch = Dispatch {
        shell: shell.clone(),
        nodes: shell.config.nodes.iter().map(|node| node.name.clone()).collect(),
        stop: stop.clone(),
    };
    let snapshot = shell.client.snapshot();
    // They go first: one of them may have had the name of a pod that waits to be started.
    let known: HashSet<&str> = snapshot.list(PODS, "").map(Object::uid).collect();
    let unknown = left.iter().filter(|pod| !known.contains(&*pod.uid));
    futures::future::join_all(unknown.map(|pod| shell.remove_unknown(&pod.uid))).await;
    let changes = dispatch.follow(&snapshot);
    tasks.spawn(dispatch.run(changes, events));
    Ok(())
}

impl Dispatch {
    async fn run(self, mut changes: Changes, mut events: broadcast::Receiver<RuntimeEvent>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                change = changes.next() => match change {
                    Some(Ok(change)) => self.change(change),
                    Some(Err(status)) => {
                        tracing::warn!(%status, "missed changes, looking at all pods again");
                        changes = self.follow(&self.shell.client.snapshot());
                    }
                    None => return,
                },
                event = events.recv() => match event {
                    Ok(event) => self.event(event),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "missed events of the runtime, looking at all pods again");
                        self.relist().await;
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Tells all workers where their pods stand, and gives the changes from there on.
    fn follow(&self, snapshot: &Snapshot) -> Changes {
        let mut known: HashSet<String> = self.shell.pods().keys().cloned().collect();
        for object in snapshot.list(PODS, "") {
            known.remove(object.uid());
            self.pod(object, false);
        }
        for uid in known {
            self.mail(&uid, |mail| mail.gone = true);
        }
        self.shell.client.changes(snapshot.revision()).fuse()
    }

    fn change(&self, change: Change) {
        let (res, object) = (change.res, &change.object);
        if res == PODS {
            return self.pod(object, change.kind == ChangeKind::Deleted);
        }
        if ![CONFIGMAPS, SECRETS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES].contains(&res) {
            return;
        }
        let volume = (res == PERSISTENTVOLUMES).then(|| object.value());
        let (namespace, name) = match &volume {
            Some(volume) => (
                text(volume, "/spec/claimRef/namespace"),
                text(volume, "/spec/claimRef/name"),
            ),
            None => (object.namespace(), object.name()),
        };
        for handle in self
            .shell
            .pods()
            .values()
            .filter(|handle| handle.namespace == namespace)
        {
            let needed = &handle.needed;
            match res {
                CONFIGMAPS if needed.config_maps.contains(name) => {
                    handle.mailbox.put(|mail| mail.sources = true)
                }
                SECRETS if needed.secrets.contains(name) => handle.mailbox.put(|mail| mail.sources = true),
                PERSISTENTVOLUMECLAIMS | PERSISTENTVOLUMES if needed.claims.contains(name) => {
                    handle.mailbox.put(|mail| mail.claims = true);
                }
                _ => {}
            }
        }
    }

    fn pod(&self, object: &Object, gone: bool) {
        let known = self.shell.pods().get(object.uid()).cloned();
        if let Some(handle) = known {
            return handle.mailbox.put(|mail| {
                mail.object = Some(object.clone());
                mail.gone |= gone;
            });
        }
        let placed = serde_json::from_slice::<Placed>(object.json());
        let node = placed
            .ok()
            .and_then(|placed| placed.spec.node_name)
            .unwrap_or_default();
        if !gone && self.nodes.contains(&node) {
            self.adopt(object);
        }
    }

    /// Why a new pod cannot run here.
    fn refusal(&self, object: &Object, pod: &Pod) -> Option<Refusal> {
        // Simulated nodes have every profile.
        let real = self.shell.images.is_some();
        let profile = real.then(|| apparmor::refusal(pod, apparmor::is_enabled));
        profile.flatten().or_else(|| self.no_room(object, pod))
    }

    /// Whether a new pod that no scheduler has placed fits beside those that are here.
    fn no_room(&self, object: &Object, pod: &Pod) -> Option<Refusal> {
        let conditions = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        if conditions
            .into_iter()
            .any(|condition| condition.type_ == "PodScheduled")
        {
            return None;
        }
        let pod = object.value();
        let snapshot = self.shell.client.snapshot();
        let name = text(&pod, "/spec/nodeName");
        let node = snapshot.get(NODES, "", name)?;
        let here = self.shell.pods();
        let others = snapshot.list(PODS, "").filter(|other| {
            let handle = here.get(other.uid());
            handle.is_some_and(|handle| handle.refused.is_none())
                && workload::Pod::of(other).facts.spec.node_name.as_deref() == Some(name)
        });
        sched::admit::refusal(&pod, node, others)
    }

    fn adopt(&self, object: &Object) {
        let pod = match serde_json::from_slice::<Pod>(object.json()) {
            Ok(pod) => pod,
            Err(error) => {
                return tracing::error!(pod = object.meta().key(), %error, "a pod cannot be understood");
            }
        };
        let handle = PodHandle {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            mailbox: Arc::new(Mailbox::default()),
            needed: Arc::new(needed(&pod)),
            tokens: Arc::default(),
            refused: self.refusal(object, &pod),
            over: CancellationToken::new(),
        };
        let mut pods = self.shell.pods();
        if self.shell.switching_off.load(Ordering::Acquire) {
            return;
        }
        // Another pod of this name that has not ended yet: its successor waits for it.
        let before = pods
            .values()
            .find(|other| other.name == handle.name && other.namespace == handle.namespace);
        let before = before.map(|other| other.over.clone());
        pods.insert(object.uid().to_owned(), handle.clone());
        drop(pods);
        let work = worker::run(self.shell.clone(), handle, object.clone(), before);
        let stop = self.stop.clone();
        self.shell.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    fn mail(&self, uid: &str, change: impl FnOnce(&mut super::mailbox::Mail)) {
        if let Some(handle) = self.shell.pods().get(uid) {
            handle.mailbox.put(change);
        }
    }

    fn event(&self, event: RuntimeEvent) {
        match event {
            // A step that started it knows already; one of an earlier agent's is waited for.
            RuntimeEvent::Started {
                id, started_at_ns, ..
            } => self.mail(&id.pod_uid.clone(), |mail| {
                mail.starts.insert(id, started_at_ns);
            }),
            RuntimeEvent::Exited { id, exit } => {
                self.mail(&id.pod_uid.clone(), |mail| drop(mail.exits.insert(id, exit)));
            }
            RuntimeEvent::ShimGone { pod_uid } => self.mail(&pod_uid, |mail| mail.lost = true),
        }
    }

    async fn relist(&self) {
        match self.shell.runtime.list().await {
            Ok(pods) => {
                for pod in pods {
                    for status in &pod.containers {
                        if let crate::runtime::ContainerState::Exited(exit) = &status.state {
                            let (id, exit) = (status.id.clone(), exit.clone());
                            self.mail(&pod.uid, |mail| drop(mail.exits.insert(id, exit)));
                        }
                    }
                    if !pod.ready {
                        self.mail(&pod.uid, |mail| mail.lost = true);
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the runtime does not say what runs"),
        }
    }
}
