//! Whether two values mean the same: `apiequality.Semantic.DeepEqual` of upstream, for values that were brought into form.

use meta::Quantity;
use meta::schema::{Arena, Schema, SchemaKind};
use serde_json::Value;

/// `"512Mi"` and `"536870912"` are the same where the schema says that they are quantities.
pub fn same(schema: &Schema, a: &Value, b: &Value) -> bool {
    are_same(schema.arena(), schema.node_id(), a, b)
}

fn are_same(arena: &Arena, node: u32, a: &Value, b: &Value) -> bool {
    let kind = &arena.node(node).kind;
    match (kind, a, b) {
        (SchemaKind::Quantity, Value::String(a), Value::String(b)) => {
            a == b || Quantity::parse(a).is_some_and(|a| Quantity::parse(b) == Some(a))
        }
        (SchemaKind::Object(_) | SchemaKind::Map { .. }, Value::Object(a), Value::Object(b)) => {
            let same = |name: &str, a: &Value, b: &Value| match member(kind, name) {
                Some(node) => are_same(arena, node, a, b),
                None => a == b,
            };
            let in_both = |(name, a): (&String, &Value)| b.get(name).is_some_and(|b| same(name, a, b));
            a.len() == b.len() && a.iter().all(in_both)
        }
        (SchemaKind::Array { items, .. }, Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_same(arena, *items, a, b))
        }
        _ => a == b,
    }
}

/// The node of a field or of a map's value.
fn member(kind: &SchemaKind, name: &str) -> Option<u32> {
    match kind {
        SchemaKind::Object(object) => {
            let found = object.fields.binary_search_by(|f| (*f.name).cmp(name));
            found.ok().map(|i| object.fields[i].node)
        }
        SchemaKind::Map { values, .. } => Some(*values),
        _ => None,
    }
}
