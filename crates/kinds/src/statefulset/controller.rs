//! Which changes wake which StatefulSets.

use super::STATEFULSETS;
use crate::controllerrevision::CONTROLLERREVISIONS;
use crate::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use crate::workload::PODS;
use crate::{Controller, Key, Seen};
use meta::{Change, Object};

pub const CONTROLLER: Controller = Controller {
    name: "statefulset-controller",
    wakes,
    plan: super::plan::plan,
    failed: super::plan::failed,
};

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let mut keys = Vec::new();
    if change.res == STATEFULSETS {
        keys.push(Key::of(STATEFULSETS, &change.object));
    } else if [PODS, CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS].contains(&change.res) {
        for object in [Some(&change.object), change.previous.as_ref()]
            .into_iter()
            .flatten()
        {
            wake_owner(object, &mut keys);
        }
        if change.res != CONTROLLERREVISIONS {
            wake_by_name(change, seen, &mut keys);
        }
    }
    keys.dedup();
    keys
}

fn wake_owner(object: &Object, keys: &mut Vec<Key>) {
    for owner in object.meta().owners.iter().filter(|o| &*o.kind == "StatefulSet") {
        keys.push(Key::new(STATEFULSETS, object.namespace(), &owner.name));
    }
}

/// Pods and claims are tied to their set by name as well: an orphan may be adopted, and a claim that went away is what
/// a pod waits for.
fn wake_by_name(change: &Change, seen: &Seen, keys: &mut Vec<Key>) {
    let object = &change.object;
    let Some((head, _)) = object.name().rsplit_once('-') else {
        return;
    };
    let parts = head.match_indices('-').map(|(i, _)| &head[i + 1..]).chain([head]);
    for name in parts {
        if seen
            .snapshot
            .get(STATEFULSETS, object.namespace(), name)
            .is_some()
        {
            keys.push(Key::new(STATEFULSETS, object.namespace(), name));
        }
    }
}
