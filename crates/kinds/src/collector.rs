//! Garbage collection: what happens to the objects that another object owns. One plan for all kinds, built-in or not.
//! A snapshot shows owners and dependents at one revision, so "the owner is gone" is a fact here, never a guess.
//! Source: "Garbage Collection" and "Owners and Dependents" in the Kubernetes documentation.

use crate::plan::{Act, Plan, Target};
use crate::workload::owners_of;
use crate::{Controller, Key, Seen};
use meta::{Change, ChangeKind, Object, OwnerRef, Propagation, Res};
use serde_json::{Value, json};

pub const CONTROLLER: Controller = Controller {
    name: "generic-garbage-collector",
    wakes,
    plan,
    failed: crate::plan::untold,
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Dependents that one plan deletes or orphans at most; the next plan goes on.
const MAX_BATCH: usize = 500;

/// Owners above an object that are looked at for circles. Real chains have three or four.
const MAX_ANCESTORS: usize = 100;

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let object = &change.object;
    let mut keys = Vec::new();
    if change.kind != ChangeKind::Deleted {
        if !object.meta().owners.is_empty() || holds(object) {
            keys.push(Key::of(change.res, object));
        }
    } else {
        keys.extend(
            seen.snapshot
                .owned_by(object.uid())
                .map(|(res, dependent)| Key::of(res, dependent)),
        );
    }
    // An owner that waits for its dependents looks again when one of them changes.
    let before = change.previous.iter().flat_map(|p| &p.meta().owners);
    for reference in object.meta().owners.iter().chain(before) {
        if let Some((res, owner)) = find(seen, object.namespace(), reference)
            && holds(owner)
        {
            keys.push(Key::of(res, owner));
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

/// Being deleted, and kept until its dependents are dealt with.
fn holds(object: &Object) -> bool {
    let meta = object.meta();
    meta.is_deleting()
        && meta
            .finalizers
            .iter()
            .any(|f| matches!(&**f, FOREGROUND | ORPHAN))
}

fn has_finalizer(object: &Object, name: &str) -> bool {
    object.meta().finalizers.iter().any(|f| &**f == name)
}

/// The owner that a reference names, if it is there with that very uid.
fn find<'a>(seen: &Seen<'a>, namespace: &str, reference: &OwnerRef) -> Option<(Res, &'a Object)> {
    let row = seen.rows.by_kind(&reference.api_version, &reference.kind)?;
    let namespace = if row.namespaced { namespace } else { "" };
    let owner = seen.snapshot.get(row.res, namespace, &reference.name)?;
    (owner.uid() == &*reference.uid).then_some((row.res, owner))
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(object) = seen.snapshot.by_key(key.res, &key.key) else {
        return plan;
    };
    if object.meta().is_deleting() && has_finalizer(object, ORPHAN) {
        orphan_dependents(seen, key.res, object, &mut plan);
    } else if object.meta().is_deleting() && has_finalizer(object, FOREGROUND) {
        delete_dependents(seen, key.res, object, &mut plan);
    }
    if !object.meta().is_deleting() {
        judge(seen, key.res, object, &mut plan);
    }
    plan
}

fn orphan_dependents(seen: &Seen, res: Res, object: &Object, plan: &mut Plan) {
    let mut left = false;
    for (dependent_res, dependent) in seen.snapshot.owned_by(object.uid()).take(MAX_BATCH) {
        left = true;
        drop_owners(dependent_res, dependent, &[object.uid()], plan);
    }
    if !left {
        drop_finalizer(res, object, ORPHAN, plan);
    }
}

fn delete_dependents(seen: &Seen, res: Res, object: &Object, plan: &mut Plan) {
    let above = ancestors(seen, object);
    let blocks = |dependent: &Object| {
        // In a circle each would wait for the next one.
        if above.iter().any(|uid| *uid == dependent.uid()) {
            return false;
        }
        let ours = dependent.meta().owners.iter().find(|o| &*o.uid == object.uid());
        ours.is_some_and(|o| o.block_owner_deletion == Some(true))
    };
    let mut waits = 0;
    for (dependent_res, dependent) in seen.snapshot.owned_by(object.uid()).take(MAX_BATCH) {
        waits += usize::from(blocks(dependent));
        let other_owner = dependent
            .meta()
            .owners
            .iter()
            .any(|o| &*o.uid != object.uid() && is_solid(seen, dependent, o));
        if other_owner {
            drop_owners(dependent_res, dependent, &[object.uid()], plan);
        } else if !dependent.meta().is_deleting() {
            // Its own dependents that block it are dealt with first, in the same manner.
            let inner = seen.snapshot.owned_by(dependent.uid()).next().is_some();
            delete(
                dependent_res,
                dependent,
                if inner {
                    Propagation::Foreground
                } else {
                    Propagation::Background
                },
                plan,
            );
        }
    }
    if waits == 0 {
        drop_finalizer(res, object, FOREGROUND, plan);
    } else {
        plan.why
            .push(format!("waits for {waits} dependents that block its deletion"));
    }
}

/// The uids of its owners, of their owners, and so on.
fn ancestors<'a>(seen: &Seen<'a>, object: &'a Object) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    let mut next = vec![object];
    while let Some(object) = next.pop() {
        for reference in &object.meta().owners {
            if let Some((_, owner)) = find(seen, object.namespace(), reference)
                && !found.contains(&owner.uid())
                && found.len() < MAX_ANCESTORS
            {
                found.push(owner.uid());
                next.push(owner);
            }
        }
    }
    found
}

/// There, and not itself waiting for its dependents to go.
fn is_solid(seen: &Seen, dependent: &Object, reference: &OwnerRef) -> bool {
    // A kind that is not served cannot be judged; its reference counts, so that nothing is deleted by mistake.
    if seen
        .rows
        .by_kind(&reference.api_version, &reference.kind)
        .is_none()
    {
        return true;
    }
    find(seen, dependent.namespace(), reference).is_some_and(|(_, owner)| !waits_for_dependents(owner))
}

fn waits_for_dependents(owner: &Object) -> bool {
    owner.meta().is_deleting() && has_finalizer(owner, FOREGROUND)
}

/// Deletes an object whose owners are all gone, and drops references to those that are gone when others are left.
fn judge(seen: &Seen, res: Res, object: &Object, plan: &mut Plan) {
    let owners = &object.meta().owners;
    // Of what the whole cluster has, nothing in a namespace can be the owner: nobody says in which.
    let across = object.namespace().is_empty();
    let can_be_found = |owner: &OwnerRef| {
        let row = seen.rows.by_kind(&owner.api_version, &owner.kind);
        row.is_some_and(|row| !(across && row.namespaced))
    };
    if owners.is_empty() || !owners.iter().all(can_be_found) {
        return;
    }
    let gone: Vec<&str> = owners
        .iter()
        .filter(|o| find(seen, object.namespace(), o).is_none())
        .map(|o| &*o.uid)
        .collect();
    let solid = owners.iter().any(|o| is_solid(seen, object, o));
    if gone.len() == owners.len() {
        plan.why.push("all of its owners are gone".into());
        let policy = match () {
            () if has_finalizer(object, ORPHAN) => Propagation::Orphan,
            () if has_finalizer(object, FOREGROUND) => Propagation::Foreground,
            () => Propagation::Background,
        };
        delete(res, object, policy, plan);
    } else if !gone.is_empty() && solid {
        drop_owners(res, object, &gone, plan);
    }
}

fn delete(res: Res, object: &Object, propagation: Propagation, plan: &mut Plan) {
    let target = Target::exactly(res, object);
    plan.acts.push(Act::Delete {
        target,
        grace_seconds: None,
        propagation: Some(propagation),
    });
}

fn drop_owners(res: Res, object: &Object, uids: &[&str], plan: &mut Plan) {
    let mut owners = owners_of(object);
    owners.retain(|o| {
        !o.get("uid")
            .and_then(Value::as_str)
            .is_some_and(|uid| uids.contains(&uid))
    });
    crate::workload::set_owners(plan, res, object, owners);
}

fn drop_finalizer(res: Res, object: &Object, name: &str, plan: &mut Plan) {
    let left: Vec<&str> = object
        .meta()
        .finalizers
        .iter()
        .map(|f| &**f)
        .filter(|f| *f != name)
        .collect();
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    let patch = json!({"metadata": {"finalizers": left}});
    plan.acts.push(Act::Patch {
        target: Target::exactly(res, object),
        subresource: "",
        patch,
    });
}
