//! LimitRange, ResourceQuota and ComponentStatus.

use crate::cases::{changed, refused, table};
use crate::{now, prepared, rules};
use insta::{assert_json_snapshot, assert_snapshot};
use kinds::limitrange::LIMITRANGES;
use kinds::resourcequota::RESOURCEQUOTAS;
use kinds::{Registry, Write};
use serde_json::{Value, json};

fn limits(limits: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l", "namespace": "shop", "creationTimestamp": "2026-11-21T09:59:00Z"}, "spec": {"limits": limits}})
}

fn quota(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "shop", "creationTimestamp": "2026-11-21T09:59:00Z"}, "spec": spec})
}

#[test]
fn what_containers_get_unasked() {
    let given = json!([{"type": "Container", "max": {"cpu": "2", "memory": "1024Mi"}, "min": {"ephemeral-storage": "1000M"}, "default": {"cpu": "0.5"}}, {"type": "Pod", "max": {"cpu": "4"}}]);
    assert_json_snapshot!("limitrange", prepared(LIMITRANGES, limits(given)));
    let nameless = json!({"metadata": {"namespace": "shop", "uid": "u-1"}});
    assert_eq!(prepared(LIMITRANGES, nameless)["metadata"]["name"], "u-1");
}

#[test]
fn limits_that_are_wrong() {
    let one = |limit: Value| json!({"spec": {"limits": [limit]}});
    let of_containers = |more: Value| {
        let mut limit = json!({"type": "Container"});
        limit
            .as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        one(limit)
    };
    let patches = [
        one(json!({})),
        one(json!({"type": "Box"})),
        one(json!({"type": "A b"})),
        json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}}),
        one(json!({"type": "Pod", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}})),
        one(json!({"type": "PersistentVolumeClaim", "default": {"storage": "1"}})),
        one(json!({"type": "example.com/x", "max": {"storage": "1", "pods": "2", "nonsense": "3"}})),
        of_containers(
            json!({"max": {"storage": "1"}, "min": {"a b": "1"}, "maxLimitRequestRatio": {"requests.x/y": "1"}}),
        ),
        of_containers(json!({"max": {"cpu": "1"}, "min": {"cpu": "2"}})),
        of_containers(json!({"max": {"cpu": "1"}, "default": {"cpu": "2"}})),
        of_containers(json!({"min": {"cpu": "1"}, "default": {"cpu": "500m"}})),
        of_containers(json!({"default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}})),
        of_containers(json!({"maxLimitRequestRatio": {"cpu": "0.5"}})),
        of_containers(
            json!({"min": {"cpu": "1"}, "max": {"cpu": "3"}, "maxLimitRequestRatio": {"cpu": "4"}}),
        ),
        of_containers(
            json!({"min": {"cpu": "0"}, "max": {"cpu": "3"}, "maxLimitRequestRatio": {"cpu": "4"}}),
        ),
        of_containers(
            json!({"default": {"example.com/gpu": "2"}, "defaultRequest": {"example.com/gpu": "1"}}),
        ),
    ];
    assert_snapshot!("limitranges", refused(LIMITRANGES, &limits(json!([])), &patches));
}

#[test]
fn quotas_that_are_wrong() {
    let hard = |name: &str, amount: &str| json!({"spec": {"hard": {name: amount}}});
    let scoped = |scopes: &[&str]| json!({"spec": {"scopes": scopes}});
    let selecting = |scope: &str, operator: &str, values: &[&str]| {
        let e = json!({"scopeName": scope, "operator": operator, "values": values});
        json!({"spec": {"scopeSelector": {"matchExpressions": [e]}}})
    };
    let patches = [
        hard("storage", "1"),
        hard("nonsense", "1"),
        hard("a b", "1"),
        hard("cpu", "-1"),
        hard("pods", "1500m"),
        hard("limits.hugepages-2Mi", "1"),
        scoped(&["Nowhere"]),
        scoped(&["BestEffort", "NotBestEffort"]),
        scoped(&["Terminating", "NotTerminating", "VolumeAttributesClass"]),
        selecting("Nowhere", "In", &[]),
        selecting("Terminating", "In", &["x"]),
        selecting("PriorityClass", "Exists", &["x"]),
        selecting("PriorityClass", "Like", &["x"]),
        selecting("VolumeAttributesClass", "Exists", &[]),
    ];
    let good = quota(json!({"hard": {"pods": "10"}}));
    assert_snapshot!("quotas", refused(RESOURCEQUOTAS, &good, &patches));
    let scopes = changed(
        RESOURCEQUOTAS,
        Write::Update,
        &good,
        &[scoped(&["NotTerminating"])],
    );
    let status = json!({"status": {"hard": {"nonsense": "-1"}, "used": {"pods": "1.5"}}});
    let status = changed(RESOURCEQUOTAS, Write::Status, &good, &[status]);
    assert_snapshot!("quota_changed", format!("{scopes}\n{status}"));
}

#[test]
fn a_quota_that_gives_more_than_can_be_used() {
    let hard = json!({"cpu": "3", "limits.cpu": "2", "requests.memory": "2Gi", "memory": "1Gi", "limits.memory": "1Gi", "requests.ephemeral-storage": "1", "limits.ephemeral-storage": "1"});
    let object = prepared(RESOURCEQUOTAS, quota(json!({"hard": hard})));
    assert_snapshot!(rules(RESOURCEQUOTAS).warnings(&object, None).join("\n"));
}

#[test]
fn tables() {
    let status = json!({"status": {"hard": {"pods": "10", "limits.cpu": "4", "requests.cpu": "2"}, "used": {"pods": "3", "limits.cpu": "500m"}}});
    let all = [
        table(LIMITRANGES, &limits(json!([])), &[json!({})]),
        table(RESOURCEQUOTAS, &quota(json!({})), &[json!({}), status]),
    ];
    assert_snapshot!("quota_tables", all.join("\n"));
}

#[test]
fn components_are_well() {
    let registry = Registry::builtin();
    let row = registry.by_path("", "v1", "componentstatuses").expect("a row");
    let shown = row.rules.shows().expect("what there is");
    let lines: Vec<String> = shown
        .iter()
        .map(|one| Value::from(row.rules.cells(one, now())).to_string())
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    ["controller-manager","Healthy","ok",""]
    ["etcd-0","Healthy","ok",""]
    ["scheduler","Healthy","ok",""]
    "#);
    let ill = json!({"metadata": {"name": "x"}, "conditions": [{"type": "Healthy", "status": "False", "message": "m", "error": "e"}]});
    assert_eq!(
        json!(row.rules.cells(&ill, now())),
        json!(["x", "Unhealthy", "m", "e"])
    );
}
