//! Reads a container's CRI log: tail, since, timestamps, byte limit, and following, over rotations, until the
//! container has ended. Woken by inotify, never by a timer.

#![allow(unsafe_code)] // inotify, which no crate here wraps.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::io::unix::AsyncFd;

use crate::shim::rotated;

/// More older files than this are not looked for.
const OLDER_FILES_LIMIT: u32 = 100;
const READ_BYTES: usize = 64 << 10;
/// An entry is never longer than a part's limit and its head; what is longer is not a log of ours.
const ENTRY_LIMIT_BYTES: usize = 64 << 10;

/// Kubernetes' PodLogOptions, as far as they concern reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Lines from the end; `None` is all.
    pub tail_lines: Option<u64>,
    /// Only what was written at or after this time, nanoseconds since the epoch.
    pub since_ns: Option<i64>,
    pub timestamps: bool,
    /// At most this many bytes of answer.
    pub limit_bytes: Option<u64>,
    pub follow: bool,
    /// `Stdout`, `Stderr` or, with `None`, both.
    pub stream: Option<LogStreamName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStreamName {
    Stdout,
    Stderr,
}

/// One CRI entry.
struct Entry<'a> {
    time: &'a str,
    stream: LogStreamName,
    partial: bool,
    text: &'a [u8],
}

/// `None`: not a whole entry (a torn write at a crash).
fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = match fields.next()? {
        b"stdout" => LogStreamName::Stdout,
        b"stderr" => LogStreamName::Stderr,
        _ => return None,
    };
    let partial = fields.next()? == b"P";
    Some(Entry {
        time,
        stream,
        partial,
        text: fields.next().unwrap_or_default(),
    })
}

/// What of a log is given, in the form that the caller asked for.
struct Formatter {
    options: LogOptions,
    left_bytes: Option<u64>,
    /// The last entry was a part: the next one of its stream goes on without a timestamp.
    in_part: bool,
}

impl Formatter {
    fn new(options: &LogOptions) -> Self {
        Self {
            options: options.clone(),
            left_bytes: options.limit_bytes,
            in_part: false,
        }
    }

    fn is_full(&self) -> bool {
        self.left_bytes == Some(0)
    }

    fn wants(&self, entry: &Entry<'_>) -> bool {
        self.options.stream.is_none_or(|stream| stream == entry.stream)
            && self.options.since_ns.is_none_or(|since| {
                entry
                    .time
                    .parse::<jiff::Timestamp>()
                    .is_ok_and(|time| time.as_nanosecond() >= i128::from(since))
            })
    }

    fn push(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(entry) = parse(line).filter(|entry| self.wants(entry)) else {
            return;
        };
        let from = out.len();
        if self.options.timestamps && !self.in_part {
            out.extend_from_slice(entry.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if !entry.partial {
            out.push(b'\n');
        }
        self.in_part = entry.partial;
        if let Some(left) = &mut self.left_bytes {
            let grown = (out.len() - from) as u64;
            if grown > *left {
                out.truncate(from + *left as usize);
            }
            *left -= grown.min(*left);
        }
    }
}

/// A log that is read piece by piece.
pub struct LogReader {
    path: PathBuf,
    formatter: Formatter,
    /// Older files first, the current one last.
    files: VecDeque<File>,
    /// The beginning of an entry whose end is not written yet.
    unfinished: Vec<u8>,
    watch: Option<Watch>,
    ended: tokio::sync::watch::Receiver<bool>,
    finishing: bool,
    /// The first file's end was seen after a newer file was there.
    drained: bool,
}

/// Opens a log at `path`. With `follow`, reading goes on until `ended` turns true (or its sender is gone) and all
/// is read. A log that does not exist yet is an empty one.
pub fn read(
    path: &Path,
    options: &LogOptions,
    ended: tokio::sync::watch::Receiver<bool>,
) -> io::Result<LogReader> {
    // The watch comes first: what changes after it is seen.
    let watch = if options.follow {
        Some(Watch::new(path)?)
    } else {
        None
    };
    let mut files = VecDeque::new();
    for candidate in (1..=OLDER_FILES_LIMIT)
        .map(|n| rotated(path, n))
        .take_while(|p| p.exists())
    {
        files.push_front(File::open(candidate)?);
    }
    match File::open(path) {
        Ok(file) => files.push_back(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut reader = LogReader {
        path: path.to_owned(),
        formatter: Formatter::new(options),
        files,
        unfinished: Vec::new(),
        watch,
        ended,
        finishing: !options.follow,
        drained: false,
    };
    if let Some(lines) = options.tail_lines {
        reader.skip_to_tail(lines)?;
    }
    Ok(reader)
}

impl LogReader {
    /// The next piece; `None` at the end. Waits when following.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.formatter.is_full() {
                return Ok(None);
            }
            match self.read_some()? {
                Some(out) if out.is_empty() => {}
                Some(out) => return Ok(Some(out)),
                None if self.finishing => return Ok(None),
                None => self.wait().await?,
            }
        }
    }

    /// All that is there now, for callers that want it whole (bounded by `limit`).
    pub fn read_to_end(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < limit && !self.formatter.is_full() {
            match self.read_some()? {
                Some(out) => all.extend(out),
                None => break,
            }
        }
        all.truncate(limit);
        Ok(all)
    }

    /// Reads one buffer of the first file and goes to the next one at its end. `None`: nothing more for now.
    fn read_some(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; READ_BYTES];
        let count = match self.files.front_mut() {
            Some(file) => file.read(&mut buffer)?,
            None => 0,
        };
        if count == 0 {
            if self.files.len() <= 1 && !self.reopen()? {
                return Ok(None);
            }
            if self.drained {
                self.files.pop_front();
            }
            // Once more: the last words may have come between the end that we saw and the rotation.
            self.drained = !self.drained && self.files.len() > 1;
            return Ok(Some(Vec::new()));
        }
        let mut out = Vec::new();
        self.unfinished.extend_from_slice(&buffer[..count]);
        let whole = self
            .unfinished
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        for line in self.unfinished[..whole]
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
        {
            if !self.formatter.is_full() {
                self.formatter.push(line, &mut out);
            }
        }
        self.unfinished.drain(..whole);
        if self.unfinished.len() > ENTRY_LIMIT_BYTES {
            return Err(io::Error::other(format!(
                "{} is not a container's log",
                self.path.display()
            )));
        }
        Ok(Some(out))
    }

    /// Takes the file that stands at the path now, if it is another one than is read: the log was rotated, or has
    /// begun. Says whether there is more to read now.
    fn reopen(&mut self) -> io::Result<bool> {
        let inode = |file: &File| file.metadata().map(|m| m.ino());
        let ours = self.files.back().map(inode).transpose()?;
        // Newest first, until the one that is being read.
        let mut newer = VecDeque::new();
        for number in 0..=OLDER_FILES_LIMIT {
            let candidate = if number == 0 {
                self.path.clone()
            } else {
                rotated(&self.path, number)
            };
            match File::open(candidate) {
                Ok(file) if Some(inode(&file)?) == ours => break,
                Ok(file) => newer.push_front(file),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // Between the rename and the new file there is none at the path.
                Err(_) if number == 0 => {}
                Err(_) => break,
            }
        }
        let more = !newer.is_empty();
        self.files.extend(newer);
        Ok(more)
    }

    /// Waits for a change of the log, or the container's end; after that one last look is taken.
    async fn wait(&mut self) -> io::Result<()> {
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        tokio::select! {
            changed = watch.changed() => changed,
            // ignored: an error is a sender that is gone, which ends the log as well.
            _ = self.ended.wait_for(|ended| *ended) => {
                self.finishing = true;
                Ok(())
            }
        }
    }

    /// Goes to the first of the last `lines` lines: backwards through the files, counting whole lines that count.
    fn skip_to_tail(&mut self, lines: u64) -> io::Result<()> {
        let mut wanted = lines;
        let mut keep = self.files.len();
        let mut follows = Follows::default();
        for (number, file) in self.files.iter_mut().enumerate().rev() {
            let (offset, found) = tail_offset(file, wanted, self.formatter.options.stream, &mut follows)?;
            file.seek(SeekFrom::Start(offset))?;
            keep = number;
            wanted -= found;
            if wanted == 0 {
                break;
            }
        }
        self.files.drain(..keep);
        Ok(())
    }
}

/// Whether something follows what is looked at, going backwards: of stdout, of stderr.
#[derive(Default)]
struct Follows([bool; 2]);

impl Follows {
    /// Whether an entry ends a line: one that is not its last part does so only when the stream ended with it.
    fn ends_a_line(&mut self, entry: &Entry<'_>) -> bool {
        let of_stream = &mut self.0[usize::from(entry.stream == LogStreamName::Stderr)];
        let follows = std::mem::replace(of_stream, true);
        !entry.partial || !follows
    }
}

/// Where the last `wanted` lines of a file begin, and how many it has of them. Parts of a line count with its end.
fn tail_offset(
    file: &mut File,
    wanted: u64,
    stream: Option<LogStreamName>,
    follows: &mut Follows,
) -> io::Result<(u64, u64)> {
    let length = file.seek(SeekFrom::End(0))?;
    let (mut end, mut found) = (length, 0);
    let mut rest: Vec<u8> = Vec::new();
    let mut start_of_kept = length;
    // Entry by entry from the end; `rest` holds what lies before the entries already looked at.
    while end > 0 || !rest.is_empty() {
        let newline = rest[..rest.len().saturating_sub(1)]
            .iter()
            .rposition(|b| *b == b'\n');
        if newline.is_none() && end > 0 {
            let from = end.saturating_sub(READ_BYTES as u64);
            let mut block = vec![0; (end - from) as usize];
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(&mut block)?;
            block.extend_from_slice(&rest);
            rest = block;
            end = from;
            continue;
        }
        let begin = newline.map_or(0, |at| at + 1);
        let line = rest[begin..].strip_suffix(b"\n");
        let entry = line
            .and_then(parse)
            .filter(|entry| stream.is_none_or(|s| s == entry.stream));
        if let Some(entry) = entry {
            if follows.ends_a_line(&entry) {
                if found == wanted {
                    return Ok((start_of_kept, found));
                }
                found += 1;
            }
            start_of_kept = end + begin as u64;
        } else if line.is_none() && found < wanted {
            start_of_kept = end + begin as u64; // Its end is not written yet.
        }
        rest.truncate(begin);
    }
    Ok((
        if found <= wanted && wanted > 0 {
            start_of_kept.min(length)
        } else {
            start_of_kept
        },
        found,
    ))
}

/// Changes in the directory of a log, by inotify.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn new(path: &Path) -> io::Result<Self> {
        let directory = path
            .parent()
            .ok_or_else(|| io::Error::other("a log without a directory"))?;
        std::fs::create_dir_all(directory)?;
        let name = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: gives a new descriptor, which is ours alone; the path is a live C string.
        let fd = unsafe {
            let fd = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            let events = libc::IN_MODIFY | libc::IN_CREATE | libc::IN_MOVED_TO | libc::IN_DELETE_SELF;
            if libc::inotify_add_watch(fd.as_raw_fd(), name.as_ptr(), events) < 0 {
                return Err(io::Error::last_os_error());
            }
            fd
        };
        // SAFETY: the OwnedFd inside stays the same descriptor for the AsyncFd's life.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }

    /// Waits for a change; takes all that are queued.
    async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let mut buffer = [0; 4096];
            let result =
                guard.try_io(|fd| nix::unistd::read(fd.get_ref(), &mut buffer).map_err(io::Error::from));
            if let Ok(result) = result {
                return result.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: u32, stream: &str, tag: &str, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}Z {stream} {tag} {text}\n")
    }

    /// A log of three files with the lines 0 to 8; line 4 is in two parts, 7 is on stderr.
    fn sample(dir: &Path) -> PathBuf {
        let path = dir.join("0.log");
        let line = |n: u32| match n {
            4 => entry(4, "stdout", "P", "li") + &entry(4, "stdout", "F", "ne4"),
            7 => entry(7, "stderr", "F", "line7"),
            n => entry(n, "stdout", "F", &format!("line{n}")),
        };
        for (file, range) in [
            (rotated(&path, 2), 0..3),
            (rotated(&path, 1), 3..6),
            (path.clone(), 6..9),
        ] {
            std::fs::write(file, range.map(line).collect::<String>()).expect("write");
        }
        path
    }

    fn text(options: LogOptions) -> String {
        text_of(sample, options)
    }

    fn text_of(log: impl Fn(&Path) -> PathBuf, options: LogOptions) -> String {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = log(dir.path());
        let (_keep, ended) = tokio::sync::watch::channel(true);
        let bytes = read(&path, &options, ended)
            .expect("open")
            .read_to_end(1 << 20)
            .expect("read");
        String::from_utf8(bytes).expect("utf-8")
    }

    #[test]
    fn all_files_are_one_log() {
        let all: String = (0..9).map(|n| format!("line{n}\n")).collect();
        assert_eq!(text(LogOptions::default()), all);
    }

    #[test]
    fn tail_counts_lines_over_files_and_parts() {
        let tail = |lines| {
            text(LogOptions {
                tail_lines: Some(lines),
                ..LogOptions::default()
            })
        };
        for lines in 0..12 {
            let expected: String = (9u64.saturating_sub(lines)..9)
                .map(|n| format!("line{n}\n"))
                .collect();
            assert_eq!(tail(lines), expected, "tail {lines}");
        }
        let errors = LogOptions {
            tail_lines: Some(1),
            stream: Some(LogStreamName::Stderr),
            ..LogOptions::default()
        };
        assert_eq!(text(errors), "line7\n");
    }

    #[test]
    fn an_unfinished_last_line_counts_as_one() {
        let log = |dir: &Path| {
            let path = dir.join("0.log");
            let lines = [("F", "one"), ("F", "two"), ("P", "thr"), ("P", "ee")];
            let text: String = lines.map(|(tag, text)| entry(1, "stdout", tag, text)).concat();
            std::fs::write(&path, text).expect("write");
            path
        };
        for (lines, expected) in [(1, "three"), (2, "two\nthree")] {
            let options = LogOptions {
                tail_lines: Some(lines),
                ..LogOptions::default()
            };
            assert_eq!(text_of(log, options), expected, "tail {lines}");
        }
    }

    #[test]
    fn since_timestamps_and_limit_are_kept() {
        let since = "2026-01-01T00:00:07Z"
            .parse::<jiff::Timestamp>()
            .expect("time")
            .as_nanosecond() as i64;
        let options = LogOptions {
            since_ns: Some(since),
            timestamps: true,
            ..LogOptions::default()
        };
        assert_eq!(
            text(options),
            "2026-01-01T00:00:07Z line7\n2026-01-01T00:00:08Z line8\n"
        );
        assert_eq!(
            text(LogOptions {
                limit_bytes: Some(8),
                ..LogOptions::default()
            }),
            "line0\nli"
        );
        let parts = text(LogOptions {
            timestamps: true,
            ..LogOptions::default()
        });
        assert!(parts.contains("2026-01-01T00:00:04Z line4\n"), "{parts}");
    }

    #[tokio::test]
    async fn following_goes_over_a_rotation_and_ends_with_the_container() {
        use std::io::Write;
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("0.log");
        let (end, ended) = tokio::sync::watch::channel(false);
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut reader = read(&path, &options, ended).expect("open");
        let followed = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(piece) = reader.next().await.expect("next") {
                all.extend(piece);
            }
            String::from_utf8(all).expect("utf-8")
        });
        for number in 0..50 {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .expect("open");
            file.write_all(entry(1, "stdout", "F", &number.to_string()).as_bytes())
                .expect("write");
            if number % 20 == 19 {
                if rotated(&path, 1).exists() {
                    std::fs::rename(rotated(&path, 1), rotated(&path, 2)).expect("rename");
                }
                std::fs::rename(&path, rotated(&path, 1)).expect("rename");
            }
            tokio::task::yield_now().await;
        }
        end.send(true).expect("followed");
        let expected: String = (0..50).map(|n| format!("{n}\n")).collect();
        assert_eq!(followed.await.expect("task"), expected);
    }
}
