//! What a pod spec must be, for pods and for the templates of all workloads. Source: core/v1 API reference.

mod containers;
mod env;
mod handlers;
mod resources;
mod scheduling;
mod security;
mod update;
mod volumes;

pub(super) use update::update;
pub(crate) use volumes::claim_spec;

use crate::check;
use crate::json::{get, has, int, list, string};
use meta::{Errors, Path};
use serde_json::Value;

/// What the checks of one pod spec have in common.
struct Scope<'a> {
    spec: &'a Value,
    /// Volumes that containers may mount: those that are well-formed, and claims that a StatefulSet adds.
    volumes: Vec<&'a Value>,
}

/// A whole pod.
pub(super) fn pod(pod: &Value, errors: &mut Errors) {
    let (spec, path) = (get(pod, "spec"), Path::new("spec"));
    pod_spec(spec, &[], &path, errors);
    for kind in ["initContainers", "containers"] {
        for (i, container) in list(spec, kind).iter().enumerate() {
            let image = string(container, "image");
            if image.trim() != image {
                let path = path.child(kind).index(i).child("image");
                errors.invalid(&path, image, "must not have leading or trailing whitespace");
            }
        }
    }
    if string(spec, "serviceAccountName").is_empty() {
        volumes::no_tokens(spec, &path, errors);
    }
    let gated = !list(spec, "schedulingGates").is_empty();
    if gated && !string(spec, "nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&path.child("nodeName"), detail);
    }
}

/// The pod template of a workload (its spec's member `template`). `claims` are the templates of claims that become
/// volumes of the pod.
pub(crate) fn template(template: &Value, claims: &[Value], path: &Path, errors: &mut Errors) {
    let metadata = get(template, "metadata");
    check::labels(metadata, "labels", &path.child("labels"), errors);
    check::annotations(metadata, &path.child("annotations"), errors);
    let (spec, spec_path) = (get(template, "spec"), path.child("spec"));
    pod_spec(spec, claims, &spec_path, errors);
    if !list(spec, "ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(&spec_path.child("ephemeralContainers"), detail);
    }
}

/// Replicas run for ever: they restart always and have no deadline.
pub(crate) fn runs_forever(template: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let (spec, path) = (get(template, "spec"), path.child("spec"));
    let policy = string(spec, "restartPolicy");
    if policy != "Always" {
        errors.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
    }
    if has(spec, "activeDeadlineSeconds") {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&path.child("activeDeadlineSeconds"), &detail);
    }
}

fn pod_spec(spec: &Value, claims: &[Value], path: &Path, errors: &mut Errors) {
    let mut scope = Scope {
        spec,
        volumes: volumes::volumes(spec, path, errors),
    };
    scope.volumes.extend(claims.iter().map(|c| get(c, "metadata")));
    containers::containers(&scope, path, errors);
    let always_one = ["Always", "OnFailure", "Never"];
    check::one_of(spec, "restartPolicy", &always_one, true, path, errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check::one_of(spec, "dnsPolicy", &dns, true, path, errors);
    check::labels(spec, "nodeSelector", &path.child("nodeSelector"), errors);
    security::pod(spec, path, errors);
    for (i, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        check::required(secret, "name", &path.child("imagePullSecrets").index(i), errors);
    }
    scheduling::affinity(get(spec, "affinity"), &path.child("affinity"), errors);
    dns_config(spec, path, errors);
    gates(spec, path, errors);
    scheduling::topology_spread(spec, path, errors);
    names(spec, path, errors);
    if let Some(deadline) = int(spec, "activeDeadlineSeconds") {
        let path = path.child("activeDeadlineSeconds");
        check::in_range(deadline, 1, i64::from(i32::MAX), &path, errors);
    }
    scheduling::tolerations(spec, path, errors);
    host_aliases(spec, path, errors);
    let policies = ["PreemptLowerPriority", "Never"];
    check::one_of(spec, "preemptionPolicy", &policies, false, path, errors);
    if let Some(overhead) = crate::json::some(spec, "overhead") {
        resources::list_of(overhead, &path.child("overhead"), errors);
    }
    os(spec, path, errors);
    let of_pod = get(spec, "resources");
    resources::requirements(of_pod, &path.child("resources"), errors);
}

fn names(spec: &Value, path: &Path, errors: &mut Errors) {
    for field in [
        "serviceAccountName",
        "nodeName",
        "priorityClassName",
        "runtimeClassName",
    ] {
        let value = string(spec, field);
        if !value.is_empty() {
            check::dns_subdomain(&path.child(field), value, errors);
        }
    }
    for field in ["hostname", "subdomain"] {
        let value = string(spec, field);
        if !value.is_empty() {
            check::dns_label(&path.child(field), value, errors);
        }
    }
}

fn os(spec: &Value, path: &Path, errors: &mut Errors) {
    let os = get(spec, "os");
    if !os.is_null() {
        check::one_of(os, "name", &["linux", "windows"], true, &path.child("os"), errors);
    }
}

fn gates(spec: &Value, path: &Path, errors: &mut Errors) {
    for (i, gate) in list(spec, "readinessGates").iter().enumerate() {
        let path = path.child("readinessGates").index(i).child("conditionType");
        check::qualified_name(&path, string(gate, "conditionType"), errors);
    }
    let mut seen = Vec::new();
    for (i, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let (name, path) = (string(gate, "name"), path.child("schedulingGates").index(i));
        check::qualified_name(&path.child("name"), name, errors);
        if seen.contains(&name) {
            errors.duplicate(&path.child("name"), name);
        }
        seen.push(name);
    }
}

const IP_MESSAGE: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

fn host_aliases(spec: &Value, path: &Path, errors: &mut Errors) {
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let path = path.child("hostAliases").index(i);
        let ip = string(alias, "ip");
        if !is_ip(ip) {
            errors.invalid(&path.child("ip"), ip, IP_MESSAGE);
        }
        for host in list(alias, "hostnames") {
            let host = host.as_str().unwrap_or_default();
            check::dns_subdomain(&path.child("hostnames"), host, errors);
        }
    }
}

fn dns_config(spec: &Value, path: &Path, errors: &mut Errors) {
    let (config, path) = (get(spec, "dnsConfig"), path.child("dnsConfig"));
    let servers = list(config, "nameservers");
    if string(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.required(&path, detail);
            return;
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&path.child("nameservers"), detail);
        }
    }
    let server_path = path.child("nameservers");
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.invalid(&server_path, servers.to_vec(), detail);
    }
    for (i, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or_default();
        if !is_ip(server) {
            errors.invalid(&server_path.index(i), server, IP_MESSAGE);
        }
    }
    dns_searches(list(config, "searches"), &path.child("searches"), errors);
    for (i, option) in list(config, "options").iter().enumerate() {
        if string(option, "name").is_empty() {
            errors.required(&path.child("options").index(i), "must not be empty");
        }
    }
}

fn dns_searches(searches: &[Value], path: &Path, errors: &mut Errors) {
    let texts: Vec<&str> = searches.iter().filter_map(Value::as_str).collect();
    if texts.len() > 32 {
        errors.invalid(path, searches.to_vec(), "must not have more than 32 search paths");
    }
    if texts.join(" ").len() > 2048 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(path, searches.to_vec(), detail);
    }
    for (i, search) in texts.iter().enumerate() {
        // A lone dot and a trailing one mean the root; underscores are common in service names.
        let plain = search.strip_suffix('.').unwrap_or(search).replace('_', "a");
        if *search != "." && !meta::name::check_dns1123_subdomain(&plain).is_empty() {
            check::dns_subdomain(&path.index(i), search, errors);
        }
    }
}
