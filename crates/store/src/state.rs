//! The pure sequencer: preconditions in, revisions and changes out. No thread, no clock, no IO, so that the simulator
//! and the store's own thread run the very same code.

use crate::frame;
use meta::snapshot::{Change, ChangeKind};
use meta::{Draft, Object, Res, Snapshot};

/// The revision of an empty store. Not 0, because `resourceVersion=0` means "any" to clients; the first write gets 2.
pub const FIRST_REVISION: u64 = 1;

/// What must hold for a write to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing stands there.
    Absent,
    /// The object stands there at exactly this revision.
    Revision(u64),
    /// Something stands there, at any revision.
    Present,
}

/// One write of a transaction.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most writes are puts, moved twice; a box would be one more allocation each"
)]
pub enum Write {
    Put {
        res: Res,
        draft: Draft,
        expect: Expect,
    },
    /// `key` is `namespace/name`, or the name alone for cluster-scoped objects. Deleting what is not there is always a
    /// conflict, also under `Expect::Absent`.
    Delete {
        res: Res,
        key: String,
        expect: Expect,
    },
}

/// A transaction that is durable and visible.
#[derive(Clone, Debug)]
pub struct Committed {
    pub revision: u64,
    /// One per write, in order: the sealed object, or for a delete the last state under the deletion's revision.
    pub objects: Vec<Object>,
}

/// Why nothing of a transaction was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The precondition of write number `index` does not hold: `current` is what stands there (or nothing does).
    #[error(
        "write {index} does not fit what is stored ({})",
        describe(current.as_ref())
    )]
    Conflict { index: usize, current: Option<Object> },
    /// The disk is full. Nothing was written, reads go on, and writes work again as soon as there is room.
    #[error("the disk is full: {0}; free some space, then try again")]
    Full(String),
    /// The log failed. The store reads on but accepts no more writes until it is opened again.
    #[error("{0}")]
    Failed(String),
    #[error("the store is closed")]
    Closed,
}

fn describe(current: Option<&Object>) -> String {
    match current {
        Some(object) => format!("it is at revision {}", object.revision()),
        None => "there is no such object".into(),
    }
}

/// What a batch adds to the log: the encoded changes of all its transactions. Empty when nothing was committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRecords {
    pub bytes: Vec<u8>,
    /// The revision after the batch.
    pub revision: u64,
}

/// The newest state. Cloning costs a few reference counts: clone it before `apply` to be able to go back.
#[derive(Clone)]
pub struct State {
    snapshot: Snapshot,
}

impl Default for State {
    fn default() -> Self {
        Self::new(Snapshot::default())
    }
}

impl State {
    pub fn new(mut snapshot: Snapshot) -> Self {
        snapshot.set_revision(snapshot.revision().max(FIRST_REVISION));
        Self { snapshot }
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn revision(&self) -> u64 {
        self.snapshot.revision()
    }

    /// Applies transactions in order, each as a whole or not at all, each with a revision of its own. A transaction
    /// without writes commits at the current revision.
    pub fn apply(
        &mut self,
        batch: Vec<Vec<Write>>,
    ) -> (Vec<Result<Committed, CommitError>>, Vec<Change>, LogRecords) {
        let mut changes = Vec::with_capacity(batch.len());
        let results = batch
            .into_iter()
            .map(|writes| self.transact(writes, &mut changes))
            .collect();
        let records = LogRecords {
            bytes: frame::encode_changes(&changes),
            revision: self.revision(),
        };
        (results, changes, records)
    }

    fn transact(&mut self, writes: Vec<Write>, changes: &mut Vec<Change>) -> Result<Committed, CommitError> {
        if writes.is_empty() {
            return Ok(Committed {
                revision: self.revision(),
                objects: Vec::new(),
            });
        }
        let revision = self.revision() + 1;
        // A lone write is checked before it touches anything; only several need a way back.
        let before = (writes.len() > 1).then(|| self.snapshot.clone());
        let changes_before = changes.len();
        let mut objects = Vec::with_capacity(writes.len());
        for (index, write) in writes.into_iter().enumerate() {
            match self.write(write, revision) {
                Ok(change) => {
                    objects.push(change.object.clone());
                    changes.push(change);
                }
                Err(current) => {
                    if let Some(before) = before {
                        self.snapshot = before;
                    }
                    changes.truncate(changes_before);
                    return Err(CommitError::Conflict { index, current });
                }
            }
        }
        debug_assert_eq!(self.revision(), revision);
        Ok(Committed { revision, objects })
    }

    /// One write, or what stands in its way.
    fn write(&mut self, write: Write, revision: u64) -> Result<Change, Option<Object>> {
        match write {
            Write::Put { res, draft, expect } => {
                let key = draft.meta().key();
                check(self.snapshot.by_key(res, &key), expect)?;
                let object = draft.seal(revision);
                let previous = self.snapshot.put(res, object.clone());
                let kind = match previous {
                    Some(_) => ChangeKind::Modified,
                    None => ChangeKind::Added,
                };
                Ok(Change {
                    res,
                    kind,
                    object,
                    previous,
                    revision,
                })
            }
            Write::Delete { res, key, expect } => {
                check(self.snapshot.by_key(res, &key), expect)?;
                let previous = self.snapshot.remove(res, &key, revision).ok_or(None)?;
                Ok(Change {
                    res,
                    kind: ChangeKind::Deleted,
                    object: previous.at_revision(revision),
                    previous: Some(previous),
                    revision,
                })
            }
        }
    }
}

fn check(current: Option<&Object>, expect: Expect) -> Result<(), Option<Object>> {
    let holds = match (current, expect) {
        (None, Expect::Absent) | (Some(_), Expect::Present) => true,
        (Some(object), Expect::Revision(wanted)) => object.revision() == wanted,
        _ => false,
    };
    if holds { Ok(()) } else { Err(current.cloned()) }
}
