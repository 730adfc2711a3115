//! The rules of structural schemas: what shapes an object stands outside of `allOf`, `anyOf`, `oneOf` and `not`, and
//! whatever these speak of has a shape. Source: KEP 1102 and upstream's order and words.

use super::found::{At, Found};
use super::pattern;
use super::schema::{Additional, Items, Schema};
use super::shown::{self, quoted};
use serde_json::Value;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const LIST_KEYS: &str = "x-kubernetes-list-map-keys";
const QUANTIFIERS: [&str; 3] = ["anyOf", "allOf", "oneOf"];

/// Why a schema cannot be read as a structural one at all: the first reason, in upstream's order of reading.
pub(super) fn unreadable(schema: Schema) -> Option<&'static str> {
    let has_content = |field| !schema.map(field).is_empty();
    let not_supported = [
        (
            !schema.text("id").is_empty(),
            "OpenAPIV3Schema 'id' is not supported",
        ),
        (
            !schema.text("$schema").is_empty(),
            "OpenAPIV3Schema 'schema' is not supported",
        ),
        (
            !schema.text("$ref").is_empty(),
            "OpenAPIV3Schema '$ref' is not supported",
        ),
        (
            has_content("patternProperties"),
            "OpenAPIV3Schema 'patternProperties' is not supported",
        ),
        (
            has_content("dependencies"),
            "OpenAPIV3Schema 'dependencies' is not supported",
        ),
        (
            schema.additional("additionalItems").is_some(),
            "OpenAPIV3Schema 'additionalItems' is not supported",
        ),
        (
            has_content("definitions"),
            "OpenAPIV3Schema 'definitions' is not supported",
        ),
    ];
    if let Some((_, why)) = not_supported.into_iter().find(|(wrong, _)| *wrong) {
        return Some(why);
    }
    let nested = schema.inner("not").and_then(unreadable).or_else(|| {
        ["allOf", "anyOf", "oneOf"]
            .iter()
            .find_map(|field| schema.schemas(field).find_map(unreadable))
    });
    if nested.is_some() {
        return nested;
    }
    if schema.flag(PRESERVE) == Some(false) {
        return Some("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined");
    }
    match schema.items() {
        Some(Items::Each(each)) if !each.is_empty() => {
            return Some("OpenAPIV3Schema 'items' must be a schema, but is an array");
        }
        Some(Items::One(item)) => {
            if let Some(why) = unreadable(item) {
                return Some(why);
            }
        }
        _ => {}
    }
    let in_properties = schema
        .named("properties")
        .find_map(|(_, schema)| unreadable(schema));
    in_properties.or_else(|| match schema.additional("additionalProperties") {
        Some(Additional::Schema(schema)) => unreadable(schema),
        _ => None,
    })
}

/// All that keeps a readable schema from being structural.
pub(super) fn validate(schema: Schema, at: &At, found: &mut Found) {
    let mut own = Found::default();
    invariants(schema, Level::Root, at, &mut own);
    completeness(schema, Some(schema), at, at, &mut own);
    own.sort();
    found.append(own);
}

/// Whether a schema can be read and is structural.
pub(super) fn is_structural(schema: Schema) -> bool {
    if unreadable(schema).is_some() {
        return false;
    }
    let (mut own, at) = (Found::first(), At::root(""));
    invariants(schema, Level::Root, &at, &mut own);
    completeness(schema, Some(schema), &at, &at, &mut own);
    own.is_empty()
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

fn invariants(schema: Schema, level: Level, at: &At, found: &mut Found) {
    if found.is_full() {
        return;
    }
    match schema.item() {
        None if schema.kind() == "array" => found.required(&at.child("items"), "must be specified"),
        None => {}
        Some(item) => invariants(item, Level::Item, &at.child("items"), found),
    }
    let properties = at.child("properties");
    for (name, property) in schema.named("properties") {
        invariants(property, Level::Field, &properties.key(name), found);
    }
    let additional = schema.additional("additionalProperties");
    let additional_at = at.child("additionalProperties");
    if additional.is_some() && level == Level::Root {
        found.forbidden(&additional_at, "must not be used at the root");
    }
    if let Some(Additional::Schema(values)) = additional {
        invariants(values, Level::Field, &additional_at, found);
    }
    extensions(schema, at, found);
    values(
        schema,
        is_int_or_string(schema),
        all_of_begins_so(schema),
        at,
        found,
    );
    types(schema, level, at, found);
    if schema.is(EMBEDDED) && additional.is_some() {
        found.forbidden(
            &additional_at,
            "must not be used if x-kubernetes-embedded-resource is set",
        );
    }
    type_meta(schema, level, &properties, found);
    if schema.is(EMBEDDED) && !schema.is(PRESERVE) && schema.map("properties").is_empty() {
        found.required(
            &properties,
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
}

fn extensions(schema: Schema, at: &At, found: &mut Found) {
    let detail = "must be false if x-kubernetes-int-or-string is true";
    for field in [PRESERVE, EMBEDDED] {
        if schema.is(INT_OR_STRING) && schema.is(field) {
            found.invalid(&at.child(field), true, detail);
        }
    }
}

fn types(schema: Schema, level: Level, at: &At, found: &mut Found) {
    let (kind, at) = (schema.kind(), at.child("type"));
    if schema.is(EMBEDDED) && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        match kind {
            "" => found.required(&at, detail),
            kind => found.invalid(&at, quoted(kind), detail),
        }
    } else if kind.is_empty() && !schema.is(INT_OR_STRING) && !schema.is(PRESERVE) {
        found.required(
            &at,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        );
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        found.invalid(&at, quoted(kind), "must be object at the root");
    }
}

/// `apiVersion`, `kind` and `metadata` of what is an object of Kubernetes.
fn type_meta(schema: Schema, level: Level, at: &At, found: &mut Found) {
    if level != Level::Root && !schema.is(EMBEDDED) {
        return;
    }
    for field in ["kind", "apiVersion"] {
        if let Some(property) = schema.property(field)
            && property.kind() != "string"
        {
            let at = at.key(field);
            found.invalid(&at.child("type"), quoted(property.kind()), "must be string");
        }
    }
    let Some(metadata) = schema.property("metadata") else {
        return;
    };
    let at = at.key("metadata");
    if metadata.kind() != "object" {
        found.invalid(&at.child("type"), quoted(metadata.kind()), "must be object");
    }
    if level == Level::Root && !names_only(metadata) {
        found.forbidden(
            &at,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        );
    }
}

/// Whether a schema of metadata has nothing but a type, a default and properties for names.
fn names_only(metadata: Schema) -> bool {
    let names = metadata.map("properties");
    names.keys().all(|name| name == "name" || name == "generateName")
        && metadata.0.iter().all(|(field, value)| match field.as_str() {
            "type" | "default" | "properties" => true,
            "additionalProperties" | "additionalItems" => value.is_null(),
            _ => says_nothing(field, value),
        })
}

/// Whether a member of a schema is what upstream's decoder makes of its absence, where an empty list of some
/// members is not.
fn says_nothing(field: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => {
            let plain = [
                "nullable",
                "uniqueItems",
                "exclusiveMaximum",
                "exclusiveMinimum",
                EMBEDDED,
                INT_OR_STRING,
            ];
            !flag && (plain.contains(&field) || field == "additionalProperties" || field == PRESERVE)
                || !is_member(field)
        }
        Value::String(text) => {
            let pointer = [
                "x-kubernetes-list-type",
                "x-kubernetes-map-type",
                "default",
                "example",
            ];
            text.is_empty() && !pointer.contains(&field) || !is_member(field)
        }
        Value::Array(list) => {
            let kept = ["required", LIST_KEYS, shown::RULES, "default", "example"];
            list.is_empty() && !kept.contains(&field) || !is_member(field)
        }
        Value::Object(members) => {
            let dropped = ["definitions", "dependencies", "patternProperties"];
            members.is_empty() && dropped.contains(&field) || !is_member(field)
        }
        Value::Number(_) => !is_member(field),
    }
}

/// What is no member of a schema is dropped when it is decoded.
fn is_member(field: &str) -> bool {
    field == shown::RULES || shown::MEMBERS.iter().any(|(_, name, _)| *name == field)
}

/// `anyOf: [{type: integer}, {type: string}]` and nothing else in these.
fn is_int_or_string(schema: Schema) -> bool {
    let only = |schema: &Value, kind: &str| {
        let schema = Schema::of(schema);
        let rest = |(field, value): (&String, &Value)| field == "type" || says_nothing(field, value);
        schema.kind() == kind && schema.0.iter().all(rest)
    };
    match schema.list("anyOf") {
        [a, b] => only(a, "integer") && only(b, "string"),
        _ => false,
    }
}

fn all_of_begins_so(schema: Schema) -> bool {
    schema.schemas("allOf").next().is_some_and(is_int_or_string)
}

/// What a schema asks of values, in itself and in its quantifiers.
fn values(schema: Schema, skip_any_of: bool, skip_first: bool, at: &At, found: &mut Found) {
    for field in QUANTIFIERS {
        if field == "anyOf" && skip_any_of {
            continue;
        }
        let list = at.child(field);
        for (i, inner) in schema.schemas(field).enumerate() {
            let skip = field == "allOf" && i == 0 && skip_first;
            nested(inner, skip, &list.index(i), found);
        }
    }
    if let Some(inner) = schema.inner("not") {
        nested(inner, false, &at.child("not"), found);
    }
    let pattern = schema.text("pattern");
    if let Err(why) = pattern::check(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        found.invalid(&at.child("pattern"), quoted(pattern), &detail);
    }
}

/// A schema under a quantifier, which must not shape anything.
fn nested(schema: Schema, skip_any_of: bool, at: &At, found: &mut Found) {
    if found.is_full() {
        return;
    }
    values(schema, skip_any_of, false, at, found);
    if let Some(item) = schema.item() {
        nested(item, false, &at.child("items"), found);
    }
    let properties = at.child("properties");
    for (name, property) in schema.named("properties") {
        nested(property, false, &properties.key(name), found);
    }
    no_shape(schema, at, found);
    if schema.property("metadata").is_some() {
        found.forbidden(
            &properties.key("metadata"),
            "must not be specified in a nested context",
        );
    }
}

/// What shapes an object has no place under a quantifier.
fn no_shape(schema: Schema, at: &At, found: &mut Found) {
    let additional = schema.additional("additionalProperties");
    let allows = !matches!(additional, None | Some(Additional::Allowed(false)));
    let text = |field| !schema.text(field).is_empty();
    let forbidden = [
        ("type", text("type"), "must be empty to be structural"),
        (
            "additionalProperties",
            allows,
            "must be undefined to be structural",
        ),
        (
            "default",
            schema.given("default").is_some(),
            "must be undefined to be structural",
        ),
        ("title", text("title"), "must be empty to be structural"),
        (
            "description",
            text("description"),
            "must be empty to be structural",
        ),
        (
            "nullable",
            schema.is("nullable"),
            "must be false to be structural",
        ),
        (PRESERVE, schema.is(PRESERVE), "must be false to be structural"),
        (EMBEDDED, schema.is(EMBEDDED), "must be false to be structural"),
        (
            INT_OR_STRING,
            schema.is(INT_OR_STRING),
            "must be false to be structural",
        ),
        (
            LIST_KEYS,
            !schema.list(LIST_KEYS).is_empty(),
            "must be empty to be structural",
        ),
        (
            "x-kubernetes-list-type",
            schema.given("x-kubernetes-list-type").is_some(),
            "must be undefined to be structural",
        ),
        (
            "x-kubernetes-map-type",
            schema.given("x-kubernetes-map-type").is_some(),
            "must be undefined to be structural",
        ),
        (
            shown::RULES,
            !schema.list(shown::RULES).is_empty(),
            "must be empty to be structural",
        ),
    ];
    for (field, _, detail) in forbidden.into_iter().filter(|(_, wrong, _)| *wrong) {
        found.forbidden(&at.child(field), detail);
    }
}

/// Whatever quantifiers speak of has a shape: `shape` is it, at `shape_at`.
fn completeness(schema: Schema, shape: Option<Schema>, shape_at: &At, at: &At, found: &mut Found) {
    let inner = |inner, at: &At, found: &mut Found| nested_completeness(inner, shape, shape_at, at, found);
    if let Some(not) = schema.inner("not") {
        inner(not, &at.child("not"), found);
    }
    for field in ["allOf", "anyOf", "oneOf"] {
        let list = at.child(field);
        for (i, one) in schema.schemas(field).enumerate() {
            inner(one, &list.index(i), found);
        }
    }
}

fn nested_completeness(schema: Schema, shape: Option<Schema>, shape_at: &At, at: &At, found: &mut Found) {
    if found.is_full() {
        return;
    }
    let missing = |shape_at: &At, at: &At, found: &mut Found| {
        found.required(shape_at, &format!("because it is defined in {at}"));
    };
    let Some(shape) = shape else {
        return missing(shape_at, at, found);
    };
    completeness(schema, Some(shape), shape_at, at, found);
    if let Some(item) = schema.item() {
        nested_completeness(
            item,
            shape.item(),
            &shape_at.child("items"),
            &at.child("items"),
            found,
        );
    }
    let (shape_properties, properties) = (shape_at.child("properties"), at.child("properties"));
    for (name, property) in schema.named("properties") {
        let (shape_at, at) = (shape_properties.key(name), properties.key(name));
        match shape.property(name) {
            None => missing(&shape_at, &at, found),
            some => nested_completeness(property, some, &shape_at, &at, found),
        }
    }
}
