//! What a pod says of the operating system that it is for, and what does not go with that.

use super::containers_with_paths;
use crate::json::{get, has, list, string};
use meta::{Errors, Path};
use serde_json::Value;

const WINDOWS: &str = "cannot be set for a windows pod";
const LINUX: &str = "windows options cannot be set for a linux pod";

pub(super) fn os(spec: &Value, path: &Path, errors: &mut Errors) {
    let os = get(spec, "os");
    match string(os, "name") {
        _ if os.is_null() => {}
        "" => errors.required(&path.child("os").child("name"), ""),
        "linux" => linux(spec, path, errors),
        "windows" => windows(spec, path, errors),
        other => errors.not_supported(&path.child("os"), other, &["linux", "windows"]),
    }
}

fn linux(spec: &Value, path: &Path, errors: &mut Errors) {
    let (field, options) = ("securityContext", "windowsOptions");
    let holders = containers_with_paths(spec, path);
    for (holder, path) in std::iter::once((spec, path.clone())).chain(holders) {
        if has(get(holder, field), options) {
            errors.forbidden(&path.child(field).child(options), LINUX);
        }
    }
}

fn windows(spec: &Value, path: &Path, errors: &mut Errors) {
    let (security, at) = (get(spec, "securityContext"), path.child("securityContext"));
    let of_pod = [
        (security, &at, "appArmorProfile"),
        (security, &at, "seLinuxOptions"),
        (spec, path, "hostUsers"),
        (spec, path, "hostPID"),
        (spec, path, "hostIPC"),
        (security, &at, "seccompProfile"),
        (security, &at, "fsGroup"),
        (security, &at, "fsGroupChangePolicy"),
        (security, &at, "sysctls"),
        (spec, path, "shareProcessNamespace"),
        (security, &at, "runAsUser"),
        (security, &at, "runAsGroup"),
        (security, &at, "supplementalGroups"),
        (security, &at, "supplementalGroupsPolicy"),
        (security, &at, "seLinuxChangePolicy"),
    ];
    for (holder, path, field) in of_pod {
        let given = match field {
            "hostPID" | "hostIPC" => crate::json::is_true(holder, field),
            "sysctls" => !list(holder, field).is_empty(),
            _ => has(holder, field),
        };
        if given {
            errors.forbidden(&path.child(field), WINDOWS);
        }
    }
    let of_container = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    for (container, path) in containers_with_paths(spec, path) {
        let security = get(container, "securityContext");
        for field in of_container.iter().filter(|field| has(security, field)) {
            errors.forbidden(&path.child("securityContext").child(field), WINDOWS);
        }
    }
}
