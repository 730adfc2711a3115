//! What a pod gets from its own words and its node's as it is made, bound and reported on.
//! Source: the pod's registry strategy, KEP-3243 (label keys), KEP-5067 (observed generations), KEP-4742 (topology).

use crate::json::{
    at, child_mut, ensure_object, get, items_mut, list, number, push, put, string, take, texts,
};
use crate::node::NODES;
use crate::row::text;
use meta::{Snapshot, Timestamp};
use serde_json::{Value, json};

/// A new pod with gates waits for them.
pub(super) fn gated(now: Timestamp) -> Value {
    json!({
        "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
        "lastProbeTime": null, "lastTransitionTime": now.rfc3339(),
    })
}

/// `matchLabelKeys` and `mismatchLabelKeys` stand for the pod's own values: they become requirements of the selector.
pub(super) fn merge_label_keys(pod: &mut Value) {
    let labels = at(pod, "/metadata/labels").clone();
    let Some(spec) = child_mut(pod, "spec") else {
        return;
    };
    for spread in items_mut(spec, "topologySpreadConstraints") {
        merge(spread, &["matchLabelKeys"], &labels);
    }
    let Some(affinity) = child_mut(spec, "affinity") else {
        return;
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = child_mut(affinity, kind) else {
            continue;
        };
        let both = ["matchLabelKeys", "mismatchLabelKeys"];
        for preferred in items_mut(terms, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = child_mut(preferred, "podAffinityTerm") {
                merge(term, &both, &labels);
            }
        }
        for term in items_mut(terms, "requiredDuringSchedulingIgnoredDuringExecution") {
            merge(term, &both, &labels);
        }
    }
}

/// Without a selector nothing is selected, whatever the keys.
fn merge(holder: &mut Value, fields: &[&str], labels: &Value) {
    for field in fields {
        let keys = list(holder, field).to_vec();
        let operator = if *field == "matchLabelKeys" { "In" } else { "NotIn" };
        let Some(selector) = child_mut(holder, "labelSelector") else {
            return;
        };
        for key in keys {
            let value = key.as_str().map_or(&Value::Null, |key| get(labels, key));
            if value.is_string() {
                let requirement = json!({"key": key, "operator": operator, "values": [value]});
                push(selector, "matchExpressions", requirement);
            }
        }
    }
}

/// Clients that know nothing of observed generations do not take them away.
pub(super) fn keep_observed_generations(status: &mut Value, before: &Value) {
    const FIELD: &str = "observedGeneration";
    let keep = |to: &mut Value, from: &Value| {
        if number(to, FIELD) == 0 && number(from, FIELD) != 0 {
            put(to, FIELD, number(from, FIELD));
        }
    };
    keep(status, before);
    let mut old: Vec<&Value> = list(before, "conditions").iter().collect();
    for condition in items_mut(status, "conditions") {
        // Of several of a type the first is the first.
        let same = old
            .iter()
            .position(|c| string(c, "type") == string(condition, "type"));
        if let Some(at) = same {
            keep(condition, old.remove(at));
        }
    }
}

/// Upstream writes the times of a condition whether they are known or not.
pub(super) fn show_times(status: &mut Value) {
    for condition in items_mut(status, "conditions") {
        for time in ["lastProbeTime", "lastTransitionTime"] {
            if get(condition, time).is_null() {
                put(condition, time, Value::Null);
            }
        }
    }
}

/// A pod on a node carries the labels of the node's zone and region, and waits for no other node.
pub(super) fn take_topology(pod: &mut Value, seen: &Snapshot) {
    let name = text(pod, "/spec/nodeName").to_string();
    if name.is_empty() {
        return;
    }
    if let Some(status) = child_mut(pod, "status") {
        take(status, "nominatedNodeName");
    }
    let Some(node) = seen.get(NODES, "", &name) else {
        return;
    };
    let node = node.value();
    for key in ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"] {
        let found = texts(get(&node, "metadata"), "labels").find(|(k, _)| *k == key);
        if let Some((_, value)) = found
            && let Some(labels) = child_mut(pod, "metadata").and_then(|m| ensure_object(m, "labels"))
        {
            put(labels, key, value);
        }
    }
}

/// The list of addresses begins with the one address; where they differ, the one is what counts, as older clients know
/// only that.
pub(super) fn same_addresses(status: &mut Value) {
    let ip = string(status, "podIP").to_string();
    let first = list(status, "podIPs")
        .first()
        .map(|first| string(first, "ip").to_string());
    match first {
        Some(first) if ip.is_empty() => put(status, "podIP", first),
        Some(first) if first == ip => {}
        _ if ip.is_empty() => {}
        _ => put(status, "podIPs", json!([{"ip": ip}])),
    }
}
