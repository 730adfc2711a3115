//! How a Deployment is carried out: which ReplicaSet is the new one, what each should be scaled to, and what is cleaned
//! up when the rollout is complete.

use super::replicasets::{self, Set};
use super::{DEPLOYMENTS, rolling, status};
use crate::plan::{Act, EventAct, Failure, Plan, Target};
use crate::replicaset::REPLICASETS;
use crate::row::{int, text};
use crate::workload::{self, PODS};
use crate::{Controller, Key, Seen};
use meta::selector::LabelSelector;
use meta::{Change, Object, Verb};
use serde_json::Value;

pub const CONTROLLER: Controller = Controller {
    name: "deployment-controller",
    wakes,
    plan,
    failed,
};

/// The spec as the plan reads it.
pub struct Deployment<'a> {
    pub object: &'a Object,
    pub value: Value,
    pub selector: LabelSelector,
    pub replicas: i64,
    pub min_ready_seconds: i64,
    pub recreate: bool,
    pub max_surge: i64,
    pub max_unavailable: i64,
    pub paused: bool,
    pub history_limit: usize,
    /// `None`: no deadline.
    pub progress_deadline_seconds: Option<i64>,
}

impl<'a> Deployment<'a> {
    pub fn of(object: &'a Object) -> Self {
        let value = object.value();
        let replicas = int(&value, "/spec/replicas").unwrap_or(1).max(0);
        let recreate = text(&value, "/spec/strategy/type") == "Recreate";
        let rolling = |field: &str, up: bool| {
            let at = value.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
            if recreate {
                0
            } else {
                workload::int_or_percent(at, replicas, up).unwrap_or(0)
            }
        };
        let (surge, unavailable) = (rolling("maxSurge", true), rolling("maxUnavailable", false));
        // Both zero (by rounding) would never make progress.
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        let deadline = int(&value, "/spec/progressDeadlineSeconds").filter(|s| *s < i64::from(i32::MAX));
        Self {
            object,
            selector: workload::selector(&value),
            replicas,
            min_ready_seconds: int(&value, "/spec/minReadySeconds").unwrap_or(0),
            recreate,
            max_surge: surge,
            max_unavailable: if replicas > 0 {
                unavailable.min(replicas)
            } else {
                unavailable
            },
            paused: value.pointer("/spec/paused") == Some(&Value::Bool(true)),
            history_limit: int(&value, "/spec/revisionHistoryLimit").unwrap_or(10).max(0) as usize,
            progress_deadline_seconds: deadline,
            value,
        }
    }

    pub fn owner(&self) -> Value {
        workload::owner_reference("apps/v1", "Deployment", self.object)
    }

    pub fn event(&self, warning: bool, reason: &'static str, message: String) -> Act {
        Act::Event(EventAct {
            about: Target::exactly(DEPLOYMENTS, self.object),
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            warning,
            reason,
            message,
            field_path: None,
        })
    }
}

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let mut keys = Vec::new();
    for object in [Some(&change.object), change.previous.as_ref()]
        .into_iter()
        .flatten()
    {
        if change.res == DEPLOYMENTS {
            keys.push(Key::of(DEPLOYMENTS, object));
        } else if change.res == REPLICASETS {
            match object.meta().controller() {
                Some(owner) if &*owner.kind == "Deployment" => {
                    keys.push(Key::new(DEPLOYMENTS, object.namespace(), &owner.name));
                }
                Some(_) => {}
                None => keys.extend(selecting(object, seen)),
            }
        } else if change.res == PODS && has_ended(change) {
            // Recreate waits for the last old pod to be gone.
            keys.extend(deployment_of_pod(object, seen));
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

/// The pod is gone, or has just Succeeded or Failed: something may still hold its object.
fn has_ended(change: &Change) -> bool {
    let finished = |pod: &Object| workload::Pod::of(pod).is_finished();
    let before = change.previous.as_ref().is_some_and(finished);
    change.kind == meta::ChangeKind::Deleted || (finished(&change.object) && !before)
}

fn selecting(set: &Object, seen: &Seen) -> Vec<Key> {
    let all = seen.snapshot.list(DEPLOYMENTS, set.namespace());
    all.filter(|d| workload::selector(&d.value()).matches(&set.meta().labels))
        .map(|d| Key::of(DEPLOYMENTS, d))
        .collect()
}

fn deployment_of_pod(pod: &Object, seen: &Seen) -> Option<Key> {
    let set = pod.meta().controller().filter(|o| &*o.kind == "ReplicaSet")?;
    let set = seen.snapshot.get(REPLICASETS, pod.namespace(), &set.name)?;
    let owner = set.meta().controller().filter(|o| &*o.kind == "Deployment")?;
    Some(Key::new(DEPLOYMENTS, pod.namespace(), &owner.name))
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let Some(object) = seen.snapshot.by_key(DEPLOYMENTS, &key.key) else {
        return Plan::nothing().why("the Deployment is gone");
    };
    let deployment = Deployment::of(object);
    let mut plan = Plan::nothing();
    let mut sets = replicasets::claim(seen, &deployment, &mut plan);
    if object.meta().is_deleting() {
        plan.why
            .push("the Deployment is being deleted; its ReplicaSets are the garbage collector's".into());
        status::write(seen, &deployment, &sets, status::New::None, &mut plan);
        return plan;
    }
    let new = replicasets::find_new(&deployment, &sets);
    let resized = sets
        .iter()
        .any(|s| s.replicas > 0 && s.desired.is_some_and(|d| d != deployment.replicas));
    let mut created = None;
    if deployment.paused || resized {
        replicasets::sync_revision(&deployment, &mut sets, new, &mut plan);
        rolling::scale(&deployment, &mut sets, new, &mut plan);
    } else if new.is_none() && (!deployment.recreate || old_pods_gone(seen, &deployment, &sets)) {
        let replicas = rolling::first_size(&deployment, &sets);
        created = Some(replicasets::create(seen, &deployment, &sets, replicas, &mut plan));
    } else if deployment.recreate {
        recreate(seen, &deployment, &mut sets, new, &mut plan);
    } else if let Some(new) = new {
        replicasets::sync_revision(&deployment, &mut sets, Some(new), &mut plan);
        rolling::roll(&deployment, &mut sets, new, &mut plan);
    }
    if let Some(new) = new
        && status::is_complete(&deployment, &sets, new)
    {
        clean_up(&deployment, &sets, new, &mut plan);
    }
    replicasets::write_scales(&deployment, &sets, &mut plan);
    let new = match (new, created) {
        (Some(index), _) => status::New::Known(index),
        (None, Some(created)) => status::New::Made(created),
        (None, None) => status::New::None,
    };
    status::write(seen, &deployment, &sets, new, &mut plan);
    plan
}

/// Tells of a ReplicaSet that could not be created, and writes the status.
fn failed(seen: &Seen, key: &Key, failure: &Failure) -> Plan {
    let Some(object) = seen.snapshot.by_key(DEPLOYMENTS, &key.key) else {
        return Plan::nothing();
    };
    let deployment = Deployment::of(object);
    let mut plan = Plan::nothing();
    let sets = replicasets::claim(seen, &deployment, &mut Plan::nothing());
    let created = (failure.res, failure.verb) == (REPLICASETS, Verb::Create);
    // A name that is taken makes the next plan take the next one; a namespace that ends takes nothing, which is no fault.
    let known = failure.status.is_already_exists() || failure.status.is_namespace_terminating();
    let refused = (created && !known).then(|| {
        let (name, error) = (&failure.name, &failure.status.message);
        format!("Failed to create new replica set {name:?}: {error}")
    });
    let new = match refused {
        Some(message) => {
            plan.acts
                .push(deployment.event(true, status::SET_REFUSED, message.clone()));
            status::New::Refused(message)
        }
        None => replicasets::find_new(&deployment, &sets).map_or(status::New::None, status::New::Known),
    };
    status::write(seen, &deployment, &sets, new, &mut plan);
    plan
}

/// Recreate: all old pods have to be gone, not only on their way.
fn old_pods_gone(seen: &Seen, deployment: &Deployment, sets: &[Set]) -> bool {
    let alive = |set: &Set| {
        let pods = seen
            .snapshot
            .owned_by(set.object.uid())
            .filter(|(res, _)| *res == PODS);
        pods.map(|(_, pod)| workload::Pod::of(pod))
            .any(|pod| !pod.is_finished())
    };
    deployment.recreate && sets.iter().all(|set| set.replicas == 0 && !alive(set))
}

fn recreate(seen: &Seen, deployment: &Deployment, sets: &mut [Set], new: Option<usize>, plan: &mut Plan) {
    replicasets::sync_revision(deployment, sets, new, plan);
    let old: Vec<usize> = (0..sets.len()).filter(|i| Some(*i) != new).collect();
    let others: Vec<Set> = old.iter().map(|&i| sets[i].clone()).collect();
    // As they are stored: one that is only now scaled down may make its pods until it hears of that.
    let gone = old_pods_gone(seen, deployment, &others);
    for &i in &old {
        sets[i].scale_to(0);
    }
    match new {
        Some(new) if gone => sets[new].scale_to(deployment.replicas),
        _ => plan
            .why
            .push("waits for all old pods to be gone (Recreate)".into()),
    }
}

/// Deletes old ReplicaSets beyond the history limit, oldest first; only empty ones.
fn clean_up(deployment: &Deployment, sets: &[Set], new: usize, plan: &mut Plan) {
    let mut old: Vec<&Set> = sets
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != new)
        .map(|(_, s)| s)
        .collect();
    old.retain(|set| !set.object.meta().is_deleting());
    old.sort_by_key(|set| (set.revision, set.object.meta().created));
    for set in old
        .iter()
        .take(old.len().saturating_sub(deployment.history_limit))
    {
        if set.replicas == 0 && set.status_replicas == 0 && set.is_observed {
            let target = Target::exactly(REPLICASETS, &set.object);
            plan.acts.push(Act::Delete {
                target,
                grace_seconds: None,
                propagation: None,
            });
            plan.why.push(format!(
                "forgets ReplicaSet {} (revisionHistoryLimit)",
                set.object.name()
            ));
        }
    }
}
