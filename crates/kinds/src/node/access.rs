//! What nodes may do: read what the pods that run there refer to, and write about themselves and those pods. Decided on
//! the snapshot, for callers named `system:node:NAME` in the group `system:nodes`.
//! Source: Kubernetes' documentation, "Using Node Authorization".

use crate::json::{at, get, list, string};
use crate::rbac::{PolicyRule, policy};
use crate::review::Attributes;
use crate::row::text;
use crate::workload::{PODS, PodFacts};
use meta::selector::FieldSelector;
use meta::{Object, Res, Snapshot};
use serde::Deserialize;
use serde_json::Value;
use std::sync::OnceLock;

const PREFIX: &str = "system:node:";
const NODES_GROUP: &str = "system:nodes";
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// A static pod's copy in the API: a node must not give itself rights by making one.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

const VOLUMES: Res = crate::persistentvolume::PERSISTENTVOLUMES;
const ATTACHMENTS: Res = Res::new("storage.k8s.io", "volumeattachments");
const SLICES: Res = Res::new("resource.k8s.io", "resourceslices");

/// The node's name, of a caller that is one. It may be empty.
pub fn node_of<'a>(user: &'a str, groups: &[String]) -> Option<&'a str> {
    let name = user.strip_prefix(PREFIX)?;
    groups.iter().any(|group| group == NODES_GROUP).then_some(name)
}

pub fn is_node(user: &str, groups: &[String]) -> bool {
    node_of(user, groups).is_some()
}

/// Whether a node may do this, as far as being a node gives it; if not, why (which may be empty).
pub fn decide(node: &str, asked: &Attributes, seen: &Snapshot) -> Result<(), String> {
    if node.is_empty() {
        return Err(format!("unknown node for user {PREFIX:?}"));
    }
    if asked.path.is_some() {
        return static_rules(asked);
    }
    match (asked.group, asked.resource) {
        ("", "secrets" | "configmaps") => read(node, asked, seen),
        ("", "persistentvolumeclaims") if asked.subresource == "status" => match asked.verb {
            "update" | "patch" => related(node, asked, seen),
            _ => Err("can only get/update/patch this type".into()),
        },
        ("", "persistentvolumeclaims" | "persistentvolumes")
        | ("resource.k8s.io", "resourceclaims")
        | ("storage.k8s.io", "volumeattachments") => get_one(node, asked, seen),
        ("", "serviceaccounts") => account(node, asked, seen),
        ("coordination.k8s.io", "leases") => lease(node, asked),
        ("storage.k8s.io", "csinodes") => csi_node(node, asked),
        ("resource.k8s.io", "resourceslices") => slice(node, asked, seen),
        ("", "nodes") => own_node(node, asked),
        ("", "pods") => pod(node, asked, seen),
        ("certificates.k8s.io", "podcertificaterequests") => Err(String::new()),
        _ => static_rules(asked),
    }
}

/// What every node may do alike: the rules of the role `system:node`.
fn static_rules(asked: &Attributes) -> Result<(), String> {
    static RULES: OnceLock<Vec<PolicyRule>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let all = policy::defaults().into_iter();
        let role = all
            .map(|d| d.object)
            .find(|o| text(o, "/metadata/name") == "system:node");
        role.and_then(|role| Vec::deserialize(get(&role, "rules")).ok())
            .unwrap_or_default()
    });
    match rules.iter().any(|rule| rule.allows(asked)) {
        true => Ok(()),
        false => Err(String::new()),
    }
}

fn read(node: &str, asked: &Attributes, seen: &Snapshot) -> Result<(), String> {
    if !matches!(asked.verb, "get" | "list" | "watch") {
        return Err("can only read resources of this type".into());
    }
    if !asked.subresource.is_empty() {
        return Err("cannot read subresource".into());
    }
    if asked.namespace.is_empty() {
        return Err("can only read namespaced object of this type".into());
    }
    related(node, asked, seen)
}

fn get_one(node: &str, asked: &Attributes, seen: &Snapshot) -> Result<(), String> {
    if asked.verb != "get" {
        return Err("can only get individual resources of this type".into());
    }
    if !asked.subresource.is_empty() {
        return Err("cannot get subresource".into());
    }
    related(node, asked, seen)
}

fn account(node: &str, asked: &Attributes, seen: &Snapshot) -> Result<(), String> {
    if asked.verb == "get" && asked.subresource.is_empty() {
        return read(node, asked, seen);
    }
    if asked.verb != "create" || asked.name.is_empty() {
        return Err("can only create tokens for individual service accounts".into());
    }
    if asked.subresource != "token" {
        return Err("can only create token subresource of serviceaccount".into());
    }
    related(node, asked, seen)
}

fn lease(node: &str, asked: &Attributes) -> Result<(), String> {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".into());
    }
    if asked.namespace != LEASE_NAMESPACE {
        return Err(format!(
            "can only access leases in the {LEASE_NAMESPACE:?} system namespace"
        ));
    }
    // A new one's name is not known yet: the admission looks at it.
    if asked.verb != "create" && asked.name != node {
        return Err("can only access node lease with the same name as the requesting node".into());
    }
    Ok(())
}

fn csi_node(node: &str, asked: &Attributes) -> Result<(), String> {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a CSINode".into());
    }
    if !asked.subresource.is_empty() {
        return Err("cannot authorize CSINode subresources".into());
    }
    if asked.verb != "create" && asked.name != node {
        return Err("can only access CSINode with the same name as the requesting node".into());
    }
    Ok(())
}

fn slice(node: &str, asked: &Attributes, seen: &Snapshot) -> Result<(), String> {
    if !asked.subresource.is_empty() {
        return Err("cannot authorize ResourceSlice subresources".into());
    }
    match asked.verb {
        "create" => Ok(()),
        "get" | "update" | "patch" | "delete" => related(node, asked, seen),
        "watch" | "list" | "deletecollection" if selects(asked, "spec.nodeName", node) => Ok(()),
        "watch" | "list" | "deletecollection" => {
            Err("can only list/watch/deletecollection resourceslices with nodeName field selector".into())
        }
        _ => Err(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection"
                .into(),
        ),
    }
}

fn own_node(node: &str, asked: &Attributes) -> Result<(), String> {
    match (asked.subresource, asked.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") => match asked.name {
            name if name == node => Ok(()),
            "" => Err(format!(
                "node '{node}' cannot read all nodes, only its own Node object"
            )),
            name => Err(format!(
                "node '{node}' cannot read '{name}', only its own Node object"
            )),
        },
        _ => Err(String::new()),
    }
}

fn pod(node: &str, asked: &Attributes, seen: &Snapshot) -> Result<(), String> {
    match (asked.subresource, asked.verb) {
        ("", "get") => get_one(node, asked, seen),
        ("", "list" | "watch") if selects(asked, "spec.nodeName", node) => Ok(()),
        ("", "list" | "watch") if !asked.name.is_empty() => related(node, asked, seen),
        ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".into()),
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
        _ => Err(String::new()),
    }
}

/// Whether the request asks only for what has this value there.
fn selects(asked: &Attributes, field: &str, value: &str) -> bool {
    FieldSelector::parse(asked.field_selector).is_ok_and(|selector| {
        let terms = selector.terms.iter();
        terms
            .filter(|term| term.equal)
            .any(|term| term.field == field && term.value == value)
    })
}

/// Whether something there leads from the object to the node.
fn related(node: &str, asked: &Attributes, seen: &Snapshot) -> Result<(), String> {
    if asked.name.is_empty() {
        return Err("No Object name found".into());
    }
    let (namespace, name) = (asked.namespace, asked.name);
    let found = match asked.resource {
        "pods" => seen
            .get(PODS, namespace, name)
            .is_some_and(|pod| runs_on(pod, node)),
        "persistentvolumes" => volume_is_used(node, seen.by_key(VOLUMES, name), seen),
        "volumeattachments" => names_node(seen.by_key(ATTACHMENTS, name), node),
        "resourceslices" => names_node(seen.by_key(SLICES, name), node),
        resource => {
            is_used(node, namespace, resource, name, seen)
                || (resource == "secrets" && volume_needs(node, namespace, name, seen))
        }
    };
    match found {
        true => Ok(()),
        false => Err(format!(
            "no relationship found between node '{node}' and this object"
        )),
    }
}

fn names_node(object: Option<&Object>, node: &str) -> bool {
    object.is_some_and(|object| text(&object.value(), "/spec/nodeName") == node)
}

fn runs_on(pod: &Object, node: &str) -> bool {
    let facts = pod.typed::<PodFacts>();
    facts.is_ok_and(|pod| pod.spec.node_name.as_deref() == Some(node))
}

/// Whether a pod of this namespace that runs on the node refers to it.
fn is_used(node: &str, namespace: &str, resource: &str, name: &str, seen: &Snapshot) -> bool {
    let mut pods = seen.list(PODS, namespace).filter(|pod| runs_on(pod, node));
    !namespace.is_empty() && pods.any(|pod| refers(&pod.value(), resource, name))
}

fn volume_is_used(node: &str, volume: Option<&Object>, seen: &Snapshot) -> bool {
    volume.is_some_and(|volume| {
        let volume = volume.value();
        let claim = at(&volume, "/spec/claimRef");
        let (namespace, name) = (string(claim, "namespace"), string(claim, "name"));
        is_used(node, namespace, "persistentvolumeclaims", name, seen)
    })
}

/// Whether a volume that the node uses is mounted with this secret.
fn volume_needs(node: &str, namespace: &str, name: &str, seen: &Snapshot) -> bool {
    let needs = |volume: &&Object| {
        let value = volume.value();
        let own = text(&value, "/spec/claimRef/namespace").to_string();
        let named = |secret: &Value| {
            let given = string(secret, "namespace");
            let there = if given.is_empty() { own.as_str() } else { given };
            string(secret, "name") == name && there == namespace
        };
        let members = get(&value, "spec").as_object().into_iter().flatten();
        // What only the controller's side of a driver needs is not for nodes.
        let of_nodes = |key: &str| {
            matches!(
                key,
                "secretRef" | "nodePublishSecretRef" | "nodeStageSecretRef" | "nodeExpandSecretRef"
            )
        };
        members
            .filter_map(|(_, source)| source.as_object())
            .flatten()
            .any(|(key, secret)| of_nodes(key) && named(secret))
    };
    let mut volumes = seen.list(VOLUMES, "").filter(needs);
    volumes.any(|volume| volume_is_used(node, Some(volume), seen))
}

fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = get(pod, "spec");
    if get(get(pod, "metadata"), "annotations").get(MIRROR).is_some() {
        return false;
    }
    match resource {
        "serviceaccounts" => string(spec, "serviceAccountName") == name,
        "persistentvolumeclaims" => list(spec, "volumes").iter().any(|volume| {
            let ephemeral = || format!("{}-{}", text(pod, "/metadata/name"), string(volume, "name"));
            text(volume, "/persistentVolumeClaim/claimName") == name
                || (volume.get("ephemeral").is_some() && ephemeral() == name)
        }),
        "resourceclaims" => {
            let made = list(get(pod, "status"), "resourceClaimStatuses").iter();
            let given = list(spec, "resourceClaims").iter();
            let extended = text(pod, "/status/extendedResourceClaimStatus/resourceClaimName");
            extended == name || made.chain(given).any(|c| string(c, "resourceClaimName") == name)
        }
        "secrets" => {
            let pulls = list(spec, "imagePullSecrets").iter();
            pulls.clone().any(|secret| string(secret, "name") == name)
                || mentions(
                    spec,
                    &[
                        "secretKeyRef",
                        "secretRef",
                        "nodePublishSecretRef",
                        "secret",
                        "azureFile",
                    ],
                    Some(name),
                )
        }
        "configmaps" => mentions(
            spec,
            &["configMapKeyRef", "configMapRef", "configMap"],
            Some(name),
        ),
        _ => false,
    }
}

/// Whether there is a reference under one of these keys, wherever in the spec, with this name (or any).
pub(super) fn mentions(value: &Value, keys: &[&str], name: Option<&str>) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, value)| {
            let named = |wanted: &str| ["name", "secretName"].iter().any(|f| string(value, f) == wanted);
            let meant = value.is_object() && keys.contains(&key.as_str());
            (meant && name.is_none_or(named)) || mentions(value, keys, name)
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, keys, name)),
        _ => false,
    }
}
