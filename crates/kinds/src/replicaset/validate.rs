//! What a ReplicaSet must be, and what of it may change.

use crate::json::{get, number};
use crate::{Write, check, pod};
use meta::{Errors, Path};
use serde_json::Value;

pub(super) fn object(object: &Value, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    check::not_negative(spec, "replicas", &path, errors);
    check::not_negative(spec, "minReadySeconds", &path, errors);
    // Upstream says "deployment" here too.
    if let Some(selector) = check::workload_selector(spec, "deployment", "invalid label selector", errors) {
        check::template_fits(&selector, spec, errors);
        let (template, path) = (get(spec, "template"), path.child("template"));
        pod::validate::template(template, &path, errors);
        pod::validate::runs_forever(template, "ReplicaSet", &path, errors);
    }
}

pub(super) fn update(write: Write, object: &Value, old: &Value, errors: &mut Errors) {
    if write == Write::Status {
        status(get(object, "status"), errors);
        return;
    }
    check::immutable_selector(object, old, errors);
}

fn status(status: &Value, errors: &mut Errors) {
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    let others = ["observedGeneration", "terminatingReplicas"];
    check::status_counts(status, "replicas", &parts, &others, errors);
    if number(status, "availableReplicas") > number(status, "readyReplicas") {
        let n = number(status, "availableReplicas");
        let path = Path::new("status").child("availableReplicas");
        errors.invalid(&path, n, "cannot be greater than readyReplicas");
    }
}
