//! From a template to a pod, and the hash that tells one template from another.

use crate::json::{at, ensure_object, get, push, put};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Digits of `template_hash`: no vowels and no look-alikes, so that no words arise.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Ten characters that stand for this template: the same for equal content whatever the order of its members.
/// `collision` makes another hash when the first one is taken by a different template.
pub fn template_hash(template: &Value, collision: Option<i64>) -> String {
    let mut digest = Sha256::new();
    feed(&mut digest, template);
    if let Some(count) = collision {
        digest.update(count.to_be_bytes());
    }
    digest
        .finalize()
        .iter()
        .take(10)
        .map(|byte| SAFE[usize::from(*byte) % SAFE.len()] as char)
        .collect()
}

/// Feeds a value with its members in order; null members count as absent.
fn feed(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().filter(|k| !map[*k].is_null()).collect();
            keys.sort();
            digest.update(b"{");
            for key in keys {
                digest.update(Value::from(key.as_str()).to_string());
                digest.update(b":");
                feed(digest, &map[key]);
                digest.update(b",");
            }
            digest.update(b"}");
        }
        Value::Array(items) => {
            digest.update(b"[");
            for item in items {
                feed(digest, item);
                digest.update(b",");
            }
            digest.update(b"]");
        }
        plain => digest.update(plain.to_string()),
    }
}

/// The pod that a template makes for an owner (a whole object with `apiVersion`, `kind` and `metadata`): labels,
/// annotations, finalizers and spec of the template, and a controller reference. The name is the caller's to set.
pub fn from_template(template: &Value, owner: &Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}});
    if let Some(metadata) = ensure_object(&mut pod, "metadata") {
        for field in ["labels", "annotations", "finalizers"] {
            let value = at(template, &format!("/metadata/{field}"));
            if !value.is_null() {
                put(metadata, field, value.clone());
            }
        }
        let namespace = at(owner, "/metadata/namespace");
        if !namespace.is_null() {
            put(metadata, "namespace", namespace.clone());
        }
        push(metadata, "ownerReferences", controller_reference(owner));
    }
    put(&mut pod, "spec", get(template, "spec").clone());
    pod
}

/// An owner reference that says `owner` manages the object and must not go before it in a foreground deletion.
pub fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": get(owner, "apiVersion"),
        "kind": get(owner, "kind"),
        "name": at(owner, "/metadata/name"),
        "uid": at(owner, "/metadata/uid"),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
