//! What a strict decoder says of a JSON text: unknown and duplicate fields, in the order in which they stand there.

use crate::MAX_REPORTED;
use crate::json::At;
use meta::schema::{Arena, Schema, SchemaKind};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// `unknown field "spec.foo"`, `duplicate field "spec.bar"`, … each once. Values that no schema describes are not looked
/// into, as Go's decoder leaves raw ones alone. The text was decoded before, so that it ends well.
pub fn complaints(schema: &Schema, json: &[u8]) -> Vec<String> {
    let found = RefCell::new(Vec::new());
    let seat = Seat {
        arena: schema.arena(),
        node: schema.node_id(),
        at: &At::Root,
        found: &found,
    };
    let mut reader = serde_json::Deserializer::from_slice(json);
    if let Err(why) = seat.deserialize(&mut reader) {
        debug_assert!(false, "the text was decoded before: {why}");
    }
    found.into_inner()
}

/// One value at one place.
#[derive(Clone, Copy)]
struct Seat<'a> {
    arena: &'a Arena,
    node: u32,
    at: &'a At<'a>,
    found: &'a RefCell<Vec<String>>,
}

impl Seat<'_> {
    fn report(&self, what: &str, at: &At) {
        let mut found = self.found.borrow_mut();
        let text = format!("{what} field \"{at}\"");
        if found.len() < MAX_REPORTED && !found.contains(&text) {
            found.push(text);
        }
    }

    /// The node of a member, or that it is not looked into.
    fn member(&self, key: &str, at: &At) -> Option<u32> {
        match &self.arena.node(self.node).kind {
            SchemaKind::Map { values, .. } => Some(*values),
            SchemaKind::Object(object) => {
                let found = object.fields.binary_search_by(|f| (*f.name).cmp(key));
                match found {
                    Ok(i) => Some(object.fields[i].node),
                    Err(_) if object.preserve_unknown || object.embedded => None,
                    Err(_) => {
                        self.report("unknown", at);
                        None
                    }
                }
            }
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match &self.arena.node(self.node).kind {
            SchemaKind::Array { .. } | SchemaKind::Map { .. } | SchemaKind::Object(_) => {
                deserializer.deserialize_any(self)
            }
            _ => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
        }
    }
}

impl<'de> Visitor<'de> for Seat<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    /// In the place of a list or a map; any other scalar was refused before.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let SchemaKind::Array { items, .. } = &self.arena.node(self.node).kind else {
            return IgnoredAny.visit_seq(seq).map(drop);
        };
        let mut index = 0;
        loop {
            let at = At::Index(self.at, index);
            let item = Seat {
                node: *items,
                at: &at,
                ..self
            };
            if seq.next_element_seed(item)?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let at = At::Field(self.at, &key);
            match self.member(&key, &at) {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(node) => {
                    if seen.contains(&key) {
                        self.report("duplicate", &at);
                    }
                    map.next_value_seed(Seat {
                        node,
                        at: &at,
                        ..self
                    })?;
                    seen.insert(key);
                }
            }
        }
        Ok(())
    }
}
