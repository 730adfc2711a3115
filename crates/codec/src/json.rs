//! JSON into values. Depth is limited by serde_json (128), size by whoever reads the body.

use crate::{Decoded, MAX_REPORTED, Malformed};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;

/// Decodes one JSON document.
pub fn from_json(bytes: &[u8]) -> Result<Decoded, Malformed> {
    let duplicates = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let node = Node {
        duplicates: &duplicates,
        at: &At::Root,
    };
    let value = node
        .deserialize(&mut reader)
        .map_err(|e| Malformed(e.to_string()))?;
    reader.end().map_err(|e| Malformed(e.to_string()))?;
    Ok(Decoded {
        value,
        duplicates: duplicates.into_inner(),
    })
}

/// The place of a value; made into text only for a duplicate.
pub(crate) enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    /// A key of a map, where that is known to be one.
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Field(At::Root, name) | At::Key(At::Root, name) => f.write_str(name),
            At::Field(parent, name) | At::Key(parent, name) => write!(f, "{parent}.{name}"),
            At::Index(parent, i) => write!(f, "{parent}[{i}]"),
        }
    }
}

/// Decodes one value at one place.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub duplicates: &'a RefCell<Vec<String>>,
    pub at: &'a At<'a>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        match Number::from_f64(v) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(E::custom("a number is not finite")),
        }
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let at = At::Index(self.at, list.len());
            match seq.next_element_seed(Node { at: &at, ..self })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let at = At::Field(self.at, &key);
            let value = access.next_value_seed(Node { at: &at, ..self })?;
            if map.contains_key(&key) {
                let mut duplicates = self.duplicates.borrow_mut();
                if duplicates.len() < MAX_REPORTED {
                    duplicates.push(format!("duplicate field \"{at}\""));
                }
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_told_and_the_last_one_counts() {
        let out = from_json(br#"{"a":{"b":1,"b":2},"c":[{"d":1,"d":2}],"e":"x"}"#).expect("valid");
        assert_eq!(
            out.value,
            serde_json::json!({"a": {"b": 2}, "c": [{"d": 2}], "e": "x"})
        );
        assert_eq!(
            out.duplicates,
            ["duplicate field \"a.b\"", "duplicate field \"c[0].d\""]
        );
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        for bad in ["", "{", "{}x", "{'a':1}", "[1,]", "{\"a\":1e999}", deep.as_str()] {
            assert!(from_json(bad.as_bytes()).is_err(), "{bad:.20}");
        }
        assert!(from_json(b"\xff\xfe").is_err());
    }
}
