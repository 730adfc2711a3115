//! What the claims of a pod say about its node, in upstream's words.

use crate::node::NodeView;
use kinds::node_selector::selects;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::persistentvolumeclaim::{self, PERSISTENTVOLUMECLAIMS, SELECTED_NODE, selected_node};
use kinds::plan::{Act, Plan, Target};
use kinds::row::text;
use kinds::storageclass::{NO_PROVISIONER, STORAGECLASSES};
use kinds::workload::Pod;
use kinds::{Seen, pod::PODS};
use meta::Object;
use serde_json::{Value, json};

const IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";
const ELSEWHERE: &str = "node(s) didn't match PersistentVolume's node affinity";
const NONE_FREE: &str = "node(s) didn't find available persistent volumes to bind";

/// The claims of one pod, with what is known of their volumes.
#[derive(Default)]
pub struct Volumes {
    /// Another pod has a claim that only one may have.
    in_use: bool,
    /// Where the bound volumes are, a node selector each.
    bound: Vec<Value>,
    /// For each claim that waits for this pod and gets only what is there: where the volumes that fit are.
    offered: Vec<Vec<Value>>,
    /// The claims that wait for this pod.
    unbound: Vec<Object>,
}

impl Volumes {
    pub fn of(seen: &Seen, pod: &Object) -> Self {
        let mut volumes = Self::default();
        let view = Pod::of(pod);
        for name in view.claims() {
            let Some(claim) = seen.snapshot.get(PERSISTENTVOLUMECLAIMS, pod.namespace(), name) else {
                continue;
            };
            let value = claim.value();
            volumes.in_use |= is_exclusive(&value) && is_used(seen, pod, name);
            let class = text(&value, "/spec/storageClassName");
            let class = seen.snapshot.get(STORAGECLASSES, "", class).map(Object::value);
            if !persistentvolumeclaim::is_bound(&value) {
                volumes.unbound.push(claim.clone());
            }
            match text(&value, "/spec/volumeName") {
                "" if class.is_some_and(|class| text(&class, "/provisioner") == NO_PROVISIONER) => {
                    let fitting = persistentvolumeclaim::fitting(seen, claim, &value);
                    volumes.offered.push(fitting.map(where_it_is).collect());
                }
                "" => {}
                name => {
                    let volume = seen.snapshot.get(PERSISTENTVOLUMES, "", name);
                    volumes.bound.extend(volume.map(where_it_is));
                }
            }
        }
        volumes
    }

    /// The node that was chosen before, for which claims are being bound.
    pub fn selected(&self) -> Option<String> {
        let nodes = self
            .unbound
            .iter()
            .map(|claim| selected_node(&claim.value()).to_string());
        nodes.into_iter().find(|node| !node.is_empty())
    }

    /// Has the claims bound for a pod on this node. True: the pod has to wait for that.
    pub fn bind(&self, node: &str, plan: &mut Plan) -> bool {
        let elsewhere = |claim: &&Object| selected_node(&claim.value()) != node;
        for claim in self.unbound.iter().filter(elsewhere) {
            plan.acts.push(Act::Patch {
                target: Target::exactly(PERSISTENTVOLUMECLAIMS, claim),
                subresource: "",
                patch: json!({"metadata": {"annotations": {SELECTED_NODE: node}}}),
            });
        }
        !self.unbound.is_empty()
    }

    /// Why the node will not do.
    pub fn problem(&self, node: &NodeView) -> Option<&'static str> {
        let node = node.chosen();
        let here = |selector: &Value| selects(Some(selector), &node);
        if self.in_use {
            return Some(IN_USE);
        }
        if !self.bound.iter().all(here) {
            return Some(ELSEWHERE);
        }
        let found = self.offered.iter().all(|volumes| volumes.iter().any(here));
        (!found).then_some(NONE_FREE)
    }
}

fn where_it_is(volume: &Object) -> Value {
    let value = volume.value();
    value
        .pointer("/spec/nodeAffinity/required")
        .cloned()
        .unwrap_or_default()
}

fn is_exclusive(claim: &Value) -> bool {
    let modes = claim.pointer("/spec/accessModes").and_then(Value::as_array);
    modes.into_iter().flatten().any(|mode| mode == "ReadWriteOncePod")
}

/// Another pod that has a node, and has not ended, uses this claim of the namespace.
fn is_used(seen: &Seen, pod: &Object, claim: &str) -> bool {
    let others = seen
        .snapshot
        .list(PODS, pod.namespace())
        .filter(|other| other.uid() != pod.uid());
    others
        .map(Pod::of)
        .any(|other| other.is_placed() && !other.is_finished() && other.claims().any(|name| name == claim))
}
