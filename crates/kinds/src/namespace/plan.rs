//! Deleting a namespace deletes all that is in it, whatever its kind, and then the namespace.

use super::NAMESPACES;
use crate::plan::{Act, Plan, Target};
use crate::row::text;
use crate::{Controller, Key, Seen};
use meta::Change;
use serde_json::json;

pub const CONTROLLER: Controller = Controller {
    name: "namespace-controller",
    wakes,
    plan,
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
    let (mut left, mut held) = (0usize, Vec::new());
    for row in seen.rows.iter().filter(|row| row.namespaced) {
        for content in seen.snapshot.list(row.res, object.name()) {
            left += 1;
            if content.meta().is_deleting() {
                held.push(format!("{} {}", row.res.qualified(), content.name()));
            } else if plan.acts.len() < MAX_BATCH {
                let target = Target::of(row.res, content);
                let propagation = Some(meta::Propagation::Background);
                plan.acts.push(Act::Delete {
                    target,
                    grace_seconds: None,
                    propagation,
                });
            }
        }
    }
    if left > 0 {
        let first = held
            .first()
            .map(|h| format!(", among them {h}"))
            .unwrap_or_default();
        return plan.why(format!("waits for {left} objects in it to be gone{first}"));
    }
    // Only our own finalizer goes; others are for those who put them there.
    let finalizers = value
        .pointer("/spec/finalizers")
        .and_then(serde_json::Value::as_array);
    let others: Vec<_> = finalizers
        .into_iter()
        .flatten()
        .filter(|f| *f != "kubernetes")
        .cloned()
        .collect();
    if finalizers.is_some_and(|f| f.len() != others.len()) {
        let mut emptied = value.clone();
        emptied["spec"]["finalizers"] = json!(others);
        let target = Target::exactly(NAMESPACES, object);
        plan.acts.push(Act::Update {
            target,
            subresource: "finalize",
            object: emptied,
        });
        plan.why
            .push(format!("namespace {} is empty", text(&value, "/metadata/name")));
    }
    plan
}
