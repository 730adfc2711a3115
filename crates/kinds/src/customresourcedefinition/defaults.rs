//! What a definition gets that it leaves out. Source: apiextensions.k8s.io/v1 API reference.

use crate::json::{at, child_mut, get, has, is_true, items_mut, list, put, put_default, string};
use meta::schema::Schema;
use serde_json::{Value, json};

/// Fills in names, the conversion strategy, the port of its webhook and the versions that objects are stored in.
pub(super) fn default(object: &mut Value) {
    if let Some(spec) = child_mut(object, "spec") {
        names(spec);
        for version in items_mut(spec, "versions") {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                decode_inner(schema, false);
            }
        }
        put_default(spec, "conversion", json!({"strategy": "None"}));
        if let Some(service) = spec
            .pointer_mut("/conversion/webhook/clientConfig/service")
            .filter(|service| service.is_object())
        {
            put_default(service, "port", 443);
        }
    }
    stored_versions(object);
}

fn names(spec: &mut Value) {
    let names = get(spec, "names");
    let kind = string(names, "kind").to_string();
    let given = |field: &str| !string(names, field).is_empty();
    let (singular, list_kind) = (given("singular"), given("listKind"));
    if kind.is_empty() {
        return;
    }
    if let Some(names) = child_mut(spec, "names") {
        if !singular {
            put(names, "singular", kind.to_lowercase());
        }
        if !list_kind {
            put(names, "listKind", format!("{kind}List"));
        }
    }
}

fn stored_versions(object: &mut Value) {
    if !list(get(object, "status"), "storedVersions").is_empty() {
        return;
    }
    let Some(stored) = storage_version(object).map(str::to_string) else {
        return;
    };
    if !has(object, "status") {
        put(object, "status", json!({}));
    }
    if let Some(status) = child_mut(object, "status") {
        put(status, "storedVersions", json!([stored]));
    }
}

/// The name of the first version that says objects are stored in it.
pub(super) fn storage_version(object: &Value) -> Option<&str> {
    let mut versions = list(at(object, "/spec"), "versions").iter();
    let version = versions.find(|version| is_true(version, "storage"))?;
    Some(string(version, "name"))
}

const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Brings the schemas inside of a schema into form where they share their place with something else (a flag, a list), so
/// that they were left as they came. `raw`: this one was too. What does not fit its type stays, and is nothing to whoever
/// reads it.
fn decode_inner(schema: &mut Value, raw: bool) {
    if raw
        && schema.is_object()
        && let Some(form) = Schema::of(crate::schema::arena(), SCHEMA)
    {
        let mut formed = schema.take();
        let fits = codec::strict::conform(&form, &mut formed);
        debug_assert!(fits.is_ok() || formed.is_object());
        *schema = formed;
    }
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    for (field, value) in members.iter_mut() {
        match (field.as_str(), &mut *value) {
            ("items", Value::Array(each)) => each.iter_mut().for_each(|one| decode_inner(one, true)),
            ("items" | "additionalProperties" | "additionalItems", Value::Object(_)) => {
                decode_inner(value, true)
            }
            ("dependencies", Value::Object(named)) => {
                named.values_mut().for_each(|one| decode_inner(one, true))
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(each)) => {
                each.iter_mut().for_each(|one| decode_inner(one, false));
            }
            ("properties" | "patternProperties" | "definitions", Value::Object(named)) => {
                named.values_mut().for_each(|one| decode_inner(one, false));
            }
            ("not", Value::Object(_)) => decode_inner(value, false),
            _ => {}
        }
    }
}
