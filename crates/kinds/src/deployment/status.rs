//! The status of a Deployment and its conditions Available and Progressing, as `kubectl rollout status` reads them.

use super::DEPLOYMENTS;
use super::plan::Deployment;
use super::replicasets::{Created, REVISION, Set};
use crate::Seen;
use crate::plan::Plan;
use crate::replicaset::REPLICA_FAILURE;
use crate::row::text;
use crate::workload;
use meta::Timestamp;
use serde_json::{Value, json};

/// Counts over all sets.
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

fn counts(sets: &[Set], new: Option<usize>) -> Counts {
    Counts {
        replicas: sets.iter().map(|s| s.status_replicas).sum(),
        updated: new.and_then(|n| sets.get(n)).map_or(0, |s| s.status_replicas),
        ready: sets.iter().map(|s| s.ready).sum(),
        available: sets.iter().map(|s| s.available).sum(),
    }
}

/// All pods are new, wanted and available, and the ReplicaSet controller has said so of the newest specs.
pub fn is_complete(deployment: &Deployment, sets: &[Set], new: usize) -> bool {
    let counts = counts(sets, Some(new));
    let all = [counts.updated, counts.replicas, counts.available];
    all.iter().all(|n| *n == deployment.replicas) && sets[new].is_observed
}

/// The reason of a Deployment whose ReplicaSet the API refuses.
pub const SET_REFUSED: &str = "ReplicaSetCreateError";

/// Reasons of the condition Progressing that decide what comes next.
const AVAILABLE: &str = "NewReplicaSetAvailable";
const PAUSED: &str = "DeploymentPaused";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// What there is of the ReplicaSet with the current template.
pub enum New {
    None,
    /// Its index.
    Known(usize),
    /// This very plan creates it.
    Made(Created),
    /// It could not be created, for this reason.
    Refused(String),
}

/// Brings the status up to date, and with it the revision number of the newest ReplicaSet, which the Deployment carries.
pub fn write(seen: &Seen, deployment: &Deployment, sets: &[Set], new: New, plan: &mut Plan) {
    let (index, revision) = match &new {
        New::Known(index) => (Some(*index), Some(sets[*index].revision)),
        New::Made(created) => (None, Some(created.revision)),
        New::None | New::Refused(_) => (None, None),
    };
    let counts = counts(sets, index);
    let mut status = json!({"observedGeneration": deployment.object.meta().generation});
    let unavailable = (sets
        .iter()
        .map(|s| s.replicas)
        .sum::<i64>()
        .max(deployment.replicas)
        - counts.available)
        .max(0);
    for (field, n) in [
        ("replicas", counts.replicas),
        ("updatedReplicas", counts.updated),
        ("readyReplicas", counts.ready),
        ("availableReplicas", counts.available),
        ("unavailableReplicas", unavailable),
    ] {
        if n > 0 {
            status[field] = n.into();
        }
    }
    if let Some(collisions) = deployment.value.pointer("/status/collisionCount") {
        status["collisionCount"] = collisions.clone();
    }
    let complete = index.is_some_and(|new| is_complete(deployment, sets, new));
    let mut conditions = Conditions {
        now: seen.now,
        list: stored_conditions(deployment),
    };
    let deadline = deployment.progress_deadline_seconds.is_some();
    if deadline {
        conditions.begin_progress(deployment, &new, sets);
    }
    conditions.set_available(counts.available >= deployment.replicas - deployment.max_unavailable);
    if deadline && !deployment.paused && !matches!(new, New::Refused(_)) {
        let name = index.map(|i| sets[i].object.name());
        conditions.set_progressing(deployment, &counts, complete, name, plan);
    }
    conditions.take_over_failure(sets, index);
    status["conditions"] = conditions.list.into();
    let (object, value) = (deployment.object, &deployment.value);
    let revision = revision.map(|revision| (REVISION, revision.to_string()));
    workload::update_annotated(plan, DEPLOYMENTS, object, value, status, revision);
}

fn stored_conditions(deployment: &Deployment) -> Vec<Value> {
    deployment
        .value
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

struct Conditions {
    now: Timestamp,
    list: Vec<Value>,
}

impl Conditions {
    fn find(&self, kind: &str) -> Option<&Value> {
        self.list.iter().find(|c| text(c, "/type") == kind)
    }

    /// Sets a condition. `touch` renews its update time even when nothing else changes.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str, touch: bool) {
        let now = self.now.rfc3339();
        let old = self.find(kind).cloned();
        let same = old.as_ref().is_some_and(|c| {
            text(c, "/status") == status && text(c, "/reason") == reason && text(c, "/message") == message
        });
        if same && !touch {
            return;
        }
        let since = old
            .filter(|c| text(c, "/status") == status)
            .map(|c| text(&c, "/lastTransitionTime").to_string());
        let condition = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": now, "lastTransitionTime": since.unwrap_or_else(|| now.clone()),
        });
        self.list.retain(|c| text(c, "/type") != kind);
        self.list.push(condition);
    }

    /// The failure of the new ReplicaSet, or else of an old one.
    fn take_over_failure(&mut self, sets: &[Set], new: Option<usize>) {
        let failure_of = |set: &Set| {
            let conditions = set.value.pointer("/status/conditions")?.as_array()?;
            conditions
                .iter()
                .find(|c| text(c, "/type") == REPLICA_FAILURE)
                .cloned()
        };
        let newest = new.and_then(|new| sets.get(new)).and_then(failure_of);
        let Some(mut failure) = newest.or_else(|| sets.iter().find_map(failure_of)) else {
            return self.list.retain(|c| text(c, "/type") != REPLICA_FAILURE);
        };
        let known = self.find(REPLICA_FAILURE);
        if known.is_none_or(|c| text(c, "/reason") != text(&failure, "/reason")) {
            failure["lastUpdateTime"] = failure["lastTransitionTime"].clone();
            self.list.retain(|c| text(c, "/type") != REPLICA_FAILURE);
            self.list.push(failure);
        }
    }

    fn set_available(&mut self, available: bool) {
        if available {
            self.set(
                "Available",
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
                false,
            );
        } else {
            let message = "Deployment does not have minimum availability.";
            self.set("Available", "False", "MinimumReplicasUnavailable", message, false);
        }
    }

    /// What is said of the rollout before any pods are counted.
    fn begin_progress(&mut self, deployment: &Deployment, new: &New, sets: &[Set]) {
        let reason = self.progress_reason();
        if deployment.paused && reason != TIMED_OUT {
            self.set("Progressing", "Unknown", PAUSED, "Deployment is paused", false);
        } else if !deployment.paused && reason == PAUSED {
            self.set(
                "Progressing",
                "Unknown",
                "DeploymentResumed",
                "Deployment is resumed",
                false,
            );
        }
        match new {
            New::Refused(message) => self.set("Progressing", "False", SET_REFUSED, message, false),
            New::Made(created) => {
                let message = format!("Created new replica set {:?}", created.name);
                self.set("Progressing", "True", "NewReplicaSetCreated", &message, false);
            }
            New::Known(index) if self.find("Progressing").is_none() => {
                let message = format!("Found new replica set {:?}", sets[*index].object.name());
                self.set("Progressing", "True", "FoundNewReplicaSet", &message, false);
            }
            New::Known(_) | New::None => {}
        }
    }

    fn progress_reason(&self) -> String {
        let condition = self.find("Progressing");
        condition.map_or_else(String::new, |c| text(c, "/reason").to_string())
    }

    /// `name`: of the new ReplicaSet.
    fn set_progressing(
        &mut self,
        deployment: &Deployment,
        counts: &Counts,
        complete: bool,
        name: Option<&str>,
        plan: &mut Plan,
    ) {
        let subject = match name {
            Some(name) => format!("ReplicaSet {name:?}"),
            None => format!("Deployment {:?}", deployment.object.name()),
        };
        let reason = self.progress_reason();
        if reason == AVAILABLE && counts.replicas == counts.updated {
            // A finished rollout stays finished, whatever happens to its pods later.
            return;
        }
        if complete {
            let message = format!("{subject} has successfully progressed.");
            return self.set("Progressing", "True", AVAILABLE, &message, false);
        }
        // A status that was not written (somebody was faster) must not leave the last rollout's end standing.
        let unnoticed = matches!(reason.as_str(), AVAILABLE | TIMED_OUT) && new_generation(deployment);
        if unnoticed || progressed(deployment, counts) {
            let message = format!("{subject} is progressing.");
            return self.set("Progressing", "True", "ReplicaSetUpdated", &message, true);
        }
        self.check_deadline(deployment, &subject, &reason, plan);
    }

    fn check_deadline(&mut self, deployment: &Deployment, subject: &str, reason: &str, plan: &mut Plan) {
        // Either the last rollout has ended and the next has yet to show something, or it is known already.
        if matches!(reason, AVAILABLE | TIMED_OUT) {
            return;
        }
        let since = self
            .find("Progressing")
            .and_then(|c| Timestamp::parse(text(c, "/lastUpdateTime")));
        let (Some(seconds), Some(since)) = (deployment.progress_deadline_seconds, since) else {
            return;
        };
        let until = since.plus_seconds(seconds);
        if until <= self.now {
            let message = format!("{subject} has timed out progressing.");
            self.set("Progressing", "False", TIMED_OUT, &message, false);
        } else {
            plan.wake_at(until);
        }
    }
}

fn new_generation(deployment: &Deployment) -> bool {
    crate::row::int(&deployment.value, "/status/observedGeneration").unwrap_or(0)
        < deployment.object.meta().generation
}

/// More new, fewer old, or more ready or available pods than the stored status says.
fn progressed(deployment: &Deployment, counts: &Counts) -> bool {
    let stored = |field: &str| crate::row::int(&deployment.value, &format!("/status/{field}")).unwrap_or(0);
    let old = |replicas: i64, updated: i64| replicas - updated;
    counts.updated > stored("updatedReplicas")
        || old(counts.replicas, counts.updated) < old(stored("replicas"), stored("updatedReplicas"))
        || counts.ready > stored("readyReplicas")
        || counts.available > stored("availableReplicas")
}
