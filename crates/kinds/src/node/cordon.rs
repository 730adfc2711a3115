//! A node that is cordoned has a taint that says so, for all that look at taints and not at `spec.unschedulable`. Source:
//! upstream's node lifecycle controller.

use super::NODES;
use crate::plan::{Act, Plan, Target};
use crate::{Controller, Key, Seen};
use meta::{Change, Object};
use serde_json::{Value, json};

pub const CONTROLLER: Controller = Controller {
    name: "node-lifecycle-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

const TAINT: &str = "node.kubernetes.io/unschedulable";

fn wakes(change: &Change, _: &Seen) -> Vec<Key> {
    let object = &change.object;
    if change.res != NODES || taints(object).is_none() {
        return Vec::new();
    }
    vec![Key::of(NODES, object)]
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(node) = seen.snapshot.by_key(NODES, &key.key) else {
        return plan;
    };
    let Some((mut taints, cordoned)) = taints(node) else {
        return plan.why("its taints are right");
    };
    taints.retain(|taint| !is_ours(taint));
    if cordoned {
        taints.push(json!({"key": TAINT, "effect": "NoSchedule", "timeAdded": seen.now.rfc3339()}));
    }
    let taints = if taints.is_empty() {
        Value::Null
    } else {
        taints.into()
    };
    plan.acts.push(Act::Patch {
        target: Target::exactly(NODES, node),
        subresource: "",
        patch: json!({"spec": {"taints": taints}}),
    });
    plan.why(if cordoned {
        "it is cordoned"
    } else {
        "it is no longer cordoned"
    })
}

/// The taints of a node that has ours wrongly or lacks it, and whether it is cordoned.
fn taints(node: &Object) -> Option<(Vec<Value>, bool)> {
    let value = node.value();
    let cordoned = value.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    let taints = value.pointer("/spec/taints").and_then(Value::as_array);
    let taints = taints.cloned().unwrap_or_default();
    (taints.iter().any(is_ours) != cordoned).then_some((taints, cordoned))
}

fn is_ours(taint: &Value) -> bool {
    taint["key"] == TAINT && taint["effect"] == "NoSchedule"
}
