//! What is wrong with a claim, and what may change in one.

use super::asked;
use crate::Write;
use crate::check::{IMMUTABLE, immutable, is_native, messages};
use crate::internal;
use crate::json::{at, get, has, members, put, quantity_text, some, string, take};
use crate::row::text;
use crate::volumes::{CLASS_ANNOTATION, check_claim_over};
use meta::{Errors, Path, Quantity};
use serde_json::Value;

/// `old` is null for a new claim.
pub(super) fn claim(object: &Value, old: &Value, errors: &mut Errors) {
    check_claim_over(get(object, "spec"), get(old, "spec"), &Path::new("spec"), errors);
}

/// Set once a claim is bound; until then its request is fixed as well.
pub(super) fn update(write: Write, object: &Value, old: &Value, errors: &mut Errors) {
    if write == Write::Status {
        status(object, errors);
        return;
    }
    let root = Path::new("spec");
    let annotation = |claim: &Value| get(at(claim, "/metadata/annotations"), CLASS_ANNOTATION).clone();
    if annotation(object) != annotation(old) && !field_for_annotation(object, old) {
        let path = Path::new("metadata").child("annotations").key(CLASS_ANNOTATION);
        errors.invalid(&path, annotation(object).as_str().unwrap_or_default(), IMMUTABLE);
    }
    let (mut new, mut before) = (get(object, "spec").clone(), get(old, "spec").clone());
    // The binder names the volume once, and a claim without a class may still get the default one.
    let (volume, class) = ("volumeName", "storageClassName");
    if string(&before, volume).is_empty() && has(&new, volume) {
        put(&mut before, volume, get(&new, volume).clone());
    }
    if gets_class(object, old) {
        take(&mut new, class);
        take(&mut before, class);
    }
    if text(object, "/status/phase") == "Bound" {
        take(&mut new, "volumeAttributesClassName");
        if let Some(class) = some(&before, "volumeAttributesClassName") {
            put(&mut new, "volumeAttributesClassName", class.clone());
        }
        let request = at(&before, "/resources/requests/storage");
        if let Some(to) = new.pointer_mut("/resources/requests") {
            put(to, "storage", request.clone());
        }
    }
    if let Some(difference) = internal::difference("PersistentVolumeClaimSpec", &before, &new) {
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{difference}"
        );
        errors.forbidden(&root, &detail);
    }
    let capacity = Quantity::parse(text(object, "/status/capacity/storage")).unwrap_or_default();
    if asked(object) < asked(old) && asked(object) <= capacity {
        let path = root.child("resources").child("requests").child("storage");
        errors.forbidden(&path, "field can not be less than status.capacity");
    }
    // Upstream leaves `spec` out of this path.
    let mode = |claim: &Value| at(claim, "/spec/volumeMode").clone();
    immutable(&mode(object), &mode(old), &Path::new("volumeMode"), errors);
    let class = "volumeAttributesClassName";
    let (now, was) = (at(object, "/spec"), at(old, "/spec"));
    let current = !text(old, "/status/currentVolumeAttributesClassName").is_empty();
    if get(now, class) != get(was, class) && current {
        let sentence = |what: &str| {
            format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil")
        };
        if !has(now, class) {
            errors.forbidden(&root.child(class), &sentence("nil"));
        } else if string(now, class).is_empty() {
            errors.forbidden(&root.child(class), &sentence("empty string"));
        }
    }
}

/// A claim without a class may still get one: the default one, or that of its annotation.
fn gets_class(object: &Value, old: &Value) -> bool {
    let named = get(at(old, "/metadata/annotations"), CLASS_ANNOTATION);
    let class = at(object, "/spec/storageClassName");
    !has(at(old, "/spec"), "storageClassName") && (named.is_null() || class.is_null() || class == named)
}

/// The field takes the place of the older annotation.
fn field_for_annotation(object: &Value, old: &Value) -> bool {
    let named = get(at(old, "/metadata/annotations"), CLASS_ANNOTATION);
    let still = get(at(object, "/metadata/annotations"), CLASS_ANNOTATION);
    !named.is_null()
        && !has(at(old, "/spec"), "storageClassName")
        && at(object, "/spec/storageClassName") == named
        && (still.is_null() || still == named)
}

/// What a status may say of sizes and of growing.
fn status(object: &Value, errors: &mut Errors) {
    const PHASES: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizePending",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
    ];
    let (status, root) = (get(object, "status"), Path::new("status"));
    for (name, size) in members(status, "capacity") {
        let (path, size) = (root.child("capacity").key(name), quantity_text(size));
        let whole = Quantity::parse(&size).map_or(0, Quantity::value);
        if whole < 0 {
            errors.invalid(&path, whole, "must be a valid resource quantity");
        }
    }
    let path = root.child("allocatedResourceStatuses");
    for (name, phase) in members(status, "allocatedResourceStatuses") {
        resource_key(name, &path, errors);
        if !PHASES.iter().any(|p| phase == p) {
            let mut sorted = PHASES;
            sorted.sort_unstable();
            errors.not_supported(&path, name.as_str(), &sorted);
        }
    }
    let path = root.child("allocatedResources");
    for (name, size) in members(status, "allocatedResources") {
        if !resource_key(name, &path, errors) {
            continue;
        }
        let whole = Quantity::parse(&quantity_text(size)).map_or(0, Quantity::value);
        if whole < 0 {
            errors.invalid(&path.key(name), whole, "must be a valid resource quantity");
        } else {
            crate::check::amount("storage", size, &path.key(name), errors);
        }
    }
}

/// True when nothing is wrong with it.
fn resource_key(name: &str, path: &Path, errors: &mut Errors) -> bool {
    let wrong = meta::name::check_qualified_name(name);
    let good = wrong.is_empty();
    messages(path, name, wrong, errors);
    if good && is_native(name) && name != "storage" {
        errors.not_supported(path, name, &["storage"]);
        return false;
    }
    good
}
