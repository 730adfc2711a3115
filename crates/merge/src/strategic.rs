//! Strategic merge patch: a merge patch that merges lists by key or as sets where the schema says so,
//! with directives for deleting, replacing and ordering. The rules are apimachinery's, quirks included.

mod lists;

use crate::value::{go_type, go_value};
use meta::schema::{Arena, PatchStrategy, Schema, SchemaKind};
use serde_json::{Map, Value};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const ORDER: &str = "$setElementOrder";

/// Why a patch was refused. The variant decides the HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategicError {
    /// 400 BadRequest: a directive is malformed.
    #[error("{0}")]
    BadDirective(&'static str),
    /// 422 Invalid with [`crate::REJECTED`].
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// The patch does not fit the object. Upstream answers 500 without a reason; 400 says the same to clients.
    #[error("{0}")]
    Mismatch(String),
}

use StrategicError::{BadDirective, Mismatch};

const BAD_DELETE_LIST: StrategicError = BadDirective("invalid patch format of primitive list");
const BAD_RETAIN_KEYS: StrategicError = BadDirective("invalid patch format of retainKeys");
const BAD_ORDER: StrategicError = BadDirective("invalid patch format of setElementOrder list");

/// Merges `patch` into `doc`; on an error nothing of `doc` may be used. A kind without patch facts
/// (a custom resource) takes no such patch: the caller answers 415.
///
/// # Errors
/// See [`StrategicError`].
pub fn apply(doc: &mut Value, patch: Value, schema: &Schema) -> Result<(), StrategicError> {
    let Value::Object(patch) = patch else {
        return Err(BadDirective("invalid JSON document"));
    };
    let original = match std::mem::take(doc) {
        Value::Object(original) => original,
        _ => Map::new(),
    };
    *doc = Value::Object(merge_map(original, patch, Facts::root(schema))?);
    Ok(())
}

/// The schema at a place, as far as this kind of patch asks. Without a schema, maps merge and lists are replaced.
#[derive(Clone, Copy)]
struct Facts<'s> {
    arena: &'s Arena,
    node: Option<u32>,
}

impl<'s> Facts<'s> {
    fn root(schema: &'s Schema) -> Self {
        Facts {
            arena: schema.arena(),
            node: Some(schema.node_id()),
        }
    }

    fn kind(self) -> Option<&'s SchemaKind> {
        self.node.map(|n| &self.arena.node(n).kind)
    }

    fn field(self, name: &str) -> Self {
        let node = match self.kind() {
            Some(SchemaKind::Map { values, .. }) => Some(*values),
            Some(SchemaKind::Object(object)) => object
                .fields
                .binary_search_by(|f| (*f.name).cmp(name))
                .ok()
                .map(|i| object.fields[i].node),
            _ => None,
        };
        Facts { node, ..self }
    }

    fn items(self) -> Self {
        let node = match self.kind() {
            Some(SchemaKind::Array { items, .. }) => Some(*items),
            _ => None,
        };
        Facts { node, ..self }
    }

    fn strategy(self) -> &'s PatchStrategy {
        match self.kind() {
            Some(SchemaKind::Array { patch, .. }) => patch,
            _ => &PatchStrategy::Replace,
        }
    }
}

fn merge_map(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    facts: Facts<'_>,
) -> Result<Map<String, Value>, StrategicError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            _ => Err(unknown_directive(&directive, patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    lists::merge_ordered(&mut original, &mut patch, facts)?;
    for (key, value) in patch {
        match key.strip_prefix(DELETE_FROM) {
            Some(rest) => {
                let field = rest.strip_prefix('/').ok_or(BAD_DELETE_LIST)?;
                delete_from(&mut original, field, &value)?;
            }
            None => merge_field(&mut original, key, value, facts)?,
        }
    }
    Ok(original)
}

fn merge_field(
    original: &mut Map<String, Value>,
    key: String,
    value: Value,
    facts: Facts<'_>,
) -> Result<(), StrategicError> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    let field = facts.field(&key);
    let merged = match (original.get_mut(&key).map(std::mem::take), value) {
        (Some(Value::Object(present)), Value::Object(patch)) => {
            Some(Value::Object(merge_map(present, patch, field)?))
        }
        (Some(Value::Array(present)), Value::Array(patch)) => {
            Some(Value::Array(lists::merge(present, patch, field)?))
        }
        (_, value) => plain(value),
    };
    match merged {
        Some(value) => original.insert(key, value),
        None => original.remove(&key),
    };
    Ok(())
}

/// A patch value that meets nothing: without its nulls and without maps that hold a directive.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let kept = map
                .into_iter()
                .filter(|(key, value)| !value.is_null() && !is_list_directive(key));
            Some(Value::Object(
                kept.filter_map(|(key, value)| Some((key, plain(value)?)))
                    .collect(),
            ))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(plain).collect())),
        other => Some(other),
    }
}

fn is_list_directive(key: &str) -> bool {
    key.starts_with('$') && (key == RETAIN_KEYS || key.starts_with(ORDER) || key.starts_with(DELETE_FROM))
}

fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), StrategicError> {
    let Some(retained) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let retained = retained.as_array().ok_or(BAD_RETAIN_KEYS)?;
    let retained: std::collections::HashSet<&str> = retained.iter().filter_map(Value::as_str).collect();
    let names_all = patch.iter().all(|(key, value)| {
        value.is_null()
            || key.starts_with(DELETE_FROM)
            || key.starts_with(ORDER)
            || retained.contains(key.as_str())
    });
    if !names_all {
        return Err(BAD_RETAIN_KEYS);
    }
    original.retain(|key, _| retained.contains(key.as_str()));
    Ok(())
}

fn delete_from(
    original: &mut Map<String, Value>,
    field: &str,
    deleted: &Value,
) -> Result<(), StrategicError> {
    if deleted.is_null() {
        original.remove(field);
        return Ok(());
    }
    if let (Some(Value::Array(items)), Value::Array(deleted)) = (original.get_mut(field), deleted) {
        lists::check_types(items, deleted)?;
        let deleted: std::collections::HashSet<String> = deleted.iter().map(Value::to_string).collect();
        items.retain(|item| !deleted.contains(&item.to_string()));
    }
    Ok(())
}

fn unknown_directive(directive: &Value, mut map: Map<String, Value>) -> StrategicError {
    let named = go_value(directive);
    map.insert(DIRECTIVE.into(), directive.clone());
    Mismatch(format!(
        "unknown patch type: {named} in map: {}",
        go_value(&Value::Object(map))
    ))
}

fn no_merge_key(map: &Map<String, Value>, key: &str) -> StrategicError {
    Mismatch(format!(
        "map: {} does not contain declared merge key: {key}",
        go_value(&Value::Object(map.clone()))
    ))
}

fn wrong_type(expected: &str, actual: &Value) -> StrategicError {
    Mismatch(format!(
        "expected a {expected}, but received a {}",
        go_type(actual)
    ))
}

#[cfg(test)]
#[path = "strategic_tests.rs"]
mod tests;
