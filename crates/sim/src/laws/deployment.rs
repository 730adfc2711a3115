//! The guarantees of Deployments and ReplicaSets. Source: "Rolling Update Deployment" in the Kubernetes documentation,
//! apps/v1 API reference (`maxSurge`, `maxUnavailable`, `replicas`).

use super::{Act, Broken, check};
use kinds::deployment::DEPLOYMENTS;
use kinds::replicaset::REPLICASETS;
use kinds::row::{int, text};
use kinds::workload::{self, PODS, Pod};
use meta::{Object, Verb};
use serde_json::Value;

pub fn hold_for(act: &Act) -> Result<(), Broken> {
    match (act.controller, act.call.res) {
        ("replicaset-controller", res) if res == PODS => a_replicaset_keeps_to_its_size(act),
        ("deployment-controller", res) if res == REPLICASETS => {
            a_deployment_never_exceeds_its_surge(act)?;
            a_rollout_keeps_enough_available(act)
        }
        _ => Ok(()),
    }
}

fn count(act: &Act, verb: Verb, owner: &str) -> i64 {
    let same = |c: &&meta::Call| {
        let about = |body: &Value| text(body, "/metadata/ownerReferences/0/uid") == owner;
        c.res == PODS && c.verb == verb && c.body.as_ref().is_none_or(about)
    };
    act.done.iter().filter(same).count() as i64
}

/// Pods are created only below `replicas` and deleted only above.
fn a_replicaset_keeps_to_its_size(act: &Act) -> Result<(), Broken> {
    const LAW: &str = "a ReplicaSet keeps to its size";
    let uid = match act.call.verb {
        Verb::Create => act
            .call
            .body
            .as_ref()
            .map(|b| text(b, "/metadata/ownerReferences/0/uid").to_string()),
        Verb::Delete => {
            let pod = act.planned.get(PODS, &act.call.namespace, &act.call.name);
            pod.and_then(|p| p.meta().controller()).map(|o| o.uid.to_string())
        }
        _ => return Ok(()),
    };
    let uid = uid.unwrap_or_default();
    let set = act
        .planned
        .list(REPLICASETS, &act.call.namespace)
        .find(|s| s.uid() == uid);
    let Some(set) = set else {
        return Err(Broken::new(LAW, format!("{} is nobody's", act.call.name)));
    };
    let wanted = int(&set.value(), "/spec/replicas").unwrap_or(1);
    let pods = act.planned.owned_by(&uid).filter(|(res, _)| *res == PODS);
    let pods = pods
        .map(|(_, o)| Pod::of(o))
        .filter(|p| !p.is_finished() && !p.is_deleting())
        .count() as i64;
    let there = pods + count(act, Verb::Create, &uid) - count(act, Verb::Delete, &uid);
    let fine = if act.call.verb == Verb::Create {
        there < wanted
    } else {
        there > wanted
    };
    check(fine, LAW, || {
        format!(
            "{} has {there} of {wanted} before {}",
            set.name(),
            crate::words::call(act.call)
        )
    })
}

struct View {
    uid: String,
    value: Value,
    replicas: i64,
    surge: i64,
    unavailable: i64,
    recreate: bool,
}

/// The deployment whose ReplicaSet this act is about, as the plan saw it.
fn deployment_of(act: &Act) -> Option<View> {
    let owner = match (
        &act.call.body,
        act.planned.get(REPLICASETS, &act.call.namespace, &act.call.name),
    ) {
        (_, Some(set)) => set.meta().controller().map(|o| o.name.to_string()),
        (Some(body), None) => Some(text(body, "/metadata/ownerReferences/0/name").to_string()),
        _ => None,
    };
    let object = act.planned.get(DEPLOYMENTS, &act.call.namespace, &owner?)?;
    let value = object.value();
    let replicas = int(&value, "/spec/replicas").unwrap_or(1);
    let rolling = |field: &str, up: bool| {
        let at = value.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        workload::int_or_percent(at, replicas, up).unwrap_or(0)
    };
    let (surge, unavailable) = (rolling("maxSurge", true), rolling("maxUnavailable", false));
    Some(View {
        uid: object.uid().into(),
        replicas,
        surge,
        unavailable: if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        },
        recreate: text(&value, "/spec/strategy/type") == "Recreate",
        value,
    })
}

/// ReplicaSets of the deployment in the plan's snapshot.
fn sets_of<'a>(act: &'a Act, uid: &str) -> Vec<&'a Object> {
    let owned = act.planned.owned_by(uid).filter(|(res, _)| *res == REPLICASETS);
    owned.map(|(_, o)| o).collect()
}

/// The size that this plan has given a set so far, this act included.
fn size_after(act: &Act, set: &Object) -> i64 {
    let given = act
        .done
        .iter()
        .chain([act.call])
        .rfind(|c| c.res == REPLICASETS && c.name == set.name());
    let given = given
        .filter(|c| c.verb != Verb::Delete)
        .and_then(|c| int(c.body.as_ref()?, "/spec/replicas"));
    given.unwrap_or_else(|| int(&set.value(), "/spec/replicas").unwrap_or(1))
}

/// No act makes the sum of all ReplicaSets larger than `replicas + maxSurge`. (It may be larger for a while after the
/// user made the deployment smaller.) Recreate has no surge.
fn a_deployment_never_exceeds_its_surge(act: &Act) -> Result<(), Broken> {
    let Some(deployment) = deployment_of(act) else {
        return Ok(());
    };
    let sets = sets_of(act, &deployment.uid);
    let before: i64 = sets
        .iter()
        .map(|s| int(&s.value(), "/spec/replicas").unwrap_or(1))
        .sum();
    let created: i64 = act
        .done
        .iter()
        .chain([act.call])
        .filter(|c| c.res == REPLICASETS && c.verb == Verb::Create)
        .filter_map(|c| int(c.body.as_ref()?, "/spec/replicas"))
        .sum();
    let after: i64 = sets.iter().map(|s| size_after(act, s)).sum::<i64>() + created;
    let allowed = deployment.replicas + if deployment.recreate { 0 } else { deployment.surge };
    check(
        after <= allowed.max(before),
        "a Deployment never exceeds replicas + maxSurge",
        || {
            format!(
                "{} makes {after} of at most {allowed}",
                crate::words::call(act.call)
            )
        },
    )
}

/// A step of a rolling update that takes away available pods leaves `replicas - maxUnavailable` of them. Does not bind
/// changes of size, which are spread in proportion, nor Recreate.
fn a_rollout_keeps_enough_available(act: &Act) -> Result<(), Broken> {
    let Some(deployment) = deployment_of(act) else {
        return Ok(());
    };
    let paused = deployment.value.pointer("/spec/paused") == Some(&Value::Bool(true));
    let sets = sets_of(act, &deployment.uid);
    let wanted = deployment.replicas.to_string();
    let resized = sets.iter().any(|s| {
        let value = s.value();
        let desired = value.pointer("/metadata/annotations/deployment.kubernetes.io~1desired-replicas");
        int(&value, "/spec/replicas") != Some(0) && desired.and_then(Value::as_str) != Some(&wanted)
    });
    if deployment.recreate || paused || resized {
        return Ok(());
    }
    let available = |set: &Object| int(&set.value(), "/status/availableReplicas").unwrap_or(0);
    let before: i64 = sets.iter().map(|s| available(s)).sum();
    let after: i64 = sets.iter().map(|s| available(s).min(size_after(act, s))).sum();
    let floor = deployment.replicas - deployment.unavailable;
    check(
        after == before || after >= floor,
        "a rollout never takes too many available pods away",
        || {
            format!(
                "{} leaves {after} of {before}, {floor} are needed",
                crate::words::call(act.call)
            )
        },
    )
}
