//! What is wrong with a flow schema.

use super::initial;
use crate::check::{self, dns_label, dns_subdomain};
use crate::internal;
use crate::json::{get, has, is_true, list, number, some, string};
use crate::row::text;
use meta::{Errors, Path, name};
use serde_json::Value;

const PRECEDENCE_MAX: i64 = 10_000;
const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];
const ALL: &str = "*";

pub(super) fn schema(object: &Value, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    let name = text(object, "/metadata/name");
    precedence(
        number(spec, "matchingPrecedence"),
        name,
        &path.child("matchingPrecedence"),
        errors,
    );
    if let Some(method) = some(spec, "distinguisherMethod")
        && !matches!(string(method, "type"), "ByUser" | "ByNamespace")
    {
        let shown = internal::shown("FlowDistinguisherMethod", method);
        let path = path.child("distinguisherMethod").child("type");
        errors.not_supported(&path, shown, &["ByNamespace", "ByUser"]);
    }
    let level = path.child("priorityLevelConfiguration").child("name");
    match text(spec, "/priorityLevelConfiguration/name") {
        "" => errors.required(&level, "must reference a priority level"),
        name => dns_subdomain(&level, name, errors),
    }
    for (i, one) in list(spec, "rules").iter().enumerate() {
        rule(one, &path.child("rules").index(i), errors);
    }
    let fixed = initial::mandatory(name);
    if fixed.is_some_and(|fixed| !internal::same("FlowSchemaSpec", spec, get(&fixed, "spec"))) {
        let detail = format!("spec of '{name}' must equal the fixed value");
        errors.invalid(&path, internal::shown("FlowSchemaSpec", spec), &detail);
    }
}

fn precedence(given: i64, name: &str, path: &Path, errors: &mut Errors) {
    if given <= 0 {
        errors.invalid(path, given, "must be a positive value");
    }
    if given > PRECEDENCE_MAX {
        let detail = format!("must not be greater than {PRECEDENCE_MAX}");
        errors.invalid(path, given, &detail);
    }
    if given == 1 && name != "exempt" {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.invalid(path, given, detail);
    }
}

fn rule(rule: &Value, path: &Path, errors: &mut Errors) {
    let subjects = list(rule, "subjects");
    if subjects.is_empty() {
        let detail = "subjects must contain at least one value";
        errors.required(&path.child("subjects"), detail);
    }
    for (i, one) in subjects.iter().enumerate() {
        subject(one, &path.child("subjects").index(i), errors);
    }
    let (resources, others) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.required(path, detail);
    }
    for (i, one) in resources.iter().enumerate() {
        resource_rule(one, &path.child("resourceRules").index(i), errors);
    }
    for (i, one) in others.iter().enumerate() {
        path_rule(one, &path.child("nonResourceRules").index(i), errors);
    }
}

/// A user, a group or a service account, as its kind says.
fn subject(subject: &Value, path: &Path, errors: &mut Errors) {
    const KINDS: [(&str, &str); 3] = [
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
        ("Group", "group"),
    ];
    let kind = string(subject, "kind");
    let Some((_, own)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let known = ["Group", "ServiceAccount", "User"];
        errors.not_supported(&path.child("kind"), kind, &known);
        return;
    };
    let (given, own_path) = (get(subject, own), path.child(own));
    if given.is_null() {
        let detail = format!("{own} is required when subject kind is '{kind}'");
        errors.required(&own_path, &detail);
    } else if kind == "ServiceAccount" {
        account(given, &own_path, errors);
    } else {
        check::required(given, "name", &own_path, errors);
    }
    for (name, field) in KINDS.iter().filter(|(name, _)| *name != kind) {
        if has(subject, field) {
            let detail = format!("{field} is forbidden when subject kind is not '{name}'");
            errors.forbidden(&path.child(field), &detail);
        }
    }
}

fn account(account: &Value, path: &Path, errors: &mut Errors) {
    match string(account, "name") {
        "" => errors.required(&path.child("name"), ""),
        ALL => {}
        name => dns_subdomain(&path.child("name"), name, errors),
    }
    match string(account, "namespace") {
        "" => {
            let detail = "must specify namespace for service account";
            errors.required(&path.child("namespace"), detail);
        }
        namespace => dns_label(&path.child("namespace"), namespace, errors),
    }
}

fn has_all(values: &[Value]) -> bool {
    values.iter().any(|value| value == ALL)
}

/// `*` stands alone.
fn alone(holder: &Value, field: &str, others: &str, path: &Path, errors: &mut Errors) -> bool {
    let values = list(holder, field);
    if has_all(values) && values.len() > 1 {
        let detail = format!("if '*' is present, must not specify other {others}");
        errors.invalid(&path.child(field), get(holder, field).clone(), &detail);
    }
    has_all(values)
}

fn verbs(rule: &Value, path: &Path, errors: &mut Errors) {
    let verbs = list(rule, "verbs");
    if verbs.is_empty() {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
        return;
    }
    let known = |verb: &Value| verb.as_str().is_some_and(|verb| VERBS.contains(&verb));
    if !alone(rule, "verbs", "verbs", path, errors) && !verbs.iter().all(known) {
        errors.not_supported(&path.child("verbs"), verbs.to_vec(), &VERBS);
    }
}

fn resource_rule(rule: &Value, path: &Path, errors: &mut Errors) {
    verbs(rule, path, errors);
    let lists = [
        (
            "apiGroups",
            "resource rules must supply at least one api group",
            "api groups",
        ),
        (
            "resources",
            "resource rules must supply at least one resource",
            "resources",
        ),
    ];
    for (field, detail, others) in lists {
        if list(rule, field).is_empty() {
            errors.required(&path.child(field), detail);
        }
        alone(rule, field, others, path, errors);
    }
    let (namespaces, field) = (list(rule, "namespaces"), "namespaces");
    if namespaces.is_empty() && !is_true(rule, "clusterScope") {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&path.child(field), detail);
    } else if !alone(rule, field, field, path, errors) {
        for (i, namespace) in namespaces.iter().enumerate() {
            let (namespace, path) = (namespace.as_str().unwrap_or_default(), path.child(field).index(i));
            for why in name::check_dns1123_label(namespace) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                errors.invalid(&path, namespace, &detail);
            }
        }
    }
}

fn path_rule(rule: &Value, path: &Path, errors: &mut Errors) {
    verbs(rule, path, errors);
    let (paths, field) = (list(rule, "nonResourceURLs"), "nonResourceURLs");
    if paths.is_empty() {
        let detail = "nonResourceURLs must contain at least one value";
        errors.required(&path.child(field), detail);
    } else if !alone(rule, field, "non-resource URLs", path, errors) {
        for (i, one) in paths.iter().enumerate() {
            let one = one.as_str().unwrap_or_default();
            if let Some(detail) = bad_path(one) {
                errors.invalid(&path.child(field).index(i), one, detail);
            }
        }
    }
}

/// A path of the server: from the root, and with a `*` as its last part alone.
fn bad_path(path: &str) -> Option<&'static str> {
    let stars = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !path.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}
