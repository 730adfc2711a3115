//! More than 500 bad requests: each gets a clear answer below 500, and none panics or hangs.

use crate::world::World;

struct Case {
    method: &'static str,
    path: String,
    media: &'static str,
    body: Vec<u8>,
}

fn case(
    method: &'static str,
    path: impl Into<String>,
    media: &'static str,
    body: impl Into<Vec<u8>>,
) -> Case {
    Case {
        method,
        path: path.into(),
        media,
        body: body.into(),
    }
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// Collections whose kinds have different shapes.
const COLLECTIONS: [&str; 8] = [
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/secrets",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/pods",
    "/api/v1/nodes",
    "/apis/apps/v1/namespaces/default/statefulsets",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/storage.k8s.io/v1/storageclasses",
];

fn bodies() -> Vec<Vec<u8>> {
    let deep = format!("{{\"metadata\":{}1{}}}", "[".repeat(3000), "]".repeat(3000));
    let texts = [
        "",
        " ",
        "{",
        "}",
        "null",
        "[]",
        "1",
        "\"x\"",
        "true",
        "{}x",
        "{\"a\":}",
        "{'a':1}",
        "{\"metadata\":null}",
        "{\"metadata\":[]}",
        "{\"metadata\":\"x\"}",
        "{\"metadata\":{\"name\":1}}",
        "{\"metadata\":{\"name\":\"\"}}",
        "{\"metadata\":{\"name\":\"..\"}}",
        "{\"metadata\":{\"name\":\"a/b\"}}",
        "{\"metadata\":{\"name\":\"A B\"}}",
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":1}}}",
        "{\"metadata\":{\"name\":\"a\",\"labels\":[]}}",
        "{\"metadata\":{\"name\":\"a\",\"annotations\":\"x\"}}",
        "{\"metadata\":{\"name\":\"a\",\"ownerReferences\":{}}}",
        "{\"metadata\":{\"name\":\"a\",\"ownerReferences\":[1]}}",
        "{\"metadata\":{\"name\":\"a\",\"finalizers\":[1]}}",
        "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x y\"]}}",
        "{\"metadata\":{\"name\":\"a\",\"creationTimestamp\":\"yesterday\"}}",
        "{\"metadata\":{\"name\":\"a\",\"generation\":-1.5}}",
        "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"7\"}}",
        "{\"metadata\":{\"name\":\"a\",\"namespace\":\"elsewhere\"}}",
        "{\"metadata\":{\"generateName\":\"-\"}}",
        "{\"metadata\":{\"name\":\"a\",\"managedFields\":7}}",
        "{\"apiVersion\":\"v9\",\"metadata\":{\"name\":\"a\"}}",
        "{\"apiVersion\":7,\"metadata\":{\"name\":\"a\"}}",
        "{\"kind\":\"Nonsense\",\"metadata\":{\"name\":\"a\"}}",
        "{\"kind\":{},\"metadata\":{\"name\":\"a\"}}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":7}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":[]}",
        "{\"metadata\":{\"name\":\"a\"},\"data\":7,\"spec\":\"x\",\"provisioner\":7}",
        "{\"metadata\":{\"name\":\"a\"},\"data\":{\"x\":{}},\"spec\":{\"replicas\":\"many\"},\"provisioner\":[]}",
        "{\"metadata\":{\"name\":\"a\"},\"data\":{\"../x\":\"!\"},\"spec\":{\"containers\":7,\"ports\":7,\"podCIDRs\":7,\"replicas\":1e99},\"provisioner\":{}}",
        "{\"metadata\":{\"name\":\"a\"},\"status\":7}",
        deep.as_str(),
        "\u{0}",
        "{\"metadata\":{\"name\":\"\u{fffd}\"}}",
    ];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    bodies.push(vec![0xff, 0xfe, 0x00]);
    bodies.push(b"{\"metadata\":{\"name\":\"\xff\"}}".to_vec());
    bodies
}

fn paths() -> Vec<&'static str> {
    vec![
        "/api/v1/configmaps?limit=x",
        "/api/v1/configmaps?limit=99999999999999999999",
        "/api/v1/configmaps?continue=!!!",
        "/api/v1/configmaps?continue=MTI",
        "/api/v1/configmaps?resourceVersion=abc",
        "/api/v1/configmaps?resourceVersion=-1",
        "/api/v1/configmaps?resourceVersionMatch=Sometimes&resourceVersion=1",
        "/api/v1/configmaps?resourceVersionMatch=Exact",
        "/api/v1/configmaps?resourceVersionMatch=Exact&resourceVersion=0",
        "/api/v1/configmaps?labelSelector=a%20in%20(",
        "/api/v1/configmaps?labelSelector=%2C%2C",
        "/api/v1/configmaps?labelSelector=a%3Eb",
        "/api/v1/configmaps?fieldSelector=spec.nodeName%3Dx",
        "/api/v1/configmaps?fieldSelector=x",
        "/api/v1/configmaps?watch=true&resourceVersion=x",
        "/api/v1/configmaps?watch=true&sendInitialEvents=true",
        "/api/v1/configmaps?watch=true&resourceVersionMatch=Exact",
        "/api/v1/configmaps?watch=true&timeoutSeconds=x",
        "/api/v1/configmaps?watch=true&fieldSelector=y%3Dz",
        "/api/v1/configmaps?dryRun=Some",
        "/api/v1/configmaps?fieldValidation=Never",
        "/api/v1/configmaps?propagationPolicy=Sideways",
        "/api/v1/configmaps?gracePeriodSeconds=soon",
        "/api/v1/namespaces/default/configmaps/a/status",
        "/api/v1/namespaces/default/configmaps/a/scale",
        "/api/v1/namespaces/default/configmaps/a/b/c/d",
        "/api/v1/namespaces/default/nothing",
        "/api/v2/namespaces/default/configmaps",
        "/apis/apps/v9/deployments",
        "/apis/nowhere/v1/things",
        "/api/v1/namespaces/default/nodes/x",
        "/api/v1/namespaces/%ff/configmaps",
        "/api/v1/configmaps/x",
        "//",
        "/api//v1",
        "/%00",
        "/api/v1/namespaces//configmaps",
        "/api/v1/namespaces/default/pods/p/log",
        "/api/v1/namespaces/default/pods/p/exec?command=ls",
        "/api/v1/namespaces/default/pods/p/attach",
        "/api/v1/namespaces/default/pods/p/portforward?ports=x",
        "/api/v1/namespaces/default/pods/p/proxy/x",
        "/api/v1/namespaces/default/pods/p/binding",
        "/api/v1/namespaces/default/serviceaccounts/x/token",
    ]
}

fn corpus() -> Vec<Case> {
    let mut all = Vec::new();
    for collection in COLLECTIONS {
        for body in bodies() {
            all.push(case("POST", collection, JSON, body.clone()));
            all.push(case("PUT", format!("{collection}/a"), JSON, body.clone()));
            all.push(case(
                "POST",
                format!("{collection}?fieldValidation=Strict&dryRun=All"),
                YAML,
                body,
            ));
        }
        for media in [
            "text/plain",
            "application/xml",
            "application/vnd.kubernetes.protobuf",
            "application/cbor",
            "x",
        ] {
            all.push(case("POST", collection, media, "{}"));
            all.push(case("PATCH", format!("{collection}/a"), media, "{}"));
        }
        for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            all.push(case(method, collection, JSON, "{}"));
        }
    }
    for path in paths() {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            all.push(case(method, path, JSON, "{\"metadata\":{\"name\":\"a\"}}"));
        }
    }
    all.extend(patches());
    all.push(case(
        "POST",
        COLLECTIONS[0],
        JSON,
        vec![b' '; 3 * 1024 * 1024 + 1],
    ));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
    all.push(case("POST", COLLECTIONS[0], YAML, bomb));
    all
}

/// Bad patches of an object that exists.
fn patches() -> Vec<Case> {
    let target = "/api/v1/namespaces/default/configmaps/there";
    let json = [
        "{}",
        "[1]",
        "[{\"op\":\"x\"}]",
        "[{\"op\":\"test\",\"path\":\"/data/x\",\"value\":\"no\"}]",
        "[{\"op\":\"remove\",\"path\":\"/nope\"}]",
        "[{\"op\":\"add\",\"path\":\"nope\",\"value\":1}]",
        "[{\"op\":\"replace\",\"path\":\"/metadata/name\",\"value\":\"other\"}]",
        "[{\"op\":\"replace\",\"path\":\"/metadata/uid\",\"value\":\"other\"}]",
        "[{\"op\":\"replace\",\"path\":\"\",\"value\":7}]",
        "[{\"op\":\"remove\",\"path\":\"/metadata\"}]",
        "[{\"op\":\"replace\",\"path\":\"/kind\",\"value\":\"Pod\"}]",
        "nonsense",
        "",
    ];
    let merge = [
        "[]",
        "7",
        "{\"metadata\":null}",
        "{\"metadata\":{\"name\":\"other\"}}",
        "{\"kind\":null,\"data\":7}",
        "{\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"metadata\":{\"creationTimestamp\":\"2001-01-01T00:00:00Z\"}}",
        "{\"data\":{\"a\":{\"b\":1}}}",
        "{\"metadata\":{\"labels\":{\"a b\":\"c\"}}}",
        "{\"apiVersion\":\"v2\"}",
        "x",
    ];
    let strategic = [
        "{\"$patch\":\"explode\"}",
        "{\"data\":{\"$patch\":7}}",
        "[]",
        "{\"metadata\":{\"finalizers\":7}}",
        "{\"$retainKeys\":7}",
    ];
    let apply = [
        "{}",
        "a: b",
        "- x",
        "apiVersion: v1\nkind: Pod",
        "apiVersion: v1\nkind: ConfigMap\ndata: 7",
        "\t",
        "",
    ];
    let mut all = Vec::new();
    let mut add = |media, list: &[&str]| {
        for body in list {
            all.push(case("PATCH", target, media, *body));
            all.push(case(
                "PATCH",
                format!("{target}?force=true&fieldManager=m"),
                media,
                *body,
            ));
        }
    };
    add("application/json-patch+json", &json);
    add("application/merge-patch+json", &merge);
    add("application/strategic-merge-patch+json", &strategic);
    add("application/apply-patch+yaml", &apply);
    all
}

#[tokio::test]
async fn no_bad_request_is_the_servers_fault() {
    let world = World::new().await;
    let there = serde_json::json!({"metadata": {"name": "there"}, "data": {"x": "1"}});
    world.json("POST", COLLECTIONS[0], &there).await;
    let corpus = corpus();
    assert!(corpus.len() >= 500, "{} requests", corpus.len());
    for Case {
        method,
        path,
        media,
        body,
    } in corpus
    {
        if http::Uri::try_from(path.as_str()).is_err() {
            continue;
        }
        let start: String = String::from_utf8_lossy(&body).chars().take(80).collect();
        let (code, answer) = world.ask(method, &path, &[("content-type", media)], &body).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(code < 500, "{method} {path} ({media}) {start}: {code} {text}");
        if code >= 400 {
            assert!(
                text.contains("\"message\":\""),
                "{method} {path} {start}: {code} says nothing: {text}"
            );
        }
    }
    let (code, now) = world
        .json(
            "GET",
            "/api/v1/namespaces/default/configmaps/there",
            &serde_json::Value::Null,
        )
        .await;
    assert_eq!(
        (code, now["metadata"]["name"].as_str()),
        (200, Some("there")),
        "what was stored is still there"
    );
}

#[tokio::test]
async fn a_pod_with_an_unknown_runtime_class_is_refused() {
    use serde_json::json;
    let world = World::new().await;
    let account = json!({"metadata": {"name": "default"}});
    world
        .json("POST", "/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let pod = json!({"metadata": {"name": "x"}, "spec": {"runtimeClassName": "gvisor", "containers": [{"name": "c", "image": "i"}]}});
    let (code, answer) = world.json("POST", "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 403);
    assert_eq!(
        answer["message"],
        "pods \"x\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found"
    );
}
