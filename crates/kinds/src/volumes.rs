//! What claims and volumes have in common: access modes, volume modes and how both are printed.
//! Source: "Persistent Volumes" in the Kubernetes documentation.

use crate::check::{dns_subdomain, one_of};
use crate::json::{get, list, some, string, texts};
use meta::{Errors, Path, Quantity};
use serde_json::Value;

/// Access modes in the order in which they are printed, and their short forms.
const MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
const SUPPORTED: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
/// What names the class of a claim or volume, before there was a field.
pub(crate) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// `RWO,RWX`: each once.
pub(crate) fn short_modes(modes: &[Value]) -> String {
    let given = MODES.iter().filter(|(long, _)| modes.iter().any(|m| m == long));
    given.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub(crate) fn check_modes(spec: &Value, missing: &str, errors: &mut Errors) {
    let path = Path::new("spec").child("accessModes");
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        errors.required(&path, missing);
    }
    let text = |mode: &Value| mode.as_str().unwrap_or_default().to_string();
    for mode in modes.iter().map(text) {
        if !SUPPORTED.contains(&mode.as_str()) {
            errors.not_supported(&path, mode, &SUPPORTED);
        }
    }
    let lone = |mode: &Value| mode == "ReadWriteOncePod";
    if modes.iter().any(lone) && !modes.iter().all(lone) {
        errors.forbidden(&path, "may not use ReadWriteOncePod with other access modes");
    }
}

pub(crate) fn check_class_and_mode(spec: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    let class = string(spec, "storageClassName");
    if !class.is_empty() {
        dns_subdomain(&path.child("storageClassName"), class, errors);
    }
    let modes = ["Block", "Filesystem"];
    one_of(spec, "volumeMode", &modes, false, &path, errors);
}

/// A size: more than nothing.
pub(crate) fn check_size(value: &Value, path: &Path, errors: &mut Errors) {
    let text = crate::json::quantity_text(value);
    match Quantity::parse(&text) {
        None => errors.invalid(path, text, meta::quantity::FORMAT_ERROR),
        Some(size) if size.is_negative() || size.is_zero() => {
            errors.invalid(path, text, "must be greater than zero");
        }
        Some(_) => {}
    }
}

/// The name of the class, from the field or the older annotation. `None` when neither is there.
pub(crate) fn class_of(object: &Value) -> Option<String> {
    let old = texts(get(object, "metadata"), "annotations")
        .find(|(key, _)| *key == CLASS_ANNOTATION)
        .map(|(_, value)| value.to_string());
    let field =
        || some(get(object, "spec"), "storageClassName").map(|c| c.as_str().unwrap_or_default().to_string());
    old.or_else(field)
}

/// How much `capacity` says there is to store on.
pub(crate) fn storage_size(holder: &Value) -> &str {
    match crate::row::text(holder, "/capacity/storage") {
        "" => "0",
        size => size,
    }
}

/// A text, or `<unset>`.
pub(crate) fn or_unset(spec: &Value, field: &str) -> String {
    some(spec, field)
        .and_then(Value::as_str)
        .unwrap_or("<unset>")
        .to_string()
}

/// The phase, or that it is being deleted.
pub(crate) fn phase(object: &Value) -> &str {
    match crate::row::text(object, "/metadata/deletionTimestamp") {
        "" => crate::row::text(object, "/status/phase"),
        _ => "Terminating",
    }
}

/// Sizes are whole bytes.
pub(crate) fn fraction_warning(field: &str, size: &str) -> Option<String> {
    let fraction = Quantity::parse(size).is_some_and(|q| !q.is_whole());
    fraction.then(|| format!("{field}: fractional byte value {size:?} is invalid, must be an integer"))
}
