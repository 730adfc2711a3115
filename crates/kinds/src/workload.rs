//! What the plans of all workloads share: pods as they see them, who owns them, names that spell a template's content,
//! owner references, adoption and release.

use crate::plan::{Act, Plan, Target};
use crate::row::{self, text};
use meta::schema::Schema;
use meta::selector::LabelSelector;
use meta::{Object, Quantity, Res, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub use crate::pod::PODS;

/// The part of a pod that workload plans look at. Decoded once a revision and shared by all of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodFacts {
    pub spec: SpecFacts,
    pub status: StatusFacts,
    #[serde(skip)]
    share: OnceLock<Share>,
}

/// What a pod takes of its node.
#[derive(Debug, Default)]
pub struct Share {
    pub requests: BTreeMap<String, Quantity>,
    /// `(protocol, host IP, port)`
    pub host_ports: Vec<(String, String, i64)>,
    /// Required terms of its anti-affinity: whom it keeps away from where it runs.
    pub repels: Vec<Value>,
    /// It asks for others near it, or far, or for an even spread.
    pub minds_others: bool,
}

/// Where a pod's spec says, with which other pods it must not, or has to, share a place.
pub const REPELS: &str = "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
pub const NEEDS: &str = "/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution";
pub const SPREADS: &str = "/topologySpreadConstraints";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SpecFacts {
    pub node_name: Option<String>,
    pub hostname: Option<String>,
    pub subdomain: Option<String>,
    pub volumes: Vec<VolumeFacts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeFacts {
    pub name: String,
    pub persistent_volume_claim: Option<ClaimFacts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClaimFacts {
    pub claim_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusFacts {
    pub phase: String,
    pub reason: Option<String>,
    pub conditions: Vec<ConditionFacts>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<IpFacts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct IpFacts {
    pub ip: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConditionFacts {
    pub r#type: String,
    pub status: String,
    pub last_transition_time: Option<Timestamp>,
}

/// A pod with its facts.
#[derive(Clone)]
pub struct Pod {
    pub object: Object,
    pub facts: Arc<PodFacts>,
}

/// The members of a list somewhere in a value.
pub fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

impl Pod {
    /// Stored pods passed validation, so a pod that does not decode cannot occur; it would count as unknown.
    pub fn of(object: &Object) -> Self {
        Self {
            object: object.clone(),
            facts: object.typed().unwrap_or_default(),
        }
    }

    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// Worked out at the first call and kept with this revision: the scheduler asks for all pods again and again.
    pub fn share(&self) -> &Share {
        self.facts.share.get_or_init(|| {
            let value = self.object.value();
            let spec = value.get("spec").unwrap_or(&Value::Null);
            Share {
                requests: crate::pod::requests(spec),
                host_ports: host_ports(spec),
                repels: items(spec, REPELS).cloned().collect(),
                minds_others: [REPELS, NEEDS, SPREADS]
                    .iter()
                    .any(|part| items(spec, part).count() > 0),
            }
        })
    }

    /// Names of the claims that it mounts.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let volumes = self.facts.spec.volumes.iter();
        volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
    }

    /// It has a node.
    pub fn is_placed(&self) -> bool {
        self.facts
            .spec
            .node_name
            .as_deref()
            .is_some_and(|name| !name.is_empty())
    }

    pub fn is_deleting(&self) -> bool {
        self.object.meta().is_deleting()
    }

    pub fn is_failed(&self) -> bool {
        self.facts.status.phase == "Failed"
    }

    pub fn is_succeeded(&self) -> bool {
        self.facts.status.phase == "Succeeded"
    }

    pub fn is_finished(&self) -> bool {
        self.is_failed() || self.is_succeeded()
    }

    pub fn is_running(&self) -> bool {
        self.facts.status.phase == "Running"
    }

    pub fn is_ready(&self) -> bool {
        self.ready_since().is_some()
    }

    /// Since when the pod is ready.
    fn ready_since(&self) -> Option<Timestamp> {
        let ready = self
            .facts
            .status
            .conditions
            .iter()
            .find(|c| c.r#type == "Ready")?;
        (ready.status == "True").then(|| ready.last_transition_time.unwrap_or(Timestamp::EPOCH))
    }

    /// When the pod is (or was) available: ready for `min_ready_seconds`.
    pub fn available_at(&self, min_ready_seconds: i64) -> Option<Timestamp> {
        self.ready_since()
            .map(|since| since.plus_seconds(min_ready_seconds))
    }

    pub fn is_available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        self.available_at(min_ready_seconds)
            .is_some_and(|at| min_ready_seconds == 0 || at <= now)
    }

    pub fn label(&self, key: &str) -> &str {
        self.object.meta().label(key).unwrap_or_default()
    }
}

/// Whether a workload may count an object as its own, or should take or drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Owned,
    Adopt,
    Release,
    Foreign,
}

/// The rule of adoption and release. `fits` says whether selector and name match.
pub fn claim(owner_uid: &str, owner_deleting: bool, candidate: &Object, fits: bool) -> Claim {
    let meta = candidate.meta();
    match meta.controller() {
        Some(controller) if &*controller.uid == owner_uid => {
            if fits || owner_deleting {
                Claim::Owned
            } else {
                Claim::Release
            }
        }
        Some(_) => Claim::Foreign,
        None if fits && !owner_deleting && !meta.is_deleting() => Claim::Adopt,
        None => Claim::Foreign,
    }
}

/// A controlling owner reference.
pub fn owner_reference(api_version: &str, kind: &str, owner: &Object) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": owner.name(), "uid": owner.uid(),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Adds the owner to what it adopts.
pub fn adopt(plan: &mut Plan, res: Res, object: &Object, owner: Value) {
    let mut owners = owners_of(object);
    owners.push(owner);
    set_owners(plan, res, object, owners);
}

/// Removes the owner from what it no longer selects.
pub fn release(plan: &mut Plan, res: Res, object: &Object, owner_uid: &str) {
    let mut owners = owners_of(object);
    owners.retain(|o| o.get("uid").and_then(Value::as_str) != Some(owner_uid));
    set_owners(plan, res, object, owners);
}

/// `metadata.ownerReferences` as stored.
pub fn owners_of(object: &Object) -> Vec<Value> {
    let value = object.value();
    value
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

pub fn set_owners(plan: &mut Plan, res: Res, object: &Object, owners: Vec<Value>) {
    let owners = if owners.is_empty() {
        Value::Null
    } else {
        Value::Array(owners)
    };
    let patch = json!({"metadata": {"ownerReferences": owners}});
    plan.acts.push(Act::Patch {
        target: Target::exactly(res, object),
        subresource: "",
        patch,
    });
}

/// The selector of a workload's spec; one that does not parse selects nothing.
pub fn selector(object: &Value) -> LabelSelector {
    label_selector(object.pointer("/spec/selector").unwrap_or(&Value::Null))
}

/// A `metav1.LabelSelector`; one that is none selects nothing.
pub fn label_selector(value: &Value) -> LabelSelector {
    let parsed = serde_json::from_value(value.clone()).ok().flatten();
    LabelSelector::of_spec(parsed.as_ref()).unwrap_or_else(|_| LabelSelector::nothing())
}

/// Ten characters that spell a value's content: the same for equal content, whatever the order of keys.
pub fn content_hash(value: &Value, collisions: i64) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = Sha256::new();
    hasher.update(value.to_string());
    if collisions > 0 {
        hasher.update(collisions.to_be_bytes());
    }
    let digest = hasher.finalize();
    digest
        .iter()
        .take(10)
        .map(|byte| ALPHABET[*byte as usize % ALPHABET.len()] as char)
        .collect()
}

/// A pod made from a template: its metadata and spec, nothing else yet.
pub fn pod_from_template(template: &Value, namespace: &str, owner: Value) -> Value {
    let metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "ownerReferences": [owner]},
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = metadata.get(field).filter(|v| !v.is_null()) {
            pod["metadata"][field] = value.clone();
        }
    }
    pod
}

/// `count` or `percent%` of `total`, rounded up or down, as `maxSurge` and `maxUnavailable` are written.
pub fn int_or_percent(value: Option<&Value>, total: i64, round_up: bool) -> Option<i64> {
    match value? {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => {
            let percent: i64 = s.strip_suffix('%')?.parse().ok()?;
            let scaled = percent.checked_mul(total)?;
            Some(if round_up {
                scaled.div_euclid(100) + i64::from(scaled.rem_euclid(100) != 0)
            } else {
                scaled.div_euclid(100)
            })
        }
        _ => None,
    }
}

/// The labels of a workload's template as a selector.
pub fn template_labels(object: &Value) -> LabelSelector {
    let labels = object
        .pointer("/spec/template/metadata/labels")
        .and_then(Value::as_object);
    LabelSelector::of_map(
        labels
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))),
    )
}

/// Writes the status when it differs from the stored one.
pub fn update_status(plan: &mut Plan, res: Res, object: &Object, value: &Value, status: Value) {
    update_annotated(plan, res, object, value, status, None);
}

/// The same, with an annotation: one write, where two would be in each other's way.
pub fn update_annotated(
    plan: &mut Plan,
    res: Res,
    object: &Object,
    stored: &Value,
    mut status: Value,
    annotation: Option<(&str, String)>,
) {
    as_stored(stored, &mut status);
    let annotation = annotation.filter(|(name, text)| row::annotation(stored, name) != Some(text));
    if annotation.is_none() && stored.get("status") == Some(&status) {
        return;
    }
    let mut wanted = stored.clone();
    wanted["status"] = status;
    if let Some((name, text)) = annotation {
        wanted["metadata"]["annotations"][name] = text.into();
    }
    plan.acts.push(Act::Update {
        target: Target::exactly(res, object),
        subresource: "status",
        object: wanted,
    });
}

/// Brings a status into the form that the API gives it, so that it can be compared.
fn as_stored(value: &Value, status: &mut Value) {
    let group_version = text(value, "/apiVersion").replace('/', ".");
    let name = format!("io.k8s.api.{group_version}.{}Status", text(value, "/kind"));
    let Some(schema) = Schema::of(crate::schema::arena(), &name) else {
        return;
    };
    // Our own fields are of the right types; what were not would be refused when it is written.
    if codec::strict::conform(&schema, status).is_ok() {
        codec::strict::complete(&schema, status);
    }
}

/// Host ports that a pod asks for.
pub fn host_ports(spec: &Value) -> Vec<(String, String, i64)> {
    let lists = ["containers", "initContainers"];
    let containers = lists.iter().filter_map(|l| spec.get(l)?.as_array()).flatten();
    let ports = containers.filter_map(|c| c.get("ports")?.as_array()).flatten();
    ports
        .filter_map(|p| {
            let port = p.get("hostPort")?.as_i64().filter(|p| *p > 0)?;
            let protocol = p.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            let ip = Some(text(p, "/hostIP"))
                .filter(|ip| !ip.is_empty())
                .unwrap_or("0.0.0.0");
            Some((protocol.to_string(), ip.to_string(), port))
        })
        .collect()
}
