//! Discovery and OpenAPI against what the rows say, through the same requests that clients send.

use crate::world::World;
use bytes::Bytes;
use http::Request;
use kinds::Registry;
use serde_json::Value;
use std::collections::BTreeSet;

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a Vec<Value> {
    value.pointer(pointer).and_then(Value::as_array).expect("a list")
}

fn root(group: &str, version: &str) -> String {
    match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }
}

#[tokio::test]
async fn every_row_is_in_both_forms_of_discovery_with_its_subresources() {
    let world = World::new().await;
    for row in Registry::builtin().iter() {
        let path = root(row.res.group, row.version);
        let plain = json(&world.ask("GET", &path, &[], b"").await.1);
        let entries = list(&plain, "/resources");
        let own = entries
            .iter()
            .find(|e| e["name"] == row.res.plural)
            .expect("an entry");
        assert_eq!(own["kind"], row.kind);
        assert_eq!(own["namespaced"], row.namespaced);
        let prefix = format!("{}/", row.res.plural);
        let subs = |e: &Value| {
            e["name"]
                .as_str()
                .and_then(|n| n.strip_prefix(&prefix))
                .map(str::to_string)
        };
        let subresources: BTreeSet<String> = entries.iter().filter_map(subs).collect();
        assert_eq!(subresources.contains("status"), row.status);
        assert_eq!(subresources.contains("scale"), row.scale.is_some());
        assert!(row.rules.subresources().iter().all(|s| subresources.contains(*s)));

        let whole = if row.res.group.is_empty() { "/api" } else { "/apis" };
        let accept = [("accept", V2)];
        let all = json(&world.ask("GET", whole, &accept, b"").await.1);
        let name = |g: &Value| g["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let group = list(&all, "/items")
            .iter()
            .find(|g| name(g) == row.res.group)
            .expect("a group");
        let nested = list(group, "/versions/0/resources")
            .iter()
            .find(|r| r["resource"] == row.res.plural);
        let nested = nested.expect("the resource");
        assert_eq!(nested["verbs"], own["verbs"]);
        let inner = nested["subresources"].as_array().cloned().unwrap_or_default();
        let inner: BTreeSet<String> = inner
            .iter()
            .filter_map(|s| s["subresource"].as_str().map(str::to_string))
            .collect();
        assert_eq!(inner, subresources);
    }
}

#[tokio::test]
async fn kubectls_accept_gets_the_aggregated_form_and_an_etag_that_holds() {
    let world = World::new().await;
    let accept = format!(
        "{V2},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
    );
    let request = |tag: &str| {
        let request = Request::get("/apis").header("accept", &accept);
        let request = if tag.is_empty() {
            request
        } else {
            request.header("if-none-match", tag)
        };
        request.body(Bytes::new()).expect("a request")
    };
    let first = world.send(request("")).await;
    assert_eq!(first.headers()["content-type"], V2);
    let tag = first.headers()["etag"].to_str().expect("text").to_string();
    assert_eq!(world.send(request(&tag)).await.status(), 304);
    assert_eq!(world.send(request("\"other\"")).await.status(), 200);
    let cbor = [("accept", "application/cbor")];
    assert_eq!(world.ask("GET", "/apis", &cbor, b"").await.0, 406);
    assert_eq!(world.ask("GET", "/apis/nothing.example", &[], b"").await.0, 404);
}

/// Every `$ref` in a document.
fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|v| references(v, into));
        }
        Value::Array(list) => list.iter().for_each(|v| references(v, into)),
        _ => {}
    }
}

fn assert_references_hold(document: &Value) {
    let mut all = BTreeSet::new();
    references(document, &mut all);
    assert!(all.len() > 10);
    for reference in all {
        assert!(
            document.pointer(&reference[1..]).is_some(),
            "{reference} leads nowhere"
        );
    }
}

#[tokio::test]
async fn openapi_v3_has_the_paths_and_types_of_every_row() {
    let world = World::new().await;
    let index = json(&world.ask("GET", "/openapi/v3", &[], b"").await.1);
    for row in Registry::builtin().iter() {
        let path = root(row.res.group, row.version);
        let url = index["paths"][&path[1..]]["serverRelativeURL"]
            .as_str()
            .expect("a URL");
        let document = json(&world.ask("GET", url, &[], b"").await.1);
        let scope = if row.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = &document["paths"][&format!("{path}{scope}/{}", row.res.plural)];
        let asks = row.rules.is_question();
        let method = if asks { "post" } else { "get" };
        assert_eq!(
            collection[method]["x-kubernetes-group-version-kind"]["kind"],
            row.kind
        );
        if asks {
            assert!(collection["get"].is_null());
            continue;
        }
        let one = &document["paths"][&format!("{path}{scope}/{}/{{name}}", row.res.plural)];
        let parameters = list(one, "/patch/parameters").iter();
        assert!(
            parameters.clone().any(|p| p["name"] == "fieldValidation"),
            "{}",
            row.kind
        );
        let schema = &document["components"]["schemas"][row.type_name];
        assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], row.kind);
        assert_references_hold(&document);
    }
    let stale = Request::get("/openapi/v3/apis/apps/v1?hash=OLD")
        .body(Bytes::new())
        .expect("a request");
    let moved = world.send(stale).await;
    assert_eq!(moved.status(), 301);
    let url = moved.headers()["location"].to_str().expect("text").to_string();
    let whole = world
        .send(Request::get(url).body(Bytes::new()).expect("a request"))
        .await;
    assert!(
        whole.headers()["cache-control"]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
}

#[tokio::test]
async fn schemas_carry_the_facts_that_clients_merge_by() {
    let world = World::new().await;
    let document = json(&world.ask("GET", "/openapi/v3/apis/apps/v1", &[], b"").await.1);
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["x-kubernetes-list-map-keys"][0], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    assert!(strategy["allOf"][0]["$ref"].is_string());
    let port = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(port["oneOf"][0]["type"], "integer");
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"],
        "atomic"
    );
    assert_eq!(schemas["io.k8s.api.apps.v1.Deployment"]["required"], Value::Null);
}

#[tokio::test]
async fn openapi_v2_is_whole_in_json_and_in_protobuf() {
    let world = World::new().await;
    let document = json(&world.ask("GET", "/openapi/v2", &[], b"").await.1);
    assert_references_hold(&document);
    let definitions = document["definitions"].as_object().expect("definitions");
    for row in Registry::builtin().iter() {
        assert!(definitions.contains_key(row.type_name));
        let listed = definitions.contains_key(&format!("{}List", row.type_name));
        assert_eq!(listed, !row.rules.is_question());
    }
    let accept = [(
        "accept",
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    )];
    let (code, bytes) = world.ask("GET", "/openapi/v2", &accept, b"").await;
    assert_eq!(code, 200);
    // Field 1 is `swagger: 2.0`; field 9 has one entry a definition.
    assert_eq!(&bytes[..5], b"\x0a\x032.0");
    let names = fields(&field(&bytes, 9), 1);
    let names: BTreeSet<String> = names
        .iter()
        .map(|entry| String::from_utf8(field(entry, 1)).expect("a name"))
        .collect();
    let wanted: BTreeSet<String> = definitions.keys().cloned().collect();
    assert_eq!(names, wanted);
}

/// All length-delimited fields with a number; others are skipped.
fn fields(mut message: &[u8], number: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = varint(&mut message);
        if tag & 7 == 2 {
            let (bytes, rest) = message.split_at(value as usize);
            if tag >> 3 == number {
                found.push(bytes.to_vec());
            }
            message = rest;
        }
    }
    found
}

fn field(message: &[u8], number: u64) -> Vec<u8> {
    fields(message, number).into_iter().next().expect("the field")
}

fn varint(message: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((&byte, rest)) = message.split_first() {
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    value
}
