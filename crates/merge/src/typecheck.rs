//! Checks an applied configuration against the schema, with upstream's words for what is wrong.

use crate::element;
use crate::shape::{Form, Place};
use crate::value::{go_syntax, go_type, go_value};
use meta::schema::{SchemaKind, StringForm};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Most errors that are reported; a configuration with more is cut here.
const MAX_ERRORS: usize = 100;

/// All type errors of `value`, as one text. Nulls fit everywhere, lists may not name an item twice.
///
/// # Errors
/// `.spec.foo: field not declared in schema`, or `errors:` and one line for each.
pub(crate) fn check(value: &Value, place: Place<'_>) -> Result<(), String> {
    let mut errors = Errors {
        path: Vec::new(),
        found: Vec::new(),
    };
    errors.check(value, place);
    match errors.found.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

struct Errors {
    /// Elements in text form; printed only when something is wrong.
    path: Vec<String>,
    found: Vec<String>,
}

impl Errors {
    fn report(&mut self, message: &str) {
        if self.found.len() < MAX_ERRORS {
            let path: String = self.path.iter().map(|e| element::display(e)).collect();
            self.found.push(if path.is_empty() {
                message.to_owned()
            } else {
                format!("{path}: {message}")
            });
        }
    }

    fn check(&mut self, value: &Value, place: Place<'_>) {
        let Some(kind) = place.kind() else { return };
        match (kind, value) {
            (_, Value::Null) | (SchemaKind::Any, _) => {}
            (SchemaKind::Array { .. }, Value::Array(items)) => self.check_items(items, place),
            (SchemaKind::Array { .. }, other) => {
                self.report(&format!("expected list, got &{{{}}}", go_value(other)))
            }
            (SchemaKind::Map { .. } | SchemaKind::Object(_), Value::Object(fields)) => {
                self.check_fields(fields, place)
            }
            (SchemaKind::Map { .. } | SchemaKind::Object(_), other) => {
                self.report(&format!("expected map, got &{{{}}}", go_value(other)))
            }
            (scalar, value) => {
                if let Some(message) = scalar_error(scalar, value) {
                    self.report(&message);
                }
            }
        }
    }

    fn check_fields(&mut self, fields: &Map<String, Value>, place: Place<'_>) {
        for (name, value) in fields {
            self.path.push(element::field(name));
            match place.field(name) {
                Some(below) => self.check(value, below),
                None => self.report("field not declared in schema"),
            }
            self.path.pop();
        }
    }

    fn check_items(&mut self, items: &[Value], place: Place<'_>) {
        let form = place.form(None);
        let mut seen = HashSet::new();
        for (i, item) in items.iter().enumerate() {
            let name = match form {
                Form::Set | Form::Keyed(_) => match place.element_of(form, item) {
                    Ok(name) => name,
                    Err(message) => return self.report(&format!("element {i}: {message}")),
                },
                Form::Leaf | Form::Fields => format!("i:{i}"),
            };
            if matches!(form, Form::Set | Form::Keyed(_)) && !seen.insert(name.clone()) {
                self.report(&format!("duplicate entries for key {}", element::display(&name)));
            }
            self.path.push(name);
            self.check(item, place.items());
            self.path.pop();
        }
    }
}

fn scalar_error(kind: &SchemaKind, value: &Value) -> Option<String> {
    let is_scalar = !value.is_array() && !value.is_object();
    let fits = match kind {
        SchemaKind::Bool => value.is_boolean(),
        SchemaKind::Integer { .. } | SchemaKind::Number => value.is_number(),
        SchemaKind::String(StringForm::Plain | StringForm::Bytes) => value.is_string(),
        _ => is_scalar,
    };
    if fits {
        return None;
    }
    Some(match kind {
        SchemaKind::Bool => format!("expected boolean, got &{{{}}}", go_value(value)),
        SchemaKind::Integer { .. } | SchemaKind::Number => {
            format!("expected numeric (int or float), got {}", go_type(value))
        }
        SchemaKind::String(StringForm::Plain | StringForm::Bytes) => format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go_syntax(value)
        ),
        _ => format!("expected any scalar, got &{{{}}}", go_value(value)),
    })
}

/// Who the message is about: `default/web; apps/v1, Kind=Deployment`, or `/v1, Kind=Pod` in the core group.
pub(crate) fn subject(object: &Value) -> String {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let version = text("/apiVersion");
    let core = if version.contains('/') { "" } else { "/" };
    format!(
        "{}/{}; {core}{version}, Kind={}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/kind")
    )
}

/// Upstream's text when the version of the applied object is not the one of the endpoint.
pub(crate) fn wrong_version(applied: &str, expected: &str) -> String {
    format!(
        "Incorrect version specified in apply patch. Specified patch version: {applied}, expected: {expected}"
    )
}
