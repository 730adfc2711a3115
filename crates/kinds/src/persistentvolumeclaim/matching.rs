//! Which volumes do for a claim. Source: upstream's `pv_helpers.go` and `checkVolumeSatisfyClaim`.

use crate::Seen;
use crate::node::NODES;
use crate::node_selector::{self, Chosen};
use crate::persistentvolume::PERSISTENTVOLUMES as VOLUMES;
use crate::row::{annotation, text};
use crate::storageclass::STORAGECLASSES as CLASSES;
use crate::workload::{PODS, Pod};
use meta::{Object, Quantity};
use serde_json::Value;
use std::borrow::Cow;

/// The node for whose pod a claim is to be bound; the scheduler says so.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

pub(super) fn storage(value: &Value, pointer: &str) -> Quantity {
    Quantity::parse(text(value, pointer)).unwrap_or_default()
}

pub(super) fn modes(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect()
}

/// The smallest free volume that fits, one reserved for this claim first. A claim that waits for its pod takes no other.
pub(super) fn find_volume<'a>(
    seen: &Seen<'a>,
    claim: &Object,
    value: &Value,
    waits: bool,
) -> Option<&'a Object> {
    let node = match selected_node(value) {
        "" => pods_using(seen, claim)
            .find(Pod::is_placed)
            .and_then(|pod| pod.facts.spec.node_name.clone()),
        node => Some(node.into()),
    };
    let node = node.and_then(|node| seen.snapshot.get(NODES, "", &node));
    let candidates = fitting(seen, claim, value).filter_map(|volume| {
        let spec = volume.value();
        let reserved = is_for(&spec, claim);
        let near = node.is_none_or(|node| is_near(&spec, node));
        let rank = (!reserved, storage(&spec, "/spec/capacity/storage"));
        (reserved || (near && !waits)).then_some((rank, volume))
    });
    candidates.min_by_key(|(rank, _)| *rank).map(|(_, volume)| volume)
}

/// Whether pods on the node can have the volume.
fn is_near(volume: &Value, node: &Object) -> bool {
    let labels = node.meta().labels.iter();
    let chosen = Chosen {
        name: node.name(),
        labels: &labels
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    };
    node_selector::selects(volume.pointer("/spec/nodeAffinity/required"), &chosen)
}

/// The free volumes that give the claim what it asks for, and those reserved for it that can: whoever reserved one has
/// chosen it, whatever its class and labels.
pub fn fitting<'a>(seen: &Seen<'a>, claim: &Object, value: &Value) -> impl Iterator<Item = &'a Object> {
    let selector = value
        .pointer("/spec/selector")
        .filter(|s| !s.is_null())
        .map(|_| crate::workload::selector(value));
    seen.snapshot.list(VOLUMES, "").filter(move |volume| {
        let spec = volume.value();
        if is_reserved(&spec) {
            return is_for(&spec, claim) && mismatch(value, volume, &spec, Class::MayDiffer).is_none();
        }
        mismatch(value, volume, &spec, Class::Counts).is_none()
            && selector.as_ref().is_none_or(|s| s.matches(&volume.meta().labels))
            && text(&spec, "/status/phase") != "Released"
    })
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Class {
    Counts,
    MayDiffer,
}

/// Why the volume is not what the claim asks for.
pub(super) fn mismatch(
    claim: &Value,
    volume: &Object,
    spec: &Value,
    class: Class,
) -> Option<Cow<'static, str>> {
    let differs = |field: &str| text(claim, field) != text(spec, field);
    let is_block = |value: &Value| text(value, "/spec/volumeMode") == "Block";
    let offered = modes(spec, "/spec/accessModes");
    if volume.meta().is_deleting() {
        return Some(format!("the volume is marked for deletion {:?}", volume.name()).into());
    }
    let why = if storage(spec, "/spec/capacity/storage") < storage(claim, "/spec/resources/requests/storage")
    {
        "requested PV is too small"
    } else if class == Class::Counts && differs("/spec/storageClassName") {
        "storageClassName does not match"
    } else if differs("/spec/volumeAttributesClassName") {
        "volumeAttributesClassName does not match"
    } else if is_block(claim) != is_block(spec) {
        "incompatible volumeMode"
    } else if !modes(claim, "/spec/accessModes")
        .iter()
        .all(|m| offered.contains(m))
    {
        "incompatible accessMode"
    } else {
        return None;
    };
    Some(why.into())
}

/// The volume is somebody's, or kept for somebody.
pub(super) fn is_reserved(volume: &Value) -> bool {
    !text(volume, "/spec/claimRef/name").is_empty()
}

/// The volume's reference names this claim (by uid, where it has one).
pub(super) fn is_for(volume: &Value, claim: &Object) -> bool {
    let uid = text(volume, "/spec/claimRef/uid");
    text(volume, "/spec/claimRef/namespace") == claim.namespace()
        && text(volume, "/spec/claimRef/name") == claim.name()
        && (uid.is_empty() || uid == claim.uid())
}

/// The claim and its volume name each other.
pub fn is_bound(claim: &Value) -> bool {
    !text(claim, "/spec/volumeName").is_empty() && annotation(claim, BIND_COMPLETED).is_some()
}

/// Where the scheduler wants the claim's pod; empty before it has looked.
pub fn selected_node(claim: &Value) -> &str {
    annotation(claim, SELECTED_NODE).unwrap_or_default()
}

/// The class gives volumes where the pod is, and no pod has a node yet, or is about to get one.
pub(super) fn is_waiting_for_consumer(seen: &Seen, claim: &Object, value: &Value) -> bool {
    binds_late(seen, value)
        && selected_node(value).is_empty()
        && !pods_using(seen, claim).any(|pod| pod.is_placed() && !pod.is_finished())
}

/// The class of the claim gives volumes only where a pod needs them.
pub fn binds_late(seen: &Seen, claim: &Value) -> bool {
    let class = text(claim, "/spec/storageClassName");
    let class = seen.snapshot.get(CLASSES, "", class).map(Object::value);
    class.is_some_and(|class| text(&class, "/volumeBindingMode") == "WaitForFirstConsumer")
}

/// Pods that mount this claim.
pub(super) fn pods_using<'a>(seen: &Seen<'a>, claim: &Object) -> impl Iterator<Item = Pod> + use<'a> {
    let name = claim.name().to_string();
    let pods = seen.snapshot.list(PODS, claim.namespace()).map(Pod::of);
    pods.filter(move |pod| pod.claims().any(|claim| claim == name))
}
