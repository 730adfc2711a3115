//! ReplicaSet: a number of equal pods. Source: apps/v1 API reference.

mod plan;
mod validate;

pub use plan::{CONTROLLER, REPLICA_FAILURE};

use crate::json::{ensure_object, get, number, put_default};
use crate::row::{ScalePaths, age, text};
use crate::{Check, Column, Row, Rules, Write, pod};
use meta::{Errors, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const REPLICASETS: Res = Res::new("apps", "replicasets");

pub fn row() -> Row {
    Row {
        res: REPLICASETS,
        version: "v1",
        kind: "ReplicaSet",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.apps.v1.ReplicaSet",
        generation: true,
        status: true,
        scale: Some(ScalePaths {
            replicas: "spec.replicas",
            status_replicas: "status.replicas",
            selector: Some("spec.selector"),
        }),
        selectable: &["status.replicas"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Desired", "integer").shows("apps.v1.ReplicaSetSpec", "replicas"),
                Column::new("Current", "integer").shows("apps.v1.ReplicaSetStatus", "replicas"),
                Column::new("Ready", "integer").shows("apps.v1.ReplicaSetStatus", "readyReplicas"),
                Column::AGE,
                Column::wide("Containers", "string").says("Names of each container in the template."),
                Column::wide("Images", "string").says("Images referenced by each container in the template."),
                Column::wide("Selector", "string").shows("apps.v1.ReplicaSetSpec", "selector"),
            ]
        },
        rules: Arc::new(ReplicaSet),
    }
}

struct ReplicaSet;

impl Rules for ReplicaSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        put_default(spec, "replicas", 1);
        pod::default_template(spec);
        status(object);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write != Write::Status {
            crate::pod::drop_in_template(object, old);
        }
        status(object);
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
        let [containers, images] = pod::cells::containers_and_images(object);
        vec![
            text(object, "/metadata/name").into(),
            number(get(object, "spec"), "replicas").into(),
            number(status, "replicas").into(),
            number(status, "readyReplicas").into(),
            age(object, now).into(),
            containers,
            images,
            pod::cells::selector(self.scale_selector(object)),
        ]
    }
}

/// A counter that is shown even when it is 0.
fn status(object: &mut Value) {
    if let Some(status) = ensure_object(object, "status") {
        put_default(status, "replicas", 0);
    }
}
