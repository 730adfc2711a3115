//! Bad requests that someone thought of: bodies, routes, queries, callers, names, values, conflicts, immutable fields.

use super::Bad;
use super::objects::{NAMESPACE, apps, pods, samples};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

const BODY_LIMIT_BYTES: usize = 3 << 20;

fn config_maps() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

fn sample(plural: &str) -> Value {
    let ends = format!("/{plural}");
    let found = samples().into_iter().find(|sample| sample.path.ends_with(&ends));
    found.expect("a sample").object
}

/// A sample with one value replaced.
fn with(plural: &str, pointer: &str, value: Value) -> Value {
    let mut object = sample(plural);
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    match object.pointer_mut(parent).expect("the parent") {
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = value,
        parent => parent[name] = value,
    }
    object
}

// LONG: one table of cases, which reads best in one piece.
pub fn bodies() -> Vec<Bad> {
    let to = config_maps();
    let raw = |why: &str, kind: &str, body: Vec<u8>| Bad::new(why, Method::POST, &to).raw(kind, body);
    let json = |why: &str, body: &str| raw(why, "application/json", body.as_bytes().to_vec()).code(400);
    let yaml = |why: &str, body: &str| raw(why, "application/yaml", body.as_bytes().to_vec()).code(400);
    let head = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"big\"}";
    let large = format!("{head},\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(BODY_LIMIT_BYTES));
    let heavy = format!(
        "{head},\"data\":{{\"a\":\"{}\"}}}}",
        "x".repeat(BODY_LIMIT_BYTES / 2)
    );
    let deep = format!("{head},\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let below = n - 1;
        format!(
            "{text}a{n}: &a{n} [{}]\n",
            vec![format!("*a{below}"); 9].join(",")
        )
    });
    vec![
        json("an empty body", ""),
        json("spaces", "   "),
        json("a word", "ConfigMap"),
        json("a list", "[]"),
        json("a text", "\"x\""),
        json("null", "null"),
        json("a number", "1e999"),
        json("trailing text", &format!("{} x", config_map("x"))),
        json("two documents", &format!("{0}{0}", config_map("x"))),
        json("a trailing comma", "{\"apiVersion\":\"v1\",}"),
        json("single quotes", "{'apiVersion':'v1'}"),
        json("a comment", "{/* */}"),
        json("a bad escape", "{\"kind\":\"\\x\"}"),
        json("half a surrogate pair", "{\"kind\":\"\\ud800\"}"),
        json("NaN", "{\"kind\":NaN}"),
        json(
            "another kind",
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}).to_string(),
        ),
        json(
            "a kind that is not",
            &json!({"apiVersion": "v1", "kind": "Submarine", "metadata": {"name": "x"}}).to_string(),
        ),
        json(
            "another group",
            &json!({"apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": {"name": "x"}}).to_string(),
        ),
        json(
            "a version that is not",
            &json!({"apiVersion": "v7", "kind": "ConfigMap", "metadata": {"name": "x"}}).to_string(),
        ),
        json(
            "a List",
            &json!({"apiVersion": "v1", "kind": "List", "items": [config_map("x")]}).to_string(),
        ),
        raw(
            "bytes that are no text",
            "application/json",
            vec![0xff, 0xfe, 0x00, 0x80],
        )
        .code(400),
        raw("a zero byte", "application/json", b"{\"kind\":\0}".to_vec()).code(400),
        raw("too large", "application/json", large.into_bytes()).code(413),
        raw("data beyond 1 MiB", "application/json", heavy.into_bytes()).code(422),
        raw("very deep", "application/json", deep.into_bytes()),
        raw("deep YAML", "application/yaml", "[".repeat(50_000).into_bytes()),
        raw("an alias bomb", "application/yaml", bomb.into_bytes()),
        yaml("YAML that is none", "a: b: c"),
        yaml("YAML with a tab", "a:\n\t- b"),
        yaml("YAML cut short", "a: [b"),
        yaml("a YAML text", "just words"),
        yaml("an alias to itself", "a: &a [*a]"),
        yaml("a merge key", "<<: {apiVersion: v1}").codes(&[400, 422]),
        raw("no content type that is known", "text/html", b"<html>".to_vec()).code(415),
        raw("a form", "application/x-www-form-urlencoded", b"a=b".to_vec()).code(415),
        raw("CBOR", "application/cbor", vec![0xd9, 0xd9, 0xf7, 0xff]).codes(&[400, 415]),
        raw(
            "protobuf without its prefix",
            "application/vnd.kubernetes.protobuf",
            vec![1, 2, 3],
        )
        .codes(&[400, 415]),
        raw(
            "protobuf that is none",
            "application/vnd.kubernetes.protobuf",
            [b"k8s\0".as_slice(), &[0xff; 40]].concat(),
        )
        .codes(&[400, 415]),
        raw("gzip that is none", "application/json", b"{}".to_vec())
            .header("content-encoding", "gzip")
            .codes(&[400, 415, 422]),
        raw("an encoding that is not", "application/json", b"{}".to_vec())
            .header("content-encoding", "snail")
            .codes(&[400, 415, 422]),
        Bad::get("an answer in a type that is not", &to)
            .header("accept", "image/png")
            .code(406),
        Bad::get("an answer in a version of Table that is not", &to)
            .header("accept", "application/json;as=Table;v=v9;g=meta.k8s.io")
            .code(406),
    ]
}

// LONG: one table of cases, which reads best in one piece.
pub fn routes() -> Vec<Bad> {
    let mut corpus = Vec::new();
    let kept = format!("{}/kept", config_maps());
    for path in [
        "/api/v2/namespaces",
        "/api/v1/submarines",
        "/apis/apps/v2/deployments",
        "/apis/none.example.com/v1/things",
        "/api/v1/namespaces/corpus/submarines",
        "/api/v1/namespaces/corpus/pods/none",
        "/api/v1/namespaces/none",
        "/api/v1/nodes/none",
        "/api/v1/namespaces/corpus/configmaps/kept/scale",
        "/api/v1/namespaces/corpus/configmaps/kept/status",
        "/apis/apps/v1/namespaces/corpus/deployments/kept/log",
        "/apis/apps/v1/namespaces/corpus/deployments/none/scale",
        "/api/v1/namespaces/corpus/pods/none/log",
        "/api/v1/namespaces/corpus/configmaps/kept/a/b/c",
        "/apis/apps/v1/namespaces",
        "/api/v1/namespaces/corpus/nodes",
        "/api/v1/persistentvolumes/none",
        "/api/v1/configmaps/kept",
        "/api/v1/namespaces/corpus/pods/%00",
        "/api/v1/namespaces/corpus/pods/%ff%fe",
        "/api/v1/namespaces/corpus/pods/..%2f..%2fetc",
        "/api/v1/namespaces/%2e%2e/pods/x",
        "/api/v1/namespaces/corpus/configmaps/%zz",
        "/nowhere",
        "/api/v1/namespaces/corpus/pods/none/exec",
        "/logs/../../etc/passwd",
        "/openapi/v9",
        "/apis//v1",
        "/api/v1/watch/submarines",
    ] {
        corpus.push(Bad::get("a path to nothing", path));
    }
    corpus.push(Bad::get("a long path", format!("/api/v1/{}", "a".repeat(20_000))));
    for (method, path) in [
        (Method::PUT, config_maps()),
        (Method::POST, kept.clone()),
        (Method::POST, "/api/v1".into()),
        (Method::DELETE, "/version".into()),
        (Method::DELETE, "/api".into()),
        (Method::PUT, "/api/v1/namespaces".into()),
        (Method::TRACE, kept.clone()),
        (Method::from_bytes(b"BREW").expect("a method"), kept.clone()),
        (Method::DELETE, "/api/v1/namespaces".into()),
        (Method::POST, apps("deployments/kept/scale")),
        (Method::DELETE, apps("deployments/kept/scale")),
        (Method::DELETE, apps("deployments/kept/status")),
    ] {
        corpus.push(Bad::new("a method that is not served here", method, path).codes(&[403, 404, 405]));
    }
    for (sub, query) in [
        ("exec", "?command=ls"),
        ("attach", ""),
        ("portforward", "?ports=80"),
        ("log", ""),
        ("exec", "?command=ls&container=none"),
        ("proxy", "/a/../%ff?x"),
    ] {
        let path = format!("{}/none/{sub}{query}", pods());
        corpus.push(Bad::get(format!("{sub} of a pod that is not"), path.clone()).codes(&[400, 404]));
        corpus.push(Bad::new(format!("{sub} by POST"), Method::POST, path));
    }
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "none"}, "target": {"kind": "Node", "name": "n"}});
    corpus.push(
        Bad::post(
            "a binding of nothing",
            format!("{}/none/binding", pods()),
            &binding,
        )
        .code(404),
    );
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "none"}});
    corpus.push(
        Bad::post(
            "an eviction of nothing",
            format!("{}/none/eviction", pods()),
            &eviction,
        )
        .code(404),
    );
    corpus
}

// LONG: one table of cases, which reads best in one piece.
pub fn queries() -> Vec<Bad> {
    let list = config_maps();
    let mut corpus = Vec::new();
    for query in [
        "limit=many",
        "limit=9999999999999999999999",
        "continue=garbage",
        "continue=%7B%7D",
        "timeoutSeconds=long",
        "resourceVersion=x",
        "resourceVersion=-1",
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=Sometimes&resourceVersion=1",
        "labelSelector=((",
        "labelSelector=a%20in",
        "labelSelector=a%20in%20(b",
        "labelSelector=%3D",
        "labelSelector=a%3D%3D%3Db",
        "labelSelector=-a",
        "labelSelector=a%3Db%20c",
        "labelSelector=a%20notin%20b",
        "fieldSelector=spec.none%3Dx",
        "fieldSelector=x",
        "fieldSelector=a%3Db%3Dc",
        "watch=1&sendInitialEvents=true",
        "watch=1&resourceVersion=x",
        "watch=1&limit=x",
        "watch=1&fieldSelector=none%3Dx",
        "sendInitialEvents=true",
        "watch=1&resourceVersion=99999999999999999999999",
        "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
        "continue=x&resourceVersion=5",
        "limit=5&resourceVersionMatch=Exact",
    ] {
        corpus.push(
            Bad::get(format!("a list with {query}"), format!("{list}?{query}")).codes(&[400, 410, 422]),
        );
    }
    for query in [
        "dryRun=Some",
        "dryRun=All&dryRun=None",
        "fieldValidation=Perhaps",
        "fieldManager=%07",
    ] {
        corpus.push(
            Bad::post(
                format!("a create with {query}"),
                format!("{list}?{query}"),
                &config_map("q"),
            )
            .codes(&[400, 422]),
        );
    }
    let manager = format!("{list}?fieldManager={}", "x".repeat(200));
    corpus.push(Bad::post("a long manager", manager, &config_map("q")).codes(&[400, 422]));
    let kept = format!("{list}/kept");
    for query in [
        "propagationPolicy=Perhaps",
        "gracePeriodSeconds=soon",
        "dryRun=x",
        "orphanDependents=true&propagationPolicy=Orphan",
    ] {
        corpus.push(
            Bad::new(
                format!("a delete with {query}"),
                Method::DELETE,
                format!("{kept}?{query}"),
            )
            .codes(&[400, 422]),
        );
    }
    for (why, options) in [
        ("a policy that is not", json!({"propagationPolicy": "Perhaps"})),
        (
            "a grace below zero",
            json!({"gracePeriodSeconds": -5, "dryRun": ["Some"]}),
        ),
        ("another kind", json!({"apiVersion": "v1", "kind": "Pod"})),
        ("wrong types", json!({"preconditions": 5})),
        (
            "another uid",
            json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}),
        ),
        (
            "another version",
            json!({"preconditions": {"resourceVersion": "1"}}),
        ),
        ("a list", json!([])),
        (
            "two policies",
            json!({"orphanDependents": true, "propagationPolicy": "Background"}),
        ),
    ] {
        corpus.push(
            Bad::new(format!("a delete with {why}"), Method::DELETE, &kept)
                .json(&options)
                .codes(&[400, 409, 422]),
        );
    }
    corpus.push(
        Bad::new(
            "deletes by a bad selector",
            Method::DELETE,
            format!("{list}?labelSelector=(("),
        )
        .codes(&[400]),
    );
    corpus.push(
        Bad::new(
            "deletes by a bad field",
            Method::DELETE,
            format!("{list}?fieldSelector=none%3Dx"),
        )
        .codes(&[400]),
    );
    corpus
}

pub fn callers() -> Vec<Bad> {
    let mut corpus = Vec::new();
    for path in [
        "/api",
        "/apis",
        "/api/v1",
        "/api/v1/namespaces",
        "/api/v1/secrets",
        "/openapi/v2",
        "/openapi/v3",
        "/metrics",
        "/nowhere",
        "/",
    ] {
        corpus.push(Bad::get("nobody asks", path).anonymous().codes(&[401, 403]));
    }
    let create = Bad::post("nobody creates", config_maps(), &config_map("x"));
    corpus.push(create.anonymous().codes(&[401, 403]));
    let basic = format!("Basic {}", STANDARD.encode("admin:admin"));
    let unsigned = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.";
    for value in [
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        unsigned,
        &basic,
        "Digest x",
        "Bearer x y",
        &format!("Bearer {}", "a".repeat(9000)),
    ] {
        let bad = Bad::get("a token that is none", "/api/v1/secrets").header("authorization", value);
        corpus.push(bad.anonymous().codes(&[401, 403, 431]));
    }
    corpus
}

// LONG: one table of cases, which reads best in one piece.
pub fn names() -> Vec<Bad> {
    let mut corpus = Vec::new();
    let long = "x".repeat(254);
    for name in [
        "",
        "A",
        "a_b",
        "a b",
        "-a",
        "a-",
        ".a",
        "a..b",
        "a/b",
        "ä",
        "a\n",
        "..",
        "%",
        "a\u{0}b",
        "x:y",
        long.as_str(),
    ] {
        corpus.push(
            Bad::post(format!("the name {name:?}"), config_maps(), &config_map(name))
                .code(422)
                .says("name"),
        );
    }
    let label = "x".repeat(64);
    for name in ["A", "a.b", "a_b", "-a", "a-", label.as_str()] {
        let object = with("services", "/metadata/name", json!(name));
        corpus.push(
            Bad::post(
                format!("a Service {name:?}"),
                format!("/api/v1/namespaces/{NAMESPACE}/services"),
                &object,
            )
            .code(422),
        );
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        corpus.push(Bad::post(format!("a Namespace {name:?}"), "/api/v1/namespaces", &namespace).code(422));
    }
    for key in [
        "",
        "a b",
        "-a",
        "a/b/c",
        "/a",
        "a/",
        "A_/b",
        "ä",
        label.as_str(),
        &format!("{}/a", "x".repeat(254)),
    ] {
        for map in ["labels", "annotations"] {
            let mut object = config_map("x");
            object["metadata"][map] = json!({key: "v"});
            corpus.push(
                Bad::post(format!("{map} with the key {key:?}"), config_maps(), &object)
                    .code(422)
                    .says(map),
            );
        }
    }
    for value in ["a b", "-a", "a-", "ä", "a/b", label.as_str()] {
        let mut object = config_map("x");
        object["metadata"]["labels"] = json!({"k": value});
        corpus.push(
            Bad::post(format!("the label {value:?}"), config_maps(), &object)
                .code(422)
                .says("labels"),
        );
    }
    for key in ["", "a b", "a/b", "..", "ä", "..a"] {
        let mut object = config_map("x");
        object["data"] = json!({key: "v"});
        corpus.push(
            Bad::post(format!("data with the key {key:?}"), config_maps(), &object)
                .code(422)
                .says("data"),
        );
    }
    corpus
}

/// Values that a field's type takes and its meaning does not.
pub fn values() -> Vec<Bad> {
    super::values::all()
        .into_iter()
        .map(|(plural, pointer, value)| {
            let object = with(plural, pointer, value.clone());
            let path = samples()
                .into_iter()
                .find(|s| s.path.ends_with(&format!("/{plural}")))
                .expect("a sample")
                .path;
            Bad::post(format!("{pointer} = {value}"), path, &object).codes(&[400, 403, 422])
        })
        .collect()
}

// LONG: one table of cases, which reads best in one piece.
pub fn conflicts() -> Vec<Bad> {
    let kept = format!("{}/kept", config_maps());
    let object = |change: Value| {
        let mut object = config_map("kept");
        for (field, value) in change.as_object().expect("an object") {
            object["metadata"][field] = value.clone();
        }
        object
    };
    let put = |why: &str, path: &str, body: &Value| Bad::new(why, Method::PUT, path).json(body);
    let mut nameless = config_map("x");
    nameless["metadata"] = json!({});
    let mut generated = nameless.clone();
    generated["metadata"] = json!({"generateName": "A_"});
    vec![
        Bad::post("what is there already", config_maps(), &config_map("kept"))
            .code(409)
            .says("already exists"),
        Bad::post(
            "in a namespace that is not",
            "/api/v1/namespaces/none/configmaps",
            &config_map("x"),
        )
        .code(404)
        .says("none"),
        Bad::post(
            "in another namespace than the path's",
            config_maps(),
            &object(json!({"namespace": "other"})),
        )
        .code(400),
        Bad::post("with a version of its own", config_maps(), &{
            let mut new = config_map("x");
            new["metadata"]["resourceVersion"] = json!("5");
            new
        })
        .codes(&[400, 422]),
        Bad::post("without a name", config_maps(), &nameless)
            .code(422)
            .says("name"),
        Bad::post("with a bad generateName", config_maps(), &generated).code(422),
        put("another name than the path's", &kept, &config_map("other")).code(400),
        put(
            "another namespace than the path's",
            &kept,
            &object(json!({"namespace": "other"})),
        )
        .code(400),
        put("an old version", &kept, &object(json!({"resourceVersion": "1"}))).code(409),
        put(
            "a version that is none",
            &kept,
            &object(json!({"resourceVersion": "abc"})),
        )
        .codes(&[400, 409, 422]),
        put(
            "another uid",
            &kept,
            &object(json!({"uid": "00000000-0000-0000-0000-000000000000"})),
        )
        .code(409),
        put(
            "what is not there",
            &format!("{}/none", config_maps()),
            &config_map("none"),
        )
        .code(404),
        Bad::new(
            "deletes what is not there",
            Method::DELETE,
            format!("{}/none", config_maps()),
        )
        .code(404)
        .says("not found"),
        Bad::new(
            "deletes kube-system",
            Method::DELETE,
            "/api/v1/namespaces/kube-system",
        )
        .codes(&[403]),
        Bad::new("deletes default", Method::DELETE, "/api/v1/namespaces/default").codes(&[403]),
    ]
}

pub fn immutables() -> Vec<Bad> {
    let put = |why: &str, path: String, body: Value| Bad::new(why, Method::PUT, path).json(&body);
    let meta = json!({"name": "kept", "namespace": NAMESPACE});
    let core = |plural: &str| format!("/api/v1/namespaces/{NAMESPACE}/{plural}/kept");
    let template = |label: &str| json!({"metadata": {"labels": {"app": label}}, "spec": {"containers": [{"name": "main", "image": "x"}]}});
    let set =
        |spec: Value| json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec});
    let selector = |label: &str| json!({"matchLabels": {"app": label}});
    vec![
        put("immutable data", core("configmaps"), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "immutable": true, "data": {"k": "w"}})).code(422).says("immutable"),
        put("a Secret's type", core("secrets"), json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "other"})).code(422).says("type"),
        put("a set's selector", apps("statefulsets/kept"), set(json!({"serviceName": "kept", "selector": selector("other"), "template": template("other")}))).code(422),
        put("a set's Service", apps("statefulsets/kept"), set(json!({"serviceName": "other", "selector": selector("kept"), "template": template("kept")}))).code(422),
        put("a set's policy", apps("statefulsets/kept"),
            set(json!({"serviceName": "kept", "podManagementPolicy": "Parallel", "selector": selector("kept"), "template": template("kept")}))).code(422),
        put("a set's claims", apps("statefulsets/kept"), set(json!({"serviceName": "kept", "selector": selector("kept"), "template": template("kept"),
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]}))).code(422),
        put("a Deployment's selector", apps("deployments/kept"), json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"selector": selector("other"), "template": template("other")}})).code(422).says("immutable"),
        put("a claim's class", core("persistentvolumeclaims"), json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta,
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "other", "resources": {"requests": {"storage": "2Mi"}}}})).code(422),
        put("a smaller claim", core("persistentvolumeclaims"), json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta,
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Mi"}}}})).codes(&[403, 422]),
        put("a Service's address", core("services"), json!({"apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"clusterIP": "10.96.77.77", "selector": {"app": "kept"}, "ports": [{"port": 80}]}})).code(422).says("clusterIP"),
    ]
}
