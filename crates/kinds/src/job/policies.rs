//! When a job's pods count as failed, when it counts as done, and when pods are replaced.

use super::indexes;
use crate::check;
use crate::json::{get, has, int, list, number, string};
use meta::{Errors, Path};
use serde_json::Value;

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const INDEXES_MAX: usize = 64 * 1024;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// A text that must be given and be one of these.
fn one_of(holder: &Value, field: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    let (given, path) = (string(holder, field), path.child(field));
    if given.is_empty() {
        let quoted: Vec<String> = allowed.iter().map(|value| format!("{value:?}")).collect();
        errors.required(&path, &format!("valid values: [{}]", quoted.join(" ")));
    } else if !allowed.contains(&given) {
        errors.not_supported(&path, given, allowed);
    }
}

fn at_most(items: &[Value], most: usize, path: &Path, errors: &mut Errors) {
    if items.len() > most {
        errors.too_many(path, items.len(), most);
    }
}

pub(super) fn failure(spec: &Value, path: &Path, errors: &mut Errors) {
    let (rules, path) = (list(get(spec, "podFailurePolicy"), "rules"), path.child("rules"));
    at_most(rules, RULES_MAX, &path, errors);
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        if string(rule, "action") != "FailIndex" {
            one_of(rule, "action", &ACTIONS, &path, errors);
        } else if !has(spec, "backoffLimitPerIndex") {
            let detail = "requires the backoffLimitPerIndex to be set";
            errors.invalid(&path.child("action"), "FailIndex", detail);
        }
        let (codes, conditions) = (get(rule, "onExitCodes"), list(rule, "onPodConditions"));
        if !codes.is_null() {
            exit_codes(spec, codes, &path.child("onExitCodes"), errors);
        }
        pod_conditions(conditions, &path.child("onPodConditions"), errors);
        match (!codes.is_null(), !conditions.is_empty()) {
            (true, true) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.invalid_as_a_whole(&path, detail);
            }
            (false, false) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.invalid_as_a_whole(&path, detail);
            }
            _ => {}
        }
    }
}

fn pod_conditions(patterns: &[Value], path: &Path, errors: &mut Errors) {
    at_most(patterns, CONDITIONS_MAX, path, errors);
    for (i, pattern) in patterns.iter().enumerate() {
        let path = path.index(i);
        check::qualified_name(&path.child("type"), string(pattern, "type"), errors);
        one_of(pattern, "status", &STATUSES, &path, errors);
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &Path, errors: &mut Errors) {
    one_of(codes, "operator", &OPERATORS, path, errors);
    let pod = get(get(spec, "template"), "spec");
    let mut containers = list(pod, "containers").iter().chain(list(pod, "initContainers"));
    if let Some(name) = get(codes, "containerName").as_str()
        && !containers.any(|c| string(c, "name") == name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&path.child("containerName"), name, detail);
    }
    let (values, path) = (list(codes, "values"), path.child("values"));
    if values.is_empty() {
        errors.invalid(
            &path,
            get(codes, "values").clone(),
            "at least one value is required",
        );
    }
    at_most(values, EXIT_CODES_MAX, &path, errors);
    let codes_of: Vec<i64> = values.iter().map(|v| v.as_i64().unwrap_or(0)).collect();
    for (i, code) in codes_of.iter().enumerate() {
        let path = path.index(i);
        if string(codes, "operator") == "In" && *code == 0 {
            errors.invalid(&path, 0, "must not be 0 for the In operator");
        }
        if codes_of[..i].contains(code) {
            errors.duplicate(&path, *code);
        }
    }
    if !codes_of.is_sorted() {
        errors.invalid(&path, get(codes, "values").clone(), "must be ordered");
    }
}

pub(super) fn success(spec: &Value, path: &Path, errors: &mut Errors) {
    let (rules, path) = (list(get(spec, "successPolicy"), "rules"), path.child("rules"));
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.required(&path, detail);
    }
    at_most(rules, RULES_MAX, &path, errors);
    let completions = number(spec, "completions");
    for (i, rule) in rules.iter().enumerate() {
        success_rule(rule, completions, &path.index(i), errors);
    }
}

fn success_rule(rule: &Value, completions: i64, path: &Path, errors: &mut Errors) {
    let indexes = get(rule, "succeededIndexes").as_str();
    let wanted = int(rule, "succeededCount");
    if indexes.is_none() && wanted.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(path, detail);
    }
    let mut total = 0;
    if let Some(text) = indexes {
        let path = path.child("succeededIndexes");
        if text.len() > INDEXES_MAX {
            errors.too_long(&path, INDEXES_MAX);
        }
        match indexes::count(text, completions) {
            Ok(count) => total = count,
            Err(why) => errors.invalid(&path, text, &format!("error parsing succeededIndexes: {why}")),
        }
    }
    let Some(wanted) = wanted else {
        return;
    };
    check::not_negative(rule, "succeededCount", path, errors);
    let path = path.child("succeededCount");
    if wanted > completions {
        let detail =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&path, wanted, &detail);
    }
    if indexes.is_some() && wanted > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&path, wanted, &detail);
    }
}

/// With a policy for failures only pods that have failed are replaced.
pub(super) fn replacement(spec: &Value, path: &Path, errors: &mut Errors) {
    let allowed: &[&str] = match has(spec, "podFailurePolicy") {
        true => &["Failed"],
        false => &["Failed", "TerminatingOrFailed"],
    };
    check::one_of_given(spec, "podReplacementPolicy", allowed, path, errors);
}
