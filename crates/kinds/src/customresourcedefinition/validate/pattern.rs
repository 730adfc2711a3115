//! The syntax of Go's regular expressions (RE2), in which patterns of schemas are written, with Go's own complaints. Only
//! checks; who matches values compiles them himself. Source: the documentation of Go's `regexp/syntax`.

use std::fmt::{Display, Formatter};

/// Nested deeper, an expression is refused.
const HEIGHT_MAX: usize = 1000;
/// More copies of an expression, inner repetitions multiplied, are refused.
const REPEAT_MAX: u64 = 1000;
/// More instructions, counted as Go does, are refused.
const SIZE_MAX: u64 = (128 << 20) / 40;

/// What is wrong with a pattern, and the part that is.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    what: &'static str,
    part: String,
}

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.what, self.part)
    }
}

type Result<T> = std::result::Result<T, Wrong>;

fn wrong<T>(what: &'static str, part: &str) -> Result<T> {
    Err(Wrong {
        what,
        part: part.to_string(),
    })
}

const BAD_RANGE: &str = "invalid character class range";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_CAPTURE: &str = "invalid named capture";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_NESTED_REPEAT: &str = "invalid nested repetition operator";
const BAD_REPEAT: &str = "invalid repeat count";
const NO_BRACKET: &str = "missing closing ]";
const NO_PAREN: &str = "missing closing )";
const NO_ARGUMENT: &str = "missing argument to repetition operator";
const TRAILING: &str = "trailing backslash at end of expression";
const UNEXPECTED_PAREN: &str = "unexpected )";
const TOO_DEEP: &str = "expression nests too deeply";
const TOO_LARGE: &str = "expression too large";

/// Whether Go would take this pattern.
pub(super) fn check(pattern: &str) -> Result<()> {
    let mut parser = Parser {
        whole: pattern,
        stack: Vec::new(),
    };
    let (mut rest, mut last_repeat) = (pattern, "");
    while let Some(first) = rest.chars().next() {
        let before = rest;
        let mut repeat = "";
        match first {
            '(' => rest = parser.open(rest)?,
            '|' => {
                parser.bar()?;
                rest = &rest[1..];
            }
            ')' => {
                parser.close()?;
                rest = &rest[1..];
            }
            '^' | '$' | '.' => rest = parser.atom(&rest[1..])?,
            '[' => {
                let after = class(rest)?;
                rest = parser.atom(after)?;
            }
            '*' | '+' | '?' => {
                let kind = if first == '*' { Repeat::Star } else { Repeat::One };
                rest = parser.repeat(kind, before, &rest[1..], last_repeat)?;
                repeat = before;
            }
            '{' => match counts(rest) {
                None => rest = parser.literal(&rest[1..])?,
                Some((min, max, after)) => {
                    let too_big = |n: Option<u64>| n.is_none_or(|n| n > REPEAT_MAX);
                    let (low, high) = (min.unwrap_or(0), max.flatten());
                    if too_big(min) || max.is_some_and(too_big) || high.is_some_and(|high| low > high) {
                        return wrong(BAD_REPEAT, upto(before, after));
                    }
                    rest = parser.repeat(Repeat::Counted(low, high), before, after, last_repeat)?;
                    repeat = before;
                }
            },
            '\\' => rest = parser.backslash(rest)?,
            c => rest = parser.literal(&rest[c.len_utf8()..])?,
        }
        last_repeat = repeat;
    }
    parser.alternate()?;
    match parser.stack.len() {
        1 => Ok(()),
        _ => wrong(NO_PAREN, pattern),
    }
}

/// What of `text` comes before `rest`, its end.
fn upto<'a>(text: &'a str, rest: &str) -> &'a str {
    &text[..text.len() - rest.len()]
}

/// What counts of a part of an expression.
#[derive(Clone, Copy)]
struct Part {
    kind: Kind,
    height: usize,
    size: u64,
    /// Copies of the innermost part that is repeated.
    copies: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Literal,
    Concat,
    Alternate,
    Other,
}

enum Elem {
    Open { captures: bool },
    Bar,
    Part(Part),
}

enum Repeat {
    Star,
    /// `+` and `?`.
    One,
    /// From this many to that many, or without end.
    Counted(u64, Option<u64>),
}

const ATOM: Part = Part {
    kind: Kind::Other,
    height: 1,
    size: 1,
    copies: 1,
};

struct Parser<'a> {
    whole: &'a str,
    stack: Vec<Elem>,
}

impl<'a> Parser<'a> {
    fn push(&mut self, part: Part) -> Result<()> {
        self.merge_literals();
        self.stack.push(Elem::Part(part));
        self.limits(part)
    }

    fn limits(&self, part: Part) -> Result<()> {
        if part.size > SIZE_MAX {
            return wrong(TOO_LARGE, self.whole);
        }
        if part.height > HEIGHT_MAX {
            return wrong(TOO_DEEP, self.whole);
        }
        Ok(())
    }

    /// The last literal joins the one before it; what comes next may still repeat the newest alone.
    fn merge_literals(&mut self) {
        if let [.., Elem::Part(a), Elem::Part(b)] = self.stack.as_mut_slice()
            && a.kind == Kind::Literal
            && b.kind == Kind::Literal
        {
            a.size += b.size;
            self.stack.pop();
        }
    }

    fn literal(&mut self, rest: &'a str) -> Result<&'a str> {
        let literal = Part {
            kind: Kind::Literal,
            ..ATOM
        };
        self.push(literal).map(|()| rest)
    }

    fn atom(&mut self, rest: &'a str) -> Result<&'a str> {
        self.push(ATOM).map(|()| rest)
    }

    fn open(&mut self, rest: &'a str) -> Result<&'a str> {
        if !rest.starts_with("(?") {
            self.mark(Elem::Open { captures: true });
            return Ok(&rest[1..]);
        }
        let named = if rest.len() > 4 && rest.starts_with("(?P<") {
            Some(4)
        } else if rest.len() > 3 && rest.starts_with("(?<") {
            Some(3)
        } else {
            None
        };
        if let Some(start) = named {
            let Some(end) = rest.find('>') else {
                return wrong(BAD_CAPTURE, rest);
            };
            let name = &rest[start..end];
            if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                return wrong(BAD_CAPTURE, &rest[..=end]);
            }
            self.mark(Elem::Open { captures: true });
            return Ok(&rest[end + 1..]);
        }
        self.flags(rest)
    }

    /// `(?i)`, `(?i-s:`.
    fn flags(&mut self, text: &'a str) -> Result<&'a str> {
        let mut rest = &text[2..];
        let (mut negative, mut seen) = (false, false);
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                'i' | 'm' | 's' | 'U' => seen = true,
                '-' if !negative => {
                    negative = true;
                    seen = false;
                }
                ':' | ')' if !negative || seen => {
                    if c == ':' {
                        self.mark(Elem::Open { captures: false });
                    }
                    return Ok(rest);
                }
                _ => break,
            }
        }
        wrong(BAD_PERL, upto(text, rest))
    }

    fn mark(&mut self, elem: Elem) {
        self.merge_literals();
        self.stack.push(elem);
    }

    /// The parts down to the last mark.
    fn parts(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some(Elem::Part(part)) = self.stack.last() {
            parts.push(*part);
            self.stack.pop();
        }
        parts
    }

    fn concat(&mut self) -> Result<()> {
        self.merge_literals();
        let parts = self.parts();
        self.push(joined(&parts, Kind::Concat))
    }

    fn bar(&mut self) -> Result<()> {
        self.concat()?;
        if !self.swap_bar() {
            self.mark(Elem::Bar);
        }
        Ok(())
    }

    /// What stands above the bar goes below it.
    fn swap_bar(&mut self) -> bool {
        let n = self.stack.len();
        if n >= 2 && matches!(self.stack[n - 2], Elem::Bar) {
            self.stack.swap(n - 2, n - 1);
            return true;
        }
        false
    }

    /// All alternatives since the last parenthesis as one.
    fn alternate(&mut self) -> Result<()> {
        self.concat()?;
        if self.swap_bar() {
            self.stack.pop();
        }
        let parts = self.parts();
        self.push(joined(&parts, Kind::Alternate))
    }

    fn close(&mut self) -> Result<()> {
        self.alternate()?;
        let Some(Elem::Part(part)) = self.stack.pop() else {
            return wrong(UNEXPECTED_PAREN, self.whole);
        };
        match self.stack.pop() {
            Some(Elem::Open { captures: true }) => self.push(Part {
                kind: Kind::Other,
                height: part.height + 1,
                size: part.size + 2,
                ..part
            }),
            Some(Elem::Open { captures: false }) => self.push(part),
            _ => wrong(UNEXPECTED_PAREN, self.whole),
        }
    }

    fn repeat(&mut self, how: Repeat, before: &str, mut after: &'a str, last: &str) -> Result<&'a str> {
        after = after.strip_prefix('?').unwrap_or(after);
        if !last.is_empty() {
            return wrong(BAD_NESTED_REPEAT, upto(last, after));
        }
        let Some(Elem::Part(part)) = self.stack.last_mut() else {
            return wrong(NO_ARGUMENT, upto(before, after));
        };
        let inner = *part;
        let (size, copies) = match how {
            Repeat::Star => (inner.size + 2, inner.copies),
            Repeat::One => (inner.size + 1, inner.copies),
            Repeat::Counted(0, None) => (inner.size + 2, inner.copies),
            Repeat::Counted(min, None) => (
                1 + min.saturating_mul(inner.size),
                min.saturating_mul(inner.copies),
            ),
            Repeat::Counted(_, Some(0)) => (1, 1),
            Repeat::Counted(min, Some(max)) => (
                max.saturating_mul(inner.size) + max - min,
                max.saturating_mul(inner.copies),
            ),
        };
        let repeated = Part {
            kind: Kind::Other,
            height: inner.height + 1,
            size: size.max(1),
            copies,
        };
        *part = repeated;
        self.limits(repeated)?;
        let many = matches!(how, Repeat::Counted(min, max) if min >= 2 || max.is_some_and(|max| max >= 2));
        if many && copies > REPEAT_MAX {
            return wrong(BAD_REPEAT, upto(before, after));
        }
        Ok(after)
    }

    fn backslash(&mut self, text: &'a str) -> Result<&'a str> {
        match text.as_bytes().get(1) {
            Some(b'A' | b'b' | b'B' | b'z') => return self.atom(&text[2..]),
            Some(b'C') => return wrong(BAD_ESCAPE, &text[..2]),
            Some(b'Q') => {
                let (quoted, rest) = text[2..].split_once("\\E").unwrap_or((&text[2..], ""));
                for _ in quoted.chars() {
                    self.literal(rest)?;
                }
                return Ok(rest);
            }
            _ => {}
        }
        if let Some(rest) = unicode_class(text)?.or_else(|| perl_class(text)) {
            return self.atom(rest);
        }
        let (_, rest) = escape(text)?;
        self.literal(rest)
    }
}

/// Parts one after the other, or as alternatives; a single one is itself.
fn joined(parts: &[Part], kind: Kind) -> Part {
    let [first, ..] = parts else { return ATOM };
    if parts.len() == 1 {
        return *first;
    }
    // A part of the same kind dissolves.
    let height = |part: &Part| part.height - usize::from(part.kind == kind);
    let between = if kind == Kind::Alternate {
        parts.len() as u64 - 1
    } else {
        0
    };
    Part {
        kind,
        height: 1 + parts.iter().map(height).max().unwrap_or(0),
        size: parts.iter().map(|part| part.size).sum::<u64>() + between,
        copies: parts.iter().map(|part| part.copies).max().unwrap_or(1),
    }
}

/// `{min}`, `{min,}`, `{min,max}` at the beginning of a text, and what follows. A number too big to be read is `None`;
/// the maximum is `None` as a whole when there is no end, and is the minimum when it is not given.
#[allow(
    clippy::type_complexity,
    reason = "a number that may be too big, one that may be missing as well, the rest"
)]
fn counts(text: &str) -> Option<(Option<u64>, Option<Option<u64>>, &str)> {
    let (min, rest) = number(text.strip_prefix('{')?)?;
    let Some(rest) = rest.strip_prefix(',') else {
        return Some((min, Some(min), rest.strip_prefix('}')?));
    };
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, None, rest));
    }
    let (max, rest) = number(rest)?;
    Some((min, Some(max), rest.strip_prefix('}')?))
}

/// Digits without a leading zero; `None` inside for too many of them.
fn number(text: &str) -> Option<(Option<u64>, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || (digits > 1 && text.starts_with('0')) {
        return None;
    }
    let value = text[..digits].parse().ok().filter(|n| *n < 1_000_000_000);
    Some((value, &text[digits..]))
}

/// A character in brackets; what follows it.
fn class(whole: &str) -> Result<&str> {
    let mut rest = &whole[1..];
    rest = rest.strip_prefix('^').unwrap_or(rest);
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if rest.len() > 2
            && rest.starts_with("[:")
            && let Some(end) = rest[2..].find(":]")
        {
            let (name, after) = rest.split_at(end + 4);
            if !POSIX.contains(&name[2..name.len() - 2].trim_start_matches('^'))
                || name[2..name.len() - 2].starts_with("^^")
            {
                return wrong(BAD_RANGE, name);
            }
            rest = after;
            continue;
        }
        if let Some(after) = unicode_class(rest)?.or_else(|| perl_class(rest)) {
            rest = after;
            continue;
        }
        let range = rest;
        let (low, after) = class_char(rest, whole)?;
        rest = after;
        if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
            let (high, after) = class_char(&rest[1..], whole)?;
            rest = after;
            if high < low {
                return wrong(BAD_RANGE, upto(range, rest));
            }
        }
    }
    Ok(&rest[1..])
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

fn class_char<'a>(text: &'a str, whole: &str) -> Result<(u32, &'a str)> {
    let Some(c) = text.chars().next() else {
        return wrong(NO_BRACKET, whole);
    };
    match c {
        '\\' => escape(text),
        c => Ok((c as u32, &text[c.len_utf8()..])),
    }
}

/// `\d` and its like.
fn perl_class(text: &str) -> Option<&str> {
    let letter = text.strip_prefix('\\')?.bytes().next()?;
    b"dDsSwW".contains(&letter).then(|| &text[2..])
}

/// `\pL`, `\p{Greek}`, `\P{^Greek}`.
fn unicode_class(text: &str) -> Result<Option<&str>> {
    if !text.starts_with("\\p") && !text.starts_with("\\P") {
        return Ok(None);
    }
    let after = &text[2..];
    let Some(c) = after.chars().next() else {
        // Go reads the character that is not there as one that is not valid, of no length.
        return wrong(BAD_RANGE, text);
    };
    let (name, rest) = if c == '{' {
        let Some(end) = text.find('}') else {
            return wrong(BAD_RANGE, text);
        };
        (&text[3..end], &text[end + 1..])
    } else {
        after.split_at(c.len_utf8())
    };
    match super::unicode::is_class(name.strip_prefix('^').unwrap_or(name)) {
        true => Ok(Some(rest)),
        false => wrong(BAD_RANGE, upto(text, rest)),
    }
}

/// A character after a backslash, and what follows.
fn escape(text: &str) -> Result<(u32, &str)> {
    let after = &text[1..];
    let Some(c) = after.chars().next() else {
        return wrong(TRAILING, "");
    };
    let mut rest = &after[c.len_utf8()..];
    let octal = |rest: &str| rest.bytes().next().is_some_and(|b| (b'0'..=b'7').contains(&b));
    let bad = |rest: &str| wrong(BAD_ESCAPE, upto(text, rest));
    match c {
        '0'..='7' if c == '0' || octal(rest) => {
            let mut value = c as u32 - '0' as u32;
            for _ in 0..2 {
                if !octal(rest) {
                    break;
                }
                value = value * 8 + u32::from(rest.as_bytes()[0] - b'0');
                rest = &rest[1..];
            }
            Ok((value, rest))
        }
        'x' => hexadecimal(text, rest),
        'a' => Ok((7, rest)),
        'f' => Ok((12, rest)),
        'n' => Ok((10, rest)),
        'r' => Ok((13, rest)),
        't' => Ok((9, rest)),
        'v' => Ok((11, rest)),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok((c as u32, rest)),
        _ => bad(rest),
    }
}

/// `\x7F`, `\x{10FFFF}`; `rest` is what follows the `x`.
fn hexadecimal<'a>(text: &'a str, mut rest: &'a str) -> Result<(u32, &'a str)> {
    let mut next = || {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        Some((c, rest))
    };
    let Some((first, after)) = next() else {
        return wrong(BAD_ESCAPE, text);
    };
    if first != '{' {
        // Go reads on where nothing is left, as a character of no length.
        let (second, after) = next().unwrap_or(('\u{fffd}', after));
        return match (first.to_digit(16), second.to_digit(16)) {
            (Some(high), Some(low)) => Ok((high * 16 + low, after)),
            _ => wrong(BAD_ESCAPE, upto(text, after)),
        };
    }
    let (mut value, mut digits, mut end) = (0, 0, after);
    while let Some((c, after)) = next() {
        end = after;
        match c.to_digit(16) {
            None if c == '}' && digits > 0 => return Ok((value, after)),
            Some(digit) if value * 16 + digit <= char::MAX as u32 => {
                value = value * 16 + digit;
                digits += 1;
            }
            _ => break,
        }
    }
    wrong(BAD_ESCAPE, upto(text, end))
}
