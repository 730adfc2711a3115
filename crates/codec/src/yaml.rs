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
    };
    let document: Document = serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        Malformed(format!(
            "error converting YAML to JSON: yaml: {}",
            one_line(&e.to_string())
        ))
    })?;
    Ok(Decoded {
        value: document.0,
        duplicates: Vec::new(),
    })
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
