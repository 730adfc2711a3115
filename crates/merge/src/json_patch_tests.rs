//! JSON Patch: RFC 6902's rules, upstream's deviations, and the limits.
use super::{JsonPatchError, MAX_OPERATIONS, apply};
use serde_json::{Value, json};

fn patched(mut doc: Value, patch: Value) -> Result<Value, String> {
    apply(&mut doc, &patch).map(|()| doc).map_err(|e| e.to_string())
}

#[test]
// LONG: one table of cases, which reads best in one piece.
fn operations_follow_rfc_6902() {
    for (doc, patch, want) in [
        (
            json!({"foo":"bar"}),
            json!([{"op":"add","path":"/baz","value":"qux"}]),
            json!({"baz":"qux","foo":"bar"}),
        ),
        (
            json!({"foo":["bar","baz"]}),
            json!([{"op":"add","path":"/foo/1","value":"qux"}]),
            json!({"foo":["bar","qux","baz"]}),
        ),
        (
            json!({"foo":["bar"]}),
            json!([{"op":"add","path":"/foo/-","value":["abc"]}]),
            json!({"foo":["bar",["abc"]]}),
        ),
        (
            json!({"baz":"qux","foo":"bar"}),
            json!([{"op":"remove","path":"/baz"}]),
            json!({"foo":"bar"}),
        ),
        (
            json!({"foo":["bar","qux","baz"]}),
            json!([{"op":"remove","path":"/foo/1"}]),
            json!({"foo":["bar","baz"]}),
        ),
        (
            json!({"foo":["a","b"]}),
            json!([{"op":"remove","path":"/foo/-1"}]),
            json!({"foo":["a"]}),
        ),
        (
            json!({"baz":"qux"}),
            json!([{"op":"replace","path":"/baz","value":"boo"}]),
            json!({"baz":"boo"}),
        ),
        (
            json!({"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}),
            json!([{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]),
            json!({"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}),
        ),
        (
            json!({"foo":["all","grass","cows","eat"]}),
            json!([{"op":"move","from":"/foo/1","path":"/foo/3"}]),
            json!({"foo":["all","cows","eat","grass"]}),
        ),
        (
            json!({"a":{"b":1}}),
            json!([{"op":"copy","from":"/a","path":"/c"}]),
            json!({"a":{"b":1},"c":{"b":1}}),
        ),
        (
            json!({"a/b":1,"m~n":2}),
            json!([{"op":"test","path":"/a~1b","value":1},{"op":"test","path":"/m~0n","value":2}]),
            json!({"a/b":1,"m~n":2}),
        ),
        (
            json!({"a":1}),
            json!([{"op":"test","path":"/nope"}]),
            json!({"a":1}),
        ),
        (
            json!({"a":1}),
            json!([{"op":"replace","path":"","value":{"b":2}}]),
            json!({"b":2}),
        ),
    ] {
        assert_eq!(patched(doc.clone(), patch.clone()), Ok(want), "{doc} + {patch}");
    }
}

#[test]
fn what_cannot_be_done_says_why() {
    let doc = json!({"foo":["a"],"bar":{"x":1}});
    let message = |patch: Value| patched(doc.clone(), patch).expect_err("must be refused");
    insta::assert_snapshot!([
        message(json!({"op":"add"})),
        message(json!([1])),
        message(json!([{"op":"frob","path":"/a"}])),
        message(json!([{"op":"add","value":1}])),
        message(json!([{"op":"add","path":"foo","value":1}])),
        message(json!([{"op":"add","path":"/no/x","value":1}])),
        message(json!([{"op":"add","path":"/foo/2","value":1}])),
        message(json!([{"op":"add","path":"/foo/x","value":1}])),
        message(json!([{"op":"remove","path":"/no"}])),
        message(json!([{"op":"remove","path":"/foo/1"}])),
        message(json!([{"op":"remove","path":""}])),
        message(json!([{"op":"replace","path":"/no","value":1}])),
        message(json!([{"op":"move","from":"/bar","path":"/bar/y"}])),
        message(json!([{"op":"copy","from":"/no","path":"/y"}])),
        message(json!([{"op":"test","path":"/bar/x","value":2}])),
    ].join("\n"), @r#"
        error decoding patch: a JSON patch must be an array of operations
        error decoding patch: operation 0 is not an object
        Unexpected kind: frob
        operation 0 failed to decode path: missing value
        operation 0: path "foo" must be empty or start with "/"
        add operation does not apply: doc is missing path: /no/x: missing value
        add operation does not apply: /foo/2: invalid array index
        add operation does not apply: /foo/x: invalid array index
        remove operation does not apply: doc is missing path: /no: missing value
        remove operation does not apply: /foo/1: invalid array index
        remove operation does not apply: cannot remove the whole object
        replace operation does not apply: doc is missing path: /no: missing value
        move operation does not apply: /bar/y lies inside /bar
        copy operation does not apply: doc is missing path: /no: missing value
        testing value /bar/x failed: test failed
        "#);
}

#[test]
fn a_failed_test_is_told_apart() {
    let mut doc = json!({"a":1});
    let error = apply(&mut doc, &json!([{"op":"test","path":"/a","value":2}])).expect_err("must fail");
    assert_eq!(error, JsonPatchError::TestFailed("/a".into()));
}

#[test]
fn operations_copies_and_depth_are_bounded() {
    let many = Value::Array(vec![json!({"op":"test","path":"/no"}); MAX_OPERATIONS + 1]);
    assert_eq!(
        patched(json!({}), many).expect_err("too many"),
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    );

    let doubling = Value::Array(
        (0..60)
            .flat_map(|i| {
                [
                    json!({"op":"copy","from":"/a","path":format!("/b{i}")}),
                    json!({"op":"copy","from":"","path":"/a"}),
                ]
            })
            .collect(),
    );
    let error = patched(json!({"a":"x".repeat(1000)}), doubling).expect_err("growth is bounded");
    assert!(
        error.contains("accumulated size increase") || error.contains("nest deeper"),
        "{error}"
    );

    let wide = Value::Array(
        (0..10_000)
            .map(|i| json!({"op":"copy","from":"/a","path":format!("/b{i}")}))
            .collect(),
    );
    let error = patched(json!({"a":"x".repeat(1000)}), wide).expect_err("growth is bounded");
    assert!(error.contains("exceeding the limit 3145728"), "{error}");

    let deepening = |levels| {
        Value::Array(
            (1..levels)
                .map(|i| json!({"op":"add","path":"/a".repeat(i),"value":{}}))
                .collect(),
        )
    };
    let error = patched(json!({}), deepening(128)).expect_err("depth is bounded");
    assert!(error.contains("deeper than 127"), "{error}");
    let deepest = patched(json!({}), deepening(127)).expect("is allowed");
    assert_eq!(
        serde_json::from_str::<Value>(&deepest.to_string()).expect("can be read back"),
        deepest
    );
}

#[test]
fn honest_work_fits_the_budget_and_abuse_does_not() {
    let drain = Value::Array(vec![json!({"op":"remove","path":"/list/0"}); 10_000]);
    assert_eq!(
        patched(json!({"list": vec![1; 10_000]}), drain),
        Ok(json!({"list": []}))
    );
    let there_and_back = [
        json!({"op":"move","from":"/a","path":"/b"}),
        json!({"op":"move","from":"/b","path":"/a"}),
    ];
    let abuse = Value::Array(there_and_back.iter().cycle().take(10_000).cloned().collect());
    let error = patched(json!({"a": vec![1; 100_000]}), abuse).expect_err("work is bounded");
    assert!(error.contains("send smaller patches"), "{error}");
}

mod properties {
    use super::super::apply;
    use crate::testing::any_json;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn remove_undoes_add(doc in any_json(), key in "[a-c~/]{1,3}", value in any_json()) {
            let original = json!({"doc": doc, "list": [1, 2]});
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            prop_assume!(original.get(&key).is_none());
            for path in [pointer.as_str(), "/list/0", "/list/1", "/list/2"] {
                let mut doc = original.clone();
                apply(&mut doc, &json!([{"op":"add","path":path,"value":value}])).expect("adds");
                apply(&mut doc, &json!([{"op":"test","path":path,"value":value},{"op":"remove","path":path}])).expect("removes");
                prop_assert_eq!(&doc, &original);
            }
        }

        #[test]
        fn any_patch_is_refused_or_done_but_never_panics(doc in any_json(), patch in any_json()) {
            let mut doc = doc;
            let result = apply(&mut doc, &patch);
            prop_assert!(patch.is_array() || result.is_err());
        }
    }
}
