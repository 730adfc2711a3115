//! What a pod's status says, read in one place: phase, conditions, readiness, grace and quality of service.

use crate::json::{at, get, int, list, members, quantity_text, string};
use crate::row::text;
use meta::{Quantity, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`, or empty.
pub fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

/// Its containers have ended for good.
pub fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub fn is_terminating(pod: &Value) -> bool {
    !at(pod, "/metadata/deletionTimestamp").is_null()
}

/// Neither finished nor being deleted: it counts as one of its owner's replicas.
pub fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

pub fn is_scheduled(pod: &Value) -> bool {
    !text(pod, "/spec/nodeName").is_empty()
}

/// The condition of a type, of any object that keeps conditions in its status.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(get(object, "status"), "conditions")
        .iter()
        .find(|c| string(c, "type") == kind)
}

pub fn ready_condition(pod: &Value) -> Option<&Value> {
    condition(pod, "Ready")
}

pub fn is_ready(pod: &Value) -> bool {
    ready_condition(pod).is_some_and(|c| string(c, "status") == "True")
}

/// Since when it has been ready.
pub fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = ready_condition(pod).filter(|c| string(c, "status") == "True")?;
    Timestamp::parse(string(ready, "lastTransitionTime"))
}

/// Ready for at least `min_ready_seconds`. When it is ready but not yet available, `available_at` says when it will be.
pub fn is_available(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds == 0 || available_at(pod, min_ready_seconds).is_some_and(|at| at <= now))
}

/// When a ready pod becomes (or became) available if it stays ready.
pub fn available_at(pod: &Value, min_ready_seconds: i64) -> Option<Timestamp> {
    ready_since(pod).map(|since| since.plus_seconds(min_ready_seconds))
}

/// Restarts of all app containers and sidecars.
pub fn restarts(pod: &Value) -> i64 {
    let status = get(pod, "status");
    ["containerStatuses", "initContainerStatuses"]
        .iter()
        .flat_map(|field| list(status, field))
        .filter_map(|c| int(c, "restartCount"))
        .fold(0, i64::saturating_add)
}

/// An init container that runs as long as the pod does.
pub fn is_sidecar(container: &Value) -> bool {
    string(container, "restartPolicy") == "Always"
}

/// Quantities by resource name.
pub type Totals = BTreeMap<String, Quantity>;

/// What the pod asks for in all (`requests`) as the scheduler counts it: app containers and sidecars together, or the
/// largest init step if that is more, plus the overhead. A request of the whole pod replaces the containers' sum.
pub fn requests(spec: &Value) -> Totals {
    totals(spec, "requests")
}

/// The same for `limits`.
pub fn limits(spec: &Value) -> Totals {
    totals(spec, "limits")
}

/// What the containers have together, or the largest init step if that is more.
pub(super) fn containers(spec: &Value, field: &str) -> Totals {
    let mut running = Totals::new();
    for c in list(spec, "containers") {
        add(&mut running, &quantities(get(c, "resources"), field));
    }
    let (mut sidecars, mut init) = (Totals::new(), Totals::new());
    for c in list(spec, "initContainers") {
        let own = quantities(get(c, "resources"), field);
        if is_sidecar(c) {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            raise(&mut init, &sidecars);
        } else {
            let mut step = sidecars.clone();
            add(&mut step, &own);
            raise(&mut init, &step);
        }
    }
    raise(&mut running, &init);
    running
}

fn totals(spec: &Value, field: &str) -> Totals {
    let mut running = containers(spec, field);
    for (name, quantity) in quantities(get(spec, "resources"), field) {
        running.insert(name, quantity);
    }
    let overhead = quantities(spec, "overhead");
    for (name, quantity) in overhead {
        // Overhead counts against a limit only where there is one.
        match running.get_mut(&name) {
            Some(sum) => *sum = sum.plus(quantity),
            None if field == "requests" => {
                running.insert(name, quantity);
            }
            None => {}
        }
    }
    running
}

fn quantities(resources: &Value, field: &str) -> Totals {
    members(resources, field)
        .filter_map(|(name, q)| Some((name.clone(), Quantity::parse(&quantity_text(q))?)))
        .collect()
}

fn add(sum: &mut Totals, more: &Totals) {
    for (name, quantity) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.plus(*quantity);
    }
}

fn raise(to: &mut Totals, floor: &Totals) {
    for (name, quantity) in floor {
        let entry = to.entry(name.clone()).or_default();
        *entry = (*entry).max(*quantity);
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from the cpu and memory of all containers.
pub fn qos_class(spec: &Value) -> &'static str {
    let compute = |resources: &Value, field| -> Totals {
        let mut all = quantities(resources, field);
        all.retain(|name, q| matches!(name.as_str(), "cpu" | "memory") && !q.is_zero());
        all
    };
    let of_pod = get(spec, "resources");
    let mut parts: Vec<&Value> = vec![of_pod];
    if of_pod.is_null() {
        parts = super::defaults::all_containers(spec)
            .map(|c| get(c, "resources"))
            .collect();
    }
    let (mut requests, mut limits, mut guaranteed) = (Totals::new(), Totals::new(), true);
    for resources in parts {
        let limit = compute(resources, "limits");
        guaranteed &= limit.len() == 2;
        add(&mut requests, &compute(resources, "requests"));
        add(&mut limits, &limit);
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    let equal = requests.iter().all(|(name, q)| limits.get(name) == Some(q));
    if guaranteed && equal && requests.len() == limits.len() {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Seconds between the notice and the kill for a deletion that asks for `asked` (or for nothing): none for a pod that
/// no node runs.
pub fn grace_seconds(pod: &Value, asked: Option<i64>) -> i64 {
    if !is_scheduled(pod) || is_finished(pod) {
        return 0;
    }
    let own = int(get(pod, "spec"), "terminationGracePeriodSeconds");
    let wanted = asked.or(own).unwrap_or(30);
    // A negative period means one second: at once, but noticed.
    if wanted < 0 { 1 } else { wanted }
}
