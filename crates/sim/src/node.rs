//! The simulated node: an agent with a view of its own that starts and stops processes and reports what it sees. It
//! decides one deed at a time; the world carries it out.

use crate::rng::Rng;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::row::text;
use kinds::workload::{PODS, Pod};
use meta::{Call, Object, Snapshot, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub const NODE: &str = "node-1";

/// An image that cannot be pulled, and one whose process never gets ready.
pub const BAD_IMAGE: &str = "missing:1";
pub const SICK_IMAGE: &str = "sick:1";

/// The processes of one pod, that is, what must never be there twice for one identity.
#[derive(Clone, Debug)]
pub struct Process {
    /// `namespace/name` of its pod.
    pub key: String,
    pub claims: Vec<String>,
    ready_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    restarts: i64,
}

/// What the agent does next.
pub enum Deed {
    Call(Box<Call>, String),
    Start(String, Process),
    /// Tells a process to end; it does so at that time.
    Stop(String, Timestamp),
    Ended(String),
}

pub struct Node {
    /// What the agent knows of the cluster. Older than the truth until it looks again.
    pub view: Snapshot,
    /// Live processes by pod uid.
    pub processes: BTreeMap<String, Process>,
    /// Pods whose processes have ended for good, with the phase to report.
    finished: BTreeMap<String, &'static str>,
    /// Restarts that a reboot or a crash has caused, by pod uid.
    restarts: BTreeMap<String, i64>,
    /// At this revision of the view there was nothing to do before `quiet_until`.
    quiet_at: Option<u64>,
    quiet_until: Option<Timestamp>,
    /// A sabotage for the tests of the laws: start a pod although its predecessor's processes are still there.
    pub hasty: bool,
}

impl Node {
    pub fn new(view: Snapshot) -> Self {
        Self {
            view,
            processes: BTreeMap::new(),
            finished: BTreeMap::new(),
            restarts: BTreeMap::new(),
            quiet_at: None,
            quiet_until: None,
            hasty: false,
        }
    }

    /// All that could be done now, in a fixed order.
    pub fn deeds(&self, now: Timestamp, rng: &mut Rng) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for pod in self.view.list(PODS, "").map(Pod::of) {
            if pod.facts.spec.node_name.as_deref() == Some(NODE) {
                deeds.extend(self.deed_for(&pod, now, rng));
            }
        }
        for (uid, process) in &self.processes {
            let gone = self
                .view
                .by_key(PODS, &process.key)
                .is_none_or(|o| o.uid() != uid);
            match process.ends_at {
                Some(at) if at <= now => deeds.push(Deed::Ended(uid.clone())),
                // Its pod was deleted by force: nothing waits for it any longer, so it is killed.
                None if gone => {
                    let takes = Duration::from_millis(rng.below(2000));
                    deeds.push(Deed::Stop(uid.clone(), now.plus(takes)));
                }
                _ => {}
            }
        }
        for volume in self.view.list(PERSISTENTVOLUMES, "") {
            let value = volume.value();
            let released = text(&value, "/status/phase") == "Released" && !volume.meta().is_deleting();
            if released && text(&value, "/spec/persistentVolumeReclaimPolicy") == "Delete" {
                let call = Call::delete(PERSISTENTVOLUMES, "", volume.name()).if_uid(volume.uid());
                deeds.push(Deed::Call(
                    Box::new(call),
                    format!("removes the folder of {}", volume.name()),
                ));
            }
        }
        deeds
    }

    fn deed_for(&self, pod: &Pod, now: Timestamp, rng: &mut Rng) -> Option<Deed> {
        let uid = pod.object.uid();
        let process = self.processes.get(uid);
        if pod.is_deleting() {
            return match process {
                Some(process) if process.ends_at.is_none() => {
                    let grace = pod.object.meta().deletion_grace_seconds.unwrap_or(0).max(0) as u64;
                    let quick = Duration::from_millis(rng.below(300));
                    let slow = Duration::from_millis(rng.below(grace * 1000 + 1));
                    let takes = if rng.percent(80) { quick } else { slow };
                    Some(Deed::Stop(uid.into(), now.plus(takes)))
                }
                Some(_) => None,
                None => Some(Deed::Call(
                    Box::new(finalize(&pod.object)),
                    format!("reports pod {} gone", pod.name()),
                )),
            };
        }
        if pod.is_finished() {
            return None;
        }
        let report = |status: Value| {
            let told = format!("reports pod {} {}", pod.name(), summary(&status));
            let call = Call::merge_patch(
                PODS,
                pod.object.namespace(),
                pod.name(),
                json!({"status": status}),
            );
            Deed::Call(Box::new(call.subresource("status").if_uid(uid)), told)
        };
        if process.is_none() && !self.finished.contains_key(uid) && image(pod) != BAD_IMAGE {
            return self.start(pod, now, rng);
        }
        self.changed_status(pod, process, now).map(report)
    }

    /// Starts the pod's processes, unless those of its predecessor are still there.
    fn start(&self, pod: &Pod, now: Timestamp, rng: &mut Rng) -> Option<Deed> {
        let key = pod.object.meta().key();
        if !self.hasty && self.processes.values().any(|p| p.key == key) {
            return None;
        }
        let claims = pod
            .facts
            .spec
            .volumes
            .iter()
            .filter_map(|v| v.persistent_volume_claim.as_ref());
        let sick = image(pod) == SICK_IMAGE;
        let ready_after = Duration::from_millis(rng.below(1500));
        let process = Process {
            key,
            claims: claims.map(|c| c.claim_name.clone()).collect(),
            ready_at: (!sick).then(|| now.plus(ready_after)),
            ends_at: None,
            restarts: self.restarts.get(pod.object.uid()).copied().unwrap_or(0),
        };
        Some(Deed::Start(pod.object.uid().into(), process))
    }

    /// The status that the pod should have, if it differs from the one that the agent knows.
    fn changed_status(&self, pod: &Pod, process: Option<&Process>, now: Timestamp) -> Option<Value> {
        let finished = self.finished.get(pod.object.uid()).copied();
        let ready = finished.is_none() && process.is_some_and(|p| p.ready_at.is_some_and(|at| at <= now));
        let phase = finished.unwrap_or(if process.is_some() { "Running" } else { "Pending" });
        let restarts = process.map_or(0, |p| p.restarts);
        let value = pod.object.value();
        let known = kinds::pod::restarts(&value);
        let reported = value.pointer("/status/containerStatuses").is_some();
        if pod.facts.status.phase == phase && pod.is_ready() == ready && known == restarts && reported {
            return None;
        }
        let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
        let mut conditions: Vec<Value> = conditions.cloned().unwrap_or_default();
        let before = conditions.iter().position(|c| c["type"] == "Ready");
        let before = before.map(|at| conditions.remove(at));
        let ready_text = if ready { "True" } else { "False" };
        conditions.push(match before.filter(|c| c["status"] == ready_text) {
            Some(same) => same,
            None => json!({"type": "Ready", "status": ready_text, "lastTransitionTime": now.rfc3339()}),
        });
        Some(json!({
            "phase": phase, "conditions": conditions, "podIP": "100.64.0.9", "podIPs": [{"ip": "100.64.0.9"}],
            "containerStatuses": [{"name": "app", "image": image(pod), "imageID": "", "ready": ready, "restartCount": restarts}],
        }))
    }

    /// Whether `deeds` would give any. Costs nothing while neither the view nor any timer has moved.
    pub fn has_deeds(&mut self, now: Timestamp) -> bool {
        let quiet = self.quiet_at == Some(self.view.revision()) && self.quiet_until.is_none_or(|at| now < at);
        if quiet {
            return false;
        }
        // What the deeds are like does not matter here, so neither does the randomness.
        let any = !self.deeds(now, &mut Rng::new(0)).is_empty();
        self.quiet_at = (!any).then(|| self.view.revision());
        self.quiet_until = self.next_timer(now);
        any
    }

    /// The agent's view becomes this one.
    pub fn look(&mut self, view: Snapshot) {
        self.view = view;
        self.quiet_at = None;
    }

    pub fn start_process(&mut self, uid: String, process: Process) {
        self.quiet_at = None;
        self.processes.insert(uid, process);
    }

    pub fn end(&mut self, uid: &str) -> Option<Process> {
        self.quiet_at = None;
        self.processes.remove(uid)
    }

    /// When something happens without anybody's doing.
    pub fn next_timer(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.processes.values().flat_map(|p| [p.ready_at, p.ends_at]);
        times.flatten().filter(|at| *at > now).min()
    }

    pub fn stop(&mut self, uid: &str, at: Timestamp) {
        self.quiet_at = None;
        if let Some(process) = self.processes.get_mut(uid) {
            process.ends_at = Some(at);
        }
    }

    /// The machine starts again: every process is gone, the containers will be started anew.
    pub fn reboot(&mut self, view: Snapshot) {
        self.quiet_at = None;
        for (uid, process) in std::mem::take(&mut self.processes) {
            self.restarts.insert(uid, process.restarts + 1);
        }
        self.view = view;
    }

    /// A container ends by itself and is started again in its pod.
    pub fn crash(&mut self, uid: &str, ready_at: Timestamp) {
        self.quiet_at = None;
        if let Some(process) = self.processes.get_mut(uid) {
            process.restarts += 1;
            process.ready_at = process.ready_at.map(|_| ready_at);
            self.restarts.insert(uid.into(), process.restarts);
        }
    }

    /// The pod's processes end for good: eviction, or containers that ended and are not to be started again.
    pub fn finish(&mut self, uid: &str, phase: &'static str) {
        self.quiet_at = None;
        if self.processes.remove(uid).is_some() {
            self.finished.insert(uid.into(), phase);
        }
    }

    /// Readiness is lost for a while.
    pub fn falter(&mut self, uid: &str, until: Timestamp) {
        self.quiet_at = None;
        if let Some(process) = self.processes.get_mut(uid) {
            process.ready_at = process.ready_at.map(|_| until);
        }
    }
}

pub fn image(pod: &Pod) -> String {
    text(&pod.object.value(), "/spec/containers/0/image").to_string()
}

fn finalize(pod: &Object) -> Call {
    let mut call = Call::delete(PODS, pod.namespace(), pod.name()).if_uid(pod.uid());
    call.options.grace_seconds = Some(0);
    call
}

fn summary(status: &Value) -> String {
    let ready = status["containerStatuses"][0]["ready"] == true;
    let phase = text(status, "/phase");
    format!("{phase}{}", if ready { ", ready" } else { ", not ready" })
}
