//! The one writer: takes all waiting transactions as a batch, makes it durable, publishes it, acknowledges it.
//! Runs in a thread of its own, or, for tests and the simulator, inside the call that commits.

use crate::history::{Compacted, History, Undo};
use crate::log::{Log, LogError};
use crate::state::{CommitError, Committed, State, Write};
use crate::store::Clock;
use arc_swap::ArcSwap;
use meta::Snapshot;
use meta::snapshot::Change;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot, watch};

/// Transactions that may wait; committers beyond this wait for a place.
pub const QUEUE_TRANSACTIONS: usize = 1024;
/// A batch ends after this many bytes of new objects (one larger transaction is a batch of its own).
const BATCH_BYTES: usize = 8 << 20;
/// Rebuilt old snapshots that are kept for the next page.
const OLD_SNAPSHOTS: usize = 4;

pub type Outcome = Result<Committed, CommitError>;

/// What readers share with the sequencer.
pub struct Published {
    snapshot: ArcSwap<Snapshot>,
    history: RwLock<History>,
    old: Mutex<VecDeque<Snapshot>>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub revision: u64,
    pub closed: bool,
}

impl Published {
    pub fn new(history: History) -> Self {
        let revision = history.newest().revision();
        Self {
            snapshot: ArcSwap::from_pointee(history.newest().clone()),
            history: RwLock::new(history),
            old: Mutex::default(),
            progress: watch::Sender::new(Progress {
                revision,
                closed: false,
            }),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.snapshot.load())
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub fn read<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        read(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn change_history<T>(&self, change: impl FnOnce(&mut History) -> T) -> T {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut history);
        let oldest = history.oldest();
        drop(history);
        lock(&self.old).retain(|s| s.revision() >= oldest);
        result
    }

    /// The state at a kept revision; rebuilt from the nearest newer one that is at hand.
    pub fn snapshot_at(&self, revision: u64) -> Result<Snapshot, Compacted> {
        let undo: Undo = self.read(|history| history.undo_to(revision))?;
        if let Some(known) = lock(&self.old).iter().find(|s| s.revision() == revision) {
            return Ok(known.clone());
        }
        let is_newest = undo.is_empty();
        let snapshot = undo.run(revision);
        if !is_newest {
            let mut old = lock(&self.old);
            if old.len() == OLD_SNAPSHOTS {
                old.pop_front();
            }
            old.push_back(snapshot.clone());
        }
        Ok(snapshot)
    }

    fn publish(&self, now: Duration, newest: &Snapshot, changes: Vec<Change>) {
        self.change_history(|history| {
            self.snapshot.store(Arc::new(newest.clone()));
            history.push(now, newest.clone(), changes);
        });
        let revision = newest.revision();
        self.progress.send_modify(|p| p.revision = revision);
    }
}

/// State, log and readers' side together: everything but the queue.
pub struct Engine {
    state: State,
    log: Box<dyn Log>,
    published: Arc<Published>,
    clock: Clock,
    /// Why no more writes are taken.
    refuses: Option<CommitError>,
    /// The last batch found no room. Said once when it begins and once when it ends: many will try meanwhile.
    is_full: bool,
}

impl Engine {
    pub fn new(log: Box<dyn Log>, published: Arc<Published>, clock: Clock) -> Self {
        Self {
            state: State::new(published.snapshot()),
            log,
            published,
            clock,
            refuses: None,
            is_full: false,
        }
    }

    /// Commits a batch: one append, one publication, then the outcomes in order.
    pub fn run(&mut self, batch: Vec<Vec<Write>>) -> Vec<Outcome> {
        let count = batch.len();
        let refuse_all = |error: CommitError| (0..count).map(|_| Err(error.clone())).collect();
        if let Some(why) = &self.refuses {
            return refuse_all(why.clone());
        }
        let before = self.state.clone();
        let (outcomes, changes, records) = self.state.apply(batch);
        if changes.is_empty() {
            return outcomes;
        }
        match self.log.append(&records, self.state.snapshot()) {
            Ok(()) => {
                if std::mem::take(&mut self.is_full) {
                    tracing::info!("the disk has room again: writes are taken");
                }
                let now = (self.clock)();
                self.published.publish(now, self.state.snapshot(), changes);
                outcomes
            }
            Err(LogError::Full(why)) => {
                self.state = before;
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::warn!("writes are refused until there is room again: the disk is full: {why}");
                }
                refuse_all(CommitError::Full(why))
            }
            Err(LogError::Failed(why)) => {
                self.state = before;
                tracing::error!("the store takes no more writes: {why}");
                self.refuses = Some(CommitError::Failed(why.clone()));
                refuse_all(CommitError::Failed(why))
            }
        }
    }

    pub fn close(&mut self) {
        if self.refuses.replace(CommitError::Closed).is_none()
            && let Err(error) = self.log.close()
        {
            tracing::error!("closing the store's log: {error}");
        }
        self.published.progress.send_modify(|p| p.closed = true);
    }

    fn trim(&self) {
        let now = (self.clock)();
        self.published.change_history(|history| history.trim(now));
    }

    /// How long the sequencer may sleep before old history has to go.
    fn idle_time(&self) -> Option<Duration> {
        let expiry = self.published.read(History::next_expiry)?;
        Some(expiry.saturating_sub((self.clock)()))
    }
}

/// Transactions on their way to the sequencer's thread.
pub struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    places: Semaphore,
}

#[derive(Default)]
struct Waiting {
    transactions: VecDeque<(Vec<Write>, oneshot::Sender<Outcome>)>,
    closed: bool,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            places: Semaphore::new(QUEUE_TRANSACTIONS),
        }
    }

    /// Waits for a place, then for the outcome. Once a transaction has its place, dropping the call does not undo it.
    pub async fn commit(&self, writes: Vec<Write>) -> Outcome {
        let Ok(_place) = self.places.acquire().await else {
            return Err(CommitError::Closed);
        };
        let (reply, outcome) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return Err(CommitError::Closed);
            }
            waiting.transactions.push_back((writes, reply));
        }
        self.arrived.notify_one();
        outcome.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Lets no more transactions in; those inside are still done.
    pub fn close(&self) {
        lock(&self.waiting).closed = true;
        self.places.close();
        self.arrived.notify_one();
    }

    /// The next batch; `None` when the queue is closed and empty.
    fn next(&self, engine: &Engine) -> Option<Vec<(Vec<Write>, oneshot::Sender<Outcome>)>> {
        let mut waiting = lock(&self.waiting);
        while waiting.transactions.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = match engine.idle_time() {
                None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(idle) => {
                    let woken = self.arrived.wait_timeout(waiting, idle);
                    let (waiting, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        engine.trim();
                    }
                    waiting
                }
            };
        }
        let mut size_bytes = 0;
        let count = waiting
            .transactions
            .iter()
            .take_while(|(writes, _)| {
                let before = size_bytes;
                size_bytes += writes.iter().map(write_bytes).sum::<usize>();
                before < BATCH_BYTES
            })
            .count();
        Some(waiting.transactions.drain(..count).collect())
    }
}

fn write_bytes(write: &Write) -> usize {
    match write {
        Write::Put { draft, .. } => draft.size_bytes(),
        Write::Delete { key, .. } => key.len(),
    }
}

/// The sequencer's thread: ends when the queue is closed and empty.
pub fn run(queue: &Queue, engine: Engine) {
    // Also when a panic ends this thread, nobody may wait for it any longer.
    let mut running = Running { queue, engine };
    let engine = &mut running.engine;
    while let Some(batch) = queue.next(engine) {
        let (writes, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        for (reply, outcome) in replies.into_iter().zip(engine.run(writes)) {
            // A caller that went away does not undo its transaction; nobody is left to be told.
            reply.send(outcome).ok();
        }
    }
}

struct Running<'a> {
    queue: &'a Queue,
    engine: Engine,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.queue.close();
        lock(&self.queue.waiting).transactions.clear();
        self.engine.close();
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is consistent between any two statements, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
