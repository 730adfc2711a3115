//! What is wrong with a volume, and what may change in one.

use crate::check::{IMMUTABLE, dns_subdomain, immutable, one_of};
use crate::internal;
use crate::json::{get, has, items_mut, list, members, put, some, string};
use crate::pod::validate::{forbidden_name, node_selector, node_selector_shown};
use crate::row::text;
use crate::volumes::{
    Holder, check_class_and_mode, check_modes, check_size, check_source, no_backsteps, source_path,
};
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::{Map, Value};

/// Where the storage can be; a volume has exactly one of them.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];
const POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
pub(super) fn volume(object: &Value, errors: &mut Errors) {
    let (spec, root) = (get(object, "spec"), Path::new("spec"));
    check_modes(spec, &root, "", errors);
    capacity(spec, errors);
    let policy = "persistentVolumeReclaimPolicy";
    one_of(spec, policy, &POLICIES, false, &root, errors);
    affinity(spec, errors);
    let holder = Holder::Volume(text(object, "/metadata/name"));
    source(spec, holder, &root, errors);
    check_class_and_mode(spec, &root, errors);
    attributes_class(spec, &root, errors);
}

fn capacity(spec: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("capacity");
    let all: Vec<_> = members(spec, "capacity").collect();
    if all.is_empty() {
        errors.required(&path, "");
    }
    if all.len() != 1 || all[0].0 != "storage" {
        let given = some(spec, "capacity").cloned().unwrap_or(Value::Null);
        errors.not_supported(&path, given, &["storage"]);
    }
    for (name, size) in all {
        let text = crate::json::quantity_text(size);
        let whole = meta::Quantity::parse(&text).map_or(0, meta::Quantity::value);
        if whole < 0 {
            errors.invalid(&path.key(name), whole, "must be a valid resource quantity");
        }
        check_size(size, &path.key(name), errors);
    }
}

/// What stands in the place of a volume where a pod names none (VolumeAttachment).
pub(crate) fn inline_spec(spec: &Value, path: &Path, errors: &mut Errors) {
    const INLINE: &str = "in the context of inline volumes";
    let may_not = format!("may not be specified {INLINE}");
    for field in ["claimRef", "capacity"] {
        if some(spec, field).is_some_and(|v| {
            v.as_object()
                .is_none_or(|map| field != "capacity" || !map.is_empty())
        }) {
            errors.forbidden(&path.child(field), &may_not);
        }
    }
    if !has(spec, "csi") {
        let detail = format!("has to be specified {INLINE}");
        errors.required(&path.child("csi"), &detail);
    }
    check_modes(spec, path, "", errors);
    let policy = "persistentVolumeReclaimPolicy";
    if !matches!(string(spec, policy), "" | "Retain") {
        let detail = format!("may only be Retain {INLINE}");
        errors.forbidden(&path.child(policy), &detail);
    }
    if has(spec, "nodeAffinity") {
        errors.forbidden(&path.child("nodeAffinity"), &may_not);
    }
    source(spec, Holder::Volume(""), path, errors);
    if !string(spec, "storageClassName").is_empty() {
        errors.forbidden(&path.child("storageClassName"), &may_not);
    }
    if get(spec, "volumeMode")
        .as_str()
        .is_some_and(|mode| mode != "Filesystem")
    {
        let detail = format!("may not specify volumeMode other than Filesystem {INLINE}");
        errors.forbidden(&path.child("volumeMode"), &detail);
    }
}

fn source(spec: &Value, holder: Holder, root: &Path, errors: &mut Errors) {
    let given: Vec<&str> = SOURCES.iter().copied().filter(|s| has(spec, s)).collect();
    for (i, kind) in given.iter().copied().enumerate() {
        // Upstream never counts this one against those before it.
        if i > 0 && kind != "flexVolume" {
            let path = root.child(forbidden_name(kind));
            errors.forbidden(&path, "may not specify more than 1 volume type");
            continue;
        }
        let (body, path) = (get(spec, kind), source_path(kind, root));
        check_source(kind, body, holder, &path, errors);
        if kind == "local" {
            local(spec, body, (root, &path), errors);
        }
    }
    if given.is_empty() {
        errors.required(root, "must specify a volume type");
    }
    let folder = string(get(spec, "hostPath"), "path");
    let is_root = folder.starts_with('/') && folder.split('/').all(|part| matches!(part, "" | "." | ".."));
    if is_root && string(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let path = root.child("persistentVolumeReclaimPolicy");
        errors.forbidden(&path, "may not be 'recycle' for a hostPath mount of '/'");
    }
}

fn local(spec: &Value, body: &Value, (root, path): (&Path, &Path), errors: &mut Errors) {
    match string(body, "path") {
        "" => errors.required(&path.child("path"), ""),
        folder => no_backsteps(folder, &path.child("path"), errors),
    }
    if !has(spec, "nodeAffinity") {
        let path = root.child("nodeAffinity");
        errors.required(&path, "Local volume requires node affinity");
    }
}

/// Labels that had another name before they were stable.
const STABLE_LABELS: [(&str, &str); 5] = [
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    (
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
    ),
];

/// Where a volume can be used stays, but old labels may become the stable ones.
fn affinity_update(new: &Value, before: &Value, errors: &mut Errors) {
    let field = "nodeAffinity";
    let (now, mut was) = (get(new, field), get(before, field).clone());
    if was.is_null() {
        return;
    }
    for (i, term) in items(&mut was).enumerate() {
        let terms = crate::json::at(now, "/required/nodeSelectorTerms");
        for (j, e) in items_mut(term, "matchExpressions").enumerate() {
            let key = terms.get(i).map_or("", |t| {
                list(t, "matchExpressions")
                    .get(j)
                    .map_or("", |e| string(e, "key"))
            });
            // What has no stable name, upstream lets go to no name at all; that is refused elsewhere.
            let has_stable = STABLE_LABELS.iter().any(|(old, _)| *old == string(e, "key"));
            if STABLE_LABELS.contains(&(string(e, "key"), key)) || (key.is_empty() && !has_stable) {
                let key = key.to_string();
                put(e, "key", key);
            }
        }
    }
    if !internal::same("VolumeNodeAffinity", now, &was) {
        let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
        let required = match get(now, "required") {
            Value::Null => Shown("null".into()),
            selector => node_selector_shown(selector),
        };
        let shown = match now.is_null() {
            true => Shown("null".into()),
            false => Shown(format!("{{\"Required\":{}}}", required.0)),
        };
        errors.invalid(&Path::new(field), shown, &detail);
    }
}

fn items(affinity: &mut Value) -> impl Iterator<Item = &mut Value> {
    let terms = affinity.pointer_mut("/required/nodeSelectorTerms");
    terms.and_then(Value::as_array_mut).into_iter().flatten()
}

fn attributes_class(spec: &Value, root: &Path, errors: &mut Errors) {
    let field = "volumeAttributesClassName";
    if !has(spec, field) {
        return;
    }
    match string(spec, field) {
        "" => errors.required(&root.child(field), "an empty string is disallowed"),
        class => dns_subdomain(&root.child(field), class, errors),
    }
    if !has(spec, "csi") {
        let detail = "has to be specified when using volumeAttributesClassName";
        errors.required(&root.child("csi"), detail);
    }
}

fn affinity(spec: &Value, errors: &mut Errors) {
    let Some(affinity) = some(spec, "nodeAffinity") else {
        return;
    };
    let path = Path::new("spec").child("nodeAffinity").child("required");
    match some(affinity, "required") {
        None => errors.required(&path, "must specify required node constraints"),
        Some(required) => node_selector(required, &path, errors),
    }
}

pub(super) fn update(object: &Value, old: &Value, errors: &mut Errors) {
    let root = Path::new("spec");
    let (new, before) = (get(object, "spec"), get(old, "spec"));
    let sources = |spec: &Value| -> Value {
        let given = SOURCES
            .iter()
            .filter_map(|s| Some((s.to_string(), some(spec, s)?.clone())));
        Value::Object(given.collect::<Map<_, _>>())
    };
    let (mut now, was) = (sources(new), sources(before));
    // The Secret for growing may be named later.
    let secret = "controllerExpandSecretRef";
    if has(&was, "csi")
        && !has(get(&was, "csi"), secret)
        && let Some(csi) = crate::json::child_mut(&mut now, "csi")
    {
        crate::json::take(csi, secret);
    }
    if let Some(difference) = internal::difference("PersistentVolumeSource", &was, &now) {
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
        errors.forbidden(&root.child("persistentvolumesource"), &detail);
    }
    // Upstream leaves `spec` out of these two paths.
    let mode = "volumeMode";
    immutable(get(new, mode), get(before, mode), &Path::new(mode), errors);
    affinity_update(new, before, errors);
    let class = "volumeAttributesClassName";
    if has(before, class) && !has(new, class) {
        let detail = "update from non-nil value to nil is forbidden";
        errors.forbidden(&root.child(class), detail);
    }
}
