//! The log's bytes: operations in frames. One frame is one batch, made durable by one fsync, so only the last frame of a
//! log can ever be torn: a broken frame with a whole one after it is damage, a broken frame at the end is a power cut.

use bytes::Bytes;
use meta::snapshot::{Change, ChangeKind};
use meta::{Object, Res};

/// Starts every frame, so that the one after a damaged frame can be found.
const MARKER: [u8; 4] = *b"\xF7iso";
/// Marker, length of the body, CRC32 of (length, revision, body), revision after the frame.
pub const HEADER_BYTES: usize = 4 + 4 + 4 + 8;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// A frame that was read back whole.
#[derive(Debug)]
pub struct Frame {
    /// Where it starts in the file.
    pub offset: usize,
    pub revision: u64,
    pub body: Bytes,
}

/// What a log's bytes hold.
#[derive(Debug)]
pub struct Scan {
    pub frames: Vec<Frame>,
    /// Where the next frame goes.
    pub end: usize,
    /// Bytes after `end` that are neither a frame nor zeros: what a power cut left of the last batch.
    pub torn_bytes: usize,
}

/// A frame that is damaged although a later one is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged {
    pub offset: usize,
    pub next_whole: usize,
}

/// One operation of a frame.
#[derive(Debug)]
pub enum Op {
    Put { res: Res, object: Object },
    Delete { res: Res, key: String, revision: u64 },
}

/// Appends one frame to `out`.
pub fn write_frame(out: &mut Vec<u8>, revision: u64, body: &[u8]) {
    let length = (body.len() as u32).to_le_bytes();
    let revision = revision.to_le_bytes();
    out.reserve(HEADER_BYTES + body.len());
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(&length, &revision, body).to_le_bytes());
    out.extend_from_slice(&revision);
    out.extend_from_slice(body);
}

fn checksum(length: &[u8], revision: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(length);
    crc.update(revision);
    crc.update(body);
    crc.finalize()
}

/// The frame at `offset`, when it is whole.
fn frame_at(bytes: &Bytes, offset: usize) -> Option<Frame> {
    let header = bytes.get(offset..offset + HEADER_BYTES)?;
    if header[..4] != MARKER {
        return None;
    }
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(header[8..12].try_into().ok()?);
    let start = offset + HEADER_BYTES;
    let body = bytes.get(start..start.checked_add(length)?)?;
    if checksum(&header[4..8], &header[12..20], body) != crc {
        return None;
    }
    Some(Frame {
        offset,
        revision: u64::from_le_bytes(header[12..20].try_into().ok()?),
        body: bytes.slice(start..start + length),
    })
}

/// Reads all frames from `start` on. A log that was preallocated ends in zeros.
pub fn scan(bytes: &Bytes, start: usize) -> Result<Scan, Damaged> {
    let mut frames = Vec::new();
    let mut end = start;
    while let Some(frame) = frame_at(bytes, end) {
        end += HEADER_BYTES + frame.body.len();
        frames.push(frame);
    }
    let rest = &bytes[end.min(bytes.len())..];
    let torn_bytes = rest.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let later = (end + 1..end + torn_bytes)
        .filter(|at| bytes[*at] == MARKER[0])
        .find(|at| frame_at(bytes, *at).is_some());
    match later {
        Some(next_whole) => Err(Damaged {
            offset: end,
            next_whole,
        }),
        None => Ok(Scan {
            frames,
            end,
            torn_bytes,
        }),
    }
}

/// The body that holds these changes.
pub fn encode_changes(changes: &[Change]) -> Vec<u8> {
    let size = changes.iter().map(|c| c.object.json().len() + 96).sum();
    let mut out = Vec::with_capacity(size);
    for change in changes {
        match change.kind {
            ChangeKind::Added | ChangeKind::Modified => {
                encode_put(&mut out, change.res, &change.object);
            }
            ChangeKind::Deleted => {
                let key = change.object.meta().key();
                encode_head(&mut out, DELETE, change.res, change.revision, key.len());
                out.extend_from_slice(key.as_bytes());
            }
        }
    }
    out
}

pub fn encode_put(out: &mut Vec<u8>, res: Res, object: &Object) {
    encode_head(out, PUT, res, object.revision(), object.json().len());
    out.extend_from_slice(&object.revision_at().to_le_bytes());
    out.extend_from_slice(object.json());
}

fn encode_head(out: &mut Vec<u8>, op: u8, res: Res, revision: u64, length: usize) {
    // Groups and plurals are DNS names, at most 253 bytes; the API refuses longer ones long before.
    assert!(res.group.len() < 256 && res.plural.len() < 256);
    out.push(op);
    for name in [res.group, res.plural] {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(&revision.to_le_bytes());
    out.extend_from_slice(&(length as u32).to_le_bytes());
}

/// Reads frames back, the costly part of opening a store, so on several threads when there is much to read. Fails with
/// the offset of the frame. Its checksum was right, so an error means that another program wrote it.
pub fn decode_all(frames: &[Frame]) -> Result<Vec<Vec<Op>>, (usize, String)> {
    const THREAD_BYTES: usize = 1 << 20;
    const THREADS: usize = 4;
    let decode_each = |frames: &[Frame]| {
        let each = frames.iter();
        each.map(|f| decode(&f.body).map_err(|e| (f.offset, e)))
            .collect::<Result<Vec<_>, _>>()
    };
    let bytes: usize = frames.iter().map(|f| f.body.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(THREADS).min(bytes / THREAD_BYTES);
    if threads < 2 {
        return decode_each(frames);
    }
    let mut parts = Vec::with_capacity(threads);
    let (mut start, mut held) = (0, 0);
    for (index, frame) in frames.iter().enumerate() {
        held += frame.body.len();
        if held >= bytes / threads || index + 1 == frames.len() {
            parts.push(&frames[start..=index]);
            (start, held) = (index + 1, 0);
        }
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || decode_each(part)))
            .collect();
        let mut all = Vec::with_capacity(frames.len());
        for part in running {
            let done = part.join();
            all.extend(done.map_err(|_| (0, "its decoder panicked".to_string()))??);
        }
        Ok(all)
    })
}

fn decode(body: &[u8]) -> Result<Vec<Op>, String> {
    let mut reader = Reader { rest: body };
    let mut ops = Vec::new();
    while !reader.rest.is_empty() {
        ops.push(reader.op()?);
    }
    Ok(ops)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn op(&mut self) -> Result<Op, String> {
        let [op] = self.array()?;
        let group = self.name()?;
        let plural = self.name()?;
        let revision = u64::from_le_bytes(self.array()?);
        let length = u32::from_le_bytes(self.array()?) as usize;
        let res = Res::interned(group, plural);
        match op {
            PUT => {
                let revision_at = u32::from_le_bytes(self.array()?);
                // Copied, so that one long-lived object does not keep the whole file in memory.
                let json = Bytes::copy_from_slice(self.take(length)?);
                let object = Object::from_stored_at(json, revision_at).map_err(|e| e.to_string())?;
                if object.revision() != revision {
                    return Err(format!(
                        "{} {} says revision {}, its record says {revision}",
                        res.qualified(),
                        object.meta().key(),
                        object.revision()
                    ));
                }
                Ok(Op::Put { res, object })
            }
            DELETE => Ok(Op::Delete {
                res,
                key: text(self.take(length)?)?.into(),
                revision,
            }),
            other => Err(format!("unknown operation {other}")),
        }
    }

    fn name(&mut self) -> Result<&'a str, String> {
        let [length] = self.array()?;
        text(self.take(length as usize)?)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "a record ends early".into())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("a record ends early")?;
        self.rest = rest;
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a name is not UTF-8".into())
}
