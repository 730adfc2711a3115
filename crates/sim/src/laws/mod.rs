//! What must always hold, each law a function of its own with its source. Laws about an act look at what its plan was
//! decided on; laws about the world look at what is there.

mod deployment;
mod ownership;
mod statefulset;

use crate::world::World;
use meta::{Call, Change, Reply, Snapshot, Status, Timestamp};
use std::collections::BTreeMap;

pub use ownership::is_orphaned;
pub use statefulset::{SetView, pods_of};

/// A law that did not hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("broken law: {law}: {what}")]
pub struct Broken {
    pub law: &'static str,
    pub what: String,
}

impl Broken {
    pub fn new(law: &'static str, what: impl std::fmt::Display) -> Self {
        Self {
            law,
            what: what.to_string(),
        }
    }
}

pub(crate) fn check(holds: bool, law: &'static str, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken { law, what: what() })
    }
}

/// A controller's call that went through the pipeline.
pub struct Act<'a> {
    pub controller: &'static str,
    pub call: &'a Call,
    /// The snapshot and the time of the plan.
    pub planned: &'a Snapshot,
    pub planned_at: Timestamp,
    /// What the same plan did earlier.
    pub done: &'a [Call],
    pub changes: &'a [Change],
    pub result: &'a Result<Reply, Status>,
    pub disk_full: bool,
    /// The user asks for objects of this kind that the API does not allow.
    pub may_be_refused: bool,
}

/// The laws about one act.
pub fn hold_for(act: &Act) -> Result<(), Broken> {
    controllers_send_valid_writes(act)?;
    ownership::claims_are_kept(act)?;
    ownership::what_has_an_owner_is_kept(act)?;
    if act.result.is_err() {
        return Ok(());
    }
    match act.controller {
        "statefulset-controller" => statefulset::hold_for(act),
        "deployment-controller" | "replicaset-controller" => deployment::hold_for(act),
        _ => Ok(()),
    }
}

/// The laws about the world as it is.
pub fn hold_always(world: &World) -> Result<(), Broken> {
    never_two_live_pods_of_one_identity(world)?;
    never_two_attempts_of_one_container(world)
}

/// At most one pod with a given identity runs in a cluster at any time: live processes count, whatever the API says.
/// Source: "StatefulSet considerations" in "Force Delete StatefulSet Pods", Kubernetes documentation.
fn never_two_live_pods_of_one_identity(world: &World) -> Result<(), Broken> {
    let mut alive: BTreeMap<&str, &str> = BTreeMap::new();
    for (uid, key) in world.node.alive(world.now()) {
        if let Some(other) = alive.insert(key, uid) {
            let what = format!("{key} lives as {other} and as {uid}");
            return Err(Broken::new("never two live pods of one identity", what));
        }
    }
    Ok(())
}

/// A container is restarted after its end, not beside it.
fn never_two_attempts_of_one_container(world: &World) -> Result<(), Broken> {
    match world.node.doubled(world.now()) {
        None => Ok(()),
        Some((pod, container)) => Err(Broken::new(
            "never two live attempts of one container",
            format!("{container} of {pod}"),
        )),
    }
}

/// A controller may lose a race (404, 409), but what it sends is never malformed, invalid or forbidden, and the
/// pipeline never answers with a failure of its own, but for a disk that is full (507).
fn controllers_send_valid_writes(act: &Act) -> Result<(), Broken> {
    if act.may_be_refused {
        return Ok(());
    }
    valid(act.result, act.disk_full, || {
        format!("{} {}", act.controller, crate::words::call(act.call))
    })
}

pub fn node_writes_are_valid(
    told: &str,
    result: &Result<Reply, Status>,
    disk_full: bool,
) -> Result<(), Broken> {
    valid(result, disk_full, || format!("node: {told}"))
}

fn valid(
    result: &Result<Reply, Status>,
    disk_full: bool,
    who: impl FnOnce() -> String,
) -> Result<(), Broken> {
    match result {
        Err(status) if disk_full && status.code == 507 => Ok(()),
        Err(status) if !matches!(status.code, 404 | 409) => {
            let what = format!("{}: {} {}", who(), status.code, status.message);
            Err(Broken::new("controllers send valid writes", what))
        }
        _ => Ok(()),
    }
}

/// Whatever was acknowledged is there after a crash, and nothing else but the batch that was under way.
/// Source: DESIGN, "an acknowledged write that a crash can lose must never be".
pub fn acknowledged_writes_are_there(acknowledged: &Snapshot, found: &Snapshot) -> Result<(), Broken> {
    const LAW: &str = "acknowledged writes survive a crash";
    let (was, is) = (acknowledged.revision(), found.revision());
    check(is == was || is == was + 1, LAW, || {
        format!("revision {was} was acknowledged, {is} was found")
    })?;
    if is != was {
        return Ok(());
    }
    for (res, table) in acknowledged.tables() {
        check(table.len() == found.count(res), LAW, || {
            format!("{} of {} {res:?} were found", found.count(res), table.len())
        })?;
        for (key, object) in table {
            let same = found.by_key(res, key).is_some_and(|o| o.json() == object.json());
            check(same, LAW, || format!("{res:?} {key} differs"))?;
        }
    }
    Ok(())
}
