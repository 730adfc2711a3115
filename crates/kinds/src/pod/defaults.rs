//! Defaults of pods and pod templates, the same for both unless said otherwise. Source: core/v1 API reference.

use crate::json::{
    child_mut, ensure_object, get, has, int, is_true, items_mut, list, number, put, put_default, put_nonzero,
    quantity_text, string,
};
use meta::Quantity;
use serde_json::{Value, json};

/// Defaults of a whole pod: those of a template, and what only a pod gets.
pub(super) fn pod(object: &mut Value) {
    let Some(spec) = ensure_object(object, "spec") else {
        return;
    };
    // As the API has always read a negative one; templates keep theirs.
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        put(spec, "terminationGracePeriodSeconds", 1);
    }
    let host_network = is_true(spec, "hostNetwork");
    for kind in ["containers", "initContainers"] {
        for container in items_mut(spec, kind) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    super::whole::default(spec);
    put_default(spec, "enableServiceLinks", true);
    pod_spec(spec);
}

/// Defaults of a `PodTemplateSpec` (member `template` of a workload's spec).
pub fn template(workload_spec: &mut Value) {
    let Some(template) = ensure_object(workload_spec, "template") else {
        return;
    };
    ensure_object(template, "metadata");
    if let Some(spec) = ensure_object(template, "spec") {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Value) {
    put_default(spec, "dnsPolicy", "ClusterFirst");
    put_default(spec, "restartPolicy", "Always");
    put_default(spec, "schedulerName", "default-scheduler");
    put_default(spec, "securityContext", json!({}));
    put_default(spec, "terminationGracePeriodSeconds", 30);
    let account = string(spec, "serviceAccountName").to_string();
    let alias = string(spec, "serviceAccount").to_string();
    if !account.is_empty() {
        put(spec, "serviceAccount", account);
    } else if !alias.is_empty() {
        put(spec, "serviceAccountName", alias);
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        items_mut(spec, kind).for_each(container);
    }
    for v in items_mut(spec, "volumes") {
        volume(v);
    }
    if let Some(overhead) = child_mut(spec, "overhead") {
        canonical(overhead);
    }
    if let Some(resources) = child_mut(spec, "resources") {
        canonical_resources(resources);
    }
}

fn container(c: &mut Value) {
    let image = string(c, "image").to_string();
    put_default(c, "imagePullPolicy", super::image::pull_policy(&image));
    put_default(c, "terminationMessagePath", "/dev/termination-log");
    put_default(c, "terminationMessagePolicy", "File");
    if let Some(resources) = ensure_object(c, "resources") {
        canonical_resources(resources);
    }
    for port in items_mut(c, "ports") {
        put_default(port, "protocol", "TCP");
    }
    for env in items_mut(c, "env") {
        if let Some(from) = child_mut(env, "valueFrom") {
            sources(from);
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = child_mut(c, kind) {
            probe(p);
        }
    }
    if let Some(lifecycle) = child_mut(c, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = child_mut(lifecycle, hook) {
                handler(hook);
            }
        }
    }
}

/// `fieldRef` and `resourceFieldRef`, in an environment variable or a downward API file.
fn sources(from: &mut Value) {
    if let Some(field) = child_mut(from, "fieldRef") {
        put_default(field, "apiVersion", "v1");
    }
    if let Some(key) = child_mut(from, "fileKeyRef") {
        put_default(key, "optional", false);
    }
    if let Some(resource) = child_mut(from, "resourceFieldRef") {
        let divisor = match get(resource, "divisor") {
            Value::Null => "0".to_string(),
            given => {
                let text = quantity_text(given);
                Quantity::canonical(&text).unwrap_or(text)
            }
        };
        put(resource, "divisor", divisor);
    }
}

fn probe(p: &mut Value) {
    put_nonzero(p, "timeoutSeconds", 1);
    put_nonzero(p, "periodSeconds", 10);
    put_nonzero(p, "successThreshold", 1);
    put_nonzero(p, "failureThreshold", 3);
    handler(p);
}

fn handler(h: &mut Value) {
    if let Some(http) = child_mut(h, "httpGet") {
        put_default(http, "path", "/");
        put_default(http, "scheme", "HTTP");
    }
    if let Some(grpc) = child_mut(h, "grpc") {
        put_default(grpc, "service", "");
    }
}

/// What is limited but not requested is requested as much as the limit.
fn requests_from_limits(c: &mut Value) {
    let Some(resources) = child_mut(c, "resources") else {
        return;
    };
    let Some(limits) = get(resources, "limits").as_object().cloned() else {
        return;
    };
    if let Some(requests) = ensure_object(resources, "requests") {
        for (name, limit) in limits {
            put_default(requests, &name, limit);
        }
    }
}

/// On the host's network a container's port is the host's.
fn host_ports(c: &mut Value) {
    for port in items_mut(c, "ports") {
        let container_port = number(port, "containerPort");
        if container_port != 0 {
            put_nonzero(port, "hostPort", container_port);
        }
    }
}

fn canonical_resources(resources: &mut Value) {
    for list in ["limits", "requests"] {
        if let Some(quantities) = child_mut(resources, list) {
            canonical(quantities);
        }
    }
}

/// Every quantity of a resource list in canonical form, rounded up to milli-units; texts that are none stay.
pub(crate) fn canonical(quantities: &mut Value) {
    for (_, value) in quantities.as_object_mut().into_iter().flatten() {
        let text = quantity_text(value);
        if let Some(text) = Quantity::canonical(&text) {
            *value = text.into();
        }
    }
}

/// Volume sources, as the API names them.
pub(crate) const VOLUME_SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

fn volume(v: &mut Value) {
    if !VOLUME_SOURCES.iter().any(|source| has(v, source)) {
        put(v, "emptyDir", json!({}));
    }
    if let Some(limit) = child_mut(v, "emptyDir").and_then(|empty| child_mut(empty, "sizeLimit"))
        && let Some(text) = Quantity::canonical(&quantity_text(limit))
    {
        *limit = text.into();
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = child_mut(v, source) {
            put_default(source, "defaultMode", 0o644);
        }
    }
    if let Some(downward) = child_mut(v, "downwardAPI") {
        items_mut(downward, "items").for_each(sources);
    }
    if let Some(projected) = child_mut(v, "projected") {
        for source in items_mut(projected, "sources") {
            if let Some(token) = child_mut(source, "serviceAccountToken") {
                put_default(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = child_mut(source, "downwardAPI") {
                items_mut(downward, "items").for_each(sources);
            }
        }
    }
    if let Some(host) = child_mut(v, "hostPath") {
        put_default(host, "type", "");
    }
    disks(v);
    if let Some(image) = child_mut(v, "image") {
        let reference = string(image, "reference").to_string();
        put_default(image, "pullPolicy", super::image::pull_policy(&reference));
    }
    if let Some(claim) = child_mut(v, "ephemeral")
        .and_then(|e| child_mut(e, "volumeClaimTemplate"))
        .and_then(|t| child_mut(t, "spec"))
    {
        claim_spec(claim);
    }
}

/// Sources that pods and persistent volumes have alike.
pub(crate) fn disks(v: &mut Value) {
    if let Some(disk) = child_mut(v, "azureDisk") {
        put_default(disk, "cachingMode", "ReadWrite");
        put_default(disk, "kind", "Shared");
        put_default(disk, "fsType", "ext4");
        put_default(disk, "readOnly", false);
    }
    if let Some(disk) = child_mut(v, "scaleIO") {
        put_default(disk, "storageMode", "ThinProvisioned");
        put_default(disk, "fsType", "xfs");
    }
    if let Some(iscsi) = child_mut(v, "iscsi") {
        put_default(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = child_mut(v, "rbd") {
        put_default(rbd, "pool", "rbd");
        put_default(rbd, "user", "admin");
        put_default(rbd, "keyring", "/etc/ceph/keyring");
    }
}

/// Defaults of a claim's spec, in a claim or in a template of one.
pub(crate) fn claim_spec(spec: &mut Value) {
    put_default(spec, "volumeMode", "Filesystem");
    if let Some(resources) = ensure_object(spec, "resources") {
        canonical_resources(resources);
    }
}

/// The container lists of a pod spec.
pub(crate) fn all_containers(spec: &Value) -> impl Iterator<Item = &Value> {
    list(spec, "initContainers")
        .iter()
        .chain(list(spec, "containers"))
}
