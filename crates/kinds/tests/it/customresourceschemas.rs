//! Schemas of custom resources: bad ones in, the whole list of errors out.

use crate::customresourcedefinitions::{told, with_field, with_root};
use crate::errors;
use insta::assert_snapshot;
use kinds::custom::DEFINITIONS as CRDS;
use serde_json::{Value, json};

#[test]
fn schemas_that_are_not_structural() {
    assert_snapshot!(told(
        with_field,
        &[
            ("no type", json!({})),
            ("no items", json!({"type": "array"})),
            ("items without a type", json!({"type": "array", "items": {}})),
            (
                "types in quantifiers",
                json!({"type": "string", "anyOf": [{"type": "string", "nullable": true}], "allOf": [{"title": "t", "description": "d", "default": 1}], "not": {"x-kubernetes-int-or-string": true}})
            ),
            (
                "extensions in quantifiers",
                json!({"type": "object", "oneOf": [{"x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true, "x-kubernetes-list-type": "set", "x-kubernetes-list-map-keys": ["a"], "x-kubernetes-map-type": "atomic", "additionalProperties": true, "x-kubernetes-validations": [{"rule": "true"}]}]})
            ),
            (
                "metadata in a quantifier",
                json!({"type": "object", "not": {"properties": {"metadata": {}}}})
            ),
            (
                "both a number and anything",
                json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true})
            ),
            (
                "nearly a number or a text",
                json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "string"}, {"type": "integer"}]})
            ),
            (
                "an embedded object that says nothing",
                json!({"type": "object", "x-kubernetes-embedded-resource": true})
            ),
            (
                "an embedded list",
                json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true})
            ),
            (
                "an embedded map",
                json!({"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true})
            ),
            (
                "an embedded kind that is a number",
                json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"kind": {"type": "integer"}, "apiVersion": {"type": "string"}, "metadata": {"type": "string"}}})
            ),
        ]
    ));
}

#[test]
fn roots_that_are_not_structural() {
    assert_snapshot!(told(
        with_root,
        &[
            (
                "a list",
                json!({"type": "array", "items": {"type": "string"}, "properties": null})
            ),
            (
                "a map",
                json!({"properties": null, "additionalProperties": {"type": "string"}})
            ),
            (
                "metadata with more than names",
                json!({"properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}})
            ),
            (
                "metadata that is a text",
                json!({"properties": {"metadata": {"type": "string"}, "kind": {"type": "integer"}}})
            ),
            (
                "fields without a shape",
                json!({"allOf": [{"properties": {"ghost": {"items": {"properties": {"a": {}}}}, "spec": {"properties": {"ghost": {}}}}}], "anyOf": [{"items": {"required": ["a"]}}]})
            ),
            ("null", json!({"nullable": true})),
        ]
    ));
}

#[test]
fn what_schemas_may_not_say() {
    assert_snapshot!(told(
        with_field,
        &[
            (
                "unknown types",
                json!({"type": "object", "properties": {"a": {"type": "file"}, "b": {"type": "null"}}})
            ),
            (
                "other schemas",
                json!({"type": "object", "$ref": "#/a", "id": "x", "$schema": "http://json-schema.org/schema#", "definitions": {"a": {"uniqueItems": true}}, "dependencies": {"a": ["b"], "c": {"id": "y"}}, "patternProperties": {"a": {}}, "additionalItems": false})
            ),
            (
                "another dialect",
                json!({"type": "object", "$schema": "http://json-schema.org/schema#"})
            ),
            (
                "items each with a schema",
                json!({"type": "array", "items": [{"type": "string"}, {"type": "ghost"}]})
            ),
            (
                "unique items",
                json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}})
            ),
            (
                "properties and a map",
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false})
            ),
            (
                "keeping nothing",
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false})
            ),
            (
                "a map type without a type",
                json!({"x-kubernetes-int-or-string": true, "x-kubernetes-map-type": "loose"})
            ),
            (
                "a map type of a text",
                json!({"type": "string", "x-kubernetes-map-type": "atomic"})
            ),
            (
                "an object in metadata",
                json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"metadata": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "additionalProperties": {"type": "string", "default": "a"}}}})
            ),
        ]
    ));
    assert_eq!(
        errors(
            CRDS,
            with_root(json!({"properties": {"metadata": {"type": "object", "default": {}}}}))
        ),
        "spec.validation.openAPIV3Schema.properties[metadata].default: Forbidden: must not be set in top-level metadata"
    );
}

#[test]
fn lists_that_are_sets_or_maps() {
    let map = |items: Value, keys: Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items});
    let text = json!({"type": "string"});
    assert_snapshot!(told(
        with_field,
        &[
            (
                "of what is no list",
                json!({"type": "object", "x-kubernetes-list-type": "set"})
            ),
            (
                "of what has no type",
                json!({"x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-list-type": "bag"})
            ),
            (
                "keys of a set",
                json!({"type": "array", "items": text, "x-kubernetes-list-type": "set", "x-kubernetes-list-map-keys": ["a"]})
            ),
            (
                "keys of a list",
                json!({"type": "array", "items": text, "x-kubernetes-list-map-keys": ["a"]})
            ),
            (
                "a map without keys and items",
                json!({"type": "array", "x-kubernetes-list-type": "map"})
            ),
            ("a map of texts", map(text.clone(), json!(["a"]))),
            (
                "a map with a schema for each",
                map(json!([{"type": "object"}]), json!(["a"]))
            ),
            (
                "keys that are no names",
                map(
                    json!({"type": "object", "properties": {"a": {"type": "object"}, "b": {"type": "string", "nullable": true}}, "required": ["a"], "nullable": true}),
                    json!(["a", "b", "c", "c"])
                )
            ),
            (
                "a set of objects",
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object", "nullable": true}})
            ),
            (
                "a set of sets",
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "array", "x-kubernetes-list-type": "set", "items": text}})
            ),
        ]
    ));
}

#[test]
fn rules_without_their_expressions() {
    let rule = |rule: Value| json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [rule]});
    assert_snapshot!(told(
        with_field,
        &[
            ("no rule", rule(json!({"rule": " "}))),
            ("an empty message", rule(json!({"rule": "true", "message": " "}))),
            (
                "a message of two lines",
                rule(json!({"rule": "true", "message": "a\nb"}))
            ),
            ("a rule of two lines", rule(json!({"rule": "true ||\nfalse"}))),
            (
                "an empty expression of a message",
                rule(json!({"rule": "true", "messageExpression": " "}))
            ),
            (
                "an unknown reason",
                rule(json!({"rule": "true", "reason": "Because<"}))
            ),
            (
                "a path to nothing",
                rule(json!({"rule": "true", "fieldPath": ".b"}))
            ),
            (
                "a path that is none",
                rule(json!({"rule": "true", "fieldPath": "['a'"}))
            ),
            ("an empty path", rule(json!({"rule": "true", "fieldPath": " \n"}))),
        ]
    ));
}

#[test]
fn expressions_of_rules() {
    let rule = |rule: Value| json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [rule]});
    let of_list = |rule: &str| json!({"type": "array", "items": {"type": "array", "items": {"type": "string"}}, "x-kubernetes-validations": [{"rule": rule}]});
    assert_snapshot!(told(
        with_field,
        &[
            ("no expression", rule(json!({"rule": "self.a ==="}))),
            ("an unknown field", rule(json!({"rule": "self.b == 1"}))),
            ("no answer", rule(json!({"rule": "self.a"}))),
            (
                "a message that is no text",
                rule(json!({"rule": "true", "messageExpression": "1"}))
            ),
            (
                "a message that is no expression",
                rule(json!({"rule": "true", "messageExpression": "self."}))
            ),
            (
                "an old self that is not asked for",
                rule(json!({"rule": "true", "optionalOldSelf": true}))
            ),
            (
                "an old self in a list",
                json!({"type": "array", "items": {"type": "string", "maxLength": 3, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}, "maxItems": 3})
            ),
            (
                "too expensive",
                of_list("self.all(x, x.all(y, self.all(z, z.all(w, w == y))))")
            ),
            (
                "expensive again and again",
                json!({"type": "array", "items": of_list("self.all(x, x.all(y, y.contains('abc')))")})
            ),
        ]
    ));
}

#[test]
fn defaults_fit_their_schema() {
    assert_snapshot!(told(
        with_field,
        &[
            ("of another type", json!({"type": "integer", "default": "1"})),
            (
                "out of bounds",
                json!({"type": "integer", "minimum": 2, "default": 1})
            ),
            (
                "none of the values",
                json!({"type": "string", "enum": ["a", "b"], "default": "c"})
            ),
            (
                "with unknown fields",
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": 1}})
            ),
            (
                "without what is required",
                json!({"type": "array", "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}, "default": [{}]})
            ),
            (
                "an object that does not say what it is",
                json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "default": {"kind": "a b"}})
            ),
            (
                "metadata that is none",
                json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"kind": {"type": "string", "default": ""}, "metadata": {"type": "object", "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}, "default": {"a": 1}}}}}})
            ),
        ]
    ));
}

#[test]
fn patterns_in_gos_syntax() {
    let patterns = [
        "(",
        "a)",
        "[a",
        "*",
        "a**",
        "a{1001}",
        "a{2,1}",
        "(a{100}){11}",
        "(?P<a-b>x)",
        "(?x)a",
        "(?=a)",
        "\\8",
        "\\",
        "\\x{110000}",
        "\\p{Foo}",
        "[[:foo:]]",
        "[z-a]",
        "a|*",
        "\\C",
    ];
    let wrong = patterns.map(|pattern| (pattern, json!({"type": "string", "pattern": pattern})));
    assert_snapshot!(told(with_field, &wrong));
    let good = [
        "",
        "^a+?$",
        "(?i-s:a)",
        "(?<name>x)",
        "\\pL\\p{Greek}\\P{^Han}",
        "[]a]",
        "[[:^alpha:]\\d-]",
        "a||b",
        "x{,3}",
        "(a{10}){10}",
        "\\Q(*\\E",
        "{",
        "\\x41\\x{1F600}\\07",
    ];
    for pattern in good {
        assert_eq!(
            errors(CRDS, with_field(json!({"type": "string", "pattern": pattern}))),
            "",
            "{pattern}"
        );
    }
    let deep = format!("{}{}", "(".repeat(1001), ")".repeat(1001));
    assert!(
        errors(CRDS, with_field(json!({"type": "string", "pattern": deep}))).contains("nests too deeply")
    );
}
