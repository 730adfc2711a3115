//! The durable log: one file that batches are appended to, each made durable by one `fdatasync`. When it has grown to
//! its limit, a new file is begun and a checkpoint of all objects is written in the background, then the old file goes.
//!
//! Why not an embedded engine: all objects are in memory anyway, so all that is needed is an append, and engines bring a
//! tree on disk that nobody reads. Measured (release build, 2 cores, ext4, 1.15 kB objects, median; raw `fdatasync` 0.08 to
//! 0.12 ms; ours includes building the JSON, the way to the sequencer's thread and back, and the new snapshot):
//!
//! |                                         | redb 4.4  | fjall 3.1 | this log  |
//! |-----------------------------------------|-----------|-----------|-----------|
//! | commit of 1 object                      | 0.25 ms   | 0.08-0.12 | 0.12-0.16 |
//! | commit of 32 objects                    | 0.68 ms   | 0.34-0.38 | 0.32-0.42 |
//! | first open of an empty directory        | 0.75 ms   | 4.9 ms    | 1.1 ms    |
//! | open and load of 10,000 objects         | 55 ms     | 62 ms     | 23-30 ms  |
//! | memory after that                       | 36 MB     | 32 MB     | 19-22 MB  |
//! | files of 10,000 objects                 | 20.6 MB   | 11.4 MB   | 11.2 MB   |
//!
//! Whole commits: 6,000 to 7,500 a second from one client, 47,000 to 67,000 from 32 (`examples/measure.rs`).

use crate::files::{self, Closed, FILE_HEADER_BYTES, FileHeader, FileKind, Lock, OpenError, io_error};
use crate::frame;
use crate::log::{Log, LogError};
use crate::recover::Recovered;
use crate::state::LogRecords;
use meta::Snapshot;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A log is ended when it holds this much and at least as much as the last checkpoint. So a directory holds at most
/// about two checkpoints and two logs of that size, and opening it reads at most one checkpoint and such a log.
const LOG_LIMIT_BYTES: u64 = 8 << 20;
/// The file is written with zeros this far ahead: `fdatasync` over blocks that exist already has no metadata to write
/// (0.08 instead of 0.12 ms here), and a full disk shows before a batch is begun.
const PREPARE_BYTES: u64 = 512 << 10;
/// A checkpoint is written and synced in pieces of this size, so that it never holds up a commit's sync for long.
const PIECE_BYTES: usize = 1 << 20;
/// After a failed rotation or checkpoint the log grows by this much before the next try.
const RETRY_BYTES: u64 = 1 << 20;
/// On a disk that is nearly full a log of this size is worth a checkpoint, which may be much smaller.
const ROOM_BYTES: u64 = 64 << 10;

pub struct DiskLog {
    dir: PathBuf,
    id: String,
    file: File,
    path: PathBuf,
    /// The revision after which the file starts.
    start: u64,
    /// Where the next frame goes.
    end: u64,
    /// How far the file is prepared.
    prepared: u64,
    rotate_at: u64,
    /// There is less room on the disk than is prepared in advance.
    is_tight: bool,
    /// The length from which on a tight disk is worth a checkpoint.
    room_at: u64,
    checkpoint: Option<Checkpoint>,
    checkpoint_bytes: u64,
    buffer: Vec<u8>,
    _lock: Lock,
}

/// One that is being written.
struct Checkpoint {
    thread: JoinHandle<io::Result<u64>>,
    cancel: Arc<AtomicBool>,
}

impl DiskLog {
    /// Goes on where `recovered` ended.
    pub fn open(dir: &Path, lock: Lock, recovered: &Recovered) -> Result<Self, OpenError> {
        let revision = recovered.past.newest.revision();
        let start = recovered.log.map_or(revision, |(start, _)| start);
        let (file, path, end, prepared) = match recovered.log {
            Some((start, end)) => {
                let path = files::log_path(dir, start);
                let file = OpenOptions::new().read(true).write(true).open(&path);
                let file = file.map_err(io_error("open", &path))?;
                // Whatever a power cut left of the last batch must not stand behind a later, shorter one.
                file.set_len(end).map_err(io_error("cut", &path))?;
                (file, path, end, end)
            }
            None => {
                let path = files::log_path(dir, revision);
                let begun = begin_log(dir, &recovered.id, revision, PREPARE_BYTES);
                let (file, end, prepared) = begun.map_err(io_error("create", &path))?;
                (file, path, end, prepared)
            }
        };
        Ok(Self {
            dir: dir.into(),
            id: recovered.id.clone(),
            file,
            path,
            start,
            end,
            prepared,
            rotate_at: match recovered.lacks_checkpoint {
                true => end + RETRY_BYTES,
                false => LOG_LIMIT_BYTES.max(recovered.checkpoint_bytes),
            },
            is_tight: false,
            room_at: ROOM_BYTES,
            checkpoint: None,
            checkpoint_bytes: recovered.checkpoint_bytes,
            buffer: Vec::new(),
            _lock: lock,
        })
    }

    /// Makes sure that `length` more bytes have their place on the disk.
    fn prepare(&mut self, length: u64) -> Result<(), LogError> {
        let needed = self.end + length;
        if needed <= self.prepared {
            return Ok(());
        }
        self.is_tight = false;
        let wanted = [needed + PREPARE_BYTES, needed];
        let mut result = Ok(());
        for target in wanted {
            result = write_zeros(&self.file, self.prepared, target);
            if result.is_ok() {
                self.prepared = target;
                return Ok(());
            }
            self.is_tight = true;
            self.cut_to(self.prepared)?;
        }
        result.map_err(|error| self.explain("grow", error))
    }

    /// Takes back what was begun after `length`.
    fn cut_to(&mut self, length: u64) -> Result<(), LogError> {
        self.prepared = length;
        self.file
            .set_len(length)
            .map_err(|error| self.failed("cut", error))
    }

    fn explain(&self, what: &str, error: io::Error) -> LogError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                LogError::Full(format!("{}: {error}", self.path.display()))
            }
            _ => self.failed(what, error),
        }
    }

    fn failed(&self, what: &str, error: io::Error) -> LogError {
        LogError::Failed(format!(
            "cannot {what} {}: {error}; whether the last batch is durable is unknown, so the store takes no more \
             writes: check the disk, then restart",
            self.path.display()
        ))
    }

    /// Begins a new log at `state` and writes the checkpoint that replaces the old ones in the background. When there
    /// is no room for that, the old log goes on and the next try comes soon.
    fn rotate(&mut self, state: &Snapshot) -> Result<(), LogError> {
        if !self.begin_next(state, PREPARE_BYTES)? {
            self.rotate_at = self.end + RETRY_BYTES;
            return Ok(());
        }
        let cancel = Arc::new(AtomicBool::new(false));
        let (dir, id) = (self.dir.clone(), self.id.clone());
        let (state, cancelled) = (state.clone(), cancel.clone());
        let thread = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || write_checkpoint(&dir, &id, &state, &cancelled));
        match thread {
            Ok(thread) => self.checkpoint = Some(Checkpoint { thread, cancel }),
            Err(error) => self.checkpoint_failed(&error),
        }
        Ok(())
    }

    /// Gives back what the old files hold of objects that are no more, as long as there is room for doing so. Here and
    /// now: whoever writes next has nothing better to wait for.
    fn make_room(&mut self, state: &Snapshot) -> Result<(), LogError> {
        self.room_at = self.end + ROOM_BYTES;
        if !self.begin_next(state, 0)? {
            return Ok(());
        }
        self.room_at = ROOM_BYTES;
        match write_checkpoint(&self.dir, &self.id, state, &AtomicBool::new(false)) {
            Ok(bytes) => self.checkpoint_done(bytes),
            Err(error) => self.checkpoint_failed(&error),
        }
        Ok(())
    }

    /// Goes on in a new log. False when there is no room for one.
    fn begin_next(&mut self, state: &Snapshot, prepare: u64) -> Result<bool, LogError> {
        let (file, end, prepared) = match begin_log(&self.dir, &self.id, state.revision(), prepare) {
            Ok(begun) => begun,
            Err(error) => {
                self.forget_log(state.revision())?;
                tracing::warn!("{}: cannot begin a new log: {error}", self.dir.display());
                return Ok(false);
            }
        };
        if let Err(error) = self.file.set_len(self.end) {
            // Zeros at its end cost only their room, until the checkpoint is done.
            tracing::warn!("cannot cut {}: {error}", self.path.display());
        }
        self.file = file;
        self.start = state.revision();
        self.path = files::log_path(&self.dir, self.start);
        (self.end, self.prepared) = (end, prepared);
        Ok(true)
    }

    /// Removes a log that could not be begun, for good: if a crash brought it back after the old log had gone on, the
    /// two would contradict each other.
    fn forget_log(&self, revision: u64) -> Result<(), LogError> {
        let path = files::log_path(&self.dir, revision);
        let removed = match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => files::sync_dir(&self.dir),
        };
        removed.map_err(|error| {
            LogError::Failed(format!(
                "cannot remove {}: {error}; the store takes no more writes: check the disk, then restart",
                path.display()
            ))
        })
    }

    /// Notes how the checkpoint ended, once it has.
    fn reap(&mut self) {
        let finished = |c: &mut Checkpoint| c.thread.is_finished();
        if let Some(done) = self.checkpoint.take_if(finished) {
            self.note(done);
        }
    }

    fn note(&mut self, done: Checkpoint) {
        match done.thread.join() {
            Ok(Ok(bytes)) => self.checkpoint_done(bytes),
            Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
            Ok(Err(error)) => self.checkpoint_failed(&error),
            Err(_) => self.checkpoint_failed(&io::Error::other("its thread panicked")),
        }
    }

    fn checkpoint_done(&mut self, bytes: u64) {
        self.checkpoint_bytes = bytes;
        self.rotate_at = LOG_LIMIT_BYTES.max(bytes);
    }

    /// The old files are still there, so nothing is lost; but they take room, so the next try comes soon.
    fn checkpoint_failed(&mut self, error: &io::Error) {
        tracing::warn!("{}: checkpoint: {error}", self.dir.display());
        self.rotate_at = self.end + RETRY_BYTES;
    }
}

impl Log for DiskLog {
    fn append(&mut self, records: &LogRecords, state: &Snapshot) -> Result<(), LogError> {
        self.buffer.clear();
        frame::write_frame(&mut self.buffer, records.revision, &records.bytes);
        let length = self.buffer.len() as u64;
        self.prepare(length)?;
        if let Err(error) = self.file.write_all_at(&self.buffer, self.end) {
            self.cut_to(self.end)?;
            return Err(self.explain("write", error));
        }
        // Never tried a second time: after a failed sync the kernel may have dropped what was not written.
        if let Err(error) = self.file.sync_data() {
            return Err(self.failed("sync", error));
        }
        self.end += length;
        if self.buffer.capacity() > PIECE_BYTES {
            self.buffer = Vec::new();
        }
        self.reap();
        if self.checkpoint.is_some() {
            return Ok(());
        }
        if self.end >= self.rotate_at {
            self.rotate(state)?;
        } else if self.is_tight && self.end >= self.room_at {
            self.make_room(state)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), LogError> {
        if let Some(running) = self.checkpoint.take() {
            running.cancel.store(true, Ordering::Relaxed);
            self.note(running);
        }
        self.cut_to(self.end)?;
        let (log, end) = (self.start, self.end);
        if let Err(error) = (Closed { log, end }).write(&self.dir) {
            // Nothing is lost by it; only damage that comes later would be told less well.
            tracing::warn!(
                "cannot note in {} that the store was closed: {error}",
                self.dir.display()
            );
        }
        Ok(())
    }
}

/// Creates the log that starts after `revision`: header and place for the first batches, durable. Gives the file, its
/// end and how far it is prepared.
fn begin_log(dir: &Path, id: &str, revision: u64, prepare: u64) -> io::Result<(File, u64, u64)> {
    let header = FileHeader {
        kind: FileKind::Log,
        revision,
        objects: 0,
        id: id.into(),
    };
    let path = files::log_path(dir, revision);
    let file = files::create_file(&path)?;
    let end = FILE_HEADER_BYTES as u64;
    let prepared = prepare.max(end);
    file.write_all_at(&header.encode(), 0)?;
    write_zeros(&file, end, prepared)?;
    file.sync_all()?;
    files::sync_dir(dir)?;
    Ok((file, end, prepared))
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let length = (to - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..length as usize], at)?;
        at += length;
    }
    Ok(())
}

/// Writes all objects of `state` and, once they are durable under their final name, removes the files they replace.
fn write_checkpoint(dir: &Path, id: &str, state: &Snapshot, cancelled: &AtomicBool) -> io::Result<u64> {
    let revision = state.revision();
    let path = files::unfinished_path(dir, revision);
    let written = write_objects(&path, id, state, cancelled);
    let bytes = match written {
        Ok(bytes) => bytes,
        Err(error) => {
            std::fs::remove_file(&path)?;
            return Err(error);
        }
    };
    std::fs::rename(&path, files::checkpoint_path(dir, revision))?;
    files::sync_dir(dir)?;
    crate::recover::sweep(dir).map_err(io::Error::other)?;
    Ok(bytes)
}

fn write_objects(path: &Path, id: &str, state: &Snapshot, cancelled: &AtomicBool) -> io::Result<u64> {
    let header = FileHeader {
        kind: FileKind::Checkpoint,
        revision: state.revision(),
        objects: state.tables().map(|(_, table)| table.len() as u64).sum(),
        id: id.into(),
    };
    let mut file = files::create_file(path)?;
    let (mut out, mut body) = (header.encode().to_vec(), Vec::new());
    let mut bytes = 0;
    let mut objects = state
        .tables()
        .flat_map(|(res, table)| table.values().map(move |object| (res, object)))
        .peekable();
    while objects.peek().is_some() || !out.is_empty() {
        if cancelled.load(Ordering::Relaxed) {
            return Err(ErrorKind::Interrupted.into());
        }
        body.clear();
        while body.len() < PIECE_BYTES
            && let Some((res, object)) = objects.next()
        {
            frame::encode_put(&mut body, res, object);
        }
        if !body.is_empty() {
            frame::write_frame(&mut out, state.revision(), &body);
        }
        file.write_all(&out)?;
        file.sync_data()?;
        bytes += out.len() as u64;
        out.clear();
    }
    file.sync_all()?;
    Ok(bytes)
}
