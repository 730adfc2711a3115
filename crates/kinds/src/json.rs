//! Short reads and writes of JSON objects whose types were checked before: what is absent, null or of another type
//! reads as empty, so rules never panic on what a client sent.

use serde_json::{Map, Value};

const NULL: &Value = &Value::Null;

/// The member, or null.
pub(crate) fn get<'a>(object: &'a Value, key: &str) -> &'a Value {
    object.get(key).unwrap_or(NULL)
}

/// The value at a JSON pointer, or null.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(NULL)
}

/// The member if it is there and not null.
pub(crate) fn some<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|v| !v.is_null())
}

pub(crate) fn has(object: &Value, key: &str) -> bool {
    some(object, key).is_some()
}

pub(crate) fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    get(object, key).as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn string<'a>(object: &'a Value, key: &str) -> &'a str {
    get(object, key).as_str().unwrap_or_default()
}

pub(crate) fn int(object: &Value, key: &str) -> Option<i64> {
    get(object, key).as_i64()
}

pub(crate) fn number(object: &Value, key: &str) -> i64 {
    int(object, key).unwrap_or(0)
}

pub(crate) fn flag(object: &Value, key: &str) -> Option<bool> {
    get(object, key).as_bool()
}

pub(crate) fn is_true(object: &Value, key: &str) -> bool {
    flag(object, key) == Some(true)
}

pub(crate) fn members<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    get(object, key).as_object().into_iter().flatten()
}

/// Members whose values are texts.
pub(crate) fn texts<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let map = object.get(key).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
}

/// A quantity, which a client may write as a text or a number.
pub(crate) fn quantity_text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// Sets a member that is absent or null. Zero values that mean nothing are gone when an object has been decoded.
pub(crate) fn put_default(object: &mut Value, key: &str, value: impl Into<Value>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_string(), value.into());
    }
}

/// Sets a whole number that is absent, null or 0, as Go's zero value is.
pub(crate) fn put_nonzero(object: &mut Value, key: &str, value: i64) {
    if number(object, key) == 0 {
        put(object, key, value);
    }
}

pub(crate) fn put(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_string(), value.into());
    }
}

pub(crate) fn take(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut()?.remove(key)
}

/// The member if it is an object (or list), to be changed.
pub(crate) fn child_mut<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    object.get_mut(key).filter(|v| !v.is_null())
}

/// The member as an object, made when it is absent or null. `None` when `object` is none itself.
pub(crate) fn ensure_object<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    put_default(object, key, Map::new());
    object.get_mut(key)
}

pub(crate) fn items_mut<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// Appends to a list, which is made when it is absent.
pub(crate) fn push(object: &mut Value, key: &str, item: Value) {
    put_default(object, key, Vec::<Value>::new());
    if let Some(list) = object.get_mut(key).and_then(Value::as_array_mut) {
        list.push(item);
    }
}
