//! Defaults in a schema: each must be a value that the schema would take, without fields that it does not know.

use super::found::{At, Found};
use super::schema::Schema;
use super::shown::{self, quoted};
use crate::custom::{Additional, Structure, prune, validate_value};
use meta::{Errors, Path, name};
use serde_json::Value;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const TYPE_META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Whether a schema has defaults at all; most have none, and need not be looked at then.
pub(super) fn are_there(schema: Schema) -> bool {
    schema.any(&mut |node| node.given("default").is_some())
}

fn structure(schema: Schema) -> Structure {
    let mut schema = Value::Object(schema.0.clone());
    forget_int_or_string(&mut schema);
    Structure::of_resource(&schema)
}

/// Upstream holds defaults against the type that is written down, whatever `x-kubernetes-int-or-string` says.
fn forget_int_or_string(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    members.remove("x-kubernetes-int-or-string");
    for (field, value) in members {
        match (field.as_str(), value) {
            ("properties", Value::Object(named)) => named.values_mut().for_each(forget_int_or_string),
            ("allOf" | "anyOf" | "oneOf", Value::Array(each)) => {
                each.iter_mut().for_each(forget_int_or_string)
            }
            ("items" | "additionalProperties" | "not", value) => forget_int_or_string(value),
            _ => {}
        }
    }
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
        walk(&structure(schema), at, None, pruned, found);
    }
}

/// The way from an object of Kubernetes to a part of its type or metadata: names of fields, or items of lists.
#[derive(Clone, Copy)]
struct Around<'a> {
    parent: Option<&'a Around<'a>>,
    field: Option<&'a str>,
}

fn walk(structure: &Structure, at: &At, around: Option<&Around>, pruned: bool, found: &mut Found) {
    if found.is_full() {
        return;
    }
    let around = around.filter(|_| !structure.embedded);
    if let Some(value) = &structure.default {
        one(value, structure, &at.child("default"), around, pruned, found);
    }
    let inside = |field| Around {
        parent: around,
        field,
    };
    if let Some(items) = structure.items.as_deref() {
        let inside = inside(None);
        walk(items, &at.child("items"), around.map(|_| &inside), pruned, found);
    }
    let properties = at.child("properties");
    for (name, property) in &structure.properties {
        let (inside, own) = (
            inside(Some(name)),
            structure.embedded && TYPE_META.contains(&&**name),
        );
        let around = (around.is_some() || own).then_some(&inside);
        walk(property, &properties.key(name), around, pruned, found);
    }
}

fn one(
    value: &Value,
    structure: &Structure,
    at: &At,
    around: Option<&Around>,
    pruned: bool,
    found: &mut Found,
) {
    if around.is_none() && pruned && !is_pruned(value, structure) {
        found.invalid(at, shown::any(value), "must not have unknown fields");
    }
    let before = found.count();
    if let Some(around) = around {
        if let Some(why) = wrong_type_meta(value, around) {
            let detail = format!("must result in valid metadata: {why}");
            found.invalid(at, shown::any(value), &detail);
        }
    } else {
        embedded(value, structure, at, found);
    }
    if found.count() == before {
        let mut errors = Errors::new();
        validate_value(structure, &Path::new(&at.to_string()), value, None, &mut errors);
        found.take(errors);
    }
}

/// Why an object of Kubernetes would be none with this default in it.
fn wrong_type_meta(value: &Value, around: &Around) -> Option<String> {
    let (mut value, mut around) = (value.clone(), *around);
    while let Some(parent) = around.parent {
        value = match around.field {
            Some(field) => serde_json::json!({field: value}),
            None => Value::Array(vec![value]),
        };
        around = *parent;
    }
    let field = around.field.unwrap_or_default();
    let why = match (field, &value) {
        ("metadata", _) => {
            let form = meta::schema::Schema::of(crate::schema::arena(), OBJECT_META)?;
            let mut formed = value.clone();
            let misfits = codec::strict::conform(&form, &mut formed).err()?;
            misfits.told(None)
        }
        (_, Value::String(text)) => wrong_type(field, text)?,
        _ => "must be a string".to_string(),
    };
    Some(format!("{field}: Invalid value: {}: {why}", shown::any(&value).0))
}

/// Why a text is no `apiVersion` or no `kind`.
fn wrong_type(field: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("must not be empty".into());
    }
    if field == "apiVersion" {
        let parts = text.matches('/').count();
        return (parts > 1).then(|| format!("unexpected GroupVersion string: {text}"));
    }
    let why = name::check_dns1035_label(&text.to_lowercase());
    let told = || {
        format!(
            "may have mixed case, but should otherwise match: {}",
            why.join(",")
        )
    };
    (!why.is_empty()).then(told)
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
            Some(Value::String(text)) => {
                if let Some(why) = wrong_type(field, text) {
                    found.invalid(&at, quoted(text), &why);
                }
            }
            Some(other) => found.invalid(&at, shown::any(other), "must be a string"),
        }
    }
}
