//! What a node says to a pod that was given to it, by whomever: the filters that do not depend on other nodes, once
//! more. Source: kubelet's predicate admission.

use crate::filter::{self, Wants};
use crate::node::{self, NodeView};
use kinds::workload::Pod;
use meta::{Object, Quantity};
use serde_json::Value;

/// Reason and message of the refusal; `None` when the pod may run. `others` are the pods that the node has taken on.
pub fn refusal<'a>(
    pod: &Value,
    node: &Object,
    others: impl Iterator<Item = &'a Object>,
) -> Option<(&'static str, String)> {
    let mut view = node::view(node);
    for other in others.map(Pod::of).filter(|other| !other.is_finished()) {
        view.add(other.share());
    }
    let wants = Wants::of(pod);
    let predicate = |name: &'static str, why: &str| Some((name, format!("Predicate {name} failed: {why}")));
    if let Some(lack) = lacking(&wants, &view) {
        return Some(lack);
    }
    if !filter::matches_selector(&wants, &view) {
        return predicate("NodeAffinity", filter::NO_MATCH);
    }
    if filter::lacks_ports(&wants, &view) {
        return predicate("NodePorts", filter::NO_PORTS);
    }
    let ends_pods = |taint: &&node::Taint| taint.effect == "NoExecute";
    let mut taints = view.taints.iter().filter(ends_pods);
    match taints.any(|taint| !filter::tolerates(&wants, taint)) {
        true => predicate(
            "TaintToleration",
            "node(s) had taints that the pod didn't tolerate",
        ),
        false => None,
    }
}

/// The first resource that does not suffice. What the node does not offer at all is the cluster's, not its own.
fn lacking(wants: &Wants, node: &NodeView) -> Option<(&'static str, String)> {
    let refusal = |reason, resource: &str, [wanted, used, offered]: [i64; 3]| {
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {offered}"
        );
        Some((reason, message))
    };
    let pods = node.allocatable.get("pods").map_or(i64::MAX, |q| q.value());
    let taken = i64::try_from(node.pods).unwrap_or(i64::MAX);
    if taken >= pods {
        return refusal("OutOfpods", "pods", [1, taken, pods]);
    }
    for (resource, reason) in [
        ("cpu", "OutOfcpu"),
        ("memory", "OutOfmemory"),
        ("ephemeral-storage", "OutOfephemeral-storage"),
    ] {
        let wanted = wants.requests.get(resource).copied().unwrap_or_default();
        let used = node.requested.get(resource).copied().unwrap_or_default();
        let Some(offered) = node.allocatable.get(resource).copied() else {
            continue;
        };
        if !wanted.is_zero() && used.plus(wanted) > offered {
            let number = |q: Quantity| if resource == "cpu" { q.millis() } else { q.value() };
            return refusal(reason, resource, [wanted, used, offered].map(number));
        }
    }
    None
}
