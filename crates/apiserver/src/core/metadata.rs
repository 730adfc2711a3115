//! `metadata`: what upstream's ValidateObjectMeta and ValidateObjectMetaUpdate say of it, in their words.

use kinds::Row;
use kinds::metadata::{validate_annotations, validate_common, validate_labels, validate_owners};
use meta::{Errors, Path, name};
use serde_json::{Map, Value};

/// The text at a field of `metadata`, or the empty text.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|m| m.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What clients may not say about a new object.
pub fn forget_system_fields(object: &mut Value) {
    let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        meta.remove(field);
    }
}

pub fn add_finalizer(meta: &mut Map<String, Value>, finalizer: &str) {
    let list = meta
        .entry("finalizers")
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = list
        && !list.iter().any(|f| f == finalizer)
    {
        list.push(finalizer.into());
    }
}

/// All errors of `metadata` of an object that is about to be stored.
pub fn validate(row: &Row, object: &Value, errors: &mut Errors) {
    let at = Path::new("metadata");
    let Some(meta) = object.get("metadata") else {
        errors.required(&at, "");
        return;
    };
    validate_names(row, object, meta, &at, errors);
    validate_common(meta, &at, errors);
    if row.rules.checks_finalizer_names() {
        validate_finalizer_names(meta.get("finalizers"), &at.child("finalizers"), errors);
    }
}

/// What an update checks first, for every kind. The name is that of the stored object.
pub fn validate_any(object: &Value, errors: &mut Errors) {
    if let Some(meta) = object.get("metadata") {
        validate_common(meta, &Path::new("metadata"), errors);
    }
}

fn validate_names(row: &Row, object: &Value, meta: &Value, at: &Path, errors: &mut Errors) {
    let get = |field: &str| meta.get(field).and_then(Value::as_str).unwrap_or_default();
    let base = get("generateName");
    if !base.is_empty() {
        let shown = name::mask_trailing_dash(base);
        for message in row.rules.check_name(&shown) {
            errors.invalid(&at.child("generateName"), base, &message);
        }
    }
    let own = get("name");
    if own.is_empty() {
        errors.required(&at.child("name"), "name or generateName is required");
    } else {
        for message in row.rules.check_name_of(object, own) {
            errors.invalid(&at.child("name"), own, &message);
        }
    }
    let namespace = get("namespace");
    let field = at.child("namespace");
    if row.namespaced {
        if namespace.is_empty() {
            errors.required(&field, "");
        }
        if !namespace.is_empty() {
            for message in name::check_dns1123_label(namespace) {
                errors.invalid(&field, namespace, &message);
            }
        }
    } else if !namespace.is_empty() {
        errors.forbidden(&field, "not allowed on this type");
    }
}

fn validate_finalizer_names(finalizers: Option<&Value>, at: &Path, errors: &mut Errors) {
    let all = finalizers.and_then(Value::as_array).into_iter().flatten();
    let all = all.map(|f| f.as_str().unwrap_or_default());
    for (i, text) in all.enumerate() {
        let standard = matches!(text, "orphan" | "foregroundDeletion" | "kubernetes");
        if !standard && !text.contains('/') {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid(&at.index(i), text, detail);
        }
    }
}

/// Errors of a change of `metadata`: what is immutable.
pub fn validate_update(object: &Value, old: &Value, errors: &mut Errors) {
    let at = Path::new("metadata");
    let null = Value::Null;
    let get = |object: &'_ Value, field: &str| -> Value {
        object
            .get("metadata")
            .and_then(|m| m.get(field))
            .unwrap_or(&null)
            .clone()
    };
    if !get(old, "deletionTimestamp").is_null() {
        validate_new_finalizers(&get(object, "finalizers"), &get(old, "finalizers"), &at, errors);
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        if get(object, field) != get(old, field) {
            errors.invalid(&at.child(field), get(object, field), "field is immutable");
        }
    }
    if let Some(meta) = object.get("metadata") {
        validate_labels(meta.get("labels"), &at.child("labels"), errors);
        validate_annotations(meta.get("annotations"), &at.child("annotations"), errors);
        validate_owners(meta.get("ownerReferences"), &at.child("ownerReferences"), errors);
    }
}

/// The same as a kind asks for it, with the names of finalizers.
pub fn validate_change(row: &Row, object: &Value, old: &Value, errors: &mut Errors) {
    validate_update(object, old, errors);
    if row.rules.checks_finalizer_names() {
        let at = Path::new("metadata").child("finalizers");
        let finalizers = object.get("metadata").and_then(|m| m.get("finalizers"));
        validate_finalizer_names(finalizers, &at, errors);
    }
}

/// What is about to go gets no new finalizers.
fn validate_new_finalizers(after: &Value, before: &Value, at: &Path, errors: &mut Errors) {
    let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
    let added: std::collections::BTreeSet<String> = after
        .as_array()
        .into_iter()
        .flatten()
        .filter(|f| !before.contains(f))
        .map(|f| f.to_string())
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.into_iter().collect::<Vec<_>>().join(", ")
        );
        errors.forbidden(&at.child("finalizers"), &detail);
    }
}
