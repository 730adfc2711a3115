//! Pods on a node that is no more: nobody runs them, and nobody else would ever say that they are gone. Source: upstream's
//! pod garbage collector.

use super::PODS;
use crate::node::NODES;
use crate::plan::{Act, Plan, Target};
use crate::workload::Pod;
use crate::{Controller, Key, Seen};
use meta::{Change, ChangeKind};

pub const CONTROLLER: Controller = Controller {
    name: "pod-garbage-collector",
    wakes,
    plan,
    failed: crate::plan::untold,
};

/// So long a pod may be there before its node is.
const QUARANTINE_SECONDS: i64 = 40;

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let object = &change.object;
    if change.res == PODS {
        let placed = Pod::of(object).is_placed();
        let before = change
            .previous
            .as_ref()
            .is_some_and(|pod| Pod::of(pod).is_placed());
        return if placed && !before {
            vec![Key::of(PODS, object)]
        } else {
            Vec::new()
        };
    }
    if change.res != NODES || change.kind != ChangeKind::Deleted {
        return Vec::new();
    }
    let pods = seen.snapshot.list(PODS, "");
    let there = pods.filter(|pod| Pod::of(pod).facts.spec.node_name.as_deref() == Some(object.name()));
    there.map(|pod| Key::of(PODS, pod)).collect()
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(pod) = seen.snapshot.by_key(PODS, &key.key).map(Pod::of) else {
        return plan;
    };
    let node = pod.facts.spec.node_name.as_deref().unwrap_or_default();
    if node.is_empty() || seen.snapshot.get(NODES, "", node).is_some() {
        return plan;
    }
    let due = pod
        .object
        .meta()
        .created
        .map(|at| at.plus_seconds(QUARANTINE_SECONDS));
    if let Some(due) = due.filter(|due| *due > seen.now) {
        plan.wake_at(due);
        return plan.why(format!("waits for its node {node}"));
    }
    plan.acts.push(Act::Delete {
        target: Target::of(PODS, &pod.object),
        grace_seconds: Some(0),
        propagation: None,
    });
    plan.why(format!("its node {node} is no more"))
}
