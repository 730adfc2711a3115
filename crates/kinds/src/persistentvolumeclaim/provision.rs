//! A new volume for a claim that no volume fits: an empty folder on the node.

use super::matching::{modes, pods_using};
use super::plan::{PROVISIONED_BY, claim_event, claim_reference, name_volume};
use crate::Seen;
use crate::node::NODES;
use crate::persistentvolume::PERSISTENTVOLUMES as VOLUMES;
use crate::plan::{Act, Plan};
use crate::row::text;
use crate::storageclass::{self, STORAGECLASSES as CLASSES};
use meta::Object;
use serde_json::{Value, json};

/// Makes a folder of the node a volume of its own for this claim.
pub fn provision(seen: &Seen, claim: &Object, value: &Value, waits: bool, mut plan: Plan) -> Plan {
    let class_name = text(value, "/spec/storageClassName");
    let waiting = |mut plan: Plan, reason: &'static str, message: String| {
        plan.why.push(message.clone());
        plan.acts.push(claim_event(
            claim,
            reason == "ProvisioningFailed",
            reason,
            message,
        ));
        plan
    };
    if class_name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return waiting(plan, "FailedBinding", message.into());
    }
    let Some(class) = seen.snapshot.get(CLASSES, "", class_name) else {
        let message = format!("storageclass.storage.k8s.io {class_name:?} not found");
        return waiting(plan, "ProvisioningFailed", message);
    };
    let class_value = class.value();
    let provisioner = text(&class_value, "/provisioner");
    if waits {
        let (reason, message) = whom_it_waits_for(seen, claim);
        return waiting(plan, reason, message);
    }
    if provisioner != storageclass::PROVISIONER {
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        );
        return waiting(plan, "ExternalProvisioning", message);
    }
    if let Some(why) = not_a_folder(value) {
        let message = format!("failed to provision volume with StorageClass {class_name:?}: {why}");
        return waiting(plan, "ProvisioningFailed", message);
    }
    let folder = match folder_for(seen, &class_value) {
        Ok(Some(folder)) => folder,
        Ok(None) => return plan.why("waits for a node that keeps volumes"),
        Err(why) => {
            let message = format!("failed to provision volume with StorageClass {class_name:?}: {why}");
            return waiting(plan, "ProvisioningFailed", message);
        }
    };
    let name = format!("pvc-{}", claim.uid());
    let mut object = volume_for(claim, value, &class_value, class_name, &name);
    object["spec"]["hostPath"] = json!({"path": format!("{folder}/{name}"), "type": "DirectoryOrCreate"});
    plan.acts.push(Act::Create {
        res: VOLUMES,
        namespace: String::new(),
        object,
    });
    plan.acts.push(name_volume(claim, &name, Some(provisioner)));
    let message = format!("Successfully provisioned volume {name}");
    plan.acts
        .push(claim_event(claim, false, "ProvisioningSucceeded", message));
    plan.why(format!("provisions volume {name}"))
}

/// Reason and message of a claim whose pod has no node yet.
fn whom_it_waits_for(seen: &Seen, claim: &Object) -> (&'static str, String) {
    let pods: Vec<String> = pods_using(seen, claim)
        .filter(|pod| !pod.is_finished())
        .map(|pod| pod.name().to_string())
        .collect();
    match &pods[..] {
        [] => {
            let message = "waiting for first consumer to be created before binding";
            ("WaitForFirstConsumer", message.into())
        }
        [pod] => (
            "WaitForPodScheduled",
            format!("waiting for pod {pod} to be scheduled"),
        ),
        pods => (
            "WaitForPodScheduled",
            format!("waiting for pods {} to be scheduled", pods.join(",")),
        ),
    }
}

/// Why a new, empty folder is not what the claim asks for.
fn not_a_folder(claim: &Value) -> Option<String> {
    let provisioner = storageclass::PROVISIONER;
    if modes(claim, "/spec/accessModes").is_empty() || text(claim, "/spec/volumeMode") == "Block" {
        return Some(format!(
            "{provisioner} provides folders only (volumeMode Filesystem)"
        ));
    }
    if claim.pointer("/spec/selector").is_some_and(|s| !s.is_null()) {
        return Some(
            "claim Selector is not supported; only a volume with these labels can be bound".to_owned(),
        );
    }
    let source = ["/spec/dataSourceRef", "/spec/dataSource"]
        .iter()
        .find_map(|at| claim.pointer(at).filter(|s| !s.is_null()))?;
    Some(format!(
        "{provisioner} makes empty volumes and cannot provision a claim with a data source ({} {:?})",
        text(source, "/kind"),
        text(source, "/name")
    ))
}

/// Where the class wants its folders, or the node has room for them; `None` before there is a node.
fn folder_for(seen: &Seen, class: &Value) -> Result<Option<String>, String> {
    let given = text(class, &format!("/parameters/{}", storageclass::FOLDER));
    if given.is_empty() {
        let nodes = seen.snapshot.list(NODES, "").map(Object::value);
        return Ok(nodes
            .into_iter()
            .find_map(|node| node_folder(&node).map(str::to_string)));
    }
    let folder = given.trim_end_matches('/');
    let steps: Vec<&str> = folder.split('/').skip(1).collect();
    if !folder.starts_with('/') || steps.iter().any(|step| ["", ".", ".."].contains(step)) {
        return Err(format!(
            "parameter {}: {given:?} is no plain absolute path of a folder below the root; name one, or leave the parameter out for the cluster's own folder",
            storageclass::FOLDER
        ));
    }
    Ok(Some(folder.into()))
}

pub(super) fn node_folder(node: &Value) -> Option<&str> {
    let annotations = node.pointer("/metadata/annotations")?;
    annotations.get(storageclass::NODE_FOLDER)?.as_str()
}

fn volume_for(claim: &Object, value: &Value, class: &Value, class_name: &str, name: &str) -> Value {
    let policy = Some(text(class, "/reclaimPolicy"))
        .filter(|p| !p.is_empty())
        .unwrap_or("Delete");
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: storageclass::PROVISIONER}},
        "spec": {
            "capacity": {"storage": text(value, "/spec/resources/requests/storage")},
            "accessModes": modes(value, "/spec/accessModes"),
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": class_name,
            "volumeMode": "Filesystem",
            "claimRef": claim_reference(claim),
        },
    })
}
