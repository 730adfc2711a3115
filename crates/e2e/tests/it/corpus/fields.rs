//! Every field of every sample, made wrong in turn: a wrong type, an unknown neighbour, or not there at all.

use super::Bad;
use super::objects::{self, samples};
use serde_json::{Value, json};

/// The pointer of each value below `value`, depth first.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => return,
    };
    for (name, child) in children {
        let path = format!("{at}/{name}");
        pointers(child, &path, found);
        found.push(path);
    }
}

fn all_pointers(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    pointers(object, "", &mut found);
    found
}

/// Each scalar becomes an object that no scalar type takes, each list and struct becomes a number.
pub fn wrong_types() -> Vec<Bad> {
    let mut corpus = Vec::new();
    for sample in samples() {
        for pointer in all_pointers(&sample.object) {
            let mut object = sample.object.clone();
            let value = object.pointer_mut(&pointer).expect("it is there");
            *value = match value {
                Value::Object(_) | Value::Array(_) => json!(7),
                _ => json!({"not": ["a", "scalar"]}),
            };
            let bad = Bad::post(format!("wrong type at {pointer}"), &sample.path, &object);
            corpus.push(bad.codes(&[400, 422]));
        }
    }
    corpus
}

/// A field that nobody knows, in each struct; asked to be strict, the server names it.
pub fn unknown_fields() -> Vec<Bad> {
    let mut corpus = Vec::new();
    for sample in samples() {
        let mut pointers = all_pointers(&sample.object);
        pointers.push(String::new());
        for pointer in pointers {
            let mut object = sample.object.clone();
            let Some(Value::Object(map)) = object.pointer_mut(&pointer) else {
                continue;
            };
            // In a map of labels or quantities a name that nobody knows is right; a list as value never is.
            map.insert("unheardOf".to_owned(), json!(["x"]));
            let path = format!("{}?fieldValidation=Strict", sample.path);
            let bad = Bad::post(format!("unknown field below {pointer:?}"), path, &object).code(400);
            corpus.push(if is_map(&sample, &pointer) {
                bad
            } else {
                bad.says("unheardOf")
            });
        }
    }
    corpus
}

/// Where any name is right: there it is the value that is refused.
fn is_map(sample: &objects::Sample, pointer: &str) -> bool {
    let maps = [
        "labels",
        "annotations",
        "matchLabels",
        "nodeSelector",
        "limits",
        "requests",
        "data",
        "capacity",
    ];
    let name = pointer.rsplit('/').next().unwrap_or_default();
    maps.contains(&name) || (sample.path.ends_with("services") && name == "selector")
}

/// Without what must be there.
pub fn missing() -> Vec<Bad> {
    let required = [
        ("/metadata/name", "name"),
        ("/spec/containers", "containers"),
        ("/spec/containers/0/name", "name"),
        ("/spec/containers/0/image", "image"),
        ("/spec/containers/0/ports/0/containerPort", "containerPort"),
        ("/spec/containers/0/env/0/name", "name"),
        ("/spec/containers/0/volumeMounts/0/mountPath", "mountPath"),
        ("/spec/volumes/0/name", "name"),
        ("/spec/selector", "selector"),
        ("/spec/template", "template"),
        ("/spec/ports/0/port", "port"),
        ("/spec/accessModes", "accessModes"),
        ("/spec/resources/requests/storage", "resources"),
        ("/spec/capacity", "capacity"),
        ("/spec/template/metadata/labels", "labels"),
        ("/spec/template/spec/containers", "containers"),
        ("/spec/hostPath", "volume type"),
    ];
    let mut corpus = Vec::new();
    for sample in samples() {
        for (pointer, says) in required {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            let mut object = sample.object.clone();
            let Some(Value::Object(map)) = object.pointer_mut(parent) else {
                continue;
            };
            if map.remove(name).is_none() || may_be_absent(&sample, pointer) {
                continue;
            }
            let bad = Bad::post(format!("without {pointer}"), &sample.path, &object);
            corpus.push(bad.codes(&[422]).says(says));
        }
    }
    corpus
}

/// A Service and a ReplicaSet's kin differ in what they need.
fn may_be_absent(sample: &objects::Sample, pointer: &str) -> bool {
    sample.path.ends_with("services") && pointer == "/spec/selector"
}
