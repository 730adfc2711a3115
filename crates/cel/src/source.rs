//! The text of an expression and the errors found in it, printed as cel-go prints them: position, snippet, caret.

use std::fmt;

/// How many errors of one expression are reported at most.
const MAX_ERRORS: usize = 100;
/// Longer lines are not repeated below an error.
const MAX_SNIPPET: usize = 16_384;

/// Where in the text something stands, in code points. `line` counts from 1 and is -1 when there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub line: i32,
    pub column: i32,
}

impl Location {
    pub(crate) const NONE: Self = Self { line: -1, column: -1 };
}

/// One thing that is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    pub location: Location,
    pub message: String,
}

/// All that is wrong with an expression, in the order of the text; `Display` is cel-go's multi-line form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileErrors {
    errors: Vec<CompileError>,
    shown: String,
}

impl CompileErrors {
    pub fn errors(&self) -> &[CompileError] {
        &self.errors
    }
}

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::error::Error for CompileErrors {}

/// The text as code points with the offsets at which its lines end.
pub(crate) struct Source {
    pub chars: Vec<char>,
    line_ends: Vec<usize>,
}

impl Source {
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let line_ends = chars
            .iter()
            .enumerate()
            .filter(|(_, c)| **c == '\n')
            .map(|(i, _)| i + 1)
            .collect();
        Self { chars, line_ends }
    }

    pub fn location(&self, offset: usize) -> Location {
        let line = self.line_ends.partition_point(|&end| end <= offset);
        let start = if line == 0 { 0 } else { self.line_ends[line - 1] };
        Location {
            line: line as i32 + 1,
            column: (offset - start) as i32,
        }
    }

    fn snippet(&self, line: i32) -> Option<String> {
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        let start = if line == 0 {
            0
        } else {
            *self.line_ends.get(line - 1)?
        };
        let end = self.line_ends.get(line).map_or(self.chars.len(), |end| end - 1);
        Some(self.chars.get(start..end)?.iter().collect())
    }

    fn show(&self, error: &CompileError) -> String {
        let Location { line, column } = error.location;
        let mut out = format!("ERROR: <input>:{line}:{}: {}", column + 1, error.message);
        let Some(snippet) = self.snippet(line).filter(|s| s.len() <= MAX_SNIPPET) else {
            return out;
        };
        let snippet = snippet.replace('\t', " ");
        out.push_str("\n | ");
        out.push_str(&snippet);
        out.push_str("\n | ");
        let mut chars = snippet.chars();
        for _ in 0..column {
            match chars.next() {
                Some(c) if c.len_utf8() > 1 => out.push('\u{ff0e}'),
                Some(_) => out.push('.'),
                None => break,
            }
        }
        out.push(if chars.next().is_some_and(|c| c.len_utf8() > 1) {
            '\u{ff3e}'
        } else {
            '^'
        });
        out
    }
}

/// Collects errors; those beyond the limit are only counted.
#[derive(Default)]
pub(crate) struct Errors {
    errors: Vec<CompileError>,
    count: usize,
}

impl Errors {
    pub fn report(&mut self, location: Location, message: impl Into<String>) {
        self.count += 1;
        if self.count <= MAX_ERRORS {
            self.errors.push(CompileError {
                location,
                message: message.into(),
            });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn finish(mut self, source: &Source) -> CompileErrors {
        self.errors.sort_by_key(|e| e.location);
        let mut shown: Vec<String> = self.errors.iter().map(|e| source.show(e)).collect();
        if self.count > MAX_ERRORS {
            shown.push(format!("{} more errors were truncated", self.count - MAX_ERRORS));
        }
        CompileErrors {
            errors: self.errors,
            shown: shown.join("\n"),
        }
    }
}
