//! Objects inside of custom resources: they must say what they are, and their metadata is checked like any other.
//! Source: `x-kubernetes-embedded-resource` in the API reference.

use super::structure::{Additional, Structure};
use crate::metadata::validate_common;
use meta::{Errors, Path, name};
use serde_json::{Map, Value};

/// What is wrong with the objects inside of this one, which is not looked at itself.
pub fn validate(structure: &Structure, at: &Path, value: &Value, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            for (name, member) in map {
                match (structure.property(name), &structure.additional) {
                    (Some(of), _) => inside(of, &at.child(name), member, errors),
                    (None, Additional::Each(of)) => inside(of, &at.key(name), member, errors),
                    (None, _) => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(of) = structure.items.as_deref() else {
                return;
            };
            for (i, item) in items.iter().enumerate() {
                inside(of, &at.index(i), item, errors);
            }
        }
        _ => {}
    }
}

fn inside(structure: &Structure, at: &Path, value: &Value, errors: &mut Errors) {
    if let (Value::Object(map), true) = (value, structure.embedded) {
        object(map, at, errors);
    }
    validate(structure, at, value, errors);
}

fn object(map: &Map<String, Value>, at: &Path, errors: &mut Errors) {
    for field in ["apiVersion", "kind"] {
        if !map.contains_key(field) {
            errors.required(&at.child(field), "");
        }
    }
    if let Some(version) = map.get("apiVersion") {
        let field = at.child("apiVersion");
        match version.as_str() {
            None => errors.invalid(&field, version.clone(), "must be a string"),
            Some("") => errors.invalid(&field, "", "must not be empty"),
            Some(text) if text.matches('/').count() > 1 => {
                errors.invalid(&field, text, &format!("unexpected GroupVersion string: {text}"));
            }
            Some(_) => {}
        }
    }
    if let Some(kind) = map.get("kind") {
        let field = at.child("kind");
        match kind.as_str() {
            None => errors.invalid(&field, kind.clone(), "must be a string"),
            Some("") => errors.invalid(&field, "", "must not be empty"),
            Some(text) => {
                let wrong = name::check_dns1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let why = format!(
                        "may have mixed case, but should otherwise match: {}",
                        wrong.join(",")
                    );
                    errors.invalid(&field, text, &why);
                }
            }
        }
    }
    if let Some(metadata) = map.get("metadata") {
        validate_metadata(metadata, &at.child("metadata"), errors);
    }
}

/// Its name may be any that can stand in a path, or be missing.
fn validate_metadata(metadata: &Value, at: &Path, errors: &mut Errors) {
    let get = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default();
    for field in ["generateName", "name"] {
        for message in name::check_path_segment(get(field)) {
            errors.invalid(&at.child(field), get(field), &message);
        }
    }
    let namespace = get("namespace");
    if !namespace.is_empty() {
        for message in name::check_dns1123_label(namespace) {
            errors.invalid(&at.child("namespace"), namespace, &message);
        }
    }
    validate_common(metadata, at, errors);
}
