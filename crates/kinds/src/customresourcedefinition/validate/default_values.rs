//! Defaults in a schema: each must be a value that the schema would take, without fields that it does not know.

use super::found::{At, Found};
use super::schema::Schema;
use super::shown::{self, quoted};
use crate::custom::{Additional, Structure, prune, validate_value};
use meta::{Errors, Path, name};
use serde_json::Value;

const TYPE_META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Whether a schema has defaults at all; most have none, and need not be looked at then.
pub(super) fn are_there(schema: Schema) -> bool {
    schema.any(&mut |node| node.given("default").is_some())
}

fn structure(schema: Schema) -> Structure {
    Structure::of_resource(&Value::Object(schema.0.clone()))
}

/// Whether a default has fields that its schema does not know. The schema is structural.
pub(super) fn has_unknown_fields(schema: Schema) -> bool {
    fn found(structure: &Structure) -> bool {
        let own = structure
            .default
            .as_ref()
            .is_some_and(|value| !is_pruned(value, structure));
        own || structure.items.as_deref().is_some_and(found)
            || structure.properties.iter().any(|(_, inner)| found(inner))
    }
    are_there(schema) && found(&structure(schema))
}

fn is_pruned(value: &Value, structure: &Structure) -> bool {
    prune(&mut value.clone(), structure).is_empty()
}

/// The errors of all defaults in a structural schema of a resource. `pruned`: unknown fields are errors.
pub(super) fn validate(schema: Schema, at: &At, pruned: bool, found: &mut Found) {
    if are_there(schema) {
        walk(&structure(schema), at, false, pruned, found);
    }
}

fn walk(structure: &Structure, at: &At, in_type_meta: bool, pruned: bool, found: &mut Found) {
    if found.is_full() {
        return;
    }
    let in_type_meta = in_type_meta && !structure.embedded;
    if let Some(value) = &structure.default {
        one(
            value,
            structure,
            &at.child("default"),
            pruned && !in_type_meta,
            in_type_meta,
            found,
        );
    }
    if let Some(items) = structure.items.as_deref() {
        walk(items, &at.child("items"), in_type_meta, pruned, found);
    }
    let properties = at.child("properties");
    for (name, inner) in &structure.properties {
        let inside = in_type_meta || structure.embedded && TYPE_META.contains(&&**name);
        walk(inner, &properties.key(name), inside, pruned, found);
    }
}

fn one(value: &Value, structure: &Structure, at: &At, pruned: bool, in_type_meta: bool, found: &mut Found) {
    if pruned && !is_pruned(value, structure) {
        found.invalid(at, shown::any(value), "must not have unknown fields");
    }
    if !in_type_meta {
        let before = found.count();
        embedded(value, structure, at, found);
        if found.count() > before {
            return;
        }
    }
    let mut errors = Errors::new();
    validate_value(structure, &Path::new(&at.to_string()), value, None, &mut errors);
    found.take(errors);
}

/// Objects of Kubernetes inside of a default say what they are.
fn embedded(value: &Value, structure: &Structure, at: &At, found: &mut Found) {
    match value {
        Value::Object(members) => {
            if structure.embedded {
                type_meta(value, at, found);
            }
            for (name, member) in members {
                if let Some(inner) = structure.property(name) {
                    embedded(member, inner, &at.child(name), found);
                } else if let Additional::Each(each) = &structure.additional {
                    embedded(member, each, &at.key(name), found);
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if let Some(of) = structure.items.as_deref() {
                    embedded(item, of, &at.index(i), found);
                }
            }
        }
        _ => {}
    }
}

fn type_meta(object: &Value, at: &At, found: &mut Found) {
    for field in ["apiVersion", "kind"] {
        if object.get(field).is_none() {
            found.required(&at.child(field), "");
        }
    }
    for field in ["apiVersion", "kind"] {
        let at = at.child(field);
        match object.get(field) {
            None => {}
            Some(Value::String(text)) if text.is_empty() => found.invalid(&at, "", "must not be empty"),
            Some(Value::String(text)) if field == "apiVersion" => {
                if text.matches('/').count() > 1 {
                    let detail = format!("unexpected GroupVersion string: {text}");
                    found.invalid(&at, quoted(text), &detail);
                }
            }
            Some(Value::String(text)) => {
                let why = name::check_dns1035_label(&text.to_lowercase());
                if !why.is_empty() {
                    let detail = format!(
                        "may have mixed case, but should otherwise match: {}",
                        why.join(",")
                    );
                    found.invalid(&at, quoted(text), &detail);
                }
            }
            Some(other) => found.invalid(&at, shown::any(other), "must be a string"),
        }
    }
}
