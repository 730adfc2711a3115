//! The visits file: one RFC 3339 time a line, all lines of one width, so that its length alone is the count. Safe for
//! several processes on one volume (appends are locked), and a visit that was answered is on the disk.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// `2026-11-21T09:00:00.123456Z` and a line feed.
const LINE_BYTES: u64 = 28;

pub struct Visits {
    path: PathBuf,
}

impl Visits {
    /// Opens the file once, so that a volume that cannot be written fails the start and not the first visitor.
    pub fn open(path: PathBuf) -> Result<Self, String> {
        let visits = Self { path };
        let file = visits.file()?;
        file.lock().map_err(|e| visits.failed("lock", &e))?;
        visits.whole_lines(&file)?;
        drop(file); // and the lock with it
        Ok(visits)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `now`, waits for the disk, and returns how many visits the file holds now.
    pub fn add(&self, now: Timestamp) -> Result<u64, String> {
        let line = format!("{now:.6}\n");
        assert_eq!(
            line.len() as u64,
            LINE_BYTES,
            "the count relies on the width of a line"
        );
        let mut file = self.file()?;
        file.lock().map_err(|e| self.failed("lock", &e))?;
        let before = self.whole_lines(&file)?;
        file.write_all(line.as_bytes())
            .map_err(|e| self.failed("append to", &e))?;
        // Others may append while this one waits for the disk: one flush then serves several visitors.
        file.unlock().map_err(|e| self.failed("unlock", &e))?;
        file.sync_data().map_err(|e| self.failed("flush", &e))?;
        Ok(before + 1)
    }

    pub fn count(&self) -> Result<u64, String> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.len() / LINE_BYTES),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
            Err(e) => Err(self.failed("read", &e)),
        }
    }

    /// The file and its length, to be shown.
    pub fn reader(&self) -> Result<(File, u64), String> {
        let file = self.file()?;
        let length = file.metadata().map_err(|e| self.failed("read", &e))?.len();
        Ok((file, length))
    }

    pub fn clear(&self) -> Result<(), String> {
        let file = self.file()?;
        file.lock().map_err(|e| self.failed("lock", &e))?;
        file.set_len(0)
            .and_then(|()| file.sync_all())
            .map_err(|e| self.failed("empty", &e))
    }

    fn file(&self) -> Result<File, String> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.path)
            .map_err(|e| self.failed("open", &e))
    }

    /// The number of lines. A torn last line (a full disk, a crash of the machine) was never answered and is cut off; a
    /// file that is not ours is left alone.
    fn whole_lines(&self, file: &File) -> Result<u64, String> {
        let length = file.metadata().map_err(|e| self.failed("read", &e))?.len();
        let (lines, torn) = (length / LINE_BYTES, length % LINE_BYTES);
        if torn > 0 {
            let mut tail = vec![0; torn as usize];
            file.read_exact_at(&mut tail, lines * LINE_BYTES)
                .map_err(|e| self.failed("read", &e))?;
            let mut before = *b"\n";
            if lines > 0 {
                file.read_exact_at(&mut before, lines * LINE_BYTES - 1)
                    .map_err(|e| self.failed("read", &e))?;
            }
            if before != *b"\n" || !tail.iter().all(|b| b.is_ascii_digit() || b"-:.TZ".contains(b)) {
                return Err(format!(
                    "{} is not a visits file: set VISITS_FILE to another name",
                    self.path.display()
                ));
            }
            file.set_len(lines * LINE_BYTES)
                .map_err(|e| self.failed("repair", &e))?;
        }
        Ok(lines)
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> String {
        format!("cannot {what} {}: {error}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    #[test]
    fn each_visit_is_a_line_and_a_second_process_counts_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("visits.txt");
        let first = Visits::open(path.clone()).expect("opened");
        assert_eq!(first.add(moment(0)), Ok(1));
        let second = Visits::open(path.clone()).expect("opened");
        assert_eq!(second.add(moment(1)), Ok(2));
        assert_eq!(first.add(moment(2)), Ok(3));
        assert_eq!(first.count(), Ok(3));
        let text = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(
            text,
            "2027-01-15T08:00:00.000000Z\n2027-01-15T08:00:01.000000Z\n2027-01-15T08:00:02.000000Z\n"
        );
        second.clear().expect("emptied");
        assert_eq!(first.add(moment(3)), Ok(1));
    }

    #[test]
    fn visits_at_once_are_all_counted_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let visits = Visits::open(dir.path().join("visits.txt")).expect("opened");
        let mut counts: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|i| {
                    scope.spawn({
                        let visits = &visits;
                        move || visits.add(moment(i))
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().expect("joined").expect("added"))
                .collect()
        });
        counts.sort_unstable();
        assert_eq!(counts, (1..=8).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_line_is_cut_and_a_foreign_file_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("visits.txt");
        std::fs::write(&path, "2027-01-15T08:00:00.000000Z\n2027-01-15T08:").expect("written");
        let visits = Visits::open(path.clone()).expect("repaired");
        assert_eq!(visits.add(moment(1)), Ok(2));

        for foreign in [
            "buy milk\n",
            "2027-01-15T08:00:00.000000Z\nbuy milk",
            "a line of another length altogether\n12",
        ] {
            std::fs::write(&path, foreign).expect("written");
            let error = Visits::open(path.clone()).err().expect("refused");
            assert!(
                error.ends_with("is not a visits file: set VISITS_FILE to another name"),
                "{error}"
            );
            assert_eq!(std::fs::read_to_string(&path).expect("readable"), foreign);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_clear_error() {
        let error = Visits::open("/nonexistent/visits.txt".into())
            .err()
            .expect("refused");
        assert_eq!(
            error,
            "cannot open /nonexistent/visits.txt: No such file or directory (os error 2)"
        );
    }
}
