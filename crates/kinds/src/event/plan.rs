//! An event is deleted one hour after it was last seen. Upstream counts from its last write, which nothing keeps: so it is
//! the later one of its birth and its last sighting, where that is not in the future.

use super::{EVENTS, last_seen};
use crate::plan::{Act, Plan, Target};
use crate::{Controller, Key, Seen};
use meta::{Change, ChangeKind};

pub const TTL: Controller = Controller {
    name: "event-ttl-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

const TTL_SECONDS: i64 = 3600;
/// Events go in batches: wakes fall on multiples of this many seconds, so that a storm of events makes few wakes.
const STEP_SECONDS: i64 = 60;

fn wakes(change: &Change, _seen: &Seen) -> Vec<Key> {
    let ours = change.res == EVENTS && change.kind != ChangeKind::Deleted;
    ours.then(|| Key::of(EVENTS, &change.object))
        .into_iter()
        .collect()
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(event) = seen.snapshot.by_key(EVENTS, &key.key) else {
        return plan;
    };
    if event.meta().is_deleting() {
        return plan;
    }
    let sighted = last_seen(&event.value()).filter(|at| *at <= seen.now);
    let last = sighted.max(event.meta().created);
    let Some(ends) = last.map(|at| at.plus_seconds(TTL_SECONDS)) else {
        return plan.why("has no time; it stays");
    };
    if ends > seen.now {
        let past = ends.unix_seconds().rem_euclid(STEP_SECONDS);
        plan.wake_at(ends.plus_seconds(STEP_SECONDS - past));
        return plan;
    }
    plan.acts.push(Act::Delete {
        target: Target::exactly(EVENTS, event),
        grace_seconds: None,
        propagation: None,
    });
    plan.why("was last seen an hour ago")
}
