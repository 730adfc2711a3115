//! Fields behind features that are off by default in v1.36: they go from pods and templates, unless the object had them
//! before. Source: the feature gates ClusterTrustBundleProjection, PodCertificateRequest, GenericWorkload and
//! ContainerStopSignals.

use crate::json::{at, child_mut, get, has, items_mut, list, take};
use serde_json::Value;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Drops them from a pod spec; `old` is null on create.
pub(crate) fn drop_disabled(spec: &mut Value, old: &Value) {
    for source in ["clusterTrustBundle", "podCertificate"] {
        if !projects(old, source) {
            drop_projection(spec, source);
        }
    }
    if !has(old, "schedulingGroup") {
        take(spec, "schedulingGroup");
    }
    if !has_stop_signal(old) {
        drop_stop_signals(spec);
    }
}

/// The same for the template of a workload.
pub(crate) fn drop_in_template(object: &mut Value, old: Option<&Value>) {
    drop_at("/spec/template/spec", object, old);
}

/// … and for a pod spec anywhere in an object.
pub(crate) fn drop_at(pointer: &str, object: &mut Value, old: Option<&Value>) {
    let before = old.map_or(&Value::Null, |old| at(old, pointer));
    if let Some(spec) = object.pointer_mut(pointer) {
        drop_disabled(spec, before);
    }
}

fn projects(spec: &Value, source: &str) -> bool {
    let volumes = list(spec, "volumes").iter();
    let mut sources = volumes.flat_map(|v| list(get(v, "projected"), "sources"));
    sources.any(|s| has(s, source))
}

fn drop_projection(spec: &mut Value, source: &str) {
    let projected = items_mut(spec, "volumes").filter_map(|v| child_mut(v, "projected"));
    for holder in projected.flat_map(|p| items_mut(p, "sources")) {
        take(holder, source);
    }
}

fn has_stop_signal(spec: &Value) -> bool {
    let mut all = CONTAINERS.iter().flat_map(|kind| list(spec, kind));
    all.any(|c| has(get(c, "lifecycle"), "stopSignal"))
}

/// A lifecycle that said nothing else goes with it.
fn drop_stop_signals(spec: &mut Value) {
    for kind in CONTAINERS {
        for c in items_mut(spec, kind) {
            let taken = child_mut(c, "lifecycle").and_then(|l| take(l, "stopSignal"));
            let hooks = get(c, "lifecycle");
            if taken.is_some() && !has(hooks, "postStart") && !has(hooks, "preStop") {
                take(c, "lifecycle");
            }
        }
    }
}

/// The same for what a status says: what devices of claims a node sets aside, and digests of image volumes.
pub(crate) fn drop_in_status(status: &mut Value, old: &Value) {
    const ALLOCATABLE: &str = "nodeAllocatableResourceClaimStatuses";
    const STATUSES: [&str; 3] = [
        "initContainerStatuses",
        "containerStatuses",
        "ephemeralContainerStatuses",
    ];
    if list(old, ALLOCATABLE).is_empty() {
        take(status, ALLOCATABLE);
    }
    let mounts = |status| STATUSES.iter().flat_map(move |kind| list(status, kind));
    let mut mounts = mounts(old).flat_map(|c| list(c, "volumeMounts"));
    if mounts.any(|m| has(m, "volumeStatus")) {
        return;
    }
    for kind in STATUSES {
        for mount in items_mut(status, kind).flat_map(|c| items_mut(c, "volumeMounts")) {
            take(mount, "volumeStatus");
        }
    }
}
