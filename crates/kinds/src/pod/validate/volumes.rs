//! Volumes, and how containers mount them.

use super::{Scope, env};
use crate::check;
use crate::json::{get, has, int, is_true, list, number, quantity_text, string};
use crate::pod::defaults::VOLUME_SOURCES;
use meta::{Errors, Path, Quantity};
use serde_json::Value;

/// Checks all volumes of a pod spec and gives those without errors.
pub(super) fn volumes<'a>(spec: &'a Value, path: &Path, errors: &mut Errors) -> Vec<&'a Value> {
    let mut good: Vec<&Value> = Vec::new();
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        let path = path.child("volumes").index(i);
        let (mut own, name) = (Errors::new(), string(volume, "name"));
        sources(volume, &path, &mut own);
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
    }
    good
}

fn sources(volume: &Value, path: &Path, errors: &mut Errors) {
    let mut given = 0;
    for kind in VOLUME_SOURCES {
        let (source, path) = (get(volume, kind), path.child(kind));
        if source.is_null() {
            continue;
        }
        given += 1;
        if given > 1 {
            errors.forbidden(&path, "may not specify more than 1 volume type");
        } else {
            source_of(kind, source, &path, errors);
        }
    }
    if given == 0 {
        errors.required(path, "must specify a volume type");
    }
}

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
        "hostPath" => host_path(source, path, errors),
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
            downward(source, path, errors);
        }
        "projected" => projected(source, path, errors),
        "persistentVolumeClaim" => check::required(source, "claimName", path, errors),
        "nfs" => {
            check::required(source, "server", path, errors);
            check::required(source, "path", path, errors);
            let export = string(source, "path");
            if !export.is_empty() && !export.starts_with('/') {
                errors.invalid(&path.child("path"), export, "must be an absolute path");
            }
        }
        "csi" => check::required(source, "driver", path, errors),
        "image" => {
            check::required(source, "reference", path, errors);
            let pull = ["Always", "IfNotPresent", "Never"];
            check::one_of(source, "pullPolicy", &pull, true, path, errors);
        }
        "ephemeral" => {
            let (template, path) = (
                get(source, "volumeClaimTemplate"),
                path.child("volumeClaimTemplate"),
            );
            if template.is_null() {
                errors.required(&path, "");
            } else {
                claim_spec(get(template, "spec"), &path.child("spec"), errors);
            }
        }
        _ => {}
    }
}

fn host_path(source: &Value, path: &Path, errors: &mut Errors) {
    let host = string(source, "path");
    if host.is_empty() {
        errors.required(&path.child("path"), "");
    } else {
        no_backsteps(host, &path.child("path"), errors);
    }
    let kinds = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    check::one_of(source, "type", &kinds, false, path, errors);
}

/// File modes are octal numbers up to 0777.
fn mode(object: &Value, field: &str, path: &Path, errors: &mut Errors) {
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

fn key_paths(source: &Value, path: &Path, errors: &mut Errors) {
    for (i, item) in list(source, "items").iter().enumerate() {
        let path = path.child("items").index(i);
        check::required(item, "key", &path, errors);
        match string(item, "path") {
            "" => errors.required(&path.child("path"), ""),
            file => plain_file(file, &path.child("path"), errors),
        }
        mode(item, "mode", &path, errors);
    }
}

fn downward(source: &Value, path: &Path, errors: &mut Errors) {
    for (i, item) in list(source, "items").iter().enumerate() {
        let path = path.child("items").index(i);
        match string(item, "path") {
            "" => errors.required(&path.child("path"), ""),
            file => plain_file(file, &path.child("path"), errors),
        }
        let (field, resource) = (get(item, "fieldRef"), get(item, "resourceFieldRef"));
        if !field.is_null() {
            env::field_ref(field, &env::FILE_FIELDS, &path.child("fieldRef"), errors);
            if !resource.is_null() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(&path, "resource", detail);
            }
        } else if !resource.is_null() {
            env::resource_ref(resource, true, &path.child("resourceFieldRef"), errors);
        } else {
            errors.required(&path, "one of fieldRef and resourceFieldRef is required");
        }
        mode(item, "mode", &path, errors);
    }
}

fn projected(source: &Value, path: &Path, errors: &mut Errors) {
    mode(source, "defaultMode", path, errors);
    let mut taken: Vec<&str> = Vec::new();
    for (i, source) in list(source, "sources").iter().enumerate() {
        let at = path.child("sources").index(i);
        let mut given = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ] {
            let (part, at) = (get(source, kind), at.child(kind));
            if part.is_null() {
                continue;
            }
            given += 1;
            match kind {
                "secret" | "configMap" => {
                    check::required(part, "name", &at, errors);
                    key_paths(part, &at, errors);
                }
                "downwardAPI" => downward(part, &at, errors),
                "serviceAccountToken" => token(part, path, &at, errors),
                _ => {}
            }
            let own = std::iter::once(part).filter(|p| has(p, "path"));
            for file in list(part, "items").iter().chain(own).map(|p| string(p, "path")) {
                if taken.contains(&file) {
                    let shown = if string(part, "name").is_empty() {
                        file
                    } else {
                        string(part, "name")
                    };
                    errors.invalid(path, shown, "conflicting duplicate paths");
                } else if !file.is_empty() {
                    taken.push(file);
                }
            }
        }
        if given > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type per source");
        }
    }
}

fn token(token: &Value, volume: &Path, path: &Path, errors: &mut Errors) {
    let seconds = number(token, "expirationSeconds");
    let seconds_path = path.child("expirationSeconds");
    if seconds < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        errors.invalid(&seconds_path, seconds, detail);
    } else if seconds > 1 << 32 {
        let detail = "may not specify a duration larger than 2^32 seconds";
        errors.invalid(&seconds_path, seconds, detail);
    }
    // Upstream names the volume's path here, not the source's.
    match string(token, "path") {
        "" => errors.required(&volume.child("path"), ""),
        file => plain_file(file, &volume.child("path"), errors),
    }
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

/// A claim's spec inside a template: modes of access and a size.
pub(crate) fn claim_spec(spec: &Value, path: &Path, errors: &mut Errors) {
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        let detail = "at least 1 access mode is required";
        errors.required(&path.child("accessModes"), detail);
    }
    let allowed = [
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOnce",
        "ReadWriteOncePod",
    ];
    for mode in modes.iter().filter_map(Value::as_str) {
        if !allowed.contains(&mode) {
            errors.not_supported(&path.child("accessModes"), mode, &allowed);
        }
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden(&path.child("accessModes"), detail);
    }
    check::label_selector(get(spec, "selector"), &path.child("selector"), errors);
    let requests = get(get(spec, "resources"), "requests");
    let size_path = path.child("resources");
    match crate::json::some(requests, "storage") {
        None => errors.required(&size_path.key("storage"), ""),
        Some(size) => {
            let quantity = Quantity::parse(&quantity_text(size)).unwrap_or_default();
            if quantity <= Quantity::ZERO {
                let path = size_path.child("requests").key("storage");
                errors.invalid(&path, quantity_text(size), "must be greater than zero");
            }
        }
    }
    let class = string(spec, "storageClassName");
    if !class.is_empty() {
        check::dns_subdomain(&path.child("storageClassName"), class, errors);
    }
    check::one_of(spec, "volumeMode", &["Block", "Filesystem"], false, path, errors);
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
        recursive_read_only(mount, &path, errors);
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
    check::one_of(mount, "mountPropagation", &kinds, false, all, errors);
    let privileged = is_true(get(c, "securityContext"), "privileged");
    if string(mount, "mountPropagation") == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(&all.child("mountPropagation"), detail);
    }
}

fn recursive_read_only(mount: &Value, path: &Path, errors: &mut Errors) {
    let kinds = ["Disabled", "Enabled", "IfPossible"];
    check::one_of(mount, "recursiveReadOnly", &kinds, false, path, errors);
    let path = path.child("recursiveReadOnly");
    if !matches!(string(mount, "recursiveReadOnly"), "Enabled" | "IfPossible") {
        return;
    }
    if !is_true(mount, "readOnly") {
        errors.forbidden(&path, "may only be specified when readOnly is true");
    }
    if !matches!(string(mount, "mountPropagation"), "" | "None") {
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
        check::required(device, "devicePath", &path, errors);
        no_backsteps(place, &path.child("devicePath"), errors);
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
        for (seen, value, field) in [(&mut names, name, "name"), (&mut places, place, "devicePath")] {
            if seen.contains(&value) {
                errors.invalid(&path.child(field), value, "must be unique");
            }
            seen.push(value);
        }
        if mounts.iter().any(|m| string(m, "mountPath") == place) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(&path.child("devicePath"), place, detail);
        }
        if mounts.iter().any(|m| string(m, "name") == name) {
            let detail = "must not already exist in volumeMounts";
            errors.invalid(&path.child("name"), name, detail);
        }
    }
}

/// A path that stays below where it starts.
pub(super) fn descending(text: &str, path: &Path, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    no_backsteps(text, path, errors);
}

fn no_backsteps(text: &str, path: &Path, errors: &mut Errors) {
    if text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}

/// A file's place inside a volume; names that start with `..` are the volume's own.
fn plain_file(text: &str, path: &Path, errors: &mut Errors) {
    descending(text, path, errors);
    if text.starts_with("..") && !text.starts_with("../") && text != ".." {
        errors.invalid(path, text, "must not start with '..'");
    }
}
