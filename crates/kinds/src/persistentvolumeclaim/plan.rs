//! How claims get their volumes: a volume that fits is bound, otherwise one is provisioned as a folder on the node.
//! Volumes whose claim is gone are released, and handed to the node for removal where the policy is Delete.

use super::PERSISTENTVOLUMECLAIMS as CLAIMS;
use super::matching::{
    BIND_COMPLETED, Class, find_volume, is_for, is_reserved, is_waiting_for_consumer, mismatch, pods_using,
    storage,
};
use super::provision::{node_folder, provision};
use crate::node::NODES;
use crate::persistentvolume::PERSISTENTVOLUMES as VOLUMES;
use crate::plan::{Act, EventAct, Plan, Target};
use crate::row::{annotation, text};
use crate::storageclass::{self, STORAGECLASSES as CLASSES};
use crate::workload::{PODS, Pod};
use crate::{Controller, Key, Seen};
use meta::{Change, ChangeKind, Object};
use serde_json::{Value, json};

pub const CONTROLLER: Controller = Controller {
    name: "persistentvolume-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};
pub const PROTECTION: Controller = Controller {
    name: "pvc-protection-controller",
    wakes: wakes_protection,
    plan: plan_protection,
    failed: crate::plan::untold,
};

pub const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let object = &change.object;
    if change.res == CLAIMS {
        return wakes_of_claim(change, seen);
    }
    if change.res == VOLUMES {
        let mut keys = vec![Key::of(VOLUMES, object)];
        let value = object.value();
        let (namespace, name) = (
            text(&value, "/spec/claimRef/namespace"),
            text(&value, "/spec/claimRef/name"),
        );
        match name.is_empty() {
            false => keys.push(Key::new(CLAIMS, namespace, name)),
            true => keys.extend(unbound(seen, object.name())),
        }
        return keys;
    }
    if change.res == PODS {
        return wakes_of_pod(change);
    }
    let folder = |node: &Object| node_folder(&node.value()).map(str::to_string);
    let moved = change.res == NODES && change.previous.as_ref().and_then(folder) != folder(object);
    if moved || change.res == CLASSES {
        unbound(seen, "")
    } else {
        Vec::new()
    }
}

/// Claims may wait for a pod that is put on a node.
fn wakes_of_pod(change: &Change) -> Vec<Key> {
    let (pod, before) = (Pod::of(&change.object), change.previous.as_ref().map(Pod::of));
    if !pod.is_placed() || before.is_some_and(|before| before.is_placed()) {
        return Vec::new();
    }
    let claims = pod.claims();
    claims
        .map(|claim| Key::new(CLAIMS, change.object.namespace(), claim))
        .collect()
}

/// The volume that the claim names; when that changes or the claim goes, also those that were reserved for it and that
/// it does not name: a claim may go, or get another volume, in the middle of being bound.
fn wakes_of_claim(change: &Change, seen: &Seen) -> Vec<Key> {
    let claim = &change.object;
    let named = |object: &Object| text(&object.value(), "/spec/volumeName").to_string();
    let name = named(claim);
    let mut keys = vec![Key::of(CLAIMS, claim)];
    keys.extend((!name.is_empty()).then(|| Key::new(VOLUMES, "", &name)));
    let moved = change
        .previous
        .as_ref()
        .is_some_and(|before| named(before) != name);
    if moved || change.kind == ChangeKind::Deleted {
        let volumes = seen.snapshot.list(VOLUMES, "").filter(|v| v.name() != name);
        let reserved = volumes.filter(|v| text(&v.value(), "/spec/claimRef/uid") == claim.uid());
        keys.extend(reserved.map(|v| Key::of(VOLUMES, v)));
    }
    keys
}

/// Claims that any volume may do for, or that have named this one.
fn unbound(seen: &Seen, volume: &str) -> Vec<Key> {
    let claims = seen.snapshot.list(CLAIMS, "");
    let wants = |claim: &Object| ["", volume].contains(&text(&claim.value(), "/spec/volumeName"));
    claims.filter(|c| wants(c)).map(|c| Key::of(CLAIMS, c)).collect()
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    match seen.snapshot.by_key(key.res, &key.key) {
        None => Plan::nothing(),
        Some(volume) if key.res == VOLUMES => plan_volume(seen, volume),
        Some(claim) => plan_claim(seen, claim),
    }
}

pub(super) fn claim_event(claim: &Object, warning: bool, reason: &'static str, message: String) -> Act {
    let about = Target::exactly(CLAIMS, claim);
    let (api_version, kind) = ("v1".into(), "PersistentVolumeClaim".into());
    Act::Event(EventAct {
        about,
        api_version,
        kind,
        warning,
        reason,
        message,
        field_path: None,
    })
}

fn plan_claim(seen: &Seen, claim: &Object) -> Plan {
    let mut plan = Plan::nothing();
    let value = claim.value();
    let name = text(&value, "/spec/volumeName");
    if annotation(&value, BIND_COMPLETED).is_some() {
        settle_bound(seen, claim, &value, name, &mut plan);
        return plan;
    }
    if claim.meta().is_deleting() {
        return plan;
    }
    if !name.is_empty() {
        return take_named(seen, claim, &value, name, plan);
    }
    set_default_class(seen, claim, &value, &mut plan);
    if !plan.acts.is_empty() {
        return plan;
    }
    let waits = is_waiting_for_consumer(seen, claim, &value);
    if let Some(volume) = find_volume(seen, claim, &value, waits) {
        return bind(claim, &value, volume, plan);
    }
    provision(seen, claim, &value, waits, plan)
}

/// A claim that names no class gets the default one, also when that appears later.
fn set_default_class(seen: &Seen, claim: &Object, value: &Value, plan: &mut Plan) {
    if value
        .pointer("/spec/storageClassName")
        .is_some_and(|c| !c.is_null())
    {
        return;
    }
    if let Some(class) = storageclass::default_class(seen.snapshot) {
        let target = Target::exactly(CLAIMS, claim);
        let patch = json!({"spec": {"storageClassName": class.name()}});
        plan.acts.push(Act::Patch {
            target,
            subresource: "",
            patch,
        });
    }
}

pub(super) fn claim_reference(claim: &Object) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(), "name": claim.name(),
        "uid": claim.uid(), "resourceVersion": claim.revision().to_string()})
}

/// Binds the claim to the volume that it asks for by name, if that is what it asks for.
fn take_named(seen: &Seen, claim: &Object, value: &Value, name: &str, mut plan: Plan) -> Plan {
    let Some(volume) = seen.snapshot.get(VOLUMES, "", name) else {
        return plan.why(format!("waits for volume {name}, which it names"));
    };
    let spec = volume.value();
    if is_for(&spec, claim) {
        return bind(claim, value, volume, plan);
    }
    if is_reserved(&spec) {
        let message = format!("volume {name:?} already bound to a different claim.");
        plan.acts
            .push(claim_event(claim, true, "FailedBinding", message.clone()));
        return plan.why(message);
    }
    match mismatch(value, volume, &spec, Class::Counts) {
        None => bind(claim, value, volume, plan),
        Some(why) => {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            plan.acts
                .push(claim_event(claim, true, "VolumeMismatch", message.clone()));
            plan.why(message)
        }
    }
}

fn bind(claim: &Object, value: &Value, volume: &Object, mut plan: Plan) -> Plan {
    let stored = volume.value();
    if text(&stored, "/spec/claimRef/uid") != claim.uid() {
        let mut patch = json!({"spec": {"claimRef": claim_reference(claim)}});
        // One that its owner reserved for the claim stays reserved when the claim gets another one.
        if !is_reserved(&stored) {
            patch["metadata"] = json!({"annotations": {BOUND_BY_CONTROLLER: "yes"}});
        }
        plan.acts.push(Act::Patch {
            target: Target::exactly(VOLUMES, volume),
            subresource: "",
            patch,
        });
    }
    plan.acts.push(match text(value, "/spec/volumeName").is_empty() {
        true => name_volume(claim, volume.name(), None),
        // Its owner chose it.
        false => Act::Patch {
            target: Target::exactly(CLAIMS, claim),
            subresource: "",
            patch: json!({"metadata": {"annotations": {BIND_COMPLETED: "yes"}}}),
        },
    });
    plan.why(format!("binds to volume {}", volume.name()))
}

pub(super) fn name_volume(claim: &Object, volume: &str, provisioner: Option<&str>) -> Act {
    let mut annotations = json!({BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"});
    if let Some(provisioner) = provisioner {
        annotations["volume.kubernetes.io/storage-provisioner"] = provisioner.into();
        annotations["volume.beta.kubernetes.io/storage-provisioner"] = provisioner.into();
    }
    let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": volume}});
    Act::Patch {
        target: Target::exactly(CLAIMS, claim),
        subresource: "",
        patch,
    }
}

/// Keeps the status of a claim that has been bound.
fn settle_bound(seen: &Seen, claim: &Object, value: &Value, name: &str, plan: &mut Plan) {
    let volume = seen.snapshot.get(VOLUMES, "", name);
    let spec = volume.map(Object::value).unwrap_or_default();
    let lost = match volume {
        _ if name.is_empty() => Some((
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        )),
        None => Some((
            "ClaimLost",
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        )),
        Some(_) if is_reserved(&spec) && !is_for(&spec, claim) => Some((
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        )),
        Some(_) => None,
    };
    if let Some((reason, message)) = lost {
        if text(value, "/status/phase") != "Lost" {
            let patch = json!({"status": {"phase": "Lost", "accessModes": null, "capacity": null}});
            plan.acts.push(Act::Patch {
                target: Target::exactly(CLAIMS, claim),
                subresource: "status",
                patch,
            });
            plan.acts.push(claim_event(claim, true, reason, message.into()));
        }
        return;
    }
    let Some(volume) = volume else { return };
    if text(&spec, "/spec/claimRef/uid") != claim.uid() {
        let patch = json!({"spec": {"claimRef": claim_reference(claim)}});
        plan.acts.push(Act::Patch {
            target: Target::exactly(VOLUMES, volume),
            subresource: "",
            patch,
        });
    }
    if let Some(wanted) = growth(seen, claim, value, &spec) {
        // The status follows from the volume's new size.
        grow(claim, volume, wanted, plan);
        return;
    }
    let status = json!({
        "phase": "Bound",
        "accessModes": spec.pointer("/spec/accessModes").cloned().unwrap_or_default(),
        "capacity": spec.pointer("/spec/capacity").cloned().unwrap_or_default(),
    });
    if value.get("status") != Some(&status) {
        let patch = json!({"status": status});
        plan.acts.push(Act::Patch {
            target: Target::of(CLAIMS, claim),
            subresource: "status",
            patch,
        });
    }
}

/// The size that the claim asks for, where its volume is smaller and may grow. Folders have no size of their own, so
/// what the volume says is all there is to change.
fn growth<'a>(seen: &Seen, claim: &Object, value: &'a Value, volume: &Value) -> Option<&'a str> {
    let pointer = "/spec/resources/requests/storage";
    if claim.meta().is_deleting() || storage(value, pointer) <= storage(volume, "/spec/capacity/storage") {
        return None;
    }
    let provisioned = text(volume, "/metadata/annotations/pv.kubernetes.io~1provisioned-by");
    let class = seen
        .snapshot
        .get(CLASSES, "", text(volume, "/spec/storageClassName"))?
        .value();
    let may_grow = class.pointer("/allowVolumeExpansion") == Some(&Value::Bool(true));
    (may_grow && provisioned == storageclass::PROVISIONER).then(|| text(value, pointer))
}

fn grow(claim: &Object, volume: &Object, wanted: &str, plan: &mut Plan) {
    let patch = json!({"spec": {"capacity": {"storage": wanted}}});
    plan.acts.push(Act::Patch {
        target: Target::exactly(VOLUMES, volume),
        subresource: "",
        patch,
    });
    let events = [
        (
            "Resizing",
            format!("External resizer is resizing volume {}", volume.name()),
        ),
        ("VolumeResizeSuccessful", "Resize volume succeeded".to_string()),
    ];
    let events = events.map(|(reason, message)| claim_event(claim, false, reason, message));
    plan.acts.extend(events);
    plan.why
        .push(format!("grows volume {} to {wanted}", volume.name()));
}

/// Keeps the phase of a volume. What is released under the policy Delete is removed by the node, which owns the folder.
fn plan_volume(seen: &Seen, volume: &Object) -> Plan {
    let mut plan = Plan::nothing();
    let value = volume.value();
    let (namespace, name) = (
        text(&value, "/spec/claimRef/namespace"),
        text(&value, "/spec/claimRef/name"),
    );
    let claim = seen.snapshot.get(CLAIMS, namespace, name);
    let claim = claim.filter(|claim| is_for(&value, claim));
    let bound_to = claim.map(|claim| text(&claim.value(), "/spec/volumeName").to_string());
    let reserved_by_us = !text(&value, "/spec/claimRef/uid").is_empty();
    let phase = match bound_to.as_deref() {
        _ if name.is_empty() => "Available",
        Some(bound_to) if bound_to == volume.name() => "Bound",
        _ if !reserved_by_us => "Available",
        Some("") => "Available",
        Some(_) if is_spare(&value) => "Released",
        Some(_) => return unbind(volume, &value, plan),
        None => "Released",
    };
    if text(&value, "/status/phase") != phase {
        let patch = json!({"status": {"phase": phase}});
        plan.acts.push(Act::Patch {
            target: Target::exactly(VOLUMES, volume),
            subresource: "status",
            patch,
        });
    }
    plan
}

/// A volume that was made for a claim, and goes when that does not want it.
fn is_spare(volume: &Value) -> bool {
    annotation(volume, PROVISIONED_BY).is_some()
        && text(volume, "/spec/persistentVolumeReclaimPolicy") == "Delete"
}

/// Frees a volume whose claim has got another one. Whom its owner reserved it for by name stays.
fn unbind(volume: &Object, value: &Value, mut plan: Plan) -> Plan {
    let patch = if annotation(value, BOUND_BY_CONTROLLER).is_some() {
        json!({"metadata": {"annotations": {BOUND_BY_CONTROLLER: null}}, "spec": {"claimRef": null}})
    } else {
        json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}})
    };
    plan.acts.push(Act::Patch {
        target: Target::exactly(VOLUMES, volume),
        subresource: "",
        patch,
    });
    plan.why("is freed: its claim is bound to another volume")
}

fn wakes_protection(change: &Change, _seen: &Seen) -> Vec<Key> {
    if change.res == CLAIMS {
        return vec![Key::of(CLAIMS, &change.object)];
    }
    if change.res != PODS {
        return Vec::new();
    }
    let pod = Pod::of(&change.object);
    let key = |claim| Key::new(CLAIMS, change.object.namespace(), claim);
    pod.claims().map(key).collect()
}

/// A claim that is being deleted stays until no pod on a node uses it, ended ones included. A pod that waits for a node
/// does not hold it: it will not get one while the claim is going.
fn plan_protection(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(claim) = seen.snapshot.by_key(CLAIMS, &key.key) else {
        return plan;
    };
    let protected = claim.meta().finalizers.iter().any(|f| &**f == CLAIM_FINALIZER);
    if !claim.meta().is_deleting() || !protected {
        return plan;
    }
    if let Some(pod) = pods_using(seen, claim).find(Pod::is_placed) {
        return plan.why(format!("is kept while pod {} uses it", pod.name()));
    }
    let left: Vec<&str> = claim
        .meta()
        .finalizers
        .iter()
        .map(|f| &**f)
        .filter(|f| *f != CLAIM_FINALIZER)
        .collect();
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    let patch = json!({"metadata": {"finalizers": left}});
    plan.acts.push(Act::Patch {
        target: Target::exactly(CLAIMS, claim),
        subresource: "",
        patch,
    });
    plan
}
