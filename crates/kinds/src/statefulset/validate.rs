//! What a StatefulSet must be, and what of it may change.

use crate::json::{at, get, has, list, number, put, string, take};
use crate::{Write, check, pod, volumes};
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    checked(object, true, true, errors);
}

/// Claim templates and the name of the Service cannot change any more, and a template that was wrong before may stay so.
pub(super) fn replacement(object: &Value, old: &Value, errors: &mut Errors) {
    let mut before = Errors::new();
    checked(old, true, false, &mut before);
    checked(object, before.is_empty(), false, errors);
}

fn checked(object: &Value, with_template: bool, of_new: bool, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    let policy = string(spec, "podManagementPolicy");
    if policy.is_empty() {
        errors.required(&path.child("podManagementPolicy"), "");
    } else if !matches!(policy, "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid(&path.child("podManagementPolicy"), policy, detail);
    }
    strategy(get(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
    retention(spec, &path, errors);
    let claims = list(spec, "volumeClaimTemplates").iter().enumerate();
    for (i, claim) in claims.filter(|_| of_new) {
        let path = path.child("volumeClaimTemplates").index(i).child("spec");
        volumes::check_claim(get(claim, "spec"), &path, errors);
    }
    for field in ["replicas", "minReadySeconds"] {
        check::not_negative(spec, field, &path, errors);
    }
    check::not_negative(get(spec, "ordinals"), "start", &path.child("ordinals"), errors);
    let service = string(spec, "serviceName");
    if !service.is_empty() && of_new {
        check::dns_label(&path.child("serviceName"), service, errors);
    }
    let (template, path) = (get(spec, "template"), path.child("template"));
    if let Some(selector) = check::workload_selector(spec, "statefulset", "", errors) {
        check::template_fits(&selector, spec, errors);
        if with_template {
            let pod = with_claims(spec, template);
            pod::validate::template(&pod, &path, errors);
        }
        // Upstream looks at the metadata twice.
        pod::validate::template_metadata(template, &path, errors);
    }
    pod::validate::runs_forever(template, "StatefulSet", &path, errors);
}

/// The template as its pods will be: claims are volumes, and names are each pod's own.
fn with_claims(spec: &Value, template: &Value) -> Value {
    let mut pod = template.clone();
    let Some(pod_spec) = pod.get_mut("spec") else {
        return pod;
    };
    for field in ["hostname", "subdomain"] {
        take(pod_spec, field);
    }
    let mut volumes: BTreeMap<&str, Value> = BTreeMap::new();
    for claim in list(spec, "volumeClaimTemplates") {
        let name = string(get(claim, "metadata"), "name");
        let source = json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        volumes.insert(name, source);
    }
    if volumes.is_empty() {
        return pod;
    }
    let own = list(get(template, "spec"), "volumes").iter();
    let own: Vec<Value> = own
        .filter(|v| !volumes.contains_key(string(v, "name")))
        .cloned()
        .collect();
    let all: Vec<Value> = volumes.into_values().chain(own).collect();
    put(pod_spec, "volumes", all);
    pod
}

fn retention(spec: &Value, path: &Path, errors: &mut Errors) {
    let field = "persistentVolumeClaimRetentionPolicy";
    let (policy, path) = (get(spec, field), path.child(field));
    if !policy.is_null() {
        for field in ["whenDeleted", "whenScaled"] {
            let value = string(policy, field);
            if !matches!(value, "Retain" | "Delete") {
                errors.not_supported(&path.child(field), value, &["Retain", "Delete"]);
            }
        }
    }
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let rolling = get(strategy, "rollingUpdate");
    let path_rolling = path.child("rollingUpdate");
    match string(strategy, "type") {
        "OnDelete" => {
            if !rolling.is_null() {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.invalid(&path_rolling, rolling_shown(rolling), detail);
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
        "" => errors.required(path, ""),
        kind => {
            let rolling = match rolling.is_null() {
                true => Shown("null".into()),
                false => rolling_shown(rolling),
            };
            // Upstream shows its own form of the structure.
            let shown = format!(
                "{{\"Type\":{},\"RollingUpdate\":{}}}",
                Value::from(kind),
                rolling.0
            );
            errors.invalid(path, Shown(shown), "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

fn rolling_shown(rolling: &Value) -> Shown {
    Shown::members([
        ("Partition", Some(number(rolling, "partition").into())),
        ("MaxUnavailable", Some(get(rolling, "maxUnavailable").clone())),
    ])
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
