//! A node as the scheduler sees it: what it offers, what runs on it, whom it keeps away.

use kinds::node_selector::Chosen;
use kinds::pod::PODS;
use kinds::row::text;
use kinds::workload::{Pod, Share};
use meta::{Object, Quantity, Snapshot};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub struct NodeView {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
    pub allocatable: BTreeMap<String, Quantity>,
    pub requested: BTreeMap<String, Quantity>,
    pub pods: usize,
    /// `(protocol, host IP, port)` in use.
    pub host_ports: BTreeSet<(String, String, i64)>,
    /// Pods on it that keep others away.
    pub repelling: Vec<Pod>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

impl NodeView {
    /// As node selectors see it.
    pub fn chosen(&self) -> Chosen<'_> {
        Chosen {
            name: &self.name,
            labels: &self.labels,
        }
    }
}

/// The parts of a node that can change a decision.
pub fn constraints(node: &Object) -> [Value; 4] {
    let value = node.value();
    [
        "/metadata/labels",
        "/spec/taints",
        "/spec/unschedulable",
        "/status/allocatable",
    ]
    .map(|part| value.pointer(part).cloned().unwrap_or_default())
}

/// All nodes with what runs on them.
pub fn views(snapshot: &Snapshot) -> Vec<NodeView> {
    let mut views: BTreeMap<String, NodeView> = snapshot
        .list(kinds::node::NODES, "")
        .map(|node| (node.name().to_string(), view(node)))
        .collect();
    for object in snapshot.list(PODS, "") {
        let facts = Pod::of(object);
        let Some(node) = facts
            .facts
            .spec
            .node_name
            .as_ref()
            .and_then(|name| views.get_mut(name))
        else {
            continue;
        };
        if facts.is_finished() {
            continue;
        }
        node.add(facts.share());
        if !facts.share().repels.is_empty() {
            node.repelling.push(facts);
        }
    }
    views.into_values().collect()
}

impl NodeView {
    /// One more pod runs on it.
    pub fn add(&mut self, share: &Share) {
        for (name, quantity) in &share.requests {
            match self.requested.get_mut(name) {
                Some(sum) => *sum = sum.plus(*quantity),
                None => drop(self.requested.insert(name.clone(), *quantity)),
            }
        }
        self.pods += 1;
        self.host_ports.extend(share.host_ports.iter().cloned());
    }
}

/// A node on which nothing runs.
pub fn view(node: &Object) -> NodeView {
    let value = node.value();
    let allocatable = value.pointer("/status/allocatable").and_then(Value::as_object);
    let quantity = |(name, q): (&String, &Value)| Some((name.clone(), Quantity::parse(q.as_str()?)?));
    let taint = |t: &Value| Taint {
        key: text(t, "/key").into(),
        value: text(t, "/value").into(),
        effect: text(t, "/effect").into(),
    };
    NodeView {
        name: node.name().to_string(),
        labels: node
            .meta()
            .labels
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        unschedulable: value.pointer("/spec/unschedulable") == Some(&Value::Bool(true)),
        taints: value
            .pointer("/spec/taints")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(taint)
            .collect(),
        allocatable: allocatable.into_iter().flatten().filter_map(quantity).collect(),
        requested: BTreeMap::new(),
        pods: 0,
        host_ports: BTreeSet::new(),
        repelling: Vec::new(),
    }
}
