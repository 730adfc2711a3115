//! What a claim asks for: requests, constraints between them, configuration. Claims and their templates share it.

use super::{
    CONFIG_MAX, REQUESTS_MAX, attribute_name, class_name, configuration, each, each_once, label, selectors,
    text_of, toleration,
};
use crate::check::dns_label;
use crate::json::{get, has, is_true, items_mut, list, number, put, put_default, some, string};
use crate::namespace::NAMESPACES;
use meta::{Errors, Path, Snapshot};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const CONSTRAINTS_MAX: usize = 32;
/// Requests of which the first that can be met is.
const ALTERNATIVES_MAX: usize = 8;
/// Label of a namespace whose claims may ask for devices that others use.
const ADMIN: &str = "resource.kubernetes.io/admin-access";

/// One device of a class where nothing else is said, and tolerations of one value.
pub(crate) fn default(spec: &mut Value) {
    let Some(devices) = crate::json::child_mut(spec, "devices") else {
        return;
    };
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = crate::json::child_mut(request, "exactly") {
            default_amount(exactly);
        }
        items_mut(request, "firstAvailable").for_each(default_amount);
    }
}

fn default_amount(request: &mut Value) {
    put_default(request, "allocationMode", "ExactCount");
    if string(request, "allocationMode") == "ExactCount" && number(request, "count") == 0 {
        put(request, "count", 1);
    }
    for toleration in items_mut(request, "tolerations") {
        put_default(toleration, "operator", "Equal");
    }
}

/// A claim's spec.
pub(crate) fn spec(spec: &Value, path: &Path, errors: &mut Errors) {
    let (devices, path) = (get(spec, "devices"), path.child("devices"));
    let names = Names::of(devices);
    let name = |request: &Value| string(request, "name").to_string();
    let requests = list(devices, "requests");
    each_once(
        requests,
        Some(REQUESTS_MAX),
        name,
        &path.child("requests"),
        errors,
        &mut request,
    );
    let constraints = list(devices, "constraints");
    each(
        constraints,
        Some(CONSTRAINTS_MAX),
        &path.child("constraints"),
        errors,
        &mut |one, path, errors| {
            names.check_list(one, path, errors);
            match (
                get(one, "matchAttribute").as_str(),
                get(one, "distinctAttribute").as_str(),
            ) {
                (Some(text), _) => full_name(text, &path.child("matchAttribute"), errors),
                (None, Some(text)) => full_name(text, &path.child("distinctAttribute"), errors),
                (None, None) => {
                    let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
                    errors.required(path, detail);
                }
            }
        },
    );
    each(
        list(devices, "config"),
        Some(CONFIG_MAX),
        &path.child("config"),
        errors,
        &mut |one, path, errors| {
            names.check_list(one, path, errors);
            configuration(one, false, path, errors);
        },
    );
}

fn request(request: &Value, path: &Path, errors: &mut Errors) {
    label(request, "name", path, errors);
    let alternatives = list(request, "firstAvailable");
    match (some(request, "exactly"), alternatives.is_empty()) {
        (None, true) => {
            errors.required(path, "exactly one of `exactly` or `firstAvailable` is required");
        }
        (Some(_), false) => {
            let detail =
                "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(path, Value::Null, detail);
        }
        (None, false) => {
            let name = |request: &Value| string(request, "name").to_string();
            let path = path.child("firstAvailable");
            each_once(
                alternatives,
                Some(ALTERNATIVES_MAX),
                name,
                &path,
                errors,
                &mut |one, path, errors| {
                    label(one, "name", path, errors);
                    amount(one, path, errors);
                },
            );
        }
        (Some(exactly), true) => amount(exactly, &path.child("exactly"), errors),
    }
}

/// How many devices of which class.
fn amount(request: &Value, path: &Path, errors: &mut Errors) {
    class_name(
        string(request, "deviceClassName"),
        &path.child("deviceClassName"),
        errors,
    );
    selectors(request, path, errors);
    let count = number(request, "count");
    match string(request, "allocationMode") {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.invalid(&path.child("count"), count, detail);
        }
        "All" => {}
        "ExactCount" if count <= 0 => {
            errors.invalid(&path.child("count"), count, "must be greater than zero");
        }
        "ExactCount" => {}
        other => errors.not_supported(&path.child("allocationMode"), other, &["All", "ExactCount"]),
    }
    let tolerations = list(request, "tolerations");
    each(
        tolerations,
        None,
        &path.child("tolerations"),
        errors,
        &mut toleration,
    );
}

fn full_name(text: &str, path: &Path, errors: &mut Errors) {
    attribute_name(text, path, errors);
    if !text.contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.invalid(path, text, detail);
    }
}

/// The requests of a claim, and the alternatives within each.
pub(crate) struct Names<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Names<'a> {
    pub(crate) fn of(devices: &'a Value) -> Self {
        let alternatives = |request: &'a Value| {
            let all = list(request, "firstAvailable").iter();
            all.map(|one| string(one, "name")).collect()
        };
        let requests = list(devices, "requests").iter();
        Self(requests.map(|r| (string(r, "name"), alternatives(r))).collect())
    }

    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => self.0.contains_key(name),
            Some((request, one)) => self.0.get(request).is_some_and(|all| all.contains(one)),
        }
    }

    /// A reference to a request, or to an alternative in it.
    pub(crate) fn check(&self, name: &str, path: &Path, errors: &mut Errors) {
        let detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 {
            errors.invalid(path, name, detail);
            return;
        }
        for part in parts {
            dns_label(path, part, errors);
        }
        if !self.has(name) {
            errors.invalid(path, name, detail);
        }
    }

    /// The `requests` that a constraint or configuration is about.
    pub(crate) fn check_list(&self, holder: &Value, path: &Path, errors: &mut Errors) {
        let path = path.child("requests");
        each_once(
            list(holder, "requests"),
            Some(REQUESTS_MAX),
            text_of,
            &path,
            errors,
            &mut |name, path, errors| {
                self.check(name.as_str().unwrap_or_default(), path, errors);
            },
        );
    }
}

/// Devices that others use are for claims of namespaces that say so.
pub(crate) fn admin_access(devices: &Value, namespace: &str, seen: &Snapshot, errors: &mut Errors) {
    let asks = |request: &Value| is_true(get(request, "exactly"), "adminAccess");
    if let Some(i) = list(devices, "requests").iter().position(asks) {
        let path = Path::new("spec").child("devices").child("requests").index(i);
        needs_admin(namespace, &path.child("adminAccess"), seen, errors);
    }
}

/// The same of results; those that are there already were let in.
pub(crate) fn admin_results(
    status: &Value,
    old: &Value,
    namespace: &str,
    seen: &Snapshot,
    errors: &mut Errors,
) {
    let granted = |status: &Value| {
        let results = crate::json::at(status, "/allocation/devices");
        list(results, "results")
            .iter()
            .position(|r| is_true(r, "adminAccess"))
    };
    if let (Some(i), None) = (granted(status), granted(old)) {
        let path = Path::new("status")
            .child("allocation")
            .child("devices")
            .child("results");
        needs_admin(namespace, &path.index(i).child("adminAccess"), seen, errors);
    }
}

fn needs_admin(namespace: &str, path: &Path, seen: &Snapshot, errors: &mut Errors) {
    let Some(found) = seen.get(NAMESPACES, "", namespace) else {
        let detail = format!(
            "could not retrieve namespace to verify admin access: namespaces {namespace:?} not found"
        );
        errors.internal(path, &detail);
        return;
    };
    if found.meta().label(ADMIN) != Some("true") {
        let detail =
            format!("admin access to devices requires the `{ADMIN}: true` label on the containing namespace");
        errors.forbidden(path, &detail);
    }
}

/// Whether an allocation is there.
pub(crate) fn is_allocated(claim: &Value) -> bool {
    has(get(claim, "status"), "allocation")
}
