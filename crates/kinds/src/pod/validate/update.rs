//! What of a pod may change once it exists.

use crate::Write;
use crate::json::{get, has, int, list, members, number, put, string, take};
use meta::{Errors, Path};
use serde_json::Value;

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// Lines of difference that an error shows at most.
const DIFF_MAX: usize = 20;

pub(in crate::pod) fn update(write: Write, pod: &Value, old: &Value, errors: &mut Errors) {
    let (new, old, path) = (get(pod, "spec"), get(old, "spec"), Path::new("spec"));
    match write {
        Write::Update => spec(new, old, &path, errors),
        Write::Other("ephemeralcontainers") => ephemeral(new, old, &path, errors),
        Write::Other("resize") => resize(new, old, &path, errors),
        _ => {}
    }
}

fn spec(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    for kind in ["containers", "initContainers"] {
        if list(new, kind).len() != list(old, kind).len() {
            let detail = "pod updates may not add or remove containers";
            errors.forbidden(&path.child(kind), detail);
            return;
        }
    }
    if !deadline(new, old, path, errors) {
        return;
    }
    tolerations(new, old, path, errors);
    gates(new, old, path, errors);
    let mut same = new.clone();
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        restore(&mut same, old, field);
    }
    for kind in ["containers", "initContainers"] {
        for (c, was) in crate::json::items_mut(&mut same, kind).zip(list(old, kind)) {
            restore(c, was, "image");
        }
    }
    let grace = "terminationGracePeriodSeconds";
    if number(old, grace) < 0 && number(new, grace) == 1 {
        restore(&mut same, old, grace);
    }
    if !list(old, "schedulingGates").is_empty() {
        narrowing(&mut same, old, path, errors);
    }
    unchanged(&same, old, UPDATABLE, path, errors);
}

fn unchanged(new: &Value, old: &Value, sentence: &str, path: &Path, errors: &mut Errors) {
    let mut lines = Vec::new();
    differences(new, old, "spec", &mut lines);
    if !lines.is_empty() {
        lines.truncate(DIFF_MAX);
        errors.forbidden(path, &format!("{sentence}\n{}", lines.join("\n")));
    }
}

fn restore(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(was) => put(new, field, was.clone()),
        None => {
            take(new, field);
        }
    }
}

/// A deadline can be set, and then only come closer. False ends the checks, as upstream's do.
fn deadline(new: &Value, old: &Value, path: &Path, errors: &mut Errors) -> bool {
    let path = path.child("activeDeadlineSeconds");
    let (now, was) = (
        int(new, "activeDeadlineSeconds"),
        int(old, "activeDeadlineSeconds"),
    );
    match (now, was) {
        (Some(now), _) if now < 0 || now > i64::from(i32::MAX) => {
            crate::check::in_range(now, 0, i64::from(i32::MAX), &path, errors);
        }
        (Some(now), Some(was)) if was < now => {
            let detail = "must be less than or equal to previous value";
            errors.invalid(&path, now, detail);
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.invalid(&path, Value::Null, detail);
        }
        _ => return true,
    }
    false
}

fn tolerations(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let without_seconds = |toleration: &Value| {
        let mut bare = toleration.clone();
        take(&mut bare, "tolerationSeconds");
        bare
    };
    for was in list(old, "tolerations") {
        let bare = without_seconds(was);
        if !list(new, "tolerations")
            .iter()
            .any(|t| without_seconds(t) == bare)
        {
            let detail = "existing toleration can not be modified except its tolerationSeconds";
            errors.forbidden(&path.child("tolerations"), detail);
            return;
        }
    }
}

fn gates(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let before = list(old, "schedulingGates");
    for (i, gate) in list(new, "schedulingGates").iter().enumerate() {
        let name = string(gate, "name");
        if !before.iter().any(|g| string(g, "name") == name) {
            let path = path.child("schedulingGates").index(i).child("name");
            let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&path, &detail);
        }
    }
}

/// While gates hold a pod back, its choice of nodes may become narrower.
fn narrowing(new: &mut Value, old: &Value, path: &Path, errors: &mut Errors) {
    let kept = members(old, "nodeSelector").all(|(k, v)| get(get(new, "nodeSelector"), k) == v);
    if !kept {
        let selector = get(new, "nodeSelector").clone();
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(&path.child("nodeSelector"), selector, detail);
    }
    restore(new, old, "nodeSelector");
    if !has(get(old, "affinity"), "nodeAffinity") {
        restore(new, old, "affinity");
    }
}

fn ephemeral(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (field, now) = ("ephemeralContainers", list(new, "ephemeralContainers"));
    for was in list(old, field) {
        let name = string(was, "name");
        match now.iter().find(|c| string(c, "name") == name) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.forbidden(&path.child(field), &detail);
            }
            Some(c) if c != was => {
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.forbidden(&path.child(field), &detail);
            }
            Some(_) => {}
        }
    }
    let mut same = new.clone();
    restore(&mut same, old, field);
    let sentence = "only ephemeral containers may be changed";
    unchanged(&same, old, sentence, path, errors);
}

fn resize(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    if crate::pod::qos_class(new) != crate::pod::qos_class(old) {
        let shown = crate::pod::qos_class(new);
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(path, shown, detail);
    }
    let mut same = new.clone();
    for kind in ["containers", "initContainers"] {
        for (c, was) in crate::json::items_mut(&mut same, kind).zip(list(old, kind)) {
            restore(c, was, "resources");
            restore(c, was, "resizePolicy");
        }
    }
    let sentence = "only cpu and memory resources are mutable";
    unchanged(&same, old, sentence, path, errors);
}

/// `spec.a[0].b: old -> new`, a line a changed field.
fn differences(new: &Value, old: &Value, at: &str, lines: &mut Vec<String>) {
    if new == old || lines.len() > DIFF_MAX {
        return;
    }
    match (new, old) {
        (Value::Object(n), Value::Object(o)) => {
            let mut keys: Vec<&String> = n.keys().chain(o.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                differences(get(new, key), get(old, key), &format!("{at}.{key}"), lines);
            }
        }
        (Value::Array(n), Value::Array(o)) if n.len() == o.len() => {
            for (i, (n, o)) in n.iter().zip(o).enumerate() {
                differences(n, o, &format!("{at}[{i}]"), lines);
            }
        }
        _ => lines.push(format!("  {at}: {old} -> {new}")),
    }
}
