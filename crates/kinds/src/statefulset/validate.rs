//! What a StatefulSet must be, and what of it may change.

use crate::json::{at, get, has, list, number, string};
use crate::{Write, check, pod};
use meta::{Errors, Path};
use serde_json::Value;

/// Fields of the spec that an update may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const FORBIDDEN: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

pub(super) fn object(object: &Value, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    let policy = string(spec, "podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid(&path.child("podManagementPolicy"), policy, detail);
    }
    strategy(get(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
    let (claims, policy_path) = (
        get(spec, "persistentVolumeClaimRetentionPolicy"),
        path.child("persistentVolumeClaimRetentionPolicy"),
    );
    for field in ["whenDeleted", "whenScaled"] {
        check::one_of(claims, field, &["Retain", "Delete"], true, &policy_path, errors);
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        check::not_negative(spec, field, &path, errors);
    }
    check::not_negative(get(spec, "ordinals"), "start", &path.child("ordinals"), errors);
    let service = string(spec, "serviceName");
    if !service.is_empty() {
        check::dns_label(&path.child("serviceName"), service, errors);
    }
    check::workload_selector(spec, "statefulset", errors);
    let claims = list(spec, "volumeClaimTemplates");
    claim_templates(claims, &path.child("volumeClaimTemplates"), errors);
    let (template, path) = (get(spec, "template"), path.child("template"));
    pod::validate::template(template, claims, &path, errors);
    pod::validate::runs_forever(template, "StatefulSet", &path, errors);
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let rolling = get(strategy, "rollingUpdate");
    let path_rolling = path.child("rollingUpdate");
    match string(strategy, "type") {
        "OnDelete" => {
            if !rolling.is_null() {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.invalid(&path_rolling, rolling.clone(), detail);
            }
        }
        "RollingUpdate" => {
            check::not_negative(rolling, "partition", &path_rolling, errors);
            if has(rolling, "maxUnavailable") {
                let (most, path) = (
                    get(rolling, "maxUnavailable"),
                    path_rolling.child("maxUnavailable"),
                );
                check::int_or_percent(most, &path, errors);
                if check::int_or_percent_value(most) == 0 {
                    errors.invalid(&path, most.clone(), "cannot be 0");
                }
                check::at_most_100_percent(most, &path, errors);
            }
        }
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.invalid(path, strategy.clone(), detail);
        }
    }
}

/// Each makes a claim per replica, and a volume of that name in its pod.
fn claim_templates(claims: &[Value], path: &Path, errors: &mut Errors) {
    let mut names = Vec::new();
    for (i, claim) in claims.iter().enumerate() {
        let path = path.index(i);
        let (name, name_path) = (
            string(get(claim, "metadata"), "name"),
            path.child("metadata").child("name"),
        );
        if name.is_empty() {
            errors.required(&name_path, "");
        } else {
            check::dns_label(&name_path, name, errors);
        }
        if names.contains(&name) {
            errors.duplicate(&name_path, name);
        }
        names.push(name);
        pod::validate::claim_spec(get(claim, "spec"), &path.child("spec"), errors);
    }
}

pub(super) fn update(write: Write, object: &Value, old: &Value, errors: &mut Errors) {
    if write == Write::Status {
        status(get(object, "status"), old, errors);
        return;
    }
    let (new, old) = (get(object, "spec"), get(old, "spec"));
    let fields = |v: &Value| -> Vec<String> {
        let map = v.as_object();
        map.into_iter().flat_map(|m| m.keys().cloned()).collect()
    };
    let changed = fields(new)
        .iter()
        .chain(&fields(old))
        .any(|f| !MUTABLE.contains(&f.as_str()) && get(new, f) != get(old, f));
    if changed {
        errors.forbidden(&Path::new("spec"), FORBIDDEN);
    }
}

fn status(status: &Value, old: &Value, errors: &mut Errors) {
    let parts = [
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
    ];
    let others = ["observedGeneration", "collisionCount"];
    check::status_counts(status, "replicas", &parts, &others, errors);
    if number(status, "availableReplicas") > number(status, "readyReplicas") {
        let n = number(status, "availableReplicas");
        let path = Path::new("status").child("availableReplicas");
        errors.invalid(&path, n, "cannot be greater than status.readyReplicas");
    }
    check::collisions(status, at(old, "/status"), errors);
}
