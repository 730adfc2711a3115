//! The handle that everyone holds: commits go to the sequencer, reads touch only what is published.

use crate::changes::Changes;
use crate::disk::DiskLog;
use crate::files::{self, ID_LIMIT_BYTES, Lock, OpenError, io_error};
use crate::history::{Compacted, History, Limits};
use crate::log::{Log, NoLog};
use crate::recover::{self, Past};
use crate::sequencer::{Engine, Outcome, Published, Queue, lock, run};
use crate::state::{CommitError, Committed, Write};
use meta::Snapshot;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time since any fixed moment; only differences count.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

#[derive(Clone)]
pub struct Options {
    /// The store's own identity, given at creation; an existing directory keeps the one it has.
    pub id: String,
    /// The directory has held a store before: one without a first commit is then an error, not a new store.
    pub has_been: bool,
    pub history: Limits,
    pub clock: Clock,
}

impl Options {
    pub fn new(id: impl Into<String>) -> Self {
        let start = Instant::now();
        Self {
            id: id.into(),
            has_been: false,
            history: Limits::default(),
            clock: Arc::new(move || start.elapsed()),
        }
    }
}

/// Cheap to clone. When the last handle is dropped, what waits is still written and the sequencer's thread is joined.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    id: String,
    published: Arc<Published>,
    writer: Writer,
}

enum Writer {
    Thread {
        queue: Arc<Queue>,
        thread: Mutex<Option<JoinHandle<()>>>,
    },
    /// Commits run inside the call: for tests and the simulator, where the order of everything must be the seed's.
    Inline(Mutex<Engine>),
}

impl Store {
    /// Opens a data directory, or makes one, and starts the sequencer's thread. Watches from before a restart go on
    /// as long as their changes are still in the log (that is, since the last checkpoint).
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        if options.id.len() > ID_LIMIT_BYTES {
            return Err(OpenError::LongId(options.id));
        }
        files::create_dir(dir)?;
        let lock = Lock::take(dir)?;
        let recovered = recover::recover(dir, &options.id)?;
        if options.has_been {
            recovered.check_not_new(dir)?;
        }
        recover::sweep(dir)?;
        let log = DiskLog::open(dir, lock, &recovered)?;
        let published = published(recovered.past, &options);
        let engine = Engine::new(Box::new(log), published.clone(), options.clock);
        let queue = Arc::new(Queue::new());
        let in_thread = queue.clone();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || run(&in_thread, engine))
            .map_err(io_error("start the thread for", dir))?;
        Ok(Self(Arc::new(Inner {
            id: recovered.id,
            published,
            writer: Writer::Thread {
                queue,
                thread: Mutex::new(Some(thread)),
            },
        })))
    }

    /// A store in memory, without durability and without a thread: a commit is done when its call first returns.
    pub fn memory(options: Options) -> Self {
        Self::inline(Past::default(), Box::new(NoLog), options)
    }

    /// A store over any log whose commits run inside the call. `past` is what the log already holds.
    pub fn inline(past: Past, log: Box<dyn Log>, options: Options) -> Self {
        let published = published(past, &options);
        let engine = Engine::new(log, published.clone(), options.clock);
        Self(Arc::new(Inner {
            id: options.id,
            published,
            writer: Writer::Inline(Mutex::new(engine)),
        }))
    }

    /// Commits all writes as one transaction with one revision, or nothing. Returns when they are durable and visible
    /// in `snapshot()`. Waits for a place when 1024 transactions are waiting already.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Committed, CommitError> {
        match &self.0.writer {
            Writer::Thread { queue, .. } => queue.commit(writes).await,
            Writer::Inline(engine) => commit_inline(engine, writes),
        }
    }

    /// The newest published state. Never blocks.
    pub fn snapshot(&self) -> Snapshot {
        self.0.published.snapshot()
    }

    /// The state at a kept revision; the newest one for a revision that is not reached yet (`wait_for` it first).
    pub fn snapshot_at(&self, revision: u64) -> Result<Snapshot, Compacted> {
        self.0.published.snapshot_at(revision)
    }

    /// All changes after revision `after`, of all resources, in order, without a gap or a repeat, as they are
    /// published. Ends when the store is closed; fails when the reader is so slow that its place is gone.
    pub fn changes(&self, after: u64) -> Result<Changes, Compacted> {
        self.0.published.read(|history| history.after(after))?;
        Ok(Changes::new(self.0.published.clone(), after))
    }

    /// Waits until `snapshot()` holds `revision`; false when that takes longer than `limit` or the store closes first.
    pub async fn wait_for(&self, revision: u64, limit: Duration) -> bool {
        let mut progress = self.0.published.progress();
        if progress.borrow().revision >= revision {
            return true;
        }
        let reached = progress.wait_for(|p| p.revision >= revision || p.closed);
        match tokio::time::timeout(limit, reached).await {
            Ok(Ok(progress)) => progress.revision >= revision,
            _ => false,
        }
    }

    /// The oldest revision that `snapshot_at` and `changes` still know.
    pub fn oldest_kept(&self) -> u64 {
        self.0.published.read(History::oldest)
    }

    /// Forgets the changes up to and including `revision` (at most the newest).
    pub fn compact(&self, revision: u64) {
        self.0.published.change_history(|h| h.compact(revision));
    }

    /// Kept changes, and about how many bytes they hold.
    pub fn history_size(&self) -> (usize, usize) {
        self.0.published.read(History::size)
    }

    /// The store's own identity, made at its creation.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Writes what waits, ends the log in good order and joins the thread. Later commits get `Closed`; reads go on.
    pub async fn close(self) {
        let mut progress = self.0.published.progress();
        self.0.begin_close();
        // The sender lives as long as `self`, so this cannot fail.
        progress.wait_for(|p| p.closed).await.ok();
        self.0.join();
    }
}

fn published(past: Past, options: &Options) -> Arc<Published> {
    let now = (options.clock)();
    let mut history = History::new(past.base, options.history);
    for changes in past.batches {
        history.push(now, past.newest.clone(), changes);
    }
    Arc::new(Published::new(history))
}

fn commit_inline(engine: &Mutex<Engine>, writes: Vec<Write>) -> Outcome {
    let mut outcomes = lock(engine).run(vec![writes]);
    outcomes.pop().unwrap_or(Err(CommitError::Closed))
}

impl Inner {
    fn begin_close(&self) {
        match &self.writer {
            Writer::Thread { queue, .. } => queue.close(),
            Writer::Inline(engine) => lock(engine).close(),
        }
    }

    fn join(&self) {
        if let Writer::Thread { thread, .. } = &self.writer
            && let Some(thread) = lock(thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the store's sequencer panicked");
        }
    }
}

impl Drop for Inner {
    /// Blocks for at most the batches that still wait, so that the directory can be opened again right after.
    fn drop(&mut self) {
        self.begin_close();
        self.join();
    }
}
