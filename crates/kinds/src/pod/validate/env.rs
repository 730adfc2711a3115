//! Environment variables and where their values come from.

use crate::check;
use crate::json::{get, has, list, quantity_text, some, string};
use crate::volumes::no_backsteps;
use meta::{Errors, Path, Quantity};
use serde_json::Value;

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that a downward API file can show.
pub(super) const FILE_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn env(vars: &[Value], path: &Path, errors: &mut Errors) {
    for (i, var) in vars.iter().enumerate() {
        let path = path.index(i);
        match string(var, "name") {
            "" => errors.required(&path.child("name"), ""),
            name => variable_name(name, &path.child("name"), errors),
        }
        if has(var, "valueFrom") {
            value_from(var, &path.child("valueFrom"), errors);
        }
    }
}

fn variable_name(name: &str, path: &Path, errors: &mut Errors) {
    let printable = |c: char| c.is_ascii() && !c.is_ascii_control() && c != '=';
    if !name.chars().all(printable) {
        let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.invalid(path, name, detail);
    }
}

fn value_from(var: &Value, path: &Path, errors: &mut Errors) {
    let from = get(var, "valueFrom");
    let mut sources = 0;
    let mut each = |field: &str| {
        let given = has(from, field);
        sources += usize::from(given);
        given.then(|| (get(from, field), path.child(field)))
    };
    if let Some((field, path)) = each("fieldRef") {
        field_ref(field, &ENV_FIELDS, &path, errors);
    }
    if let Some((resource, path)) = each("resourceFieldRef") {
        resource_ref(resource, false, &path, errors);
    }
    for field in ["configMapKeyRef", "secretKeyRef"] {
        if let Some((selector, path)) = each(field) {
            check::dns_subdomain(&path.child("name"), string(selector, "name"), errors);
            key(selector, &path, errors);
        }
    }
    if let Some((file, path)) = each("fileKeyRef") {
        file_key(file, &path, errors);
    }
    if sources == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid(path, "", detail);
    } else if !string(var, "value").is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        let detail = "may not have more than one field specified at a time";
        errors.invalid(path, "", detail);
    }
}

/// A variable in a file that an init container wrote.
fn file_key(file: &Value, path: &Path, errors: &mut Errors) {
    for field in ["key", "volumeName", "path"] {
        let (text, path) = (string(file, field), path.child(field));
        match field {
            _ if text.is_empty() => errors.required(&path, ""),
            "key" => variable_name(text, &path, errors),
            "volumeName" => check::dns_label(&path, text, errors),
            _ => no_backsteps(text, &path, errors),
        }
    }
}

/// Such files are in volumes that live as long as the pod.
pub(super) fn files_of_volumes(spec: &Value, path: &Path, errors: &mut Errors) {
    for (container, path) in super::containers_with_paths(spec, path) {
        for (i, var) in list(container, "env").iter().enumerate() {
            let Some(file) = some(get(var, "valueFrom"), "fileKeyRef") else {
                continue;
            };
            let name = string(file, "volumeName");
            let from = path.child("env").index(i).child("valueFrom");
            let path = from.child("fileKeyRef").child("volumeName");
            match list(spec, "volumes").iter().rfind(|v| string(v, "name") == name) {
                None => errors.not_found(&path, name),
                Some(volume) if !has(volume, "emptyDir") => {
                    errors.invalid(&path, name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    }
}

fn key(selector: &Value, path: &Path, errors: &mut Errors) {
    match string(selector, "key") {
        "" => errors.required(&path.child("key"), ""),
        key => crate::configmap::check_key(key, &path.child("key"), errors),
    }
}

/// A field of the pod, possibly one entry of its labels or annotations: `metadata.labels['app']`.
pub(super) fn field_ref(field: &Value, allowed: &[&str], path: &Path, errors: &mut Errors) {
    let version = string(field, "apiVersion");
    let name = string(field, "fieldPath");
    let name_path = path.child("fieldPath");
    if version.is_empty() {
        errors.required(&path.child("apiVersion"), "");
        return;
    }
    if name.is_empty() {
        errors.required(&name_path, "");
        return;
    }
    if version != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        errors.invalid(&name_path, name, &detail);
        return;
    }
    if let Some((base, key)) = subscript(name) {
        let key = match base {
            "metadata.annotations" => key.to_lowercase(),
            "metadata.labels" => key.to_string(),
            _ => {
                errors.invalid(path, base, "does not support subscript");
                return;
            }
        };
        check::qualified_name(path, &key, errors);
    } else if !is_pod_field(name) {
        let detail = format!("error converting fieldPath: field label not supported: {name}");
        errors.invalid(&name_path, name, &detail);
    } else if !allowed.contains(&name) {
        errors.not_supported(&name_path, name, allowed);
    }
}

/// `a['b']` is `a` and `b`.
fn subscript(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix("']")?.split_once("['")
}

/// Fields that the downward API knows at all.
fn is_pod_field(name: &str) -> bool {
    ENV_FIELDS.contains(&name)
        || FILE_FIELDS.contains(&name)
        || matches!(name, "spec.restartPolicy" | "spec.schedulerName" | "status.phase")
}

/// A limit or request of a container; a file must say which container it means.
pub(super) fn resource_ref(field: &Value, of_file: bool, path: &Path, errors: &mut Errors) {
    let resource = string(field, "resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"];
    if of_file && string(field, "containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge.iter().any(|p| resource.starts_with(p)) {
        errors.not_supported(&path.child("resource"), resource, &RESOURCES);
    }
    divisor(resource, &quantity_text(get(field, "divisor")), path, errors);
}

fn divisor(resource: &str, divisor: &str, path: &Path, errors: &mut Errors) {
    let bytes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let huge = |name: &str| name.starts_with("hugepages-");
    let (word, list, separator) = match resource.split_once('.') {
        Some(("limits" | "requests", "cpu")) => ("cpu", "1m and 1", " and "),
        Some(("limits" | "requests", "memory")) => ("memory", bytes, ", "),
        Some(("limits" | "requests", "ephemeral-storage")) => ("local ephemeral storage", bytes, ", "),
        Some(("limits" | "requests", name)) if huge(name) => ("hugepages", bytes, ", "),
        _ => return,
    };
    let unset = divisor == "null" || Quantity::parse(divisor).is_some_and(Quantity::is_zero);
    if !unset && !list.split(separator).any(|allowed| allowed == divisor) {
        let detail = format!("only divisor's values {list} are supported with the {word} resource");
        errors.invalid(&path.child("divisor"), resource, &detail);
    }
}

/// The name of a whole source may end in a dash, as the base of a generated name may.
fn env_source(name: &str, path: &Path, errors: &mut Errors) {
    let shown = meta::name::mask_trailing_dash(name);
    check::messages(path, name, meta::name::check_dns1123_subdomain(&shown), errors);
}

pub(super) fn env_from(sources: &[Value], path: &Path, errors: &mut Errors) {
    for (i, source) in sources.iter().enumerate() {
        let at = path.index(i);
        let prefix = string(source, "prefix");
        if !prefix.is_empty() {
            variable_name(prefix, &at.child("prefix"), errors);
        }
        let mut given = 0;
        for field in ["configMapRef", "secretRef"] {
            if has(source, field) {
                given += 1;
                let path = at.child(field).child("name");
                match string(get(source, field), "name") {
                    "" => errors.required(&path, ""),
                    name => env_source(name, &path, errors),
                }
            }
        }
        // Upstream names the list here, not the item.
        if given == 0 {
            let detail = "must specify one of: `configMapRef` or `secretRef`";
            errors.invalid(path, "", detail);
        } else if given > 1 {
            let detail = "may not have more than one field specified at a time";
            errors.invalid(path, "", detail);
        }
    }
}
