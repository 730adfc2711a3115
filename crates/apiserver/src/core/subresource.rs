//! POST to a subresource: `binding` of pods, `token` of service accounts; their `eviction` has a file of its own.

use super::managed::By;
use super::prepare::Attempt;
use super::update::{Change, done, replace};
use super::{Cx, Decision, Pending, Then, evict, metadata, token};
use meta::{Call, Reply, Status};
use serde_json::{Map, Value, json};

pub fn create(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    match call.subresource {
        "binding" => bind(cx, call),
        "eviction" => evict::evict(cx, call),
        "token" => token::create(cx, call),
        _ => Err(Status::method_not_allowed()),
    }
}

/// Gives a pod its node.
fn bind(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let stored = cx.stored(&call)?;
    let body = call
        .body
        .ok_or_else(|| Status::bad_request("the request has no body"))?;
    let node = body
        .pointer("/target/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut errors = meta::Errors::new();
    if node.is_empty() {
        errors.required(&meta::Path::new("target").child("name"), "");
        return Err(Status::invalid("", "Binding", &call.name, &errors));
    }
    let old = stored.value();
    check_unbound(cx, &stored, &old)?;
    let uid = metadata::text(&body, "uid");
    super::update::check_uid(cx, uid, &stored)?;
    let mut new = old.clone();
    new["spec"]["nodeName"] = node.into();
    merge_strings(&mut new, &body, "annotations");
    merge_strings(&mut new, &body, "labels");
    add_condition(&mut new, json!({"type": "PodScheduled"}), &cx.now.rfc3339());
    if let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("resourceVersion");
    }
    let attempt = Attempt {
        namespace: &call.namespace,
        options: &call.options,
        subresource: "binding",
    };
    Ok(
        match replace(
            cx,
            Change {
                stored: &stored,
                old,
                new,
                by: By::Update,
            },
            &attempt,
        )? {
            Decision::Write(pending) => Decision::Write(Pending {
                then: Then::Created(done()),
                ..pending
            }),
            Decision::Answer(_, warnings) => Decision::Answer(
                Reply::Value {
                    value: done(),
                    created: true,
                },
                warnings,
            ),
        },
    )
}

/// Only a pod that has no node and is not on its way out can be given one.
fn check_unbound(cx: &Cx, stored: &meta::Object, old: &Value) -> Result<(), Status> {
    let name = stored.name();
    let refused = |why: &str| Status::conflict(cx.row.res, name, why);
    if stored.meta().is_deleting() {
        return Err(refused(&format!(
            "pod {} is being deleted, cannot be assigned to a host",
            name
        )));
    }
    let current = old
        .pointer("/spec/nodeName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !current.is_empty() {
        return Err(refused(&format!(
            "pod {} is already assigned to node {current:?}",
            name
        )));
    }
    Ok(())
}

fn merge_strings(new: &mut Value, body: &Value, field: &str) {
    let Some(given) = body
        .get("metadata")
        .and_then(|m| m.get(field))
        .and_then(Value::as_object)
    else {
        return;
    };
    let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let to = meta.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(to) = to {
        to.extend(given.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
}

/// Gives a pod a condition that is true from now on.
pub fn add_condition(pod: &mut Value, mut condition: Value, now: &str) {
    condition["status"] = "True".into();
    condition["lastProbeTime"] = Value::Null;
    condition["lastTransitionTime"] = now.into();
    let Some(map) = pod.as_object_mut() else { return };
    let status = map.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else {
        return;
    };
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    if let Value::Array(list) = list {
        list.retain(|c| c.get("type") != condition.get("type"));
        list.push(condition);
    }
}
