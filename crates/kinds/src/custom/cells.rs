//! Columns of custom resources: the name, what the definition adds, or the age.

use super::jsonpath::JsonPath;
use crate::row::{age, duration, text};
use meta::Timestamp;
use serde_json::{Value, json};

/// One column that a definition adds.
#[derive(Debug)]
pub struct Printed {
    kind: Box<str>,
    /// None for a path that cannot be read: its cells are empty.
    path: Option<JsonPath>,
    definition: Value,
}

/// The columns of a version, the age where it has none of its own.
pub fn columns(version: &Value) -> Vec<Printed> {
    let own = version.get("additionalPrinterColumns").and_then(Value::as_array);
    match own {
        Some(list) if !list.is_empty() => list.iter().map(column).collect(),
        _ => {
            let described = crate::Column::AGE.description();
            vec![column(
                &json!({"name": "Age", "type": "date", "description": described,
                "jsonPath": ".metadata.creationTimestamp"}),
            )]
        }
    }
}

fn column(column: &Value) -> Printed {
    let get = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or_default();
    let described = match get("description") {
        "" => format!(
            "Custom resource definition column (in JSONPath format): {}",
            get("jsonPath")
        ),
        text => text.to_string(),
    };
    Printed {
        kind: get("type").into(),
        path: JsonPath::parse(get("jsonPath")).ok(),
        definition: json!({"name": get("name"), "type": get("type"), "format": get("format"),
            "description": described, "priority": column.get("priority").cloned().unwrap_or(0.into())}),
    }
}

/// What a table says of its columns.
pub fn definitions(columns: &[Printed]) -> Vec<Value> {
    let name = crate::Column::NAME;
    let first = json!({"name": name.name, "type": name.kind, "format": name.format,
        "description": name.description(), "priority": name.priority});
    let others = columns.iter().map(|column| column.definition.clone());
    std::iter::once(first).chain(others).collect()
}

/// The cells of an object.
pub fn cells(columns: &[Printed], object: &Value, now: Timestamp) -> Vec<Value> {
    let name = Value::from(text(object, "/metadata/name"));
    let others = columns.iter().map(|column| {
        let found = column
            .path
            .as_ref()
            .and_then(|path| path.find(object).into_iter().next());
        found.map_or(Value::Null, |value| cell(&column.kind, value, object, now))
    });
    std::iter::once(name).chain(others).collect()
}

fn cell(kind: &str, value: &Value, object: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(n)) => {
            let whole = n.as_i64().or_else(|| n.as_f64().map(|n| n as i64));
            whole.map_or(Value::Null, Into::into)
        }
        ("number", Value::Number(n)) => {
            n.as_f64()
                .map_or(Value::Null, |n| match n.fract() == 0.0 && n.abs() < 1e15 {
                    true => (n as i64).into(),
                    false => n.into(),
                })
        }
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(date)) if *date == text(object, "/metadata/creationTimestamp") => {
            age(object, now).into()
        }
        ("date", Value::String(date)) => match Timestamp::parse(date) {
            Some(then) if then >= now.plus_seconds(2) => "<invalid>".into(),
            Some(then) => duration(now.since(then)).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
