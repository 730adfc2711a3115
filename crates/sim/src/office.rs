//! One controller at work: its worker, its place in the changes, and the runs that it has under way.

use control::run::Step;
use control::{Run, Worker};
use kinds::{Controller, Registry, Seen};
use meta::{Call, Change, Reply, Snapshot, Status, Timestamp};
use std::collections::VecDeque;

/// Runs of different keys at the same time.
const MAX_RUNS: usize = 3;

pub struct Office {
    pub worker: Worker,
    pub active: Vec<Active>,
    /// Changes of the log that it has been told.
    observed: usize,
}

/// A run and what it was planned on.
pub struct Active {
    run: Run,
    snapshot: Snapshot,
    planned_at: Timestamp,
    steps: VecDeque<Step>,
    /// What this run has done already.
    done: Vec<Call>,
}

/// What a run that has just begun is about.
pub struct Begun {
    pub key: String,
    pub why: Vec<String>,
    pub acts: bool,
}

impl Office {
    pub fn new(controller: Controller) -> Self {
        Self {
            worker: Worker::new(controller),
            active: Vec::new(),
            observed: 0,
        }
    }

    /// Weights of: take in changes, begin a run, act.
    pub fn choices(&self, log: usize, now: Timestamp) -> [u64; 3] {
        let due = self.worker.has_due() || self.worker.next_timer().is_some_and(|at| at <= now);
        [
            if self.observed < log { 3 } else { 0 },
            if due && self.active.len() < MAX_RUNS { 3 } else { 0 },
            if self.active.is_empty() { 0 } else { 5 },
        ]
    }

    pub fn has_work(&self, log: usize, now: Timestamp) -> bool {
        self.choices(log, now).iter().any(|w| *w > 0)
    }

    pub fn observe(
        &mut self,
        log: &[Change],
        count: usize,
        seen: &Seen,
        mut dropped: impl FnMut(&Change) -> bool,
    ) {
        let end = log.len().min(self.observed.saturating_add(count));
        for change in &log[self.observed..end] {
            if !dropped(change) {
                self.worker.observe(change, seen);
            }
        }
        self.observed = end;
    }

    /// The revision of the newest change that it was told: no plan looks at anything older.
    pub fn newest_observed(&self, log: &[Change]) -> u64 {
        let newest = self.observed.checked_sub(1).and_then(|at| log.get(at));
        newest.map_or(0, |change| change.revision)
    }

    pub fn begin(&mut self, snapshot: &Snapshot, rows: &Registry, now: Timestamp) -> Option<Begun> {
        let seen = Seen { now, snapshot, rows };
        let mut run = self.worker.begin(&seen)?;
        let steps: VecDeque<Step> = run.next_steps(&seen).into();
        let begun = Begun {
            key: run.key.key.to_string(),
            why: run.why.clone(),
            acts: !steps.is_empty(),
        };
        if steps.is_empty() {
            self.worker.finish(run, now);
        } else {
            self.active.push(Active {
                run,
                snapshot: snapshot.clone(),
                planned_at: now,
                steps,
                done: Vec::new(),
            });
        }
        Some(begun)
    }

    pub fn next_step(&mut self, pick: usize, seen: &Seen) -> Option<Step> {
        let active = self.active.get_mut(pick)?;
        if active.steps.is_empty() {
            active.steps = active.run.next_steps(seen).into();
        }
        active.steps.pop_front()
    }

    /// What a run was planned on, when, and what it has done so far.
    pub fn context(&self, pick: usize) -> (Snapshot, Timestamp, Vec<Call>) {
        let active = &self.active[pick];
        (active.snapshot.clone(), active.planned_at, active.done.clone())
    }

    pub fn settle(&mut self, pick: usize, step: &Step, result: Result<Reply, Status>) {
        let active = &mut self.active[pick];
        if result.is_ok() {
            active.done.push(step.call.clone());
        }
        active.run.settle(step.optional, result);
    }

    pub fn finish(&mut self, pick: usize, now: Timestamp) {
        let active = self.active.swap_remove(pick);
        self.worker.finish(active.run, now);
    }

    /// Everything in memory is lost.
    pub fn restart(&mut self, seen: &Seen, log: usize) {
        self.worker = Worker::new(self.worker.controller);
        self.active.clear();
        self.worker.seed(seen);
        self.observed = log;
    }
}
