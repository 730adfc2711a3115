//! What a Deployment must be, and what of it may change.

use crate::json::{at, get, int, number, some, string};
use crate::{Write, check, pod};
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::Value;

pub(super) fn object(object: &Value, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    check::not_negative(spec, "replicas", &path, errors);
    if let Some(selector) = check::workload_selector(spec, "deployment", "invalid label selector", errors) {
        check::template_fits(&selector, spec, errors);
        let (template, path) = (get(spec, "template"), path.child("template"));
        pod::validate::template(template, &path, errors);
        pod::validate::runs_forever(template, "ReplicaSet", &path, errors);
    }
    strategy(get(spec, "strategy"), &path.child("strategy"), errors);
    check::not_negative(spec, "minReadySeconds", &path, errors);
    check::not_negative(spec, "revisionHistoryLimit", &path, errors);
    if let Some(deadline) = int(spec, "progressDeadlineSeconds") {
        check::not_negative(spec, "progressDeadlineSeconds", &path, errors);
        if deadline <= number(spec, "minReadySeconds") {
            let path = path.child("progressDeadlineSeconds");
            errors.invalid(&path, deadline, "must be greater than minReadySeconds");
        }
    }
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let (rolling, rolling_path) = (get(strategy, "rollingUpdate"), path.child("rollingUpdate"));
    match string(strategy, "type") {
        "Recreate" => {
            if !rolling.is_null() {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                errors.forbidden(&rolling_path, detail);
            }
        }
        "RollingUpdate" if rolling.is_null() => {
            errors.required(&rolling_path, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => rolling_update(rolling, &rolling_path, errors),
        _ => {
            // Upstream shows its own form of the structure, in which a number that is not given is 0.
            let part = |field: &str| Some(some(rolling, field).cloned().unwrap_or(0.into()));
            let parts = [
                ("MaxUnavailable", part("maxUnavailable")),
                ("MaxSurge", part("maxSurge")),
            ];
            let rolling = match rolling.is_null() {
                true => Shown("null".into()),
                false => Shown::members(parts),
            };
            let kind = Value::from(string(strategy, "type"));
            let shown = Shown(format!("{{\"Type\":{kind},\"RollingUpdate\":{}}}", rolling.0));
            errors.not_supported(path, shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn rolling_update(rolling: &Value, path: &Path, errors: &mut Errors) {
    let (down, up) = (get(rolling, "maxUnavailable"), get(rolling, "maxSurge"));
    let down_path = path.child("maxUnavailable");
    check::int_or_percent(down, &down_path, errors);
    check::int_or_percent(up, &path.child("maxSurge"), errors);
    if check::int_or_percent_value(down) == 0 && check::int_or_percent_value(up) == 0 {
        errors.invalid(&down_path, down.clone(), "may not be 0 when `maxSurge` is 0");
    }
    check::at_most_100_percent(down, &down_path, errors);
}

pub(super) fn update(write: Write, object: &Value, old: &Value, errors: &mut Errors) {
    if write == Write::Status {
        status(get(object, "status"), at(old, "/status"), errors);
        return;
    }
    check::immutable_selector(object, old, errors);
}

fn status(status: &Value, old: &Value, errors: &mut Errors) {
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    let others = [
        "observedGeneration",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    check::status_counts(status, "replicas", &parts, &others, errors);
    if number(status, "availableReplicas") > number(status, "readyReplicas") {
        let n = number(status, "availableReplicas");
        let path = Path::new("status").child("availableReplicas");
        errors.invalid(&path, n, "cannot be greater than readyReplicas");
    }
    check::collisions(status, old, errors);
}
