//! A volume that is being deleted stays while a claim is bound to it.

use super::PERSISTENTVOLUMES as VOLUMES;
use crate::plan::{Act, Plan, Target};
use crate::row::text;
use crate::{Controller, Key, Seen};
use meta::Change;
use serde_json::{Value, json};

pub const PROTECTION: Controller = Controller {
    name: "pv-protection-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

pub const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

fn wakes(change: &Change, _seen: &Seen) -> Vec<Key> {
    let waits = change.res == VOLUMES && change.object.meta().is_deleting();
    waits
        .then(|| Key::of(VOLUMES, &change.object))
        .into_iter()
        .collect()
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(volume) = seen.snapshot.by_key(VOLUMES, &key.key) else {
        return plan;
    };
    let finalizers = &volume.meta().finalizers;
    let guarded = finalizers.iter().any(|f| &**f == VOLUME_FINALIZER);
    if !volume.meta().is_deleting() || !guarded {
        return plan;
    }
    if text(&volume.value(), "/status/phase") == "Bound" {
        return plan.why("is kept while a claim is bound to it");
    }
    let left: Vec<&str> = finalizers
        .iter()
        .map(|f| &**f)
        .filter(|f| *f != VOLUME_FINALIZER)
        .collect();
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    plan.acts.push(Act::Patch {
        target: Target::exactly(VOLUMES, volume),
        subresource: "",
        patch: json!({"metadata": {"finalizers": left}}),
    });
    plan.why("no claim is bound to it")
}
