//! Configurations of webhooks, of both sorts. What was stored with a weakness may keep it.

mod url;

use super::{POLICIES, default_rules, default_selectors, expressions, rule};
use crate::check::{label_selector, label_selector_over, one_of_given, port_number};
use crate::json::{child_mut, get, has, int, items_mut, list, number, put_default, some, string};
use meta::{Errors, Path, name};
use serde_json::Value;
use std::collections::BTreeSet;

/// Whether webhooks may change objects.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sort {
    Validating,
    Mutating,
}

const NO_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];
/// Forms of the question that we can put.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const SELECTORS: [&str; 2] = ["namespaceSelector", "objectSelector"];

pub(crate) fn default(object: &mut Value, sort: Sort) {
    for hook in items_mut(object, "webhooks") {
        put_default(hook, "failurePolicy", "Fail");
        put_default(hook, "matchPolicy", "Equivalent");
        default_selectors(hook);
        put_default(hook, "timeoutSeconds", 10);
        if sort == Sort::Mutating {
            put_default(hook, "reinvocationPolicy", "Never");
        }
        default_rules(hook, "rules");
        let service = child_mut(hook, "clientConfig").and_then(|config| child_mut(config, "service"));
        if let Some(service) = service {
            put_default(service, "port", 443);
        }
    }
}

/// What is let pass because it was stored.
struct Lenient {
    conditions: bool,
    effects: bool,
    versions: bool,
    names: bool,
    labels: bool,
}

impl Lenient {
    fn over(new: &[Value], old: Option<&[Value]>) -> Self {
        let Some(old) = old else {
            return Self {
                conditions: false,
                effects: false,
                versions: false,
                names: false,
                labels: false,
            };
        };
        let conditions = |hooks: &[Value]| -> Vec<Vec<Value>> {
            hooks
                .iter()
                .map(|hook| list(hook, "matchConditions").to_vec())
                .collect()
        };
        let names: BTreeSet<&str> = old.iter().map(|hook| string(hook, "name")).collect();
        let knows = |hook: &Value| {
            let versions = list(hook, "admissionReviewVersions");
            versions.is_empty() || versions.iter().any(is_known)
        };
        let fine = |hook: &Value| {
            SELECTORS.iter().all(|field| {
                let mut errors = Errors::new();
                label_selector(get(hook, field), &Path::root(), &mut errors);
                errors.is_empty()
            })
        };
        Self {
            conditions: conditions(new) == conditions(old),
            effects: !old
                .iter()
                .all(|hook| NO_EFFECTS.contains(&string(hook, "sideEffects"))),
            versions: !old.iter().all(knows),
            names: names.len() != old.len(),
            labels: !old.iter().all(fine),
        }
    }
}

fn is_known(version: &Value) -> bool {
    version
        .as_str()
        .is_some_and(|version| VERSIONS.contains(&version))
}

/// All webhooks of a configuration that takes the place of `old`.
pub(crate) fn check(object: &Value, old: Option<&Value>, sort: Sort, errors: &mut Errors) {
    let hooks = list(object, "webhooks");
    let lenient = Lenient::over(hooks, old.map(|old| list(old, "webhooks")));
    let mut names = BTreeSet::new();
    for (i, hook) in hooks.iter().enumerate() {
        let (given, path) = (string(hook, "name"), Path::new("webhooks").index(i));
        one(hook, sort, &lenient, &path, errors);
        versions(hook, &lenient, &path, errors);
        if !given.is_empty() && !names.insert(given) && !lenient.names {
            errors.duplicate(&path.child("name"), given);
        }
    }
}

fn one(hook: &Value, sort: Sort, lenient: &Lenient, path: &Path, errors: &mut Errors) {
    full_name(string(hook, "name"), &path.child("name"), errors);
    for (i, one) in list(hook, "rules").iter().enumerate() {
        rule(one, &path.child("rules").index(i), errors);
    }
    one_of_given(hook, "failurePolicy", &["Fail", "Ignore"], path, errors);
    one_of_given(hook, "matchPolicy", &POLICIES, path, errors);
    let effects = if lenient.effects {
        &EFFECTS[..]
    } else {
        &NO_EFFECTS
    };
    if has(hook, "sideEffects") {
        one_of_given(hook, "sideEffects", effects, path, errors);
    } else {
        let detail = format!("must specify one of {}", effects.join(", "));
        errors.required(&path.child("sideEffects"), &detail);
    }
    if let Some(seconds) = int(hook, "timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), seconds, detail);
    }
    for field in SELECTORS {
        let selector = get(hook, field);
        // A selector is held against itself: what is wrong with its values is then no matter.
        let old = if lenient.labels { selector } else { &Value::Null };
        label_selector_over(selector, old, &path.child(field), errors);
    }
    if sort == Sort::Mutating {
        one_of_given(hook, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
    }
    client(get(hook, "clientConfig"), &path.child("clientConfig"), errors);
    if !lenient.conditions {
        expressions::match_conditions(hook, path, errors);
    }
}

fn full_name(given: &str, path: &Path, errors: &mut Errors) {
    let wrong = name::check_dns1123_subdomain(given);
    if given.is_empty() {
        errors.required(path, "");
    } else if !wrong.is_empty() {
        errors.invalid(path, given, &wrong.join(","));
    } else if given.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.invalid(path, given, detail);
    }
}

fn versions(hook: &Value, lenient: &Lenient, path: &Path, errors: &mut Errors) {
    let field = "admissionReviewVersions";
    let (all, path) = (list(hook, field), path.child(field));
    if all.is_empty() {
        let detail = format!("must specify one of {}", VERSIONS.join(", "));
        errors.required(&path, &detail);
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, version) in all.iter().enumerate() {
        let (version, path) = (version.as_str().unwrap_or_default(), path.index(i));
        if !seen.insert(version) {
            errors.invalid(&path, version, "duplicate version");
            continue;
        }
        crate::check::messages(&path, version, name::check_dns1035_label(version), errors);
    }
    if !lenient.versions && !all.iter().any(is_known) {
        let detail = format!("must include at least one of {}", VERSIONS.join(", "));
        errors.invalid(&path, all.to_vec(), &detail);
    }
}

/// Where a webhook is: at a URL or behind a Service.
fn client(config: &Value, path: &Path, errors: &mut Errors) {
    match (get(config, "url").as_str(), some(config, "service")) {
        (Some(url), None) => url::check(url, &path.child("url"), errors),
        (None, Some(given)) => service(given, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn service(service: &Value, path: &Path, errors: &mut Errors) {
    // Upstream takes the one for the other here.
    for (field, shown) in [("namespace", "name"), ("name", "namespace")] {
        if string(service, field).is_empty() {
            errors.required(&path.child(shown), "");
        }
    }
    let mut port = Errors::new();
    port_number(number(service, "port"), &path.child("port"), &mut port);
    if !port.is_empty() {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.invalid(&path.child("port"), number(service, "port"), detail);
    }
    if let Some(given) = get(service, "path").as_str() {
        service_path(given, &path.child("path"), errors);
    }
}

fn service_path(given: &str, path: &Path, errors: &mut Errors) {
    if matches!(given, "" | "/") {
        return;
    }
    if given == "//" {
        errors.invalid(path, given, "segment[0] may not be empty");
        return;
    }
    if !given.starts_with('/') {
        errors.invalid(path, given, "must start with a '/'");
    }
    let mut rest = given.chars();
    rest.next();
    let rest = rest.as_str();
    for (i, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(path, given, &format!("segment[{i}] may not be empty"));
            continue;
        }
        for why in name::check_dns1123_subdomain(segment) {
            errors.invalid(path, given, &format!("segment[{i}]: {why}"));
        }
    }
}
