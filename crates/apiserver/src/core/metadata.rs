//! `metadata`: what upstream's ValidateObjectMeta and ValidateObjectMetaUpdate say of it, in their words.

use kinds::Row;
use meta::field::Shown;
use meta::{Errors, Path, name};
use serde_json::{Map, Value};

/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

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

fn validate_common(meta: &Value, at: &Path, errors: &mut Errors) {
    if let Some(generation) = meta.get("generation").and_then(Value::as_i64)
        && generation < 0
    {
        let detail = "must be greater than or equal to 0";
        errors.invalid(&at.child("generation"), generation, detail);
    }
    validate_labels(meta.get("labels"), &at.child("labels"), errors);
    validate_annotations(meta.get("annotations"), &at.child("annotations"), errors);
    validate_owners(meta.get("ownerReferences"), &at.child("ownerReferences"), errors);
    validate_finalizers(meta.get("finalizers"), &at.child("finalizers"), errors);
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

fn strings(map: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
}

/// Also used for label maps elsewhere in an object.
pub fn validate_labels(labels: Option<&Value>, at: &Path, errors: &mut Errors) {
    for (key, value) in strings(labels) {
        for message in name::check_qualified_name(key) {
            errors.invalid(at, key, &message);
        }
        for message in name::check_label_value(value) {
            errors.invalid(at, value, &message);
        }
    }
}

fn validate_annotations(annotations: Option<&Value>, at: &Path, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in strings(annotations) {
        for message in name::check_qualified_name(&key.to_lowercase()) {
            errors.invalid(at, key, &message);
        }
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(at, ANNOTATIONS_MAX);
    }
}

/// Upstream names the list in what it says of one reference.
fn validate_owners(owners: Option<&Value>, at: &Path, errors: &mut Errors) {
    let mut controller = None;
    for owner in owners.and_then(Value::as_array).into_iter().flatten() {
        let get = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let version = get("apiVersion");
        let number = match version.split_once('/') {
            Some((_, number)) if !number.contains('/') => number,
            Some(_) => "",
            None => version,
        };
        if number.is_empty() {
            errors.invalid(&at.child("apiVersion"), version, "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if get(field).is_empty() {
                errors.invalid(&at.child(field), "", "must not be empty");
            }
        }
        if let Some(why) = kinds::lifecycle::never_owns(version, get("kind")) {
            errors.invalid(at, owner_shown(owner), why);
        }
        if owner.get("controller") != Some(&Value::Bool(true)) {
            continue;
        }
        let name = format!("{}/{}", get("kind"), get("name"));
        match &controller {
            Some(first) => {
                let all = owners.and_then(Value::as_array).into_iter().flatten();
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.invalid(at, Shown::list(all.map(owner_shown)), &detail);
            }
            None => controller = Some(name),
        }
    }
}

fn owner_shown(owner: &Value) -> Shown {
    let known = |field: &str| owner.get(field).filter(|v| !v.is_null()).cloned();
    let must =
        ["apiVersion", "kind", "name", "uid"].map(|f| (f, Some(known(f).unwrap_or_else(|| "".into()))));
    let may = ["controller", "blockOwnerDeletion"].map(|f| (f, known(f)));
    Shown::members(must.into_iter().chain(may))
}

fn validate_finalizers(finalizers: Option<&Value>, at: &Path, errors: &mut Errors) {
    let all: Vec<&str> = finalizers
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|f| f.as_str().unwrap_or_default())
        .collect();
    for text in &all {
        for message in name::check_qualified_name(text) {
            errors.invalid(at, *text, &message);
        }
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(at, finalizers.cloned().unwrap_or_default(), detail);
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
