//! Who may delete what: claims, and everything that another object owns. Source: "Garbage Collection" in the Kubernetes
//! documentation; KEP-1847 for the claims of StatefulSets.

use super::statefulset::SetView;
use super::{Act, Broken, check};
use kinds::Registry;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS as CLAIMS;
use kinds::statefulset::STATEFULSETS;
use meta::{Change, ChangeKind, Object, OwnerRef, Snapshot, Verb};

/// This change is what sends the object on its way out.
fn begins_deletion(change: &Change) -> bool {
    let before = change.previous.as_ref();
    let was_marked = before.is_some_and(|o| o.meta().is_deleting());
    !was_marked && (change.kind == ChangeKind::Deleted || change.object.meta().is_deleting())
}

/// A claim goes only with its owners, and it gets an owner only by the policy: the set's under `whenDeleted: Delete`,
/// its pod's under `whenScaled: Delete` when that ordinal is no longer wanted.
pub fn claims_are_kept(act: &Act) -> Result<(), Broken> {
    const LAW: &str = "a claim is never deleted unless the policy says so";
    for change in act.changes.iter().filter(|c| c.res == CLAIMS) {
        if begins_deletion(change) {
            let owners = &change.object.meta().owners;
            let collected = act.controller == "generic-garbage-collector" && !owners.is_empty();
            check(collected, LAW, || {
                format!("{} deletes claim {}", act.controller, change.object.name())
            })?;
        }
        let before: &[OwnerRef] = change.previous.as_ref().map_or(&[], |p| &p.meta().owners);
        for owner in &change.object.meta().owners {
            if before.iter().any(|o| o.uid == owner.uid) || change.kind == ChangeKind::Deleted {
                continue;
            }
            let allowed = may_own(act, owner, &change.object);
            check(allowed, LAW, || {
                format!(
                    "claim {} becomes {} {}'s",
                    change.object.name(),
                    owner.kind,
                    owner.name
                )
            })?;
        }
    }
    Ok(())
}

fn may_own(act: &Act, owner: &OwnerRef, claim: &Object) -> bool {
    let sets = act.planned.list(STATEFULSETS, claim.namespace()).map(SetView::of);
    match &*owner.kind {
        "StatefulSet" => sets
            .into_iter()
            .any(|set| *set.uid == *owner.uid && set.policy("whenDeleted") == "Delete"),
        "Pod" => sets.into_iter().any(|set| {
            let ordinal = set.ordinal(&owner.name);
            ordinal.is_some_and(|n| !set.wants(n)) && set.policy("whenScaled") == "Delete"
        }),
        _ => false,
    }
}

/// The object that an owner reference names, if it is there with that uid.
fn owner_of<'a>(seen: &'a Snapshot, object: &Object, owner: &OwnerRef) -> Option<&'a Object> {
    let rows = Registry::builtin();
    let row = rows.by_kind(&owner.api_version, &owner.kind)?;
    let namespace = if row.namespaced { object.namespace() } else { "" };
    let found = seen.get(row.res, namespace, &owner.name)?;
    (found.uid() == &*owner.uid).then_some(found)
}

fn waits_for_dependents(owner: &Object) -> bool {
    let meta = owner.meta();
    meta.is_deleting() && meta.finalizers.iter().any(|f| &**f == "foregroundDeletion")
}

/// The garbage collector deletes nothing that has an owner left which is there to stay.
pub fn what_has_an_owner_is_kept(act: &Act) -> Result<(), Broken> {
    if act.controller != "generic-garbage-collector" || act.call.verb != Verb::Delete {
        return Ok(());
    }
    for change in act.changes.iter().filter(|c| begins_deletion(c)) {
        let object = &change.object;
        let solid = object
            .meta()
            .owners
            .iter()
            .find(|o| owner_of(act.before, object, o).is_some_and(|owner| !waits_for_dependents(owner)));
        check(
            solid.is_none(),
            "nothing is deleted that still has an owner",
            || format!("{:?} {} is collected", change.res, object.name()),
        )?;
    }
    Ok(())
}

/// All of its owners are gone.
pub fn is_orphaned(seen: &Snapshot, object: &Object) -> bool {
    let owners = &object.meta().owners;
    !owners.is_empty() && owners.iter().all(|o| owner_of(seen, object, o).is_none())
}
