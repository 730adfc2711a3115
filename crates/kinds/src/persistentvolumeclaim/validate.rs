//! What is wrong with a claim, and what may change in one.

use super::asked;
use crate::Write;
use crate::check::{immutable, label_selector};
use crate::json::{at, get, has, put, some, string, take};
use crate::row::text;
use crate::volumes::{check_class_and_mode, check_modes, check_size};
use meta::{Errors, Path, Quantity};
use serde_json::Value;

pub(super) fn claim(object: &Value, errors: &mut Errors) {
    let (spec, root) = (get(object, "spec"), Path::new("spec"));
    check_modes(spec, "at least 1 access mode is required", errors);
    if let Some(selector) = some(spec, "selector") {
        label_selector(selector, &root.child("selector"), errors);
    }
    let path = root.child("resources").key("storage");
    match at(spec, "/resources/requests/storage") {
        Value::Null => errors.required(&path, ""),
        size => check_size(size, &path, errors),
    }
    check_class_and_mode(spec, errors);
    source(spec, "dataSource", errors);
    source(spec, "dataSourceRef", errors);
    let both = (some(spec, "dataSource"), some(spec, "dataSourceRef"));
    if let (Some(old), Some(new)) = both
        && old != new
        && !has(new, "namespace")
    {
        let detail = "must match dataSourceRef";
        errors.invalid(&root.child("dataSource"), old.clone(), detail);
    }
}

fn source(spec: &Value, field: &str, errors: &mut Errors) {
    let Some(source) = some(spec, field) else {
        return;
    };
    let path = Path::new("spec").child(field);
    for part in ["name", "kind"] {
        if string(source, part).is_empty() {
            errors.required(&path.child(part), "");
        }
    }
    let (group, kind) = (string(source, "apiGroup"), string(source, "kind"));
    if group.is_empty() && !kind.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(&path, kind, detail);
    }
}

/// Set once a claim is bound; until then its request is fixed as well.
pub(super) fn update(write: Write, object: &Value, old: &Value, errors: &mut Errors) {
    if write == Write::Status {
        return;
    }
    let root = Path::new("spec");
    let (mut new, mut before) = (get(object, "spec").clone(), get(old, "spec").clone());
    // The binder names the volume once, and a claim without a class may still get the default one.
    for (field, open) in [
        ("volumeName", string(&before, "volumeName").is_empty()),
        ("storageClassName", !has(&before, "storageClassName")),
    ] {
        if open {
            take(&mut new, field);
            take(&mut before, field);
        }
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
    if new != before {
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
            changed(&before, &new)
        );
        errors.forbidden(&root, &detail);
    }
    let capacity = Quantity::parse(text(object, "/status/capacity/storage")).unwrap_or_default();
    if asked(object) < asked(old) && asked(object) <= capacity {
        let path = root.child("resources").child("requests").child("storage");
        errors.forbidden(&path, "field can not be less than status.capacity");
    }
    let mode = |claim: &Value| at(claim, "/spec/volumeMode").clone();
    immutable(&mode(object), &mode(old), &root.child("volumeMode"), errors);
}

/// The fields that differ, a line each: `- ` what was, `+ ` what was sent.
pub(crate) fn changed(old: &Value, new: &Value) -> String {
    let keys = |v: &Value| v.as_object().map(|m| m.keys().cloned().collect::<Vec<_>>());
    let mut all = keys(old).unwrap_or_default();
    all.extend(keys(new).unwrap_or_default());
    all.sort();
    all.dedup();
    let mut out = String::new();
    for key in all.iter().filter(|k| get(old, k) != get(new, k)) {
        for (sign, side) in [("-", old), ("+", new)] {
            if has(side, key) {
                out.push_str(&format!("{sign} {key}: {}\n", get(side, key)));
            }
        }
    }
    out
}
