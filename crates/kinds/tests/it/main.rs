//! Rooms from outside: text in, text out, through the same rules that the pipeline calls.

mod cluster_kinds;
mod defaults;
mod helpers;
mod invalid;
mod plans;
mod printed;
mod robust;
mod services;
mod sources;
mod storage;
mod updates;
mod wire;

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
