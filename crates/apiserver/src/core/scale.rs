//! The `scale` subresource: `autoscaling/v1 Scale` as a view on a kind's replicas, status and selector.

use super::managed::By;
use super::prepare::{self, Attempt};
use super::update::{Change, check_name, check_uid, replace};
use super::{Cx, Decision, Pending, Then, metadata, patch};
use kinds::{Row, row};
use meta::{Call, Object, Reply, Status};
use serde_json::{Value, json};

/// The Scale of a stored object.
pub fn of(row: &Row, object: &Object) -> Result<Value, Status> {
    let value = object.value();
    let paths = row.scale.ok_or_else(Status::no_such_path)?;
    let at = |path: &str| row::int(&value, &pointer(path)).unwrap_or(0);
    let mut scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": object.name(), "uid": object.uid(), "resourceVersion": object.revision().to_string(),
            "creationTimestamp": metadata::text(&value, "creationTimestamp"),
        },
        "spec": spec(at(paths.replicas)),
        "status": {"replicas": at(paths.status_replicas)},
    });
    if row.namespaced {
        scale["metadata"]["namespace"] = object.namespace().into();
    }
    let selector = row.rules.scale_selector(&value);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    Ok(scale)
}

/// None at all is not written.
fn spec(replicas: i64) -> Value {
    match replicas {
        0 => json!({}),
        some => json!({"replicas": some}),
    }
}

/// `.spec.replicas` as a JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.trim_start_matches('.').replace('.', "/"))
}

pub fn update(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let stored = cx.stored(&call)?;
    let (body, call) = taken(call)?;
    rescale(cx, &stored, body, &call)
}

pub fn patch(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let stored = cx.stored(&call)?;
    let (patch, call) = taken(call)?;
    let before = of(cx.row, &stored)?;
    let mut scale = before.clone();
    let verb = match call.verb {
        meta::Verb::PatchJson => meta::Verb::PatchJson,
        // A Scale has no lists: both merges are the same.
        _ => meta::Verb::PatchMerge,
    };
    patch::patched(cx, verb, &mut scale, patch)?;
    if metadata::text(&scale, "resourceVersion") == metadata::text(&before, "resourceVersion") {
        scale["metadata"]["resourceVersion"] = "".into();
    }
    rescale(cx, &stored, scale, &call)
}

/// The call's body, and the rest of it.
fn taken(mut call: Call) -> Result<(Value, Call), Status> {
    let body = call.body.take();
    let body = body.ok_or_else(|| Status::bad_request("the request has no body"))?;
    Ok((body, call))
}

fn rescale(cx: &mut Cx, stored: &Object, scale: Value, call: &Call) -> Result<Decision, Status> {
    let paths = cx.row.scale.ok_or_else(Status::no_such_path)?;
    let (namespace, options) = (&call.namespace, &call.options);
    let scale = read(cx, scale, call)?;
    check_uid(cx, metadata::text(&scale, "uid"), stored)?;
    let replicas = wanted_replicas(&scale, &call.name)?;
    let old = stored.value();
    let mut new = old.clone();
    set(&mut new, paths.replicas, replicas.into());
    for field in ["resourceVersion", "uid"] {
        let given = metadata::text(&scale, field).to_string();
        if !given.is_empty() || field == "resourceVersion" {
            new["metadata"][field] = given.into();
        }
    }
    let attempt = Attempt {
        namespace,
        options,
        subresource: "scale",
    };
    let row = cx.row.clone();
    Ok(
        match replace(
            cx,
            Change {
                stored,
                old,
                new,
                by: By::Update,
            },
            &attempt,
        )? {
            Decision::Write(pending) => Decision::Write(Pending {
                then: Then::Scale(row),
                ..pending
            }),
            Decision::Answer(Reply::Object { object, .. }, warnings) => {
                let reply = Reply::Value {
                    value: of(&row, &object)?,
                    created: false,
                };
                Decision::Answer(reply, warnings)
            }
            Decision::Answer(_, warnings) => {
                let mut value = of(&row, stored)?;
                value["spec"] = spec(replicas);
                Decision::Answer(
                    Reply::Value {
                        value,
                        created: false,
                    },
                    warnings,
                )
            }
        },
    )
}

/// A body as a Scale.
fn read(cx: &mut Cx, body: Value, call: &Call) -> Result<Value, Status> {
    let own = std::mem::replace(&mut cx.row, kinds::scale::row());
    let strictness = call.options.field_validation;
    let scale = prepare::body(cx, body, &call.namespace, strictness, call.sent.as_ref());
    cx.row = own;
    let scale = scale?;
    check_name(&scale, &call.name)?;
    Ok(scale)
}

/// `spec.replicas`; left out it is 0, as upstream reads it.
fn wanted_replicas(scale: &Value, name: &str) -> Result<i64, Status> {
    let replicas = scale
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let mut errors = meta::Errors::new();
    metadata::validate(kinds::scale::row(), scale, &mut errors);
    if replicas < 0 {
        let field = meta::Path::new("spec").child("replicas");
        errors.invalid(&field, replicas, "must be greater than or equal to 0");
    }
    match errors.is_empty() {
        true => Ok(replicas),
        false => Err(Status::invalid("autoscaling", "Scale", name, &errors)),
    }
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut here = object;
    let mut steps = path.trim_start_matches('.').split('.').peekable();
    while let Some(step) = steps.next() {
        let Some(map) = here.as_object_mut() else { return };
        if steps.peek().is_none() {
            map.insert(step.into(), value);
            return;
        }
        here = map.entry(step).or_insert_with(|| json!({}));
    }
}
