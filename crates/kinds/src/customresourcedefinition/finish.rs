//! The end of a definition: its objects go first, then its finalizer.

use super::{CLEANUP, set_condition};
use crate::Seen;
use crate::custom;
use crate::plan::{Act, Plan, Target};
use meta::Object;
use serde_json::{Value, json};

/// How many deletes one plan may hold.
const MAX_BATCH: usize = 500;

/// Whether the finalizer is still there.
pub fn is_held(object: &Value) -> bool {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().any(|f| f == CLEANUP)
}

/// What else changes in a definition that is marked for deletion.
pub fn mark(object: &mut Value) {
    if is_held(object) {
        return;
    }
    let now = crate::row::text(object, "/metadata/deletionTimestamp").to_string();
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(
        object,
        "Terminating",
        true,
        "InstanceDeletionPending",
        message,
        &now,
    );
    let metadata = &mut object["metadata"];
    match metadata["finalizers"].as_array_mut() {
        Some(list) => list.push(CLEANUP.into()),
        None => metadata["finalizers"] = json!([CLEANUP]),
    }
}

/// Deletes what is left of the objects; takes off the finalizer when nothing is.
pub fn plan(seen: &Seen, definition: &Object) -> Plan {
    let mut plan = Plan::nothing();
    let mut value = definition.value();
    if !is_held(&value) {
        return plan;
    }
    let now = seen.now.rfc3339();
    let res = custom::resource(&value);
    let left = seen.snapshot.count(res);
    if left == 0 {
        let (reason, message) = match custom::is_established(&value) {
            true => ("InstanceDeletionCompleted", "removed all instances"),
            false => ("NeverEstablished", "resource was never established"),
        };
        set_condition(&mut value, "Terminating", false, reason, message, &now);
        if let Some(list) = value["metadata"]["finalizers"].as_array_mut() {
            list.retain(|f| f != CLEANUP);
        }
        plan.acts.push(status(definition, value));
        return plan.why("nothing of the kind is left");
    }
    let message = "CustomResource deletion is in progress";
    if set_condition(
        &mut value,
        "Terminating",
        true,
        "InstanceDeletionInProgress",
        message,
        &now,
    ) {
        plan.acts.push(status(definition, value));
    }
    let standing = seen
        .snapshot
        .list(res, "")
        .filter(|object| !object.meta().is_deleting());
    plan.acts
        .extend(standing.take(MAX_BATCH).map(|object| Act::Delete {
            target: Target::of(res, object),
            grace_seconds: None,
            propagation: None,
        }));
    plan.why(format!("waits for {left} objects of the kind to be gone"))
}

/// A write of the status, which also takes finalizers off.
pub fn status(definition: &Object, value: Value) -> Act {
    Act::Update {
        target: Target::exactly(custom::DEFINITIONS, definition),
        subresource: "status",
        object: value,
    }
}
