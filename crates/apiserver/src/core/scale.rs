//! The `scale` subresource: `autoscaling/v1 Scale` as a view on a kind's replicas, status and selector.

use super::managed::By;
use super::prepare::Attempt;
use super::update::{Change, check_name, replace};
use super::{Cx, Decision, Pending, Then, metadata, patch};
use kinds::{Row, row};
use meta::{Call, Object, Options, Reply, Status};
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
        "spec": {"replicas": at(paths.replicas)},
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

/// `.spec.replicas` as a JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.trim_start_matches('.').replace('.', "/"))
}

pub fn update(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let stored = cx.stored(&call)?;
    let body = call
        .body
        .ok_or_else(|| Status::bad_request("the request has no body"))?;
    rescale(cx, &stored, &body, &call.namespace, &call.name, &call.options)
}

pub fn patch(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let stored = cx.stored(&call)?;
    let patch = call
        .body
        .ok_or_else(|| Status::bad_request("the request has no body"))?;
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
    rescale(cx, &stored, &scale, &call.namespace, &call.name, &call.options)
}

fn rescale(
    cx: &mut Cx,
    stored: &Object,
    scale: &Value,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Decision, Status> {
    let paths = cx.row.scale.ok_or_else(Status::no_such_path)?;
    check_shape(scale, namespace)?;
    check_name(scale, name)?;
    let replicas = wanted_replicas(scale, name)?;
    let old = stored.value();
    let mut new = old.clone();
    set(&mut new, paths.replicas, replicas.into());
    for field in ["resourceVersion", "uid"] {
        let given = metadata::text(scale, field).to_string();
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
                value["spec"]["replicas"] = replicas.into();
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

/// `spec.replicas`; left out it is 0, as upstream reads it.
fn wanted_replicas(scale: &Value, name: &str) -> Result<i64, Status> {
    // Read past, it would scale to 0.
    if scale
        .get("spec")
        .is_some_and(|spec| !spec.is_object() && !spec.is_null())
    {
        return Err(Status::bad_request(
            "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field Scale.spec of type v1.ScaleSpec",
        ));
    }
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().filter(|n| i32::try_from(*n).is_ok()).ok_or_else(|| {
            Status::bad_request("Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
        })?,
    };
    if replicas < 0 {
        let mut errors = meta::Errors::new();
        let field = meta::Path::new("spec").child("replicas");
        errors.invalid(&field, replicas, "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", name, &errors));
    }
    Ok(replicas)
}

fn check_shape(scale: &Value, namespace: &str) -> Result<(), Status> {
    let text = |key: &str| scale.get(key).and_then(Value::as_str).unwrap_or_default();
    if !matches!(
        (text("apiVersion"), text("kind")),
        ("" | "autoscaling/v1", "" | "Scale")
    ) {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type Scale): {}, Kind={}",
            text("apiVersion"),
            text("kind")
        )));
    }
    if !scale.get("metadata").is_some_and(Value::is_object) {
        return Err(Status::bad_request("metadata is not an object"));
    }
    match metadata::text(scale, "namespace") {
        given if !given.is_empty() && given != namespace => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ => Ok(()),
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
