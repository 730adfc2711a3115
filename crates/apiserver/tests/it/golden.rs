//! Conversations: each request with its answer, as text.

use crate::world::World;

/// Lines of `METHOD PATH [content-type]`, each with a body on the next line (`-`: none).
pub async fn conversation(script: &str) -> String {
    let world = World::new().await;
    let mut out = String::new();
    let mut lines = script.lines().map(str::trim).filter(|l| !l.is_empty());
    while let (Some(line), Some(body)) = (lines.next(), lines.next()) {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let mut headers = vec![("content-type", words.next().unwrap_or("application/json"))];
        if let Some(accept) = words.next() {
            headers.push(("accept", accept));
        }
        let body = if body == "-" { "" } else { body };
        let (code, answer) = world.ask(method, path, &headers, body.as_bytes()).await;
        out += &format!(
            "> {line}\n> {body}\n{code} {}\n\n",
            String::from_utf8_lossy(&answer).trim()
        );
    }
    out
}

#[tokio::test]
async fn a_configmap_lives_and_dies() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces/default/configmaps
        {"metadata":{"name":"a"},"data":{"x":"1"}}
        POST /api/v1/namespaces/default/configmaps
        {"metadata":{"name":"a"}}
        GET /api/v1/namespaces/default/configmaps/a
        -
        PUT /api/v1/namespaces/default/configmaps/a
        {"metadata":{"name":"a","resourceVersion":"1"}}
        PATCH /api/v1/namespaces/default/configmaps/a application/merge-patch+json
        {"data":{"y":"2"}}
        PATCH /api/v1/namespaces/default/configmaps/a application/merge-patch+json
        {"data":{"y":"2"}}
        GET /api/v1/configmaps?limit=1
        -
        GET /api/v1/namespaces/default/configmaps application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        DELETE /api/v1/namespaces/default/configmaps/a
        {"preconditions":{"uid":"another"}}
        DELETE /api/v1/namespaces/default/configmaps/a
        -
        GET /api/v1/namespaces/default/configmaps/a
        -
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_upstreams_words() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces/default/configmaps
        {"metadata":{"name":"A_","labels":{"-":"x y"},"annotations":{"a b":"c"},"finalizers":["x"],"ownerReferences":[{"kind":"X"}]}}
        POST /api/v1/namespaces/default/configmaps
        {"metadata":{"name":"a","namespace":"other"}}
        POST /api/v1/namespaces/missing/configmaps
        {"metadata":{"name":"a"}}
        POST /api/v1/namespaces/default/configmaps?fieldValidation=Strict
        {"metadata":{"name":"a"},"dta":{},"data":{"a":"1","a":"2"}}
        POST /api/v1/namespaces/default/configmaps?fieldValidation=Strict
        {"metadata":{"name":"a","lbls":{}},"dta":{}}
        POST /api/v1/namespaces/default/configmaps
        {"metadata":{"name":"a"},"data":{"a":1}}
        POST /api/v1/namespaces/default/configmaps
        {"kind":"Pod","metadata":{"name":"a"}}
        POST /api/v1/namespaces/default/configmaps
        {"metadata":{"name":"a","resourceVersion":"5"}}
        POST /api/v1/namespaces/default/configmaps
        {"metadata":
        POST /api/v1/namespaces/default/configmaps text/plain
        x
        PUT /api/v1/namespaces/default/configmaps/a
        {"metadata":{"name":"b"}}
        PUT /api/v1/namespaces/default/configmaps/a
        {"metadata":{"name":"a"}}
        PATCH /api/v1/namespaces/default/configmaps/a application/apply-patch+yaml
        apiVersion: v1
        GET /api/v1/configmaps?fieldSelector=spec.x%3D1
        -
        GET /api/v1/configmaps?labelSelector=a%20b
        -
        GET /api/v1/configmaps?resourceVersionMatch=Exact
        -
        GET /api/v1/configmaps?continue=xyz
        -
        GET /api/v1/configmaps application/json application/cbor
        -
        GET /api/v1/nonsense
        -
        POST /api/v1/namespaces/default/configmaps/a
        {}
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn finalizers_hold_and_release() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces/default/configmaps
        {"metadata":{"name":"a","finalizers":["example.com/hold"]}}
        DELETE /api/v1/namespaces/default/configmaps/a
        {"propagationPolicy":"Foreground"}
        DELETE /api/v1/namespaces/default/configmaps/a
        -
        PATCH /api/v1/namespaces/default/configmaps/a application/merge-patch+json
        {"metadata":{"finalizers":["example.com/hold","example.com/more"]}}
        PATCH /api/v1/namespaces/default/configmaps/a application/merge-patch+json
        {"metadata":{"finalizers":null}}
        GET /api/v1/namespaces/default/configmaps/a
        -
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn scale_is_a_view_on_the_object() {
    let text = conversation(
        r#"
        POST /apis/apps/v1/namespaces/default/deployments
        {"metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}
        GET /apis/apps/v1/namespaces/default/deployments/d/scale
        -
        PATCH /apis/apps/v1/namespaces/default/deployments/d/scale application/merge-patch+json
        {"spec":{"replicas":7}}
        PUT /apis/apps/v1/namespaces/default/deployments/d/scale
        {"metadata":{"name":"d","resourceVersion":"1"},"spec":{"replicas":1}}
        PUT /apis/apps/v1/namespaces/default/deployments/d/scale
        {"metadata":{"name":"d"},"spec":{"replicas":-1}}
        PATCH /apis/apps/v1/namespaces/default/deployments/d/status application/merge-patch+json
        {"spec":{"replicas":99},"status":{"replicas":7}}
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn strangers_see_probes_only() {
    let world = World::new().await.with_roles().await;
    let stranger = std::sync::Arc::new(apiserver::http::Peer::default());
    for (path, wanted) in [
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz?verbose", 200),
        ("/version", 200),
        ("/api", 403),
        ("/apis", 403),
        ("/metrics", 403),
        ("/api/v1/pods", 403),
    ] {
        let request = http::Request::get(path)
            .body(bytes::Bytes::new())
            .expect("a request");
        let response = world.server.clone().respond_to(stranger.clone(), request).await;
        assert_eq!(response.status().as_u16(), wanted, "{path}");
    }
}

#[tokio::test]
async fn tokens_are_believed_while_their_account_lives() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let audience = vec!["isopod".to_string()];
    let tokens = apiserver::Tokens::new(&key.serialize_der(), key.public_key_raw(), "issuer", audience);
    let world = World::with_tokens(std::sync::Arc::new(tokens))
        .await
        .with_roles()
        .await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    world
        .json(
            "POST",
            accounts,
            &serde_json::json!({"metadata": {"name": "robot"}}),
        )
        .await;
    let request = serde_json::json!({"spec": {"expirationSeconds": 900}});
    let (code, answer) = world
        .json("POST", &format!("{accounts}/robot/token"), &request)
        .await;
    assert_eq!(code, 201, "{answer}");
    let token = format!("Bearer {}", answer["status"]["token"].as_str().expect("a token"));
    let ask = async |path: &str, token: &str| {
        let request = http::Request::get(path)
            .header("authorization", token)
            .body(bytes::Bytes::new());
        let stranger = std::sync::Arc::new(apiserver::http::Peer::default());
        world
            .server
            .clone()
            .respond_to(stranger, request.expect("a request"))
            .await
            .status()
            .as_u16()
    };
    assert_eq!(ask("/api", &token).await, 200);
    assert_eq!(
        ask("/api/v1/pods", &token).await,
        403,
        "known, but without any role"
    );
    assert_eq!(ask("/api", &format!("{token}x")).await, 401);
    world
        .json("DELETE", &format!("{accounts}/robot"), &serde_json::Value::Null)
        .await;
    assert_eq!(ask("/api", &token).await, 401, "the account is gone");
    let short = serde_json::json!({"spec": {"expirationSeconds": 9}});
    world
        .json(
            "POST",
            accounts,
            &serde_json::json!({"metadata": {"name": "robot"}}),
        )
        .await;
    assert_eq!(
        world
            .json("POST", &format!("{accounts}/robot/token"), &short)
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn a_namespace_goes_when_its_finalizers_are_gone() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces
        {"metadata":{"name":"shop"}}
        POST /api/v1/namespaces/shop/services
        {"metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.7","ports":[{"port":80}]}}
        POST /api/v1/namespaces/default/services
        {"metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.7","ports":[{"port":80}]}}
        POST /api/v1/namespaces/shop/persistentvolumeclaims
        {"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"256M"}}}}
        DELETE /api/v1/namespaces/shop/persistentvolumeclaims/data
        -
        PATCH /api/v1/namespaces/shop/persistentvolumeclaims/data application/merge-patch+json
        {"metadata":{"finalizers":null}}
        DELETE /api/v1/namespaces/shop
        -
        DELETE /api/v1/namespaces/shop
        -
        POST /api/v1/namespaces/shop/configmaps
        {"metadata":{"name":"late"}}
        PUT /api/v1/namespaces/shop/finalize
        {"metadata":{"name":"shop"},"spec":{}}
        GET /api/v1/namespaces/shop
        -
        DELETE /api/v1/namespaces/default
        -
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn an_event_in_two_versions() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces/default/events
        {"metadata":{"name":"old"},"involvedObject":{"kind":"Pod","name":"web-0","namespace":"default"},"reason":"Pulled","message":"it is here","type":"Normal","count":2,"source":{"component":"kubelet"}}
        GET /apis/events.k8s.io/v1/namespaces/default/events/old
        -
        POST /apis/events.k8s.io/v1/namespaces/default/events
        {"metadata":{"name":"bad"},"regarding":{"kind":"Pod","name":"web-0","namespace":"default"},"deprecatedCount":2,"reportingController":"a.b/c"}
        POST /apis/events.k8s.io/v1/namespaces/default/events
        {"metadata":{"name":"new"},"regarding":{"kind":"Pod","name":"web-1","namespace":"default"},"reason":"Started","note":"it runs","type":"Normal","eventTime":"2026-01-02T03:04:05.000000Z","action":"Start","reportingController":"a.b/c","reportingInstance":"c-1"}
        POST /apis/events.k8s.io/v1/namespaces/default/events
        {"metadata":{"name":"new"},"regarding":{"kind":"Pod","name":"web-1","namespace":"default"},"reason":"Started","note":"it runs","type":"Normal","eventTime":"2026-01-02T03:04:05.000000Z","action":"Start","reportingController":"a.b/c","reportingInstance":"c-1"}
        GET /api/v1/namespaces/default/events/new
        -
        PATCH /apis/events.k8s.io/v1/namespaces/default/events/new application/merge-patch+json
        {"series":{"count":2,"lastObservedTime":"2026-01-02T03:05:05.000000Z"}}
        PATCH /apis/events.k8s.io/v1/namespaces/default/events/new application/strategic-merge-patch+json
        {"note":"another"}
        GET /apis/events.k8s.io/v1/events?fieldSelector=regarding.name=web-1
        -
        GET /apis/events.k8s.io/v1/namespaces/default/events application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        DELETE /apis/events.k8s.io/v1/namespaces/default/events/old
        -
        DELETE /apis/events.k8s.io/v1/namespaces/default/events
        -
        GET /api/v1/events
        -
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn questions_are_answered_and_not_kept() {
    let text = conversation(
        r#"
        POST /apis/authentication.k8s.io/v1/selfsubjectreviews
        {}
        GET /apis/authentication.k8s.io/v1/selfsubjectreviews
        -
        POST /apis/authentication.k8s.io/v1/tokenreviews
        {"spec":{"token":"nonsense"}}
        POST /apis/authentication.k8s.io/v1/tokenreviews
        {"spec":{}}
        POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews
        {"spec":{"resourceAttributes":{"verb":"delete","resource":"pods","namespace":"default"}}}
        POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews
        {"spec":{}}
        POST /apis/authorization.k8s.io/v1/subjectaccessreviews
        {"spec":{"user":"somebody","groups":["system:authenticated"],"resourceAttributes":{"verb":"get","resource":"pods"}}}
        POST /apis/authorization.k8s.io/v1/subjectaccessreviews
        {"spec":{"user":"somebody","nonResourceAttributes":{"verb":"get","path":"/version"}}}
        POST /apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews
        {"spec":{"user":"somebody","resourceAttributes":{"verb":"get","resource":"pods","namespace":"other"}}}
        POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews
        {"spec":{"namespace":"default"}}
        GET /apis/authorization.k8s.io/v1
        -
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_token_of_a_secret_is_believed_while_the_secret_lives() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let audience = vec!["isopod".to_string()];
    let tokens = apiserver::Tokens::new(&key.serialize_der(), key.public_key_raw(), "issuer", audience);
    let world = World::with_tokens(std::sync::Arc::new(tokens))
        .await
        .with_roles()
        .await;
    let of = |kind: &str| format!("/api/v1/namespaces/default/{kind}");
    let robot = serde_json::json!({"metadata": {"name": "robot"}});
    let (_, account) = world.json("POST", &of("serviceaccounts"), &robot).await;
    let secret = serde_json::json!({"type": "kubernetes.io/service-account-token",
        "metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "robot"}}});
    let (code, made) = world.json("POST", &of("secrets"), &secret).await;
    assert_eq!((code, &made["data"]), (201, &serde_json::Value::Null));
    // As the controller does.
    let patch = serde_json::json!({"metadata": {"annotations": {"kubernetes.io/service-account.uid": account["metadata"]["uid"]}}});
    let (_, filled) = world.json("PATCH", &of("secrets/s"), &patch).await;
    let token = filled["data"]["token"].as_str().expect("a token");
    let token = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, token).expect("base64");
    let token = String::from_utf8(token).expect("text");
    let review = async |audiences: serde_json::Value| {
        let question = serde_json::json!({"spec": {"token": token, "audiences": audiences}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        world.json("POST", path, &question).await.1["status"].clone()
    };
    let known = review(serde_json::Value::Null).await;
    assert_eq!(known["user"]["username"], "system:serviceaccount:default:robot");
    assert_eq!(known["audiences"], serde_json::json!(["isopod"]));
    let elsewhere = review(serde_json::json!(["vault"])).await;
    assert_eq!(elsewhere["authenticated"], serde_json::Value::Null);
    world
        .json("DELETE", &of("secrets/s"), &serde_json::Value::Null)
        .await;
    assert_eq!(
        review(serde_json::Value::Null).await["authenticated"],
        serde_json::Value::Null
    );
}

#[tokio::test]
async fn a_token_says_where_it_is_used() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let audience = vec!["isopod".to_string()];
    let tokens = apiserver::Tokens::new(&key.serialize_der(), key.public_key_raw(), "issuer", audience);
    let world = World::with_tokens(std::sync::Arc::new(tokens)).await;
    let make = async |path: &str, body: serde_json::Value| {
        let (code, made) = world.json("POST", path, &body).await;
        assert_eq!(code, 201, "{made}");
        made
    };
    let node = make("/api/v1/nodes", serde_json::json!({"metadata": {"name": "n"}})).await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    make(accounts, serde_json::json!({"metadata": {"name": "robot"}})).await;
    let pod = make(
        "/api/v1/namespaces/default/pods",
        serde_json::json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "robot", "nodeName": "n",
            "containers": [{"name": "c", "image": "i:1"}]}}),
    )
    .await;
    let bound =
        serde_json::json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}});
    let answer = make(&format!("{accounts}/robot/token"), bound).await;
    let question = serde_json::json!({"spec": {"token": answer["status"]["token"]}});
    let known = make("/apis/authentication.k8s.io/v1/tokenreviews", question).await;
    let extra = |key: &str| {
        let values = &known["status"]["user"]["extra"][format!("authentication.kubernetes.io/{key}")];
        values[0].as_str().unwrap_or_default().to_string()
    };
    assert_eq!([extra("pod-name"), extra("node-name")], ["p", "n"]);
    assert_eq!(extra("pod-uid"), pod["metadata"]["uid"]);
    assert_eq!(extra("node-uid"), node["metadata"]["uid"]);
    assert!(extra("credential-id").starts_with("JTI="), "{known}");
}

#[tokio::test]
async fn a_status_write_changes_metadata_too_but_not_all_of_it() {
    let text = conversation(
        r#"
        POST /apis/apps/v1/namespaces/default/deployments
        {"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}
        PATCH /apis/apps/v1/namespaces/default/deployments/d/status application/merge-patch+json
        {"metadata":{"labels":{"new":"1"},"annotations":{"new":"1"}},"spec":{"replicas":7},"status":{"replicas":1}}
        POST /apis/apps/v1/namespaces/default/statefulsets
        {"metadata":{"name":"s"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}
        PATCH /apis/apps/v1/namespaces/default/statefulsets/s/status application/merge-patch+json
        {"metadata":{"labels":{"new":"1"},"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"c","uid":"u"}],"uid":null},"spec":{"replicas":7}}
        "#,
    )
    .await;
    let kept: Vec<String> = text
        .split("\n\n")
        .map(|part| {
            let answer = part.lines().last().unwrap_or_default();
            let (code, body) = answer.split_once(' ').unwrap_or_default();
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let meta = &body["metadata"];
            format!(
                "{code} {} {} {} {}",
                meta["labels"], meta["annotations"], meta["ownerReferences"], body["spec"]["replicas"]
            )
        })
        .collect();
    insta::assert_snapshot!(kept.join("\n"));
}

#[tokio::test]
async fn each_warning_is_told_once() {
    let world = World::new().await;
    let warnings = async |method: &str, path: &str, body: &'static str| {
        let request = http::Request::builder().method(method).uri(path);
        let request = request
            .header("content-type", "application/json")
            .body(bytes::Bytes::from(body));
        let response = world.send(request.expect("a request")).await;
        let all = response.headers().get_all("warning").iter();
        all.map(|v| v.to_str().expect("text").to_string())
            .collect::<Vec<_>>()
    };
    let deprecated =
        ["299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\""];
    let path = "/api/v1/namespaces/default/endpoints";
    assert_eq!(warnings("GET", path, "").await, deprecated);
    assert_eq!(
        warnings("GET", &format!("{path}?watch=1&resourceVersion=1"), "").await,
        deprecated
    );
    assert_eq!(
        warnings("POST", path, r#"{"metadata":{"name":"e"}}"#).await,
        deprecated
    );
    let path = "/api/v1/namespaces/default/configmaps";
    assert_eq!(
        warnings("POST", path, r#"{"metadata":{"name":"c"},"dta":{},"dta":{}}"#).await,
        ["299 - \"unknown field \\\"dta\\\"\""]
    );
}

#[tokio::test]
async fn one_may_act_as_another_who_may() {
    let world = World::new().await.with_roles().await;
    let whoami = async |headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let (code, answer) = world.ask("POST", path, &headers, b"{}").await;
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        format!("{code} {} {}", answer["status"]["userInfo"], answer["message"])
    };
    let lines = [
        whoami(&[]).await,
        whoami(&[("impersonate-user", "bob")]).await,
        whoami(&[("impersonate-user", "bob"), ("impersonate-group", "team")]).await,
        whoami(&[("impersonate-user", "system:serviceaccount:shop:robot")]).await,
        whoami(&[("impersonate-group", "team")]).await,
    ];
    insta::assert_snapshot!(lines.join("\n"));
    let as_bob = [("impersonate-user", "bob")];
    let (code, _) = world.ask("GET", "/api/v1/pods", &as_bob, b"").await;
    assert_eq!(code, 403);
    let weak = std::sync::Arc::new(apiserver::http::Peer {
        caller: Some(apiserver::Caller {
            name: "weak".into(),
            groups: vec!["system:authenticated".into()],
            ..apiserver::Caller::default()
        }),
        loopback: true,
        address: None,
    });
    let request = http::Request::get("/api/v1/pods").header("impersonate-user", "admin");
    let request = request.body(bytes::Bytes::new()).expect("a request");
    let response = world.server.clone().respond_to(weak, request).await;
    assert_eq!(response.status().as_u16(), 403);
}
