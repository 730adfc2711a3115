//! Structural schemas: the `openAPIV3Schema` of a version as a tree that pruning, defaulting and validation walk.
//! Source: KEP-693 and the API reference of `JSONSchemaProps`. The tree was validated when the definition was made, so that
//! what does not fit is left out here, not told of.

use super::validate::Checks;
use meta::schema::ListType;
use serde_json::{Map, Value};

/// One node of a schema. A node without a type says nothing of its values.
#[derive(Debug, Default)]
pub struct Structure {
    pub kind: Kind,
    pub nullable: bool,
    pub preserve_unknown: bool,
    /// A complete object inside another one: `apiVersion`, `kind` and `metadata` are those of every object.
    pub embedded: bool,
    pub default: Option<Value>,
    /// By name, in order.
    pub properties: Vec<(Box<str>, Structure)>,
    pub additional: Additional,
    pub items: Option<Box<Structure>>,
    pub list: ListType,
    pub atomic_map: bool,
    /// What values must be beyond their type; most nodes ask for nothing.
    pub checks: Option<Box<Checks>>,
}

/// `type`, or `x-kubernetes-int-or-string`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// `additionalProperties`.
#[derive(Debug, Default)]
pub enum Additional {
    /// Not said.
    #[default]
    Unsaid,
    Anything,
    Nothing,
    Each(Box<Structure>),
}

impl Kind {
    fn of(schema: &Map<String, Value>) -> Self {
        if flag(schema, "x-kubernetes-int-or-string") {
            return Self::IntOrString;
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => Self::Object,
            Some("array") => Self::Array,
            Some("string") => Self::String,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("boolean") => Self::Boolean,
            _ => Self::Any,
        }
    }

    /// As messages name it; empty for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }
}

impl Structure {
    /// Reads a `JSONSchemaProps`; how deep it may be was bounded when it was decoded.
    pub fn read(schema: &Value) -> Self {
        let Some(schema) = schema.as_object() else {
            return Self::default();
        };
        Self {
            kind: Kind::of(schema),
            nullable: flag(schema, "nullable"),
            preserve_unknown: flag(schema, "x-kubernetes-preserve-unknown-fields"),
            embedded: flag(schema, "x-kubernetes-embedded-resource"),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            properties: properties(schema),
            additional: additional(schema),
            items: schema.get("items").map(|items| Box::new(Self::read(items))),
            list: list_type(schema),
            atomic_map: schema.get("x-kubernetes-map-type").is_some_and(|t| t == "atomic"),
            checks: Checks::read(schema).map(Box::new),
        }
    }

    /// The schema of a resource as a whole: `apiVersion`, `kind` and `metadata` are no fields that it has to name.
    pub fn of_resource(schema: &Value) -> Self {
        Self {
            embedded: true,
            ..Self::read(schema)
        }
    }

    pub fn property(&self, name: &str) -> Option<&Self> {
        let at = self
            .properties
            .binary_search_by(|(own, _)| (**own).cmp(name))
            .ok()?;
        Some(&self.properties[at].1)
    }

    /// What describes the member of this name, be it declared or one of many.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match (self.property(name), &self.additional) {
            (Some(property), _) => Some(property),
            (None, Additional::Each(each)) => Some(each),
            (None, _) => None,
        }
    }
}

pub(super) fn flag(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn properties(schema: &Map<String, Value>) -> Vec<(Box<str>, Structure)> {
    let members = schema.get("properties").and_then(Value::as_object);
    let mut list: Vec<(Box<str>, Structure)> = members
        .into_iter()
        .flatten()
        .map(|(name, property)| (name.as_str().into(), Structure::read(property)))
        .collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

fn additional(schema: &Map<String, Value>) -> Additional {
    match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => Additional::Anything,
        Some(Value::Bool(false)) => Additional::Nothing,
        Some(each @ Value::Object(_)) => Additional::Each(Box::new(Structure::read(each))),
        _ => Additional::Unsaid,
    }
}

fn list_type(schema: &Map<String, Value>) -> ListType {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let keys = keys.into_iter().flatten().filter_map(Value::as_str);
            ListType::Map(keys.map(Into::into).collect())
        }
        _ => ListType::Atomic,
    }
}
