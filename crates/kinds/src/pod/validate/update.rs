//! What of a pod may change once it exists.

use crate::Write;
use crate::internal;
use crate::json::{get, has, int, list, members, number, put, string, take};
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::{Value, json};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::pod) fn update(write: Write, pod: &Value, old: &Value, errors: &mut Errors) {
    if write == Write::Status {
        super::annotations::updates(pod, old, errors);
        super::status::status(pod, old, errors);
        return;
    }
    super::annotations::updates(pod, old, errors);
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
        for (i, c) in list(new, kind).iter().enumerate() {
            let path = path.child(kind).index(i);
            if string(c, "image").is_empty() {
                errors.required(&path.child("image"), "");
            }
            super::containers::image_of_pod(c, &path, errors);
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
        // Upstream puts these lists together anew.
        if list(&same, kind).is_empty() {
            take(&mut same, kind);
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
    let [old, new] = [old, new].map(internal::pod_spec);
    if let Some(difference) = internal::difference("PodSpec", &old, &new) {
        errors.forbidden(path, &format!("{sentence}\n{difference}"));
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
            return true;
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
    let path = path.child("tolerations");
    super::scheduling::toleration_list(list(new, "tolerations"), &path, errors);
}

fn gates(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let before = list(old, "schedulingGates");
    for (i, gate) in list(new, "schedulingGates").iter().enumerate() {
        let name = string(gate, "name");
        // Of gates of one name, upstream tells of the last one.
        let again = |g: &Value| string(g, "name") == name;
        let more = list(new, "schedulingGates")[i + 1..].iter().any(again);
        if !more && !before.iter().any(again) {
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
    let affinity = "nodeAffinity";
    let (now, was) = (
        get(get(new, "affinity"), affinity).clone(),
        get(get(old, "affinity"), affinity),
    );
    if internal::same("NodeAffinity", &now, was) {
        return;
    }
    narrower_nodes(&now, was, &path.child("affinity").child(affinity), errors);
    if !has(new, "affinity") {
        put(new, "affinity", json!({affinity: was}));
    } else if let Some(own) = crate::json::child_mut(new, "affinity") {
        restore(own, get(old, "affinity"), affinity);
        if !has(old, "affinity")
            && own
                .as_object()
                .is_some_and(|own| own.values().all(Value::is_null))
        {
            take(new, "affinity");
        }
    }
}

/// Terms stay, but each may ask for more.
fn narrower_nodes(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = |affinity| list(get(affinity, REQUIRED), "nodeSelectorTerms");
    let (now, was) = (terms(new), terms(old));
    let path = path.child(REQUIRED).child("nodeSelectorTerms");
    if !was.is_empty() && was.len() != now.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let given = get(new, REQUIRED);
        let shown = match get(given, "nodeSelectorTerms").is_null() {
            true => Shown("null".into()),
            false => Shown::list(now.iter().map(term_shown)),
        };
        errors.invalid(&path, shown, detail);
        return;
    }
    for (i, (now, was)) in now.iter().zip(was).enumerate() {
        let fields = ["matchExpressions", "matchFields"];
        let nothing = fields.iter().all(|f| list(was, f).is_empty());
        let more = fields.iter().any(|f| !list(now, f).is_empty());
        let only_more = fields.iter().all(|f| {
            let same = |(now, was)| internal::same("NodeSelectorRequirement", now, was);
            let (now, was) = (list(now, f), list(was, f));
            now.len() >= was.len() && now.iter().zip(was).all(same)
        });
        if !only_more || (nothing && more) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.invalid(&path.index(i), term_shown(now), detail);
        }
    }
}

/// `nodeSelectorTerms` in upstream's own form.
pub(crate) fn node_selector_shown(selector: &Value) -> Shown {
    let terms = get(selector, "nodeSelectorTerms");
    let terms = match terms.is_null() {
        true => Shown("null".into()),
        false => Shown::list(list(selector, "nodeSelectorTerms").iter().map(term_shown)),
    };
    Shown(format!("{{\"NodeSelectorTerms\":{}}}", terms.0))
}

/// A term in upstream's own form.
fn term_shown(term: &Value) -> Shown {
    let requirements = |field: &str| match get(term, field) {
        Value::Null => "null".to_string(),
        _ => {
            let one = |e: &Value| {
                Shown::members([
                    ("Key", Some(string(e, "key").into())),
                    ("Operator", Some(string(e, "operator").into())),
                    ("Values", Some(get(e, "values").clone())),
                ])
            };
            Shown::list(list(term, field).iter().map(one)).0
        }
    };
    Shown(format!(
        "{{\"MatchExpressions\":{},\"MatchFields\":{}}}",
        requirements("matchExpressions"),
        requirements("matchFields")
    ))
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
            Some(c) => {
                if let Some(difference) = internal::difference("EphemeralContainer", was, c) {
                    let detail =
                        format!("existing ephemeral containers {name:?} may not be changed\n{difference}");
                    errors.forbidden(&path.child(field), &detail);
                }
            }
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
