//! What a pod spec must be, for pods and for the templates of all workloads. Source: core/v1 API reference.

mod annotations;
mod containers;
mod dns;
mod env;
mod handlers;
mod os;
mod projected;
mod resources;
mod scheduling;
mod security;
mod states;
mod status;
mod update;
mod volumes;
mod windows;

pub(crate) use annotations::sync_apparmor;
pub(crate) use projected::signer;
pub(crate) use resources::{container_resource, may_overcommit, overhead, resource};
pub(crate) use scheduling::{node_selector, toleration_list};
pub(crate) use update::node_selector_shown;
pub(super) use update::update;
pub(crate) use volumes::forbidden_name;

use crate::check;
use crate::json::{get, has, int, is_true, list, string};
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::Value;

/// What the checks of one pod spec have in common.
struct Scope<'a> {
    spec: &'a Value,
    /// Volumes that containers may mount: those that are well-formed.
    volumes: Vec<&'a Value>,
}

/// A whole pod.
pub(super) fn pod(pod: &Value, errors: &mut Errors) {
    let (spec, path) = (get(pod, "spec"), Path::new("spec"));
    annotations::annotations(pod, errors);
    pod_spec(spec, Some(pod), &path, errors);
    if string(spec, "serviceAccountName").is_empty() {
        volumes::no_tokens(spec, &path, errors);
    }
    for kind in ["containers", "initContainers"] {
        for (i, container) in list(spec, kind).iter().enumerate() {
            containers::image_of_pod(container, &path.child(kind).index(i), errors);
        }
    }
}

/// What no pod can be made with.
pub(super) fn new_pod(pod: &Value, errors: &mut Errors) {
    let (spec, path) = (get(pod, "spec"), Path::new("spec"));
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    let gated = !list(spec, "schedulingGates").is_empty();
    if gated && !string(spec, "nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&path.child("nodeName"), detail);
    }
    annotations::fit_fields(pod, errors);
}

/// The pod template of a workload (its spec's member `template`).
pub(crate) fn template(template: &Value, path: &Path, errors: &mut Errors) {
    template_metadata(template, path, errors);
    let (spec, spec_path) = (get(template, "spec"), path.child("spec"));
    pod_spec(spec, None, &spec_path, errors);
    if !list(spec, "ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(&spec_path.child("ephemeralContainers"), detail);
    }
}

/// Upstream leaves `metadata` out of these paths.
pub(crate) fn template_metadata(template: &Value, path: &Path, errors: &mut Errors) {
    let metadata = get(template, "metadata");
    check::labels(metadata, "labels", &path.child("labels"), errors);
    check::annotations(metadata, &path.child("annotations"), errors);
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

fn pod_spec(spec: &Value, pod: Option<&Value>, path: &Path, errors: &mut Errors) {
    let scope = Scope {
        spec,
        volumes: volumes::volumes(spec, pod, path, errors),
    };
    resource_claims(spec, pod, &path.child("resourceClaims"), errors);
    containers::containers(&scope, path, errors);
    resources::of_pod(spec, path, errors);
    containers::host_network(spec, pod.is_some(), path, errors);
    let policies = ["Always", "OnFailure", "Never"];
    check::one_of(spec, "restartPolicy", &policies, true, path, errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check::one_of(spec, "dnsPolicy", &dns, true, path, errors);
    check::labels(spec, "nodeSelector", &path.child("nodeSelector"), errors);
    security::pod(spec, path, errors);
    scheduling::affinity(get(spec, "affinity"), &path.child("affinity"), errors);
    dns::config(spec, path, errors);
    gates(spec, path, errors);
    scheduling::topology_spread(spec, path, errors);
    windows::host_processes(spec, path, errors);
    security::host_users(spec, path, errors);
    hostname_override(spec, path, errors);
    dns_names(spec, &["serviceAccountName", "nodeName"], path, errors);
    if let Some(deadline) = int(spec, "activeDeadlineSeconds") {
        let path = path.child("activeDeadlineSeconds");
        check::in_range(deadline, 1, i64::from(i32::MAX), &path, errors);
    }
    for field in ["hostname", "subdomain"] {
        let value = string(spec, field);
        if !value.is_empty() {
            check::dns_label(&path.child(field), value, errors);
        }
    }
    scheduling::tolerations(spec, path, errors);
    dns::host_aliases(spec, path, errors);
    dns_names(spec, &["priorityClassName"], path, errors);
    if let Some(class) = get(spec, "runtimeClassName").as_str() {
        check::dns_subdomain(&path.child("runtimeClassName"), class, errors);
    }
    if has(spec, "preemptionPolicy") {
        let policies = ["PreemptLowerPriority", "Never"];
        check::one_of(spec, "preemptionPolicy", &policies, true, path, errors);
    }
    if let Some(overhead) = crate::json::some(spec, "overhead") {
        resources::overhead(overhead, &path.child("overhead"), errors);
    }
    os::os(spec, path, errors);
    env::files_of_volumes(spec, path, errors);
}

/// Devices that a pod claims (dynamic resource allocation): names, and one source each.
fn resource_claims(spec: &Value, pod: Option<&Value>, path: &Path, errors: &mut Errors) {
    let annotations = pod.map_or(&Value::Null, |pod| get(get(pod, "metadata"), "annotations"));
    let mut seen: Vec<&str> = Vec::new();
    for (i, claim) in list(spec, "resourceClaims").iter().enumerate() {
        if has(annotations, "kubernetes.io/config.mirror") {
            let detail = "static pods do not support resource claims";
            errors.forbidden(&Path::new("[]"), detail);
            continue;
        }
        let (name, path) = (string(claim, "name"), path.index(i));
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if seen.contains(&name) {
            errors.duplicate(&path.child("name"), name);
        } else {
            check::dns_label(&path.child("name"), name, errors);
            seen.push(name);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        let shown = || {
            let named = |go: &'static str, field: &str| (go, Some(get(claim, field).clone()));
            Shown::members([
                ("Name", Some(name.into())),
                named("ResourceClaimName", sources[0]),
                named("ResourceClaimTemplateName", sources[1]),
            ])
        };
        match sources.iter().filter(|s| has(claim, s)).count() {
            0 => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, shown(), detail);
            }
            1 => {}
            _ => {
                let detail =
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&path, shown(), detail);
            }
        }
        for source in sources {
            if let Some(text) = get(claim, source).as_str() {
                check::dns_subdomain(&path.child(source), text, errors);
            }
        }
    }
}

fn hostname_override(spec: &Value, path: &Path, errors: &mut Errors) {
    const MAX: usize = 64;
    let path = path.child("hostnameOverride");
    let Some(name) = get(spec, "hostnameOverride").as_str() else {
        return;
    };
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if is_true(spec, field) {
            errors.forbidden(&path, &format!("may not be specified when {field} is true"));
        }
    }
    if name.len() > MAX {
        errors.too_long(&path, MAX);
    }
    check::dns_subdomain(&path, name, errors);
}

fn dns_names(spec: &Value, fields: &[&str], path: &Path, errors: &mut Errors) {
    for field in fields {
        let value = string(spec, field);
        if !value.is_empty() {
            check::dns_subdomain(&path.child(field), value, errors);
        }
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
        check::qualified_name(&path, name, errors);
        if seen.contains(&name) {
            errors.duplicate(&path, name);
        }
        seen.push(name);
    }
}

/// All containers with their paths, in the order in which upstream visits them.
fn containers_with_paths<'a>(spec: &'a Value, path: &Path) -> Vec<(&'a Value, Path)> {
    let mut all = Vec::new();
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let path = path.child(kind);
        all.extend(
            list(spec, kind)
                .iter()
                .enumerate()
                .map(|(i, c)| (c, path.index(i))),
        );
    }
    all
}
