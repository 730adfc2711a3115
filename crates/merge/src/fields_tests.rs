//! Field sets: the JSON form, the laws of set operations, and how paths read.
use super::FieldSet;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn set(value: Value) -> FieldSet {
    FieldSet::parse(&value).expect("a valid set")
}

#[test]
fn parsing_brings_sets_into_canonical_form() {
    let parsed = set(json!({
        "f:b": {".": {}},
        "k:{\"protocol\":\"TCP\",\"containerPort\":80}": {".": {}, "f:name": {}},
        "v: \"x\"": {},
        "i:3": {},
        "x:from-the-future": {"f:a": {}},
        "f:a": {"f:c": {}},
    }));
    insta::assert_snapshot!(parsed.to_value(), @r#"{"f:a":{"f:c":{}},"f:b":{},"i:3":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{}},"v:\"x\"":{}}"#);
    insta::assert_snapshot!(parsed.paths().join("\n"), @r#"
        .b
        [3]
        [containerPort=80,protocol="TCP"]
        [="x"]
        .a.c
        [containerPort=80,protocol="TCP"].name
        "#);
}

#[test]
fn malformed_sets_are_refused() {
    let message = |value: Value| FieldSet::parse(&value).expect_err("must be refused").to_string();
    insta::assert_snapshot!(
        [message(json!([])), message(json!({"f": {}})), message(json!({"spec": {}})), message(json!({"k:x": {}})), message(json!({"k:[1]": {}})), message(json!({"i:x": {}})), message(json!({"f:a": 1}))]
            .join("\n"),
        @r#"
        expected an object in fieldsV1, got []interface {}
        parsing key as path element: key must be 2 characters long:
        parsing key as path element: missing colon: spec
        parsing key as path element: parsing k:x: expected value at line 1 column 1
        parsing key as path element: expected an object of key fields in k:[1]
        parsing key as path element: parsing i:x: invalid digit found in string
        expected an object in fieldsV1, got int64
        "#
    );
}

#[test]
fn difference_keeps_children_and_recursive_difference_does_not() {
    let owned = set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {"f:d": {}, "f:e": {}}}));
    let parents = FieldSet::of_fields(&[&["a"], &["c", "d"]]);
    assert_eq!(
        owned.difference(&parents),
        set(json!({"f:a": {"f:b": {}}, "f:c": {"f:e": {}}}))
    );
    let mut rest = owned.clone();
    rest.subtract_recursive(&parents);
    assert_eq!(rest, set(json!({"f:c": {"f:e": {}}})));
}

#[test]
fn membership_tells_a_path_from_what_lies_below() {
    let owned = set(json!({"f:a": {"f:b": {}}, "f:c": {".": {}, "f:d": {}}}));
    assert!(owned.has(["f:a", "f:b"]) && owned.has(["f:c"]) && owned.has(["f:c", "f:d"]));
    assert!(!owned.has(["f:a"]) && owned.has_prefix(["f:a"]) && !owned.has_prefix(["f:x"]));
}

/// Random sets in canonical form.
fn sets() -> impl Strategy<Value = FieldSet> {
    let element = prop_oneof![
        "[a-c]".prop_map(|n| format!("f:{n}")),
        "[a-b]".prop_map(|n| format!("k:{{\"name\":\"{n}\"}}")),
        (1u8..4).prop_map(|n| format!("v:{n}")),
    ];
    let paths = prop::collection::vec(prop::collection::vec(element, 1..4), 0..8);
    paths.prop_map(|paths| {
        let mut set = FieldSet::new();
        for path in paths {
            set.insert(path);
        }
        set
    })
}

proptest! {
    #[test]
    fn the_json_form_round_trips(a in sets()) {
        prop_assert_eq!(FieldSet::parse(&a.to_value()), Ok(a.clone()));
        let text = a.to_value().to_string();
        let again: Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(FieldSet::parse(&again), Ok(a));
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in sets(), b in sets(), c in sets()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.difference(&b).intersection(&b), FieldSet::new());
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(a.union(&b).difference(&b), a.difference(&b));
        prop_assert_eq!(a.difference(&b.union(&c)), a.difference(&b).difference(&c));
        let united: std::collections::BTreeSet<_> = a.paths().into_iter().chain(b.paths()).collect();
        prop_assert_eq!(a.union(&b).paths().into_iter().collect::<std::collections::BTreeSet<_>>(), united);
    }

    #[test]
    fn recursive_difference_leaves_nothing_below(a in sets(), b in sets()) {
        let mut rest = a.clone();
        rest.subtract_recursive(&b);
        prop_assert!(rest.difference(&a).is_empty());
        let below = |path: &String| b.paths().iter().any(|p| path.starts_with(p.as_str()));
        prop_assert!(!rest.paths().iter().any(below));
        prop_assert!(a.difference(&rest).paths().iter().all(below));
    }

    #[test]
    fn parsing_never_panics(value in crate::testing::any_json()) {
        if let Ok(set) = FieldSet::parse(&value) {
            prop_assert_eq!(FieldSet::parse(&set.to_value()), Ok(set));
        }
    }
}

#[test]
fn a_node_that_only_marks_itself_is_a_leaf() {
    assert_eq!(
        set(json!({"f:a": {".": {}}})).0,
        Map::from_iter([("f:a".to_owned(), json!({}))])
    );
}
