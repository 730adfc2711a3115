//! Opening a data directory: newest checkpoint, then every log after it. A torn last batch is cut, damage is an error,
//! and nothing on the disk is changed before all of it was read.

use crate::files::{self, FileHeader, FileKind, OpenError, io_error};
use crate::frame::{self, Frame, Op};
use crate::state::FIRST_REVISION;
use bytes::Bytes;
use meta::Snapshot;
use meta::snapshot::{Change, ChangeKind};
use std::path::{Path, PathBuf};

/// What a log held: where a store goes on.
#[derive(Clone)]
pub struct Past {
    /// The state that the changes start from.
    pub base: Snapshot,
    pub newest: Snapshot,
    /// One entry a batch, for the history: so watches resume over a restart.
    pub batches: Vec<Vec<Change>>,
}

impl Default for Past {
    /// That of a new store.
    fn default() -> Self {
        let mut newest = Snapshot::default();
        newest.set_revision(FIRST_REVISION);
        Self {
            base: newest.clone(),
            newest,
            batches: Vec::new(),
        }
    }
}

impl Past {
    /// Replays a log's frames, in order.
    pub fn extend(&mut self, frames: &[Frame]) -> Result<(), (usize, String)> {
        let decoded = frame::decode_all(frames)?;
        self.batches.reserve(frames.len());
        for (frame, ops) in frames.iter().zip(decoded) {
            let changes = replay(&mut self.newest, ops, frame.revision);
            self.batches.push(changes.map_err(|e| (frame.offset, e))?);
        }
        Ok(())
    }
}

/// What a directory held.
pub struct Recovered {
    pub id: String,
    pub past: Past,
    /// The log to go on with: its revision, and where its next frame goes. `None`: it has to be created.
    pub log: Option<(u64, u64)>,
    /// The newest checkpoint's revision.
    checkpoint: Option<u64>,
    pub checkpoint_bytes: u64,
    /// Several logs wait for a checkpoint that was not finished.
    pub lacks_checkpoint: bool,
}

pub fn recover(dir: &Path, id: &str) -> Result<Recovered, OpenError> {
    let listing = files::list(dir)?;
    let mut out = Recovered {
        id: id.into(),
        past: Past::default(),
        log: None,
        checkpoint: None,
        checkpoint_bytes: 0,
        lacks_checkpoint: false,
    };
    let checkpoint = listing.checkpoints.last().copied();
    if let Some(revision) = checkpoint {
        out.read_checkpoint(dir, revision)?;
    }
    out.past.base = out.past.newest.clone();
    let start = out.past.newest.revision();
    out.checkpoint = checkpoint;
    let logs: Vec<u64> = listing.logs.into_iter().filter(|l| *l >= start).collect();
    let first_missing = logs.first() != Some(&start);
    if first_missing && (checkpoint.is_some() || !logs.is_empty()) {
        return Err(OpenError::Missing {
            path: files::log_path(dir, start),
        });
    }
    out.lacks_checkpoint = logs.len() > 1;
    for (index, revision) in logs.iter().enumerate() {
        out.read_log(dir, *revision, index + 1 == logs.len())?;
    }
    Ok(out)
}

/// Removes what a crash left over: unfinished checkpoints, and files that the newest checkpoint replaces.
pub fn sweep(dir: &Path) -> Result<(), OpenError> {
    let listing = files::list(dir)?;
    let newest = listing.checkpoints.last().copied().unwrap_or(0);
    let old = |revision: &&u64| **revision < newest;
    let logs = listing.logs.iter().filter(old);
    let checkpoints = listing.checkpoints.iter().filter(old);
    let paths = logs
        .map(|r| files::log_path(dir, *r))
        .chain(checkpoints.map(|r| files::checkpoint_path(dir, *r)))
        .chain(listing.unfinished.iter().map(|r| files::unfinished_path(dir, *r)));
    for path in paths.collect::<Vec<PathBuf>>() {
        std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Bytes, OpenError> {
    std::fs::read(path)
        .map(Bytes::from)
        .map_err(io_error("read", path))
}

fn damaged(path: &Path, offset: usize, why: impl Into<String>) -> OpenError {
    OpenError::Damaged {
        path: path.to_path_buf(),
        offset,
        why: why.into(),
    }
}

impl Recovered {
    /// A store that has been used holds at least its first commit; one that holds none has lost its files.
    pub fn check_not_new(&self, dir: &Path) -> Result<(), OpenError> {
        if self.checkpoint.is_some() || self.past.newest.revision() > FIRST_REVISION {
            return Ok(());
        }
        Err(OpenError::Emptied {
            path: files::log_path(dir, FIRST_REVISION),
        })
    }

    fn read_checkpoint(&mut self, dir: &Path, revision: u64) -> Result<(), OpenError> {
        let path = files::checkpoint_path(dir, revision);
        let bytes = read(&path)?;
        self.checkpoint_bytes = bytes.len() as u64;
        // A checkpoint got its name only when all of it was durable, so here nothing may be torn.
        let header = FileHeader::decode(&path, &bytes)?
            .filter(|h| h.kind == FileKind::Checkpoint && h.revision == revision)
            .ok_or_else(|| damaged(&path, 0, "its header does not fit its name"))?;
        let scan = scan(&path, &bytes)?;
        if scan.torn_bytes > 0 {
            return Err(damaged(&path, scan.end, "a record fails its checksum"));
        }
        let mut objects = 0;
        let decoded = frame::decode_all(&scan.frames).map_err(|(at, e)| damaged(&path, at, e))?;
        for op in decoded.into_iter().flatten() {
            let Op::Put { res, object } = op else {
                return Err(damaged(&path, 0, "a checkpoint holds a deletion"));
            };
            objects += 1;
            self.past.newest.put(res, object);
        }
        if objects != header.objects {
            let why = format!("it holds {objects} of {} objects", header.objects);
            return Err(damaged(&path, scan.end, why));
        }
        self.past.newest.set_revision(revision);
        self.id = header.id;
        Ok(())
    }

    fn read_log(&mut self, dir: &Path, revision: u64, is_last: bool) -> Result<(), OpenError> {
        let path = files::log_path(dir, revision);
        if revision != self.past.newest.revision() {
            // The log before this one ends elsewhere: one between them is gone, or was cut.
            return Err(OpenError::Missing {
                path: files::log_path(dir, self.past.newest.revision()),
            });
        }
        let bytes = read(&path)?;
        let Some(header) = FileHeader::decode(&path, &bytes)? else {
            // Died while making this log, before anything was acknowledged from it. A checkpoint of its revision was
            // begun only after the header was durable.
            return if is_last && self.checkpoint != Some(revision) {
                Ok(())
            } else {
                Err(damaged(&path, 0, "it has no header"))
            };
        };
        if header.kind != FileKind::Log || header.revision != revision {
            return Err(damaged(&path, 0, "its header does not fit its name"));
        }
        self.id = header.id;
        let scan = scan(&path, &bytes)?;
        let closed = files::Closed::read(dir).filter(|closed| closed.log == revision);
        if let Some(closed) = closed.filter(|closed| (scan.end as u64) < closed.end) {
            let why = format!("it was whole up to byte {} when the store was closed", closed.end);
            return Err(damaged(&path, scan.end, why));
        }
        let past = &mut self.past;
        past.extend(&scan.frames)
            .map_err(|(at, e)| damaged(&path, at, e))?;
        if scan.torn_bytes > 0 {
            if !is_last {
                return Err(damaged(&path, scan.end, "a record fails its checksum"));
            }
            tracing::warn!(
                "{}: cut {} bytes of a batch that was never acknowledged, at byte {}",
                path.display(),
                scan.torn_bytes,
                scan.end
            );
        }
        self.log = is_last.then_some((revision, scan.end as u64));
        Ok(())
    }
}

fn scan(path: &Path, bytes: &Bytes) -> Result<frame::Scan, OpenError> {
    frame::scan(bytes, files::FILE_HEADER_BYTES).map_err(|e| {
        let why = format!(
            "a record fails its checksum, but the one at byte {} is whole",
            e.next_whole
        );
        damaged(path, e.offset, why)
    })
}

/// Applies one frame of a log: the changes that it made. Revisions must follow on from the snapshot's without a gap.
fn replay(snapshot: &mut Snapshot, ops: Vec<Op>, last: u64) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    let first = snapshot.revision() + 1;
    for op in ops {
        let (res, kind, object, previous, revision) = match op {
            Op::Put { res, object } => {
                let previous = snapshot.put(res, object.clone());
                let kind = match previous {
                    Some(_) => ChangeKind::Modified,
                    None => ChangeKind::Added,
                };
                let revision = object.revision();
                (res, kind, object, previous, revision)
            }
            Op::Delete { res, key, revision } => {
                let previous = snapshot
                    .remove(res, &key, revision)
                    .ok_or_else(|| format!("it deletes {key}, which does not exist"))?;
                let object = previous.at_revision(revision);
                (res, ChangeKind::Deleted, object, Some(previous), revision)
            }
        };
        let before = changes.last().map_or(first, |c: &Change| c.revision);
        let follows = match changes.is_empty() {
            true => revision == first,
            false => revision == before || revision == before + 1,
        };
        if !follows {
            return Err(format!("revision {revision} does not follow {before}"));
        }
        changes.push(Change {
            res,
            kind,
            object,
            previous,
            revision,
        });
    }
    if snapshot.revision() != last {
        return Err(format!(
            "it ends at revision {} instead of {last}",
            snapshot.revision()
        ));
    }
    Ok(changes)
}
