//! The ReplicaSets of a Deployment: which are its own, which one has the current template, and how one is made.

use super::plan::Deployment;
use crate::Seen;
use crate::plan::{Act, Plan, Target};
use crate::replicaset::REPLICASETS;
use crate::row::{annotation, int};
use crate::workload::{self, Claim};
use meta::Object;
use meta::schema::Schema;
use serde_json::{Value, json};

pub const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";
/// Annotations of the Deployment that its ReplicaSets do not get.
const OWN_ANNOTATIONS: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAX_REPLICAS,
];

/// A ReplicaSet and what this plan wants of it.
#[derive(Clone)]
pub struct Set {
    pub object: Object,
    pub value: Value,
    /// As it will be: starts as `spec.replicas`.
    pub replicas: i64,
    pub spec_replicas: i64,
    pub status_replicas: i64,
    pub ready: i64,
    pub available: i64,
    pub revision: i64,
    /// The Deployment's size when this set was last scaled.
    pub desired: Option<i64>,
    pub max_replicas: Option<i64>,
    /// Its controller has seen its newest spec.
    pub is_observed: bool,
    /// Has the Deployment's template and so follows its other settings.
    is_new: bool,
    wanted_revision: Option<i64>,
}

impl Set {
    fn of(object: &Object) -> Self {
        let value = object.value();
        let number = |name: &str| annotation(&value, name).and_then(|v| v.parse().ok());
        let replicas = int(&value, "/spec/replicas").unwrap_or(1);
        let status = |field: &str| int(&value, &format!("/status/{field}")).unwrap_or(0);
        Self {
            object: object.clone(),
            replicas,
            spec_replicas: replicas,
            status_replicas: status("replicas"),
            ready: status("readyReplicas"),
            available: status("availableReplicas"),
            revision: number(REVISION).unwrap_or(0),
            desired: number(DESIRED),
            max_replicas: number(MAX_REPLICAS),
            is_observed: status("observedGeneration") >= object.meta().generation,
            is_new: false,
            wanted_revision: None,
            value,
        }
    }

    pub fn scale_to(&mut self, replicas: i64) {
        self.replicas = replicas;
    }
}

/// The Deployment's ReplicaSets, with adoption and release; oldest first.
pub fn claim(seen: &Seen, deployment: &Deployment, plan: &mut Plan) -> Vec<Set> {
    let deleting = deployment.object.meta().is_deleting();
    let mut sets = Vec::new();
    for object in seen.snapshot.list(REPLICASETS, deployment.object.namespace()) {
        let fits = deployment.selector.matches(&object.meta().labels);
        match workload::claim(deployment.object.uid(), deleting, object, fits) {
            Claim::Owned => sets.push(Set::of(object)),
            Claim::Adopt => {
                workload::adopt(plan, REPLICASETS, object, deployment.owner());
                sets.push(Set::of(object));
            }
            Claim::Release => workload::release(plan, REPLICASETS, object, deployment.object.uid()),
            Claim::Foreign => {}
        }
    }
    sets.sort_by(|a, b| {
        (a.object.meta().created, a.object.name()).cmp(&(b.object.meta().created, b.object.name()))
    });
    sets
}

/// The oldest ReplicaSet whose template means what the Deployment's does, the hash label apart.
pub fn find_new(deployment: &Deployment, sets: &[Set]) -> Option<usize> {
    let wanted = template_of(&deployment.value);
    let schema = Schema::of(crate::schema::arena(), "io.k8s.api.core.v1.PodTemplateSpec")?;
    sets.iter()
        .position(|set| codec::strict::same(&schema, &template_of(&set.value), &wanted))
}

fn template_of(object: &Value) -> Value {
    let mut template = object.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(HASH_LABEL);
    }
    template
}

/// A ReplicaSet that a plan creates.
pub struct Created {
    pub name: String,
    pub revision: i64,
}

/// Plans the ReplicaSet of the current template.
pub fn create(seen: &Seen, deployment: &Deployment, sets: &[Set], replicas: i64, plan: &mut Plan) -> Created {
    let template = template_of(&deployment.value);
    let mut collisions = int(&deployment.value, "/status/collisionCount").unwrap_or(0);
    let namespace = deployment.object.namespace();
    let name_for = |collisions| {
        let hash = workload::content_hash(&template, collisions);
        (format!("{}-{hash}", deployment.object.name()), hash)
    };
    // Whoever else holds the name (another owner, another template) makes us take the next hash.
    for _ in 0..16 {
        if seen
            .snapshot
            .get(REPLICASETS, namespace, &name_for(collisions).0)
            .is_none()
        {
            break;
        }
        collisions += 1;
    }
    let (name, hash) = name_for(collisions);
    let revision = sets.iter().map(|s| s.revision).max().unwrap_or(0) + 1;
    let mut labels = template
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    labels[HASH_LABEL] = hash.as_str().into();
    let mut selector = deployment
        .value
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or_else(|| json!({}));
    selector["matchLabels"][HASH_LABEL] = hash.as_str().into();
    let mut template = template;
    template["metadata"]["labels"] = labels.clone();
    let mut spec = json!({"replicas": replicas, "selector": selector, "template": template});
    if deployment.min_ready_seconds > 0 {
        spec["minReadySeconds"] = deployment.min_ready_seconds.into();
    }
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "ownerReferences": [deployment.owner()],
            "annotations": annotations(deployment, None, revision),
        },
        "spec": spec,
    });
    plan.acts.push(Act::Create {
        res: REPLICASETS,
        namespace: namespace.into(),
        object,
    });
    if replicas > 0 {
        let scaled = format!("Scaled up replica set {name} from 0 to {replicas}");
        plan.acts
            .push(deployment.event(false, "ScalingReplicaSet", scaled));
    }
    plan.why
        .push(format!("creates ReplicaSet {name} with {replicas} replicas"));
    Created { name, revision }
}

fn max_replicas(deployment: &Deployment) -> i64 {
    deployment.replicas + deployment.max_surge
}

/// The annotations that a ReplicaSet should have: the Deployment's (for the new one) and our own bookkeeping.
fn annotations(deployment: &Deployment, set: Option<&Set>, revision: i64) -> Value {
    let mut out = set
        .and_then(|s| s.value.pointer("/metadata/annotations").cloned())
        .unwrap_or_else(|| json!({}));
    let theirs = deployment
        .value
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    for (key, value) in theirs
        .into_iter()
        .flatten()
        .filter(|(k, _)| !OWN_ANNOTATIONS.contains(&k.as_str()))
    {
        out[key] = value.clone();
    }
    out[DESIRED] = deployment.replicas.to_string().into();
    out[MAX_REPLICAS] = max_replicas(deployment).to_string().into();
    out[REVISION] = revision.to_string().into();
    out
}

/// The new ReplicaSet has the highest revision: a rollback makes an old one the newest again.
pub fn sync_revision(deployment: &Deployment, sets: &mut [Set], new: Option<usize>, plan: &mut Plan) {
    let Some(new) = new else { return };
    let highest = sets
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != new)
        .map(|(_, s)| s.revision)
        .max()
        .unwrap_or(0);
    let revision = if sets[new].revision > highest {
        sets[new].revision
    } else {
        highest + 1
    };
    let wanted = annotations(deployment, Some(&sets[new]), revision);
    let stored = sets[new]
        .value
        .pointer("/metadata/annotations")
        .cloned()
        .unwrap_or_default();
    if sets[new].revision != revision {
        plan.why.push(format!(
            "ReplicaSet {} becomes revision {revision}",
            sets[new].object.name()
        ));
    }
    sets[new].wanted_revision = (wanted != stored).then_some(revision);
    sets[new].revision = revision;
    sets[new].is_new = true;
}

/// Writes every set whose size or bookkeeping this plan changed.
pub fn write_scales(deployment: &Deployment, sets: &[Set], plan: &mut Plan) {
    for set in sets {
        let scaled = set.replicas != set.spec_replicas;
        let stale_size = set.replicas > 0
            && (set.desired != Some(deployment.replicas)
                || set.max_replicas != Some(max_replicas(deployment)));
        let template_changes = set.wanted_revision.is_some();
        let min_ready = set.is_new
            && int(&set.value, "/spec/minReadySeconds").unwrap_or(0) != deployment.min_ready_seconds;
        if !(scaled || stale_size || template_changes || min_ready) {
            continue;
        }
        let mut patch = json!({"spec": {"replicas": set.replicas}});
        patch["metadata"]["annotations"] = match set.wanted_revision {
            Some(revision) => annotations(deployment, Some(set), revision),
            None => {
                json!({DESIRED: deployment.replicas.to_string(), MAX_REPLICAS: max_replicas(deployment).to_string()})
            }
        };
        if min_ready {
            patch["spec"]["minReadySeconds"] = deployment.min_ready_seconds.into();
        }
        plan.acts.push(Act::Patch {
            target: Target::exactly(REPLICASETS, &set.object),
            subresource: "",
            patch,
        });
        if scaled {
            let (from, to) = (set.spec_replicas, set.replicas);
            let direction = if to > from { "up" } else { "down" };
            let message = format!(
                "Scaled {direction} replica set {} from {from} to {to}",
                set.object.name()
            );
            plan.why.push(message.clone());
            plan.acts
                .push(deployment.event(false, "ScalingReplicaSet", message));
        }
    }
}
