//! Whether two parts of a definition say the same, as upstream compares them: a list or map without content is none.

use super::schema::{Additional, Items, Schema};
use super::shown::{Form, MEMBERS, RULES};
use serde_json::Value;

/// Two schemas, or the absence of them.
pub(super) fn same_schema(a: Option<Schema>, b: Option<Schema>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_none() && b.is_none();
    };
    a.0 == b.0
        || MEMBERS
            .iter()
            .all(|(_, field, form)| same_member(a, b, field, *form))
            && same_list(a.list(RULES), b.list(RULES), same_rule)
}

fn same_member(a: Schema, b: Schema, field: &str, form: Form) -> bool {
    match form {
        Form::Text => a.text(field) == b.text(field),
        Form::TextPointer => a.given_text(field) == b.given_text(field),
        Form::Flag => a.is(field) == b.is(field),
        Form::FlagPointer => a.flag(field) == b.flag(field),
        Form::Values => a.list(field) == b.list(field),
        Form::Schemas => same_schemas(a.list(field), b.list(field)),
        Form::Named => same_named(a, b, field),
        Form::Inner => same_schema(a.inner(field), b.inner(field)),
        Form::Additional => match (a.additional(field), b.additional(field)) {
            (None, None) => true,
            (Some(Additional::Allowed(a)), Some(Additional::Allowed(b))) => a == b,
            (Some(Additional::Schema(a)), Some(Additional::Schema(b))) => same_schema(Some(a), Some(b)),
            _ => false,
        },
        Form::Any if field == "items" => match (a.items(), b.items()) {
            (None, None) | (Some(Items::Neither), Some(Items::Neither)) => true,
            (Some(Items::One(a)), Some(Items::One(b))) => same_schema(Some(a), Some(b)),
            (Some(Items::Each(a)), Some(Items::Each(b))) => same_schemas(a, b),
            (Some(Items::Each([])), Some(Items::Neither)) | (Some(Items::Neither), Some(Items::Each([]))) => {
                true
            }
            _ => false,
        },
        Form::Any if field == "dependencies" => {
            let (a, b) = (a.map(field), b.map(field));
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same_dependency(a, b)))
        }
        Form::Any if field == "externalDocs" => match (a.inner(field), b.inner(field)) {
            (Some(a), Some(b)) => same_texts(a, b, &["description", "url"]),
            (a, b) => a.is_none() && b.is_none(),
        },
        Form::Any => a.given(field) == b.given(field),
    }
}

fn same_schemas(a: &[Value], b: &[Value]) -> bool {
    same_list(a, b, |a, b| same_schema(Some(Schema::of(a)), Some(Schema::of(b))))
}

fn same_named(a: Schema, b: Schema, field: &str) -> bool {
    let (a, b) = (a.map(field), b.map(field));
    a.len() == b.len()
        && a.iter()
            .all(|(name, schema)| same_schema(Some(Schema::of(schema)), b.get(name).map(Schema::of)))
}

/// A schema, or the names of other fields.
fn same_dependency(a: &Value, b: &Value) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    same_schema(a.as_object().map(Schema), b.as_object().map(Schema)) && list(a) == list(b)
}

fn same_rule(a: &Value, b: &Value) -> bool {
    let (a, b) = (Schema::of(a), Schema::of(b));
    same_texts(a, b, &["rule", "message", "messageExpression", "fieldPath"])
        && a.given_text("reason") == b.given_text("reason")
        && a.flag("optionalOldSelf") == b.flag("optionalOldSelf")
}

fn same_list(a: &[Value], b: &[Value], same: impl Fn(&Value, &Value) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

fn same_texts(a: Schema, b: Schema, fields: &[&str]) -> bool {
    fields.iter().all(|field| a.text(field) == b.text(field))
}

pub(super) fn same_subresources(a: Option<Schema>, b: Option<Schema>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_none() && b.is_none();
    };
    let scales = match (a.inner("scale"), b.inner("scale")) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            same_texts(a, b, &["specReplicasPath", "statusReplicasPath"])
                && a.given_text("labelSelectorPath") == b.given_text("labelSelectorPath")
        }
        _ => false,
    };
    scales && a.given("status").is_some() == b.given("status").is_some()
}

pub(super) fn same_columns(a: &[Value], b: &[Value]) -> bool {
    let fields = ["name", "type", "format", "description", "jsonPath"];
    let priority = |column: Schema| column.given("priority").and_then(Value::as_i64).unwrap_or(0);
    same_list(a, b, |a, b| {
        let (a, b) = (Schema::of(a), Schema::of(b));
        same_texts(a, b, &fields) && priority(a) == priority(b)
    })
}

pub(super) fn same_selectable(a: &[Value], b: &[Value]) -> bool {
    same_list(a, b, |a, b| {
        same_texts(Schema::of(a), Schema::of(b), &["jsonPath"])
    })
}
