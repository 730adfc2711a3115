//! What is known of a value before it is there: its shape, its CEL type and the largest size it can have.
//! Built from a structural schema (JSON) or from a built-in type's schema. Source: apiserver `cel/common/schemas.go`.

use crate::escape::escape;
use crate::types::Type;
use meta::schema::{ListType, Schema, SchemaKind, StringForm};
use serde_json::Value as Json;
use std::sync::Arc;

/// The largest request that the server takes, which bounds what a value without limits of its own can be.
const MAX_REQUEST_BYTES: i64 = 3 * 1024 * 1024;
const MAX_DURATION_SIZE: i64 = 32;
const MAX_DATETIME_SIZE: i64 = 32;
const MIN_DURATION_SIZE: i64 = 3;
const DATE_SIZE: i64 = 12;
const MIN_DATETIME_SIZE: i64 = 21;
const MIN_STRING_SIZE: i64 = 2;
const MIN_BOOL_SIZE: i64 = 4;
const MIN_NUMBER_SIZE: i64 = 1;
/// Deeper schemas are dynamic from there on.
const MAX_DEPTH: u32 = 100;

/// The declaration of a value.
#[derive(Debug, Clone)]
pub struct Decl {
    pub(crate) shape: Shape,
    /// What expressions see; `None` when they cannot name it (data without a schema).
    pub(crate) kind: Option<Type>,
    pub(crate) nullable: bool,
    pub(crate) max_elements: i64,
    pub(crate) min_size: i64,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// Nothing is known: read as it is.
    Dyn,
    /// Kept as it is, for comparisons only.
    Unknown,
    IntOrString,
    Bool,
    Integer,
    Number,
    String,
    Bytes,
    Duration,
    Date,
    DateTime,
    List {
        items: Arc<Decl>,
        list: ListKind,
    },
    Map {
        values: Arc<Decl>,
    },
    Object(Vec<Field>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    Map(Vec<Box<str>>),
}

/// A field, by its name in JSON. The fields of an object are sorted by it.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub name: Box<str>,
    /// As expressions write it.
    pub ident: Option<Box<str>>,
    pub decl: Arc<Decl>,
}

impl Decl {
    /// Anything.
    pub fn dynamic() -> Self {
        Self::simple(Shape::Dyn, Some(Type::Dyn), 0, 1)
    }

    /// The declaration of a structural schema (the JSON of `JSONSchemaProps`). Objects in it get type names that begin
    /// with `name`; `root` is set for a complete object (with `apiVersion`, `kind` and `metadata`).
    pub fn from_json_schema(schema: &Json, name: &str, root: bool) -> Self {
        json_schema(schema, name, root, 0)
    }

    /// The declaration of a built-in type.
    pub fn from_schema(schema: &Schema, name: &str) -> Self {
        built_in(schema, name, &mut Vec::new())
    }

    /// An object with these fields, such as `request`.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Decl)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, decl)| (name.to_string(), decl, false))
            .collect();
        object(name, fields)
    }

    pub fn string() -> Self {
        Self::simple(
            Shape::String,
            Some(Type::String),
            MAX_REQUEST_BYTES - 2,
            MIN_STRING_SIZE,
        )
    }

    pub fn boolean() -> Self {
        Self::simple(Shape::Bool, Some(Type::Bool), 0, MIN_BOOL_SIZE)
    }

    pub fn integer() -> Self {
        Self::simple(Shape::Integer, Some(Type::Int), 0, MIN_NUMBER_SIZE)
    }

    pub fn number() -> Self {
        Self::simple(Shape::Number, Some(Type::Double), 0, MIN_NUMBER_SIZE)
    }

    /// A list with at most `max` items (as many as a request can hold when there is no limit).
    pub fn list(items: Decl, max: Option<i64>) -> Self {
        list(items, ListKind::Atomic, max)
    }

    /// A map from strings with at most `max` entries.
    pub fn map(values: Decl, max: Option<i64>) -> Self {
        let kind = values.kind.clone().map(|kind| Type::map(Type::String, kind));
        let max = max.map_or((MAX_REQUEST_BYTES - 2) / (values.min_size + 6), |max| max.max(0));
        Self::simple(
            Shape::Map {
                values: Arc::new(values),
            },
            kind,
            max,
            2,
        )
    }

    /// The type that expressions see, `dyn` if they cannot see into it.
    pub fn cel_type(&self) -> Type {
        self.kind.clone().unwrap_or(Type::Dyn)
    }

    /// Whether expressions can name the value at all.
    pub fn is_exposed(&self) -> bool {
        self.kind.is_some()
    }

    /// How few bytes of JSON the value can have: bounds how many of them a request can hold.
    pub fn min_serialized_size(&self) -> i64 {
        self.min_size
    }

    /// How often a rule can run at most whose value is found below a list or map without limit.
    pub fn max_cardinality(&self) -> u64 {
        (MAX_REQUEST_BYTES / (self.min_size + 1)).unsigned_abs()
    }

    pub(crate) fn nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    fn simple(shape: Shape, kind: Option<Type>, max_elements: i64, min_size: i64) -> Self {
        Self {
            shape,
            kind,
            nullable: false,
            max_elements,
            min_size,
        }
    }

    /// A declared field by its name in JSON.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        match &self.shape {
            Shape::Object(fields) => {
                let at = fields.binary_search_by(|field| (*field.name).cmp(name)).ok()?;
                fields.get(at)
            }
            _ => None,
        }
    }

    /// A declared field by the identifier that stands for it.
    pub(crate) fn field_with_ident(&self, ident: &str) -> Option<&Field> {
        let Shape::Object(fields) = &self.shape else {
            return None;
        };
        fields
            .iter()
            .find(|field| field.ident.as_deref() == Some(ident) && field.decl.kind.is_some())
    }

    /// A declared field as expressions name it; reserved words may stand for themselves.
    pub(crate) fn field_by_ident(&self, ident: &str) -> Option<&Field> {
        self.field_with_ident(ident).or_else(|| {
            let reserved = crate::escape::RESERVED.contains(&ident);
            reserved
                .then(|| self.field_with_ident(&format!("__{ident}__")))
                .flatten()
        })
    }
}

fn list(items: Decl, list: ListKind, max: Option<i64>) -> Decl {
    let kind = items.kind.clone().map(Type::list);
    let max = max.map_or((MAX_REQUEST_BYTES - 2) / (items.min_size + 1), |max| max.max(0));
    Decl::simple(
        Shape::List {
            items: Arc::new(items),
            list,
        },
        kind,
        max,
        2,
    )
}

/// Fields come with whether each must be there and has no default.
fn object(name: &str, fields: Vec<(String, Decl, bool)>) -> Decl {
    let mut min_size = 2;
    let mut all = Vec::with_capacity(fields.len());
    for (field, decl, needed) in fields {
        if needed && decl.kind.is_some() {
            min_size += field.len() as i64 + decl.min_size + 4;
        }
        let ident = escape(&field).map(|ident| ident.into());
        all.push(Field {
            name: field.into(),
            ident,
            decl: Arc::new(decl),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Decl::simple(Shape::Object(all), Some(Type::object(name)), 0, min_size)
}

fn json_schema(schema: &Json, name: &str, root: bool, depth: u32) -> Decl {
    let nullable = flag(schema, "nullable");
    shape_of(schema, name, root, depth).nullable(nullable)
}

fn flag(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool).unwrap_or(false)
}

fn limit(schema: &Json, name: &str) -> Option<i64> {
    schema.get(name).and_then(Json::as_i64)
}

fn shape_of(schema: &Json, name: &str, root: bool, depth: u32) -> Decl {
    if depth > MAX_DEPTH {
        return Decl::dynamic();
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        let max =
            limit(schema, "maxLength").map_or(MAX_REQUEST_BYTES - 2, |max| max.max(0).saturating_mul(4));
        return Decl::simple(Shape::IntOrString, Some(Type::Dyn), max, 1);
    }
    let embedded = |schema: &Json| flag(schema, "x-kubernetes-embedded-resource");
    match schema.get("type").and_then(Json::as_str).unwrap_or("") {
        "array" => match schema.get("items") {
            Some(items) => {
                let kind = match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
                    Some("set") => ListKind::Set,
                    Some("map") => ListKind::Map(strings(schema, "x-kubernetes-list-map-keys")),
                    _ => ListKind::Atomic,
                };
                let items = json_schema(items, &format!("{name}.@idx"), embedded(items), depth + 1);
                list(items, kind, limit(schema, "maxItems"))
            }
            None => Decl::simple(Shape::Unknown, None, 0, 1),
        },
        "object" => match schema
            .get("additionalProperties")
            .filter(|values| values.is_object())
        {
            Some(values) if !root => {
                let values = json_schema(values, &format!("{name}.@elem"), embedded(values), depth + 1);
                Decl::map(values, limit(schema, "maxProperties"))
            }
            _ => json_object(schema, name, root, depth),
        },
        "string" => string(schema),
        "boolean" => Decl::boolean(),
        "number" => Decl::number(),
        "integer" => Decl::integer(),
        _ => Decl::simple(Shape::Unknown, None, 0, 1),
    }
}

fn strings(schema: &Json, name: &str) -> Vec<Box<str>> {
    let values = schema.get(name).and_then(Json::as_array);
    values
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(Into::into)
        .collect()
}

fn says_type_and_name(schema: &Json) -> bool {
    let typed = |path: &str, kind: &str| schema.pointer(path).and_then(Json::as_str) == Some(kind);
    let metadata = "/properties/metadata/properties";
    typed("/properties/kind/type", "string")
        && typed("/properties/apiVersion/type", "string")
        && typed("/properties/metadata/type", "object")
        && typed(&format!("{metadata}/name/type"), "string")
        && typed(&format!("{metadata}/generateName/type"), "string")
}

fn json_object(schema: &Json, name: &str, root: bool, depth: u32) -> Decl {
    // A complete object has a kind and a name whatever its schema says, unless that says it itself.
    let root = root && !says_type_and_name(schema);
    let required = strings(schema, "required");
    let mut fields = Vec::new();
    for (field, property) in schema
        .get("properties")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
    {
        if root && matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let embedded = flag(property, "x-kubernetes-embedded-resource");
        let ident = escape(field).unwrap_or_default();
        let decl = json_schema(property, &format!("{name}.{ident}"), embedded, depth + 1);
        let needed = required.iter().any(|name| **name == **field)
            && property.get("default").is_none_or(Json::is_null);
        fields.push((field.clone(), decl, needed));
    }
    if root {
        let needed = |field: &str| required.iter().any(|name| **name == *field);
        let names = vec![
            ("name".to_string(), Decl::string(), false),
            ("generateName".to_string(), Decl::string(), false),
        ];
        for field in ["apiVersion", "kind"] {
            fields.push((field.to_string(), Decl::string(), needed(field)));
        }
        let metadata = object(&format!("{name}.metadata"), names);
        fields.push(("metadata".to_string(), metadata, needed("metadata")));
    }
    object(name, fields)
}

fn string(schema: &Json) -> Decl {
    let max_length = limit(schema, "maxLength");
    let free = MAX_REQUEST_BYTES - 2;
    match schema.get("format").and_then(Json::as_str).unwrap_or("") {
        "byte" => {
            let max = max_length.map_or(free, |max| max.max(0));
            Decl::simple(Shape::Bytes, Some(Type::Bytes), max, MIN_STRING_SIZE)
        }
        "duration" => Decl::simple(
            Shape::Duration,
            Some(Type::Duration),
            MAX_DURATION_SIZE,
            MIN_DURATION_SIZE,
        ),
        "date" => Decl::simple(Shape::Date, Some(Type::Timestamp), DATE_SIZE, DATE_SIZE),
        "date-time" => Decl::simple(
            Shape::DateTime,
            Some(Type::Timestamp),
            MAX_DATETIME_SIZE,
            MIN_DATETIME_SIZE,
        ),
        _ => {
            let values = schema
                .get("enum")
                .and_then(Json::as_array)
                .filter(|values| !values.is_empty());
            let max = match (max_length, values) {
                (Some(max), _) => max.max(0).saturating_mul(4),
                (None, Some(values)) => {
                    let lengths = values.iter().filter_map(Json::as_str).map(str::len);
                    lengths.max().unwrap_or(0) as i64
                }
                (None, None) => free,
            };
            Decl::simple(Shape::String, Some(Type::String), max, MIN_STRING_SIZE)
        }
    }
}

/// `within` are the nodes around this one: a type that holds itself is dynamic where it does.
fn built_in(schema: &Schema, name: &str, within: &mut Vec<u32>) -> Decl {
    if within.contains(&schema.node_id()) {
        return Decl::dynamic();
    }
    within.push(schema.node_id());
    let decl = match schema.kind() {
        SchemaKind::Any => Decl::dynamic(),
        SchemaKind::Bool => Decl::boolean(),
        SchemaKind::Integer { .. } => Decl::integer(),
        SchemaKind::Number => Decl::number(),
        SchemaKind::IntOrString => {
            Decl::simple(Shape::IntOrString, Some(Type::Dyn), MAX_REQUEST_BYTES - 2, 1)
        }
        SchemaKind::Quantity => Decl::string(),
        SchemaKind::String(form) => match form {
            StringForm::Plain => Decl::string(),
            StringForm::Bytes => Decl::simple(
                Shape::Bytes,
                Some(Type::Bytes),
                MAX_REQUEST_BYTES - 2,
                MIN_STRING_SIZE,
            ),
            StringForm::Time | StringForm::MicroTime => Decl::simple(
                Shape::DateTime,
                Some(Type::Timestamp),
                MAX_DATETIME_SIZE,
                MIN_DATETIME_SIZE,
            ),
        },
        SchemaKind::Array { list: kind, .. } => {
            let items = schema.items().unwrap_or_else(Schema::any);
            let kind = match kind {
                ListType::Atomic => ListKind::Atomic,
                ListType::Set => ListKind::Set,
                ListType::Map(keys) => ListKind::Map(keys.clone()),
            };
            list(built_in(&items, &format!("{name}.@idx"), within), kind, None)
        }
        SchemaKind::Map { .. } => {
            let values = schema.values().unwrap_or_else(Schema::any);
            Decl::map(built_in(&values, &format!("{name}.@elem"), within), None)
        }
        SchemaKind::Object(node) => {
            let mut field = |field: &meta::schema::Field| {
                let inner = schema.field(&field.name).unwrap_or_else(Schema::any);
                let ident = escape(&field.name).unwrap_or_default();
                let decl = built_in(&inner, &format!("{name}.{ident}"), within);
                (field.name.to_string(), decl, field.required)
            };
            object(name, node.fields.iter().map(&mut field).collect())
        }
    };
    within.pop();
    decl.nullable(schema.nullable())
}
