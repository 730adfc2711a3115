//! The changes of the last minutes, by revision: what watches resume from and what old snapshots are rebuilt from.
//! Bounded by age, number and bytes; a reader whose place is gone is told so and never holds up the writer.

use meta::Snapshot;
use meta::snapshot::Change;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that a kept change costs beyond its JSON: parsed metadata, the change itself, allocator slack.
const CHANGE_OVERHEAD_BYTES: usize = 700;
/// Changes that grow old within this time go together, so that an idle store wakes at most this often.
const EXPIRY_STEP: Duration = Duration::from_secs(10);

/// How much history is kept: the first limit that is reached counts. The newest batch stays until it is
/// too old, however large it is.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub age: Duration,
    pub changes: usize,
    pub bytes: usize,
}

impl Default for Limits {
    /// Five minutes, as upstream compacts etcd.
    fn default() -> Self {
        Self {
            age: Duration::from_secs(300),
            changes: 20_000,
            bytes: 16 << 20,
        }
    }
}

/// The revision that was asked for is no longer kept (410 Gone to a client).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {requested} ({oldest})")]
pub struct Compacted {
    pub requested: u64,
    pub oldest: u64,
}

/// Pure: the time of day is an argument.
pub struct History {
    newest: Snapshot,
    oldest: u64,
    kept: VecDeque<Kept>,
    changes: usize,
    bytes: usize,
    limits: Limits,
}

/// The changes of one batch.
struct Kept {
    last: u64,
    changes: Arc<[Change]>,
    bytes: usize,
    at: Duration,
}

impl History {
    /// Starts at `snapshot`: nothing before it is kept.
    pub fn new(snapshot: Snapshot, limits: Limits) -> Self {
        Self {
            oldest: snapshot.revision(),
            newest: snapshot,
            kept: VecDeque::new(),
            changes: 0,
            bytes: 0,
            limits,
        }
    }

    /// Adds one batch, in order, and forgets what the limits no longer allow.
    pub fn push(&mut self, now: Duration, newest: Snapshot, changes: Vec<Change>) {
        self.newest = newest;
        if let Some(last) = changes.last() {
            let bytes = changes.iter().map(cost_bytes).sum();
            self.changes += changes.len();
            self.bytes += bytes;
            self.kept.push_back(Kept {
                last: last.revision,
                changes: changes.into(),
                bytes,
                at: now,
            });
        }
        self.trim(now);
    }

    /// Forgets what is too old or too much.
    pub fn trim(&mut self, now: Duration) {
        while let Some(first) = self.kept.front() {
            let too_old = first.at + self.limits.age <= now;
            let too_much =
                self.kept.len() > 1 && (self.changes > self.limits.changes || self.bytes > self.limits.bytes);
            if !too_old && !too_much {
                break;
            }
            self.forget_first();
        }
        if self.kept.capacity() > 64 && self.kept.len() < self.kept.capacity() / 4 {
            self.kept.shrink_to(self.kept.len() * 2);
        }
    }

    /// When `trim` should be called next, if no push does it before.
    pub fn next_expiry(&self) -> Option<Duration> {
        Some(self.kept.front()?.at + self.limits.age + EXPIRY_STEP)
    }

    /// Forgets all changes up to and including `revision`.
    pub fn compact(&mut self, revision: u64) {
        while self.kept.front().is_some_and(|k| k.last <= revision) {
            self.forget_first();
        }
        self.oldest = self.oldest.max(revision.min(self.newest.revision()));
    }

    fn forget_first(&mut self) {
        if let Some(gone) = self.kept.pop_front() {
            self.changes -= gone.changes.len();
            self.bytes -= gone.bytes;
            self.oldest = self.oldest.max(gone.last);
        }
    }

    /// The oldest revision that `after` and `at` still know.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    pub fn newest(&self) -> &Snapshot {
        &self.newest
    }

    /// Kept changes, and about how many bytes they hold.
    pub fn size(&self) -> (usize, usize) {
        (self.changes, self.bytes)
    }

    /// The next changes after revision `after`, all of one batch; `None` when there are none yet.
    pub fn after(&self, after: u64) -> Result<Option<Arc<[Change]>>, Compacted> {
        self.check(after)?;
        let at = self.kept.partition_point(|k| k.last <= after);
        let Some(kept) = self.kept.get(at) else {
            return Ok(None);
        };
        let seen = kept.changes.partition_point(|c| c.revision <= after);
        Ok(Some(match seen {
            0 => kept.changes.clone(),
            _ => kept.changes[seen..].into(),
        }))
    }

    /// Everything needed to rebuild the state at `revision`, to be done outside of any lock.
    pub fn undo_to(&self, revision: u64) -> Result<Undo, Compacted> {
        self.check(revision)?;
        let at = self.kept.partition_point(|k| k.last <= revision);
        Ok(Undo {
            newest: self.newest.clone(),
            batches: self.kept.range(at..).map(|k| k.changes.clone()).collect(),
        })
    }

    fn check(&self, requested: u64) -> Result<(), Compacted> {
        if requested < self.oldest {
            return Err(Compacted {
                requested,
                oldest: self.oldest,
            });
        }
        Ok(())
    }
}

fn cost_bytes(change: &Change) -> usize {
    let own = change.object.json().len() + CHANGE_OVERHEAD_BYTES;
    // What a modification replaced was the object of an earlier change; what a deletion took away has a new copy.
    match change.kind {
        meta::ChangeKind::Deleted => 2 * own,
        _ => own,
    }
}

/// The newest snapshot and the batches that came after a wanted revision.
pub struct Undo {
    newest: Snapshot,
    batches: Vec<Arc<[Change]>>,
}

impl Undo {
    /// True when the wanted revision is the newest one.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The state at `revision`. Costs about a microsecond for each change since then.
    pub fn run(self, revision: u64) -> Snapshot {
        let mut snapshot = self.newest;
        if revision >= snapshot.revision() {
            return snapshot;
        }
        for batch in self.batches.iter().rev() {
            for change in batch.iter().rev().filter(|c| c.revision > revision) {
                match &change.previous {
                    Some(previous) => drop(snapshot.put(change.res, previous.clone())),
                    None => {
                        let key = change.object.meta().key();
                        snapshot.remove(change.res, &key, revision);
                    }
                }
            }
        }
        snapshot.set_revision(revision);
        snapshot
    }
}
