//! The history of a StatefulSet's template as ControllerRevisions: which one pods should have, which one they had,
//! and how many are kept.

use super::plan::Set;
use super::pods::{REVISION_LABEL, revision_of};
use crate::Seen;
use crate::controllerrevision::CONTROLLERREVISIONS;
use crate::plan::{Act, Plan, Target};
use crate::row::{int, text};
use crate::workload::{self, Pod};
use meta::Object;
use serde_json::{Value, json};

const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// Different templates with one name are unlikely; more of them in a row than this is a broken hash.
const MAX_COLLISIONS: i64 = 16;

/// One revision: its name is what pods carry as a label.
#[derive(Clone, Debug)]
pub struct Revision {
    pub name: String,
    pub template: Value,
}

/// The two that count, and those that are there.
pub struct Revisions {
    pub current: Revision,
    pub update: Revision,
    pub collisions: i64,
    /// Oldest first; without the one that this plan creates.
    pub kept: Vec<Object>,
}

/// Finds the revision of the set's template, or plans to create it.
pub fn settle(seen: &Seen, set: &Set, plan: &mut Plan) -> Revisions {
    let mut kept: Vec<(i64, Object, Value)> = Vec::new();
    for object in seen.snapshot.list(CONTROLLERREVISIONS, set.namespace()) {
        let fits = set.selector.matches(&object.meta().labels);
        match workload::claim(set.object.uid(), set.is_deleting(), object, fits) {
            workload::Claim::Owned => {}
            workload::Claim::Adopt if object.meta().label(HASH_LABEL).is_some() => {
                workload::adopt(plan, CONTROLLERREVISIONS, object, set.owner());
            }
            _ => continue,
        }
        let value = object.value();
        kept.push((int(&value, "/revision").unwrap_or(0), object.clone(), value));
    }
    kept.sort_by(|a, b| (a.0, a.1.meta().created, a.1.name()).cmp(&(b.0, b.1.meta().created, b.1.name())));
    let (update, collisions) = find_or_create(set, &kept, plan);
    let current_name = text(&set.value, "/status/currentRevision");
    let current = kept
        .iter()
        .find(|(_, object, _)| object.name() == current_name)
        .map(|(_, object, value)| Revision {
            name: object.name().into(),
            template: template_of(value),
        })
        .unwrap_or_else(|| update.clone());
    Revisions {
        current,
        update,
        collisions,
        kept: kept.into_iter().map(|(_, object, _)| object).collect(),
    }
}

fn find_or_create(set: &Set, kept: &[(i64, Object, Value)], plan: &mut Plan) -> (Revision, i64) {
    let template = set
        .value
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let mut collisions = int(&set.value, "/status/collisionCount").unwrap_or(0);
    let newest = kept.last().map_or(0, |(revision, _, _)| *revision);
    let data = data_of(&template);
    if let Some((revision, object, _)) = kept
        .iter()
        .rev()
        .find(|(_, _, value)| value.get("data") == Some(&data))
    {
        if *revision < newest && !set.is_deleting() {
            // A rollback: the old revision becomes the newest one.
            let target = Target::exactly(CONTROLLERREVISIONS, object);
            plan.acts.push(Act::Patch {
                target,
                subresource: "",
                patch: json!({"revision": newest + 1}),
            });
        }
        return (
            Revision {
                name: object.name().into(),
                template,
            },
            collisions,
        );
    }
    let name_for = |collisions| {
        let hash = workload::content_hash(&data, collisions);
        (format!("{}-{hash}", set.name()), hash)
    };
    while collisions < MAX_COLLISIONS
        && kept
            .iter()
            .any(|(_, object, _)| object.name() == name_for(collisions).0)
    {
        collisions += 1;
    }
    let (name, hash) = name_for(collisions);
    if !set.is_deleting() {
        let object = make(set, &name, &hash, newest + 1, data);
        plan.acts.push(Act::Create {
            res: CONTROLLERREVISIONS,
            namespace: set.namespace().into(),
            object,
        });
        plan.why.push(format!("records revision {name}"));
    }
    (Revision { name, template }, collisions)
}

fn make(set: &Set, name: &str, hash: &str, revision: i64, data: Value) -> Value {
    let mut labels = set
        .value
        .pointer("/spec/template/metadata/labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    labels[HASH_LABEL] = hash.into();
    let mut metadata = json!({
        "name": name, "namespace": set.namespace(), "labels": labels, "ownerReferences": [set.owner()],
    });
    if let Some(annotations) = set.value.pointer("/metadata/annotations") {
        metadata["annotations"] = annotations.clone();
    }
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "data": data, "revision": revision})
}

/// The patch that puts a template back: what `kubectl rollout undo` sends.
fn data_of(template: &Value) -> Value {
    let mut template = template.clone();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

fn template_of(revision: &Value) -> Value {
    let mut template = revision
        .pointer("/data/spec/template")
        .cloned()
        .unwrap_or_else(|| json!({}));
    if let Some(map) = template.as_object_mut() {
        map.remove("$patch");
    }
    template
}

/// Deletes the oldest revisions over the limit; those that pods or the status still name stay.
pub fn truncate(set: &Set, revisions: &Revisions, pods: &[&Pod], plan: &mut Plan) {
    let live = |name: &str| {
        name == revisions.current.name
            || name == revisions.update.name
            || pods.iter().any(|p| revision_of(p) == name)
    };
    let spare: Vec<&Object> = revisions.kept.iter().filter(|r| !live(r.name())).collect();
    for object in spare.iter().take(spare.len().saturating_sub(set.history_limit)) {
        let target = Target::exactly(CONTROLLERREVISIONS, object);
        plan.acts.push(Act::Delete {
            target,
            grace_seconds: None,
            propagation: None,
        });
        plan.why.push(format!(
            "forgets revision {} (label {REVISION_LABEL})",
            object.name()
        ));
    }
}
