//! Whether two values mean the same: `apiequality.Semantic.DeepEqual` of upstream, for values that were brought into form.

use meta::Quantity;
use meta::schema::{Arena, Schema, SchemaKind};
use serde_json::Value;

/// `"512Mi"` and `"536870912"` are the same where the schema says that they are quantities.
pub fn same(schema: &Schema, a: &Value, b: &Value) -> bool {
    are_same(schema.arena(), schema.node_id(), a, b)
}

fn are_same(arena: &Arena, node: u32, a: &Value, b: &Value) -> bool {
    match (&arena.node(node).kind, a, b) {
        (SchemaKind::Quantity, Value::String(a), Value::String(b)) => {
            a == b || Quantity::parse(a).is_some_and(|a| Quantity::parse(b) == Some(a))
        }
        (SchemaKind::Object(object), Value::Object(a), Value::Object(b)) => {
            let member = |(name, a): (&String, &Value)| {
                let field = object.fields.iter().find(|f| *f.name == **name);
                b.get(name).is_some_and(|b| match field {
                    Some(field) => are_same(arena, field.node, a, b),
                    None => a == b,
                })
            };
            a.len() == b.len() && a.iter().all(member)
        }
        (SchemaKind::Map { values, .. }, Value::Object(a), Value::Object(b)) => {
            let member =
                |(name, a): (&String, &Value)| b.get(name).is_some_and(|b| are_same(arena, *values, a, b));
            a.len() == b.len() && a.iter().all(member)
        }
        (SchemaKind::Array { items, .. }, Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_same(arena, *items, a, b))
        }
        _ => a == b,
    }
}
