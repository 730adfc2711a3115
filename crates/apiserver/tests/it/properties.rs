//! Random calls, valid and not: never a 5xx, every write moves the revision on, and all forms of a patch agree.

use crate::world::World;
use proptest::prelude::*;
use serde_json::{Value, json};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

#[derive(Clone, Debug)]
struct Step {
    method: &'static str,
    name: String,
    body: Value,
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop_oneof![Just("a"), Just("b"), Just("B_ad"), Just("")];
    let value = prop_oneof![
        Just(json!({"x": "1"})),
        Just(json!({"x": "2", "y": "3"})),
        Just(json!({"x": null})),
        Just(json!({"x": 7})),
        Just(json!([])),
        Just(Value::Null),
    ];
    let method = prop_oneof![
        Just("POST"),
        Just("PUT"),
        Just("PATCH"),
        Just("DELETE"),
        Just("GET")
    ];
    let revision = prop_oneof![3 => Just(None), 1 => Just(Some("1")), 1 => Just(Some("x"))];
    let finalizers =
        prop_oneof![4 => Just(None), 1 => Just(Some(json!(["a/b"]))), 1 => Just(Some(json!([])))];
    (method, name, value, revision, finalizers).prop_map(|(method, name, data, revision, finalizers)| {
        let mut metadata = json!({"name": name});
        if let Some(revision) = revision {
            metadata["resourceVersion"] = revision.into();
        }
        if let Some(finalizers) = finalizers {
            metadata["finalizers"] = finalizers;
        }
        Step {
            method,
            name: name.into(),
            body: json!({"metadata": metadata, "data": data}),
        }
    })
}

async fn run(steps: Vec<Step>) {
    let world = World::new().await;
    let mut revision = world.server.api().parts().store.snapshot().revision();
    for Step { method, name, body } in steps {
        let path = match method {
            "POST" => CONFIGMAPS.to_string(),
            _ => format!("{CONFIGMAPS}/{name}"),
        };
        let (code, answer) = world.json(method, &path, &body).await;
        assert!(code < 500, "{method} {path} {body}: {code} {answer}");
        let now = world.server.api().parts().store.snapshot().revision();
        assert!(now >= revision, "revisions never go back");
        assert!(
            code < 400 || now == revision,
            "{method} {path} {body}: failed with {code} and wrote"
        );
        if let (200 | 201, Some("ConfigMap")) = (code, answer["kind"].as_str()) {
            assert_ne!(answer["metadata"]["uid"], Value::Null);
            assert_eq!(answer["metadata"]["namespace"], "default");
        }
        revision = now;
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn calls_never_fail_the_server(steps in proptest::collection::vec(step(), 1..25)) {
        block_on(run(steps));
    }

    #[test]
    fn put_and_patches_of_one_change_agree(x in "[a-z]{0,5}", y in "[a-z]{1,5}") {
        block_on(async {
            let world = World::new().await;
            let forms = [
                ("application/json-patch+json", json!([{"op": "add", "path": "/data/x", "value": x}, {"op": "add", "path": "/data/y", "value": y}])),
                ("application/merge-patch+json", json!({"data": {"x": x, "y": y}})),
                ("application/strategic-merge-patch+json", json!({"data": {"x": x, "y": y}})),
                ("application/apply-patch+yaml", json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": x, "y": y}})),
                ("application/json", json!({"metadata": {"name": "o4"}, "data": {"k": "v", "x": x, "y": y}})),
            ];
            for (i, (media, body)) in forms.iter().enumerate() {
                let path = format!("{CONFIGMAPS}/o{i}");
                world.json("POST", CONFIGMAPS, &json!({"metadata": {"name": format!("o{i}")}, "data": {"k": "v", "x": "0"}})).await;
                let method = if i == 4 { "PUT" } else { "PATCH" };
                let path = format!("{path}?fieldManager=m{}", if i == 3 { "&force=true" } else { "" });
                let (code, answer) = world.ask(method, &path, &[("content-type", media)], body.to_string().as_bytes()).await;
                let answer: Value = serde_json::from_slice(&answer).expect("json");
                assert_eq!((code, &answer["data"]), (200, &json!({"k": "v", "x": x, "y": y})), "{media}");
            }
        });
    }
}
