//! What a node may not write although it may write the kind: other nodes, pods of others, labels that steer pods, tokens
//! of pods that do not run there. Source: Kubernetes' documentation, admission plugin NodeRestriction.

use super::access::{MIRROR, mentions};
use crate::json::{at, get, has, is_true, list, string, texts};
use crate::node::NODES;
use crate::row::{annotation, text};
use crate::workload::PODS;
use meta::{Res, Snapshot, Status};
use serde_json::Value;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

/// A write by a node.
pub struct Attempt<'a> {
    pub operation: Operation,
    pub res: Res,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// As the request names it, or the object that it makes.
    pub name: &'a str,
    /// What would be stored, or the body of a subresource.
    pub object: &'a Value,
    pub old: &'a Value,
}

/// Refuses what this node may not write.
pub fn admit(node: &str, attempt: &Attempt, seen: &Snapshot) -> Result<(), Status> {
    let refused = match (attempt.res.group, attempt.res.plural, attempt.subresource) {
        _ if node.is_empty() => Err("could not determine node from user \"system:node:\"".into()),
        ("", "pods", "") => pod(node, attempt, seen)?,
        ("", "pods", "status") => pod_status(node, attempt),
        ("", "pods", "eviction") => eviction(node, attempt, seen)?,
        ("", "pods", other) => Err(format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        )),
        ("", "nodes", _) => own_node(node, attempt),
        ("", "persistentvolumeclaims", "status") => claim_status(node, attempt),
        ("", "persistentvolumeclaims", _) => Err("may only update PVC status".into()),
        ("", "serviceaccounts", "token") => token(node, attempt, seen)?,
        ("coordination.k8s.io", "leases", _) => lease(node, attempt),
        ("storage.k8s.io", "csinodes", _) if attempt.name != node => {
            Err("can only access CSINode with the same name as the requesting node".into())
        }
        ("resource.k8s.io", "resourceslices", _) => slice(node, attempt),
        _ => Ok(()),
    };
    refused.map_err(|why: String| Status::forbidden(attempt.res, attempt.name, &why))
}

/// Why not, where it is a refusal and nothing else is wrong.
type Verdict = Result<(), String>;

fn pod(node: &str, attempt: &Attempt, seen: &Snapshot) -> Result<Verdict, Status> {
    Ok(match attempt.operation {
        Operation::Create => return mirror_pod(node, attempt, seen),
        Operation::Delete if text(attempt.old, "/spec/nodeName") != node => Err(format!(
            "node {node:?} can only delete pods with spec.nodeName set to itself"
        )),
        Operation::Delete => Ok(()),
        Operation::Update => Err(format!(
            "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
        )),
    })
}

fn mirror_pod(node: &str, attempt: &Attempt, seen: &Snapshot) -> Result<Verdict, Status> {
    let pod = attempt.object;
    if annotation(pod, MIRROR).is_none() {
        return Ok(Err(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        )));
    }
    if text(pod, "/spec/nodeName") != node {
        return Ok(Err(format!(
            "node {node:?} can only create pods with spec.nodeName set to itself"
        )));
    }
    let [owner] = list(get(pod, "metadata"), "ownerReferences") else {
        let how = match list(get(pod, "metadata"), "ownerReferences").is_empty() {
            true => "an owner reference",
            false => "a single owner reference",
        };
        return Ok(Err(format!(
            "node {node:?} can only create pods with {how} set to itself"
        )));
    };
    if string(owner, "apiVersion") != "v1" || string(owner, "kind") != "Node" || string(owner, "name") != node
    {
        return Ok(Err(format!(
            "node {node:?} can only create pods with an owner reference set to itself"
        )));
    }
    if !is_true(owner, "controller") {
        return Ok(Err(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        )));
    }
    if is_true(owner, "blockOwnerDeletion") {
        return Ok(Err(format!(
            "node {node:?} must not set blockOwnerDeletion on an owner reference"
        )));
    }
    let own = seen
        .by_key(NODES, node)
        .ok_or_else(|| Status::not_found(NODES, node))?;
    if own.uid() != string(owner, "uid") {
        return Ok(Err(format!(
            "node {node} UID mismatch: expected {} got {}",
            string(owner, "uid"),
            own.uid()
        )));
    }
    Ok(match api_reference(get(pod, "spec")) {
        Some(resource) => Err(format!(
            "node {node:?} can not create pods that reference {resource}"
        )),
        None => Ok(()),
    })
}

/// What a pod needs from the API: a node gives itself no rights by running such a pod.
fn api_reference(spec: &Value) -> Option<&'static str> {
    if !string(spec, "serviceAccountName").is_empty() {
        return Some("serviceaccounts");
    }
    let secrets = [
        "secretKeyRef",
        "secretRef",
        "nodePublishSecretRef",
        "secret",
        "azureFile",
    ];
    if !list(spec, "imagePullSecrets").is_empty() || mentions(spec, &secrets, None) {
        return Some("secrets");
    }
    if mentions(spec, &["configMapKeyRef", "configMapRef", "configMap"], None) {
        return Some("configmaps");
    }
    if !list(spec, "resourceClaims").is_empty() {
        return Some("resourceclaims");
    }
    let volumes = list(spec, "volumes").iter();
    volumes.into_iter().find_map(|volume| {
        let sources = [
            ("csi", "csidrivers (via CSI volumes)"),
            ("glusterfs", "endpoints (via glusterFS volumes)"),
            ("persistentVolumeClaim", "persistentvolumeclaims"),
            ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        ];
        let named = sources.iter().find(|(source, _)| has(volume, source));
        let projected = list(get(volume, "projected"), "sources")
            .iter()
            .find_map(|source| {
                let sources = [
                    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
                    ("clusterTrustBundle", "clustertrustbundles"),
                    ("podCertificate", "podcertificates"),
                ];
                sources.into_iter().find(|(name, _)| has(source, name))
            });
        named.copied().or(projected).map(|(_, resource)| resource)
    })
}

fn pod_status(node: &str, attempt: &Attempt) -> Verdict {
    let (object, old) = (attempt.object, attempt.old);
    if text(old, "/spec/nodeName") != node {
        return Err(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if !same_texts(object, old, "labels") {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    let same = |field: &str| at(object, field) == at(old, field);
    if !same("/status/resourceClaimStatuses") {
        return Err(format!("node {node:?} cannot update resource claim statues"));
    }
    if !same("/status/extendedResourceClaimStatus") {
        return Err(format!(
            "node {node:?} cannot update extended resource claim status"
        ));
    }
    Ok(())
}

fn same_texts(object: &Value, old: &Value, field: &str) -> bool {
    modified(object, old, field).is_empty()
}

/// Keys whose values differ.
fn modified<'a>(object: &'a Value, old: &'a Value, field: &str) -> BTreeSet<&'a str> {
    let of =
        |value: &'a Value| -> BTreeSet<(&'a str, &'a str)> { texts(get(value, "metadata"), field).collect() };
    let (now, was) = (of(object), of(old));
    now.symmetric_difference(&was).map(|(key, _)| *key).collect()
}

fn eviction(node: &str, attempt: &Attempt, seen: &Snapshot) -> Result<Verdict, Status> {
    let pod = seen
        .get(PODS, attempt.namespace, attempt.name)
        .ok_or_else(|| Status::not_found(PODS, attempt.name))?;
    Ok(match text(&pod.value(), "/spec/nodeName") == node {
        true => Ok(()),
        false => Err(format!(
            "node {node} can only evict pods with spec.nodeName set to itself"
        )),
    })
}

fn own_node(node: &str, attempt: &Attempt) -> Verdict {
    if attempt.name != node {
        return Err(format!(
            "node {node:?} is not allowed to modify node {:?}",
            attempt.name
        ));
    }
    let (object, old) = (attempt.object, attempt.old);
    let same = |field: &str| at(object, field) == at(old, field);
    let forbidden: Vec<&str> = modified(object, old, "labels")
        .into_iter()
        .filter(|label| is_forbidden(label))
        .collect();
    match attempt.operation {
        Operation::Create if !forbidden.is_empty() => Err(format!(
            "node {node:?} is not allowed to set the following labels: {}",
            forbidden.join(", ")
        )),
        Operation::Update if !same("/spec/taints") => {
            Err(format!("node {node:?} is not allowed to modify taints"))
        }
        Operation::Update if !same("/metadata/ownerReferences") => {
            Err(format!("node {node:?} is not allowed to modify ownerReferences"))
        }
        Operation::Update if !forbidden.is_empty() => Err(format!(
            "is not allowed to modify labels: {}",
            forbidden.join(", ")
        )),
        _ => Ok(()),
    }
}

/// Labels that a node sets of itself, beside those of its own namespaces.
const OWN_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Whether the domain is this one, or below it.
fn within(domain: &str, root: &str) -> bool {
    domain == root || domain.strip_suffix(root).is_some_and(|rest| rest.ends_with('.'))
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let own = OWN_LABELS.contains(&label)
        || ["kubelet.kubernetes.io", "node.kubernetes.io"]
            .iter()
            .any(|root| within(domain, root));
    let reserved = within(domain, "kubernetes.io") || within(domain, "k8s.io");
    within(domain, "node-restriction.kubernetes.io") || (reserved && !own)
}

fn claim_status(node: &str, attempt: &Attempt) -> Verdict {
    let rest = |claim: &Value| {
        let mut rest = claim.clone();
        for (holder, fields) in [
            ("metadata", ["resourceVersion", "managedFields"].as_slice()),
            (
                "status",
                &[
                    "capacity",
                    "conditions",
                    "allocatedResourceStatuses",
                    "allocatedResources",
                ],
            ),
        ] {
            if let Some(map) = rest.get_mut(holder).and_then(Value::as_object_mut) {
                map.retain(|key, _| !fields.contains(&key.as_str()));
            }
        }
        rest
    };
    match rest(attempt.object) == rest(attempt.old) {
        true => Ok(()),
        false => Err(format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        )),
    }
}

fn token(node: &str, attempt: &Attempt, seen: &Snapshot) -> Result<Verdict, Status> {
    let reference = at(attempt.object, "/spec/boundObjectRef");
    let (name, uid) = (string(reference, "name"), string(reference, "uid"));
    let is_pod = string(reference, "apiVersion") == "v1" && string(reference, "kind") == "Pod";
    if !is_pod || name.is_empty() {
        return Ok(Err("node requested token not bound to a pod".into()));
    }
    if uid.is_empty() {
        return Ok(Err("node requested token with a pod binding without a uid".into()));
    }
    let pod = seen.get(PODS, attempt.namespace, name);
    let pod = pod.ok_or_else(|| Status::not_found(PODS, name))?;
    if pod.uid() != uid {
        return Ok(Err(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        )));
    }
    let pod = pod.value();
    if text(&pod, "/spec/nodeName") != node {
        return Ok(Err(
            "node requested token bound to a pod scheduled on a different node".into(),
        ));
    }
    let audience = match list(get(attempt.object, "spec"), "audiences") {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Ok(Err("node may only request 0 or 1 audiences".into())),
    };
    let sources = list(get(&pod, "spec"), "volumes").iter();
    let mut sources = sources.flat_map(|volume| list(get(volume, "projected"), "sources"));
    let names = |source: &Value| {
        has(source, "serviceAccountToken") && text(source, "/serviceAccountToken/audience") == audience
    };
    Ok(match sources.any(names) {
        true => Ok(()),
        false => Err(format!(
            "audience {audience:?} not found in pod spec volume, system:node:{node} is not authorized to request tokens for this audience"
        )),
    })
}

fn lease(node: &str, attempt: &Attempt) -> Verdict {
    if attempt.namespace != "kube-node-lease" {
        return Err("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    match attempt.name == node {
        true => Ok(()),
        false => Err("can only access node lease with the same name as the requesting node".into()),
    }
}

fn slice(node: &str, attempt: &Attempt) -> Verdict {
    let (object, verb) = match attempt.operation {
        Operation::Create => (attempt.object, "create"),
        Operation::Delete => (attempt.old, "delete"),
        Operation::Update => return Ok(()),
    };
    match text(object, "/spec/nodeName") == node {
        true => Ok(()),
        false => Err(format!(
            "can only {verb} ResourceSlice with the same NodeName as the requesting node"
        )),
    }
}
