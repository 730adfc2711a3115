//! Path elements in the text form of `fieldsV1`: `f:name`, `k:{"name":"x"}`, `v:"x"`, `i:0`.
//! Field sets use that text as keys, so nothing is decoded on the way from and to the stored object.

use crate::value::go_quote;
use serde_json::{Map, Value};

/// Marks a node that is in the set itself besides its children.
pub(crate) const SELF: &str = ".";

pub(crate) fn field(name: &str) -> String {
    let mut element = String::with_capacity(name.len() + 2);
    element.push_str("f:");
    element.push_str(name);
    element
}

/// The element of a keyed list's item. serde_json's map keeps keys sorted, as the canonical form wants.
pub(crate) fn keyed(keys: Map<String, Value>) -> String {
    format!("k:{}", Value::Object(keys))
}

pub(crate) fn scalar(value: &Value) -> String {
    format!("v:{value}")
}

/// An element in its canonical text; `Ok(None)` for a kind of element that a future version may know.
pub(crate) fn canonical(text: &str) -> Result<Option<String>, String> {
    let Some((kind, rest)) = text.split_at_checked(2).filter(|(kind, _)| kind.ends_with(':')) else {
        return Err(if text.len() < 2 {
            "key must be 2 characters long:".to_owned()
        } else {
            format!("missing colon: {text}")
        });
    };
    match kind {
        "f:" => Ok(Some(text.to_owned())),
        "k:" => match serde_json::from_str(rest) {
            Ok(Value::Object(keys)) => Ok(Some(keyed(keys))),
            Ok(_) => Err(format!("expected an object of key fields in {text}")),
            Err(e) => Err(format!("parsing {text}: {e}")),
        },
        "v:" => serde_json::from_str::<Value>(rest)
            .map(|v| Some(scalar(&v)))
            .map_err(|e| format!("parsing {text}: {e}")),
        "i:" => rest
            .parse::<i64>()
            .map(|i| Some(format!("i:{i}")))
            .map_err(|e| format!("parsing {text}: {e}")),
        _ => Ok(None),
    }
}

/// For people: `.spec`, `[name="x"]`, `[="x"]`, `[0]`.
pub(crate) fn display(element: &str) -> String {
    match element.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("k:", keys)) => match serde_json::from_str(keys) {
            Ok(Value::Object(keys)) => {
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={}", display_value(value)))
                    .collect();
                format!("[{}]", keys.join(","))
            }
            _ => format!("[{keys}]"),
        },
        Some(("v:", value)) => match serde_json::from_str(value) {
            Ok(value) => format!("[={}]", display_value(&value)),
            Err(_) => format!("[={value}]"),
        },
        Some((_, index)) => format!("[{index}]"),
        None => element.to_owned(),
    }
}

fn display_value(value: &Value) -> String {
    match value {
        Value::String(s) => go_quote(s),
        other => other.to_string(),
    }
}
