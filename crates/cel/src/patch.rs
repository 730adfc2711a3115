//! The objects that mutations make: `JSONPatch{op: …}` and `Object{spec: Object.spec{…}}`.

use crate::env::{JSON_PATCH, OBJECT};
use crate::value::{Outcome, Struct, Value, fail};
use std::sync::Arc;

/// An object of a type with fields. A patch must have texts where texts are due.
pub(crate) fn make<'a>(object: Struct<'a>) -> Outcome<Value<'a>> {
    if &*object.name == JSON_PATCH {
        for (field, value) in &object.fields {
            match &**field {
                "op" | "path" | "from" if value.as_str().is_none() => {
                    let kind = value.kind();
                    return fail(format!(
                        "unexpected type {} for JSONPatchType '{field}' field",
                        kind.runtime_name()
                    ));
                }
                "op" | "path" | "from" | "value" => {}
                _ => return fail(format!("unexpected JSONPatchType field: {field}")),
            }
        }
    } else if !object.name.starts_with(OBJECT) {
        return fail(format!("unknown type '{}'", object.name));
    }
    Ok(Value::Struct(Arc::new(object)))
}

/// What reading a field gives that was not set.
pub(crate) fn missing<'a>(object: &Struct<'a>, key: &Value<'a>) -> Outcome<Value<'a>> {
    match key.as_str() {
        Some("op" | "path" | "from") if &*object.name == JSON_PATCH => Ok(Value::text("")),
        Some(_) if &*object.name != JSON_PATCH => Ok(Value::Null),
        _ => fail(format!("no such key: {key}")),
    }
}

impl Struct<'_> {
    /// Whether the types' names of this object and of those in it follow the fields in which they stand, as they must
    /// (`Object.spec` for what `spec` of an `Object` holds). The errors of all that do not.
    pub fn misnamed(&self) -> Vec<String> {
        let mut errors = Vec::new();
        misnamed(
            &Value::Struct(Arc::new(Struct {
                name: self.name.clone(),
                fields: self.fields.clone(),
            })),
            &self.name,
            &mut errors,
        );
        errors
    }
}

fn misnamed(value: &Value<'_>, path: &str, errors: &mut Vec<String>) {
    match value {
        Value::Struct(object) => {
            if *object.name != *path {
                errors.push(format!(
                    "unexpected type name {}, expected {}, which matches field name path from root Object type",
                    crate::strings::quoted(&object.name),
                    crate::strings::quoted(path)
                ));
            }
            for (field, value) in &object.fields {
                misnamed(value, &format!("{path}.{field}"), errors);
            }
        }
        Value::List(list) => list
            .iter()
            .flatten()
            .for_each(|item| misnamed(&item, path, errors)),
        Value::Map(map) => map
            .pairs()
            .flatten()
            .for_each(|(_, item)| misnamed(&item, path, errors)),
        _ => {}
    }
}
