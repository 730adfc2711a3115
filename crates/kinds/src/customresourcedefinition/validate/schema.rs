//! A `JSONSchemaProps` read from its JSON in place, as upstream's decoder reads it: null is nothing, and what is of the
//! wrong type (the decoder refuses the most of it) is nothing too.

use serde_json::{Map, Value};
use std::sync::LazyLock;

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
static EMPTY_LIST: &[Value] = &[];

/// One node of a schema.
#[derive(Clone, Copy)]
pub(super) struct Schema<'a>(pub(super) &'a Map<String, Value>);

/// `items`: one schema for all, or one for each. Neither when it is none of both.
#[derive(Clone, Copy)]
pub(super) enum Items<'a> {
    One(Schema<'a>),
    Each(&'a [Value]),
    Neither,
}

/// `additionalProperties`, `additionalItems`.
#[derive(Clone, Copy)]
pub(super) enum Additional<'a> {
    Schema(Schema<'a>),
    Allowed(bool),
}

impl<'a> Schema<'a> {
    /// A schema in a list or map, where null is one that says nothing.
    pub(super) fn of(value: &'a Value) -> Self {
        Self(value.as_object().unwrap_or(&EMPTY))
    }

    /// What is there and not null.
    pub(super) fn given(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(self, field: &str) -> &'a str {
        self.given(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn given_text(self, field: &str) -> Option<&'a str> {
        self.given(field).and_then(Value::as_str)
    }

    pub(super) fn is(self, field: &str) -> bool {
        self.flag(field) == Some(true)
    }

    pub(super) fn flag(self, field: &str) -> Option<bool> {
        self.given(field).and_then(Value::as_bool)
    }

    pub(super) fn kind(self) -> &'a str {
        self.text("type")
    }

    pub(super) fn list(self, field: &str) -> &'a [Value] {
        self.given(field)
            .and_then(Value::as_array)
            .map_or(EMPTY_LIST, Vec::as_slice)
    }

    /// `allOf`, `anyOf`, `oneOf`.
    pub(super) fn schemas(self, field: &str) -> impl Iterator<Item = Schema<'a>> {
        self.list(field).iter().map(Schema::of)
    }

    /// `properties` and other schemas by name.
    pub(super) fn map(self, field: &str) -> &'a Map<String, Value> {
        self.given(field)
            .and_then(Value::as_object)
            .unwrap_or_else(|| &EMPTY)
    }

    pub(super) fn named(self, field: &str) -> impl Iterator<Item = (&'a str, Schema<'a>)> {
        self.map(field)
            .iter()
            .map(|(name, schema)| (name.as_str(), Schema::of(schema)))
    }

    pub(super) fn property(self, name: &str) -> Option<Schema<'a>> {
        self.map("properties").get(name).map(Schema::of)
    }

    /// `not`.
    pub(super) fn inner(self, field: &str) -> Option<Schema<'a>> {
        self.given(field).and_then(Value::as_object).map(Schema)
    }

    pub(super) fn items(self) -> Option<Items<'a>> {
        Some(match self.given("items")? {
            Value::Object(schema) => Items::One(Schema(schema)),
            Value::Array(schemas) => Items::Each(schemas),
            _ => Items::Neither,
        })
    }

    /// The schema of all items, if there is one.
    pub(super) fn item(self) -> Option<Schema<'a>> {
        match self.items() {
            Some(Items::One(schema)) => Some(schema),
            _ => None,
        }
    }

    pub(super) fn additional(self, field: &str) -> Option<Additional<'a>> {
        match self.given(field)? {
            Value::Object(schema) => Some(Additional::Schema(Schema(schema))),
            Value::Bool(allowed) => Some(Additional::Allowed(*allowed)),
            _ => None,
        }
    }

    pub(super) fn texts(self, field: &str) -> impl Iterator<Item = &'a str> {
        self.list(field)
            .iter()
            .map(|text| text.as_str().unwrap_or_default())
    }

    /// Whether this or a schema inside says so. Stops at the first that does.
    pub(super) fn any(self, says: &mut dyn FnMut(Schema<'a>) -> bool) -> bool {
        if says(self) {
            return true;
        }
        let in_items = match self.items() {
            Some(Items::One(schema)) => schema.any(says),
            Some(Items::Each(schemas)) => schemas.iter().any(|schema| Schema::of(schema).any(says)),
            Some(Items::Neither) | None => false,
        };
        let in_additional =
            |field: &str, says: &mut dyn FnMut(Schema<'a>) -> bool| match self.additional(field) {
                Some(Additional::Schema(schema)) => schema.any(says),
                Some(Additional::Allowed(_)) | None => false,
            };
        in_items
            || ["allOf", "anyOf", "oneOf"]
                .iter()
                .any(|field| self.schemas(field).any(|schema| schema.any(says)))
            || self.inner("not").is_some_and(|schema| schema.any(says))
            || self.named("properties").any(|(_, schema)| schema.any(says))
            || in_additional("additionalProperties", says)
            || self
                .named("patternProperties")
                .any(|(_, schema)| schema.any(says))
            || in_additional("additionalItems", says)
            || self.named("definitions").any(|(_, schema)| schema.any(says))
            || self
                .map("dependencies")
                .values()
                .filter_map(Value::as_object)
                .any(|schema| Schema(schema).any(says))
    }
}
