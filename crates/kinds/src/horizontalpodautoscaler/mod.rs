//! HorizontalPodAutoscaler: how many replicas a workload has, by what it is measured. Kept as `autoscaling/v2`.
//! Source: autoscaling/v2 API reference.

mod annotations;
mod targets;
pub mod v1;
mod validate;

use crate::json::{ensure_object, get, has, int, list, number, put, put_default, string, take};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Res, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

pub const HORIZONTALPODAUTOSCALERS: Res = Res::new("autoscaling", "horizontalpodautoscalers");

/// Percent of the requested CPU that is aimed at when nothing is said.
const CPU_UTILIZATION: i64 = 80;

pub fn row() -> Row {
    Row {
        res: HORIZONTALPODAUTOSCALERS,
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            const SPEC: &str = "autoscaling.v2.HorizontalPodAutoscalerSpec";
            &[
                Column::NAME,
                Column::new("Reference", "string").shows(SPEC, "scaleTargetRef"),
                Column::new("Targets", "string").shows(SPEC, "metrics"),
                Column::new("MinPods", "string").shows(SPEC, "minReplicas"),
                Column::new("MaxPods", "string").shows(SPEC, "maxReplicas"),
                Column::new("Replicas", "string")
                    .shows("autoscaling.v2.HorizontalPodAutoscalerStatus", "currentReplicas"),
                Column::AGE,
            ]
        },
        rules: Arc::new(HorizontalPodAutoscaler),
    }
}

struct HorizontalPodAutoscaler;

impl Rules for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Value) {
        annotations::forget(object);
        if let Some(spec) = ensure_object(object, "spec") {
            put_default(spec, "minReplicas", 1);
            if list(spec, "metrics").is_empty() {
                put(spec, "metrics", vec![cpu(CPU_UTILIZATION)]);
            }
            if has(spec, "behavior")
                && let Some(behavior) = ensure_object(spec, "behavior")
            {
                default_behavior(behavior);
            }
        }
        status(object);
    }

    fn prepare(&self, _write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        status(object);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::object(object, None, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        validate::object(object, Some(old), errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Object],
        }
    }

    fn validate_update(&self, write: Write, object: &Value, _old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            validate::status(object, errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (get(object, "spec"), get(object, "status"));
        let target = get(spec, "scaleTargetRef");
        let least = int(spec, "minReplicas").map_or("<unset>".to_string(), |n| n.to_string());
        vec![
            text(object, "/metadata/name").into(),
            format!("{}/{}", string(target, "kind"), string(target, "name")).into(),
            targets::text(list(spec, "metrics"), list(status, "currentMetrics")).into(),
            least.into(),
            number(spec, "maxReplicas").into(),
            number(status, "currentReplicas").into(),
            age(object, now).into(),
        ]
    }
}

/// What is shown even when there is nothing yet.
fn status(object: &mut Value) {
    if let Some(status) = ensure_object(object, "status") {
        put_default(status, "desiredReplicas", 0);
    }
}

/// A metric: so much of the CPU that pods ask for.
fn cpu(percent: i64) -> Value {
    json!({
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    })
}

/// Who says anything of how it scales has said something of both directions.
fn default_behavior(behavior: &mut Value) {
    let policy = |kind: &str, value: i64| json!({"type": kind, "value": value, "periodSeconds": 15});
    let up = [policy("Pods", 4), policy("Percent", 100)];
    let down = [policy("Percent", 100)];
    for (direction, policies) in [("scaleUp", up.as_slice()), ("scaleDown", &down)] {
        let Some(rules) = ensure_object(behavior, direction) else {
            continue;
        };
        if direction == "scaleUp" {
            put_default(rules, "stabilizationWindowSeconds", 0);
        }
        put_default(rules, "selectPolicy", "Max");
        put_default(rules, "policies", policies);
    }
}

/// A reference as the older version has it, and back: one order of fields, nothing that is not said.
fn reference(from: &Value) -> Value {
    let mut to = json!({"kind": string(from, "kind"), "name": string(from, "name")});
    if let Some(version) = crate::json::some(from, "apiVersion") {
        put(&mut to, "apiVersion", version.clone());
    }
    to
}

/// Moves a member that is there.
fn moved(from: &mut Value, name: &str, to: &mut Value, new: &str) {
    if let Some(value) = take(from, name).filter(|value| !value.is_null()) {
        put(to, new, value);
    }
}
