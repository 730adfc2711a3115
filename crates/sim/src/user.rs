//! The user: creates workloads of all sorts, changes them at the worst moments, and repairs what only a user can.

use crate::laws::Broken;
use crate::node::{BAD_IMAGE, SICK_IMAGE};
use crate::rng::Rng;
use crate::start::NAMESPACE;
use crate::words;
use crate::world::{World, caller};
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS as CLAIMS;
use kinds::replicaset::REPLICASETS;
use kinds::statefulset::STATEFULSETS;
use kinds::workload::PODS;
use meta::{Call, Object, Propagation, Res};
use serde_json::{Value, json};

pub const SET: &str = "web";
pub const DEPLOYMENT: &str = "api";

/// What this user works with.
pub struct User {
    pub has_set: bool,
    pub has_deployment: bool,
    has_service: bool,
    /// Claims that the user deleted, by uid.
    pub deleted_claims: Vec<String>,
}

impl User {
    pub fn new(rng: &mut Rng) -> Self {
        let kind = rng.below(10);
        Self {
            has_set: kind < 8,
            has_deployment: kind >= 7,
            has_service: rng.percent(20),
            deleted_claims: Vec::new(),
        }
    }
}

pub fn container(image: &str) -> Value {
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1});
    json!([{"name": "app", "image": image, "readinessProbe": probe}])
}

fn any_image(rng: &mut Rng) -> &'static str {
    match rng.below(10) {
        0 => BAD_IMAGE,
        1 => SICK_IMAGE,
        n => ["app:1", "app:2", "app:3"][n as usize % 3],
    }
}

pub fn good_image(rng: &mut Rng) -> &'static str {
    ["app:1", "app:2", "app:3"][rng.index(3)]
}

fn retention(rng: &mut Rng) -> Value {
    let policy = |rng: &mut Rng| if rng.percent(40) { "Delete" } else { "Retain" };
    json!({"whenDeleted": policy(rng), "whenScaled": policy(rng)})
}

fn update_strategy(rng: &mut Rng) -> Value {
    if rng.percent(10) {
        return json!({"type": "OnDelete", "rollingUpdate": null});
    }
    let partition = if rng.percent(70) { 0 } else { rng.between(1, 3) };
    let unavailable = if rng.percent(50) {
        Value::Null
    } else {
        rng.between(1, 3).into()
    };
    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition, "maxUnavailable": unavailable}})
}

fn template(app: &str, rng: &mut Rng) -> Value {
    let grace = rng.between(0, 3);
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": container(any_image(rng)), "terminationGracePeriodSeconds": grace},
    })
}

fn min_ready(rng: &mut Rng) -> i64 {
    if rng.percent(75) { 0 } else { rng.between(1, 4) }
}

fn new_set(rng: &mut Rng) -> Value {
    let policy = if rng.percent(60) {
        "OrderedReady"
    } else {
        "Parallel"
    };
    let mut spec = json!({
        "replicas": rng.between(0, 4), "serviceName": SET, "podManagementPolicy": policy,
        "selector": {"matchLabels": {"app": SET}}, "template": template(SET, rng),
        "minReadySeconds": min_ready(rng), "revisionHistoryLimit": rng.between(0, 3),
        "persistentVolumeClaimRetentionPolicy": retention(rng), "updateStrategy": update_strategy(rng),
    });
    if rng.percent(60) {
        spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1M"}}}}]);
    }
    if rng.percent(20) {
        spec["ordinals"] = json!({"start": rng.between(1, 3)});
    }
    strip_nulls(&mut spec);
    json!({"metadata": {"name": SET}, "spec": spec})
}

fn deployment_strategy(rng: &mut Rng) -> Value {
    if rng.percent(20) {
        return json!({"type": "Recreate", "rollingUpdate": null});
    }
    let surge = rng.between(0, 2);
    let unavailable = rng.between(i64::from(surge == 0), 2);
    let unavailable: Value = if rng.percent(80) {
        unavailable.into()
    } else {
        "50%".into()
    };
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn new_deployment(rng: &mut Rng) -> Value {
    let mut spec = json!({
        "replicas": rng.between(0, 5), "selector": {"matchLabels": {"app": DEPLOYMENT}},
        "template": template(DEPLOYMENT, rng), "strategy": deployment_strategy(rng),
        "minReadySeconds": min_ready(rng), "revisionHistoryLimit": rng.between(0, 3),
        "progressDeadlineSeconds": rng.between(10, 30),
    });
    strip_nulls(&mut spec);
    json!({"metadata": {"name": DEPLOYMENT}, "spec": spec})
}

fn strip_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, v| !v.is_null());
        map.values_mut().for_each(strip_nulls);
    }
}

/// One action of the seed's choice.
pub fn act(world: &mut World) -> Result<(), Broken> {
    let (set, deployment) = (world.user.has_set, world.user.has_deployment);
    let choose_set = set && (!deployment || world.rng.percent(60));
    if create_missing(world, choose_set) {
        return Ok(());
    }
    let call = if choose_set {
        change_set(world)
    } else {
        change_deployment(world)
    };
    if let Some(call) = call {
        send(world, call);
    }
    Ok(())
}

fn create_missing(world: &mut World, set: bool) -> bool {
    let (res, name) = if set {
        (STATEFULSETS, SET)
    } else {
        (DEPLOYMENTS, DEPLOYMENT)
    };
    if world.snapshot().get(res, NAMESPACE, name).is_some() {
        return false;
    }
    if set && world.user.has_service {
        world.user.has_service = false;
        let ports = json!([{"port": 80, "protocol": "TCP"}]);
        let spec = json!({"clusterIP": "None", "selector": {"app": SET}, "ports": ports});
        let service = json!({"metadata": {"name": SET}, "spec": spec});
        send(world, Call::create(kinds::service::SERVICES, NAMESPACE, service));
    }
    let object = if set {
        new_set(&mut world.rng)
    } else {
        new_deployment(&mut world.rng)
    };
    send(world, Call::create(res, NAMESPACE, object));
    true
}

fn change_set(world: &mut World) -> Option<Call> {
    let rng = &mut world.rng;
    let patch = |spec: Value| {
        Some(Call::merge_patch(
            STATEFULSETS,
            NAMESPACE,
            SET,
            json!({"spec": spec}),
        ))
    };
    match rng.below(24) {
        0..5 => patch(json!({"replicas": rng.between(0, 4)})),
        5..9 => patch(json!({"template": {"spec": {"containers": container(any_image(rng))}}})),
        9 | 10 => patch(json!({"updateStrategy": update_strategy(rng)})),
        11 => patch(json!({"minReadySeconds": min_ready(rng)})),
        12 => patch(json!({"persistentVolumeClaimRetentionPolicy": retention(rng)})),
        13 => patch(json!({"revisionHistoryLimit": rng.between(0, 3)})),
        14 => patch(json!({"ordinals": {"start": rng.between(0, 2)}})),
        15 => Some(delete_with(STATEFULSETS, SET, rng)),
        16 => delete_claim(world),
        17 => relabel(world, SET),
        18..21 => delete_pod(world),
        _ => {
            touch(world);
            None
        }
    }
}

fn change_deployment(world: &mut World) -> Option<Call> {
    let rng = &mut world.rng;
    let patch = |spec: Value| {
        Some(Call::merge_patch(
            DEPLOYMENTS,
            NAMESPACE,
            DEPLOYMENT,
            json!({"spec": spec}),
        ))
    };
    match rng.below(22) {
        0..4 => patch(json!({"replicas": rng.between(0, 5)})),
        4..9 => patch(json!({"template": {"spec": {"containers": container(any_image(rng))}}})),
        9 | 10 => patch(json!({"strategy": deployment_strategy(rng)})),
        11 => patch(json!({"minReadySeconds": min_ready(rng)})),
        12 => patch(json!({"revisionHistoryLimit": rng.between(0, 3)})),
        13 | 14 => patch(json!({"paused": rng.percent(50)})),
        15 => Some(delete_with(DEPLOYMENTS, DEPLOYMENT, rng)),
        16 => relabel(world, DEPLOYMENT),
        17..20 => delete_pod(world),
        _ => {
            touch(world);
            None
        }
    }
}

fn delete_with(res: Res, name: &str, rng: &mut Rng) -> Call {
    let mut call = Call::delete(res, NAMESPACE, name);
    let ways = [
        Propagation::Background,
        Propagation::Foreground,
        Propagation::Orphan,
    ];
    call.options.propagation = rng.pick(&ways).copied();
    call
}

fn any(world: &mut World, res: Res) -> Option<Object> {
    let all: Vec<Object> = world.snapshot().list(res, NAMESPACE).cloned().collect();
    world.rng.pick(&all).cloned()
}

fn delete_claim(world: &mut World) -> Option<Call> {
    let claim = any(world, CLAIMS)?;
    world.user.deleted_claims.push(claim.uid().into());
    Some(Call::delete(CLAIMS, NAMESPACE, claim.name()).if_uid(claim.uid()))
}

fn delete_pod(world: &mut World) -> Option<Call> {
    let pod = any(world, PODS)?;
    let mut call = Call::delete(PODS, NAMESPACE, pod.name());
    call.options.grace_seconds = match world.rng.below(4) {
        0 => Some(0),
        1 => Some(1),
        _ => None,
    };
    Some(call)
}

/// A pod that no longer fits its owner's selector, or one that fits again.
fn relabel(world: &mut World, app: &str) -> Option<Call> {
    let pod = any(world, PODS)?;
    let lost = pod.meta().label("app") == Some("lost");
    let label = if lost { app } else { "lost" };
    let patch = json!({"metadata": {"labels": {"app": label}}});
    Some(Call::merge_patch(PODS, NAMESPACE, pod.name(), patch))
}

/// A foreign write to anything that controllers write: whoever planned on the old revision has a conflict.
pub fn touch(world: &mut World) -> bool {
    let kinds = [
        STATEFULSETS,
        PODS,
        CLAIMS,
        CONTROLLERREVISIONS,
        DEPLOYMENTS,
        REPLICASETS,
    ];
    let res = kinds[world.rng.index(kinds.len())];
    let Some(object) = any(world, res) else {
        return false;
    };
    let mark = world.rng.below(1 << 32).to_string();
    let patch = json!({"metadata": {"annotations": {"example.com/touched": mark}}});
    send(world, Call::merge_patch(res, NAMESPACE, object.name(), patch));
    true
}

/// Sends a call as the user, whom an error only annoys.
pub fn send(world: &mut World, call: Call) {
    let words = words::call(&call);
    let result = world.call(&caller("user", "system:masters"), call);
    world.tell("user", || format!("{words}{}", words::outcome(&result)));
}
