//! The schemas of all built-in kinds: shapes from the API's registry package (see build.rs), list keys and patch
//! strategies from `facts`.

use crate::facts::{FACTS, KEY_DEFAULTS};
use meta::schema::{
    Arena, Field, ListType, Node, ObjectNode, PatchStrategy, SchemaKind, StringForm, Written,
};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, OnceLock};

/// Definitions by name, without descriptions; written by build.rs.
static SHAPES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shapes.json"));
static DOCUMENTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/documents.json.gz"));

/// The arena that all built-in kinds share.
pub fn arena() -> &'static Arc<Arena> {
    static ARENA: OnceLock<Arc<Arena>> = OnceLock::new();
    ARENA.get_or_init(|| Arc::new(build()))
}

/// All definitions as JSON Schema with descriptions, for OpenAPI: one JSON object, by type name. Unpacked at each call (a
/// few milliseconds): the caller keeps what it derives from them.
pub fn documents() -> std::io::Result<Vec<u8>> {
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(DOCUMENTS).read_to_end(&mut json)?;
    Ok(json)
}

/// What the documents say of fields (`core.v1.PodStatus`, `podIP`); fields without a description are left out.
pub fn descriptions<'a>(fields: &[(&'a str, &'a str)]) -> HashMap<(&'a str, &'a str), String> {
    #[derive(Default, serde::Deserialize)]
    struct Said {
        #[serde(default)]
        description: String,
    }
    #[derive(serde::Deserialize)]
    struct Type {
        #[serde(default)]
        properties: HashMap<String, Said>,
    }
    // Written by our own build script; a test looks for every column's description.
    let json = documents().unwrap_or_default();
    let types: HashMap<String, Type> = serde_json::from_slice(&json).unwrap_or_default();
    let said = |(kind, field): &(&str, &str)| {
        let prefixes = ["io.k8s.api", "io.k8s.apimachinery.pkg.apis"];
        let found = prefixes.iter().find_map(|p| types.get(&format!("{p}.{kind}")))?;
        Some(found.properties.get(*field)?.description.clone())
    };
    fields.iter().filter_map(|key| Some((*key, said(key)?))).collect()
}

/// The packed form of `documents`: different bytes, different documents.
pub fn packed_documents() -> &'static [u8] {
    DOCUMENTS
}

/// The facts about one field, as `facts` writes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldFacts {
    pub list: ListType,
    pub patch: PatchStrategy,
    pub retain_keys: bool,
    pub atomic: bool,
}

/// Facts of a type's field (`*`: of the type itself); `type_name` in full.
pub fn facts(type_name: &str, field: &str) -> FieldFacts {
    static TABLE: OnceLock<HashMap<(&str, &str), FieldFacts>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let lines = FACTS
            .iter()
            .flat_map(|(name, line)| line.split("; ").map(move |part| (*name, part)));
        lines
            .filter_map(|(name, part)| {
                Some((
                    (name, part.split_once(' ')?.0),
                    parse_facts(part.split_once(' ')?.1),
                ))
            })
            .collect()
    });
    table.get(&(short(type_name), field)).cloned().unwrap_or_default()
}

fn short(type_name: &str) -> &str {
    type_name
        .strip_prefix("io.k8s.api.")
        .or_else(|| type_name.strip_prefix("io.k8s."))
        .unwrap_or(type_name)
}

fn parse_facts(rules: &str) -> FieldFacts {
    let mut out = FieldFacts::default();
    for rule in rules.split(' ') {
        match rule.split_once('=') {
            Some(("map", keys)) => out.list = ListType::Map(keys.split(',').map(Into::into).collect()),
            Some(("merge", key)) => out.patch = PatchStrategy::MergeByKey(key.into()),
            _ if rule == "set" => out.list = ListType::Set,
            _ if rule == "merge" => out.patch = PatchStrategy::MergeScalars,
            _ if rule == "retain" => out.retain_keys = true,
            _ if rule == "atomic" => out.atomic = true,
            _ => debug_assert!(false, "unknown fact {rule}"),
        }
    }
    out
}

fn build() -> Arena {
    let mut arena = Arena::default();
    // The table was written by our own build script; an empty arena would fail every test of a room.
    let shapes: Map<String, Value> = serde_json::from_slice(SHAPES).unwrap_or_default();
    for (name, shape) in &shapes {
        let node = arena.declare(name);
        let built = definition(&mut arena, name, shape);
        arena.set(node, built);
    }
    arena.settle();
    arena
}

/// A named type.
fn definition(arena: &mut Arena, name: &str, shape: &Value) -> Node {
    let kind = match name.rsplit('.').next() {
        Some("Quantity") => SchemaKind::Quantity,
        Some("IntOrString") => SchemaKind::IntOrString,
        Some("Time") => SchemaKind::String(StringForm::Time),
        Some("MicroTime") => SchemaKind::String(StringForm::MicroTime),
        _ => return shape_node(arena, name, &FieldFacts::default(), shape),
    };
    Node {
        kind,
        ..Node::default()
    }
}

/// The node of a shape; `owner` names the type that it belongs to, `facts` those of the field that holds it.
fn shape_node(arena: &mut Arena, owner: &str, facts: &FieldFacts, shape: &Value) -> Node {
    let kind = match shape.get("type").and_then(Value::as_str) {
        Some("boolean") => SchemaKind::Bool,
        Some("integer") => SchemaKind::Integer {
            bits: if shape.get("format").and_then(Value::as_str) == Some("int32") {
                32
            } else {
                64
            },
        },
        Some("number") => SchemaKind::Number,
        Some("string") => SchemaKind::String(match shape.get("format").and_then(Value::as_str) {
            Some("byte") => StringForm::Bytes,
            Some("date-time") => StringForm::Time,
            _ => StringForm::Plain,
        }),
        Some("array") => {
            let items = child(
                arena,
                owner,
                &FieldFacts::default(),
                shape.get("items").unwrap_or(&Value::Null),
            );
            SchemaKind::Array {
                items,
                list: facts.list.clone(),
                patch: facts.patch.clone(),
            }
        }
        Some("object") => return object_node(arena, owner, facts, shape),
        _ => SchemaKind::Any,
    };
    Node {
        kind,
        ..Node::default()
    }
}

fn object_node(arena: &mut Arena, owner: &str, facts: &FieldFacts, shape: &Value) -> Node {
    let kind = if let Some(Value::Object(properties)) = shape.get("properties") {
        let required: Vec<&str> = shape
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let written = crate::wire::written(owner);
        let mut fields: Vec<Field> = properties
            .iter()
            .map(|(name, property)| {
                let own = self::facts(owner, name);
                let node = child(arena, owner, &own, property);
                let (written, inline) = written.get(name.as_str()).copied().unwrap_or_default();
                Field {
                    name: name.as_str().into(),
                    node: with_default(arena, owner, name, node),
                    required: required.contains(&name.as_str()),
                    written: match name.as_str() {
                        // The one field with `omitzero`.
                        "creationTimestamp" => Written::Given,
                        _ => written,
                    },
                    inline: inline.map(Into::into),
                }
            })
            .collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        SchemaKind::Object(ObjectNode {
            fields,
            atomic: self::facts(owner, "*").atomic,
            ..ObjectNode::default()
        })
    } else if let Some(values) = shape.get("additionalProperties") {
        let values = child(arena, owner, &FieldFacts::default(), values);
        SchemaKind::Map {
            values,
            atomic: facts.atomic,
        }
    } else {
        SchemaKind::Any
    };
    Node {
        kind,
        ..Node::default()
    }
}

/// The node of a part: a reference to a named type, or a shape in place.
fn child(arena: &mut Arena, owner: &str, facts: &FieldFacts, shape: &Value) -> u32 {
    let reference = shape.get("$ref").and_then(Value::as_str);
    let reference = reference.or_else(|| shape.pointer("/allOf/0/$ref").and_then(Value::as_str));
    match reference.and_then(|r| r.rsplit('/').next()) {
        Some(name) => arena.declare(name),
        None => {
            let node = shape_node(arena, owner, facts, shape);
            arena.push(node)
        }
    }
}

/// Gives a list key its default; a copy of the node, since scalars are not shared types.
fn with_default(arena: &mut Arena, owner: &str, field: &str, node: u32) -> u32 {
    match KEY_DEFAULTS
        .iter()
        .find(|(t, f, _)| *t == short(owner) && *f == field)
    {
        None => node,
        Some((_, _, value)) => {
            let with = Node {
                default: Some((*value).into()),
                ..arena.node(node).clone()
            };
            arena.push(with)
        }
    }
}

/// Whether two values of a type (`storage.v1.CSIDriverSpec`) are the same when they are stored.
pub(crate) fn same(type_name: &str, one: &Value, other: &Value) -> bool {
    let Some(schema) = meta::schema::Schema::of(arena(), &format!("io.k8s.api.{type_name}")) else {
        return one == other;
    };
    let stored = |value: &Value| {
        let mut value = value.clone();
        codec::strict::complete(&schema, &mut value);
        value
    };
    one == other || stored(one) == stored(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::schema::Schema;

    #[test]
    fn every_row_has_a_schema_and_every_fact_names_a_field() {
        for row in crate::rows() {
            assert!(
                Schema::of(arena(), row.type_name).is_some(),
                "{} has no schema",
                row.type_name
            );
        }
        for (name, line) in FACTS {
            let full = [format!("io.k8s.api.{name}"), format!("io.k8s.{name}")];
            let Some(schema) = full.iter().find_map(|f| Schema::of(arena(), f)) else {
                panic!("facts name {name}, which no schema has");
            };
            for field in line
                .split("; ")
                .filter_map(|p| p.split(' ').next())
                .filter(|f| *f != "*")
            {
                assert!(
                    schema.field(field).is_some(),
                    "facts name {name}.{field}, which its schema does not have"
                );
            }
        }
    }

    #[test]
    fn lists_know_their_keys() {
        let pod = Schema::of(arena(), "io.k8s.api.core.v1.Pod").expect("pods have a schema");
        let containers = pod
            .field("spec")
            .and_then(|s| s.field("containers"))
            .expect("declared");
        let ports = containers
            .items()
            .and_then(|c| c.field("ports"))
            .expect("declared");
        let SchemaKind::Array { list, patch, .. } = ports.kind() else {
            panic!("ports is a list")
        };
        assert_eq!(
            *list,
            ListType::Map(vec!["containerPort".into(), "protocol".into()])
        );
        assert_eq!(*patch, PatchStrategy::MergeByKey("containerPort".into()));
        let protocol = ports.items().and_then(|p| p.field("protocol")).expect("declared");
        assert_eq!(protocol.default_value(), Some(&"TCP".into()));
    }
}
