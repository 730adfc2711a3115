//! Deleting a namespace deletes all that is in it, whatever its kind, pods first, and then the namespace.
//! Source: KEP-5080 (pods go before what protects or configures them).

use super::conditions::{Left, renewed};
use super::{FINALIZER, NAMESPACES};
use crate::json::{at, list};
use crate::plan::{Act, Plan, Target};
use crate::workload::PODS;
use crate::{Controller, Key, Row, Seen};
use meta::{Change, Object};
use serde_json::{Value, json};

pub const CONTROLLER: Controller = Controller {
    name: "namespace-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

/// Objects that one plan deletes at most; the next plan goes on.
const MAX_BATCH: usize = 500;

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    if change.res == NAMESPACES {
        return vec![Key::of(NAMESPACES, &change.object)];
    }
    let namespace = change.object.namespace();
    let waits = !namespace.is_empty()
        && seen
            .snapshot
            .get(NAMESPACES, "", namespace)
            .is_some_and(|n| n.meta().is_deleting());
    if waits {
        vec![Key::new(NAMESPACES, "", namespace)]
    } else {
        Vec::new()
    }
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(object) = seen.snapshot.by_key(NAMESPACES, &key.key) else {
        return plan;
    };
    if !object.meta().is_deleting() {
        return plan;
    }
    let value = object.value();
    if list(at(&value, "/spec"), "finalizers").is_empty() {
        return plan.why("is finalized; what holds it is in its metadata");
    }
    let mut left = Left::default();
    empty(seen, object, &mut plan, &mut left, |row| row.res == PODS);
    if left.resources.is_empty() {
        empty(seen, object, &mut plan, &mut left, |_| true);
    }
    // Only our own finalizer goes; others are for those who put them there.
    if let Some(others) = finalizers_of_others(&value).filter(|_| left.resources.is_empty()) {
        let mut emptied = value;
        emptied["spec"]["finalizers"] = json!(others);
        plan.acts.push(Act::Update {
            target: Target::exactly(NAMESPACES, object),
            subresource: "finalize",
            object: emptied,
        });
        return plan.why(format!("namespace {} is empty", object.name()));
    }
    // For those who wonder what it waits for; not while there is still something to delete.
    if plan.acts.is_empty()
        && let Some(conditions) = renewed(&value, &left, seen.now)
    {
        plan.acts.push(Act::Patch {
            target: Target::exactly(NAMESPACES, object),
            subresource: "status",
            patch: json!({"status": {"conditions": conditions}}),
        });
    }
    let parts = left.resources.iter().map(|(name, n)| format!("{n} {name}"));
    let parts: Vec<String> = parts.collect();
    plan.why(format!(
        "waits for what is in it to be gone: {}",
        parts.join(", ")
    ))
}

/// Deletes what is of these rows and not on its way out yet, and counts all that is there.
fn empty(seen: &Seen, namespace: &Object, plan: &mut Plan, left: &mut Left, chosen: impl Fn(&Row) -> bool) {
    for row in seen.rows.stored().filter(|row| row.namespaced && chosen(row)) {
        for content in seen.snapshot.list(row.res, namespace.name()) {
            let name = format!("{}.{}", row.res.plural, row.res.group);
            *left.resources.entry(name).or_default() += 1;
            for finalizer in &content.meta().finalizers {
                *left.finalizers.entry(finalizer.to_string()).or_default() += 1;
            }
            if !content.meta().is_deleting() && plan.acts.len() < MAX_BATCH {
                plan.acts.push(Act::Delete {
                    target: Target::of(row.res, content),
                    grace_seconds: None,
                    propagation: Some(meta::Propagation::Background),
                });
            }
        }
    }
}

/// `spec.finalizers` without our own; `None` when ours is not there.
fn finalizers_of_others(namespace: &Value) -> Option<Vec<Value>> {
    let all = list(at(namespace, "/spec"), "finalizers");
    let others: Vec<Value> = all.iter().filter(|f| *f != FINALIZER).cloned().collect();
    (others.len() != all.len()).then_some(others)
}
