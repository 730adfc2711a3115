//! Types of custom resources: the schema of their definition, with what every object has. Version 2 has no words for parts
//! of it, and clients that read it cannot cope with others: those go. Source: KEP-693, section on publishing.

use super::schemas::{Edition, meta_type, reference};
use serde_json::{Map, Value, json};

const KIND: &str = "The kind of this object, as clients name it: one word in CamelCase, which the path of the request gives too.";
const API_VERSION: &str = "The group and version that define this form of the object; servers bring it into their own form or refuse it.";
const METADATA: &str = "Standard metadata of objects.";

/// What is published of a definition's schema.
pub fn document(edition: Edition, schema: &Value) -> Value {
    let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let said = schema.get("properties").is_some() || schema.get("type").is_some();
    if !said || (edition == Edition::V2 && keeps_unknown) {
        // Whatever fields were named here, clients would refuse all others.
        return json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    let mut out = schema.clone();
    if edition == Edition::V2 {
        reduce(&mut out);
    }
    embed(edition, &mut out);
    add_own(edition, &mut out);
    out
}

/// Calls `change` for each schema inside of this one.
fn each_inner(schema: &mut Map<String, Value>, change: &mut dyn FnMut(&mut Value)) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(&mut *change);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner @ Value::Object(_)) = schema.get_mut(key) {
            change(inner);
        }
    }
}

/// What objects inside of objects have.
fn embed(edition: Edition, schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    each_inner(map, &mut |inner| {
        embed(edition, inner);
        let keeps_unknown = inner["x-kubernetes-preserve-unknown-fields"] == true;
        if inner["x-kubernetes-embedded-resource"] == true && !(edition == Edition::V2 && keeps_unknown) {
            add_own(edition, inner);
        }
    });
}

fn add_own(edition: Edition, schema: &mut Value) {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let to = reference(edition, &meta_type("ObjectMeta"));
    let metadata = match edition {
        Edition::V2 => json!({"$ref": to["$ref"], "description": METADATA}),
        Edition::V3 => json!({"allOf": [to], "description": METADATA}),
    };
    let properties = &mut schema["properties"];
    properties["metadata"] = metadata;
    properties["apiVersion"] = json!({"type": "string", "description": API_VERSION});
    properties["kind"] = json!({"type": "string", "description": KIND});
}

/// Takes out what version 2 does not have, or what `kubectl` misreads there.
fn reduce(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    each_inner(map, &mut reduce_member);
    for key in ["allOf", "anyOf", "oneOf", "not"] {
        map.remove(key);
    }
    forget_nullable(map);
    let is = |map: &Map<String, Value>, key: &str| map.get(key).is_some_and(|v| *v == true);
    if is(map, "nullable") {
        for key in ["type", "nullable", "items", "properties"] {
            map.remove(key);
        }
    }
    let keeps_unknown = is(map, "x-kubernetes-preserve-unknown-fields");
    if keeps_unknown {
        map.remove("items");
        map.remove("properties");
    }
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
    let untold = (kind == "array" && !map.contains_key("items")) || (kind == "object" && keeps_unknown);
    if untold {
        map.remove("type");
    }
}

fn reduce_member(schema: &mut Value) {
    let nullable = schema["nullable"] == true;
    reduce(schema);
    if nullable && let Some(map) = schema.as_object_mut() {
        // For the one that holds it, which asks next.
        map.insert(NULLABLE.into(), true.into());
    }
}

/// Left behind by members that may be null until their holder has looked.
const NULLABLE: &str = " nullable";

/// Members that may be null are not required.
fn forget_nullable(map: &mut Map<String, Value>) {
    let mut nullable = Vec::new();
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            let marked = property.as_object_mut().and_then(|p| p.remove(NULLABLE));
            nullable.extend(marked.map(|_| name.clone()));
        }
    }
    let each = map.get_mut("additionalProperties").and_then(Value::as_object_mut);
    let all = each.and_then(|each| each.remove(NULLABLE)).is_some();
    if let Some(items) = map.get_mut("items").and_then(Value::as_object_mut) {
        items.remove(NULLABLE);
    }
    let Some(Value::Array(required)) = map.get_mut("required") else {
        return;
    };
    required.retain(|name| !all && !nullable.iter().any(|n| name == n));
    if required.is_empty() {
        map.remove("required");
    }
}
