//! What follows from a definition: names are accepted or not, and a definition that goes takes its objects along.

use super::{finish, names};
use crate::custom::{self, DEFINITIONS};
use crate::plan::Plan;
use crate::{Controller, Key, Seen};
use meta::{Change, ChangeKind};

pub const CONTROLLER: Controller = Controller {
    name: "customresourcedefinition-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    if change.res == DEFINITIONS {
        let mut keys = vec![Key::of(DEFINITIONS, &change.object)];
        if change.kind == ChangeKind::Deleted {
            // Its names are free now.
            let group = change
                .object
                .name()
                .split_once('.')
                .map_or("", |(_, group)| group);
            let suffix = format!(".{group}");
            let others = seen.snapshot.list(DEFINITIONS, "");
            keys.extend(
                others
                    .filter(|d| d.name().ends_with(&suffix))
                    .map(|d| Key::of(DEFINITIONS, d)),
            );
        }
        return keys;
    }
    if change.kind != ChangeKind::Deleted || change.res.group.is_empty() {
        return Vec::new();
    }
    // The last object of a definition that waits for that.
    let definition = seen.snapshot.get(DEFINITIONS, "", &change.res.qualified());
    let waits = definition.filter(|d| d.meta().is_deleting() && seen.snapshot.count(change.res) == 0);
    waits.map(|d| Key::of(DEFINITIONS, d)).into_iter().collect()
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let Some(definition) = seen.snapshot.by_key(DEFINITIONS, &key.key) else {
        return Plan::nothing();
    };
    if definition.meta().is_deleting() {
        return finish::plan(seen, definition);
    }
    let mut value = definition.value();
    let mut plan = Plan::nothing();
    if names::settle(&mut value, seen.snapshot, &seen.now.rfc3339()) {
        let told = match custom::is_established(&value) {
            true => "its names are accepted",
            false => "some of its names are another one's",
        };
        plan.acts.push(finish::status(definition, value));
        return plan.why(told);
    }
    plan
}
