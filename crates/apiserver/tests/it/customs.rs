//! Custom resources over HTTP: from the definition to objects that are pruned, defaulted, validated, printed and described.

use crate::world::World;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A world with this definition, established as the controller would do it.
async fn with(definition: Value) -> World {
    let world = World::new().await;
    define(&world, definition).await;
    world
}

async fn define(world: &World, definition: Value) {
    let (code, mut made) = world.json("POST", DEFINITIONS, &definition).await;
    assert_eq!(code, 201, "{made}");
    made["status"]["acceptedNames"] = made["spec"]["names"].clone();
    made["status"]["conditions"] = json!([{"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
        "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}]);
    let name = made["metadata"]["name"].as_str().expect("a name");
    let (code, answer) = world
        .json("PUT", &format!("{DEFINITIONS}/{name}/status"), &made)
        .await;
    assert_eq!(code, 200, "{answer}");
}

const WIDGETS: &str = r#"{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["wd"], "categories": ["all"]},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector"}},
            "selectableFields": [{"jsonPath": ".spec.color"}],
            "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
            "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                "spec": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 10},
                    "replicas": {"type": "integer", "format": "int32", "default": 1},
                    "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                    "name": {"type": "string", "maxLength": 5, "pattern": "^[a-z]+$"},
                    "port": {"x-kubernetes-int-or-string": true},
                    "note": {"type": "string", "nullable": true},
                    "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                    "parts": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
                            "count": {"type": "integer", "default": 7}}}},
                    "choice": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
                    "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}}
                }},
                "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"},
                    "conditions": {"type": "array", "items": {"type": "object", "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}}}}
            }}}
        }]}}"#;

fn widgets() -> Value {
    serde_json::from_str(WIDGETS).expect("a definition")
}

/// Lines of `METHOD PATH [content-type [accept]]`, each with a body on the next line (`-`: none).
async fn talk(world: &World, script: &str) -> String {
    let mut out = String::new();
    let mut lines = script.lines().map(str::trim).filter(|l| !l.is_empty());
    while let (Some(line), Some(body)) = (lines.next(), lines.next()) {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let mut headers = vec![("content-type", words.next().unwrap_or("application/json"))];
        headers.extend(words.next().map(|accept| ("accept", accept)));
        let sent = if body == "-" { "" } else { body };
        let (code, answer) = world.ask(method, path, &headers, sent.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        out += &format!("> {line}\n> {body}\n{code} {}\n\n", answer.trim());
    }
    out
}

const OBJECTS: &str = "/apis/example.com/v1/namespaces/default/widgets";

#[tokio::test]
async fn a_custom_resource_lives_like_any_other() {
    let world = with(widgets()).await;
    let text = talk(
        &world,
        &r#"
        POST OBJECTS
        {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a","labels":{"x":"1"}},"spec":{"size":3,"unknown":{"x":1},"note":null,"raw":{"x":{"y":1}},"parts":[{"name":"p","odd":1}]},"status":{"replicas":5}}
        POST OBJECTS?fieldValidation=Strict
        {"metadata":{"name":"b"},"spec":{"size":3,"size":4,"unknown":1,"parts":[{"name":"p","odd":1}]}}
        GET OBJECTS application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        GET OBJECTS?fieldSelector=spec.color%3Dred
        -
        GET OBJECTS?fieldSelector=spec.size%3D3
        -
        PUT OBJECTS/a/status
        {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a","resourceVersion":"5","labels":{"x":"2"}},"spec":{"size":9},"status":{"replicas":2,"selector":"app=a","conditions":[{"type":"Ready","status":"True"}]}}
        GET OBJECTS/a/scale
        -
        PATCH OBJECTS/a/scale application/merge-patch+json
        {"spec":{"replicas":4}}
        PATCH OBJECTS/a application/merge-patch+json
        {"spec":{"size":5,"color":null}}
        PATCH OBJECTS/a application/strategic-merge-patch+json
        {"spec":{"size":5}}
        PATCH OBJECTS/b?fieldManager=me application/apply-patch+yaml
        {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"b"},"spec":{"size":1,"parts":[{"name":"q","count":1}]}}
        PATCH OBJECTS/b?fieldManager=you application/apply-patch+yaml
        {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"b"},"spec":{"size":2,"parts":[{"name":"r"}]}}
        PUT OBJECTS/a
        {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"size":3}}
        DELETE OBJECTS/b
        -
        "#
        .replace("OBJECTS", OBJECTS),
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn what_does_not_fit_the_schema_is_said_in_upstreams_words() {
    let world = with(widgets()).await;
    let specs = [
        r#"null"#,
        r#""text""#,
        r#"{}"#,
        r#"{"size":"3"}"#,
        r#"{"size":1.5}"#,
        r#"{"size":11}"#,
        r#"{"size":0,"color":"blue","name":"ABCDEFG"}"#,
        r#"{"size":1,"name":"A1"}"#,
        r#"{"size":1,"replicas":5000000000}"#,
        r#"{"size":1,"replicas":-1}"#,
        r#"{"size":1,"port":true}"#,
        r#"{"size":1,"port":"http"}"#,
        r#"{"size":1,"tags":["a","b","a","a"]}"#,
        r#"{"size":1,"parts":[{"name":"a"},{"name":"a"},{"count":1},{"name":"b"}]}"#,
        r#"{"size":1,"choice":{}}"#,
        r#"{"size":1,"choice":{"a":"1","b":"2"}}"#,
        r#"{"size":1,"template":{"spec":1}}"#,
        r#"{"size":1,"template":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a b","labels":{"x":"1"},"odd":1}}}"#,
        r#"{"size":1,"template":{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"x":1}}}}"#,
        r#"{"size":1,"labels":{"a":1,"b":"x"}}"#,
    ];
    let mut out = String::new();
    for spec in specs {
        let body = format!(r#"{{"metadata":{{"name":"x"}},"spec":{spec}}}"#);
        let headers = [("content-type", "application/json")];
        let path = format!("{OBJECTS}?dryRun=All");
        let (code, answer) = world.ask("POST", &path, &headers, body.as_bytes()).await;
        let answer: Value = serde_json::from_slice(&answer).expect("an answer");
        let said = if code < 300 {
            &answer["spec"]
        } else {
            &answer["message"]
        };
        out += &format!("{spec}\n  {code} {said}\n");
    }
    insta::assert_snapshot!(out);
}

#[tokio::test]
async fn discovery_and_openapi_know_it_at_once() {
    let world = World::new().await;
    let (code, _) = world.json("GET", "/apis/example.com/v1", &Value::Null).await;
    assert_eq!(code, 404);
    define(&world, widgets()).await;
    let (_, resources) = world.json("GET", "/apis/example.com/v1", &Value::Null).await;
    let (_, index) = world.json("GET", "/openapi/v3", &Value::Null).await;
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"]
        .as_str()
        .expect("a path");
    let (_, v3) = world.json("GET", url, &Value::Null).await;
    let (_, v2) = world.json("GET", "/openapi/v2", &Value::Null).await;
    insta::assert_json_snapshot!(json!({
        "resources": resources,
        "v3": v3["components"]["schemas"]["com.example.v1.Widget"],
        "v2": v2["definitions"]["com.example.v1.Widget"],
        "paths": v3["paths"].as_object().map(|paths| paths.keys().cloned().collect::<Vec<_>>()),
    }));
}

#[tokio::test]
async fn what_was_stored_before_a_change_of_the_schema_gets_its_new_form() {
    let world = with(widgets()).await;
    let object = json!({"metadata": {"name": "a"}, "spec": {"size": 3, "name": "old"}});
    let (code, _) = world.json("POST", OBJECTS, &object).await;
    assert_eq!(code, 201);
    let (_, mut definition) = world
        .json("GET", &format!("{DEFINITIONS}/widgets.example.com"), &Value::Null)
        .await;
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let properties = &mut schema["properties"]["spec"]["properties"];
    properties["mode"] = json!({"type": "string", "default": "auto"});
    properties.as_object_mut().expect("properties").remove("name");
    let (code, answer) = world
        .json("PUT", &format!("{DEFINITIONS}/widgets.example.com"), &definition)
        .await;
    assert_eq!(code, 200, "{answer}");
    let (_, one) = world.json("GET", &format!("{OBJECTS}/a"), &Value::Null).await;
    let (_, all) = world.json("GET", OBJECTS, &Value::Null).await;
    let wanted = json!({"size": 3, "replicas": 1, "color": "red", "mode": "auto"});
    assert_eq!((&one["spec"], &all["items"][0]["spec"]), (&wanted, &wanted));
}

#[tokio::test]
async fn versions_are_views_on_what_is_stored() {
    let mut definition = widgets();
    definition["spec"]["versions"][0]
        .as_object_mut()
        .expect("a version")
        .remove("selectableFields");
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["extra"] =
        json!({"type": "string", "default": "e"});
    definition["spec"]["versions"]
        .as_array_mut()
        .expect("versions")
        .push(second);
    let world = with(definition).await;
    let object = json!({"metadata": {"name": "a"}, "spec": {"size": 3}});
    let (code, made) = world.json("POST", &OBJECTS.replace("v1", "v2"), &object).await;
    assert_eq!(
        (code, &made["apiVersion"]),
        (201, &json!("example.com/v2")),
        "{made}"
    );
    let (_, first) = world.json("GET", &format!("{OBJECTS}/a"), &Value::Null).await;
    assert_eq!(first["apiVersion"], "example.com/v1");
    assert_eq!(
        first["spec"]["extra"],
        Value::Null,
        "v1 does not know it: {first}"
    );
    let (_, listed) = world
        .json("GET", &OBJECTS.replace("v1", "v2"), &Value::Null)
        .await;
    assert_eq!(listed["items"][0]["apiVersion"], "example.com/v2");
    assert_eq!(listed["items"][0]["spec"]["extra"], "e");
    let (_, groups) = world.json("GET", "/apis/example.com", &Value::Null).await;
    assert_eq!(groups["preferredVersion"]["version"], "v2");
}

#[tokio::test]
async fn rules_see_objects_and_what_they_were() {
    let mut definition = widgets();
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let spec = &mut schema["properties"]["spec"];
    spec["x-kubernetes-validations"] = json!([
        {"rule": "self.size >= oldSelf.size", "message": "may only grow", "fieldPath": ".size"},
        {"rule": "!has(self.name) || self.name != 'root'", "messageExpression": "'no ' + self.name", "reason": "FieldValueForbidden"},
    ]);
    spec["properties"]["size"]["x-kubernetes-validations"] = json!([{"rule": "self % 2 == 1"}]);
    spec["properties"]["parts"]["items"]["x-kubernetes-validations"] = json!([{"rule": "!oldSelf.hasValue() || self.count >= oldSelf.value().count", "optionalOldSelf": true, "message": "parts only grow"}]);
    let world = with(definition).await;
    let text = talk(
        &world,
        &r#"
        POST OBJECTS
        {"metadata":{"name":"a"},"spec":{"size":2,"name":"root"}}
        POST OBJECTS
        {"metadata":{"name":"a"},"spec":{"size":5,"parts":[{"name":"p","count":3}]}}
        PATCH OBJECTS/a application/merge-patch+json
        {"spec":{"size":3,"parts":[{"name":"q","count":1},{"name":"p","count":2}]}}
        PATCH OBJECTS/a application/merge-patch+json
        {"spec":{"size":"x","parts":[]}}
        PATCH OBJECTS/a application/merge-patch+json
        {"spec":{"size":7,"parts":[{"name":"p","count":4}]}}
        "#
        .replace("OBJECTS", OBJECTS),
    )
    .await;
    insta::assert_snapshot!(text);
}
