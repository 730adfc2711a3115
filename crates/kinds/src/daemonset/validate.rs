//! What a DaemonSet must be, and what of it may change.

use crate::json::{at, get, list, string, texts};
use crate::{Write, check, pod};
use meta::field::Shown;
use meta::selector::LabelSelector;
use meta::{Errors, Path};
use serde_json::Value;

pub(super) fn object(object: &Value, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    selector(spec, &path.child("selector"), errors);
    let (template, template_path) = (get(spec, "template"), path.child("template"));
    pod::validate::template(template, &template_path, errors);
    pod::validate::runs_forever(template, "DaemonSet", &template_path, errors);
    check::not_negative(spec, "minReadySeconds", &path, errors);
    strategy(get(spec, "updateStrategy"), &path.child("updateStrategy"), errors);
    check::not_negative(spec, "revisionHistoryLimit", &path, errors);
}

/// One that is missing chooses nothing, and so not the template either.
fn selector(spec: &Value, path: &Path, errors: &mut Errors) {
    let selector = get(spec, "selector");
    let mut own = Errors::new();
    check::label_selector(selector, path, &mut own);
    let parsed = serde_json::from_value(selector.clone()).ok().flatten();
    if let Ok(parsed) = LabelSelector::of_spec(parsed.as_ref())
        && own.is_empty()
    {
        check::template_fits(&parsed, spec, &mut own);
    }
    errors.append(own);
    let is_empty =
        texts(selector, "matchLabels").next().is_none() && list(selector, "matchExpressions").is_empty();
    if !selector.is_null() && is_empty {
        let detail = "empty selector is invalid for daemonset";
        errors.invalid(path, check::selector_shown(selector), detail);
    }
}

fn strategy(strategy: &Value, path: &Path, errors: &mut Errors) {
    let (rolling, rolling_path) = (get(strategy, "rollingUpdate"), path.child("rollingUpdate"));
    match string(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_null() => errors.required(&rolling_path, ""),
        "RollingUpdate" => rolling_update(rolling, &rolling_path, errors),
        kind => {
            // Upstream shows its own form of the structure, in which a number that is not given is 0.
            let part = |field: &str| Some(crate::json::some(rolling, field).cloned().unwrap_or(0.into()));
            let rolling = match rolling.is_null() {
                true => Shown("null".into()),
                false => Shown::members([
                    ("MaxUnavailable", part("maxUnavailable")),
                    ("MaxSurge", part("maxSurge")),
                ]),
            };
            let kind = Value::from(kind);
            let shown = Shown(format!("{{\"Type\":{kind},\"RollingUpdate\":{}}}", rolling.0));
            errors.not_supported(path, shown, &["RollingUpdate", "OnDelete"]);
        }
    }
}

fn rolling_update(rolling: &Value, path: &Path, errors: &mut Errors) {
    let (down, up) = (get(rolling, "maxUnavailable"), get(rolling, "maxSurge"));
    let (down_path, up_path) = (path.child("maxUnavailable"), path.child("maxSurge"));
    check::int_or_percent(down, &down_path, errors);
    check::int_or_percent(up, &up_path, errors);
    check::at_most_100_percent(down, &down_path, errors);
    check::at_most_100_percent(up, &up_path, errors);
    let is_some = |value: &Value| check::int_or_percent_value(value) != 0;
    match (is_some(down), is_some(up)) {
        (true, true) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.invalid(&up_path, up.clone(), detail);
        }
        (false, false) => errors.required(&down_path, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}

pub(super) fn update(write: Write, object: &Value, old: &Value, errors: &mut Errors) {
    if write != Write::Status {
        check::immutable_selector(object, old, errors);
        return;
    }
    let (status, path) = (get(object, "status"), Path::new("status"));
    for field in [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ] {
        check::not_negative(status, field, &path, errors);
    }
    check::collisions(status, at(old, "/status"), errors);
}
