//! `tail`, for images that hold nothing but this program: it links itself under that name where TOOLS_DIR says, so that
//! `kubectl exec … -- tail -n 5 /data/visits.txt` works without a shell or a distribution in the image.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

const USAGE: &str = "usage: tail [-n LINES] FILE";
const CHUNK_BYTES: usize = 8 * 1024;

/// Makes `<dir>/tail`, unless the image brings a tail of its own. A link that is there from an earlier start is good.
pub fn link(dir: &Path, path_variable: &str) -> io::Result<()> {
    if std::env::split_paths(path_variable).any(|folder| folder.join("tail").exists()) {
        return Ok(());
    }
    match symlink(std::env::current_exe()?, dir.join("tail")) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// The whole program when it is called `tail`.
pub fn run(args: impl Iterator<Item = String>, out: &mut impl Write) -> Result<(), String> {
    let (lines, name) = parse(args)?;
    let failed = |e: io::Error| format!("cannot read {name}: {e}");
    let mut file = File::open(&name).map_err(failed)?;
    let start = start_of_last(&file, lines).map_err(failed)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    io::copy(&mut file, out).map_err(failed)?;
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<(u64, String), String> {
    let (mut lines, mut file) = (10, None);
    while let Some(arg) = args.next() {
        let number = match arg.strip_prefix("-n") {
            Some("") => args.next(),
            Some(number) => Some(number.to_owned()),
            None if arg.starts_with('-') || file.is_some() => return Err(USAGE.to_owned()),
            None => {
                file = Some(arg);
                continue;
            }
        };
        lines = number.and_then(|n| n.parse().ok()).ok_or(USAGE)?;
    }
    file.map(|file| (lines, file)).ok_or(USAGE.to_owned())
}

/// Where the last `lines` lines begin, found from the end of the file.
fn start_of_last(file: &File, lines: u64) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut chunk = [0; CHUNK_BYTES];
    let (mut end, mut seen) = (length, 0);
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        let bytes = &mut chunk[..(end - start) as usize];
        file.read_exact_at(bytes, start)?;
        for (index, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + index as u64 + 1;
            // The line feed that ends the file ends its last line, and begins none.
            if after < length {
                seen += 1;
            }
            if seen == lines || (after == length && lines == 0) {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(if lines == 0 { length } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str, args: &[&str]) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        std::fs::write(&path, text).expect("written");
        let mut out = Vec::new();
        let args = args
            .iter()
            .map(|a| (*a).to_owned())
            .chain([path.display().to_string()]);
        run(args, &mut out).map(|()| String::from_utf8(out).expect("text"))
    }

    #[test]
    fn the_last_lines_are_shown() {
        for (text, lines, expected) in [
            ("a\nb\nc\n", "2", "b\nc\n"),
            ("a\nb\nc", "2", "b\nc"),
            ("a\nb\n", "5", "a\nb\n"),
            ("", "5", ""),
            ("a\n", "0", ""),
            ("a", "0", ""),
            ("\n\n\n", "2", "\n\n"),
        ] {
            assert_eq!(
                tail(text, &["-n", lines]).as_deref(),
                Ok(expected),
                "tail -n {lines} of {text:?}"
            );
        }
        let long: String = (0..5000).map(|i| format!("line {i}\n")).collect();
        assert_eq!(tail(&long, &[]).expect("shown").lines().next(), Some("line 4990"));
        assert_eq!(
            tail(&long, &["-n4000"]).expect("shown").lines().next(),
            Some("line 1000")
        );
    }

    #[test]
    fn mistakes_say_how_it_is_used() {
        for bad in [&["-f"][..], &["-n"], &["-n", "x"], &["other"]] {
            assert_eq!(tail("a\n", bad).expect_err("refused"), USAGE);
        }
        let missing = run(["/nonexistent".to_owned()].into_iter(), &mut Vec::new()).expect_err("refused");
        assert_eq!(
            missing,
            "cannot read /nonexistent: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn the_link_is_made_once_and_only_where_no_tail_is() {
        let (dir, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let path = format!("{}:{}", other.path().display(), dir.path().display());
        link(dir.path(), &path).expect("linked");
        link(dir.path(), &path).expect("linked before");
        link(dir.path(), "/nonexistent").expect("linked before, and not in PATH");
        assert_eq!(
            std::fs::read_link(dir.path().join("tail")).ok(),
            std::env::current_exe().ok()
        );
        link(other.path(), &path).expect("not needed");
        assert!(!other.path().join("tail").exists());
    }
}
