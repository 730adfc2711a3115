//! The files of a data directory: their names, their common header, and the lock that keeps a second process out.
//!
//! ```text
//! LOCK                      held (flock) while a process has the store open; holds its pid
//! checkpoint-<revision>     every object at that revision
//! log-<revision>            every change after that revision, up to the start of the next log
//! ```

use crate::state::FIRST_REVISION;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The layout that this program reads and writes.
pub const VERSION: u32 = 1;
pub const FILE_HEADER_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"\xF7isopod\n";
const ID_AT: usize = 32;
const CRC_AT: usize = FILE_HEADER_BYTES - 4;
/// The longest identity that fits the header.
pub const ID_LIMIT_BYTES: usize = CRC_AT - ID_AT;

/// Why a data directory cannot be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{} is in use by the process with pid {pid}: stop that one first, or choose another data directory",
        dir.display()
    )]
    Locked { dir: PathBuf, pid: String },
    #[error(
        "{} was written in format version {found}, but this program reads version {VERSION}: open it with the program \
         that wrote it, or choose an empty data directory",
        path.display()
    )]
    Version { path: PathBuf, found: u32 },
    /// Something that was once durable is damaged.
    #[error(
        "{} is damaged at byte {offset}: {why}. Nothing was changed. Restore the data directory from a copy{}",
        path.display(), way_on(path, *offset)
    )]
    Damaged {
        path: PathBuf,
        offset: usize,
        why: String,
    },
    #[error(
        "{} is missing, so the revisions in it are lost. Nothing was changed. Restore the data directory from a copy",
        path.display()
    )]
    Missing { path: PathBuf },
    /// It has been a store, and now looks like a new one.
    #[error(
        "{} is missing or empty, but this store has been in use: what it held is gone from here. Nothing was changed. \
         Restore the data directory from a copy",
        path.display()
    )]
    Emptied { path: PathBuf },
    #[error("the identity {0:?} is longer than {ID_LIMIT_BYTES} bytes")]
    LongId(String),
}

/// What else can be done about a damaged file. Only a log that has whole records before the damage, in it or in a
/// checkpoint, can be cut there: cut at its head, the first log would be that of a new, empty store, and a cut checkpoint
/// is no checkpoint.
fn way_on(path: &Path, offset: usize) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let revision = name.strip_prefix("log-").and_then(|n| n.parse::<u64>().ok());
    let has_before = offset > FILE_HEADER_BYTES || revision.is_some_and(|r| r > FIRST_REVISION);
    if revision.is_none() || offset < FILE_HEADER_BYTES || !has_before {
        return "; nothing in this file can be read without it".into();
    }
    format!(
        "; or, to give up what this file holds from there on and all later revisions, move the later log files away and \
         run `rm -f {}; truncate -s {offset} {}`",
        closed_path(path.parent().unwrap_or(path)).display(),
        path.display()
    )
}

/// Adds what was tried, and on which path, to an IO error.
pub fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_path_buf();
    move |source| OpenError::Io { what, path, source }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Log,
    Checkpoint,
}

/// What each file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    pub kind: FileKind,
    pub revision: u64,
    /// Objects in a checkpoint; 0 in a log.
    pub objects: u64,
    pub id: String,
}

impl FileHeader {
    pub fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut out = [0; FILE_HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12] = match self.kind {
            FileKind::Log => b'L',
            FileKind::Checkpoint => b'C',
        };
        out[13] = self.id.len() as u8;
        out[16..24].copy_from_slice(&self.revision.to_le_bytes());
        out[24..32].copy_from_slice(&self.objects.to_le_bytes());
        out[ID_AT..ID_AT + self.id.len()].copy_from_slice(self.id.as_bytes());
        let crc = crc32fast::hash(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` when a power cut came before the header was durable: then nothing can have been acknowledged from it.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Option<Self>, OpenError> {
        let damaged = |why: &str| OpenError::Damaged {
            path: path.to_path_buf(),
            offset: 0,
            why: why.into(),
        };
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let Some(header) = bytes.get(..FILE_HEADER_BYTES) else {
            return Err(damaged("its header is cut short"));
        };
        if header[..8] != MAGIC {
            return Err(damaged("it is not a file of this store"));
        }
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        if word(8) != VERSION {
            return Err(OpenError::Version {
                path: path.to_path_buf(),
                found: word(8),
            });
        }
        let kind = match header[12] {
            b'L' => FileKind::Log,
            b'C' => FileKind::Checkpoint,
            _ => return Err(damaged("its header names no known kind")),
        };
        let id = header.get(ID_AT..ID_AT + header[13] as usize);
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        match id {
            Some(id) if word(CRC_AT) == crc32fast::hash(&header[..CRC_AT]) => Ok(Some(Self {
                kind,
                revision: u64::from(word(16)) | u64::from(word(20)) << 32,
                objects: u64::from(word(24)) | u64::from(word(28)) << 32,
                id: id.into(),
            })),
            _ => Err(damaged("its header fails its checksum")),
        }
    }
}

pub fn log_path(dir: &Path, revision: u64) -> PathBuf {
    dir.join(format!("log-{revision:020}"))
}

pub fn checkpoint_path(dir: &Path, revision: u64) -> PathBuf {
    dir.join(format!("checkpoint-{revision:020}"))
}

pub fn unfinished_path(dir: &Path, revision: u64) -> PathBuf {
    dir.join(format!("checkpoint-{revision:020}.tmp"))
}

pub fn closed_path(dir: &Path) -> PathBuf {
    dir.join("closed")
}

/// Noted when a store is closed in good order: so much of its last log was whole. Without it, a last batch that is
/// damaged later would be taken for one that a power cut tore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The log's revision.
    pub log: u64,
    pub end: u64,
}

impl Closed {
    pub fn write(self, dir: &Path) -> io::Result<()> {
        let (path, new) = (closed_path(dir), dir.join("closed.tmp"));
        let mut file = create_file(&new)?;
        writeln!(file, "{} {}", self.log, self.end)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        sync_dir(dir)
    }

    /// That of the last good end; older than what was written since, and never newer.
    pub fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(closed_path(dir)).ok()?;
        let (log, end) = text.trim_end().split_once(' ')?;
        Some(Self {
            log: log.parse().ok()?,
            end: end.parse().ok()?,
        })
    }
}

/// What stands in a data directory; revisions in ascending order.
#[derive(Debug, Default)]
pub struct Listing {
    pub logs: Vec<u64>,
    pub checkpoints: Vec<u64>,
    /// Checkpoints that a crash interrupted.
    pub unfinished: Vec<u64>,
}

pub fn list(dir: &Path) -> Result<Listing, OpenError> {
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(dir).map_err(io_error("list", dir))? {
        let name = entry.map_err(io_error("list", dir))?.file_name();
        let name = name.to_string_lossy();
        let number = |text: &str| text.parse::<u64>().ok();
        if let Some(revision) = name.strip_prefix("log-").and_then(number) {
            listing.logs.push(revision);
        } else if let Some(rest) = name.strip_prefix("checkpoint-") {
            match rest.strip_suffix(".tmp") {
                Some(rest) => listing.unfinished.extend(number(rest)),
                None => listing.checkpoints.extend(number(rest)),
            }
        }
    }
    listing.logs.sort_unstable();
    listing.checkpoints.sort_unstable();
    Ok(listing)
}

pub fn create_dir(dir: &Path) -> Result<(), OpenError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error("create the data directory", dir))
}

/// Creates (or empties) a file that only its owner may read: it holds Secrets.
pub fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Makes the directory's entries themselves durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Held while the store is open; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(io_error("read", &path))?;
                return Err(OpenError::Locked {
                    dir: dir.to_path_buf(),
                    pid: pid.trim().into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
        }
        // The pid only informs; on a full disk the store still opens, so that reads work.
        let written = file.set_len(0).and_then(|()| file.rewind());
        if let Err(error) = written.and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::warn!("cannot write the pid to {}: {error}", path.display());
        }
        Ok(Self(file))
    }
}
