//! ReplicationController: a number of equal pods, chosen by plain labels. Source: core/v1 API reference.

use crate::json::{at, ensure_object, get, has, members, number, put_default, string, texts};
use crate::row::{ScalePaths, age, text};
use crate::{Check, Column, Row, Rules, Write, check, pod};
use meta::selector::LabelSelector;
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const REPLICATIONCONTROLLERS: Res = Res::new("", "replicationcontrollers");

pub fn row() -> Row {
    Row {
        res: REPLICATIONCONTROLLERS,
        version: "v1",
        kind: "ReplicationController",
        singular: "replicationcontroller",
        short_names: &["rc"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.ReplicationController",
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
                Column::new("Desired", "integer").shows("core.v1.ReplicationControllerSpec", "replicas"),
                Column::new("Current", "integer").shows("core.v1.ReplicationControllerStatus", "replicas"),
                Column::new("Ready", "integer").shows("core.v1.ReplicationControllerStatus", "readyReplicas"),
                Column::AGE,
                Column::wide("Containers", "string").says("Names of each container in the template."),
                Column::wide("Images", "string").says("Images referenced by each container in the template."),
                Column::wide("Selector", "string").shows("core.v1.ReplicationControllerSpec", "selector"),
            ]
        },
        rules: Arc::new(ReplicationController),
    }
}

struct ReplicationController;

impl Rules for ReplicationController {
    fn default(&self, object: &mut Value) {
        let labels = at(object, "/spec/template/metadata/labels").clone();
        let is_given = |labels: &Value| labels.as_object().is_some_and(|l| !l.is_empty());
        if is_given(&labels) {
            for (holder, field) in [("spec", "selector"), ("metadata", "labels")] {
                if let Some(holder) = ensure_object(object, holder)
                    && !is_given(get(holder, field))
                {
                    crate::json::put(holder, field, labels.clone());
                }
            }
        }
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        put_default(spec, "replicas", 1);
        if has(spec, "template") {
            pod::default_template(spec);
        }
        status(object);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write != Write::Status {
            pod::drop_in_template(object, old);
        }
        status(object);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        check::not_negative(spec, "minReadySeconds", &path, errors);
        if texts(spec, "selector").next().is_none() {
            errors.required(&path.child("selector"), "");
        }
        check::not_negative(spec, "replicas", &path, errors);
        template(spec, &path.child("template"), errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Object, Check::Change],
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            status_update(get(object, "status"), errors);
        } else {
            not_convertible(object, old, errors);
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if !pod::warnings::is_respecified(object, old) {
            return Vec::new();
        }
        let mut out = Vec::new();
        if old.is_none() {
            out = pod::warnings::of_name(object);
        }
        // After an update upstream looks at the template that was there before.
        let template = at(old.unwrap_or(object), "/spec/template");
        out.extend(pod::warnings::of_template(
            template,
            &Path::new("spec").child("template"),
        ));
        out
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    /// Too long a name is counted in bytes here.
    fn check_name(&self, name: &str) -> Vec<String> {
        use meta::name::{SUBDOMAIN_MAX, check_dns1123_subdomain, max_bytes_error, max_len_error};
        let in_bytes = |message: String| match message == max_len_error(SUBDOMAIN_MAX) {
            true => max_bytes_error(SUBDOMAIN_MAX),
            false => message,
        };
        check_dns1123_subdomain(name).into_iter().map(in_bytes).collect()
    }

    fn scale_selector(&self, object: &Value) -> String {
        LabelSelector::of_map(texts(get(object, "spec"), "selector")).to_string()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (get(object, "spec"), get(object, "status"));
        let [containers, images] = pod::cells::containers_and_images(object);
        vec![
            text(object, "/metadata/name").into(),
            number(spec, "replicas").into(),
            number(status, "replicas").into(),
            number(status, "readyReplicas").into(),
            age(object, now).into(),
            containers,
            images,
            pod::cells::labels(spec, "selector"),
        ]
    }
}

/// A counter that is shown even when it is 0.
fn status(object: &mut Value) {
    if let Some(status) = ensure_object(object, "status") {
        put_default(status, "replicas", 0);
    }
}

fn template(spec: &Value, path: &Path, errors: &mut Errors) {
    let template = get(spec, "template");
    if template.is_null() {
        errors.required(path, "");
        return;
    }
    let metadata = get(template, "metadata");
    let labels: BTreeMap<&str, &str> = texts(metadata, "labels").collect();
    if texts(spec, "selector").any(|(key, value)| labels.get(key) != Some(&value)) {
        let shown = get(metadata, "labels").clone();
        errors.invalid(
            &path.child("metadata").child("labels"),
            shown,
            "`selector` does not match template `labels`",
        );
    }
    pod::validate::template(template, path, errors);
    pod::validate::runs_forever(template, "ReplicationController", path, errors);
}

fn status_update(status: &Value, errors: &mut Errors) {
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    check::status_counts(status, "replicas", &parts, &["observedGeneration"], errors);
    let available = number(status, "availableReplicas");
    if available > number(status, "readyReplicas") {
        let path = Path::new("status").child("availableReplicas");
        errors.invalid(&path, available, "cannot be greater than readyReplicas");
    }
}

/// Annotations tell of what a conversion from another kind of workload could not express: that cannot change here.
fn not_convertible(object: &Value, old: &Value, errors: &mut Errors) {
    const PREFIX: &str = "non-convertible.kubernetes.io";
    let selector = |object| at(object, "/spec/selector").clone();
    for (key, _) in members(get(old, "metadata"), "annotations").filter(|(key, _)| key.starts_with(PREFIX)) {
        let Some((_, field)) = key.split_once('/').filter(|(_, field)| !field.contains('/')) else {
            continue;
        };
        if !field.contains("selector") {
            let value = string(at(old, "/metadata/annotations"), key);
            errors.not_found_because(&Path::new(field), value, "unknown non-convertible field");
        } else if selector(object) != selector(old) {
            let path = Path::new("spec").child("selector");
            errors.invalid(&path, selector(object), "cannot update non-convertible selector");
        }
    }
}
