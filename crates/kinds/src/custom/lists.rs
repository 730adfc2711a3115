//! Lists that are sets or maps: nothing may be in them twice. Source: `x-kubernetes-list-type` in the API reference.

use super::structure::{Additional, Structure};
use meta::schema::ListType;
use meta::{Errors, Path};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What stands twice where it may stand once.
pub fn validate(structure: &Structure, at: &Path, value: &Value, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            for (name, member) in map {
                match (structure.property(name), &structure.additional) {
                    (Some(property), _) => validate(property, &at.child(name), member, errors),
                    (None, Additional::Each(each)) => validate(each, &at.key(name), member, errors),
                    (None, _) => {}
                }
            }
        }
        Value::Array(items) => {
            match &structure.list {
                ListType::Set => repeated(items.iter())
                    .into_iter()
                    .for_each(|i| errors.duplicate(&at.index(i), items[i].clone())),
                ListType::Map(keys) => keyed(keys, at, items, errors),
                ListType::Atomic => {}
            }
            if let Some(of) = structure.items.as_deref() {
                for (i, item) in items.iter().enumerate() {
                    validate(of, &at.index(i), item, errors);
                }
            }
        }
        _ => {}
    }
}

fn keyed(keys: &[Box<str>], at: &Path, items: &[Value], errors: &mut Errors) {
    let is_item = |item: &Value| item.is_object() || item.is_null();
    if let Some(i) = items.iter().position(|item| !is_item(item)) {
        let detail = "must be an object for an array of list-type map";
        return errors.invalid(&at.index(i), items[i].clone(), detail);
    }
    let named = |item: &Value| -> Value {
        let given = keys
            .iter()
            .filter_map(|k| Some((k.to_string(), item.get(&**k)?.clone())));
        Value::Object(given.collect::<Map<String, Value>>())
    };
    let names: Vec<Value> = items.iter().map(named).collect();
    for i in repeated(names.iter()) {
        let shown = if names[i].as_object().is_some_and(Map::is_empty) {
            json!({})
        } else {
            names[i].clone()
        };
        errors.duplicate(&at.index(i), shown);
    }
}

/// Where values stand for the second time; a third time is not told of.
fn repeated<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut second = Vec::new();
    for (i, value) in values.enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            second.push(i);
        }
    }
    second
}
