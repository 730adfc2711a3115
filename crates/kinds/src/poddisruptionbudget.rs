//! PodDisruptionBudget: how many of an application's pods may be gone at a time by will. Here is also what it says to an
//! eviction. Source: policy/v1 API reference.

use crate::json::{at, ensure_object, get, has, items_mut, list, number, put, put_default, some, string};
use crate::row::{age, text};
use crate::workload::label_selector;
use crate::{Check, Column, Row, Rules, Write, check, internal};
use meta::{Errors, Object, Path, Res, Snapshot, Status, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

pub const PODDISRUPTIONBUDGETS: Res = Res::new("policy", "poddisruptionbudgets");

/// Stood in selectors of a version that is gone.
const V1BETA1_LABEL: &str = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";
/// Evictions that a budget remembers until its controller has seen the pods go.
const DISRUPTED_MAX: usize = 2000;
const ALLOWED: &str = "DisruptionAllowed";

pub fn row() -> Row {
    Row {
        res: PODDISRUPTIONBUDGETS,
        version: "v1",
        kind: "PodDisruptionBudget",
        singular: "poddisruptionbudget",
        short_names: &["pdb"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.policy.v1.PodDisruptionBudget",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Min Available", "string")
                    .says("The minimum number of pods that must be available."),
                Column::new("Max Unavailable", "string")
                    .says("The maximum number of pods that may be unavailable."),
                Column::new("Allowed Disruptions", "integer")
                    .says("Calculated number of pods that may be disrupted at this time."),
                Column::AGE,
            ]
        },
        rules: Arc::new(PodDisruptionBudget),
    }
}

struct PodDisruptionBudget;

impl Rules for PodDisruptionBudget {
    fn default(&self, object: &mut Value) {
        if let Some(selector) = object.pointer_mut("/spec/selector") {
            forget_label(selector);
        }
        status(object);
    }

    fn prepare(&self, _write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        status(object);
    }

    fn create_checks(&self) -> &'static [Check] {
        &[Check::Object]
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn check_name(&self, name: &str) -> Vec<String> {
        meta::name::check_path_segment(name)
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        if has(spec, "minAvailable") && has(spec, "maxUnavailable") {
            let shown = internal::shown("PodDisruptionBudgetSpec", spec);
            errors.invalid(&path, shown, "minAvailable and maxUnavailable cannot be both set");
        }
        for field in ["minAvailable", "maxUnavailable"] {
            if let Some(amount) = some(spec, field) {
                let path = path.child(field);
                check::int_or_percent(amount, &path, errors);
                check::at_most_100_percent(amount, &path, errors);
            }
        }
        check::label_selector(get(spec, "selector"), &path.child("selector"), errors);
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        check::one_of_given(spec, "unhealthyPodEvictionPolicy", &policies, &path, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => &[Check::Change],
            _ => &[Check::Object],
        }
    }

    fn validate_update(&self, write: Write, object: &Value, _old: &Value, errors: &mut Errors) {
        if write != Write::Status {
            return;
        }
        let (status, path) = (get(object, "status"), Path::new("status"));
        check::conditions(list(status, "conditions"), &path.child("conditions"), errors);
        for field in [
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ] {
            check::not_negative(status, field, &path, errors);
        }
    }

    fn needs_revision(&self) -> bool {
        true
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let amount = |field: &str| some(spec, field).map_or("N/A".into(), crate::json::quantity_text);
        vec![
            text(object, "/metadata/name").into(),
            amount("minAvailable").into(),
            amount("maxUnavailable").into(),
            number(get(object, "status"), "disruptionsAllowed").into(),
            age(object, now).into(),
        ]
    }
}

/// Counters that are shown even when they are 0.
fn status(object: &mut Value) {
    if let Some(status) = ensure_object(object, "status") {
        for field in [
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ] {
            put_default(status, field, 0);
        }
    }
}

/// Beside what a user has written the label means nothing; alone it chooses no pod.
fn forget_label(selector: &mut Value) {
    let alone = json!([{"key": V1BETA1_LABEL, "operator": "Exists"}]);
    let is_marker = |e: &Value| string(e, "key") == V1BETA1_LABEL;
    let labels = get(selector, "matchLabels").as_object();
    if get(selector, "matchExpressions") == &alone && labels.is_none_or(|labels| labels.is_empty()) {
        return;
    }
    if let Some(all) = selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        all.retain(|e| !is_marker(e));
    }
}

/// What the budgets of a pod say to its eviction.
pub enum Verdict {
    /// Nothing is against it.
    Free,
    /// It goes, and the budget remembers it with this status.
    Spends(Object, Value),
    /// No budget can answer, since there are several.
    Several,
}

/// Whether a pod may be evicted now. Pods that do not run, or are on their way out already, are nobody's concern.
pub fn evict(seen: &Snapshot, stored: &Object, pod: &Value, now: Timestamp) -> Result<Verdict, Status> {
    let is_idle = matches!(crate::pod::phase(pod), "Succeeded" | "Failed" | "Pending");
    if is_idle || stored.meta().is_deleting() {
        return Ok(Verdict::Free);
    }
    let chooses = |budget: &&Object| {
        let selector = label_selector(at(&budget.value(), "/spec/selector"));
        selector.matches(&stored.meta().labels)
    };
    let budgets: Vec<&Object> = seen
        .list(PODDISRUPTIONBUDGETS, stored.namespace())
        .filter(chooses)
        .collect();
    let budget = match budgets[..] {
        [] => return Ok(Verdict::Free),
        [one] => one,
        _ => return Ok(Verdict::Several),
    };
    let value = budget.value();
    if !crate::pod::is_ready(pod) && spares_unready(&value) {
        return Ok(Verdict::Free);
    }
    let status = spent(budget, &value, stored.name(), now)?;
    Ok(Verdict::Spends(budget.clone(), status))
}

/// A pod that is not ready counts for nothing where the budget holds without it, or does not care.
fn spares_unready(budget: &Value) -> bool {
    let (spec, status) = (get(budget, "spec"), get(budget, "status"));
    let wanted = number(status, "desiredHealthy");
    string(spec, "unhealthyPodEvictionPolicy") == "AlwaysAllow"
        || (number(status, "currentHealthy") >= wanted && wanted > 0)
}

/// The budget's status with one more pod gone; or why that cannot be.
fn spent(budget: &Object, value: &Value, pod: &str, now: Timestamp) -> Result<Value, Status> {
    let (name, status) = (budget.name(), get(value, "status"));
    if number(status, "observedGeneration") < budget.meta().generation {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&cause, 10));
    }
    let allowed = number(status, "disruptionsAllowed");
    let one = Res::new(PODDISRUPTIONBUDGETS.group, "poddisruptionbudget");
    if allowed < 0 {
        return Err(Status::forbidden(
            one,
            name,
            "pdb disruptions allowed is negative",
        ));
    }
    let disrupted = get(status, "disruptedPods").as_object();
    if disrupted.is_some_and(|pods| pods.len() > DISRUPTED_MAX) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden(one, name, why));
    }
    if allowed == 0 {
        return Err(too_many(&why_not(name, status), 0));
    }
    let mut status = status.clone();
    put(&mut status, "disruptionsAllowed", allowed - 1);
    if allowed == 1 {
        no_more(&mut status, now);
    }
    if let Some(pods) = ensure_object(&mut status, "disruptedPods") {
        put(pods, pod, now.rfc3339());
    }
    Ok(status)
}

fn why_not(name: &str, status: &Value) -> String {
    let mut conditions = list(status, "conditions").iter();
    let said = conditions
        .find(|c| string(c, "type") == ALLOWED)
        .filter(|c| string(c, "status") == "False" && !string(c, "message").is_empty());
    let (healthy, wanted) = (number(status, "currentHealthy"), number(status, "desiredHealthy"));
    let budget = format!("The disruption budget {name}");
    match said.map(|c| (string(c, "reason"), string(c, "message"))) {
        Some(("SyncFailed", why)) => {
            format!("{budget} does not allow evicting pods currently because it failed sync: {why}")
        }
        _ if healthy <= wanted => format!("{budget} needs {wanted} healthy pods and has {healthy} currently"),
        Some((reason, why)) => format!("{budget} does not allow evicting pods currently ({reason}): {why}"),
        None => format!("{budget} does not allow evicting pods currently"),
    }
}

fn too_many(cause: &str, retry_after_seconds: u64) -> Status {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = Status::too_many_requests(text, retry_after_seconds);
    status.details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    if retry_after_seconds > 0 {
        status.details["retryAfterSeconds"] = retry_after_seconds.into();
    }
    status
}

/// The last pod that might go has gone.
fn no_more(status: &mut Value, now: Timestamp) {
    let observed = number(status, "observedGeneration");
    let mut condition = json!({
        "type": ALLOWED, "status": "False", "reason": "InsufficientPods", "message": "",
        "lastTransitionTime": now.rfc3339(),
    });
    if observed != 0 {
        put(&mut condition, "observedGeneration", observed);
    }
    let mut conditions = items_mut(status, "conditions");
    match conditions.find(|c| string(c, "type") == ALLOWED) {
        Some(old) => {
            if string(old, "status") == "False" {
                put(
                    &mut condition,
                    "lastTransitionTime",
                    get(old, "lastTransitionTime").clone(),
                );
            }
            *old = condition;
        }
        None => {
            drop(conditions);
            crate::json::push(status, "conditions", condition);
        }
    }
}
