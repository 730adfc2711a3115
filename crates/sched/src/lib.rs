//! Which node a pod runs on: filter, then score. Pure; a binding is an act like any other.

pub mod admit;
mod filter;
mod neighbours;
mod node;
mod score;
mod volumes;

use filter::Obstacle;
use kinds::plan::{Act, Assumed, EventAct, Plan, Target};
use kinds::pod::PODS;
use kinds::row::text;
use kinds::workload::Pod;
use kinds::{Controller, Key, Seen};
use meta::{Change, ChangeKind, Draft, Object};
use node::NodeView;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const CONTROLLER: Controller = Controller {
    name: NAME,
    wakes,
    plan,
    failed: kinds::plan::untold,
};

const NAME: &str = "default-scheduler";

/// An unscheduled pod wakes itself; whatever may make room or lift a constraint wakes all that wait.
fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let object = &change.object;
    if change.res == PODS {
        if is_waiting(object) {
            return vec![Key::of(PODS, object)];
        }
        let pod = Pod::of(object);
        if change.kind == ChangeKind::Deleted || pod.is_finished() {
            return waiting(seen);
        }
        // Another place is taken, or is near to somebody now.
        let same =
            |before: &Object| Pod::of(before).is_placed() && before.meta().labels == object.meta().labels;
        let moved = !change.previous.as_ref().is_some_and(same);
        return if moved { minding_others(seen) } else { Vec::new() };
    }
    if change.res == kinds::namespace::NAMESPACES {
        let same = |before: &Object| before.meta().labels == object.meta().labels;
        let moved = !change.previous.as_ref().is_some_and(same);
        return if moved { minding_others(seen) } else { Vec::new() };
    }
    let node_changed = change.res == kinds::node::NODES
        && change
            .previous
            .as_ref()
            .is_none_or(|before| node::constraints(before) != node::constraints(object));
    let volume_changed = [
        kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS,
        kinds::persistentvolume::PERSISTENTVOLUMES,
        kinds::storageclass::STORAGECLASSES,
    ]
    .contains(&change.res);
    if node_changed || volume_changed {
        waiting(seen)
    } else {
        Vec::new()
    }
}

fn waiting(seen: &Seen) -> Vec<Key> {
    waiting_pods(seen).map(|pod| Key::of(PODS, pod)).collect()
}

/// Those that wait, and for which it matters who runs where.
fn minding_others(seen: &Seen) -> Vec<Key> {
    let minding = waiting_pods(seen).filter(|pod| Pod::of(pod).share().minds_others);
    minding.map(|pod| Key::of(PODS, pod)).collect()
}

fn waiting_pods<'a>(seen: &Seen<'a>) -> impl Iterator<Item = &'a Object> {
    seen.snapshot.list(PODS, "").filter(|pod| is_waiting(pod))
}

fn is_waiting(pod: &Object) -> bool {
    let facts = Pod::of(pod);
    facts
        .facts
        .spec
        .node_name
        .as_deref()
        .unwrap_or_default()
        .is_empty()
        && !facts.is_finished()
        && !facts.is_deleting()
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(pod) = seen.snapshot.by_key(PODS, &key.key).filter(|pod| is_waiting(pod)) else {
        return plan;
    };
    let value = pod.value();
    let scheduler = text(&value, "/spec/schedulerName");
    if !scheduler.is_empty() && scheduler != NAME {
        return plan.why(format!("is for the scheduler {scheduler:?}"));
    }
    let gates = value
        .pointer("/spec/schedulingGates")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    if gates > 0 {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        set_condition(seen, pod, ("SchedulingGated", message), &mut plan);
        return plan.why(message);
    }
    let obstacle = filter::claims(seen, pod, &value);
    if let Some(Obstacle::Passing { claim, until }) = obstacle {
        plan.wake = Some(until);
        return plan.why(format!("waits for the volume of claim {claim}"));
    }
    let volumes = volumes::Volumes::of(seen, pod);
    match choose(seen, obstacle, pod, &value, &volumes) {
        Ok(node) if volumes.bind(&node, &mut plan) => {
            plan.why
                .push(format!("waits for its claims to be bound for node {node}"));
        }
        Ok(node) => {
            plan.assumed = placed(pod, value, &node);
            bind(pod, &node, &mut plan);
        }
        Err(why) => {
            // Said once: a new look at the same obstacle, also after a restart, is no news.
            if set_condition(seen, pod, ("Unschedulable", &why), &mut plan) {
                plan.acts.push(event(pod, true, "FailedScheduling", why.clone()));
            }
            plan.why.push(why);
        }
    }
    plan
}

/// The best node, or upstream's sentence about why there is none.
fn choose(
    seen: &Seen,
    obstacle: Option<Obstacle>,
    pod: &Object,
    value: &Value,
    volumes: &volumes::Volumes,
) -> Result<String, String> {
    if let Some(Obstacle::Said(problem)) = obstacle {
        let total = seen.snapshot.count(kinds::node::NODES);
        return Err(format!("0/{total} nodes are available: {problem}."));
    }
    let wants = filter::Wants::of(value);
    let selected = volumes.selected();
    let nodes = node::views(seen.snapshot);
    let neighbours = neighbours::Neighbours::of(seen, pod, &wants, &nodes);
    let total = nodes.len();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<((bool, i64), NodeView)> = None;
    for node in nodes {
        let problems = filter::problems(&wants, volumes, &neighbours, &node);
        if problems.is_empty() {
            let is_selected = selected.as_ref() == Some(&node.name);
            let score = (is_selected, score::score(&wants, &node));
            if best.as_ref().is_none_or(|(known, _)| score > *known) {
                best = Some((score, node));
            }
        }
        for problem in problems {
            *reasons.entry(problem).or_insert(0) += 1;
        }
    }
    if let Some((_, node)) = best {
        return Ok(node.name);
    }
    let mut reasons: Vec<String> = reasons
        .into_iter()
        .map(|(reason, n)| format!("{n} {reason}"))
        .collect();
    reasons.sort();
    let reasons = if reasons.is_empty() {
        "no nodes available to schedule pods".into()
    } else {
        reasons.join(", ")
    };
    match total {
        0 => Err(reasons),
        _ => Err(format!("0/{total} nodes are available: {reasons}.")),
    }
}

/// The pod as the binding will leave it: whoever is placed next must find its place taken.
fn placed(pod: &Object, mut value: Value, node: &str) -> Option<Assumed> {
    value["spec"]["nodeName"] = node.into();
    // What was stored is an object, so this is one.
    let draft = Draft::new(value).ok()?;
    Some(Assumed {
        res: PODS,
        object: draft.seal(pod.revision()),
        is_there: |pod| Pod::of(pod).is_placed(),
    })
}

fn bind(pod: &Object, node: &str, plan: &mut Plan) {
    let object = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    plan.acts.push(Act::Post {
        target: Target::of(PODS, pod),
        subresource: "binding",
        object,
    });
    let message = format!(
        "Successfully assigned {}/{} to {node}",
        pod.namespace(),
        pod.name()
    );
    plan.acts.push(event(pod, false, "Scheduled", message.clone()));
    plan.why.push(message);
}

fn event(pod: &Object, warning: bool, reason: &'static str, message: String) -> Act {
    let (api_version, kind) = ("v1".into(), "Pod".into());
    Act::Event(EventAct {
        about: Target::of(PODS, pod),
        api_version,
        kind,
        warning,
        reason,
        message,
        field_path: None,
    })
}

/// Says on the pod why it waits, once: an equal condition is not written again. True when it is new.
fn set_condition(seen: &Seen, pod: &Object, (reason, message): (&str, &str), plan: &mut Plan) -> bool {
    let value = pod.value();
    let stored = value
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let same = |c: &Value| {
        text(c, "/type") == "PodScheduled" && text(c, "/reason") == reason && text(c, "/message") == message
    };
    if stored.iter().any(same) {
        return false;
    }
    let (old, mut conditions): (Vec<Value>, Vec<Value>) = stored
        .into_iter()
        .partition(|c| text(c, "/type") == "PodScheduled");
    let before = old.iter().find(|c| text(c, "/status") == "False");
    let since = before
        .map(|c| text(c, "/lastTransitionTime"))
        .filter(|at| !at.is_empty());
    conditions.push(json!({
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastProbeTime": null,
        "lastTransitionTime": since.map_or_else(|| seen.now.rfc3339(), String::from),
        "observedGeneration": pod.meta().generation,
    }));
    let patch = json!({"status": {"conditions": conditions}});
    plan.acts.push(Act::Patch {
        target: Target::exactly(PODS, pod),
        subresource: "status",
        patch,
    });
    true
}

#[cfg(test)]
mod tests;
