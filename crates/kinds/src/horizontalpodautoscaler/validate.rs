//! What an autoscaler must be.

use crate::check;
use crate::json::{get, has, int, list, number, quantity_text, some, string};
use crate::pod;
use meta::{Errors, Path, Quantity};
use serde_json::Value;

const PERIOD_MAX: i64 = 1800;
const WINDOW_MAX: i64 = 3600;
const SOURCES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// What an object that is referred to may leave out of its version.
#[derive(Clone, Copy, PartialEq)]
enum Version {
    Anything,
    WithoutGroup,
    WithGroup,
}

pub(super) fn object(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    let was = old.map_or(&Value::Null, |old| get(old, "spec"));
    let bound = if int(was, "minReplicas") == Some(0) { 0 } else { 1 };
    let (least, most) = (int(spec, "minReplicas"), number(spec, "maxReplicas"));
    if let Some(least) = least.filter(|least| *least < bound) {
        let detail = format!("must be greater than or equal to {bound}");
        errors.invalid(&path.child("minReplicas"), least, &detail);
    }
    let most_path = path.child("maxReplicas");
    if most == 0 {
        errors.required(&most_path, "must be set and greater than 0");
    } else if most < 0 {
        errors.invalid(&most_path, most, "must be greater than or equal to 1");
    }
    if least.is_some_and(|least| most < least) {
        errors.invalid(&most_path, most, "must be greater than or equal to `minReplicas`");
    }
    let target = get(spec, "scaleTargetRef");
    let version = target_version(target, old.map(|_| get(was, "scaleTargetRef")));
    reference(target, version, &path.child("scaleTargetRef"), errors);
    metrics(spec, was, &path.child("metrics"), errors);
    let (behavior, path) = (get(spec, "behavior"), path.child("behavior"));
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = some(behavior, direction) {
            scaling_rules(rules, &path.child(direction), errors);
        }
    }
}

fn target_version(target: &Value, was: Option<&Value>) -> Version {
    let same = |was: &Value| {
        ["apiVersion", "kind"]
            .iter()
            .all(|f| string(was, f) == string(target, f))
    };
    if was.is_some_and(same) {
        Version::Anything
    } else if string(target, "kind") == "ReplicationController" {
        // The only one of the core group that scales.
        Version::WithoutGroup
    } else {
        Version::WithGroup
    }
}

fn reference(target: &Value, version: Version, path: &Path, errors: &mut Errors) {
    for field in ["kind", "name"] {
        let (given, path) = (string(target, field), path.child(field));
        match given {
            "" => errors.required(&path, ""),
            given => check::path_segment(&path, given, errors),
        }
    }
    if let Some(why) = version_error(target, version) {
        errors.invalid(&path.child("apiVersion"), string(target, "apiVersion"), &why);
    }
}

fn version_error(target: &Value, version: Version) -> Option<String> {
    let given = string(target, "apiVersion");
    if version == Version::Anything {
        return None;
    }
    if given.matches('/').count() > 1 {
        return Some(format!("unexpected GroupVersion string: {given}"));
    }
    let group = given.split_once('/').map_or("", |(group, _)| group);
    let missing = version == Version::WithGroup && group.is_empty();
    missing.then(|| "apiVersion must specify API group".to_string())
}

fn metrics(spec: &Value, was: &Value, path: &Path, errors: &mut Errors) {
    // Where one was wrong already, others may be.
    let is_wrong = |metric: &Value| {
        let described = get(get(metric, "object"), "describedObject");
        string(metric, "type") == "Object"
            && has(metric, "object")
            && version_error(described, Version::WithoutGroup).is_some()
    };
    let version = match list(was, "metrics").iter().any(is_wrong) {
        true => Version::Anything,
        false => Version::WithoutGroup,
    };
    let all = list(spec, "metrics");
    for (i, m) in all.iter().enumerate() {
        metric(m, version, &path.index(i), errors);
    }
    let is_outside = |metric: &Value| matches!(string(metric, "type"), "Object" | "External");
    if int(spec, "minReplicas") == Some(0) && !all.iter().any(is_outside) {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(path, detail);
    }
}

fn metric(metric: &Value, version: Version, path: &Path, errors: &mut Errors) {
    let (kind, kind_path) = (string(metric, "type"), path.child("type"));
    if kind.is_empty() {
        errors.required(&kind_path, "must specify a metric source type");
    }
    if !SOURCES.contains(&kind) {
        errors.not_supported(&kind_path, kind, &SOURCES);
    }
    let fields = ["object", "external", "pods", "resource", "containerResource"];
    let mut given: Vec<&str> = fields.into_iter().filter(|f| has(metric, f)).collect();
    // Only the first of several is looked into.
    if let Some(field) = given.first() {
        source(field, get(metric, field), version, &path.child(field), errors);
    }
    let expected = match kind {
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "External" => "external",
        "ContainerResource" => "containerResource",
        _ => {
            errors.not_supported(&kind_path, kind, &SOURCES);
            ""
        }
    };
    if !expected.is_empty() && !has(metric, expected) {
        let detail = "must populate information for the given metric source";
        errors.required(&path.child(expected), detail);
    }
    if given.len() != 1 {
        given.retain(|field| *field != expected);
        given.sort_unstable();
        for field in given {
            errors.forbidden(&path.child(field), "must populate the given metric source only");
        }
    }
}

fn source(field: &str, source: &Value, version: Version, path: &Path, errors: &mut Errors) {
    let (target, target_path) = (get(source, "target"), path.child("target"));
    let [value, average, utilization] =
        ["value", "averageValue", "averageUtilization"].map(|field| has(target, field));
    match field {
        "resource" | "containerResource" => resource(field, source, path, errors),
        _ => {
            if field == "object" {
                let described = get(source, "describedObject");
                reference(described, version, &path.child("describedObject"), errors);
            }
            let (name, path) = (
                string(get(source, "metric"), "name"),
                path.child("metric").child("name"),
            );
            match name {
                "" => errors.required(&path, "must specify a metric name"),
                name => check::path_segment(&path, name, errors),
            }
        }
    }
    metric_target(target, &target_path, errors);
    let average_path = target_path.child("averageValue");
    match field {
        "object" if !value && !average => {
            errors.required(&average_path, "must set either a target value or averageValue");
        }
        "external" if !value && !average => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.required(&average_path, detail);
        }
        "external" if value && average => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&target_path.child("value"), detail);
        }
        "pods" if !average => {
            errors.required(&average_path, "must specify a positive target averageValue");
        }
        "resource" | "containerResource" if !utilization && !average => {
            let detail = "must set either a target raw value or a target utilization";
            errors.required(&target_path.child("averageUtilization"), detail);
        }
        "resource" | "containerResource" if utilization && average => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.forbidden(&average_path, detail);
        }
        _ => {}
    }
}

fn resource(field: &str, source: &Value, path: &Path, errors: &mut Errors) {
    let (name, name_path) = (string(source, "name"), path.child("name"));
    let of_container = field == "containerResource";
    if name.is_empty() {
        errors.required(&name_path, "must specify a resource name");
    } else if of_container {
        pod::validate::container_resource(name, &name_path, errors);
    }
    if of_container {
        let path = path.child("container");
        match string(source, "container") {
            "" => errors.required(&path, "must specify a container"),
            name => check::dns_label(&path, name, errors),
        }
    }
}

fn metric_target(target: &Value, path: &Path, errors: &mut Errors) {
    let (kind, kind_path) = (string(target, "type"), path.child("type"));
    if kind.is_empty() {
        errors.required(&kind_path, "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.invalid(&kind_path, kind, detail);
    }
    for field in ["value", "averageValue"] {
        let Some(text) = some(target, field).map(quantity_text) else {
            continue;
        };
        if Quantity::parse(&text).is_some_and(|amount| amount <= Quantity::ZERO) {
            errors.invalid(&path.child(field), text, "must be positive");
        }
    }
    if let Some(percent) = int(target, "averageUtilization").filter(|percent| *percent < 1) {
        let detail = "must be greater than 0";
        errors.invalid(&path.child("averageUtilization"), percent, detail);
    }
}

fn scaling_rules(rules: &Value, path: &Path, errors: &mut Errors) {
    let no_more = |most: i64| format!("must be less than or equal to {most}");
    if let Some(window) = int(rules, "stabilizationWindowSeconds") {
        let path = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.invalid(&path, window, "must be greater than or equal to zero");
        }
        if window > WINDOW_MAX {
            errors.invalid(&path, window, &no_more(WINDOW_MAX));
        }
    }
    check::one_of_given(rules, "selectPolicy", &["Disabled", "Max", "Min"], path, errors);
    let (policies, policies_path) = (list(rules, "policies"), path.child("policies"));
    if policies.is_empty() {
        errors.required(&policies_path, "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        let path = policies_path.index(i);
        let kind = string(policy, "type");
        if !matches!(kind, "Pods" | "Percent") {
            errors.not_supported(&path.child("type"), kind, &["Percent", "Pods"]);
        }
        for field in ["value", "periodSeconds"] {
            let n = number(policy, field);
            if n <= 0 {
                errors.invalid(&path.child(field), n, "must be greater than zero");
            }
        }
        let seconds = number(policy, "periodSeconds");
        if seconds > PERIOD_MAX {
            errors.invalid(&path.child("periodSeconds"), seconds, &no_more(PERIOD_MAX));
        }
    }
    if let Some(tolerance) = some(rules, "tolerance") {
        check::quantity(tolerance, &path.child("tolerance"), errors);
    }
}

pub(super) fn status(object: &Value, errors: &mut Errors) {
    for field in ["currentReplicas", "desiredReplicas"] {
        check::not_negative(get(object, "status"), field, &Path::new("status"), errors);
    }
}
