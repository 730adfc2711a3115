//! What a Job must be, and the part of it that the jobs of a CronJob must be too.

use super::{NAME_LABELS, UID_LABELS, policies};
use crate::json::{at, get, has, int, is_true, string, texts};
use crate::row::text;
use crate::{check, pod};
use meta::selector::LabelSelector;
use meta::{Errors, Path};
use serde_json::Value;
use std::collections::BTreeMap;

const INDEXED: &str = "Indexed";
const MANAGED_BY_MAX: usize = 63;
const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// A job with more completions than this has narrower limits.
const COMPLETIONS_MANY: i64 = 100_000;
const OF_MANY_MAX: i64 = 10_000;

/// A whole job; one that is older than the labels with a prefix does without them.
pub(super) fn job(object: &Value, prefixed: bool, errors: &mut Errors) {
    generated_selector(object, prefixed, errors);
    let spec = get(object, "spec");
    with_selector(spec, errors);
    let completions = int(spec, "completions").filter(|n| *n > 0);
    if string(spec, "completionMode") == INDEXED
        && let Some(completions) = completions
    {
        let name = text(object, "/metadata/name");
        let hostname = format!("{name}-{}", completions - 1);
        if !meta::name::check_dns1123_label(&hostname).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {hostname}");
            errors.invalid(&Path::new("metadata").child("name"), name, &detail);
        }
    }
}

/// What the server has put there must still be there.
fn generated_selector(object: &Value, prefixed: bool, errors: &mut Errors) {
    let spec = get(object, "spec");
    let selector = get(spec, "selector");
    if is_true(spec, "manualSelector") || selector.is_null() {
        return;
    }
    let (name, uid) = (text(object, "/metadata/name"), text(object, "/metadata/uid"));
    if uid.is_empty() {
        errors.required(&Path::new("metadata").child("uid"), "");
    }
    let given = at(spec, "/template/metadata/labels");
    let path = Path::new("spec")
        .child("template")
        .child("metadata")
        .child("labels");
    let mut wanted = vec![(UID_LABELS[0], uid), (NAME_LABELS[0], name)];
    if prefixed {
        wanted.extend([(UID_LABELS[1], uid), (NAME_LABELS[1], name)]);
    }
    for (key, value) in &wanted {
        let detail = format!("must be '{value}'");
        if !has(given, key) {
            errors.required(&path.key(key), &detail);
        } else if string(given, key) != *value {
            errors.invalid(&path.key(key), given.clone(), &detail);
        }
    }
    let wanted: BTreeMap<String, String> = wanted
        .into_iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    if parsed(selector).is_some_and(|selector| !selector.matches_map(&wanted)) {
        let path = Path::new("spec").child("selector");
        errors.invalid(
            &path,
            check::selector_shown(selector),
            "`selector` not auto-generated",
        );
    }
}

/// The selector if it can be used; one that is missing chooses nothing.
fn parsed(selector: &Value) -> Option<LabelSelector> {
    let mut own = Errors::new();
    check::label_selector(selector, &Path::root(), &mut own);
    let spec = serde_json::from_value(selector.clone()).ok().flatten();
    let parsed = LabelSelector::of_spec(spec.as_ref()).ok();
    parsed.filter(|_| own.is_empty())
}

/// A job's spec with its selector.
pub(super) fn with_selector(given: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    spec(given, &path, errors);
    let selector = get(given, "selector");
    match selector.is_null() {
        true => errors.required(&path.child("selector"), ""),
        false => check::label_selector(selector, &path.child("selector"), errors),
    }
    let metadata = at(given, "/template/metadata");
    let labels: BTreeMap<String, String> = texts(metadata, "labels")
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    if parsed(selector).is_some_and(|selector| !selector.matches_map(&labels)) {
        let path = path.child("template").child("metadata").child("labels");
        let shown = get(metadata, "labels").clone();
        errors.invalid(&path, shown, "`selector` does not match template `labels`");
    }
}

/// The part that a CronJob's template has in common with a job.
pub(crate) fn spec(spec: &Value, path: &Path, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check::not_negative(spec, field, path, errors);
    }
    if has(spec, "maxFailedIndexes") && !has(spec, "backoffLimitPerIndex") {
        let detail = "when maxFailedIndexes is specified";
        errors.required(&path.child("backoffLimitPerIndex"), detail);
    }
    if let Some(name) = get(spec, "managedBy").as_str() {
        let path = path.child("managedBy");
        check::domain_prefixed_path(&path, name, errors);
        if name.len() > MANAGED_BY_MAX {
            errors.too_long(&path, MANAGED_BY_MAX);
        }
    }
    mode(spec, path, errors);
    if has(spec, "podFailurePolicy") {
        policies::failure(spec, &path.child("podFailurePolicy"), errors);
    }
    if has(spec, "successPolicy") {
        let (policy, path) = (get(spec, "successPolicy"), path.child("successPolicy"));
        match string(spec, "completionMode") {
            INDEXED => policies::success(spec, &path, errors),
            _ => {
                let shown = crate::internal::shown("SuccessPolicy", policy);
                errors.invalid(&path, shown, "requires indexed completion mode");
            }
        }
    }
    policies::replacement(spec, path, errors);
    let (template, path) = (get(spec, "template"), path.child("template"));
    pod::validate::template(template, &path, errors);
    restarts(spec, &path.child("spec").child("restartPolicy"), errors);
}

fn mode(spec: &Value, path: &Path, errors: &mut Errors) {
    let mode = get(spec, "completionMode").as_str();
    check::one_of_given(spec, "completionMode", &["NonIndexed", INDEXED], path, errors);
    match mode {
        Some(INDEXED) => indexed(spec, path, errors),
        None | Some("NonIndexed") => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(n) = int(spec, field) {
                    errors.invalid(&path.child(field), n, "requires indexed completion mode");
                }
            }
        }
        Some(_) => {}
    }
}

fn indexed(spec: &Value, path: &Path, errors: &mut Errors) {
    let completions = int(spec, "completions");
    let at_most = |field: &str, most: i64, detail: String, errors: &mut Errors| {
        if let Some(n) = int(spec, field).filter(|n| *n > most) {
            errors.invalid(&path.child(field), n, &detail);
        }
    };
    let no_more = |most: i64| format!("must be less than or equal to {most}");
    if completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    let detail = format!("{} when completion mode is Indexed", no_more(PARALLELISM_MAX));
    at_most("parallelism", PARALLELISM_MAX, detail, errors);
    if let Some(completions) = completions {
        let detail = "must be less than or equal to completions".into();
        at_most("maxFailedIndexes", completions, detail, errors);
    }
    at_most(
        "maxFailedIndexes",
        FAILED_INDEXES_MAX,
        no_more(FAILED_INDEXES_MAX),
        errors,
    );
    let many = completions.is_some_and(|n| n > COMPLETIONS_MANY);
    if !many || !has(spec, "backoffLimitPerIndex") {
        return;
    }
    if !has(spec, "maxFailedIndexes") {
        let detail = format!("must be specified when completions is above {COMPLETIONS_MANY}");
        errors.required(&path.child("maxFailedIndexes"), &detail);
    }
    for field in ["parallelism", "maxFailedIndexes"] {
        let detail = format!(
            "{} when completions are above {COMPLETIONS_MANY} and used with backoff limit per index",
            no_more(OF_MANY_MAX)
        );
        at_most(field, OF_MANY_MAX, detail, errors);
    }
}

/// The pods of a job end some day.
fn restarts(spec: &Value, path: &Path, errors: &mut Errors) {
    match string(at(spec, "/template/spec"), "restartPolicy") {
        "" | "Always" => errors.required(path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if has(spec, "podFailurePolicy") => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(path, "OnFailure", detail);
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(path, other, &["OnFailure", "Never"]),
    }
}
