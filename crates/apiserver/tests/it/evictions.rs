//! Evictions ask the pod's budget; and kinds that are served in another way than most.

use crate::golden::conversation;
use crate::world::World;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A world with a ready pod `a`, and a budget for it with this spec and status.
async fn guarded(spec: Value, status: Value) -> World {
    let world = World::new().await;
    let account = json!({"metadata": {"name": "default"}});
    world
        .json("POST", "/api/v1/namespaces/default/serviceaccounts", &account)
        .await;
    let pod = json!({"metadata": {"name": "a", "labels": {"app": "web"}}, "spec": {"nodeName": "n", "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(world.json("POST", PODS, &pod).await.0, 201);
    become_ready(&world, true).await;
    add_budget(&world, "web", spec, status).await;
    world
}

async fn become_ready(world: &World, ready: bool) {
    let ready = if ready { "True" } else { "False" };
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
    assert_eq!(
        world.json("PATCH", &format!("{PODS}/a/status"), &status).await.0,
        200
    );
}

async fn add_budget(world: &World, name: &str, mut spec: Value, status: Value) {
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    let budget = json!({"metadata": {"name": name}, "spec": spec});
    assert_eq!(world.json("POST", BUDGETS, &budget).await.0, 201);
    let patch = json!({"status": status});
    let (code, answer) = world
        .json("PATCH", &format!("{BUDGETS}/{name}/status"), &patch)
        .await;
    assert_eq!(code, 200, "{answer}");
}

async fn evict(world: &World, options: Value) -> (u16, Value) {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": options});
    world.json("POST", &format!("{PODS}/a/eviction"), &body).await
}

/// Code, message and the cause of what is refused.
fn said(answer: &(u16, Value)) -> String {
    let text = |pointer: &str| {
        answer
            .1
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string()
    };
    let (reason, cause) = (
        text("/details/causes/0/reason"),
        text("/details/causes/0/message"),
    );
    let after = answer
        .1
        .pointer("/details/retryAfterSeconds")
        .cloned()
        .unwrap_or_default();
    format!("{} {} | {reason}: {cause} | {after}", answer.0, text("/message"))
}

#[tokio::test]
async fn a_budget_is_spent_and_remembers_whom_on() {
    let allowed = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3,
        "conditions": [{"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let world = guarded(json!({"minAvailable": 2}), allowed).await;
    let (code, _) = evict(&world, json!({"dryRun": ["All"]})).await;
    assert_eq!(code, 201);
    let budget = format!("{BUDGETS}/web");
    let (_, before) = world.json("GET", &budget, &Value::Null).await;
    assert_eq!(before["status"]["disruptionsAllowed"], 1, "nothing was spent");
    assert_eq!(evict(&world, json!({})).await.0, 201);
    let (_, after) = world.json("GET", &budget, &Value::Null).await;
    insta::assert_json_snapshot!(after["status"]);
    let (_, pod) = world.json("GET", &format!("{PODS}/a"), &Value::Null).await;
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    // On its way it is nobody's concern any more.
    assert_eq!(evict(&world, json!({})).await.0, 201);
}

#[tokio::test]
async fn why_a_pod_cannot_go() {
    let full = |more: Value| {
        let mut status = json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2});
        status
            .as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        status
    };
    let condition = |reason: &str| json!([{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": "because", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let mut lines = Vec::new();
    for status in [
        full(json!({})),
        full(json!({"observedGeneration": 0, "disruptionsAllowed": 5})),
        full(json!({"currentHealthy": 3})),
        full(json!({"currentHealthy": 3, "conditions": condition("InsufficientPods")})),
        full(json!({"conditions": condition("SyncFailed")})),
    ] {
        let world = guarded(json!({"minAvailable": 2}), status).await;
        lines.push(said(&evict(&world, json!({})).await));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

/// A pod that is not ready goes where the budget holds without it, or where it does not care.
#[tokio::test]
async fn pods_that_are_not_ready() {
    let status = |healthy: i64| json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": healthy, "desiredHealthy": 1, "expectedPods": 2});
    for (policy, healthy, code) in [
        ("IfHealthyBudget", 1, 201),
        ("IfHealthyBudget", 0, 429),
        ("AlwaysAllow", 0, 201),
    ] {
        let world = guarded(
            json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": policy}),
            status(healthy),
        )
        .await;
        become_ready(&world, false).await;
        assert_eq!(evict(&world, json!({})).await.0, code, "{policy} with {healthy}");
    }
    let world = guarded(json!({"minAvailable": 1}), status(0)).await;
    let pending = json!({"status": {"phase": "Pending"}});
    world.json("PATCH", &format!("{PODS}/a/status"), &pending).await;
    assert_eq!(evict(&world, json!({})).await.0, 201, "it does not run yet");
    let world = guarded(json!({"minAvailable": 1}), status(1)).await;
    add_budget(&world, "second", json!({"maxUnavailable": 1}), status(1)).await;
    let (code, answer) = evict(&world, json!({})).await;
    assert_eq!(
        (code, &answer["status"], &answer["code"]),
        (201, &json!("Failure"), &json!(500))
    );
    assert_eq!(
        answer["message"],
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
}

/// One object in two versions; and components, which can be read and no more.
#[tokio::test]
async fn versions_and_what_is_not_stored() {
    let text = conversation(
        r#"
        POST /apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers
        {"metadata":{"name":"web"},"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},"maxReplicas":3}}
        GET /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web
        -
        PATCH /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web application/merge-patch+json
        {"spec":{"metrics":[{"type":"Resource","resource":{"name":"memory","target":{"type":"AverageValue","averageValue":"1Gi"}}}]}}
        GET /apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers
        -
        DELETE /apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/web
        -
        GET /apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web
        -
        GET /api/v1/componentstatuses?includeObject=None application/json application/json;as=Table;v=v1;g=meta.k8s.io
        -
        GET /api/v1/componentstatuses/etcd-0
        -
        GET /api/v1/componentstatuses?watch=true
        -
        DELETE /api/v1/componentstatuses/etcd-0
        -
        "#,
    )
    .await;
    insta::assert_snapshot!(text);
}

/// Jobs leave their pods behind when nobody says what becomes of them.
#[tokio::test]
async fn jobs_orphan_by_default() {
    let world = World::new().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    let fate = async |name: &str, body: Value| {
        world
            .json("POST", jobs, &json!({"metadata": {"name": name}, "spec": spec}))
            .await;
        world.json("DELETE", &format!("{jobs}/{name}"), &body).await;
        let (code, left) = world.json("GET", &format!("{jobs}/{name}"), &Value::Null).await;
        (code, left["metadata"]["finalizers"].clone())
    };
    assert_eq!(fate("a", Value::Null).await, (200, json!(["orphan"])));
    assert_eq!(fate("b", json!({"propagationPolicy": "Background"})).await.0, 404);
}
