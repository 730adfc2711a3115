//! HorizontalPodAutoscaler in both versions, and PodDisruptionBudget.

use crate::cases::{changed, patched, refused, table};
use crate::{now, prepared};
use insta::{assert_json_snapshot, assert_snapshot};
use kinds::horizontalpodautoscaler::HORIZONTALPODAUTOSCALERS as AUTOSCALERS;
use kinds::poddisruptionbudget::PODDISRUPTIONBUDGETS as BUDGETS;
use kinds::{Registry, Rules, Write};
use serde_json::{Value, json};
use std::sync::Arc;

fn autoscaler(more: Value) -> Value {
    let spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 5});
    let base = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2026-11-21T09:59:00Z"}, "spec": spec});
    patched(&base, &more)
}

fn budget(spec: Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2026-11-21T09:59:00Z"}, "spec": spec})
}

fn older() -> Arc<dyn Rules> {
    let registry = Registry::builtin();
    let row = registry.by_path("autoscaling", "v1", AUTOSCALERS.plural);
    row.expect("a row").rules.clone()
}

/// One of each kind of metric.
fn metrics() -> Value {
    let id = json!({"name": "m", "selector": {"matchLabels": {"a": "b"}}});
    json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "Pods", "pods": {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "100m"}}},
        {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s", "apiVersion": "v1"}, "metric": id, "target": {"type": "Value", "value": "5"}}},
        {"type": "External", "external": {"metric": id, "target": {"type": "AverageValue", "averageValue": "3"}}},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 10}}},
    ])
}

fn measured() -> Value {
    json!([
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40, "averageValue": "400m"}}},
        {"type": "Resource", "resource": {"name": "memory", "current": {"averageValue": "2Gi"}}},
    ])
}

#[test]
fn what_is_not_said() {
    assert_json_snapshot!("autoscaler", prepared(AUTOSCALERS, autoscaler(json!({}))));
    let behavior = json!({"spec": {"behavior": {"scaleUp": {"selectPolicy": "Min"}}}});
    let made = prepared(AUTOSCALERS, autoscaler(behavior));
    assert_json_snapshot!("behavior", made["spec"]["behavior"]);
    assert_json_snapshot!("budget", prepared(BUDGETS, budget(json!({"minAvailable": 1}))));
}

#[test]
fn autoscalers_that_are_wrong() {
    let target = |more: Value| json!({"spec": {"scaleTargetRef": more}});
    let metric = |metric: Value| json!({"spec": {"metrics": [metric]}});
    let behavior = |rules: Value| json!({"spec": {"behavior": {"scaleUp": rules}}});
    let patches = [
        json!({"spec": {"minReplicas": 0, "maxReplicas": 0}}),
        json!({"spec": {"minReplicas": 7, "maxReplicas": -1}}),
        target(json!({"kind": "", "name": "a/b", "apiVersion": "v1"})),
        target(json!({"apiVersion": "a/b/c", "kind": ".."})),
        metric(json!({})),
        metric(json!({"type": "Weather"})),
        metric(json!({"type": "Object"})),
        metric(json!({"type": "Resource", "resource": {}, "pods": {}})),
        metric(
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0, "averageValue": "-1"}}}),
        ),
        metric(
            json!({"type": "Pods", "pods": {"metric": {"name": "a/b"}, "target": {"type": "Guess", "value": "0"}}}),
        ),
        metric(
            json!({"type": "External", "external": {"metric": {}, "target": {"type": "Value", "value": "1", "averageValue": "1"}}}),
        ),
        metric(
            json!({"type": "Object", "object": {"describedObject": {"apiVersion": "a/b/c"}, "target": {"type": "Value"}}}),
        ),
        metric(json!({"type": "ContainerResource", "containerResource": {"name": "pods", "container": "C"}})),
        behavior(
            json!({"stabilizationWindowSeconds": 3601, "selectPolicy": "Most", "policies": [], "tolerance": "-1"}),
        ),
        behavior(
            json!({"stabilizationWindowSeconds": -1, "policies": [{"type": "Nodes"}, {"type": "Pods", "value": 1, "periodSeconds": 1801}]}),
        ),
    ];
    assert_snapshot!(
        "autoscalers",
        refused(AUTOSCALERS, &autoscaler(json!({})), &patches)
    );
    let zero = json!({"spec": {"minReplicas": 0, "metrics": metrics()}});
    let old = patched(&autoscaler(json!({})), &zero);
    let changes = [
        json!({"spec": {"metrics": null}}),
        target(json!({"name": "other", "apiVersion": "v1"})),
    ];
    let updates = changed(AUTOSCALERS, Write::Update, &old, &changes);
    let status = json!({"status": {"currentReplicas": -1, "desiredReplicas": -1}});
    let status = changed(AUTOSCALERS, Write::Status, &old, &[status]);
    assert_snapshot!("autoscaler_changed", format!("{updates}\n{status}"));
}

/// What the older version has no fields for goes through it unharmed.
#[test]
fn the_older_version_keeps_all() {
    let status = json!({"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": measured(), "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R"}]});
    let behavior =
        json!({"scaleDown": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}});
    let more = json!({"metadata": {"annotations": {"mine": "x"}}, "spec": {"metrics": metrics(), "behavior": behavior}, "status": status});
    let stored = prepared(AUTOSCALERS, autoscaler(more));
    let mut shown = stored.clone();
    older().shown(&mut shown);
    assert_json_snapshot!("older", shown);
    let mut back = shown.clone();
    older().stored(&mut back);
    // But for the order of metrics: the one that it knows comes last.
    let sorted = |object: &Value| {
        let mut metrics: Vec<String> = object["spec"]["metrics"]
            .as_array()
            .expect("metrics")
            .iter()
            .map(Value::to_string)
            .collect();
        metrics.sort();
        metrics
    };
    assert_eq!(sorted(&back), sorted(&stored));
    back["spec"]["metrics"] = stored["spec"]["metrics"].clone();
    assert_eq!(back, stored);
    assert_eq!(older().cells(&shown, now()).len(), 7);
}

/// A write of the status through the older version leaves the metrics of the spec alone, whatever the annotations say.
#[test]
fn each_write_keeps_to_its_part() {
    let mut old = prepared(AUTOSCALERS, autoscaler(json!({"spec": {"metrics": metrics()}})));
    older().shown(&mut old);
    let mut new = old.clone();
    new["metadata"]["annotations"] = json!({});
    new["status"]["currentReplicas"] = 4.into();
    older().prepare(Write::Status, &mut new, Some(&old), now());
    assert_eq!(new["metadata"]["annotations"], old["metadata"]["annotations"]);
    assert_eq!(new["status"]["currentReplicas"], 4);
    let mut new = old.clone();
    new["metadata"]["annotations"] = json!({"autoscaling.alpha.kubernetes.io/current-metrics": "[]", "autoscaling.alpha.kubernetes.io/metrics": "no JSON"});
    older().prepare(Write::Update, &mut new, Some(&old), now());
    assert_eq!(new["metadata"].get("annotations"), None);
    assert_eq!(new["spec"]["targetCPUUtilizationPercentage"], 50);
}

#[test]
fn budgets_that_are_wrong() {
    let patches = [
        json!({"spec": {"minAvailable": -1}}),
        json!({"spec": {"minAvailable": "x"}}),
        json!({"spec": {"minAvailable": "101%"}}),
        json!({"spec": {"minAvailable": null, "maxUnavailable": "-5%"}}),
        json!({"spec": {"maxUnavailable": "10%"}}),
        json!({"spec": {"selector": {"matchLabels": {"a b": "c d"}}}}),
        json!({"spec": {"selector": {"matchExpressions": [{"key": "k", "operator": "In"}]}}}),
        json!({"spec": {"unhealthyPodEvictionPolicy": "Sometimes"}}),
    ];
    assert_snapshot!(
        "budgets",
        refused(BUDGETS, &budget(json!({"minAvailable": 1})), &patches)
    );
    let condition = |more: Value| {
        let good = json!({"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z", "message": ""});
        json!({"status": {"conditions": [good, patched(&good, &more)]}})
    };
    let statuses = [
        json!({"status": {"disruptionsAllowed": -1, "currentHealthy": -1, "desiredHealthy": -1, "expectedPods": -1}}),
        condition(json!({})),
        condition(json!({"type": "a b", "status": "Perhaps", "reason": "", "lastTransitionTime": null})),
        condition(json!({"type": "B", "reason": "no reason", "observedGeneration": -1})),
        condition(json!({"type": "C", "reason": "x".repeat(1025), "message": "x".repeat(40_000)})),
    ];
    let said = changed(BUDGETS, Write::Status, &budget(json!({})), &statuses);
    let short: Vec<String> = said
        .lines()
        .map(|line| line.chars().take(300).collect())
        .collect();
    assert_snapshot!("budget_status", short.join("\n"));
}

#[test]
fn tables() {
    let one = |i: usize| metrics()[i].clone();
    let autoscalers = [
        json!({}),
        json!({"spec": {"minReplicas": 2, "metrics": metrics()}, "status": {"currentReplicas": 2, "currentMetrics": measured()}}),
        json!({"spec": {"metrics": [one(2), one(3)]}, "status": {"currentMetrics": [{"type": "Pods", "pods": {"current": {"averageValue": "7"}}}]}}),
        json!({"spec": {"metrics": [one(4), one(5)]}}),
        json!({"spec": {"metrics": [{"type": "Weather"}, {"type": "Resource", "resource": {"name": "cpu", "target": {}}}]}}),
    ];
    let budgets = [
        json!({"spec": {"minAvailable": 1}, "status": {"disruptionsAllowed": 2}}),
        json!({"spec": {"maxUnavailable": "30%"}}),
    ];
    let all = [
        table(AUTOSCALERS, &autoscaler(json!({})), &autoscalers),
        table(BUDGETS, &budget(json!({})), &budgets),
    ];
    assert_snapshot!("autoscaling_tables", all.join("\n"));
}
