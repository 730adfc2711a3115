//! A structural schema as the facts that patches and server-side apply go by.

use super::structure::{Additional, Kind, Structure};
use meta::schema::{Arena, Field, Node, ObjectNode, PatchStrategy, Schema, SchemaKind, StringForm, Written};
use std::sync::Arc;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The schema of a resource. Its `metadata` is that of every object.
pub fn schema(structure: &Structure) -> Schema {
    let mut arena = Arena::default();
    let root = node(&mut arena, structure, Some("metadata"));
    let at = arena.push(root);
    arena.settle();
    Schema::new(Arc::new(arena), at)
}

fn push(arena: &mut Arena, structure: &Structure) -> u32 {
    let made = node(arena, structure, None);
    arena.push(made)
}

fn node(arena: &mut Arena, structure: &Structure, metadata: Option<&str>) -> Node {
    let kind = match structure.kind {
        Kind::Object => object(arena, structure, metadata),
        Kind::Array => {
            let items = structure.items.as_deref().map(|items| push(arena, items));
            SchemaKind::Array {
                items: items.unwrap_or_else(|| arena.push(Node::default())),
                list: structure.list.clone(),
                patch: PatchStrategy::Replace,
            }
        }
        Kind::String => SchemaKind::String(StringForm::Plain),
        Kind::Integer => SchemaKind::Integer { bits: 64 },
        Kind::Number => SchemaKind::Number,
        Kind::Boolean => SchemaKind::Bool,
        Kind::IntOrString => SchemaKind::IntOrString,
        // Nothing is known of the fields of such a value: who writes one owns that one.
        Kind::Any if structure.preserve_unknown && metadata.is_none() => return untyped(arena, structure),
        Kind::Any => object(arena, structure, metadata),
    };
    Node {
        kind,
        default: structure.default.clone(),
        nullable: structure.nullable,
    }
}

fn untyped(arena: &mut Arena, structure: &Structure) -> Node {
    let kind = match structure.properties.is_empty() {
        true => SchemaKind::Object(ObjectNode {
            preserve_unknown: true,
            ..ObjectNode::default()
        }),
        false => object(arena, structure, None),
    };
    Node {
        kind,
        default: structure.default.clone(),
        nullable: structure.nullable,
    }
}

fn object(arena: &mut Arena, structure: &Structure, metadata: Option<&str>) -> SchemaKind {
    let declared = !structure.properties.is_empty() || metadata.is_some() || structure.embedded;
    if let (Additional::Each(each), false) = (&structure.additional, declared) {
        let values = push(arena, each);
        return SchemaKind::Map {
            values,
            atomic: structure.atomic_map,
        };
    }
    let mut fields: Vec<Field> = structure
        .properties
        .iter()
        .map(|(name, property)| field(name, push(arena, property)))
        .collect();
    if metadata.is_some() || structure.embedded {
        add_type_and_metadata(arena, &mut fields);
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    SchemaKind::Object(ObjectNode {
        fields,
        atomic: structure.atomic_map,
        preserve_unknown: structure.preserve_unknown || matches!(structure.additional, Additional::Anything),
        ..ObjectNode::default()
    })
}

/// The fields that every object has, in the words of the built-in types where the schema says less.
fn add_type_and_metadata(arena: &mut Arena, fields: &mut Vec<Field>) {
    fields.retain(|f| !matches!(&*f.name, "apiVersion" | "kind" | "metadata"));
    for name in ["apiVersion", "kind"] {
        let node = arena.push(Node {
            kind: SchemaKind::String(StringForm::Plain),
            ..Node::default()
        });
        fields.push(field(name, node));
    }
    let builtin = crate::schema::arena();
    if let Some(known) = Schema::of(builtin, OBJECT_META) {
        let node = arena.graft(builtin, known.node_id());
        fields.push(field("metadata", node));
    }
}

fn field(name: &str, node: u32) -> Field {
    Field {
        name: name.into(),
        node,
        required: false,
        written: Written::Given,
        inline: None,
    }
}
