//! What rules a node out for a pod, in upstream's words.

use crate::neighbours::Neighbours;
use crate::node::{NodeView, Taint};
use crate::volumes::Volumes;
use kinds::Seen;
use kinds::node_selector;
use kinds::persistentvolumeclaim::{self, PERSISTENTVOLUMECLAIMS};
use kinds::pod;
use kinds::row::text;
use kinds::storageclass::{PROVISIONER, STORAGECLASSES};
use kinds::workload::host_ports;
use meta::{Object, Quantity, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a pod asks of its node.
pub struct Wants<'a> {
    pub spec: &'a Value,
    pub requests: BTreeMap<String, Quantity>,
    host_ports: Vec<(String, String, i64)>,
}

impl<'a> Wants<'a> {
    pub fn of(pod: &'a Value) -> Self {
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        Self {
            spec,
            requests: pod::requests(spec),
            host_ports: host_ports(spec),
        }
    }
}

/// How long a claim of our own provisioner may take to get its volume before that is worth a word.
const PROVISIONING_SECONDS: i64 = 5;

pub const NO_MATCH: &str = "node(s) didn't match Pod's node affinity/selector";
pub const NO_PORTS: &str = "node(s) didn't have free ports for the requested pod ports";

/// Why a pod cannot be placed on any node yet.
#[derive(Debug, PartialEq)]
pub enum Obstacle {
    /// In upstream's words.
    Said(String),
    /// A volume is on its way. Only when it is not there at this time something is wrong.
    Passing { claim: String, until: Timestamp },
}

/// A claim that this pod has to wait for, whatever the node.
pub fn claims(seen: &Seen, pod: &Object, value: &Value) -> Option<Obstacle> {
    let volumes = value.pointer("/spec/volumes").and_then(Value::as_array);
    for volume in volumes.into_iter().flatten() {
        let name = text(volume, "/persistentVolumeClaim/claimName");
        if name.is_empty() {
            continue;
        }
        let Some(claim) = seen.snapshot.get(PERSISTENTVOLUMECLAIMS, pod.namespace(), name) else {
            return said(format!("persistentvolumeclaim {name:?} not found"));
        };
        if claim.meta().is_deleting() {
            return said(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let created = claim.meta().created;
        let claim = claim.value();
        if text(&claim, "/status/phase") == "Lost" {
            return said(format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
                text(&claim, "/spec/volumeName")
            ));
        }
        let named = !text(&claim, "/spec/volumeName").is_empty();
        if persistentvolumeclaim::is_bound(&claim)
            || (!named && persistentvolumeclaim::binds_late(seen, &claim))
        {
            continue;
        }
        let class = seen
            .snapshot
            .get(STORAGECLASSES, "", text(&claim, "/spec/storageClassName"))
            .map(Object::value)
            .unwrap_or_default();
        let until = created.map(|at| at.plus_seconds(PROVISIONING_SECONDS));
        let on_its_way = named || text(&class, "/provisioner") == PROVISIONER;
        match until.filter(|until| *until > seen.now && on_its_way) {
            Some(until) => {
                let claim = name.to_string();
                return Some(Obstacle::Passing { claim, until });
            }
            None => return said("pod has unbound immediate PersistentVolumeClaims".into()),
        }
    }
    None
}

fn said(why: String) -> Option<Obstacle> {
    Some(Obstacle::Said(why))
}

/// All that rules this node out; empty when it will do.
pub fn problems(wants: &Wants, volumes: &Volumes, neighbours: &Neighbours, node: &NodeView) -> Vec<String> {
    if node.unschedulable && !tolerates_unschedulable(wants) {
        return vec!["node(s) were unschedulable".into()];
    }
    if untolerated(wants, node).is_some() {
        return vec!["node(s) had untolerated taint(s)".into()];
    }
    if !matches_selector(wants, node) {
        return vec![NO_MATCH.into()];
    }
    if lacks_ports(wants, node) {
        return vec![NO_PORTS.into()];
    }
    let lacking = lacking(wants, node);
    if !lacking.is_empty() {
        return lacking;
    }
    let problem = volumes.problem(node).or_else(|| neighbours.problem(node));
    problem.map(str::to_string).into_iter().collect()
}

pub fn lacks_ports(wants: &Wants, node: &NodeView) -> bool {
    wants.host_ports.iter().any(|(protocol, ip, port)| {
        node.host_ports
            .iter()
            .any(|(p, i, n)| p == protocol && n == port && (i == ip || i == "0.0.0.0" || ip == "0.0.0.0"))
    })
}

fn lacking(wants: &Wants, node: &NodeView) -> Vec<String> {
    let mut out = Vec::new();
    let pods = node.allocatable.get("pods").map_or(i64::MAX, |q| q.value());
    if node.pods as i64 + 1 > pods {
        out.push("Too many pods".to_string());
    }
    for (name, wanted) in wants.requests.iter().filter(|(_, q)| !q.is_zero()) {
        let offered = node.allocatable.get(name).copied().unwrap_or_default();
        let used = node.requested.get(name).copied().unwrap_or_default();
        if used.plus(*wanted) > offered {
            out.push(format!("Insufficient {name}"));
        }
    }
    out
}

fn tolerations<'a>(wants: &Wants<'a>) -> impl Iterator<Item = &'a Value> + use<'a> {
    wants
        .spec
        .get("tolerations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// A taint that keeps the pod off the node.
pub fn untolerated<'a>(wants: &Wants, node: &'a NodeView) -> Option<&'a Taint> {
    let hard = |taint: &&Taint| taint.effect != "PreferNoSchedule";
    node.taints
        .iter()
        .filter(hard)
        .find(|taint| !tolerates(wants, taint))
}

fn tolerates_unschedulable(wants: &Wants) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: String::new(),
        effect: "NoSchedule".into(),
    };
    tolerates(wants, &taint)
}

pub fn tolerates(wants: &Wants, taint: &Taint) -> bool {
    tolerations(wants).any(|t| {
        let (key, effect) = (text(t, "/key"), text(t, "/effect"));
        let key_fits = key == taint.key || (key.is_empty() && text(t, "/operator") == "Exists");
        let value_fits = text(t, "/operator") == "Exists" || text(t, "/value") == taint.value;
        key_fits && value_fits && (effect.is_empty() || effect == taint.effect)
    })
}

pub fn matches_selector(wants: &Wants, node: &NodeView) -> bool {
    let selector = wants.spec.get("nodeSelector").and_then(Value::as_object);
    let equal = |(key, value): (&String, &Value)| node.labels.get(key).map(String::as_str) == value.as_str();
    if !selector.into_iter().flatten().all(equal) {
        return false;
    }
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    node_selector::selects(wants.spec.pointer(required), &node.chosen())
}
