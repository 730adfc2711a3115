//! What a schema may say at all, node by node, with upstream's order and words.

use super::expressions::{self, Expressions, Scope};
use super::found::{At, Found};
use super::options::Options;
use super::schema::{Additional, Items, Schema};
use super::shown::{self, json_text, json_text_or_null, quoted};
use super::{lists, rules};
use serde_json::Value;

pub(super) const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What is found on the way, with what is asked for.
pub(super) struct Walk<'o> {
    pub(super) options: &'o Options,
    pub(super) found: Found,
    pub(super) expressions: Expressions,
}

/// What holds for a node because of where it is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    is_root: bool,
    /// In `metadata`, `kind` or `apiVersion` of an object of Kubernetes.
    in_type_meta: bool,
    defaults: Defaults<'a>,
    /// What rules see here; they are not looked at in quantifiers and where the schema is wrong anyway.
    scope: Option<Scope>,
    /// Where the part of the schema begins whose values cannot be told from their older selves.
    uncorrelated: Option<&'a At<'a>>,
}

#[derive(Clone, Copy)]
enum Defaults<'a> {
    Allowed,
    NotInAdditional,
    NotInTopLevel(&'a str),
}

impl Place<'_> {
    /// Of the schema as a whole. `scope`: whether rules are looked at.
    pub(super) fn root(scope: Option<Scope>) -> Place<'static> {
        Place {
            is_root: true,
            in_type_meta: false,
            defaults: Defaults::Allowed,
            scope,
            uncorrelated: None,
        }
    }
}

/// The errors of a schema and all inside it.
pub(super) fn validate(schema: Schema, at: &At, place: Place, walk: &mut Walk) {
    if walk.found.is_full() {
        return;
    }
    let before = walk.found.count();
    node(schema, at, place, walk);
    // Rules cannot be understood while the schema is wrong, here or inside.
    if let Some(scope) = place.scope
        && walk.found.count() == before
        && !schema.list(shown::RULES).is_empty()
    {
        walk.expressions.compile(schema, at, scope, place.uncorrelated);
    }
}

fn node(schema: Schema, at: &At, place: Place, walk: &mut Walk) {
    let options = walk.options;
    let found = &mut walk.found;
    members(schema, at, place, options, found);
    if schema.is("uniqueItems") {
        found.forbidden(
            &at.child("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    let within = Place {
        is_root: false,
        scope: place.scope.map(|scope| scope.inside(schema)),
        ..place
    };
    additional_properties(schema, at, within, walk);
    properties(schema, at, place, walk);
    let inside = Place {
        scope: None,
        ..within
    };
    if let Some(not) = schema.inner("not") {
        validate(not, &at.child("not"), inside, walk);
    }
    for field in ["allOf", "oneOf", "anyOf"] {
        let list = at.child(field);
        for (i, one) in schema.schemas(field).enumerate() {
            validate(one, &list.index(i), inside, walk);
        }
    }
    let definitions = at.child("definitions");
    for (name, one) in schema.named("definitions") {
        validate(one, &definitions.key(name), inside, walk);
    }
    items(schema, at, within, walk);
    let dependencies = at.child("dependencies");
    for (name, one) in schema.map("dependencies") {
        if let Some(one) = one.as_object().map(Schema) {
            validate(one, &dependencies.key(name), inside, walk);
        }
    }
    let found = &mut walk.found;
    let preserve = "x-kubernetes-preserve-unknown-fields";
    if schema.flag(preserve) == Some(false) {
        found.invalid(&at.child(preserve), false, "must be true or undefined");
    }
    map_type(schema, at, found);
    lists::list_type(schema, at, options, found);
    rules::validate(schema, at, found);
}

/// What one node must not have.
fn members(schema: Schema, at: &At, place: Place, options: &Options, found: &mut Found) {
    let kind = schema.kind();
    if options.valid_types && !kind.is_empty() && !TYPES.contains(&kind) {
        found.not_supported(&at.child("type"), quoted(kind), &TYPES);
    }
    if schema.given("default").is_some() {
        let at = at.child("default");
        match place.defaults {
            Defaults::Allowed => {}
            Defaults::NotInAdditional => found.forbidden(
                &at,
                "must not be set inside additionalProperties applying to object metadata",
            ),
            Defaults::NotInTopLevel(name) => {
                found.forbidden(&at, &format!("must not be set in top-level {name}"));
            }
        }
    }
    let has_items = matches!(schema.items(), Some(Items::Each(each)) if !each.is_empty());
    let embedded = place.in_type_meta && schema.is("x-kubernetes-embedded-resource");
    let forbidden = [
        ("id", !schema.text("id").is_empty(), "id is not supported"),
        (
            "additionalItems",
            schema.additional("additionalItems").is_some(),
            "additionalItems is not supported",
        ),
        (
            "patternProperties",
            !schema.map("patternProperties").is_empty(),
            "patternProperties is not supported",
        ),
        (
            "definitions",
            !schema.map("definitions").is_empty(),
            "definitions is not supported",
        ),
        (
            "dependencies",
            schema.given("dependencies").is_some(),
            "dependencies is not supported",
        ),
        (
            "$ref",
            schema.given_text("$ref").is_some(),
            "$ref is not supported",
        ),
        (
            "type",
            kind == "null",
            "type cannot be set to null, use nullable as an alternative",
        ),
        (
            "items",
            has_items,
            "items must be a schema object and not an array",
        ),
        (
            "x-kubernetes-embedded-resource",
            embedded,
            "must not be used inside of resource meta",
        ),
    ];
    for (field, _, detail) in forbidden.into_iter().filter(|(_, wrong, _)| *wrong) {
        found.forbidden(&at.child(field), detail);
    }
}

fn additional_properties(schema: Schema, at: &At, mut place: Place, walk: &mut Walk) {
    let field = "additionalProperties";
    let Some(additional) = schema.additional(field) else {
        return;
    };
    let at = at.child(field);
    if !schema.map("properties").is_empty() && !matches!(additional, Additional::Allowed(true)) {
        let detail = "additionalProperties and properties are mutual exclusive";
        walk.found.forbidden(&at, detail);
    }
    if place.in_type_meta {
        place.defaults = Defaults::NotInAdditional;
    }
    if let Additional::Schema(values) = additional {
        validate(values, &at, place, walk);
    }
}

fn properties(schema: Schema, holder: &At, place: Place, walk: &mut Walk) {
    let at = holder.child("properties");
    let uncorrelated = (!expressions::is_correlatable(schema)).then_some(holder);
    let of_object = place.is_root || schema.is("x-kubernetes-embedded-resource");
    for (name, property) in schema.named("properties") {
        let mut inside = Place {
            is_root: false,
            scope: place.scope.map(|scope| scope.inside(schema)),
            uncorrelated: place.uncorrelated.or(uncorrelated),
            ..place
        };
        if of_object && ["metadata", "kind", "apiVersion"].contains(&name) {
            inside.in_type_meta = true;
            if place.is_root {
                inside.defaults = Defaults::NotInTopLevel(name);
            }
        }
        validate(property, &at.key(name), inside, walk);
    }
}

fn items(schema: Schema, holder: &At, place: Place, walk: &mut Walk) {
    let at = holder.child("items");
    let is_map = schema.given_text("x-kubernetes-list-type") == Some("map");
    let place = Place {
        uncorrelated: place.uncorrelated.or((!is_map).then_some(holder)),
        ..place
    };
    match schema.items() {
        Some(Items::One(item)) => validate(item, &at, place, walk),
        Some(Items::Each(each)) => {
            for (i, item) in each.iter().enumerate() {
                validate(Schema::of(item), &at.index(i), place, walk);
            }
        }
        Some(Items::Neither) | None => {}
    }
}

fn map_type(schema: Schema, at: &At, found: &mut Found) {
    let Some(given) = schema.given_text("x-kubernetes-map-type") else {
        return;
    };
    let detail = "must be object if x-kubernetes-map-type is specified";
    match schema.kind() {
        "object" => {}
        "" => found.required(&at.child("type"), detail),
        kind => found.invalid(&at.child("type"), quoted(kind), detail),
    }
    let known = ["atomic", "granular"];
    if !known.contains(&given) {
        found.not_supported(&at.child("x-kubernetes-map-type"), quoted(given), &known);
    }
}

/// The texts of a list, as errors show it.
pub(super) fn list_shown(schema: Schema, field: &str) -> meta::field::Shown {
    shown::texts(schema.list(field))
}

/// A list type as errors show what may be missing.
pub(super) fn type_shown(schema: Schema, field: &str) -> meta::field::Shown {
    json_text_or_null(schema.given_text(field))
}

/// A value of a named type.
pub(super) fn named_shown(value: &Value) -> meta::field::Shown {
    json_text(value.as_str().unwrap_or_default())
}
