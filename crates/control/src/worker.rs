//! One controller's queue: keys that are due, keys that wait for a time, and back-off after failures. Pure: the caller
//! brings changes, snapshots and the time, and carries out the runs that it gives.

use crate::run::{Outcome, Run};
use kinds::plan::Assumed;
use kinds::{Controller, Key, Seen};
use meta::{Change, ChangeKind, Snapshot, Timestamp};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// First delay after a failure; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(5);
/// Longest delay between two tries of a key that keeps failing.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The state of one controller. Its size is bounded by the number of objects that it serves.
pub struct Worker {
    pub controller: Controller,
    due: VecDeque<Key>,
    queued: HashSet<Key>,
    /// Keys under way, and whether they were woken again meanwhile.
    running: HashMap<Key, bool>,
    timers: BTreeSet<(Timestamp, Key)>,
    timer_of: HashMap<Key, Timestamp>,
    failures: HashMap<Key, u32>,
    /// Do not plan a key before the snapshot holds its own last write.
    written: HashMap<Key, u64>,
    /// What runs will have made of objects, until the snapshot has it.
    assumed: HashMap<Key, Assumed>,
    /// Something that was assumed did not come about: what it was in the way of has to be planned again.
    is_disproved: bool,
}

impl Worker {
    pub fn new(controller: Controller) -> Self {
        Self {
            controller,
            due: VecDeque::new(),
            queued: HashSet::new(),
            running: HashMap::new(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            failures: HashMap::new(),
            written: HashMap::new(),
            assumed: HashMap::new(),
            is_disproved: false,
        }
    }

    /// Wakes every key as if each object had just been added: after a start, or when changes were missed.
    pub fn seed(&mut self, seen: &Seen) {
        let tables: Vec<_> = seen
            .snapshot
            .tables()
            .map(|(res, table)| (res, table.clone()))
            .collect();
        for (res, table) in tables {
            for object in table.values() {
                let change = Change {
                    res,
                    kind: ChangeKind::Added,
                    object: object.clone(),
                    previous: None,
                    revision: object.revision(),
                };
                self.observe(&change, seen);
            }
        }
    }

    pub fn observe(&mut self, change: &Change, seen: &Seen) {
        for key in (self.controller.wakes)(change, seen) {
            self.wake(key);
        }
    }

    pub fn wake(&mut self, key: Key) {
        if let Some(again) = self.running.get_mut(&key) {
            *again = true;
        } else if self.queued.insert(key.clone()) {
            self.due.push_back(key);
        }
    }

    /// When the next timer is up.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether some key could be planned right now.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty() || self.is_disproved
    }

    /// Plans the next key that is due. `None` when all rest, or when the rest waits for a newer snapshot.
    pub fn begin(&mut self, seen: &Seen) -> Option<Run> {
        self.fire_timers(seen.now);
        if std::mem::take(&mut self.is_disproved) {
            self.seed(seen);
        }
        for _ in 0..self.due.len() {
            let key = self.due.pop_front()?;
            if self.is_behind(&key, seen.snapshot) {
                self.due.push_back(key);
                continue;
            }
            self.queued.remove(&key);
            self.set_timer(&key, None);
            let mut plan = match self.with_assumed(seen.snapshot) {
                None => (self.controller.plan)(seen, &key),
                Some(snapshot) => {
                    let snapshot = &snapshot;
                    (self.controller.plan)(&Seen { snapshot, ..*seen }, &key)
                }
            };
            if let Some(assumed) = plan.assumed.take() {
                self.assumed.insert(key.clone(), assumed);
            }
            self.running.insert(key.clone(), false);
            return Some(Run::new(self.controller, key, plan));
        }
        None
    }

    /// The snapshot as it will be once the runs under way are through; `None`: as it is.
    fn with_assumed(&mut self, snapshot: &Snapshot) -> Option<Snapshot> {
        // What is there, or will never be, has nothing more to add.
        self.assumed.retain(|_, assumed| {
            let stored = snapshot.by_key(assumed.res, &assumed.object.meta().key());
            stored.is_some_and(|stored| stored.uid() == assumed.object.uid() && !(assumed.is_there)(stored))
        });
        if self.assumed.is_empty() {
            return None;
        }
        let mut snapshot = snapshot.clone();
        for assumed in self.assumed.values() {
            snapshot.put(assumed.res, assumed.object.clone());
        }
        Some(snapshot)
    }

    fn is_behind(&self, key: &Key, snapshot: &Snapshot) -> bool {
        self.written
            .get(key)
            .is_some_and(|&revision| snapshot.revision() < revision)
    }

    fn fire_timers(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.set_timer(&key, None);
            self.wake(key);
        }
    }

    fn set_timer(&mut self, key: &Key, at: Option<Timestamp>) {
        if let Some(old) = self.timer_of.remove(key) {
            self.timers.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, key.clone()));
            self.timer_of.insert(key.clone(), at);
        }
    }

    /// Takes a run back. Says when to look again, by queue or timer.
    pub fn finish(&mut self, run: Run, now: Timestamp) {
        let woken = self.running.remove(&run.key).unwrap_or(false);
        match run.last_revision {
            0 => self.written.remove(&run.key),
            revision => self.written.insert(run.key.clone(), revision),
        };
        match run.outcome() {
            Outcome::Done { wake } => {
                self.failures.remove(&run.key);
                self.set_timer(&run.key, wake);
            }
            Outcome::Failed => {
                self.is_disproved |= self.assumed.remove(&run.key).is_some();
                let failures = self.failures.entry(run.key.clone()).or_insert(0);
                *failures = failures.saturating_add(1);
                let delay = BACKOFF_FIRST
                    .saturating_mul(1 << (*failures - 1).min(14))
                    .min(BACKOFF_MAX);
                self.set_timer(&run.key, Some(now.plus(delay)));
                // A change may be what makes the next try succeed, so a wake still counts.
            }
        }
        if woken {
            self.wake(run.key);
        }
    }
}
