//! Requests and limits of containers.

use crate::check;
use crate::json::{get, members, quantity_text};
use meta::{Errors, Path, Quantity};
use serde_json::Value;

pub(super) fn requirements(resources: &Value, path: &Path, errors: &mut Errors) {
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    let (mut compute, mut huge) = (false, false);
    for (field, path) in [("limits", &limits), ("requests", &requests)] {
        for (name, value) in members(resources, field) {
            let path = path.key(name);
            container_resource(name, &path, errors);
            amount(name, value, &path, errors);
            compute |= matches!(name.as_str(), "cpu" | "memory");
            huge |= name.starts_with("hugepages-");
        }
    }
    for (name, request) in members(resources, "requests") {
        let limit = get(get(resources, "limits"), name);
        if limit.is_null() {
            if !may_overcommit(name) {
                let detail = "Limit must be set for non overcommitable resources";
                errors.required(&limits, detail);
            }
            continue;
        }
        let (request, limit) = (quantity_text(request), quantity_text(limit));
        let (Some(asked), Some(most)) = (Quantity::parse(&request), Quantity::parse(&limit)) else {
            continue;
        };
        if asked != most && !may_overcommit(name) {
            let detail = format!("must be equal to {name} limit of {limit}");
            errors.invalid(&requests, request, &detail);
        } else if asked > most {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.invalid(&requests, request, &detail);
        }
    }
    if huge && !compute {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

/// A resource list without limits: the overhead of a pod.
pub(super) fn list_of(list: &Value, path: &Path, errors: &mut Errors) {
    for (name, value) in list.as_object().into_iter().flatten() {
        let path = path.key(name);
        container_resource(name, &path, errors);
        amount(name, value, &path, errors);
    }
}

/// Ordinary resources may be limited higher than they are requested.
fn may_overcommit(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn container_resource(name: &str, path: &Path, errors: &mut Errors) {
    let wrong = meta::name::check_qualified_name(name);
    if !wrong.is_empty() {
        check::messages(path, name, wrong, errors);
        return;
    }
    if name.contains('/') {
        let extended = format!("requests.{name}");
        let bad = name.starts_with("requests.") || !meta::name::check_qualified_name(&extended).is_empty();
        if !is_native(name) && bad {
            let detail = "doesn't follow extended resource name standard";
            errors.invalid(path, name, detail);
        }
        return;
    }
    let of_containers = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    if of_containers || name.starts_with("hugepages-") {
        return;
    }
    if !is_standard(name) {
        let detail = "must be a standard resource type or fully qualified";
        errors.invalid(path, name, detail);
    }
    errors.invalid(path, name, "must be a standard resource for containers");
}

/// Resources that the API knows, though no container can ask for them.
fn is_standard(name: &str) -> bool {
    let quota = [
        "storage",
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
    ];
    quota.contains(&name) || name.starts_with("requests.hugepages-")
}

fn amount(name: &str, value: &Value, path: &Path, errors: &mut Errors) {
    let Some(quantity) = check::quantity(value, path, errors) else {
        return;
    };
    let countable = !is_native(name) || matches!(name, "pods" | "services" | "secrets");
    if countable && !quantity.is_whole() {
        errors.invalid(path, quantity_text(value), "must be an integer");
    }
    if let Some(size) = name.strip_prefix("hugepages-")
        && let Some(size) = Quantity::parse(size)
        && size.value() > 0
        && quantity.value() % size.value() != 0
    {
        let text = quantity_text(value);
        let detail = format!("{text} is not positive integer multiple of {name}");
        errors.invalid(path, text, &detail);
    }
}
