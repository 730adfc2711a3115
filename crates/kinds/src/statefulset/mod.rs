//! StatefulSet: replicas with names and disks of their own. Source: apps/v1 API reference.

mod claims;
mod controller;
mod plan;
mod pods;
mod revisions;
mod validate;

pub use controller::CONTROLLER;

use crate::json::{child_mut, ensure_object, get, items_mut, number, put, put_default, string};
use crate::row::{ScalePaths, age, text};
use crate::{Check, Column, Row, Rules, Write, pod};
use meta::{Errors, Res, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

pub const STATEFULSETS: Res = Res::new("apps", "statefulsets");

pub fn row() -> Row {
    Row {
        res: STATEFULSETS,
        version: "v1",
        kind: "StatefulSet",
        singular: "statefulset",
        short_names: &["sts"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.apps.v1.StatefulSet",
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
                Column::AGE,
                Column::wide("Containers", "string").says("Names of each container in the template."),
                Column::wide("Images", "string").says("Images referenced by each container in the template."),
            ]
        },
        rules: Arc::new(StatefulSet),
    }
}

struct StatefulSet;

impl Rules for StatefulSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        put_default(spec, "podManagementPolicy", "OrderedReady");
        put_default(spec, "replicas", 1);
        put_default(spec, "revisionHistoryLimit", 10);
        update_strategy(spec);
        if let Some(policy) = ensure_object(spec, "persistentVolumeClaimRetentionPolicy") {
            put_default(policy, "whenDeleted", "Retain");
            put_default(policy, "whenScaled", "Retain");
        }
        pod::default_template(spec);
        items_mut(spec, "volumeClaimTemplates").for_each(claim_template);
        status(object);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write != Write::Status {
            pod::drop_in_template(object, old);
        }
        status(object);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::object(object, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => &[Check::Change, Check::MetadataChange],
            _ => &[Check::MetadataChange, Check::Object, Check::Change],
        }
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        validate::replacement(object, old, errors);
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        validate::update(write, object, old, errors);
    }

    fn check_name(&self, name: &str) -> Vec<String> {
        // Pods take the name as their host name.
        meta::name::check_dns1123_label(name)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        pod::warnings::of_workload(object, old)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ready = number(get(object, "status"), "readyReplicas");
        let wanted = number(get(object, "spec"), "replicas");
        let [containers, images] = pod::cells::containers_and_images(object);
        vec![
            text(object, "/metadata/name").into(),
            format!("{ready}/{wanted}").into(),
            age(object, now).into(),
            containers,
            images,
        ]
    }
}

/// Counters that are shown even when they are 0.
fn status(object: &mut Value) {
    if let Some(status) = ensure_object(object, "status") {
        put_default(status, "replicas", 0);
        put_default(status, "availableReplicas", 0);
    }
}

fn update_strategy(spec: &mut Value) {
    let Some(strategy) = ensure_object(spec, "updateStrategy") else {
        return;
    };
    // Who names the type and nothing else gets nothing else.
    if string(strategy, "type").is_empty() {
        put(strategy, "type", "RollingUpdate");
        ensure_object(strategy, "rollingUpdate");
    }
    if string(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = child_mut(strategy, "rollingUpdate")
    {
        put_default(rolling, "partition", 0);
        // `maxUnavailable` stays unset, as in v1.36, whose feature gate for it is off by default (KEP-961); one at a
        // time then also replaces a pod that never became ready. Where it is set it is honoured.
    }
}

/// A claim template reads as the claim that it makes.
fn claim_template(claim: &mut Value) {
    put(claim, "apiVersion", "v1");
    put(claim, "kind", "PersistentVolumeClaim");
    ensure_object(claim, "metadata");
    if let Some(spec) = ensure_object(claim, "spec") {
        pod::defaults::claim_spec(spec);
    }
    put_default(claim, "status", json!({}));
    if let Some(status) = child_mut(claim, "status") {
        put_default(status, "phase", "Pending");
    }
}
