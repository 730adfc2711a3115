//! Which of the nodes that will do is best: room left, preferred affinity, no taints to avoid.

use crate::filter::{Wants, tolerates};
use crate::node::NodeView;
use kinds::node_selector::matches_term;
use serde_json::Value;

/// Higher is better. Each part is 0 to 100, as upstream's plugins score.
pub fn score(wants: &Wants, node: &NodeView) -> i64 {
    least_allocated(wants, node) + preferred_affinity(wants, node) + 3 * no_taints_to_avoid(wants, node)
}

fn least_allocated(wants: &Wants, node: &NodeView) -> i64 {
    let part = |name: &str| {
        let total = node.allocatable.get(name).map_or(0, |q| q.millis());
        let used = node.requested.get(name).map_or(0, |q| q.millis())
            + wants.requests.get(name).map_or(0, |q| q.millis());
        if total == 0 {
            0
        } else {
            ((total - used).max(0) as i128 * 100 / total as i128) as i64
        }
    };
    (part("cpu") + part("memory")) / 2
}

fn preferred_affinity(wants: &Wants, node: &NodeView) -> i64 {
    let path = "/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution";
    let terms = wants.spec.pointer(path).and_then(Value::as_array);
    let weight =
        |term: &Value| match matches_term(term.get("preference").unwrap_or(&Value::Null), &node.chosen()) {
            true => term.get("weight").and_then(Value::as_i64).unwrap_or(0),
            false => 0,
        };
    terms.into_iter().flatten().map(weight).sum::<i64>().clamp(0, 100)
}

fn no_taints_to_avoid(wants: &Wants, node: &NodeView) -> i64 {
    let avoided = node
        .taints
        .iter()
        .filter(|t| t.effect == "PreferNoSchedule" && !tolerates(wants, t))
        .count();
    100 / (1 + avoided as i64)
}
