//! YAML 1.2 into values, within a budget against alias bombs and depth; and values into YAML.

use crate::{Decoded, Malformed, json};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;
use std::cell::RefCell;

/// Nesting, as in JSON.
const MAX_DEPTH: usize = 100;
/// Maps, lists and scalars of one document, aliases followed: a 3 MiB body of honest text stays below.
const MAX_NODES: usize = 400_000;
const MAX_ALIASES: usize = 1_000;

/// A value and nothing but it, so that duplicate keys can be told from outside.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duplicates = RefCell::new(Vec::new());
        let node = json::Node {
            duplicates: &duplicates,
            at: &json::At::Root,
        };
        node.deserialize(deserializer).map(Document)
    }
}

/// Decodes one YAML document.
pub fn from_yaml(bytes: &[u8]) -> Result<Decoded, Malformed> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Malformed(format!("yaml: invalid UTF-8 after byte {}", e.valid_up_to())))?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        // File modes are written so: 0644.
        legacy_octal_numbers: true,
    };
    let document: Document = serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        Malformed(format!(
            "error converting YAML to JSON: yaml: {}",
            one_line(&e.to_string())
        ))
    })?;
    let mut value = document.0;
    whole_numbers(&mut value);
    Ok(Decoded {
        value,
        duplicates: Vec::new(),
    })
}

/// `3.0` is 3: Go makes JSON of what it has read, and writes a whole number so.
fn whole_numbers(value: &mut Value) {
    // Above this not each whole number is one of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0);
            if let Some(whole) = whole.filter(|n| n.abs() <= EXACT) {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The first line of a parser's message: the rest is a drawing of the text.
fn one_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// The YAML text of a value.
pub fn to_yaml(value: &Value) -> Result<String, Malformed> {
    serde_saphyr::to_string(value).map_err(|e| Malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_reads_and_prints_back() {
        let text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: \"1\"\n  b: |\n    two\n    lines\nn: 3\nx: [true, null, 1.5]\n";
        let value = from_yaml(text.as_bytes()).expect("valid").value;
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "two\nlines\n"},
            "n": 3, "x": [true, null, 1.5]});
        assert_eq!(value, expected);
        let again = from_yaml(to_yaml(&value).expect("prints").as_bytes())
            .expect("valid")
            .value;
        assert_eq!(again, value);
        assert_eq!(
            from_yaml(br#"{"a": {"b": [1]}}"#).expect("JSON is YAML").value,
            json!({"a": {"b": [1]}})
        );
    }

    /// As the YAML 1.1 that kubectl reads.
    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        for (text, value) in [
            ("0644", json!(420)),
            ("-010", json!(-8)),
            ("0o640", json!(416)),
            ("0x1a0", json!(416)),
            ("0b101", json!(5)),
            ("3.0", json!(3)),
            ("08", json!(8)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("~", json!(null)),
            ("", json!(null)),
            ("'0644'", json!("0644")),
            ("2026-11-22", json!("2026-11-22")),
            ("1.2.3", json!("1.2.3")),
            ("0123abc", json!("0123abc")),
            ("1_000", json!(1000)),
            ("12:30:45", json!("12:30:45")),
            ("0_7", json!(7)),
            ("y", json!(true)),
            ("NO", json!(false)),
            ("+12", json!(12)),
            ("18446744073709551615", json!(u64::MAX)),
            (".5", json!(0.5)),
        ] {
            let read = from_yaml(format!("a: {text}\n").as_bytes()).expect("valid").value;
            assert_eq!(read["a"], value, "{text}");
        }
    }

    #[test]
    fn bombs_and_nonsense_are_errors() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        let deep = "[".repeat(10_000);
        for bad in [bomb.as_str(), deep.as_str(), "a: b: c", "a: 1\na: 2", "- a\nb: 1"] {
            assert!(from_yaml(bad.as_bytes()).is_err(), "{bad:.30}");
        }
    }
}
