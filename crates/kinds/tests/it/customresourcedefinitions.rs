//! Definitions of custom resources: bad ones in, the whole list of errors out; what they get, what they keep, what they
//! cost at worst.

use crate::{decoded, defaulted, errors, lines, prepared, rules};
use insta::assert_snapshot;
use kinds::Write;
use kinds::custom::DEFINITIONS as CRDS;
use meta::Errors;
use serde_json::{Value, json};

/// Something to make mistakes in.
fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "color": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}}}}}}}]}})
}

/// As a merge patch does it.
fn merge(to: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *to = patch;
        return;
    };
    if !to.is_object() {
        *to = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            to.as_object_mut().expect("an object").remove(&key);
        } else {
            merge(&mut to[key.as_str()], value);
        }
    }
}

fn with(patch: Value) -> Value {
    let mut object = widgets();
    merge(&mut object, patch);
    object
}

/// With more in its one version.
fn with_version(patch: Value) -> Value {
    let mut object = widgets();
    merge(&mut object["spec"]["versions"][0], patch);
    object
}

/// With this as the schema of a field.
pub(crate) fn with_field(schema: Value) -> Value {
    let mut object = widgets();
    object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"] =
        schema;
    object
}

/// With more at the root of its schema.
pub(crate) fn with_root(patch: Value) -> Value {
    with_version(json!({"schema": {"openAPIV3Schema": patch}}))
}

/// Each case with its errors.
pub(crate) fn told(make: impl Fn(Value) -> Value, cases: &[(&str, Value)]) -> String {
    let case = |(name, patch): &(&str, Value)| format!("# {name}\n{}\n", errors(CRDS, make(patch.clone())));
    cases.iter().map(case).collect()
}

fn changed(old: Value, new: Value) -> String {
    let (old, mut new) = (
        prepared(CRDS, decoded(CRDS, old)),
        defaulted(CRDS, decoded(CRDS, new)),
    );
    let mut errors = Errors::new();
    new["status"] = old["status"].clone();
    rules(CRDS).prepare(Write::Update, &mut new, Some(&old), crate::now());
    rules(CRDS).validate_update(Write::Update, &new, &old, &mut errors);
    lines(&errors)
}

#[test]
fn good_ones_have_no_errors() {
    assert_eq!(errors(CRDS, widgets()), "");
    let list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}});
    let number =
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]});
    let more = json!({"properties": {"list": list, "port": number, "raw": {"x-kubernetes-preserve-unknown-fields": true},
        "ref": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}});
    assert_eq!(errors(CRDS, with_root(more)), "");
}

#[test]
fn names_and_groups() {
    let names = |names: Value| json!({"spec": {"names": names}});
    assert_snapshot!(told(
        with,
        &[
            (
                "another name",
                json!({"metadata": {"name": "gadgets.example.com"}})
            ),
            ("no plural", names(json!({"plural": null}))),
            ("no kind", names(json!({"kind": null}))),
            ("a plural that is no label", names(json!({"plural": "Wid.gets"}))),
            (
                "a kind that is no label",
                names(json!({"kind": "Wid get", "singular": "widget"}))
            ),
            (
                "one word for one and for many",
                names(json!({"listKind": "Widget"}))
            ),
            (
                "short names and categories",
                names(json!({"shortNames": ["wg", "W"], "categories": ["all", "a.b", ""]}))
            ),
            ("no group", json!({"spec": {"group": ""}})),
            ("a group without a dot", json!({"spec": {"group": "example"}})),
            (
                "a group that is no domain",
                json!({"spec": {"group": "Example_.com"}})
            ),
            (
                "Kubernetes' own group",
                json!({"metadata": {"name": "widgets.shop.k8s.io"}, "spec": {"group": "shop.k8s.io"}})
            ),
            (
                "an approval that is none",
                json!({"metadata": {"name": "widgets.k8s.io", "annotations": {"api-approved.kubernetes.io": "sure"}}, "spec": {"group": "k8s.io"}})
            ),
            ("no scope", json!({"spec": {"scope": null}})),
            ("an unknown scope", json!({"spec": {"scope": "Global"}})),
        ]
    ));
}

#[test]
fn versions() {
    let plain = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object", "description": name}}});
    let list = |versions: &[Value]| json!({"spec": {"versions": versions}});
    assert_snapshot!(told(
        with,
        &[
            ("none", list(&[])),
            ("none is stored", list(&[plain("v1", false)])),
            ("two are stored", list(&[plain("v1", true), plain("v2", true)])),
            ("two of one name", list(&[plain("v1", true), plain("v1", false)])),
            ("a name that is no label", list(&[plain("1.0", true)])),
            (
                "everything is kept",
                json!({"spec": {"preserveUnknownFields": true}})
            ),
        ]
    ));
    assert_snapshot!(
        "one_version",
        told(
            with_version,
            &[
                ("no schema", json!({"schema": null})),
                (
                    "an empty schema",
                    json!({"schema": {"openAPIV3Schema": {"type": null, "properties": null}}})
                ),
                (
                    "a warning of what is not deprecated",
                    json!({"deprecationWarning": "old"})
                ),
                (
                    "an empty warning",
                    json!({"deprecated": true, "deprecationWarning": ""})
                ),
                (
                    "a warning with a line break",
                    json!({"deprecated": true, "deprecationWarning": "old\nolder"})
                ),
                (
                    "a long warning",
                    json!({"deprecated": true, "deprecationWarning": "o".repeat(257)})
                ),
            ]
        )
    );
}

#[test]
fn columns_subresources_and_selectable_fields() {
    let fields = |paths: &[&str]| {
        let list: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path})).collect();
        json!({"selectableFields": list})
    };
    assert_snapshot!(told(
        with_version,
        &[
            (
                "columns",
                json!({"additionalPrinterColumns": [{"name": "", "type": "text", "jsonPath": "spec.size"}, {"name": "a", "type": "", "jsonPath": "", "format": "hex"}]})
            ),
            (
                "an empty scale",
                json!({"subresources": {"scale": {"specReplicasPath": "", "statusReplicasPath": ""}}})
            ),
            (
                "paths of a scale",
                json!({"subresources": {"scale": {"specReplicasPath": ".status.size", "statusReplicasPath": "status", "labelSelectorPath": ".metadata.labels"}}})
            ),
            (
                "a status and more at the root",
                json!({"subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"minProperties": 1}}})
            ),
            (
                "a status and no object",
                json!({"subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"type": "array"}}})
            ),
            (
                "fields that are not there",
                fields(&["", "spec", ".spec.taste", ".spec['size']", "."])
            ),
            (
                "fields of other types",
                fields(&[".spec", ".metadata", ".spec.labels.a", ".spec.labels"])
            ),
            ("a field twice", fields(&[".spec.size", ".spec.size"])),
        ]
    ));
    let mut many = with_field(json!({"type": "object", "properties": {}}));
    let names: Vec<String> = (0..9).map(|i| format!("f{i}")).collect();
    for name in &names {
        many["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][name] =
            json!({"type": "string"});
    }
    let all: Vec<Value> = names
        .iter()
        .map(|name| json!({"jsonPath": format!(".spec.{name}")}))
        .collect();
    many["spec"]["versions"][0]["selectableFields"] = all.into();
    assert_eq!(
        errors(CRDS, many),
        "spec.selectableFields: Too many: 9: must have at most 8 items"
    );
}

#[test]
fn conversion() {
    let webhook = |config: Value, versions: Value| json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": config, "conversionReviewVersions": versions}}}});
    let url = |url: &str| webhook(json!({"url": url}), json!(["v1"]));
    let service = |service: Value| webhook(json!({"service": service}), json!(["v1"]));
    assert_snapshot!(told(
        with,
        &[
            ("no strategy", json!({"spec": {"conversion": {"strategy": ""}}})),
            (
                "an unknown strategy",
                json!({"spec": {"conversion": {"strategy": "Magic"}}})
            ),
            (
                "no webhook",
                json!({"spec": {"conversion": {"strategy": "Webhook"}}})
            ),
            (
                "a webhook that nobody asks",
                json!({"spec": {"conversion": {"strategy": "None", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v1"]}}}})
            ),
            ("neither a service nor a URL", webhook(json!({}), json!(["v1"]))),
            (
                "both",
                webhook(
                    json!({"url": "https://a", "service": {"name": "a", "namespace": "b"}}),
                    json!(["v1"])
                )
            ),
            (
                "a service without names",
                service(json!({"port": 70000, "path": "a//B/"}))
            ),
            ("http", url("http://a")),
            ("a URL with all that it may not have", url("https://u:p@a?x=1#f")),
            ("no host", url("https:///a")),
            ("no URL", url("https://a b")),
            ("a bad port", url("https://a:http")),
            ("a bad escape", url("https://a/%zz")),
            (
                "versions of reviews",
                webhook(json!({"url": "https://a"}), json!(["v2", "v2", "V3"]))
            ),
            (
                "nothing kept and nothing dropped",
                json!({"spec": {"preserveUnknownFields": true, "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v1"]}}}})
            ),
        ]
    ));
}

/// As it is once its names are taken.
fn established(mut object: Value) -> Value {
    object["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    object
}

#[test]
fn changes() {
    let mut lines = String::new();
    let mut told = |name: &str, old: Value, new: Value| {
        lines += &format!("# {name}\n{}\n", changed(old, new));
    };
    told(
        "another kind before it is used",
        widgets(),
        with(json!({"spec": {"names": {"kind": "Gadget"}}})),
    );
    told(
        "another group and plural",
        widgets(),
        with(json!({"spec": {"group": "example.org", "names": {"plural": "gadgets"}}})),
    );
    let loose = with_field(
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object", "nullable": true}}),
    );
    told("a set that was wrong before", loose.clone(), loose.clone());
    told("a set that was not", widgets(), loose);
    let unknown_type = with_field(json!({"type": "file"}));
    told("a type that was wrong before", unknown_type.clone(), unknown_type);
    let v2 = json!({"spec": {"versions": [{"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    told("a version that may be stored still", widgets(), with(v2));
    assert_snapshot!(lines);
    let mut errors = Errors::new();
    let old = established(widgets());
    let new = with(
        json!({"spec": {"scope": "Cluster", "names": {"kind": "Gadget"}}, "status": {"storedVersions": ["v1"]}}),
    );
    rules(CRDS).validate_update(
        Write::Update,
        &defaulted(CRDS, new),
        &defaulted(CRDS, old),
        &mut errors,
    );
    assert_snapshot!("established", crate::lines(&errors));
}

#[test]
fn the_status_has_names_too() {
    let mut errors = Errors::new();
    let status = json!({"acceptedNames": {"plural": "Widgets", "kind": "a b", "listKind": "a b", "shortNames": ["-"]}});
    let (old, mut new) = (defaulted(CRDS, widgets()), defaulted(CRDS, widgets()));
    merge(&mut new["status"], status);
    rules(CRDS).validate_update(Write::Status, &new, &old, &mut errors);
    assert_snapshot!(lines(&errors));
}

#[test]
fn what_a_definition_gets_and_keeps() {
    let service = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"name": "a", "namespace": "b"}}, "conversionReviewVersions": ["v1"]}}}});
    let new = prepared(CRDS, decoded(CRDS, with(service)));
    insta::assert_yaml_snapshot!(json!([
        new["spec"]["names"],
        new["spec"]["conversion"],
        new["status"]
    ]));
    let mut moved = with(
        json!({"spec": {"versions": [{"name": "v2", "served": true, "storage": true}]}, "status": {"storedVersions": ["v9"]}}),
    );
    rules(CRDS).prepare(Write::Update, &mut moved, Some(&new), crate::now());
    assert_eq!(moved["status"], json!({"storedVersions": ["v1", "v2"]}));
    let mut status = with(json!({"spec": {"group": "other"}}));
    rules(CRDS).prepare(Write::Status, &mut status, Some(&new), crate::now());
    assert_eq!(status["spec"], new["spec"]);
}

#[test]
fn unknown_formats_are_told_once_they_are_new() {
    let old = with_field(json!({"type": "string", "format": "colour"}));
    let new = with_field(
        json!({"type": "object", "properties": {"a": {"type": "string", "format": "colour"}, "b": {"type": "integer", "format": "int8"}, "c": {"type": "string", "format": "date-time"}}}),
    );
    assert_eq!(
        rules(CRDS).warnings(&new, None),
        ["unrecognized format \"colour\"", "unrecognized format \"int8\""]
    );
    assert_eq!(
        rules(CRDS).warnings(&new, Some(&old)),
        ["unrecognized format \"int8\""]
    );
}

/// Definitions of some megabytes that are wrong everywhere: no more is told than a client would read, and nothing
/// overflows. What they cost is bounded because each node is looked at a few times, and not once the errors are enough.
#[test]
fn hostile_definitions_cost_little() {
    let wide: serde_json::Map<String, Value> = (0..200_000).map(|i| (format!("p{i}"), json!({}))).collect();
    let mut cases = vec![with_field(json!({"type": "object", "properties": wide}))];
    let key = "k".repeat(1 << 20);
    let inner: serde_json::Map<String, Value> = (0..50_000).map(|i| (format!("p{i}"), json!({}))).collect();
    cases.push(with_field(
        json!({"type": "object", "properties": {key: {"type": "object", "properties": inner}}}),
    ));
    let keys: Vec<String> = (0..200_000).map(|i| format!("k{i}")).collect();
    cases.push(with_field(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": {"type": "object"}})));
    let rules: Vec<Value> = (0..50_000)
        .map(|_| json!({"rule": "true", "fieldPath": ".x"}))
        .collect();
    let mut deep = json!({"type": "string", "pattern": "("});
    for _ in 0..60 {
        deep = json!({"type": "object", "properties": {"x": deep}, "x-kubernetes-validations": rules[..20]});
    }
    cases.push(with_field(deep));
    cases.push(with_field(
        json!({"type": "object", "x-kubernetes-validations": rules}),
    ));
    cases.push(with_field(
        json!({"type": "string", "pattern": "(a|".repeat(300_000)}),
    ));
    let versions: Vec<Value> = (0..20_000).map(|i| json!({"name": format!("v{}", i % 2), "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "description": i.to_string()}}})).collect();
    cases.push(with(json!({"spec": {"versions": versions}})));
    let mut nested = json!({});
    for _ in 0..400 {
        nested = json!({"not": nested});
    }
    cases.push(with_field(nested));
    for case in cases {
        let told = errors(CRDS, case);
        assert!(!told.is_empty() && told.len() < 6 << 20, "{} bytes", told.len());
    }
}
