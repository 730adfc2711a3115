//! Where a pod may run: affinity, tolerations, spreading.

use crate::check;
use crate::json::{get, has, int, list, number, some, string, texts};
use meta::{Errors, Path, name};
use serde_json::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &Value, path: &Path, errors: &mut Errors) {
    node_affinity(get(affinity, "nodeAffinity"), &path.child("nodeAffinity"), errors);
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (terms, path) = (get(affinity, kind), path.child(kind));
        for (i, term) in list(terms, REQUIRED).iter().enumerate() {
            pod_term(term, &path.child(REQUIRED).index(i), errors);
        }
        for (i, term) in list(terms, PREFERRED).iter().enumerate() {
            let path = path.child(PREFERRED).index(i);
            weight(term, &path, errors);
            pod_term(
                get(term, "podAffinityTerm"),
                &path.child("podAffinityTerm"),
                errors,
            );
        }
    }
}

fn weight(term: &Value, path: &Path, errors: &mut Errors) {
    let weight = number(term, "weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_affinity(affinity: &Value, path: &Path, errors: &mut Errors) {
    if let Some(required) = some(affinity, REQUIRED) {
        node_selector(required, &path.child(REQUIRED), errors);
    }
    for (i, term) in list(affinity, PREFERRED).iter().enumerate() {
        let path = path.child(PREFERRED).index(i);
        weight(term, &path, errors);
        let values = Values::Any;
        node_term(get(term, "preference"), values, &path.child("preference"), errors);
    }
}

/// Nodes that something must be on; also where a PersistentVolume can be used.
pub(crate) fn node_selector(selector: &Value, path: &Path, errors: &mut Errors) {
    let path = path.child("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(term, Values::OfLabels, &path.index(i), errors);
    }
}

/// Which values an expression may have: preferences were never held to those of labels.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    OfLabels,
    Any,
}

fn node_term(term: &Value, values: Values, path: &Path, errors: &mut Errors) {
    for (i, e) in list(term, "matchExpressions").iter().enumerate() {
        node_expression(e, values, &path.child("matchExpressions").index(i), errors);
    }
    for (i, e) in list(term, "matchFields").iter().enumerate() {
        node_field(e, &path.child("matchFields").index(i), errors);
    }
}

fn node_expression(e: &Value, kind: Values, path: &Path, errors: &mut Errors) {
    let values = list(e, "values");
    match string(e, "operator") {
        "In" | "NotIn" if values.is_empty() => errors.required(
            &path.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        ),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "Gt" | "Lt" if values.len() != 1 => errors.required(
            &path.child("values"),
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => {
            let detail = "not a valid selector operator";
            errors.invalid(&path.child("operator"), other, detail);
        }
    }
    check::qualified_name(&path.child("key"), string(e, "key"), errors);
    if kind == Values::Any {
        return;
    }
    for (i, value) in values.iter().enumerate() {
        let text = value.as_str().unwrap_or_default();
        let path = path.child("values").index(i);
        check::messages(&path, text, name::check_label_value(text), errors);
    }
}

fn node_field(e: &Value, path: &Path, errors: &mut Errors) {
    let values = list(e, "values");
    match string(e, "operator") {
        "In" | "NotIn" if values.len() != 1 => errors.required(
            &path.child("values"),
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        "In" | "NotIn" => {}
        other => {
            let detail = "not a valid selector operator";
            errors.invalid(&path.child("operator"), other, detail);
        }
    }
    let key = string(e, "key");
    if key != "metadata.name" {
        errors.invalid(&path.child("key"), key, "not a valid field selector key");
        return;
    }
    for (i, value) in values.iter().enumerate() {
        let text = value.as_str().unwrap_or_default();
        check::dns_subdomain(&path.child("values").index(i), text, errors);
    }
}

fn pod_term(term: &Value, path: &Path, errors: &mut Errors) {
    let selector = get(term, "labelSelector");
    check::label_selector(selector, &path.child("labelSelector"), errors);
    let spaces = get(term, "namespaceSelector");
    check::label_selector(spaces, &path.child("namespaceSelector"), errors);
    for namespace in list(term, "namespaces") {
        let namespace = namespace.as_str().unwrap_or_default();
        check::dns_label(&path.child("namespace"), namespace, errors);
    }
    term_keys(term, path, errors);
    let (key, path) = (string(term, "topologyKey"), path.child("topologyKey"));
    if key.is_empty() {
        errors.required(&path, "can not be empty");
    }
    check::qualified_name(&path, key, errors);
}

/// Keys whose values are taken from the pod's own labels; they go with a selector, and none is in both lists.
fn term_keys(term: &Value, path: &Path, errors: &mut Errors) {
    let (same, other) = (list(term, "matchLabelKeys"), list(term, "mismatchLabelKeys"));
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        label_keys(term, field, path, errors);
    }
    // The cluster adds expressions for these keys, so a key that is asked for twice is one too many.
    let selector = get(term, "labelSelector");
    let mut seen: Vec<&str> = texts(selector, "matchLabels").map(|(key, _)| key).collect();
    for e in list(selector, "matchExpressions") {
        let key = string(e, "key");
        if let Some(i) = same.iter().rposition(|k| k == key)
            && seen.contains(&key)
        {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.invalid(&path.index(i), key, detail);
        }
        seen.push(key);
    }
    for (i, key) in same.iter().enumerate().filter(|(_, key)| other.contains(key)) {
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.invalid(&path.child("matchLabelKeys").index(i), key.clone(), detail);
    }
}

fn label_keys(holder: &Value, field: &str, path: &Path, errors: &mut Errors) {
    let (keys, path) = (list(holder, field), path.child(field));
    if !keys.is_empty() && !has(holder, "labelSelector") {
        let detail = "must not be specified when labelSelector is not set";
        errors.forbidden(&path, detail);
        return;
    }
    for (i, key) in keys.iter().enumerate() {
        let key = key.as_str().unwrap_or_default();
        check::qualified_name(&path.index(i), key, errors);
    }
}

pub(super) fn tolerations(spec: &Value, path: &Path, errors: &mut Errors) {
    toleration_list(list(spec, "tolerations"), &path.child("tolerations"), errors);
}

pub(crate) fn toleration_list(tolerations: &[Value], path: &Path, errors: &mut Errors) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = path.index(i);
        let (key, value) = (string(toleration, "key"), string(toleration, "value"));
        let (operator, effect) = (string(toleration, "operator"), string(toleration, "effect"));
        if !key.is_empty() {
            check::qualified_name(&path.child("key"), key, errors);
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&path.child("operator"), operator, detail);
        }
        if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, detail);
        }
        match operator {
            "" | "Equal" => {
                let wrong = name::check_label_value(value);
                if !wrong.is_empty() {
                    errors.invalid(&path.child("operator"), value, &wrong.join(";"));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.invalid(&path.child("operator"), value, detail);
            }
            other => {
                // These two are known, but need a feature that is off by default.
                let all = ["Equal", "Exists", "Lt", "Gt"];
                let known = if matches!(other, "Lt" | "Gt") {
                    &all[..]
                } else {
                    &all[..2]
                };
                errors.not_supported(&path.child("operator"), other, known);
            }
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check::one_of(toleration, "effect", &effects, false, &path, errors);
    }
}

pub(super) fn topology_spread(spec: &Value, path: &Path, errors: &mut Errors) {
    let all = list(spec, "topologySpreadConstraints");
    let pair = |spread: &Value| {
        let (key, when) = (string(spread, "topologyKey"), string(spread, "whenUnsatisfiable"));
        format!("{{{key}, {when}}}")
    };
    for (i, spread) in all.iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(i);
        let skew = number(spread, "maxSkew");
        if skew <= 0 {
            errors.invalid(&path.child("maxSkew"), skew, "must be greater than zero");
        }
        if string(spread, "topologyKey").is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        let (when, answers) = (
            string(spread, "whenUnsatisfiable"),
            ["DoNotSchedule", "ScheduleAnyway"],
        );
        if !answers.contains(&when) {
            errors.not_supported(&path.child("whenUnsatisfiable"), when, &answers);
        }
        if all[i + 1..].iter().any(|later| pair(later) == pair(spread)) {
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), pair(spread));
        }
        min_domains(spread, when, &path, errors);
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check::one_of_given(spread, field, &["Honor", "Ignore"], &path, errors);
        }
        term_keys(spread, &path, errors);
        let selector = get(spread, "labelSelector");
        check::label_selector(selector, &path.child("labelSelector"), errors);
    }
}

fn min_domains(spread: &Value, when: &str, path: &Path, errors: &mut Errors) {
    let Some(domains) = int(spread, "minDomains") else {
        return;
    };
    let path = path.child("minDomains");
    if domains <= 0 {
        errors.invalid(&path, domains, "must be greater than zero");
    }
    if when != "DoNotSchedule" {
        let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
        errors.invalid(&path, domains, &detail);
    }
}
