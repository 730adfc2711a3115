//! What Go's encoder writes whether it was given or not (structs, and fields without `omitempty`), and the empty lists
//! and maps that it leaves out. As upstream stores protobuf, lists without content are read back as null.

use meta::schema::{Arena, Field, Schema, SchemaKind, StringForm, Written};
use serde_json::{Map, Value};

/// Brings an object into the form in which typed code would write it: `"resources": {}` of a container and
/// `"replicas": 0` of a status are there, `"labels": {}` is not.
pub fn complete(schema: &Schema, value: &mut Value) {
    fill(schema.arena(), schema.node_id(), value, Empty::Goes);
}

/// As `complete`, but for lists and maps without content: they stay as they were sent.
pub fn complete_as_sent(schema: &Schema, value: &mut Value) {
    fill(schema.arena(), schema.node_id(), value, Empty::Stays);
}

/// What becomes of lists and maps without content.
#[derive(Clone, Copy, PartialEq)]
enum Empty {
    Goes,
    Stays,
}

fn fill(arena: &Arena, node: u32, value: &mut Value, what: Empty) {
    match (&arena.node(node).kind, value) {
        (SchemaKind::Object(object), Value::Object(map)) => {
            map.retain(|name, member| {
                if is_scalar(member) {
                    return true;
                }
                let found = object.fields.binary_search_by(|f| (*f.name).cmp(name.as_str()));
                found.map_or(true, |i| member_stays(arena, &object.fields[i], member, what))
            });
            for field in object.constant.iter().map(|i| &object.fields[*i as usize]) {
                if !map.contains_key(&*field.name) {
                    map.insert(field.name.to_string(), zero(arena, field));
                }
            }
        }
        (SchemaKind::Array { items, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|item| fill(arena, *items, item, what));
        }
        (SchemaKind::Map { values, .. }, Value::Object(map)) => {
            map.values_mut()
                .for_each(|member| fill(arena, *values, member, what));
        }
        _ => {}
    }
}

/// Fills in a member that is a list or an object. False when nothing of it is written.
fn member_stays(arena: &Arena, field: &Field, member: &mut Value, what: Empty) -> bool {
    let goes = what == Empty::Goes;
    let empty = match (&arena.node(field.node).kind, &*member) {
        (SchemaKind::Array { .. }, Value::Array(list)) => list.is_empty(),
        (SchemaKind::Map { .. }, Value::Object(map)) => map.is_empty(),
        _ => false,
    };
    match field.written {
        Written::Nonzero if empty && goes => return false,
        Written::Always if empty && goes => *member = Value::Null,
        _ => fill(arena, field.node, member, what),
    }
    true
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// How the zero value of a field is written: lists, maps and times without content are null.
fn zero(arena: &Arena, field: &Field) -> Value {
    if field.written == Written::OrNull {
        return Value::Null;
    }
    match &arena.node(field.node).kind {
        SchemaKind::Bool => false.into(),
        SchemaKind::Integer { .. } | SchemaKind::Number | SchemaKind::IntOrString => 0.into(),
        SchemaKind::Quantity => "0".into(),
        SchemaKind::String(StringForm::Plain) => "".into(),
        SchemaKind::Object(_) => {
            let mut value = Value::Object(Map::new());
            fill(arena, field.node, &mut value, Empty::Goes);
            value
        }
        SchemaKind::Any | SchemaKind::String(_) | SchemaKind::Array { .. } | SchemaKind::Map { .. } => {
            Value::Null
        }
    }
}
