//! Strategic merge patch: lists by key and as sets, directives, order, and what is refused.
use super::apply;
use crate::testing::{any_config, any_json, deployment, web};
use proptest::prelude::*;
use serde_json::{Value, json};

fn patched(mut doc: Value, patch: Value) -> Result<Value, String> {
    apply(&mut doc, patch, &deployment())
        .map(|()| doc)
        .map_err(|e| e.to_string())
}

fn containers(items: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": items}}}})
}

/// The containers after a patch of containers.
fn after(live: Value, patch: Value) -> String {
    match patched(containers(live), containers(patch)) {
        Ok(doc) => doc["spec"]["template"]["spec"]["containers"].to_string(),
        Err(error) => error,
    }
}

#[test]
fn lists_merge_by_key_and_new_items_come_first() {
    let live = json!([{"name":"a","image":"1"},{"name":"b","image":"1","env":[{"name":"X","value":"1"}]}]);
    insta::assert_snapshot!(
        [
            after(live.clone(), json!([{"name":"b","image":"2","env":[{"name":"Y","value":"2"}]}])),
            after(live.clone(), json!([{"name":"c","image":"3"}])),
            after(live.clone(), json!([{"name":"b"},{"name":"a"}])),
            after(live.clone(), json!([{"name":"a","$patch":"delete"}])),
            after(live.clone(), json!([{"$patch":"replace"},{"name":"z"}])),
            after(live.clone(), json!([{"name":"a","image":null}])),
            after(live.clone(), json!([{"name":"a","$patch":"delete"},{"name":"n","env":null,"image":"5"}])),
        ]
        .join("\n"),
        @r#"
        [{"image":"1","name":"a"},{"env":[{"name":"Y","value":"2"},{"name":"X","value":"1"}],"image":"2","name":"b"}]
        [{"image":"3","name":"c"},{"image":"1","name":"a"},{"env":[{"name":"X","value":"1"}],"image":"1","name":"b"}]
        [{"env":[{"name":"X","value":"1"}],"image":"1","name":"b"},{"image":"1","name":"a"}]
        [{"env":[{"name":"X","value":"1"}],"image":"1","name":"b"}]
        [{"name":"z"}]
        [{"name":"a"},{"env":[{"name":"X","value":"1"}],"image":"1","name":"b"}]
        [{"image":"5","name":"n"},{"env":[{"name":"X","value":"1"}],"image":"1","name":"b"}]
        "#
    );
}

#[test]
fn ports_merge_by_the_patch_merge_key_alone() {
    let live = json!([{"name":"a","ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":443}]}]);
    insta::assert_snapshot!(after(live, json!([{"name":"a","ports":[{"containerPort":80,"name":"http"}]}])), @r#"[{"name":"a","ports":[{"containerPort":80,"name":"http","protocol":"TCP"},{"containerPort":443}]}]"#);
}

#[test]
fn directives_on_maps_and_scalars() {
    let live = json!({"metadata":{"labels":{"a":"1","b":"2"},"finalizers":["x","y"]},"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}});
    let run = |patch: Value| patched(live.clone(), patch).map_or_else(|e| e, |doc| doc.to_string());
    insta::assert_snapshot!(
        [
            run(json!({"metadata":{"labels":{"$patch":"replace","c":"3"}}})),
            run(json!({"metadata":{"labels":{"$patch":"delete"}}})),
            run(json!({"metadata":{"labels":{"a":null,"c":"3"}}})),
            run(json!({"metadata":{"finalizers":["z","x"]}})),
            run(json!({"metadata":{"$deleteFromPrimitiveList/finalizers":["x"]}})),
            run(json!({"metadata":{"$deleteFromPrimitiveList/finalizers":["x"],"$setElementOrder/finalizers":["z","y"],"finalizers":["z"]}})),
            run(json!({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})),
            run(json!({"spec":null,"status":{"replicas":1,"conditions":null}})),
            run(json!({"$patch":"delete"})),
        ]
        .join("\n"),
        @r#"
        {"metadata":{"finalizers":["x","y"],"labels":{"c":"3"}},"spec":{"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"}}}
        {"metadata":{"finalizers":["x","y"],"labels":{}},"spec":{"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"}}}
        {"metadata":{"finalizers":["x","y"],"labels":{"b":"2","c":"3"}},"spec":{"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"}}}
        {"metadata":{"finalizers":["z","x","y"],"labels":{"a":"1","b":"2"}},"spec":{"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"}}}
        {"metadata":{"finalizers":["y"],"labels":{"a":"1","b":"2"}},"spec":{"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"}}}
        {"metadata":{"finalizers":["z","y"],"labels":{"a":"1","b":"2"}},"spec":{"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"}}}
        {"metadata":{"finalizers":["x","y"],"labels":{"a":"1","b":"2"}},"spec":{"strategy":{"type":"Recreate"}}}
        {"metadata":{"finalizers":["x","y"],"labels":{"a":"1","b":"2"}},"status":{"replicas":1}}
        {}
        "#
    );
}

#[test]
fn element_order_places_items() {
    let live = json!([{"name":"a"},{"name":"server"},{"name":"b"}]);
    let run = |containers: Value, order: Value| {
        let mut patch = json!({"spec":{"template":{"spec":{"$setElementOrder/containers": order}}}});
        if !containers.is_null() {
            patch["spec"]["template"]["spec"]["containers"] = containers;
        }
        let doc = patched(json!({"spec":{"template":{"spec":{"containers": live}}}}), patch);
        doc.map_or_else(
            |e| e,
            |doc| doc["spec"]["template"]["spec"]["containers"].to_string(),
        )
    };
    insta::assert_snapshot!(
        [
            run(json!(null), json!([{"name":"b"},{"name":"a"}])),
            run(json!([{"name":"c","image":"1"}]), json!([{"name":"a"},{"name":"c"},{"name":"b"}])),
            run(json!([{"name":"a","$patch":"delete"}]), json!([{"name":"b"}])),
            run(json!([{"name":"b"},{"name":"a"}]), json!([{"name":"a"},{"name":"b"}])),
            run(json!([{"name":"x"}]), json!([{"name":"a"}])),
        ]
        .join("\n"),
        @r#"
        [{"name":"server"},{"name":"b"},{"name":"a"}]
        [{"name":"a"},{"image":"1","name":"c"},{"name":"server"},{"name":"b"}]
        [{"name":"server"},{"name":"b"}]
        The order in patch list:
        [map[name:b] map[name:a]]
         doesn't match $setElementOrder list:
        [map[name:a] map[name:b]]

        The order in patch list:
        [map[name:x]]
         doesn't match $setElementOrder list:
        [map[name:a]]
        "#
    );
}

#[test]
fn what_does_not_fit_is_refused_in_upstreams_words() {
    let live = json!([{"name":"a"}]);
    let metadata = |patch: Value| {
        patched(
            json!({"metadata":{"finalizers":["x"],"labels":{"a":"1"}}}),
            json!({"metadata": patch}),
        )
        .expect_err("must be refused")
    };
    insta::assert_snapshot!(
        [
            after(live.clone(), json!([{"image":"x"}])),
            after(live.clone(), json!([{"image":"x","$patch":"delete"}])),
            after(live.clone(), json!([{"name":"a","$patch":"frob"}])),
            after(live.clone(), json!([{"name":"a","$patch":"merge"}])),
            after(live.clone(), json!(["a"])),
            after(live.clone(), json!([["a"]])),
            after(json!([{"image":"x"}]), json!([{"name":"a"}])),
            metadata(json!({"labels":{"$patch":"merge"}})),
            metadata(json!({"$retainKeys":"x"})),
            metadata(json!({"$retainKeys":["labels"],"finalizers":["y"]})),
            metadata(json!({"$deleteFromPrimitiveListfinalizers":["x"]})),
            metadata(json!({"$setElementOrder":["x"]})),
            metadata(json!({"$setElementOrder/finalizers":"x"})),
            metadata(json!({"finalizers":[1]})),
            metadata(json!({"finalizers":[["x"]]})),
        ]
        .join("\n"),
        @r#"
        map: map[image:x] does not contain declared merge key: name
        map: map[$patch:delete image:x] does not contain declared merge key: name
        unknown patch type: frob in map: map[$patch:frob name:a]
        merging lists cannot yet be specified in the patch
        list element types are not identical: [[map[name:a]] [a]]
        list element types are not identical: [[map[name:a]] [[a]]]
        map: map[image:x] does not contain declared merge key: name
        unknown patch type: merge in map: map[$patch:merge]
        invalid patch format of retainKeys
        invalid patch format of retainKeys
        invalid patch format of primitive list
        invalid patch format of setElementOrder list
        expected a []interface {}, but received a string
        list element types are not identical: [[x] [1]]
        list element types are not identical: [[x] [[x]]]
        "#
    );
}

#[test]
fn a_list_of_many_items_merges_in_linear_time() {
    let items = |prefix: &str| {
        Value::Array(
            (0..50_000)
                .map(|i| json!({"name": format!("{prefix}{i}")}))
                .collect(),
        )
    };
    let doc = patched(containers(items("a")), containers(items("b"))).expect("merges");
    assert_eq!(
        doc["spec"]["template"]["spec"]["containers"]
            .as_array()
            .map(Vec::len),
        Some(100_000)
    );
}

proptest! {
    #[test]
    fn patching_twice_is_patching_once(live in any_config(), patch in any_config()) {
        let once = patched(live, patch.clone()).expect("merges");
        prop_assert_eq!(patched(once.clone(), patch), Ok(once));
    }

    #[test]
    fn an_object_is_a_patch_of_itself_that_changes_nothing(live in any_config()) {
        prop_assert_eq!(patched(live.clone(), live.clone()), Ok(live));
    }

    #[test]
    fn any_patch_is_refused_or_done_but_never_panics(live in any_config(), junk in any_json(), at in 0usize..4) {
        let patch = match at {
            0 => junk,
            1 => web(&junk),
            2 => containers(junk),
            _ => json!({"metadata": junk}),
        };
        if let Err(error) = patched(live, patch) {
            prop_assert!(!error.is_empty());
        }
    }
}
