//! `autoscaling/v1` HorizontalPodAutoscaler: the same objects, of whose metrics it knows the CPU alone. All else stands in
//! annotations. Source: autoscaling/v1 API reference.

use super::{CPU_UTILIZATION, HORIZONTALPODAUTOSCALERS, HorizontalPodAutoscaler, annotations, cpu, moved};
use crate::json::{at, ensure_object, get, has, int, put, put_default, string, take};
use crate::{Check, Row, Rules, Write};
use meta::{Errors, Res, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

pub fn row() -> Row {
    Row {
        version: "v1",
        type_name: "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
        rules: Arc::new(Older),
        ..super::row()
    }
}

struct Older;

impl Older {
    /// A copy in the stored version's form.
    fn newer(&self, object: &Value) -> Value {
        let mut object = object.clone();
        self.stored(&mut object);
        object
    }
}

impl Rules for Older {
    fn version_of(&self) -> Option<Res> {
        Some(HORIZONTALPODAUTOSCALERS)
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = ensure_object(object, "spec") {
            put_default(spec, "minReplicas", 1);
        }
        ensure_object(object, "status");
    }

    /// Specs and statuses stand in annotations too, which either write may carry: each keeps to its own part.
    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        let mut newer = self.newer(object);
        let kept = if write == Write::Status { "spec" } else { "status" };
        let old = old.map(|old| self.newer(old));
        match old.as_ref().map_or(&Value::Null, |old| get(old, kept)) {
            Value::Null => put(&mut newer, kept, json!({})),
            was => put(&mut newer, kept, was.clone()),
        }
        self.shown(&mut newer);
        *object = newer;
    }

    fn shown(&self, object: &mut Value) {
        annotations::forget(object);
        let mut spec = take(object, "spec").unwrap_or_default();
        let mut status = take(object, "status").unwrap_or_default();
        let is_cpu = |metric: &Value, field: &str| {
            let resource = get(metric, "resource");
            string(metric, "type") == "Resource"
                && string(resource, "name") == "cpu"
                && int(get(resource, field), "averageUtilization").is_some()
        };
        let percent = |metric: &Value, field: &str| {
            at(metric, &format!("/resource/{field}/averageUtilization")).clone()
        };
        let (of_cpu, others): (Vec<Value>, Vec<Value>) = annotations::or_none(&spec, "metrics")
            .into_iter()
            .partition(|metric| is_cpu(metric, "target"));
        let current = annotations::or_none(&status, "currentMetrics");
        let conditions = annotations::or_none(&status, "conditions");
        let behavior = take(&mut spec, "behavior").unwrap_or_default();
        annotations::write(object, &others, &behavior, &current, &conditions);
        let mut older = json!({});
        for field in ["scaleTargetRef", "minReplicas", "maxReplicas"] {
            moved(&mut spec, field, &mut older, field);
        }
        if let Some(metric) = of_cpu.first() {
            put(
                &mut older,
                "targetCPUUtilizationPercentage",
                percent(metric, "target"),
            );
        }
        put(object, "spec", older);
        let mut older = json!({});
        for field in [
            "observedGeneration",
            "lastScaleTime",
            "currentReplicas",
            "desiredReplicas",
        ] {
            moved(&mut status, field, &mut older, field);
        }
        put_default(&mut older, "currentReplicas", 0);
        put_default(&mut older, "desiredReplicas", 0);
        if let Some(metric) = current.iter().rfind(|metric| is_cpu(metric, "current")) {
            put(
                &mut older,
                "currentCPUUtilizationPercentage",
                percent(metric, "current"),
            );
        }
        put(object, "status", older);
        put(object, "apiVersion", "autoscaling/v1");
    }

    fn stored(&self, object: &mut Value) {
        let read = annotations::read(object);
        if let Some(spec) = ensure_object(object, "spec") {
            let mut metrics = read.metrics;
            if let Some(percent) = take(spec, "targetCPUUtilizationPercentage").and_then(|v| v.as_i64()) {
                metrics.push(cpu(percent));
            }
            if metrics.is_empty() {
                metrics.push(cpu(CPU_UTILIZATION));
            }
            put(spec, "metrics", metrics);
            if let Some(behavior) = read.behavior {
                put(spec, "behavior", behavior);
            }
        }
        if let Some(status) = ensure_object(object, "status") {
            let percent = take(status, "currentCPUUtilizationPercentage").and_then(|v| v.as_i64());
            let of_cpu = percent.map(|percent| {
                vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}})]
            });
            if let Some(current) = read.current.or(of_cpu) {
                put(status, "currentMetrics", current);
            }
            // Always there, as a list that may be none.
            if !has(status, "currentMetrics") {
                put(status, "currentMetrics", Value::Null);
            }
            if let Some(conditions) = read.conditions {
                put(status, "conditions", conditions);
            }
        }
        put(object, "apiVersion", "autoscaling/v2");
        HorizontalPodAutoscaler.default(object);
        let none = at(object, "/metadata/annotations")
            .as_object()
            .is_some_and(|a| a.is_empty());
        if none && has(object, "metadata") {
            ensure_object(object, "metadata").map(|metadata| take(metadata, "annotations"));
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        HorizontalPodAutoscaler.validate(&self.newer(object), errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        HorizontalPodAutoscaler.validate_replacement(&self.newer(object), &self.newer(old), errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        HorizontalPodAutoscaler.update_checks(write)
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        HorizontalPodAutoscaler.validate_update(write, object, old, errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        HorizontalPodAutoscaler.cells(&self.newer(object), now)
    }
}
