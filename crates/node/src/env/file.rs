//! Reads files of variables, the source of `valueFrom.fileKeyRef`: lines of `NAME='value'`, whose value may go on over
//! lines, with comments. Pure but for the reader. Source: kubelet's `pkg/kubelet/util/env` and KEP-3721.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

/// Go's scanner, and so kubelet, reads no longer line; its end counts.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// Ours: an environment takes less than this, and a container may write as much as its volume holds.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a file cannot be read on. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("line {line}: {what}")]
    Format { line: usize, what: &'static str },
    #[error("line {0} is too long")]
    LongLine(usize),
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a file says of the variables that were asked for.
#[derive(Debug, Default)]
pub struct Found {
    /// The first value of each.
    pub values: BTreeMap<String, String>,
    /// Why it was not read to its end. What comes before that counts.
    pub error: Option<FileError>,
}

/// Reads until all variables are found.
pub fn read(reader: impl BufRead, wanted: &BTreeSet<&str>) -> Found {
    let mut lines = Lines {
        reader: reader.take(MAX_FILE_BYTES + 1),
        number: 0,
        left: MAX_FILE_BYTES,
    };
    let mut values = BTreeMap::new();
    while values.len() < wanted.len() {
        match assignment(&mut lines) {
            Ok(Some((name, value))) => match wanted.get(name.as_str()) {
                Some(_) if !values.contains_key(&name) => drop(values.insert(name, value)),
                _ => {}
            },
            Ok(None) => break,
            Err(error) => {
                let error = Some(error);
                return Found { values, error };
            }
        }
    }
    Found { values, error: None }
}

struct Lines<R> {
    reader: io::Take<R>,
    number: usize,
    left: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end, `None` after the last.
    fn next(&mut self) -> Result<Option<String>, FileError> {
        let mut bytes = Vec::new();
        let count = (&mut self.reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut bytes)? as u64;
        self.number += 1;
        self.left = self.left.checked_sub(count).ok_or(FileError::TooLarge)?;
        match bytes.last() {
            None => return Ok(None),
            Some(b'\n') => drop(bytes.pop()),
            Some(_) if count == MAX_LINE_BYTES => return Err(FileError::LongLine(self.number)),
            Some(_) => {} // the file's end ends a line too
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let text = String::from_utf8(bytes).map_err(|_| self.wrong("it is not UTF-8 text"))?;
        Ok(Some(text))
    }

    fn wrong(&self, what: &'static str) -> FileError {
        let line = self.number;
        FileError::Format { line, what }
    }
}

/// The next variable of the file.
fn assignment(lines: &mut Lines<impl BufRead>) -> Result<Option<(String, String)>, FileError> {
    let blanks = [' ', '\t'];
    while let Some(line) = lines.next()? {
        let line = line.trim_start_matches(blanks);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, rest) = line
            .split_once('=')
            .ok_or_else(|| lines.wrong("'=' is missing"))?;
        if name.is_empty() {
            return Err(lines.wrong("the variable has no name"));
        }
        if name.ends_with(blanks) {
            return Err(lines.wrong("there is a blank before '='"));
        }
        // A shell takes `NAME= 'value'` as an empty value, too.
        let value = match rest.starts_with(blanks) {
            true => String::new(),
            false => quoted(rest, lines)?,
        };
        return Ok(Some((name.to_owned(), value)));
    }
    Ok(None)
}

/// The value that begins in this line.
fn quoted(rest: &str, lines: &mut Lines<impl BufRead>) -> Result<String, FileError> {
    let Some(rest) = rest.strip_prefix('\'') else {
        return Err(lines.wrong("the value is not in single quotes"));
    };
    let open = lines.wrong("the quote is not closed");
    let (mut value, mut rest) = (String::new(), rest.to_owned());
    loop {
        if let Some((last, after)) = rest.split_once('\'') {
            value.push_str(last);
            let after = after.trim_start_matches([' ', '\t']);
            return match after.is_empty() || after.starts_with('#') {
                true => Ok(value),
                false => Err(lines.wrong("there is something behind the closing quote")),
            };
        }
        value.push_str(&rest);
        value.push('\n');
        match lines.next()? {
            Some(line) => rest = line,
            None => return Err(open),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8], wanted: &[&str]) -> String {
        let found = read(text, &wanted.iter().copied().collect());
        let mut parts: Vec<String> = found.values.iter().map(|(n, v)| format!("{n}={v}")).collect();
        parts.extend(found.error.map(|error| format!("error: {error}")));
        parts.join("|")
    }

    #[test]
    fn what_is_a_variable() {
        let text = b"# comment\n\n \t\n  A='1'\nB='two words' # said\r\nC='x=\"y\" $A \\n'#\nD=''\nE= 'no'\n\
            F='over\r\n  # lines\n\nof text'\t\nA='again'\nG.h-1='odd' \r";
        for (name, want) in [
            ("A", "A=1"),
            ("B", "B=two words"),
            ("C", "C=x=\"y\" $A \\n"),
            ("D", "D="),
            ("E", "E="),
            ("F", "F=over\n  # lines\n\nof text"),
            ("G.h-1", "G.h-1=odd"),
            ("NO", ""),
            ("a", ""),
        ] {
            assert_eq!(found(text, &[name]), want, "{name}");
        }
        assert_eq!(found(text, &["A", "B", "NO"]), "A=1|B=two words");
        assert_eq!(found(b"", &["A"]), "");
    }

    #[test]
    fn what_comes_before_a_wrong_line_counts() {
        for (wrong, want) in [
            ("no sign", "line 3: '=' is missing"),
            ("='x'", "line 3: the variable has no name"),
            ("B ='x'", "line 3: there is a blank before '='"),
            ("B=x", "line 3: the value is not in single quotes"),
            ("B=", "line 3: the value is not in single quotes"),
            ("B=\"x\"", "line 3: the value is not in single quotes"),
            ("B='x'y", "line 3: there is something behind the closing quote"),
            (
                "B='x\n\ny'z'",
                "line 5: there is something behind the closing quote",
            ),
            ("B='x\n\n", "line 3: the quote is not closed"),
            ("export B", "line 3: '=' is missing"),
        ] {
            let text = format!("A='1'\n\n{wrong}");
            assert_eq!(found(text.as_bytes(), &["A"]), "A=1", "{wrong:?}");
            assert_eq!(
                found(text.as_bytes(), &["A", "C"]),
                format!("A=1|error: {want}"),
                "{wrong:?}"
            );
        }
        assert_eq!(found(b"A='\xff'", &["A"]), "error: line 1: it is not UTF-8 text");
    }

    #[test]
    fn lines_and_files_have_limits() {
        let line = |length: usize| [b"A='".as_slice(), &vec![b'x'; length - 4], b"'"].concat();
        let value = "x".repeat((64 << 10) - 5);
        assert_eq!(found(&line((64 << 10) - 1), &["A"]), format!("A={value}"));
        let ended = [line((64 << 10) - 1), b"\nB='b'".to_vec()].concat();
        assert_eq!(found(&ended, &["B"]), "B=b");
        assert_eq!(found(&line(64 << 10), &["A"]), "error: line 1 is too long");
        let comments = "# 34567\n".repeat(1 << 17);
        assert_eq!(found(comments.as_bytes(), &["A"]), "", "just what it may have");
        let more = format!("A='1'\n{comments}B='2'");
        assert_eq!(found(more.as_bytes(), &["A"]), "A=1");
        assert_eq!(
            found(more.as_bytes(), &["A", "B"]),
            "A=1|error: it has more than 1048576 bytes"
        );
        assert_eq!(found(&vec![0; 1 << 22], &["A"]), "error: line 1 is too long");
    }
}
