//! Security contexts of pods and containers.

use super::windows;
use crate::check;
use crate::json::{flag, get, has, int, is_true, list, some, string};
use crate::volumes::descending;
use meta::field::Shown;
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
    for (i, group) in list(security, "supplementalGroups").iter().enumerate() {
        let path = path.child("supplementalGroups").index(i);
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
    sysctls(spec, security, &path, errors);
    let change = ["Always", "OnRootMismatch"];
    check::one_of_given(security, "fsGroupChangePolicy", &change, &path, errors);
    seccomp(security, &path, errors);
    windows::options(security, &path, errors);
    app_armor(security, &path, errors);
    let groups = ["Merge", "Strict"];
    check::one_of_given(security, "supplementalGroupsPolicy", &groups, &path, errors);
    // Mounting with a label needs a feature that is off by default.
    check::one_of_given(security, "seLinuxChangePolicy", &["Recursive"], &path, errors);
}

/// A user namespace of its own does not go with the host's other namespaces, nor with devices.
pub(super) fn host_users(spec: &Value, path: &Path, errors: &mut Errors) {
    if flag(spec, "hostUsers") != Some(false) {
        return;
    }
    // Upstream writes two of the paths with capitals.
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if is_true(spec, field) {
            errors.forbidden(&path.child(shown), "when `hostUsers` is false");
        }
    }
    for (container, path) in super::containers_with_paths(spec, path) {
        if !list(container, "volumeDevices").is_empty() {
            errors.forbidden(&path.child("volumeDevices"), "when `hostUsers` is false");
        }
    }
}

fn sysctls(spec: &Value, security: &Value, path: &Path, errors: &mut Errors) {
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
        // Settings of a namespace cannot be those of a namespace that is the host's.
        let dotted = name.replace('/', ".");
        let of_network = dotted.starts_with("net.");
        let of_ipc = dotted.starts_with("fs.mqueue.")
            || ["kernel.shm", "kernel.msg"].iter().any(|p| dotted.starts_with(p))
            || dotted == "kernel.sem";
        for (field, own) in [("hostNetwork", of_network), ("hostIPC", of_ipc)] {
            if own && is_true(spec, field) {
                let detail = format!("may not be specified when '{field}' is true");
                errors.invalid(&path, name, &detail);
            }
        }
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
    profile_type(kind, "seccompProfile", &path, errors);
    let file_path = path.child("localhostProfile");
    let file = string(profile, "localhostProfile");
    match (kind == "Localhost", has(profile, "localhostProfile")) {
        (true, false) => {
            errors.required(&file_path, "must be set when seccomp type is Localhost");
        }
        (true, true) => descending(file, &file_path, errors),
        (false, true) => {
            let shown = Shown::members([
                ("Type", Some(kind.into())),
                ("LocalhostProfile", Some(file.into())),
            ]);
            let detail = "can only be set when seccomp type is Localhost";
            errors.invalid(&file_path, shown, detail);
        }
        (false, false) => {}
    }
}

fn profile_type(kind: &str, field: &str, path: &Path, errors: &mut Errors) {
    const KINDS: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
    match kind {
        "" => {
            let detail = format!("type is required when {field} is set");
            errors.required(&path.child("type"), &detail);
        }
        kind if KINDS.contains(&kind) => {}
        kind => errors.not_supported(&path.child("type"), kind, &KINDS),
    }
}

fn app_armor(security: &Value, path: &Path, errors: &mut Errors) {
    const MAX: usize = 4095;
    let Some(profile) = some(security, "appArmorProfile") else {
        return;
    };
    let path = path.child("appArmorProfile");
    let file_path = path.child("localhostProfile");
    let file = get(profile, "localhostProfile").as_str();
    let must = "must be set when AppArmor type is Localhost";
    match (string(profile, "type"), file) {
        ("Localhost", None) => errors.required(&file_path, must),
        ("Localhost", Some(file)) => {
            if file.trim() != file {
                errors.invalid(&file_path, file, "must not be padded with whitespace");
            } else if file.is_empty() {
                errors.required(&file_path, must);
            }
            if file.len() > MAX {
                errors.too_long(&file_path, MAX);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(file)) => {
            let detail = "can only be set when AppArmor type is Localhost";
            errors.invalid(&file_path, file, detail);
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        (kind, _) => profile_type(kind, "appArmorProfile", &path, errors),
    }
}

pub(super) fn container(security: &Value, own_users: bool, path: &Path, errors: &mut Errors) {
    for field in ["runAsUser", "runAsGroup"] {
        id(security, field, path, errors);
    }
    let masks = ["Default", "Unmasked"];
    check::one_of_given(security, "procMount", &masks, path, errors);
    if string(security, "procMount") == "Unmasked" && !own_users {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        errors.invalid(&path.child("procMount"), "Unmasked", detail);
    }
    seccomp(security, path, errors);
    if flag(security, "allowPrivilegeEscalation") == Some(false) {
        if is_true(security, "privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, crate::internal::shown("SecurityContext", security), detail);
        }
        let added = list(get(security, "capabilities"), "add");
        for _ in added.iter().filter(|c| *c == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, crate::internal::shown("SecurityContext", security), detail);
        }
    }
    windows::options(security, path, errors);
    app_armor(security, path, errors);
}
