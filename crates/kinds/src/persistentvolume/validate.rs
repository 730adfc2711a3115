//! What is wrong with a volume, and what may change in one.

use crate::check::{immutable, one_of};
use crate::json::{get, has, list, members, some, string};
use crate::persistentvolumeclaim::changed;
use crate::volumes::{check_class_and_mode, check_modes, check_size};
use meta::{Errors, Path};
use serde_json::{Map, Value};

/// Where the storage can be; a volume has exactly one of them.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "flocker",
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
/// What `hostPath.type` may be.
const PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

pub(super) fn volume(object: &Value, errors: &mut Errors) {
    let (spec, root) = (get(object, "spec"), Path::new("spec"));
    check_modes(spec, "", errors);
    capacity(spec, errors);
    let policy = "persistentVolumeReclaimPolicy";
    one_of(spec, policy, &POLICIES, false, &root, errors);
    affinity(spec, errors);
    source(spec, errors);
    check_class_and_mode(spec, errors);
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
        check_size(size, &path.key(name), errors);
    }
}

fn source(spec: &Value, errors: &mut Errors) {
    let root = Path::new("spec");
    let given: Vec<&str> = SOURCES.iter().copied().filter(|s| has(spec, s)).collect();
    if given.is_empty() {
        errors.required(&root, "must specify a volume type");
    }
    for more in given.iter().skip(1) {
        errors.forbidden(&root.child(more), "may not specify more than 1 volume type");
    }
    let Some(first) = given.first() else { return };
    let (body, path) = (get(spec, first), root.child(first));
    match *first {
        "hostPath" => host_path(spec, body, &path, errors),
        "local" => local(spec, body, &path, errors),
        "nfs" => nfs(body, &path, errors),
        "csi" => {
            for field in ["driver", "volumeHandle"] {
                crate::check::required(body, field, &path, errors);
            }
        }
        _ => {}
    }
}

fn host_path(spec: &Value, body: &Value, path: &Path, errors: &mut Errors) {
    let (folder, kind) = (string(body, "path"), string(body, "type"));
    if folder.is_empty() {
        errors.required(&path.child("path"), "");
    } else {
        no_back_steps(folder, &path.child("path"), errors);
    }
    if !PATH_TYPES.contains(&kind) {
        errors.not_supported(&path.child("type"), kind, &PATH_TYPES);
    }
    let is_root = !folder.is_empty() && folder.split('/').all(|part| part.is_empty() || part == ".");
    if is_root && string(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let path = Path::new("spec").child("persistentVolumeReclaimPolicy");
        errors.forbidden(&path, "may not be 'recycle' for a hostPath mount of '/'");
    }
}

fn local(spec: &Value, body: &Value, path: &Path, errors: &mut Errors) {
    let folder = string(body, "path");
    if folder.is_empty() {
        errors.required(&path.child("path"), "");
    } else {
        no_back_steps(folder, &path.child("path"), errors);
    }
    if !has(spec, "nodeAffinity") {
        let path = Path::new("metadata").child("annotations");
        errors.required(&path, "Local volume requires node affinity");
    }
}

fn nfs(body: &Value, path: &Path, errors: &mut Errors) {
    for field in ["server", "path"] {
        crate::check::required(body, field, path, errors);
    }
    let folder = string(body, "path");
    if !folder.is_empty() && !folder.starts_with('/') {
        errors.invalid(&path.child("path"), folder, "must be an absolute path");
    }
}

fn no_back_steps(folder: &str, path: &Path, errors: &mut Errors) {
    if folder.split('/').any(|part| part == "..") {
        errors.invalid(path, folder, "must not contain '..'");
    }
}

fn affinity(spec: &Value, errors: &mut Errors) {
    let Some(affinity) = some(spec, "nodeAffinity") else {
        return;
    };
    let path = Path::new("spec").child("nodeAffinity").child("required");
    match some(affinity, "required") {
        None => errors.required(&path, "must specify required node constraints"),
        Some(required) if list(required, "nodeSelectorTerms").is_empty() => {
            let detail = "must have at least one node selector term";
            errors.required(&path.child("nodeSelectorTerms"), detail);
        }
        Some(_) => {}
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
    if sources(new) != sources(before) {
        let detail = format!(
            "spec.persistentvolumesource is immutable after creation\n{}",
            changed(&sources(before), &sources(new))
        );
        errors.forbidden(&root.child("persistentvolumesource"), &detail);
    }
    let mode = "volumeMode";
    immutable(get(new, mode), get(before, mode), &root.child(mode), errors);
    let affinity = "nodeAffinity";
    if has(before, affinity) {
        let path = root.child(affinity);
        immutable(get(new, affinity), get(before, affinity), &path, errors);
    }
}
