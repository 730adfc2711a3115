//! What claims and volumes have in common: access modes, volume modes and how both are printed.
//! Source: "Persistent Volumes" in the Kubernetes documentation.

mod sources;

pub(crate) use sources::{
    Holder, check_driver, check_iscsi_name, check_source, descending, no_backsteps, source_path,
};

use crate::check::{dns_label, dns_subdomain, label_selector, one_of_given};
use crate::json::{at, get, has, list, some, string, texts};
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
/// The mode that goes with no other.
const LONE: &str = "ReadWriteOncePod";
/// What names the class of a claim or volume, before there was a field.
pub(crate) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// `RWO,RWX`: each once.
pub(crate) fn short_modes(modes: &[Value]) -> String {
    let given = MODES.iter().filter(|(long, _)| modes.iter().any(|m| m == long));
    given.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub(crate) fn check_modes(spec: &Value, path: &Path, missing: &str, errors: &mut Errors) {
    let path = path.child("accessModes");
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        errors.required(&path, missing);
    }
    modes_alone(modes, &path, errors);
}

fn modes_alone(modes: &[Value], path: &Path, errors: &mut Errors) {
    let texts: Vec<&str> = modes.iter().map(|m| m.as_str().unwrap_or_default()).collect();
    for mode in texts.iter().filter(|mode| !SUPPORTED.contains(mode)) {
        errors.not_supported(path, *mode, &SUPPORTED);
    }
    let others = texts.iter().any(|m| *m != LONE && SUPPORTED.contains(m));
    if texts.contains(&LONE) && others {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

pub(crate) fn check_class_and_mode(spec: &Value, path: &Path, errors: &mut Errors) {
    let class = string(spec, "storageClassName");
    if !class.is_empty() {
        dns_subdomain(&path.child("storageClassName"), class, errors);
    }
    one_of_given(spec, "volumeMode", &["Block", "Filesystem"], path, errors);
}

/// The spec of a claim, of one that stands for itself or of a template.
pub(crate) fn check_claim(spec: &Value, path: &Path, errors: &mut Errors) {
    check_claim_over(spec, &Value::Null, path, errors);
}

/// The spec of a claim that takes the place of `old`: once a source names a group, no name of one is wrong any more.
pub(crate) fn check_claim_over(spec: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "at least 1 access mode is required");
    }
    if let Some(selector) = some(spec, "selector") {
        label_selector(selector, &path.child("selector"), errors);
    }
    modes_alone(modes, &path.child("accessModes"), errors);
    let size_path = path.child("resources").key("storage");
    match at(spec, "/resources/requests/storage") {
        Value::Null => errors.required(&size_path, ""),
        size => check_size(size, &size_path, errors),
    }
    check_class_and_mode(spec, path, errors);
    let sources = ["dataSource", "dataSourceRef"];
    let any_group = sources.iter().any(|field| has(get(old, field), "apiGroup"));
    for field in sources {
        data_source(spec, field, any_group, path, errors);
    }
    same_data_source(spec, path, errors);
    let class = string(spec, "volumeAttributesClassName");
    if !class.is_empty() {
        dns_subdomain(&path.child("volumeAttributesClassName"), class, errors);
    }
}

fn data_source(spec: &Value, field: &str, any_group: bool, path: &Path, errors: &mut Errors) {
    let Some(source) = some(spec, field) else {
        return;
    };
    let path = path.child(field);
    for part in ["name", "kind"] {
        crate::check::required(source, part, &path, errors);
    }
    let (group, kind) = (string(source, "apiGroup"), string(source, "kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(&path, kind, detail);
    } else if !group.is_empty() && !any_group {
        dns_subdomain(&path.child("apiGroup"), group, errors);
    }
    let namespace = string(source, "namespace");
    if field == "dataSourceRef" && !namespace.is_empty() {
        dns_label(&path.child("namespace"), namespace, errors);
    }
}

/// Both forms of a source say the same. Upstream shows an empty value of the whole spec here.
fn same_data_source(spec: &Value, path: &Path, errors: &mut Errors) {
    let (Some(old), Some(new)) = (some(spec, "dataSource"), some(spec, "dataSourceRef")) else {
        return;
    };
    let empty = || Value::Object(serde_json::Map::new());
    let same = |field: &str| get(old, field) == get(new, field);
    if has(new, "namespace") && !string(new, "namespace").is_empty() {
        let detail = "may not be specified when dataSourceRef.namespace is specified";
        errors.invalid(path, empty(), detail);
    } else if !["apiGroup", "kind", "name"].iter().all(|f| same(f)) {
        errors.invalid(path, empty(), "must match dataSourceRef");
    }
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
