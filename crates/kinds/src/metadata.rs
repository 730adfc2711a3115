//! `metadata` wherever it stands: what is checked of labels, annotations, owners and finalizers of objects, and of those inside
//! of objects. Source: upstream's ValidateObjectMeta, in its words.

use meta::field::Shown;
use meta::{Errors, Path, name};
use serde_json::Value;

/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// All but names.
pub fn validate_common(meta: &Value, at: &Path, errors: &mut Errors) {
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

/// Keys and the size of all together.
pub fn validate_annotations(annotations: Option<&Value>, at: &Path, errors: &mut Errors) {
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
pub fn validate_owners(owners: Option<&Value>, at: &Path, errors: &mut Errors) {
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
        if let Some(why) = crate::lifecycle::never_owns(version, get("kind")) {
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
