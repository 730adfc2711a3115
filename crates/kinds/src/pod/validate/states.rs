//! What a status may say of containers: how they go on, who runs in them, which devices and claims they have.

use crate::check;
use crate::json::{get, has, list, number, some, string};
use meta::{Errors, Path};
use serde_json::Value;

/// Statuses and the containers of the spec that they are of.
const KINDS: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", ""),
];

/// A container that has ended for good does not run again.
pub(super) fn transitions(now: &Value, was: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let ended = |status: &Value| has(get(status, "state"), "terminated");
    let all = all_may_restart(spec);
    for (field, containers) in KINDS {
        if all && !containers.is_empty() {
            continue;
        }
        for (i, old) in list(was, field).iter().enumerate().filter(|(_, old)| ended(old)) {
            let same = |s: &&Value| string(s, "name") == string(old, "name") && !ended(s);
            let mut again = list(now, field).iter().filter(same);
            let code = number(get(get(old, "state"), "terminated"), "exitCode");
            let container = list(spec, containers)
                .iter()
                .find(|c| string(c, "name") == string(old, "name"));
            let may = container.is_some_and(|c| may_restart(c, spec, code));
            if again.next().is_some() && !may {
                let path = path.child(field).index(i).child("state");
                errors.forbidden(&path, "may not be transitioned to non-terminated state");
            }
        }
    }
}

/// A rule of one container can start all of them again.
fn all_may_restart(spec: &Value) -> bool {
    let containers = list(spec, "initContainers")
        .iter()
        .chain(list(spec, "containers"));
    let mut rules = containers.flat_map(|c| list(c, "restartPolicyRules"));
    rules.any(|rule| string(rule, "action") == "RestartAllContainers")
}

fn may_restart(c: &Value, spec: &Value, code: i64) -> bool {
    let policy = match string(c, "restartPolicy") {
        "" => string(spec, "restartPolicy"),
        own => {
            let fits = |rule: &&Value| {
                let codes = get(rule, "exitCodes");
                let listed = list(codes, "values").iter().any(|v| v.as_i64() == Some(code));
                match string(codes, "operator") {
                    "In" => listed,
                    "NotIn" => !listed,
                    _ => false,
                }
            };
            let rule = list(c, "restartPolicyRules").iter().find(fits);
            if rule.is_some_and(|rule| string(rule, "action") == "Restart") {
                return true;
            }
            own
        }
    };
    match policy {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

pub(super) fn claims(status: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for (i, claim) in list(status, "resourceClaimStatuses").iter().enumerate() {
        let (name, path) = (
            string(claim, "name"),
            path.child("resourceClaimStatuses").index(i),
        );
        if !list(spec, "resourceClaims")
            .iter()
            .any(|c| string(c, "name") == name)
        {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&path.child("name"), name, detail);
        }
        if seen.contains(&name) {
            errors.duplicate(&path.child("name"), name);
        }
        seen.push(name);
        if let Some(made) = get(claim, "resourceClaimName").as_str() {
            check::dns_subdomain(&path.child("resourceClaimName"), made, errors);
        }
    }
    if let Some(extended) = some(status, "extendedResourceClaimStatus") {
        extended_claim(extended, spec, &path.child("extendedResourceClaimStatus"), errors);
    }
}

fn extended_claim(extended: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let all = list(extended, "requestMappings");
    let root = path.child("requestMappings");
    if all.is_empty() {
        errors.required(&root, "at least one request mapping is required");
    }
    let fields = ["containerName", "resourceName", "requestName"];
    for (i, mapping) in all.iter().enumerate() {
        let at = root.index(i);
        let [container, resource, request] = fields.map(|field| string(mapping, field));
        // Of containers of one name, the last one counts.
        let found = list(spec, "initContainers")
            .iter()
            .chain(list(spec, "containers"));
        match found.rev().find(|c| string(c, "name") == container) {
            None => {
                let detail =
                    "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.invalid(&at.child("containerName"), container, detail);
            }
            Some(c) if !has(get(get(c, "resources"), "requests"), resource) => {
                let detail = "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.invalid(&at.child("resourceName"), resource, detail);
            }
            Some(_) => {}
        }
        check::dns_label(&path.child("requestName"), request, errors);
        let same = |m: &Value| fields.iter().all(|f| string(m, f) == string(mapping, f));
        if all[..i].iter().any(same) {
            for (field, value) in fields.iter().zip([container, resource, request]) {
                errors.duplicate(&at.child(field), value);
            }
        }
    }
    match string(extended, "resourceClaimName") {
        "" => errors.required(&path.child("resourceClaimName"), ""),
        name => check::dns_subdomain(&path.child("resourceClaimName"), name, errors),
    }
}

pub(super) fn users(status: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    const ID_MAX: i64 = i32::MAX as i64;
    let windows = string(get(spec, "os"), "name") == "windows";
    for (field, _) in KINDS {
        for (i, container) in list(status, field).iter().enumerate() {
            let (user, at) = (
                get(get(container, "user"), "linux"),
                path.child(field).index(i).child("user").child("linux"),
            );
            if user.is_null() {
                continue;
            }
            if windows {
                errors.forbidden(&at, "cannot be set for a windows pod");
                continue;
            }
            let mut id = |value: i64, path: &Path| {
                if !(0..=ID_MAX).contains(&value) {
                    let detail = format!("must be between 0 and {ID_MAX}, inclusive");
                    errors.invalid(path, value, &detail);
                }
            };
            id(number(user, "uid"), &at.child("uid"));
            id(number(user, "gid"), &at.child("gid"));
            for (i, group) in list(user, "supplementalGroups").iter().enumerate() {
                id(
                    group.as_i64().unwrap_or(0),
                    &at.child("supplementalGroups").index(i),
                );
            }
        }
    }
}

/// Devices that a container was given: those that it asked for, and how they are.
pub(super) fn devices(status: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    for (field, containers) in KINDS {
        for (i, own) in list(status, field).iter().enumerate() {
            let at = path.child(field).index(i).child("allocatedResourcesStatus");
            let all = list(own, "allocatedResourcesStatus");
            if containers.is_empty() {
                if !all.is_empty() {
                    errors.forbidden(&at, "must not be specified in container status");
                }
                continue;
            }
            let container = list(spec, containers)
                .iter()
                .find(|c| string(c, "name") == string(own, "name"));
            for (j, resource) in all.iter().enumerate() {
                if let Some(c) = container {
                    asked_for(resource, c, &at.index(j), errors);
                }
                health(
                    list(resource, "resources"),
                    &at.index(j).child("resources"),
                    errors,
                );
            }
        }
    }
}

fn asked_for(resource: &Value, container: &Value, path: &Path, errors: &mut Errors) {
    let (name, resources) = (string(resource, "name"), get(container, "resources"));
    let claimed = |claim: &Value| match string(claim, "request") {
        "" => format!("claim:{}", string(claim, "name")),
        request => format!("claim:{}/{request}", string(claim, "name")),
    };
    let (found, detail) = if name.starts_with("claim:") {
        let found = list(resources, "claims").iter().any(|c| claimed(c) == name);
        let detail = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
        (found, detail)
    } else {
        let found = has(get(resources, "requests"), name);
        (found, "must match one of the container's resource requests")
    };
    if !found {
        errors.invalid(&path.child("name"), name, detail);
    }
}

fn health(resources: &[Value], path: &Path, errors: &mut Errors) {
    const KNOWN: [&str; 3] = ["Healthy", "Unhealthy", "Unknown"];
    const MESSAGE_MAX: usize = 1024;
    for (i, resource) in resources.iter().enumerate() {
        let (state, path) = (string(resource, "health"), path.index(i));
        if !KNOWN.contains(&state) {
            errors.not_supported(&path.child("health"), state, &KNOWN);
        }
        match get(resource, "message").as_str() {
            Some("") => errors.required(&path.child("message"), "must be non-empty if specified"),
            Some(text) if text.len() > MESSAGE_MAX => errors.too_long(&path.child("message"), MESSAGE_MAX),
            _ => {}
        }
        let same = |other: &Value| string(other, "resourceID") == string(resource, "resourceID");
        if resources[..i].iter().any(same) {
            errors.duplicate(&path.child("resourceID"), string(resource, "resourceID"));
        }
    }
}
