//! Deployment: replicas that are replaced version by version through ReplicaSets. Source: apps/v1 API reference.

mod plan;
mod replicasets;
mod rolling;
mod status;
mod validate;

pub use plan::CONTROLLER;

use crate::json::{ensure_object, get, number, put_default, string};
use crate::row::{ScalePaths, age, text};
use crate::{Check, Column, Row, Rules, Write, pod};
use meta::{Errors, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const DEPLOYMENTS: Res = Res::new("apps", "deployments");

pub fn row() -> Row {
    Row {
        res: DEPLOYMENTS,
        version: "v1",
        kind: "Deployment",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.apps.v1.Deployment",
        generation: true,
        status: true,
        scale: Some(ScalePaths {
            replicas: "spec.replicas",
            status_replicas: "status.replicas",
            selector: Some("spec.selector"),
        }),
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Ready", "string").says("Number of the pod with ready state"),
                Column::new("Up-to-date", "string").shows("apps.v1.DeploymentStatus", "updatedReplicas"),
                Column::new("Available", "string").shows("apps.v1.DeploymentStatus", "availableReplicas"),
                Column::AGE,
                Column::wide("Containers", "string").says("Names of each container in the template."),
                Column::wide("Images", "string").says("Images referenced by each container in the template."),
                Column::wide("Selector", "string").shows("apps.v1.DeploymentSpec", "selector"),
            ]
        },
        rules: Arc::new(Deployment),
    }
}

struct Deployment;

impl Rules for Deployment {
    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        put_default(spec, "replicas", 1);
        put_default(spec, "revisionHistoryLimit", 10);
        put_default(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = ensure_object(spec, "strategy") {
            put_default(strategy, "type", "RollingUpdate");
            if string(strategy, "type") == "RollingUpdate"
                && let Some(rolling) = ensure_object(strategy, "rollingUpdate")
            {
                put_default(rolling, "maxUnavailable", "25%");
                put_default(rolling, "maxSurge", "25%");
            }
        }
        pod::default_template(spec);
        ensure_object(object, "status");
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write != Write::Status {
            crate::pod::drop_in_template(object, old);
        }
        ensure_object(object, "status");
    }

    fn makes_generation(&self, object: &Value, old: &Value) -> bool {
        let annotations = |object| crate::json::members(get(object, "metadata"), "annotations");
        !annotations(object).eq(annotations(old))
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        &["labels"]
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::object(object, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Object, Check::Change],
        }
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        validate::update(write, object, old, errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        pod::warnings::of_workload(object, old)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let status = get(object, "status");
        let wanted = number(get(object, "spec"), "replicas");
        let [containers, images] = pod::cells::containers_and_images(object);
        vec![
            text(object, "/metadata/name").into(),
            format!("{}/{wanted}", number(status, "readyReplicas")).into(),
            number(status, "updatedReplicas").into(),
            number(status, "availableReplicas").into(),
            age(object, now).into(),
            containers,
            images,
            self.scale_selector(object).into(),
        ]
    }
}

/// True while `spec.paused` holds its rollout.
pub fn is_paused(object: &Value) -> bool {
    crate::json::is_true(get(object, "spec"), "paused")
}
