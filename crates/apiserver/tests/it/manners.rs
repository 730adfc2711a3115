//! How single requests are answered, where a client would notice a difference from upstream.

use crate::world::World;
use apiserver::http::Peer;
use apiserver::{Caller, http::Body};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn send(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Bytes::new()).expect("a request");
    world.send(request).await
}

async fn asked(world: &World, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let response = send(world, "GET", path, headers).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&body).expect("JSON"))
}

fn warnings(response: &Response<Body>) -> Vec<String> {
    let all = response.headers().get_all("warning").iter();
    all.map(|v| v.to_str().expect("text").replace("\\\"", "\""))
        .collect()
}

async fn sent(world: &World, path: &str, body: &Value) -> Vec<String> {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()));
    let response = world.send(request.expect("a request")).await;
    assert_eq!(response.status(), 201);
    warnings(&response)
}

#[tokio::test]
async fn impersonation_runs_as_the_other_user() {
    let world = World::new().await.with_roles().await;
    let bob = [("impersonate-user", "bob")];
    let (code, answer) = asked(&world, CONFIGMAPS, &bob).await;
    let text = "configmaps is forbidden: User \"bob\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!((code, answer["message"].as_str()), (403, Some(text)));
    // A group that is given counts, and so does the one of all who are known.
    let masters = [bob[0], ("impersonate-group", "system:masters")];
    assert_eq!(asked(&world, CONFIGMAPS, &masters).await.0, 200);
    assert_eq!(asked(&world, "/apis", &bob).await.0, 200);
    // Groups without a user mean nothing, and must not mean the sender.
    assert_eq!(asked(&world, CONFIGMAPS, &masters[1..]).await.0, 400);
    let unknown = [bob[0], ("impersonate-shoe-size", "43")];
    assert_eq!(asked(&world, CONFIGMAPS, &unknown).await.0, 400);
}

#[tokio::test]
async fn impersonation_needs_permission() {
    let mut world = World::new().await.with_roles().await;
    world.admin = Arc::new(Peer {
        caller: Some(Caller {
            name: "alice".into(),
            groups: vec!["system:authenticated".into()],
            ..Caller::default()
        }),
        loopback: true,
        address: None,
    });
    let (code, answer) = asked(&world, "/apis", &[("impersonate-user", "bob")]).await;
    // The first way that would do: what alice wants to do as bob.
    let text = "forbidden: User \"alice\" cannot impersonate-on:user-info:get path \"/apis\"";
    assert_eq!((code, answer["message"].as_str()), (403, Some(text)));
    let account = [("impersonate-user", "system:serviceaccount:default:app")];
    let (code, answer) = asked(&world, "/apis", &account).await;
    let text = "forbidden: User \"alice\" cannot impersonate-on:serviceaccount:get path \"/apis\"";
    assert_eq!((code, answer["message"].as_str()), (403, Some(text)));
}

#[tokio::test]
async fn head_has_no_body() {
    let world = World::new().await;
    for path in ["/version", "/healthz", "/apis", CONFIGMAPS, "/nonsense"] {
        let whole = send(&world, "GET", path, &[]).await.into_body();
        let length = whole.collect().await.expect("a body").to_bytes().len();
        let head = send(&world, "HEAD", path, &[]).await;
        assert_eq!(
            head.headers()["content-length"],
            length.to_string().as_str(),
            "{path}"
        );
        let body = head.into_body();
        assert!(hyper::body::Body::is_end_stream(&body), "{path}");
    }
}

#[tokio::test]
async fn a_json_patch_that_fails_says_why() {
    let world = World::new().await;
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "1"}});
    assert_eq!(world.json("POST", CONFIGMAPS, &map).await.0, 201);
    let media = [("content-type", "application/json-patch+json")];
    for (patch, why) in [
        (
            json!([{"op": "test", "path": "/data/a", "value": "2"}]),
            "testing value /data/a failed: test failed",
        ),
        (
            json!([{"op": "swap", "path": "/data/a"}]),
            "Unexpected kind: swap",
        ),
    ] {
        let path = format!("{CONFIGMAPS}/m");
        let (code, body) = world
            .ask("PATCH", &path, &media, patch.to_string().as_bytes())
            .await;
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let text = format!("the server rejected our request due to an error in our request: {why}");
        // kubectl prints the message only when there are no causes.
        assert_eq!(
            (code, &answer["message"], &answer["details"]),
            (422, &json!(text), &json!({}))
        );
    }
}

#[tokio::test]
async fn options_and_paths() {
    let world = World::new().await;
    let (code, answer) = world
        .json(
            "POST",
            &format!("{CONFIGMAPS}?dryRun=x"),
            &json!({"metadata": {"name": "m"}}),
        )
        .await;
    assert_eq!((code, &answer["details"]["kind"]), (422, &json!("CreateOptions")));
    let (_, answer) = asked(&world, "/", &[]).await;
    let paths: Vec<&str> = answer["paths"]
        .as_array()
        .expect("paths")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        ["/api", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/version"]
            .iter()
            .all(|p| paths.contains(p)),
        "{paths:?}"
    );
    world
        .json("POST", CONFIGMAPS, &json!({"metadata": {"name": "m"}}))
        .await;
    let (code, answer) = asked(&world, &format!("{CONFIGMAPS}/m?resourceVersion=999999"), &[]).await;
    assert_eq!(
        (code, &answer["details"]["causes"][0]["reason"]),
        (504, &json!("ResourceVersionTooLarge"))
    );
    let (code, _) = world
        .json(
            "DELETE",
            &format!("{CONFIGMAPS}/m?gracePeriodSeconds=-1"),
            &Value::Null,
        )
        .await;
    assert_eq!(code, 200);
    let large = json!({"metadata": {"name": "large"}, "data": {"a": "x".repeat(1_100_000)}});
    let (_, answer) = world.json("POST", CONFIGMAPS, &large).await;
    assert_eq!(answer["details"]["causes"][0]["field"], "[]");
}

#[tokio::test]
async fn a_service_is_created_by_put_and_becomes_a_name() {
    let world = World::new().await;
    let path = format!("{SERVICES}/s");
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "ipFamilyPolicy": "SingleStack"}});
    assert_eq!(world.json("PUT", &path, &service).await.0, 201);
    let patch = json!({"spec": {"type": "ExternalName", "externalName": "example.org", "clusterIP": null}});
    let (code, answer) = world.json("PATCH", &path, &patch).await;
    assert_eq!(code, 200, "{answer}");
    for field in [
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "internalTrafficPolicy",
    ] {
        assert_eq!(answer["spec"].get(field), None, "{field}");
    }
}

#[tokio::test]
async fn what_is_hardly_meant_is_warned_of() {
    let world = World::new().await;
    let account = json!({"metadata": {"name": "default"}});
    world
        .json("POST", "/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let container = json!({"name": "c", "image": "i", "resources": {"limits": {"memory": "1.5"}},
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        "ports": [{"containerPort": 80}, {"containerPort": 80}]});
    let pod = json!({"metadata": {"name": "a.b"}, "spec": {"containers": [container]}});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod["spec"]});
    let workload = json!({"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let mut all = sent(&world, PODS, &pod).await;
    for plural in ["deployments", "statefulsets", "replicasets"] {
        all.push(format!("-- {plural}"));
        all.extend(
            sent(
                &world,
                &format!("/apis/apps/v1/namespaces/default/{plural}"),
                &workload,
            )
            .await,
        );
    }
    all.push("-- endpoints".into());
    all.extend(warnings(
        &send(&world, "GET", "/api/v1/namespaces/default/endpoints", &[]).await,
    ));
    insta::assert_snapshot!(all.join("\n"));
}

#[tokio::test]
async fn binding_is_no_new_generation() {
    let world = World::new().await;
    let account = json!({"metadata": {"name": "default"}});
    world
        .json("POST", "/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(world.json("POST", PODS, &pod).await.0, 201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(
        world.json("POST", &format!("{PODS}/p/binding"), &binding).await.0,
        201
    );
    let (_, pod) = world.json("GET", &format!("{PODS}/p"), &Value::Null).await;
    assert_eq!(
        (&pod["metadata"]["generation"], &pod["spec"]["nodeName"]),
        (&json!(1), &json!("n"))
    );
}

/// Both mean "as it will be": who comes second changes what the first has made.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn applies_and_puts_that_create_in_one_moment_all_succeed() {
    let world = Arc::new(World::new().await);
    let apply = |name: String, n: usize| {
        let world = world.clone();
        async move {
            let path = format!("{CONFIGMAPS}/{name}?fieldManager=m{n}");
            let key = format!("k{n}");
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: "v"}});
            let kind = [("content-type", "application/apply-patch+yaml")];
            world
                .ask("PATCH", &path, &kind, body.to_string().as_bytes())
                .await
                .0
        }
    };
    let put = |name: String, n: usize| {
        let world = world.clone();
        async move {
            let path = format!("/api/v1/namespaces/default/endpoints/{name}");
            let body = json!({"metadata": {"name": name, "annotations": {"by": n.to_string()}}});
            world.json("PUT", &path, &body).await.0
        }
    };
    let expected = [vec![200; 7], vec![201]].concat();
    for round in 0..30 {
        let name = format!("c{round}");
        let applies = (0..8).map(|n| tokio::spawn(apply(name.clone(), n)));
        assert_eq!(codes(applies.collect()).await, expected, "applies of {name}");
        let (_, map) = world
            .json("GET", &format!("{CONFIGMAPS}/{name}"), &Value::Null)
            .await;
        assert_eq!(map["data"].as_object().map(serde_json::Map::len), Some(8));
        let puts = (0..8).map(|n| tokio::spawn(put(name.clone(), n)));
        assert_eq!(codes(puts.collect()).await, expected, "puts of {name}");
    }
}

async fn codes(calls: Vec<tokio::task::JoinHandle<u16>>) -> Vec<u16> {
    let done = futures::future::join_all(calls).await;
    let mut codes: Vec<u16> = done.into_iter().map(|code| code.expect("no panic")).collect();
    codes.sort_unstable();
    codes
}
