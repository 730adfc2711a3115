//! What of a Job may change: hardly anything, unless it is suspended.

use super::{has_condition, validate};
use crate::json::{at, ensure_object, get, has, int, is_true, items_mut, list, number, put, string, take};
use crate::{check, internal};
use meta::{Errors, Path};
use serde_json::Value;

pub(super) fn spec(object: &Value, old: &Value, errors: &mut Errors) {
    let (spec, was, path) = (get(object, "spec"), get(old, "spec"), Path::new("spec"));
    // Upstream looks at all of it once more.
    validate::with_selector(spec, errors);
    completions(spec, was, &path.child("completions"), errors);
    check::immutable_selector(object, old, errors);
    template(spec, old, &path, errors);
    let plain = |field: &str, errors: &mut Errors| {
        check::immutable(get(spec, field), get(was, field), &path.child(field), errors);
    };
    let policy = |field: &str, type_name: &str, errors: &mut Errors| {
        immutable(
            type_name,
            get(spec, field),
            get(was, field),
            &path.child(field),
            errors,
        );
    };
    plain("completionMode", errors);
    policy("podFailurePolicy", "PodFailurePolicy", errors);
    plain("backoffLimitPerIndex", errors);
    plain("managedBy", errors);
    policy("successPolicy", "SuccessPolicy", errors);
}

/// A structure must be as it was.
fn immutable(type_name: &str, now: &Value, was: &Value, path: &Path, errors: &mut Errors) {
    if internal::same(type_name, was, now) {
        return;
    }
    match now.is_null() {
        true => errors.invalid(path, Value::Null, check::IMMUTABLE),
        false => errors.invalid(path, internal::shown(type_name, now), check::IMMUTABLE),
    }
}

/// Of an indexed job they can change together with the parallelism.
fn completions(spec: &Value, was: &Value, path: &Path, errors: &mut Errors) {
    let (now, before) = (int(spec, "completions"), int(was, "completions"));
    if string(spec, "completionMode") != "Indexed" {
        check::immutable(get(spec, "completions"), get(was, "completions"), path, errors);
    } else if now != before
        && let Some(now) = now
        && now != number(spec, "parallelism")
    {
        // Upstream shows the first step of the path only.
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.invalid(path, now, detail);
    }
}

/// The template of a suspended job that has no pods may change where its pods run and what they ask for.
fn template(spec: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let now = internal::pod_template(get(spec, "template"));
    let mut was = internal::pod_template(at(old, "/spec/template"));
    if !is_free(old) {
        immutable("PodTemplateSpec", &now, &was, &path.child("template"), errors);
        return;
    }
    let (now, Some(was)) = (get(&now, "spec"), was.get_mut("spec")) else {
        return;
    };
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        adopt(field, now, was);
    }
    node_affinity(now, was);
    for kind in ["containers", "initContainers"] {
        let new = list(now, kind);
        if new.len() != list(was, kind).len() {
            continue;
        }
        for (new, old) in new.iter().zip(items_mut(was, kind)) {
            if string(new, "name") == string(old, "name") {
                adopt("resources", new, old);
            }
        }
    }
    immutable("PodSpec", now, was, &path.child("template.spec"), errors);
}

fn is_free(old: &Value) -> bool {
    let status = get(old, "status");
    let stopped = !has(status, "startTime") || has_condition(old, "Suspended", "True");
    is_true(get(old, "spec"), "suspend") && stopped && number(status, "active") == 0
}

/// Makes a member what it is in the other.
fn adopt(field: &str, from: &Value, to: &mut Value) {
    match get(from, field) {
        Value::Null => drop(take(to, field)),
        value => put(to, field, value.clone()),
    }
}

fn node_affinity(now: &Value, was: &mut Value) {
    let affinity = get(now, "affinity");
    match (affinity.is_null(), has(was, "affinity")) {
        (true, false) => {}
        (true, true) => {
            if let Some(old) = ensure_object(was, "affinity") {
                take(old, "nodeAffinity");
                if !has(old, "podAffinity") && !has(old, "podAntiAffinity") {
                    take(was, "affinity");
                }
            }
        }
        (false, _) => {
            if let Some(old) = ensure_object(was, "affinity") {
                adopt("nodeAffinity", affinity, old);
            }
        }
    }
}
