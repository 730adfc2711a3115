//! How a ReplicaSet is carried out: pods are added or taken away until their number fits, the least useful first.

use super::REPLICASETS;
use crate::plan::{Act, EventAct, Failure, NAME_MADE, Plan, Target};
use crate::row::{int, text};
use crate::workload::{self, Claim, PODS, Pod};
use crate::{Controller, Key, Seen};
use meta::selector::LabelSelector;
use meta::{Change, Object, Timestamp, Verb};
use serde_json::{Value, json};

pub const CONTROLLER: Controller = Controller {
    name: "replicaset-controller",
    wakes,
    plan,
    failed,
};

/// The condition that pods could not be created or deleted. A Deployment takes it over from its ReplicaSets.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Pods that one plan creates or deletes at most; the next plan goes on. Upstream's burst.
const MAX_BURST: usize = 500;

/// Pods of one plan that are told of one by one, as upstream's recorder of events bears from one source.
const MAX_TOLD: usize = 25;

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    if change.res == REPLICASETS {
        return vec![Key::of(REPLICASETS, &change.object)];
    }
    if change.res != PODS {
        return Vec::new();
    }
    let mut keys = Vec::new();
    for object in [Some(&change.object), change.previous.as_ref()]
        .into_iter()
        .flatten()
    {
        match object.meta().controller() {
            Some(owner) if &*owner.kind == "ReplicaSet" => {
                keys.push(Key::new(REPLICASETS, object.namespace(), &owner.name));
            }
            Some(_) => {}
            None => keys.extend(selecting(object, seen)),
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

/// ReplicaSets that could adopt an orphan.
fn selecting(pod: &Object, seen: &Seen) -> Vec<Key> {
    let sets = seen.snapshot.list(REPLICASETS, pod.namespace());
    sets.filter(|set| workload::selector(&set.value()).matches(&pod.meta().labels))
        .map(|set| Key::of(REPLICASETS, set))
        .collect()
}

struct Set<'a> {
    object: &'a Object,
    value: Value,
    selector: LabelSelector,
    replicas: i64,
    min_ready_seconds: i64,
}

impl<'a> Set<'a> {
    fn of(object: &'a Object) -> Self {
        let value = object.value();
        Self {
            object,
            selector: workload::selector(&value),
            replicas: int(&value, "/spec/replicas").unwrap_or(1).max(0),
            min_ready_seconds: int(&value, "/spec/minReadySeconds").unwrap_or(0),
            value,
        }
    }
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let Some(object) = seen.snapshot.by_key(REPLICASETS, &key.key) else {
        return Plan::nothing().why("the ReplicaSet is gone");
    };
    let set = Set::of(object);
    let mut plan = Plan::nothing();
    let pods = claim_pods(seen, &set, &mut plan);
    let active = active(&pods);
    if !object.meta().is_deleting() {
        manage(seen, &set, &active, &mut plan);
    }
    write_status(seen.now, &set, &active, Managed::Well, &mut plan);
    plan
}

/// Tells which pod could not be created or deleted, and writes the status with the condition that says so.
fn failed(seen: &Seen, key: &Key, failure: &Failure) -> Plan {
    let Some(object) = seen.snapshot.by_key(REPLICASETS, &key.key) else {
        return Plan::nothing();
    };
    let set = Set::of(object);
    let mut plan = Plan::nothing();
    let managed = match (failure.res, failure.verb) {
        // No fault of anybody's, and no event could come into the namespace either.
        _ if failure.status.is_namespace_terminating() => Managed::Well,
        (PODS, Verb::Create) => Managed::Badly("FailedCreate", &failure.status.message),
        (PODS, Verb::Delete) => Managed::Badly("FailedDelete", &failure.status.message),
        _ => Managed::Unknown,
    };
    if let Managed::Badly(reason, error) = managed {
        let doing = if reason == "FailedCreate" {
            "creating"
        } else {
            "deleting"
        };
        plan.acts
            .push(event(&set, true, reason, format!("Error {doing}: {error}")));
    }
    let pods = claim_pods(seen, &set, &mut Plan::nothing());
    write_status(seen.now, &set, &active(&pods), managed, &mut plan);
    plan
}

/// The pods that count.
fn active(pods: &[Pod]) -> Vec<&Pod> {
    let counts = |p: &&Pod| !p.is_finished() && !p.is_deleting();
    pods.iter().filter(counts).collect()
}

/// How the pods could be brought to their number.
#[derive(Clone, Copy)]
enum Managed<'a> {
    Well,
    /// Reason and message of the condition ReplicaFailure.
    Badly(&'static str, &'a str),
    /// Something else failed before.
    Unknown,
}

fn owner(set: &Set) -> Value {
    workload::owner_reference("apps/v1", "ReplicaSet", set.object)
}

fn claim_pods(seen: &Seen, set: &Set, plan: &mut Plan) -> Vec<Pod> {
    let deleting = set.object.meta().is_deleting();
    let mut pods = Vec::new();
    for object in seen.snapshot.list(PODS, set.object.namespace()) {
        let fits = set.selector.matches(&object.meta().labels);
        match workload::claim(set.object.uid(), deleting, object, fits) {
            Claim::Owned => pods.push(Pod::of(object)),
            // A pod that has ended is of no use to anyone.
            Claim::Adopt if Pod::of(object).is_finished() => {}
            Claim::Adopt => {
                workload::adopt(plan, PODS, object, owner(set));
                pods.push(Pod::of(object));
            }
            Claim::Release => workload::release(plan, PODS, object, set.object.uid()),
            Claim::Foreign => {}
        }
    }
    pods
}

fn manage(seen: &Seen, set: &Set, active: &[&Pod], plan: &mut Plan) {
    let missing = set.replicas - active.len() as i64;
    if missing > 0 {
        let count = (missing as usize).min(MAX_BURST);
        plan.why
            .push(format!("creates {count} of {missing} missing pods"));
        for number in 0..count {
            plan.acts.push(create(set));
            if number < MAX_TOLD {
                let message = format!("Created pod: {NAME_MADE}");
                plan.acts.push(event(set, false, "SuccessfulCreate", message));
            }
        }
    } else if missing < 0 {
        let count = (-missing as usize).min(MAX_BURST);
        plan.why.push(format!("deletes {count} pods that are too many"));
        for (number, pod) in least_useful(active, seen.now).into_iter().take(count).enumerate() {
            let target = Target::of(PODS, &pod.object);
            plan.acts.push(Act::Delete {
                target,
                grace_seconds: None,
                propagation: None,
            });
            if number < MAX_TOLD {
                let message = format!("Deleted pod: {}", pod.name());
                plan.acts.push(event(set, false, "SuccessfulDelete", message));
            }
        }
    }
}

fn create(set: &Set) -> Act {
    let empty = json!({});
    let template = set.value.pointer("/spec/template").unwrap_or(&empty);
    let mut pod = workload::pod_from_template(template, set.object.namespace(), owner(set));
    pod["metadata"]["generateName"] = format!("{}-", set.object.name()).into();
    Act::Create {
        res: PODS,
        namespace: set.object.namespace().into(),
        object: pod,
    }
}

fn event(set: &Set, warning: bool, reason: &'static str, message: String) -> Act {
    Act::Event(EventAct {
        about: Target::exactly(REPLICASETS, set.object),
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        warning,
        reason,
        message,
        field_path: None,
    })
}

/// Upstream's order of who goes first: unassigned before assigned, pending before running, not ready before ready,
/// lower deletion cost, ready for a shorter time, younger.
fn least_useful<'a>(active: &[&'a Pod], now: Timestamp) -> Vec<&'a Pod> {
    let mut pods = active.to_vec();
    let phase = |p: &Pod| match p.facts.status.phase.as_str() {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let rank = |p: &Pod| {
        let ready_for = p.available_at(0).map_or(0, |at| now.since(at).as_secs());
        let age = p.object.meta().created.map_or(0, |at| now.since(at).as_secs());
        (
            p.facts.spec.node_name.is_some(),
            phase(p),
            p.is_ready(),
            cost(p),
            ready_for,
            age,
        )
    };
    pods.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name().cmp(b.name())));
    pods
}

/// `controller.kubernetes.io/pod-deletion-cost`; 0 when absent or not a number.
fn cost(pod: &Pod) -> i64 {
    let value = pod.object.value();
    let cost = value.pointer("/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost");
    cost.and_then(Value::as_str)
        .and_then(|c| c.parse().ok())
        .unwrap_or(0)
}

fn write_status(now: Timestamp, set: &Set, active: &[&Pod], managed: Managed, plan: &mut Plan) {
    let labels = workload::template_labels(&set.value);
    let count = |test: &dyn Fn(&Pod) -> bool| active.iter().filter(|p| test(p)).count() as i64;
    for pod in active {
        let at = pod.available_at(set.min_ready_seconds).filter(|at| *at > now);
        at.into_iter().for_each(|at| plan.wake_at(at));
    }
    let mut status = json!({"replicas": active.len(), "observedGeneration": set.object.meta().generation});
    for (field, n) in [
        (
            "fullyLabeledReplicas",
            count(&|p| labels.matches(&p.object.meta().labels)),
        ),
        ("readyReplicas", count(&Pod::is_ready)),
        (
            "availableReplicas",
            count(&|p| p.is_available(set.min_ready_seconds, now)),
        ),
    ] {
        if n != 0 {
            status[field] = n.into();
        }
    }
    let conditions = conditions(now, set, managed);
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    workload::update_status(plan, REPLICASETS, set.object, &set.value, status);
}

/// ReplicaFailure stands with its first reason until the number of pods could be reached again, as upstream keeps it.
fn conditions(now: Timestamp, set: &Set, managed: Managed) -> Vec<Value> {
    let stored = set.value.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = stored.cloned().unwrap_or_default();
    let is_failure = |c: &Value| text(c, "/type") == REPLICA_FAILURE;
    match managed {
        Managed::Well => conditions.retain(|c| !is_failure(c)),
        Managed::Badly(reason, message) if !conditions.iter().any(is_failure) => conditions.push(json!({
            "type": REPLICA_FAILURE, "status": "True", "lastTransitionTime": now.rfc3339(),
            "reason": reason, "message": message,
        })),
        Managed::Badly(..) | Managed::Unknown => {}
    }
    conditions
}
