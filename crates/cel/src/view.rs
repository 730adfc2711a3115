//! From JSON to values and back. Source: apiserver `cel/common/valuesunstructured.go`.

use crate::decl::{Decl, Shape};
use crate::list::List;
use crate::map::Map;
use crate::time::{Duration, Timestamp};
use crate::value::{Outcome, Value, fail};
use base64::Engine;
use serde_json::Value as Json;

/// How Go names what a JSON value is decoded to.
fn go_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

pub(crate) fn typed<'a>(json: &'a Json, decl: &'a Decl) -> Outcome<Value<'a>> {
    if matches!(decl.shape, Shape::Dyn) {
        return Ok(Value::dynamic(json));
    }
    if json.is_null() {
        return if decl.nullable {
            Ok(Value::Null)
        } else {
            fail("invalid data, got null for schema with nullable=false")
        };
    }
    let wrong = |expected: &str| {
        fail(format!(
            "invalid data, expected {expected}, got {}",
            go_type(json)
        ))
    };
    match (&decl.shape, json) {
        (Shape::Unknown, _) => Ok(Value::Unknown(json)),
        (Shape::IntOrString, Json::String(text)) => Ok(Value::borrowed(text)),
        (Shape::IntOrString, Json::Number(number)) if number.is_i64() => Ok(Value::dynamic(json)),
        (Shape::IntOrString, _) => {
            fail("invalid data, expected XIntOrString value to be either a string or integer")
        }
        (Shape::Object(_) | Shape::Map { .. }, Json::Object(fields)) => {
            Ok(Value::Map(Map::typed(fields, decl)))
        }
        (Shape::Object(_) | Shape::Map { .. }, _) => {
            fail("invalid data, expected a map for the provided schema with type=object")
        }
        (Shape::List { .. }, Json::Array(items)) => Ok(Value::List(List::typed(items, decl))),
        (Shape::List { .. }, _) => {
            fail("invalid data, expected an array for the provided schema with type=array")
        }
        (Shape::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Shape::Bool, _) => wrong("bool"),
        (Shape::Integer, Json::Number(number)) => match number.as_i64() {
            Some(value) => Ok(Value::Int(value)),
            None => wrong("int"),
        },
        (Shape::Integer, _) => wrong("int"),
        (Shape::Number, Json::Number(number)) => Ok(Value::Double(number.as_f64().unwrap_or(f64::NAN))),
        (Shape::Number, _) => wrong("float"),
        (_, Json::String(text)) => string(text, &decl.shape),
        _ => wrong("string"),
    }
}

fn string<'a>(text: &'a str, shape: &Shape) -> Outcome<Value<'a>> {
    match shape {
        Shape::Bytes => match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(_) => fail(format!(
                "Invalid byte formatted string {text}: illegal base64 data"
            )),
        },
        Shape::Duration => match Duration::parse_openapi(text) {
            Some(duration) => Ok(Value::Duration(duration)),
            None => fail(format!(
                "Invalid duration {text}: unable to parse {text} as duration"
            )),
        },
        Shape::Date => match Timestamp::parse_date(text) {
            Some(timestamp) => Ok(Value::Timestamp(timestamp)),
            None => fail(format!(
                "Invalid date formatted string {text}: cannot parse {text} as a date"
            )),
        },
        Shape::DateTime => match Timestamp::parse_openapi(text) {
            Some(timestamp) => Ok(Value::Timestamp(timestamp)),
            None => fail(format!(
                "Invalid date-time formatted string {text}: cannot parse {text} as a time"
            )),
        },
        _ => Ok(Value::borrowed(text)),
    }
}

/// How many values a result can hold that becomes JSON: sums of lists are not copied before, so they can be long.
const MAX_VALUES: usize = 1_000_000;

pub(crate) fn to_json(value: &Value<'_>) -> Option<Json> {
    json_within(value, &mut MAX_VALUES.clone())
}

/// `None` for what JSON has no form for, or when there is more than is `left`.
fn json_within(value: &Value<'_>, left: &mut usize) -> Option<Json> {
    *left = left.checked_sub(1)?;
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Double(value) => Json::Number(serde_json::Number::from_f64(*value)?),
        Value::String(text) => Json::String(text.to_string()),
        Value::Bytes(bytes) => Json::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Duration(_) | Value::Timestamp(_) => Json::String(value.to_string()),
        Value::List(list) => {
            let items = list.iter().map(|item| json_within(&item.ok()?, left));
            Json::Array(items.collect::<Option<_>>()?)
        }
        Value::Map(map) => {
            let pairs = map.pairs().map(|pair| {
                let (key, value) = pair.ok()?;
                Some((key.as_str()?.to_string(), json_within(&value, left)?))
            });
            Json::Object(pairs.collect::<Option<_>>()?)
        }
        Value::Struct(object) => {
            let fields = object
                .fields
                .iter()
                .map(|(name, value)| Some((name.to_string(), json_within(value, left)?)));
            Json::Object(fields.collect::<Option<_>>()?)
        }
        Value::Optional(Some(value)) => json_within(value, left)?,
        Value::Unknown(json) => (*json).clone(),
        _ => return None,
    })
}
