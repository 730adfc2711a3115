//! Changes between two objects, and that applying a set's complement agrees with them.
use super::{Changes, diff};
use crate::extract::field_set;
use crate::shape::Place;
use crate::testing::{any_config, any_json, deployment, web};
use meta::schema::Schema;
use proptest::prelude::*;
use serde_json::{Value, json};

fn changes(old: Option<&Value>, new: &Value) -> Changes {
    diff(old, new, Place::root(&deployment()))
}

fn text(changes: &Changes) -> String {
    let line = |what: &str, set: &crate::FieldSet| format!("{what} {}", set.to_value());
    [
        line("added", &changes.added),
        line("modified", &changes.modified),
        line("removed", &changes.removed),
    ]
    .join("\n")
}

#[test]
fn creating_adds_everything_as_upstream_records_it() {
    let new = web(&json!({
        "replicas": 1,
        "selector": {"matchLabels": {"app": "x"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "i", "resources": {}, "ports": [{"containerPort": 80}]}]}},
    }));
    insta::assert_snapshot!(text(&changes(None, &new)), @r#"
        added {"f:apiVersion":{},"f:kind":{},"f:metadata":{"f:name":{},"f:namespace":{}},"f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{}}}}}}}
        modified {}
        removed {}
        "#);
}

#[test]
fn each_form_of_list_and_map_reports_in_its_own_way() {
    let pod = |containers: Value, selector: Value| json!({"spec":{"template":{"spec":{"containers": containers, "nodeSelector": selector}}}});
    let old = pod(
        json!([{"name":"a","image":"1","command":["x"]},{"name":"b"}]),
        json!({"k":"1"}),
    );
    let new = pod(
        json!([{"name":"c"},{"name":"a","image":"2","command":["y"],"ports":[{"containerPort":80,"protocol":"UDP"}]}]),
        json!({"k":"2"}),
    );
    insta::assert_snapshot!(text(&changes(Some(&old), &new)), @r#"
        added {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"UDP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}}},"k:{\"name\":\"c\"}":{".":{},"f:name":{}}}}}}}
        modified {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:command":{},"f:image":{}}},"f:nodeSelector":{}}}}}
        removed {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}}}}}
        "#);
    let old = json!({"metadata":{"finalizers":["a","b"],"labels":{"x":"1","y":"1"}}});
    let new = json!({"metadata":{"finalizers":["b","c"],"labels":{"y":"2","z":"1"}}});
    insta::assert_snapshot!(text(&changes(Some(&old), &new)), @r#"
        added {"f:metadata":{"f:finalizers":{"v:\"c\"":{}},"f:labels":{"f:z":{}}}}
        modified {"f:metadata":{"f:labels":{"f:y":{}}}}
        removed {"f:metadata":{"f:finalizers":{"v:\"a\"":{}},"f:labels":{"f:x":{}}}}
        "#);
}

#[test]
fn duplicates_in_a_keyed_list_are_one_leaf() {
    let ports =
        |ports: Value| json!({"spec":{"template":{"spec":{"containers":[{"name":"a","ports":ports}]}}}});
    let twice =
        ports(json!([{"containerPort":80,"name":"x"},{"containerPort":80,"protocol":"TCP","name":"y"}]));
    let other = ports(json!([{"containerPort":80,"name":"x"},{"containerPort":80,"name":"z"}]));
    let once = ports(json!([{"containerPort":80,"name":"x"}]));
    insta::assert_snapshot!(
        [text(&changes(Some(&twice), &other)), text(&changes(Some(&twice), &once)), text(&changes(Some(&once), &twice))].join("\n\n"),
        @r#"
        added {}
        modified {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{}}}}}}}}
        removed {}

        added {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{}}}}}}}}}
        modified {}
        removed {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{}}}}}}}}

        added {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{}}}}}}}}
        modified {}
        removed {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{}}}}}}}}}
        "#
    );
}

#[test]
fn without_a_schema_maps_are_granular_and_lists_are_not() {
    let schema = Schema::any();
    let place = Place::root(&schema);
    let old = json!({"spec":{"a":{"b":1,"list":[1]},"c":{"d":1}}});
    let new = json!({"spec":{"a":{"b":2,"list":[1,2]},"c":3}});
    insta::assert_snapshot!(text(&diff(Some(&old), &new, place)), @r#"
        added {}
        modified {"f:spec":{"f:a":{"f:b":{},"f:list":{}},"f:c":{}}}
        removed {"f:spec":{"f:c":{"f:d":{}}}}
        "#);
}

#[test]
fn empty_and_absent_are_told_apart_but_not_null_numbers() {
    let with = |labels: Value| json!({"metadata":{"labels":labels},"spec":{"replicas":1}});
    insta::assert_snapshot!(text(&changes(Some(&json!({"metadata":{},"spec":{"replicas":1.0}})), &with(json!({})))), @r#"
        added {"f:metadata":{"f:labels":{}}}
        modified {}
        removed {}
        "#);
    insta::assert_snapshot!(text(&changes(Some(&with(json!({"a":"1"}))), &with(json!({})))), @r#"
        added {}
        modified {}
        removed {"f:metadata":{"f:labels":{"f:a":{}}}}
        "#);
}

/// Nested as deep as the parser allows.
pub(crate) fn deep(levels: usize) -> Value {
    (0..levels).fold(json!("leaf"), |inner, _| json!({"a": inner}))
}

#[test]
fn sets_of_deep_objects_stay_parseable() {
    let schema = Schema::any();
    let set = diff(None, &deep(120), Place::root(&schema)).added;
    let object = json!({"metadata":{"managedFields":[{"fieldsV1": set.to_value()}]}}).to_string();
    assert!(serde_json::from_str::<Value>(&object).is_ok());
    assert_eq!(field_set(&deep(120), Place::root(&schema)).paths().len(), 100);
}

proptest! {
    #[test]
    fn an_object_does_not_differ_from_itself(object in any_config(), junk in any_json()) {
        prop_assert!(changes(Some(&object), &object).is_empty());
        prop_assert!(changes(Some(&junk), &junk).is_empty());
    }

    #[test]
    fn what_one_way_adds_the_other_way_removes(a in any_config(), b in any_config()) {
        let (there, back) = (changes(Some(&a), &b), changes(Some(&b), &a));
        prop_assert_eq!(&there.added, &back.removed);
        prop_assert_eq!(&there.removed, &back.added);
        prop_assert_eq!(&there.modified, &back.modified);
        prop_assert!(there.added.intersection(&there.removed).is_empty());
        prop_assert!(there.added.intersection(&there.modified).is_empty());
    }

    #[test]
    fn all_that_is_mentioned_is_added_to_nothing(a in any_config()) {
        let schema = deployment();
        let mentioned = field_set(&a, Place::root(&schema));
        prop_assert!(mentioned.difference(&changes(None, &a).added).is_empty());
    }

    #[test]
    fn junk_never_panics(a in any_json(), b in any_json()) {
        changes(Some(&a), &b);
        let wrapped = |v: &Value| json!({"metadata": v, "spec": {"template": {"spec": {"containers": v}}}});
        changes(Some(&wrapped(&a)), &wrapped(&b));
    }
}
