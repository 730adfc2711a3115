//! Forms of answers, what strict decoding says, and what a write counts.

use crate::golden::conversation;
use crate::world::World;
use serde_json::json;

#[tokio::test]
async fn tables_come_in_the_form_that_was_asked_for() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces/default/serviceaccounts
        {"metadata":{"name":"a"}}
        GET /api/v1/namespaces/default/serviceaccounts/a?includeObject=None application/json application/json;as=Table;v=v1beta1;g=meta.k8s.io
        -
        GET /api/v1/namespaces/default/serviceaccounts?includeObject=Object application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        GET /api/v1/namespaces/default/serviceaccounts?includeObject=All application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        GET /api/v1/namespaces/default/serviceaccounts/a application/json application/json;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io
        -
        GET /api/v1/namespaces/default/serviceaccounts application/json application/json;as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io
        -
        GET /api/v1/namespaces/default/serviceaccounts application/json application/json;as=Table;v=v2;g=meta.k8s.io
        -
        POST /apis/apps/v1/namespaces/default/replicasets
        {"metadata":{"name":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"a","image":"a"}]}}}}
        GET /apis/apps/v1/namespaces/default/replicasets/web/scale?includeObject=None application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        GET /apis/apps/v1/namespaces/default/replicasets/web/status?includeObject=None application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        POST /apis/authentication.k8s.io/v1/selfsubjectreviews application/json application/json;as=Table;v=v1;g=meta.k8s.io
        {}
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

/// A strict decoder names unknown and duplicate fields together, in the order of the text; a wrong type comes before them.
#[tokio::test]
async fn what_strict_decoding_says() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces/default/configmaps?fieldValidation=Strict
        {"zeta":1,"metadata":{"name":"a","lbls":{},"labels":{"x":"1","x":"2"},"alfa":{"b":1,"b":2}},"data":{"a":"1","b":"","a":"2","a":"3"},"dta":{}}
        POST /api/v1/namespaces/default/pods?fieldValidation=Strict
        {"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","name":"c","ports":[{"zort":1,"containerPort":1,"containerPort":2}],"imaeg":"x"}],"containers":[]}}
        POST /api/v1/namespaces/default/configmaps?fieldValidation=Strict
        {"metadata":{"name":"a"},"data":{"a":"1","a":2}}
        POST /api/v1/namespaces/default/configmaps?fieldValidation=Ignore
        {"metadata":{"name":"a"},"dta":{},"data":{"a":"1","a":"2"}}
        PATCH /api/v1/namespaces/default/configmaps/a?fieldValidation=Strict application/merge-patch+json
        {"data":{"b":"1","b":"2"},"zeta":1,"dta":1}
        PATCH /api/v1/namespaces/default/configmaps/a?fieldValidation=Strict application/json-patch+json
        [{"op":"add","op":"add","path":"/dta","value":1}]
        PATCH /api/v1/namespaces/default/configmaps/a?fieldValidation=Strict application/strategic-merge-patch+json
        {"dta":[1,null,{"x":true}],"data":{"b":"1"}}
        PATCH /api/v1/namespaces/default/configmaps/a application/strategic-merge-patch+json
        {"data":{"b":1}}
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

/// Generations count what was asked for: of a Deployment its annotations as well, of an EndpointSlice its labels.
#[tokio::test]
async fn what_makes_a_generation() {
    let world = World::new().await;
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []});
    let places = [
        ("/apis/apps/v1/namespaces/default/deployments", deployment),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            slice,
        ),
    ];
    let mut seen = Vec::new();
    for (path, object) in places {
        let (_, made) = world.json("POST", path, &object).await;
        let one = format!("{path}/{}", made["metadata"]["name"].as_str().expect("a name"));
        seen.push(made["metadata"]["generation"].clone());
        for (field, below) in [("labels", ""), ("annotations", ""), ("annotations", "/status")] {
            if below == "/status" && path.contains("slices") {
                continue;
            }
            let patch = json!({"metadata": {field: {"x": format!("1{below}")}}});
            let (_, now) = world.json("PATCH", &format!("{one}{below}"), &patch).await;
            seen.push(now["metadata"]["generation"].clone());
        }
    }
    assert_eq!(json!(seen), json!([1, 1, 2, 2, 1, 2, 2]));
}

/// A node tells of itself as it registers.
#[tokio::test]
async fn a_node_is_made_with_its_status() {
    let world = World::new().await;
    let node = json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2"}}});
    let (_, made) = world.json("POST", "/api/v1/nodes", &node).await;
    assert_eq!(
        made["status"]["daemonEndpoints"],
        json!({"kubeletEndpoint": {"Port": 0}})
    );
    assert_eq!(
        json!([made["status"]["capacity"], made["status"]["allocatable"]]),
        json!([{"cpu": "2"}, {"cpu": "2"}])
    );
}

/// An eviction leaves its reason on the pod; it names the pod twice.
#[tokio::test]
async fn what_an_eviction_says() {
    let text = conversation(
        r#"
        POST /api/v1/namespaces/default/serviceaccounts
        {"metadata":{"name":"default"}}
        POST /api/v1/namespaces/default/pods
        {"metadata":{"name":"a"},"spec":{"nodeName":"n","automountServiceAccountToken":false,"containers":[{"name":"c","image":"i"}]}}
        POST /api/v1/namespaces/default/pods/a/eviction
        {"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"b"}}
        POST /api/v1/namespaces/default/pods/a/eviction
        {"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"a"},"deleteOptions":{"gracePeriodSeconds":7}}
        GET /api/v1/namespaces/default/pods/a
        -
        "#,
    )
    .await;
    let conditions = text.lines().filter(|line| line.contains("EvictionByEvictionAPI"));
    assert_eq!(conditions.count(), 1, "{text}");
    insta::assert_snapshot!(text);
}

/// What is checked is what came, not what becomes of it.
#[tokio::test]
async fn what_is_filled_in_late_is_no_fault() {
    let world = World::new().await;
    let wrong = json!({"metadata": {"generateName": "a/"}});
    let (code, answer) = world.json("POST", "/api/v1/namespaces", &wrong).await;
    let message = answer["message"].as_str().unwrap_or_default();
    assert_eq!(
        (code, message.contains("metadata.labels")),
        (422, false),
        "{message}"
    );
    let good = json!({"metadata": {"generateName": "a-"}});
    let (_, made) = world.json("POST", "/api/v1/namespaces", &good).await;
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        made["metadata"]["name"]
    );
    let capacity = |pods: &str| json!({"metadata": {"name": "n"}, "status": {"allocatable": {}, "capacity": {"pods": pods}}});
    let (_, answer) = world.json("POST", "/api/v1/nodes", &capacity("1500m")).await;
    assert_eq!(
        answer["message"],
        "Node \"n\" is invalid: status.capacity.pods: Invalid value: \"1500m\": must be an integer"
    );
    let (_, made) = world.json("POST", "/api/v1/nodes", &capacity("9")).await;
    assert_eq!(made["status"]["allocatable"]["pods"], "9");
}
