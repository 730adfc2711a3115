//! Writes a container's output as a CRI log: `<RFC 3339 time> stdout|stderr F|P <text>`, one line each, with rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::runtime::spec::LogRotation;

/// A longer line is written in parts with the tag P, as containerd does.
const LINE_LIMIT_BYTES: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Stdout => b"stdout",
            Self::Stderr => b"stderr",
        }
    }
}

pub struct LogWriter {
    path: PathBuf,
    rotation: LogRotation,
    file: File,
    written_bytes: u64,
    /// What came of an unfinished line, by stream: at most one limit's worth each.
    unfinished: [Vec<u8>; 2],
    second: (u64, String),
}

impl LogWriter {
    pub fn open(path: &Path, rotation: &LogRotation) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let written_bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            rotation: rotation.clone(),
            file,
            written_bytes,
            unfinished: [Vec::new(), Vec::new()],
            second: (u64::MAX, String::new()),
        })
    }

    /// Writes the whole lines in `bytes`, with what was left of before; keeps the rest.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: SystemTime) -> io::Result<()> {
        let time = self.time(now);
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut line = std::mem::take(&mut self.unfinished[stream as usize]);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            line.extend_from_slice(text);
            while line.len() > LINE_LIMIT_BYTES || (line.len() == LINE_LIMIT_BYTES && !ended) {
                let rest = line.split_off(LINE_LIMIT_BYTES);
                entry(&mut out, &time, stream, b'P', &line);
                line = rest;
            }
            if ended {
                entry(&mut out, &time, stream, b'F', &line);
                line.clear();
            }
        }
        line.shrink_to_fit();
        self.unfinished[stream as usize] = line;
        self.append(&out)
    }

    /// Writes what is unfinished as the part of a line that it is: the stream ended without a newline.
    pub fn finish(&mut self, now: SystemTime) -> io::Result<()> {
        let time = self.time(now);
        let mut out = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(&mut self.unfinished[stream as usize]);
            if !line.is_empty() {
                entry(&mut out, &time, stream, b'P', &line);
            }
        }
        self.append(&out)
    }

    fn append(&mut self, out: &[u8]) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if self.written_bytes > 0 && self.written_bytes + out.len() as u64 > self.rotation.max_size_bytes {
            self.rotate()?;
        }
        self.written_bytes += out.len() as u64;
        self.file.write_all(out)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let kept = self.rotation.max_files.max(1) - 1;
        let result = (|| {
            remove_if_there(&rotated(&self.path, kept.max(1)))?;
            for number in (1..kept).rev() {
                rename_if_there(&rotated(&self.path, number), &rotated(&self.path, number + 1))?;
            }
            if kept == 0 {
                remove_if_there(&self.path)
            } else {
                fs::rename(&self.path, rotated(&self.path, 1))
            }
        })();
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.written_bytes = 0;
        result
    }

    /// RFC 3339 with nanoseconds in UTC; all but the fraction is kept for the second.
    fn time(&mut self, now: SystemTime) -> String {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if self.second.0 != since.as_secs() {
            self.second = (since.as_secs(), civil(since.as_secs()));
        }
        format!("{}.{:09}Z", self.second.1, since.subsec_nanos())
    }
}

fn entry(out: &mut Vec<u8>, time: &str, stream: Stream, tag: u8, line: &[u8]) {
    out.extend_from_slice(time.as_bytes());
    out.push(b' ');
    out.extend_from_slice(stream.name());
    out.extend_from_slice(&[b' ', tag, b' ']);
    out.extend_from_slice(line);
    out.push(b'\n');
}

fn civil(seconds: u64) -> String {
    jiff::Timestamp::from_second(seconds as i64)
        .map_or_else(|_| String::new(), |t| t.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// The n-th older file: `0.log.1` is the newest of them.
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: SystemTime = SystemTime::UNIX_EPOCH;

    fn written(pieces: &[(Stream, &[u8])]) -> String {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("0.log");
        let mut log = LogWriter::open(&path, &LogRotation::default()).expect("open");
        for (stream, bytes) in pieces {
            log.write(*stream, bytes, NOON + Duration::from_nanos(7))
                .expect("write");
        }
        log.finish(NOON).expect("finish");
        fs::read_to_string(path).expect("read")
    }

    #[test]
    fn a_line_is_one_entry_however_it_comes() {
        let whole = written(&[(Stream::Stdout, b"one\ntwo\n")]);
        assert_eq!(
            whole,
            "1970-01-01T00:00:00.000000007Z stdout F one\n1970-01-01T00:00:00.000000007Z stdout F two\n"
        );
        assert_eq!(
            written(&[
                (Stream::Stdout, b"o"),
                (Stream::Stdout, b"ne\ntw"),
                (Stream::Stdout, b"o\n")
            ]),
            whole
        );
        let mixed = written(&[
            (Stream::Stdout, b"o"),
            (Stream::Stderr, b"e\n"),
            (Stream::Stdout, b"ut"),
        ]);
        assert_eq!(
            mixed,
            "1970-01-01T00:00:00.000000007Z stderr F e\n1970-01-01T00:00:00.000000000Z stdout P out\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_into_parts() {
        let long = vec![b'x'; LINE_LIMIT_BYTES + 5];
        let text = written(&[(Stream::Stdout, &long), (Stream::Stdout, b"end\n")]);
        let lines: Vec<&str> = text
            .lines()
            .map(|l| l.split_once("stdout ").expect("stream").1)
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].len(), &lines[0][..2]), (LINE_LIMIT_BYTES + 2, "P "));
        assert_eq!(lines[1], "F xxxxxend");
        let exact = written(&[(Stream::Stdout, &[&long[..LINE_LIMIT_BYTES], b"\n"].concat())]);
        assert_eq!(exact.lines().count(), 1);
    }

    #[test]
    fn rotation_keeps_the_newest_files() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("0.log");
        let mut log = LogWriter::open(
            &path,
            &LogRotation {
                max_size_bytes: 100,
                max_files: 3,
            },
        )
        .expect("open");
        for number in 0..10 {
            log.write(Stream::Stdout, format!("{number}\n").as_bytes(), NOON)
                .expect("write");
        }
        let read = |p: &Path| {
            fs::read_to_string(p)
                .expect("read")
                .lines()
                .map(|l| l[l.len() - 1..].to_owned())
                .collect::<String>()
        };
        assert_eq!(
            read(&rotated(&path, 2)) + &read(&rotated(&path, 1)) + &read(&path),
            "456789"
        );
        assert!(!rotated(&path, 3).exists());
    }
}
