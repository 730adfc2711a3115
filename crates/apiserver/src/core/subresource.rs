//! POST to a subresource: `binding` of pods, `token` of service accounts; their `eviction` has a file of its own.

use super::managed::By;
use super::prepare::Attempt;
use super::update::{Change, done, replace};
use super::{Cx, Decision, Pending, Then, evict, metadata};
use meta::{Call, Reply, Status};
use serde_json::{Map, Value, json};

/// Seconds of a token that asks for no lifetime, and the shortest and longest allowed.
const TOKEN_SECONDS: i64 = 3600;
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

pub fn create(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    match call.subresource {
        "binding" => bind(cx, call),
        "eviction" => evict::evict(cx, call),
        "token" => token(cx, call),
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

/// A TokenRequest: a signed token for a service account, bound to a pod if that is asked for.
fn token(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let account = cx.stored(&call)?;
    let signer = cx
        .seen
        .signer
        .ok_or_else(|| Status::unavailable("this server has no key to sign tokens with"))?;
    let mut request = call.body.unwrap_or_else(|| json!({}));
    let spec = request.get("spec").cloned().unwrap_or_else(|| json!({}));
    let seconds = match spec.get("expirationSeconds").and_then(Value::as_i64) {
        None | Some(0) => TOKEN_SECONDS,
        Some(n) => n,
    };
    check_lifetime(seconds, &call.name)?;
    let asked: Vec<String> = spec
        .get("audiences")
        .and_then(Value::as_array)
        .map(|list| {
            list.iter()
                .filter_map(Value::as_str)
                .map(str::to_string)
                .collect()
        })
        .unwrap_or_default();
    let audiences = if asked.is_empty() {
        signer.audiences()
    } else {
        asked
    };
    let expires = cx.now.plus_seconds(seconds);
    let mut bound = json!({
        "namespace": account.namespace(),
        "serviceaccount": {"name": account.name(), "uid": account.uid()},
    });
    if let Some(reference) = spec.get("boundObjectRef").filter(|r| r.is_object()) {
        let (kind, object) = bound_object(cx, &call.namespace, reference)?;
        if let Some(node) = node_of(cx, &call.namespace, &kind, &object) {
            bound["node"] = node;
        }
        bound[kind] = object;
    }
    let claims = json!({
        "iss": signer.issuer(), "aud": audiences,
        "sub": format!("system:serviceaccount:{}:{}", account.namespace(), account.name()),
        "exp": expires.unix_seconds(), "iat": cx.now.unix_seconds(), "nbf": cx.now.unix_seconds(),
        "jti": meta::env::uuid_from((cx.random)(), (cx.random)()),
        "kubernetes.io": bound,
    });
    let token = signer.sign(&claims)?;
    if !request.is_object() {
        request = json!({});
    }
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["kind"] = "TokenRequest".into();
    request["metadata"] = json!({"name": account.name(), "namespace": account.namespace(),
        "creationTimestamp": cx.now.rfc3339()});
    request["spec"] = spec;
    request["spec"]["audiences"] = json!(audiences);
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] = json!({"token": token, "expirationTimestamp": expires.rfc3339()});
    Ok(Decision::Answer(
        Reply::Value {
            value: request,
            created: true,
        },
        cx.warnings(),
    ))
}

fn check_lifetime(seconds: i64, name: &str) -> Result<(), Status> {
    let mut errors = meta::Errors::new();
    let field = meta::Path::new("spec").child("expirationSeconds");
    if seconds < TOKEN_SECONDS_MIN {
        errors.invalid(&field, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > TOKEN_SECONDS_MAX {
        errors.invalid(
            &field,
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            name,
            &errors,
        ))
    }
}

/// The node of the pod that a token is bound to.
fn node_of(cx: &Cx, namespace: &str, kind: &str, bound: &Value) -> Option<Value> {
    let pod = bound
        .get("name")
        .and_then(Value::as_str)
        .filter(|_| kind == "pod")?;
    let pod = cx.seen.snapshot.get(kinds::pod::PODS, namespace, pod)?.value();
    let node = kinds::row::text(&pod, "/spec/nodeName");
    let node = cx.seen.snapshot.get(kinds::node::NODES, "", node)?;
    Some(json!({"name": node.name(), "uid": node.uid()}))
}

/// The object that a token dies with: it must exist, and be the one that is meant.
fn bound_object(cx: &Cx, namespace: &str, reference: &Value) -> Result<(String, Value), Status> {
    let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
    let row = cx
        .seen
        .registry
        .by_kind(text("apiVersion"), text("kind"))
        .ok_or_else(|| Status::bad_request(format!("cannot bind token to {:?}", text("kind"))))?;
    let namespace = if row.namespaced { namespace } else { "" };
    let object = cx
        .seen
        .snapshot
        .get(row.res, namespace, text("name"))
        .ok_or_else(|| Status::not_found(row.res, text("name")))?;
    if !text("uid").is_empty() && text("uid") != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        );
        return Err(Status::conflict(row.res, text("name"), &why));
    }
    Ok((
        row.singular.to_string(),
        json!({"name": object.name(), "uid": object.uid()}),
    ))
}
