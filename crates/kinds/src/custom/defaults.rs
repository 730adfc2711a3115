//! Defaults of custom resources, wherever their schema names one: for what is missing and for nulls that may not be there.

use super::structure::{Additional, Structure};
use serde_json::Value;

/// Fills in defaults. Idempotent, since a default was checked to be complete when it was written down.
pub fn fill(value: &mut Value, structure: &Structure) {
    match value {
        Value::Object(map) => {
            for (name, property) in &structure.properties {
                let Some(default) = &property.default else {
                    continue;
                };
                let missing = map.get(&**name).is_none_or(|v| v.is_null() && !property.nullable);
                if missing {
                    map.insert(name.to_string(), default.clone());
                }
            }
            for (name, member) in map.iter_mut() {
                match (structure.property(name), &structure.additional) {
                    (Some(property), _) => fill(member, property),
                    (None, Additional::Each(each)) => fill_item(member, each),
                    (None, _) => {}
                }
            }
        }
        Value::Array(items) => {
            if let Some(of) = structure.items.as_deref() {
                items.iter_mut().for_each(|item| fill_item(item, of));
            }
        }
        _ => {}
    }
}

fn fill_item(item: &mut Value, of: &Structure) {
    if item.is_null() && !of.nullable {
        *item = of.default.clone().unwrap_or(Value::Null);
    }
    fill(item, of);
}
