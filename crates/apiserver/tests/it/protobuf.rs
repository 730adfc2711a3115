//! What a client that speaks protobuf sees: bodies in, objects, lists, events and failures out; and which form `Accept`
//! gets where there are several.

use crate::world::World;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kinds::wire;
use serde_json::{Value, json};
use std::time::Duration;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const PARTIAL: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

fn configmap(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"on": "1"}},
        "data": {"k": "ü"}, "binaryData": {"b": "AP8="}})
}

fn encoded(value: &Value) -> Vec<u8> {
    wire::body(value).expect("encodes").expect("has a form")
}

fn decoded(body: &[u8]) -> Value {
    wire::decode(body, ("", "")).expect("a protobuf body")
}

/// The same object as JSON is compared by its protobuf form, in which what is zero and what is missing are the same.
fn assert_same(protobuf: &[u8], json: &Value) {
    assert_eq!(decoded(protobuf), decoded(&encoded(json)));
}

async fn send(
    world: &World,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = world.send(request.body(body.into()).expect("a request")).await;
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(Duration::from_secs(10), body.collect());
    Response::from_parts(parts, body.await.expect("in time").expect("a body").to_bytes())
}

async fn get(world: &World, path: &str, accept: &str) -> Response<Bytes> {
    send(world, "GET", path, &[("accept", accept)], Vec::new()).await
}

fn media(response: &Response<Bytes>) -> &str {
    response.headers()["content-type"].to_str().expect("text")
}

/// The next events of a watch: four bytes of length and an event each.
async fn events(body: &mut apiserver::http::Body, count: usize) -> Vec<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        let (mut events, mut rest) = (Vec::new(), &bytes[..]);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let Some((event, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            // `WatchEvent`: type = 1, object = 2, which holds the body as its field 1.
            let (kind, object) = (
                &event[2..2 + usize::from(event[1])],
                &event[2 + usize::from(event[1])..],
            );
            let start = object
                .windows(4)
                .position(|w| w == codec::protobuf::MAGIC)
                .expect("an envelope");
            events.push((
                String::from_utf8_lossy(kind).into_owned(),
                decoded(&object[start..]),
            ));
            rest = after;
        }
        if events.len() >= count {
            return events;
        }
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame());
        let frame = frame
            .await
            .expect("events in time")
            .expect("no end")
            .expect("no error");
        bytes.extend_from_slice(&frame.into_data().expect("data"));
    }
}

async fn watch(world: &World, accept: &str, query: &str) -> apiserver::http::Body {
    let request = Request::get(format!("{CONFIGMAPS}?watch=true&{query}")).header("accept", accept);
    let response = world.send(request.body(Bytes::new()).expect("a request")).await;
    let media = response.headers()["content-type"].to_str().expect("text");
    assert_eq!(media, "application/vnd.kubernetes.protobuf;stream=watch");
    response.into_body()
}

#[tokio::test]
async fn objects_go_in_and_come_out() {
    let world = World::new().await;
    let both = [("accept", PROTOBUF), ("content-type", PROTOBUF)];
    let created = send(&world, "POST", CONFIGMAPS, &both, encoded(&configmap("a"))).await;
    assert_eq!((created.status().as_u16(), media(&created)), (201, PROTOBUF));
    let path = format!("{CONFIGMAPS}/a");
    let (_, json) = world.json("GET", &path, &Value::Null).await;
    assert_eq!(json["binaryData"]["b"], "AP8=");
    assert_same(created.body(), &json);
    let got = get(&world, &path, PROTOBUF).await;
    assert_eq!(got.body(), created.body());

    let mut changed = decoded(got.body());
    changed["data"]["k"] = "two".into();
    let updated = send(&world, "PUT", &path, &both, encoded(&changed)).await;
    assert_eq!(decoded(updated.body())["data"]["k"], "two");
    let merge = [
        ("accept", PROTOBUF),
        ("content-type", "application/merge-patch+json"),
    ];
    let patched = send(&world, "PATCH", &path, &merge, br#"{"data":{"k":null}}"#.to_vec()).await;
    assert_eq!(decoded(patched.body())["data"], Value::Null);
    let partial = get(&world, &path, PARTIAL).await;
    assert_eq!(decoded(partial.body())["kind"], "PartialObjectMetadata");
    assert_eq!(
        decoded(partial.body())["metadata"],
        decoded(patched.body())["metadata"]
    );

    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "other"}});
    let refused = send(&world, "DELETE", &path, &both, encoded(&options)).await;
    let status = decoded(refused.body());
    assert_eq!(
        (refused.status().as_u16(), &status["reason"]),
        (409, &json!("Conflict"))
    );
    let deleted = send(&world, "DELETE", &path, &both, Vec::new()).await;
    assert_eq!(decoded(deleted.body())["status"], "Success");
}

#[tokio::test]
async fn questions_and_subresources_are_answered() {
    let world = World::new().await;
    let both = [("accept", PROTOBUF), ("content-type", PROTOBUF)];
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = send(&world, "POST", path, &both, encoded(&review)).await;
    assert_eq!(decoded(answer.body())["status"]["allowed"], true);
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}}}});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let created = send(&world, "POST", deployments, &both, encoded(&deployment)).await;
    assert_eq!(
        decoded(created.body())["spec"]["template"]["spec"]["restartPolicy"],
        "Always"
    );
    let scale = get(&world, &format!("{deployments}/d/scale"), PROTOBUF).await;
    let mut scale = decoded(scale.body());
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(2))
    );
    scale["spec"]["replicas"] = 3.into();
    let path = format!("{deployments}/d/scale");
    let scaled = send(&world, "PUT", &path, &both, encoded(&scale)).await;
    assert_eq!(decoded(scaled.body())["spec"]["replicas"], 3);
}

#[tokio::test]
async fn lists_are_sent_in_pieces_whose_sum_was_told() {
    let world = World::new().await;
    for i in 0..300 {
        let mut object = configmap(&format!("m{i:03}"));
        object["data"]["filler"] = "x".repeat(i * 3).into();
        assert_eq!(world.json("POST", CONFIGMAPS, &object).await.0, 201);
    }
    let (_, json) = world.json("GET", CONFIGMAPS, &Value::Null).await;
    // The second time what was encoded first is sent again.
    for _ in 0..2 {
        let list = get(&world, CONFIGMAPS, PROTOBUF).await;
        assert_eq!(media(&list), PROTOBUF);
        assert_same(list.body(), &json);
        assert_eq!(*list.body(), encoded(&json));
    }
    let page = get(&world, &format!("{CONFIGMAPS}?limit=2"), PROTOBUF).await;
    assert_eq!(decoded(page.body())["metadata"]["remainingItemCount"], 298);
    for version in ["v1", "v1beta1"] {
        let as_list = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v={version}");
        let partial = get(&world, CONFIGMAPS, &as_list).await;
        let partial = decoded(partial.body());
        assert_eq!(partial["apiVersion"], format!("meta.k8s.io/{version}"));
        let of_json = as_list.replace(PROTOBUF, "application/json");
        let of_json: Value =
            serde_json::from_slice(get(&world, CONFIGMAPS, &of_json).await.body()).expect("JSON");
        assert_eq!(of_json["items"][299]["kind"], "PartialObjectMetadata");
        assert_eq!(partial, decoded(&encoded(&of_json)));
    }
    let none = get(&world, "/api/v1/namespaces/other/secrets", PROTOBUF).await;
    assert_eq!(decoded(none.body())["kind"], "SecretList");
}

#[tokio::test]
async fn events_are_frames() {
    let world = World::new().await;
    world.json("POST", CONFIGMAPS, &configmap("a")).await;
    let query =
        "labelSelector=on&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut whole = watch(&world, PROTOBUF, query).await;
    let mut metadata = watch(&world, PARTIAL, query).await;
    let path = format!("{CONFIGMAPS}/a");
    for labels in [json!({"on": "2"}), json!({"on": null})] {
        let patch = json!({"metadata": {"labels": labels}});
        world.json("PATCH", &path, &patch).await;
    }
    for (body, kind) in [
        (&mut whole, "ConfigMap"),
        (&mut metadata, "PartialObjectMetadata"),
    ] {
        let events = events(body, 4).await;
        let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["ADDED", "BOOKMARK", "MODIFIED", "DELETED"]);
        assert!(events.iter().all(|(_, object)| object["kind"] == kind));
        assert_eq!(
            events[1].1["metadata"]["annotations"]["k8s.io/initial-events-end"],
            "true"
        );
        assert_eq!(events[3].1["metadata"]["labels"]["on"], "2");
        assert_eq!(events[0].1["data"].is_object(), kind == "ConfigMap");
    }
    world.server.api().parts().store.compact(u64::MAX);
    let mut gone = watch(&world, PROTOBUF, "resourceVersion=1").await;
    let events = events(&mut gone, 1).await;
    assert_eq!(
        (events[0].0.as_str(), &events[0].1["code"]),
        ("ERROR", &json!(410))
    );
}

/// What follows the path of the ConfigMaps, and `Accept`.
const ACCEPTED: &[(&str, &str)] = &[
    ("/a", "application/vnd.kubernetes.protobuf,application/json"),
    ("/a", "application/json;q=0.5,application/vnd.kubernetes.protobuf"),
    (
        "/a",
        "application/vnd.kubernetes.protobuf;q=0.5, application/yaml;q=0.9, */*;q=0.1",
    ),
    ("/a", "*/*, application/yaml"),
    ("/a", "application/*"),
    ("/a", "*"),
    ("/a", "application/cbor"),
    ("/a", "application/cbor, application/json"),
    ("/a", "text/html, image/png; q=0.8"),
    ("/a", "application/vnd.kubernetes.protobuf;stream=watch"),
    ("/a", "application/json;stream=other"),
    ("/a", "application/json;sv=v1"),
    ("/a", "application/json;sv=v2, application/yaml"),
    ("/a", "application/json;charset=utf-8"),
    ("/a", "application/json;pretty=1"),
    (
        "/a",
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
    ),
    (
        "/a",
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
    ),
    ("", "TABLE,application/json"),
    ("", "application/yaml;as=Table;v=v1;g=meta.k8s.io"),
    (
        "",
        "application/json;as=Table;v=v2;g=meta.k8s.io,application/json",
    ),
    ("", "application/json;as=Widget;v=v1;g=meta.k8s.io"),
    ("", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"),
    (
        "/a",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    ),
    ("/missing", "application/vnd.kubernetes.protobuf,application/json"),
    ("/missing", "application/yaml"),
    ("/missing", "TABLE,application/json"),
    ("/missing", "TABLE"),
    ("/missing", "application/cbor"),
    ("?watch=true&timeoutSeconds=1", "application/yaml"),
    ("?watch=true&timeoutSeconds=1", "application/cbor"),
    (
        "?watch=true&timeoutSeconds=1&resourceVersion=1",
        "application/json",
    ),
];

/// `Accept`, code, and the form of what comes.
#[tokio::test]
async fn the_best_of_what_is_accepted_is_sent() {
    let world = World::new().await;
    world.json("POST", CONFIGMAPS, &configmap("a")).await;
    let mut told = String::new();
    for (path, accept) in ACCEPTED {
        let accept = accept.replace("TABLE", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let answer = get(&world, &format!("{CONFIGMAPS}{path}"), &accept).await;
        let body = match media(&answer) {
            PROTOBUF => decoded(answer.body()),
            "application/yaml" => codec::from_yaml(answer.body()).expect("YAML").value,
            _ => serde_json::Deserializer::from_slice(answer.body())
                .into_iter()
                .next()
                .map_or(Value::Null, |v| v.expect("JSON")),
        };
        let kind = body["kind"]
            .as_str()
            .or(body["type"].as_str())
            .unwrap_or_default();
        let message = body["message"]
            .as_str()
            .map(|m| format!(": {m}"))
            .unwrap_or_default();
        let lines = if answer.body().starts_with(b"{\n") {
            " in lines"
        } else {
            ""
        };
        told += &format!(
            "{path} {accept}\n    {} {}{lines} {kind}{message}\n",
            answer.status(),
            media(&answer)
        );
    }
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn bodies_in_other_forms() {
    let world = World::new().await;
    let cut = &encoded(&configmap("x"))[..40];
    let widget = [codec::protobuf::MAGIC, b"\x0a\x0e\x0a\x04a/v1\x12\x06Widget"].concat();
    let mut told = String::new();
    for (media_type, body) in [
        (
            "application/yaml",
            &b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml\ndata: {a: b}\n"[..],
        ),
        (
            "application/json; charset=utf-8",
            br#"{"metadata":{"name":"json"}}"#,
        ),
        ("", br#"{"metadata":{"name":"untold"}}"#),
        ("text/json", b"{}"),
        ("application/cbor", b"\xa0"),
        ("text/plain", b"x"),
        (PROTOBUF, b"{}"),
        (PROTOBUF, b"k8s\0"),
        (PROTOBUF, cut),
        (PROTOBUF, &widget),
        ("application/json", b"[1]x"),
        (
            "application/json",
            b"{\"metadata\":{\"name\":\"a name that is long\"},",
        ),
    ] {
        let headers = [("content-type", media_type)];
        let headers = if media_type.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let answer = send(&world, "POST", CONFIGMAPS, headers, body.to_vec()).await;
        let value: Value = serde_json::from_slice(answer.body()).expect("JSON");
        let message = value["message"].as_str().unwrap_or_default();
        told += &format!("{media_type}\n    {} {message}\n", answer.status());
    }
    let patch = send(
        &world,
        "PATCH",
        &format!("{CONFIGMAPS}/json"),
        &[("content-type", PROTOBUF)],
        vec![1],
    )
    .await;
    let value: Value = serde_json::from_slice(patch.body()).expect("JSON");
    told += &format!("PATCH {PROTOBUF}\n    {} {}\n", patch.status(), value["message"]);
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn discovery_speaks_it_too() {
    let world = World::new().await;
    let resources = get(
        &world,
        "/apis/apps/v1",
        "application/vnd.kubernetes.protobuf,application/json",
    )
    .await;
    let list = decoded(resources.body());
    assert_eq!(
        (&list["kind"], &list["groupVersion"]),
        (&json!("APIResourceList"), &json!("apps/v1"))
    );
    let aggregated =
        format!("application/json,{PROTOBUF};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let all = get(&world, "/apis", &aggregated).await;
    let (_, json) = all.into_parts();
    assert_eq!(decoded(&json)["kind"], "APIGroupDiscoveryList");
    let versions = get(&world, "/api", PROTOBUF).await;
    assert_eq!(versions.status(), 200);
}
