//! Annotations of pods that mean something: mirror pods, and what was said in annotations before there were fields.

use super::scheduling;
use crate::json::{get, has, list, string, texts};
use crate::volumes::descending;
use meta::{Errors, Path};
use serde_json::Value;

pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
pub(crate) const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const LOCALHOST: &str = "localhost/";

fn all(pod: &Value) -> impl Iterator<Item = (&str, &str)> {
    texts(get(pod, "metadata"), "annotations")
}

fn one<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    all(pod).find(|(k, _)| *k == key).map(|(_, value)| value)
}

/// What annotations say by themselves.
pub(super) fn annotations(pod: &Value, errors: &mut Errors) {
    let (spec, path) = (get(pod, "spec"), Path::new("metadata").child("annotations"));
    if let Some(mirror) = one(pod, MIRROR)
        && string(spec, "nodeName").is_empty()
    {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid(&path.key(MIRROR), mirror, detail);
    }
    if let Some(text) = one(pod, TOLERATIONS).filter(|text| !text.is_empty()) {
        tolerations(text, &path, errors);
    }
    if let Some(cost) = one(pod, DELETION_COST)
        && !is_deletion_cost(cost)
    {
        errors.invalid(&path.key(DELETION_COST), cost, "must be a 32bit integer");
    }
    if let Some(profile) = one(pod, SECCOMP) {
        seccomp(profile, &path.child(SECCOMP), errors);
    }
    for (key, profile) in all(pod).filter(|(key, _)| key.starts_with(SECCOMP_CONTAINER)) {
        seccomp(profile, &path.child(key), errors);
    }
    for (key, profile) in all(pod) {
        let Some(container) = key.strip_prefix(APPARMOR) else {
            continue;
        };
        let kinds = ["initContainers", "containers", "ephemeralContainers"];
        let mut containers = kinds.iter().flat_map(|kind| list(spec, kind));
        if !containers.any(|c| string(c, "name") == container) {
            errors.invalid(&path.key(key), container, "container not found");
        }
        let known = matches!(profile, "" | "runtime/default" | "unconfined");
        if !known && !profile.starts_with(LOCALHOST) {
            let detail = format!("invalid AppArmor profile name: {profile:?}");
            errors.invalid(&path.key(key), profile, &detail);
        }
    }
}

/// Begins with a minus or a digit that is no leading zero.
fn is_deletion_cost(text: &str) -> bool {
    let begins = text == "0" || text.starts_with(|c: char| matches!(c, '-' | '1'..='9'));
    begins && text.parse::<i32>().is_ok()
}

fn tolerations(text: &str, path: &Path, errors: &mut Errors) {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(list)) => {
            scheduling::toleration_list(&list, &path.child(TOLERATIONS), errors);
        }
        Ok(Value::Null) => {}
        Ok(other) => {
            let kind = match other {
                Value::Object(_) => "object",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            let why = format!("json: cannot unmarshal {kind} into Go value of type []core.Toleration");
            errors.invalid(path, TOLERATIONS, &why);
        }
        Err(error) => {
            let why = crate::secret::json_message(text.as_bytes(), &error);
            errors.invalid(path, TOLERATIONS, &why);
        }
    }
}

fn seccomp(profile: &str, path: &Path, errors: &mut Errors) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        _ => match profile.strip_prefix(LOCALHOST) {
            Some(file) => descending(file, path, errors),
            None => errors.invalid(path, profile, "must be a valid seccomp profile"),
        },
    }
}

/// What an annotation and a field both say must be the same.
pub(super) fn fit_fields(pod: &Value, errors: &mut Errors) {
    let (spec, path) = (get(pod, "spec"), Path::new("spec"));
    let security = |holder: &Value, field: &str| get(get(holder, "securityContext"), field).clone();
    let own = security(spec, "seccompProfile");
    if let Some(text) = one(pod, SECCOMP).filter(|_| !own.is_null()) {
        let at = path.child("securityContext").child("seccompProfile");
        seccomp_fits(text, &own, &at, errors);
    }
    let containers = super::containers_with_paths(spec, &path);
    for (c, path) in &containers {
        let own = security(c, "seccompProfile");
        let key = format!("{SECCOMP_CONTAINER}{}", string(c, "name"));
        if let Some(text) = one(pod, &key).filter(|_| !own.is_null()) {
            let at = path.child("securityContext").child("seccompProfile");
            seccomp_fits(text, &own, &at, errors);
        }
    }
    if string(get(spec, "os"), "name") == "windows" {
        return;
    }
    for (c, path) in &containers {
        let profile = match security(c, "appArmorProfile") {
            Value::Null => security(spec, "appArmorProfile"),
            own => own,
        };
        let key = format!("{APPARMOR}{}", string(c, "name"));
        if let Some(text) = one(pod, &key).filter(|_| !profile.is_null()) {
            let at = path.child("securityContext").child("appArmorProfile");
            apparmor_fits(text, &profile, &at, errors);
        }
    }
}

fn seccomp_fits(text: &str, profile: &Value, path: &Path, errors: &mut Errors) {
    const TYPES: &str = "seccomp type in annotation and field must match";
    let kinds: &[&str] = match string(profile, "type") {
        "Unconfined" => &["unconfined"],
        "RuntimeDefault" => &["runtime/default", "docker/default"],
        "Localhost" => {
            match text.strip_prefix(LOCALHOST) {
                None => errors.forbidden(&path.child("type"), TYPES),
                Some(file) if get(profile, "localhostProfile").as_str() != Some(file) => {
                    let detail = "seccomp profile in annotation and field must match";
                    errors.forbidden(&path.child("localhostProfile"), detail);
                }
                Some(_) => {}
            }
            return;
        }
        _ => return,
    };
    if !kinds.contains(&text) {
        errors.forbidden(&path.child("type"), TYPES);
    }
}

fn apparmor_fits(text: &str, profile: &Value, path: &Path, errors: &mut Errors) {
    const TYPES: &str = "apparmor type in annotation and field must match";
    let fits = match string(profile, "type") {
        "Unconfined" => text == "unconfined",
        "RuntimeDefault" => text == "runtime/default",
        "Localhost" => match text.strip_prefix(LOCALHOST) {
            None => false,
            Some(file) if get(profile, "localhostProfile").as_str() != Some(file) => {
                let detail = "apparmor profile in annotation and field must match";
                errors.forbidden(&path.child("localhostProfile"), detail);
                return;
            }
            Some(_) => true,
        },
        _ => true,
    };
    if !fits {
        errors.forbidden(&path.child("type"), TYPES);
    }
}

/// Some annotations stay as they were made.
pub(super) fn updates(pod: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("metadata").child("annotations");
    let mut say = |key: &str, what: &str| {
        let name = match key {
            key if key.starts_with(APPARMOR) => "AppArmor annotations",
            MIRROR => "mirror pod annotation",
            _ => return,
        };
        errors.forbidden(&path.key(key), &format!("may not {what} {name}"));
    };
    for (key, _) in all(old).filter(|(key, was)| one(pod, key) != Some(was)) {
        say(key, "remove or update");
    }
    for (key, _) in all(pod).filter(|(key, _)| one(old, key).is_none()) {
        say(key, "add");
    }
    annotations(pod, errors);
}

/// The field for an AppArmor annotation, if it makes a valid one.
pub(crate) fn apparmor_field(text: &str) -> Option<Value> {
    use serde_json::json;
    match text {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => {
            let file = text.strip_prefix(LOCALHOST)?;
            let good = !file.trim().is_empty() && file.trim() == file && file.len() <= PROFILE_MAX;
            good.then(|| json!({"type": "Localhost", "localhostProfile": file}))
        }
    }
}

/// Bytes in the name of a profile on the node.
const PROFILE_MAX: usize = 4095;

/// Pods that say in annotations what fields say now get the fields.
pub(crate) fn sync_apparmor(pod: &mut Value) {
    let spec = get(pod, "spec");
    if string(get(spec, "os"), "name") == "windows" || !all(pod).any(|(key, _)| key.starts_with(APPARMOR)) {
        return;
    }
    let of_pod = get(get(spec, "securityContext"), "appArmorProfile").clone();
    let fields: Vec<(String, Value)> = all(pod)
        .filter_map(|(key, text)| Some((key.strip_prefix(APPARMOR)?.to_string(), apparmor_field(text)?)))
        .filter(|(_, field)| *field != of_pod)
        .collect();
    let Some(spec) = crate::json::child_mut(pod, "spec") else {
        return;
    };
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for c in crate::json::items_mut(spec, kind) {
            let name = string(c, "name").to_string();
            let Some((_, field)) = fields.iter().find(|(of, _)| *of == name) else {
                continue;
            };
            if !has(get(c, "securityContext"), "appArmorProfile")
                && let Some(security) = crate::json::ensure_object(c, "securityContext")
            {
                crate::json::put(security, "appArmorProfile", field.clone());
            }
        }
    }
}
