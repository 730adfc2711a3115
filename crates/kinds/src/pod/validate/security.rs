//! Security contexts of pods and containers.

use crate::check;
use crate::json::{flag, get, has, int, is_true, list, some, string};
use meta::{Errors, Path};
use serde_json::Value;

/// User and group ids are whole numbers of 31 bits.
fn id(object: &Value, field: &str, path: &Path, errors: &mut Errors) {
    if let Some(id) = int(object, field) {
        check::in_range(id, 0, i64::from(i32::MAX), &path.child(field), errors);
    }
}

pub(super) fn pod(spec: &Value, spec_path: &Path, errors: &mut Errors) {
    let (security, path) = (get(spec, "securityContext"), spec_path.child("securityContext"));
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(security, field, &path, errors);
    }
    for group in list(security, "supplementalGroups") {
        let path = path.child("supplementalGroups");
        check::in_range(
            group.as_i64().unwrap_or(-1),
            0,
            i64::from(i32::MAX),
            &path,
            errors,
        );
    }
    if is_true(spec, "shareProcessNamespace") && is_true(spec, "hostPID") {
        let path = path.child("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path, true, detail);
    }
    sysctls(security, &path, errors);
    let change = ["Always", "OnRootMismatch"];
    check::one_of(security, "fsGroupChangePolicy", &change, false, &path, errors);
    let groups = ["Merge", "Strict"];
    check::one_of(
        security,
        "supplementalGroupsPolicy",
        &groups,
        false,
        &path,
        errors,
    );
    seccomp(security, &path, errors);
    app_armor(security, &path, errors);
    if flag(spec, "hostUsers") == Some(false) {
        host_users(spec, spec_path, errors);
    }
}

/// A user namespace of its own does not go with the host's other namespaces.
fn host_users(spec: &Value, path: &Path, errors: &mut Errors) {
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if is_true(spec, field) {
            let detail = "when `hostUsers` is false";
            errors.forbidden(&path.child(field), detail);
        }
    }
}

fn sysctls(security: &Value, path: &Path, errors: &mut Errors) {
    let mut seen = Vec::new();
    for (i, sysctl) in list(security, "sysctls").iter().enumerate() {
        let (name, path) = (
            string(sysctl, "name"),
            path.child("sysctls").index(i).child("name"),
        );
        if name.is_empty() {
            errors.required(&path, "");
        } else if !is_sysctl(name) {
            let detail = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(&path, name, detail);
        } else if seen.contains(&name) {
            errors.duplicate(&path, name);
        }
        seen.push(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let b = part.as_bytes();
        !b.is_empty()
            && plain(b[0])
            && plain(b[b.len() - 1])
            && b.iter().all(|&b| plain(b) || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

fn seccomp(security: &Value, path: &Path, errors: &mut Errors) {
    let Some(profile) = some(security, "seccompProfile") else {
        return;
    };
    let path = path.child("seccompProfile");
    let kind = string(profile, "type");
    if kind.is_empty() {
        let detail = "type is required when seccompProfile is set";
        errors.required(&path.child("type"), detail);
    }
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    check::one_of(profile, "type", &kinds, false, &path, errors);
    let file_path = path.child("localhostProfile");
    let file = string(profile, "localhostProfile");
    match (kind == "Localhost", has(profile, "localhostProfile")) {
        (true, false) => {
            errors.required(&file_path, "must be set when seccomp type is Localhost");
        }
        (true, true) => super::volumes::descending(file, &file_path, errors),
        (false, true) => {
            let detail = "can only be set when seccomp type is Localhost";
            errors.invalid(&file_path, file, detail);
        }
        (false, false) => {}
    }
}

fn app_armor(security: &Value, path: &Path, errors: &mut Errors) {
    let Some(profile) = some(security, "appArmorProfile") else {
        return;
    };
    let path = path.child("appArmorProfile");
    if string(profile, "type").is_empty() {
        let detail = "type is required when appArmorProfile is set";
        errors.required(&path.child("type"), detail);
    }
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    check::one_of(profile, "type", &kinds, false, &path, errors);
    let local = string(profile, "type") == "Localhost";
    let file = string(profile, "localhostProfile");
    let file_path = path.child("localhostProfile");
    if local && file.trim().is_empty() {
        errors.required(&file_path, "must be set when AppArmor type is Localhost");
    } else if !local && !file.is_empty() {
        let detail = "can only be set when AppArmor type is Localhost";
        errors.invalid(&file_path, file, detail);
    }
}

pub(super) fn container(security: &Value, path: &Path, errors: &mut Errors) {
    for field in ["runAsUser", "runAsGroup"] {
        id(security, field, path, errors);
    }
    check::one_of(
        security,
        "procMount",
        &["Default", "Unmasked"],
        false,
        path,
        errors,
    );
    seccomp(security, path, errors);
    if flag(security, "allowPrivilegeEscalation") == Some(false) {
        if is_true(security, "privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, security.clone(), detail);
        }
        let added = list(get(security, "capabilities"), "add");
        if added.iter().any(|c| c == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, security.clone(), detail);
        }
    }
    app_armor(security, path, errors);
}
