//! Requests and limits of containers.

use crate::check::{self, is_extended, is_native};
use crate::json::{get, has, list, members, quantity_text, string};
use meta::quantity::Format;
use meta::{Errors, Path, Quantity};
use serde_json::{Value, json};

const HUGE: &str = "hugepages-";
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What a name may be, where it stands.
type CheckName = fn(&str, &Path, &mut Errors);

pub(super) fn of_container(spec: &Value, resources: &Value, path: &Path, errors: &mut Errors) {
    requirements(resources, container_resource, path, errors);
    claims(spec, resources, &path.child("claims"), errors);
}

/// Resources of the pod as a whole, which its containers share.
pub(super) fn of_pod(spec: &Value, path: &Path, errors: &mut Errors) {
    let (resources, path) = (get(spec, "resources"), path.child("resources"));
    if resources.is_null() {
        return;
    }
    if string(get(spec, "os"), "name") == "windows" {
        errors.forbidden(&path, "may not be set for a windows pod");
        return;
    }
    if has(resources, "claims") {
        let detail = "claims may not be set for Resources at pod-level";
        errors.forbidden(&path.child("claims"), detail);
    }
    requirements(resources, pod_resource, &path, errors);
    claims(spec, resources, &path.child("claims"), errors);
    fits_containers(spec, resources, &path, errors);
}

/// Overhead is checked as limits are, and its errors say so.
pub(crate) fn overhead(overhead: &Value, path: &Path, errors: &mut Errors) {
    let limits = json!({"limits": overhead});
    requirements(&limits, container_resource, path, errors);
}

fn requirements(resources: &Value, check_name: CheckName, path: &Path, errors: &mut Errors) {
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    let (mut compute, mut huge) = (false, false);
    let mut one = |name: &str, value: &Value, path: &Path, errors: &mut Errors| {
        check_name(name, path, errors);
        check::amount(name, value, path, errors);
        compute |= matches!(name, "cpu" | "memory");
        huge |= name.starts_with(HUGE);
    };
    for (name, limit) in members(resources, "limits") {
        let path = limits.key(name);
        one(name, limit, &path, errors);
        divisible(name, limit, &path, errors);
    }
    for (name, request) in members(resources, "requests") {
        let path = requests.key(name);
        one(name, request, &path, errors);
        within_limit(name, request, resources, (&limits, &requests), errors);
        divisible(name, request, &path, errors);
    }
    if huge && !compute {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

fn within_limit(
    name: &str,
    request: &Value,
    resources: &Value,
    (limits, requests): (&Path, &Path),
    errors: &mut Errors,
) {
    let limit = get(get(resources, "limits"), name);
    if limit.is_null() {
        if !may_overcommit(name) {
            let detail = "Limit must be set for non overcommitable resources";
            errors.required(limits, detail);
        }
        return;
    }
    let (request, limit) = (quantity_text(request), quantity_text(limit));
    let (Some(asked), Some(most)) = (Quantity::parse(&request), Quantity::parse(&limit)) else {
        return;
    };
    if asked != most && !may_overcommit(name) {
        let detail = format!("must be equal to {name} limit of {limit}");
        errors.invalid(requests, request, &detail);
    } else if asked > most {
        let detail = format!("must be less than or equal to {name} limit of {limit}");
        errors.invalid(requests, request, &detail);
    }
}

/// A sum is written as the first of its parts that is something, a largest init step as that step begins.
fn sum_format(spec: &Value, field: &str, name: &str, sum: Quantity) -> Format {
    let of = |kind: &str| -> Vec<(Quantity, Format)> {
        let containers = list(spec, kind).iter();
        let given = containers.map(|c| quantity_text(get(get(get(c, "resources"), field), name)));
        let parts = given.filter_map(|text| Quantity::parse_with_format(&text));
        parts.filter(|(size, _)| !size.is_zero()).collect()
    };
    let (app, init) = (of("containers"), of("initContainers"));
    let together = app.iter().fold(Quantity::ZERO, |all, (size, _)| all.plus(*size));
    let first = match sum > together {
        true => init.first().or(app.first()),
        false => app.first(),
    };
    first.map_or(Format::Decimal, |(_, format)| *format)
}

/// The pod has at least what its containers ask for together, and each of them no higher limit than the pod.
fn fits_containers(spec: &Value, resources: &Value, path: &Path, errors: &mut Errors) {
    let parsed = |value: &Value| Quantity::parse(&quantity_text(value));
    let mut alone = spec.clone();
    for field in ["resources", "overhead"] {
        crate::json::take(&mut alone, field);
    }
    let sums = [
        ("requests", crate::pod::requests(&alone)),
        ("limits", crate::pod::limits(&alone)),
    ];
    for (field, sum) in sums {
        for (name, sum) in sum
            .iter()
            .filter(|(name, _)| field == "requests" || name.starts_with(HUGE))
        {
            let own = get(get(resources, field), name);
            if parsed(own).is_some_and(|own| *sum > own) {
                let sum = sum.print(sum_format(spec, field, name, *sum));
                let detail = format!("must be greater than or equal to aggregate container {field} of {sum}");
                errors.invalid(&path.child(field).key(name), quantity_text(own), &detail);
            }
        }
    }
    for (i, c) in list(spec, "containers").iter().enumerate() {
        for (name, limit) in members(get(c, "resources"), "limits") {
            let most = get(get(resources, "limits"), name);
            if let (Some(own), Some(pod)) = (parsed(limit), parsed(most))
                && own > pod
            {
                let detail = format!(
                    "must be less than or equal to pod limits of {}",
                    quantity_text(most)
                );
                let path = path.child("containers").index(i).key(name).child("limits");
                errors.invalid(&path, quantity_text(limit), &detail);
            }
        }
    }
}

/// Devices that a container takes of those that its pod claims.
fn claims(spec: &Value, resources: &Value, path: &Path, errors: &mut Errors) {
    let mut known: Vec<&str> = list(spec, "resourceClaims")
        .iter()
        .map(|c| string(c, "name"))
        .collect();
    known.retain(|name| !name.is_empty());
    known.sort_unstable();
    known.dedup();
    let mut seen: Vec<String> = Vec::new();
    for (i, claim) in list(resources, "claims").iter().enumerate() {
        let (name, request, path) = (string(claim, "name"), string(claim, "request"), path.index(i));
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let key = match request {
            "" => name.to_string(),
            request => format!("{name}/{request}"),
        };
        if seen.iter().any(|s| s == name) {
            errors.duplicate(&path, name);
        } else {
            if !request.is_empty() {
                check::dns_label(&path.child("request"), request, errors);
            }
            let parts = seen
                .iter()
                .filter(|s| s.split_once('/').is_some_and(|(n, _)| n == name));
            if seen.contains(&key) {
                errors.duplicate(&path, key.as_str());
            } else if request.is_empty() {
                for _ in parts {
                    errors.duplicate(&path, name);
                }
            }
            seen.push(key);
        }
        if !known.contains(&name) {
            let rest = match known.is_empty() {
                true => " which is empty".to_string(),
                false => format!(": {}", known.join(", ")),
            };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{rest}");
            errors.not_found_because(&path, name, &detail);
        }
    }
}

/// Ordinary resources may be limited higher than they are requested.
pub(crate) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// A name of any resource. True when nothing is wrong with it.
pub(crate) fn resource(name: &str, path: &Path, errors: &mut Errors) -> bool {
    let wrong = meta::name::check_qualified_name(name);
    let good = wrong.is_empty();
    check::messages(path, name, wrong, errors);
    if good && !name.contains('/') && !is_standard(name) {
        let detail = "must be a standard resource type or fully qualified";
        errors.invalid(path, name, detail);
        return false;
    }
    good
}

pub(crate) fn container_resource(name: &str, path: &Path, errors: &mut Errors) {
    resource(name, path, errors);
    if !name.contains('/') {
        if !OF_CONTAINERS.contains(&name) && !name.starts_with(HUGE) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        let detail = "doesn't follow extended resource name standard";
        errors.invalid(path, name, detail);
    }
}

fn pod_resource(name: &str, path: &Path, errors: &mut Errors) {
    let good = resource(name, path, errors);
    if good && !matches!(name, "cpu" | "memory") && !name.starts_with(HUGE) {
        errors.not_supported(path, name, &["cpu", HUGE, "memory"]);
    }
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
    let huge = name.starts_with(HUGE) || name.starts_with("requests.hugepages-");
    OF_CONTAINERS.contains(&name) || quota.contains(&name) || huge
}

/// Huge pages come whole.
fn divisible(name: &str, value: &Value, path: &Path, errors: &mut Errors) {
    let (Some(size), Some(quantity)) = (name.strip_prefix(HUGE), Quantity::parse(&quantity_text(value)))
    else {
        return;
    };
    let size = Quantity::parse(size).filter(|size| size.is_whole());
    let size = size.map_or(0, Quantity::value);
    if size <= 0 || quantity.value() % size != 0 {
        let text = quantity_text(value);
        let detail = format!("{text} is not positive integer multiple of {name}");
        errors.invalid(path, text, &detail);
    }
}
