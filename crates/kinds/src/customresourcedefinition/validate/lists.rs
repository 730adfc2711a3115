//! Lists that are sets or maps: what their items and keys must be.

use super::found::{At, Found};
use super::open_api::{list_shown, type_shown};
use super::options::Options;
use super::schema::{Items, Schema};
use super::shown::{self, quoted};
use std::collections::HashSet;

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const KEYS: &str = "x-kubernetes-list-map-keys";

pub(super) fn list_type(schema: Schema, at: &At, options: &Options, found: &mut Found) {
    let given = schema.given_text(LIST_TYPE);
    let kind = schema.kind();
    if given.is_some() && kind != "array" {
        let detail = "must be array if x-kubernetes-list-type is specified";
        match kind {
            "" => found.required(&at.child("type"), detail),
            kind => found.invalid(&at.child("type"), quoted(kind), detail),
        }
    } else if options.atomic_sets {
        set_items(schema, at, found);
    }
    let known = ["atomic", "set", "map"];
    if let Some(given) = given
        && !known.contains(&given)
    {
        found.not_supported(&at.child(LIST_TYPE), quoted(given), &known);
    }
    if !schema.list(KEYS).is_empty() && given != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        match given {
            None => found.required(&at.child(LIST_TYPE), detail),
            Some(given) => found.invalid(&at.child(LIST_TYPE), quoted(given), detail),
        }
    }
    if given == Some("map") {
        map(schema, at, found);
    }
    if options.strict_maps_and_sets {
        keys_and_nulls(schema, at, found);
    }
}

/// Whether a list is a set whose items could be changed in part.
pub(super) fn is_set_of_parts(schema: Schema) -> bool {
    let mut found = Found::first();
    set_items(schema, &At::root(""), &mut found);
    !found.is_empty()
}

/// Whether a list's items or keys could be null or missing.
pub(super) fn has_loose_items(schema: Schema) -> bool {
    let mut found = Found::first();
    keys_and_nulls(schema, &At::root(""), &mut found);
    !found.is_empty()
}

fn set_items(schema: Schema, at: &At, found: &mut Found) {
    let Some(item) = schema.item() else { return };
    if schema.given_text(LIST_TYPE) != Some("set") {
        return;
    }
    let items = at.child("items");
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    // Upstream shows the list type in both cases.
    let shown = type_shown(item, LIST_TYPE);
    match item.kind() {
        "array" if item.given_text(LIST_TYPE).is_some_and(|t| t != "atomic") => {
            found.invalid(&items.child(LIST_TYPE), shown, detail);
        }
        "object" if item.given_text(MAP_TYPE) != Some("atomic") => {
            found.invalid(&items.child(MAP_TYPE), shown, detail);
        }
        _ => {}
    }
}

fn map(schema: Schema, at: &At, found: &mut Found) {
    let keys_at = at.child(KEYS);
    if schema.list(KEYS).is_empty() {
        found.required(&keys_at, "must not be empty if x-kubernetes-list-type is map");
    }
    let items_at = at.child("items");
    let item = match schema.items() {
        None => {
            return found.required(&items_at, "must have a schema if x-kubernetes-list-type is map");
        }
        Some(Items::One(item)) => item,
        Some(other) => {
            let detail = "must only have a single schema if x-kubernetes-list-type is map";
            return found.invalid(&items_at, shown::items(other), detail);
        }
    };
    if item.kind() != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        return found.invalid(&items_at.child("type"), quoted(item.kind()), detail);
    }
    let properties = items_at.child("properties");
    let mut seen = HashSet::new();
    for key in schema.texts(KEYS) {
        if found.is_full() {
            return;
        }
        match item.property(key) {
            Some(property) if ["array", "object"].contains(&property.kind()) => {
                let at = properties.key(key);
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                // Upstream shows the type of the items.
                found.invalid(&at.child("type"), quoted(item.kind()), detail);
            }
            Some(_) => {}
            None => found.invalid(
                &keys_at,
                list_shown(schema, KEYS),
                "entries must all be names of item properties",
            ),
        }
        if !seen.insert(key) {
            let shown = list_shown(schema, KEYS);
            found.invalid(&keys_at, shown, "must not contain duplicate entries");
        }
    }
}

/// Items of sets and maps are not null, and keys are always there.
fn keys_and_nulls(schema: Schema, at: &At, found: &mut Found) {
    let (Some(item), Some(given)) = (schema.item(), schema.given_text(LIST_TYPE)) else {
        return;
    };
    if given != "set" && given != "map" {
        return;
    }
    let items_at = at.child("items");
    if item.is("nullable") {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {given}");
        found.forbidden(&items_at.child("nullable"), &detail);
    }
    if given == "set" {
        return;
    }
    let required: HashSet<&str> = item.texts("required").collect();
    let properties = items_at.child("properties");
    for key in schema.texts(KEYS) {
        if found.is_full() {
            return;
        }
        let Some(property) = item.property(key) else {
            continue;
        };
        let at = properties.key(key);
        if !required.contains(key) && property.given("default").is_none() {
            found.required(
                &at.child("default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            );
        }
        if property.is("nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            found.forbidden(&at.child("nullable"), detail);
        }
    }
}
