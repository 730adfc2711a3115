//! Volumes, and how containers mount them.

use super::{Scope, env, projected};
use crate::check;
use crate::json::{get, has, int, is_true, list, quantity_text, string};
use crate::pod::defaults::VOLUME_SOURCES;
use crate::volumes::{Holder, check_claim, check_iscsi_name, check_source, descending, source_path};
use meta::{Errors, Path, Quantity};
use serde_json::Value;

/// Checks all volumes of a pod spec and gives those without errors. `pod` is the pod itself, unless it is a template.
pub(super) fn volumes<'a>(
    spec: &'a Value,
    pod: Option<&Value>,
    path: &Path,
    errors: &mut Errors,
) -> Vec<&'a Value> {
    let all = list(spec, "volumes");
    let pod_name = pod.map_or("", |pod| crate::row::text(pod, "/metadata/name"));
    let claim_of = |volume: &Value| format!("{pod_name}-{}", string(volume, "name"));
    let made = |claim: &str| {
        let mut made = all.iter().filter(|v| has(v, "ephemeral"));
        !pod_name.is_empty() && made.any(|v| claim_of(v) == claim)
    };
    let mut good: Vec<&Value> = Vec::new();
    for (i, volume) in all.iter().enumerate() {
        let path = path.child("volumes").index(i);
        let (mut own, name) = (Errors::new(), string(volume, "name"));
        sources(volume, pod, &path, &mut own);
        if name.is_empty() {
            own.required(&path.child("name"), "");
        } else {
            check::dns_label(&path.child("name"), name, &mut own);
        }
        if good.iter().any(|v| string(v, "name") == name) {
            own.duplicate(&path.child("name"), name);
        }
        if own.is_empty() {
            good.push(volume);
        }
        errors.append(own);
        let claim = string(get(volume, "persistentVolumeClaim"), "claimName");
        if has(volume, "persistentVolumeClaim") && made(claim) {
            let path = path.child("persistentVolumeClaim").child("claimName");
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&path, claim, detail);
        }
    }
    good
}

fn sources(volume: &Value, pod: Option<&Value>, path: &Path, errors: &mut Errors) {
    let mut given = 0;
    for kind in VOLUME_SOURCES {
        let source = get(volume, kind);
        if source.is_null() {
            continue;
        }
        given += 1;
        let name = string(volume, "name");
        if given > 1 {
            errors.forbidden(
                &path.child(forbidden_name(kind)),
                "may not specify more than 1 volume type",
            );
            if kind == "iscsi" {
                check_iscsi_name(name, source, path, errors);
            }
            continue;
        }
        let own = source_path(kind, path);
        match kind {
            "ephemeral" => ephemeral(volume, source, pod, path, errors),
            "image" => image(source, pod.is_some(), &own, errors),
            _ => source_of(kind, source, &own, errors),
        }
        check_source(kind, source, Holder::Pod, &own, errors);
        if kind == "iscsi" {
            check_iscsi_name(name, source, path, errors);
        }
    }
    if given == 0 {
        errors.required(path, "must specify a volume type");
    }
}

/// What upstream calls a source that is one too many, its slips included.
pub(crate) fn forbidden_name(kind: &str) -> &str {
    match kind {
        "cephfs" => "cephFS",
        "downwardAPI" => "downwarAPI",
        kind => kind,
    }
}

/// Sources that only pods have.
fn source_of(kind: &str, source: &Value, path: &Path, errors: &mut Errors) {
    match kind {
        "emptyDir" => {
            let limit = get(source, "sizeLimit");
            let negative = Quantity::parse(&quantity_text(limit)).is_some_and(Quantity::is_negative);
            if negative {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.forbidden(&path.child("sizeLimit"), detail);
            }
        }
        "secret" => {
            check::required(source, "secretName", path, errors);
            files(source, path, errors);
        }
        "configMap" => {
            check::required(source, "name", path, errors);
            files(source, path, errors);
        }
        "downwardAPI" => {
            mode(source, "defaultMode", path, errors);
            for file in list(source, "items") {
                downward_file(file, path, errors);
            }
        }
        "projected" => {
            mode(source, "defaultMode", path, errors);
            projected::sources(source, path, errors);
        }
        "persistentVolumeClaim" => check::required(source, "claimName", path, errors),
        _ => {}
    }
}

/// An image may be left out of a template, for someone to fill in.
fn image(source: &Value, of_pod: bool, path: &Path, errors: &mut Errors) {
    if of_pod {
        check::required(source, "reference", path, errors);
    }
    let pull = ["Always", "IfNotPresent", "Never"];
    check::one_of(source, "pullPolicy", &pull, true, path, errors);
}

/// Metadata that a template of claims does not have, in upstream's order.
const NOT_IN_TEMPLATES: [&str; 13] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

fn ephemeral(volume: &Value, source: &Value, pod: Option<&Value>, path: &Path, errors: &mut Errors) {
    let template = get(source, "volumeClaimTemplate");
    let own = path.child("ephemeral").child("volumeClaimTemplate");
    if template.is_null() {
        errors.required(&own, "");
    } else {
        let (metadata, at) = (get(template, "metadata"), own.child("metadata"));
        check::annotations(metadata, &at.child("annotations"), errors);
        check::labels(metadata, "labels", &at.child("labels"), errors);
        for field in NOT_IN_TEMPLATES {
            if has(metadata, field) {
                // Upstream makes the name of the field from Go's.
                let name = if field == "uid" { "uID" } else { field };
                errors.forbidden(&at.child(name), "cannot be set");
            }
        }
        check_claim(get(template, "spec"), &own.child("spec"), errors);
    }
    let name = string(volume, "name");
    let pod = pod.map_or("", |pod| crate::row::text(pod, "/metadata/name"));
    if pod.is_empty() || name.is_empty() {
        return;
    }
    let claim = format!("{pod}-{name}");
    for message in meta::name::check_dns1123_subdomain(&claim) {
        let detail = format!("PVC name {claim:?}: {message}");
        errors.invalid(&path.child("name"), name, &detail);
    }
}

/// File modes are octal numbers up to 0777.
pub(super) fn mode(object: &Value, field: &str, path: &Path, errors: &mut Errors) {
    if let Some(mode) = int(object, field)
        && !(0..=0o777).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(&path.child(field), mode, detail);
    }
}

/// Files of a Secret or ConfigMap.
fn files(source: &Value, path: &Path, errors: &mut Errors) {
    mode(source, "defaultMode", path, errors);
    key_paths(source, path, errors);
}

pub(super) fn key_paths(source: &Value, path: &Path, errors: &mut Errors) {
    for (i, item) in list(source, "items").iter().enumerate() {
        let path = path.child("items").index(i);
        check::required(item, "key", &path, errors);
        check::required(item, "path", &path, errors);
        plain_file(string(item, "path"), &path.child("path"), errors);
        mode(item, "mode", &path, errors);
    }
}

/// Upstream names the volume, not the file, in what it says of one file.
pub(super) fn downward_file(file: &Value, path: &Path, errors: &mut Errors) {
    check::required(file, "path", path, errors);
    plain_file(string(file, "path"), &path.child("path"), errors);
    let (field, resource) = (get(file, "fieldRef"), get(file, "resourceFieldRef"));
    if !field.is_null() {
        env::field_ref(field, &env::FILE_FIELDS, &path.child("fieldRef"), errors);
        if !resource.is_null() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid(path, "resource", detail);
        }
    } else if !resource.is_null() {
        env::resource_ref(resource, true, &path.child("resourceFieldRef"), errors);
    } else {
        errors.required(path, "one of fieldRef and resourceFieldRef is required");
    }
    mode(file, "mode", path, errors);
}

/// A token needs an account to speak for.
pub(super) fn no_tokens(spec: &Value, path: &Path, errors: &mut Errors) {
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        for (j, source) in list(get(volume, "projected"), "sources").iter().enumerate() {
            if has(source, "serviceAccountToken") {
                let path = path.child("volumes").index(i).child("projected").child("sources");
                let detail = "must not be specified when serviceAccountName is not set";
                errors.forbidden(&path.index(j).child("serviceAccountToken"), detail);
            }
        }
    }
}

pub(super) fn mounts(scope: &Scope, c: &Value, path: &Path, errors: &mut Errors) {
    let (devices, all) = (list(c, "volumeDevices"), path.child("volumeMounts"));
    let mut places = Vec::new();
    for (i, mount) in list(c, "volumeMounts").iter().enumerate() {
        let path = all.index(i);
        let (name, place) = (string(mount, "name"), string(mount, "mountPath"));
        check::required(mount, "name", &path, errors);
        if !scope.volumes.iter().any(|v| string(v, "name") == name) {
            errors.not_found(&path.child("name"), name);
        }
        check::required(mount, "mountPath", &path, errors);
        if places.contains(&place) {
            errors.invalid(&path.child("mountPath"), place, "must be unique");
        }
        places.push(place);
        if devices.iter().any(|d| string(d, "name") == name) {
            let detail = "must not already exist in volumeDevices";
            errors.invalid(&path.child("name"), name, detail);
        }
        if devices.iter().any(|d| string(d, "devicePath") == place) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&path.child("mountPath"), place, detail);
        }
        sub_paths(mount, &all, &path, errors);
        propagation(c, mount, &all, errors);
        recursive_read_only(mount, &all, errors);
    }
}

/// Upstream names the list, not the mount, in what it says of the content of sub-paths.
fn sub_paths(mount: &Value, all: &Path, path: &Path, errors: &mut Errors) {
    let (plain, expression) = (string(mount, "subPath"), string(mount, "subPathExpr"));
    if !plain.is_empty() {
        descending(plain, &all.child("subPath"), errors);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&path.child("subPathExpr"), expression, detail);
        }
        descending(expression, &all.child("subPathExpr"), errors);
    }
}

fn propagation(c: &Value, mount: &Value, all: &Path, errors: &mut Errors) {
    let kinds = ["Bidirectional", "HostToContainer", "None"];
    check::one_of_given(mount, "mountPropagation", &kinds, all, errors);
    let privileged = is_true(get(c, "securityContext"), "privileged");
    if string(mount, "mountPropagation") == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(&all.child("mountPropagation"), detail);
    }
}

fn recursive_read_only(mount: &Value, path: &Path, errors: &mut Errors) {
    let kinds = ["Disabled", "Enabled", "IfPossible"];
    check::one_of_given(mount, "recursiveReadOnly", &kinds, path, errors);
    let path = path.child("recursiveReadOnly");
    if !matches!(string(mount, "recursiveReadOnly"), "Enabled" | "IfPossible") {
        return;
    }
    if !is_true(mount, "readOnly") {
        errors.forbidden(&path, "may only be specified when readOnly is true");
    }
    if has(mount, "mountPropagation") && string(mount, "mountPropagation") != "None" {
        let detail = "may only be specified when mountPropagation is None or not specified";
        errors.forbidden(&path, detail);
    }
}

pub(super) fn devices(scope: &Scope, c: &Value, path: &Path, errors: &mut Errors) {
    let mounts = list(c, "volumeMounts");
    let (mut names, mut places) = (Vec::new(), Vec::new());
    for (i, device) in list(c, "volumeDevices").iter().enumerate() {
        let path = path.child("volumeDevices").index(i);
        let (name, place) = (string(device, "name"), string(device, "devicePath"));
        check::required(device, "name", &path, errors);
        if names.contains(&name) {
            errors.invalid(&path.child("name"), name, "must be unique");
        }
        match scope.volumes.iter().find(|v| string(v, "name") == name) {
            None => errors.not_found(&path.child("name"), name),
            Some(volume) => {
                // A claim template of a StatefulSet has no source of its own.
                let plain = VOLUME_SOURCES.iter().any(|s| has(volume, s));
                let block = has(volume, "persistentVolumeClaim") || has(volume, "ephemeral");
                if plain && !block {
                    let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    errors.invalid(&path.child("name"), name, detail);
                }
            }
        }
        check::required(device, "devicePath", &path, errors);
        if places.contains(&place) {
            errors.invalid(&path.child("devicePath"), place, "must be unique");
        }
        if place.split('/').any(|part| part == "..") {
            errors.invalid(
                &path.child("devicePath"),
                place,
                "can not contain backsteps ('..')",
            );
        } else {
            places.push(place);
        }
        if mounts.iter().any(|m| string(m, "name") == name) {
            let detail = "must not already exist in volumeMounts";
            errors.invalid(&path.child("name"), name, detail);
        }
        if mounts.iter().any(|m| string(m, "mountPath") == place) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(&path.child("devicePath"), place, detail);
        }
        if !name.is_empty() {
            names.push(name);
        }
    }
}

/// A file's place inside a volume; names that start with `..` are the volume's own.
pub(super) fn plain_file(text: &str, path: &Path, errors: &mut Errors) {
    descending(text, path, errors);
    if text.starts_with("..") && !text.starts_with("../") {
        errors.invalid(path, text, "must not start with '..'");
    }
}
