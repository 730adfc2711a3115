//! Rooms from outside: text in, text out, through the same rules that the pipeline calls.

mod autoscaling;
mod cases;
mod classes;
mod cluster_kinds;
mod customresourcedefinitions;
mod customresourceschemas;
mod defaults;
mod devices;
mod flows;
mod helpers;
mod invalid;
mod networking;
mod node_access;
mod plans;
mod policies;
mod printed;
mod quotas;
mod rbac;
mod requests;
mod robust;
mod services;
mod sources;
mod storage;
mod updates;
mod wire;
mod workloads;

use kinds::{Registry, Rules, Write};
use meta::{Draft, Errors, Res, Snapshot, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

fn rules(res: Res) -> Arc<dyn Rules> {
    let row = Registry::builtin().by_res(res).cloned();
    row.expect("the kind is registered").rules.clone()
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-21T10:00:00Z").expect("a time")
}

/// The object with its defaults, as it is after it has been decoded.
fn defaulted(res: Res, mut object: Value) -> Value {
    rules(res).default(&mut object);
    object
}

/// … and as it is decoded.
fn decoded(res: Res, mut object: Value) -> Value {
    let row = Registry::builtin().by_res(res).cloned();
    let schema = row.expect("the kind is registered").schema();
    codec::strict::conform(&schema, &mut object).expect("fields of the right types");
    object
}

/// As the pipeline makes an object ready to be checked.
fn prepared(res: Res, object: Value) -> Value {
    let mut object = defaulted(res, object);
    rules(res).prepare(Write::Create, &mut object, None, now());
    object
}

/// All errors of an object as a client gets them, a line each.
fn errors(res: Res, object: Value) -> String {
    let mut errors = Errors::new();
    let object = prepared(res, decoded(res, object));
    rules(res).validate(&object, &mut errors);
    rules(res).validate_new(&object, &mut errors);
    lines(&errors)
}

fn lines(errors: &Errors) -> String {
    let lines: Vec<String> = errors
        .0
        .iter()
        .map(|e| format!("{}: {}", e.field, e.message))
        .collect();
    lines.join("\n")
}

/// A cluster that holds these objects.
fn cluster(objects: &[(Res, Value)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (i, (res, object)) in objects.iter().enumerate() {
        let draft = Draft::new(object.clone()).expect("an object");
        snapshot.put(*res, draft.seal(i as u64 + 1));
    }
    snapshot
}

/// A pod with this spec.
fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "shop", "uid": "u-1"}, "spec": spec})
}

/// A base object with each of these merged into it, and all that is then wrong with it.
fn wrong(res: Res, base: &Value, changes: &[Value]) -> String {
    let one = |change: &Value| {
        let mut object = base.clone();
        merge(&mut object, change);
        format!("{change}\n{}\n", indented(&errors(res, object)))
    };
    assert_eq!(errors(res, base.clone()), "", "the base is good");
    changes.iter().map(one).collect::<Vec<_>>().join("")
}

/// The same for an object that takes the place of the base.
fn wrong_update(res: Res, write: Write, base: &Value, changes: &[Value]) -> String {
    let old = prepared(res, decoded(res, base.clone()));
    let one = |change: &Value| {
        let mut object = base.clone();
        merge(&mut object, change);
        let new = defaulted(res, decoded(res, object));
        let mut found = Errors::new();
        if write == Write::Update {
            rules(res).validate_replacement(&new, &old, &mut found);
        }
        rules(res).validate_update(write, &new, &old, &mut found);
        format!("{change}\n{}\n", indented(&lines(&found)))
    };
    changes.iter().map(one).collect::<Vec<_>>().join("")
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// Members of objects are merged, null takes away, all else takes the place of what was there.
fn merge(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    to.remove(key);
                } else {
                    merge(to.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (to, Value::Object(from)) => {
            *to = json!({});
            for (key, value) in from {
                merge(&mut to[key.as_str()], value);
            }
        }
        (to, from) => *to = from.clone(),
    }
}
