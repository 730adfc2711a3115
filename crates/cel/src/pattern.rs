//! Regular expressions: RE2's syntax and meaning on the `regex` crate, in linear time and with a bound on size.

use crate::functions::Context;
use crate::value::{Outcome, Value, fail, no_overload};
use regex::{Regex, RegexBuilder};

/// How large a compiled pattern can be.
const MAX_SIZE: usize = 8 * 1024 * 1024;
/// How deep a pattern's groups can be nested.
const MAX_NESTING: u32 = 200;

/// Compiles a pattern; errors begin as Go's do.
pub(crate) fn compile(pattern: &str) -> Outcome<Regex> {
    if let Some(operator) = repeated_repetition(pattern) {
        return fail(format!(
            "error parsing regexp: invalid nested repetition operator: `{operator}`"
        ));
    }
    let built = RegexBuilder::new(&ascii_classes(pattern))
        .size_limit(MAX_SIZE)
        .nest_limit(MAX_NESTING)
        .build();
    match built {
        Ok(regex) => Ok(regex),
        Err(error) => fail(format!("error parsing regexp: {}", reason(pattern, &error))),
    }
}

/// Why a pattern is wrong, in Go's words where they can be told.
fn reason(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let has = |part: &str| text.contains(part);
    if has("unclosed group") {
        format!("missing closing ): `{pattern}`")
    } else if has("unopened group") {
        format!("unexpected ): `{pattern}`")
    } else if has("unclosed character class") {
        let from = pattern.rfind('[').unwrap_or(0);
        format!("missing closing ]: `{}`", &pattern[from..])
    } else if has("missing expression") {
        let operator: String = pattern
            .chars()
            .filter(|c| matches!(c, '*' | '+' | '?'))
            .take(1)
            .collect();
        format!("missing argument to repetition operator: `{operator}`")
    } else if has("exceeds size limit") {
        "expression too large".to_string()
    } else if has("look-around") {
        let from = pattern.find("(?").unwrap_or(0);
        let end = pattern.len().min(from + 3);
        format!(
            "invalid or unsupported Perl syntax: `{}`",
            pattern.get(from..end).unwrap_or("(?")
        )
    } else if has("escape") || has("backreference") {
        let from = pattern.find('\\').unwrap_or(0);
        let escape: String = pattern[from..].chars().take(2).collect();
        format!("invalid escape sequence: `{escape}`")
    } else {
        format!("invalid pattern: `{pattern}`")
    }
}

/// A repetition of a repetition without a group in between, which RE2 refuses.
fn repeated_repetition(pattern: &str) -> Option<String> {
    let mut at = 0;
    let mut before: Option<usize> = None;
    let mut in_class = false;
    while let Some(c) = pattern[at..].chars().next() {
        let start = at;
        at += c.len_utf8();
        if c == '\\' {
            at += pattern[at..].chars().next().map_or(0, char::len_utf8);
        }
        match c {
            '[' if !in_class => {
                in_class = true;
                before = None;
                // The first bracket of a class closes nothing.
                let rest = pattern[at..].strip_prefix('^').unwrap_or(&pattern[at..]);
                at = pattern.len() - rest.strip_prefix(']').unwrap_or(rest).len();
            }
            ']' if in_class => {
                in_class = false;
                before = None;
            }
            '*' | '+' | '?' if !in_class => {
                if let Some(first) = before {
                    return Some(pattern[first..at].to_string());
                }
                before = Some(start);
                at = after_lazy(pattern, at);
            }
            '{' if !in_class => match repetition(&pattern[start..]) {
                Some(length) => {
                    at = start + length;
                    if let Some(first) = before {
                        return Some(pattern[first..at].to_string());
                    }
                    before = Some(start);
                    at = after_lazy(pattern, at);
                }
                None => before = None,
            },
            _ => before = None,
        }
    }
    None
}

fn after_lazy(pattern: &str, at: usize) -> usize {
    at + usize::from(pattern[at..].starts_with('?'))
}

/// The length of `{n}`, `{n,}` or `{n,m}`.
fn repetition(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let (from, to) = text[1..end].split_once(',').unwrap_or((&text[1..end], ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (!from.is_empty() && digits(from) && digits(to)).then_some(end + 1)
}

/// RE2's `\d`, `\w`, `\s` and `\b` know ASCII only.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(escaped) = chars.next() else {
                    out.push('\\');
                    break;
                };
                match (escaped, in_class) {
                    ('d', false) => out.push_str("[0-9]"),
                    ('d', true) => out.push_str("0-9"),
                    ('D', _) => out.push_str("[^0-9]"),
                    ('w', false) => out.push_str("[0-9A-Za-z_]"),
                    ('w', true) => out.push_str("0-9A-Za-z_"),
                    ('W', _) => out.push_str("[^0-9A-Za-z_]"),
                    ('s', false) => out.push_str("[\\t\\n\\x0C\\r ]"),
                    ('s', true) => out.push_str("\\t\\n\\x0C\\r\\x20"),
                    ('S', _) => out.push_str("[^\\t\\n\\x0C\\r ]"),
                    ('b', false) => out.push_str("(?-u:\\b)"),
                    ('Q', _) => quote(&mut chars, &mut out),
                    (other, _) => {
                        out.push('\\');
                        out.push(other);
                    }
                }
            }
            '[' if in_class && chars.peek() != Some(&':') => out.push_str("\\["),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' => {
                // A class by name, `[:alpha:]`.
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '{' if !in_class => {
                let rest: String = std::iter::once('{').chain(chars.clone()).take(16).collect();
                out.push_str(if repetition(&rest).is_some() { "{" } else { "\\{" });
            }
            // Operators that classes of the `regex` crate have and RE2's have not.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            other => out.push(other),
        }
    }
    out
}

/// `\Q…\E`: everything stands for itself.
fn quote(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            return;
        }
        out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }
}

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    let (Some(Value::String(text)), Some(Value::String(pattern))) = (args.first(), args.get(1)) else {
        return no_overload();
    };
    let made;
    let regex = match context.regex {
        Some(regex) => regex,
        None => {
            made = match (compile(pattern), context.name) {
                (Err(error), "find" | "findAll") => return fail(format!("Illegal regex: {error}")),
                (made, _) => made?,
            };
            &made
        }
    };
    match (context.name, args.get(2)) {
        ("matches", None) => Ok(Value::Bool(regex.is_match(text))),
        ("find", None) => Ok(Value::text(regex.find(text).map_or("", |found| found.as_str()))),
        ("findAll", None) => find_all(regex, text, usize::MAX),
        ("findAll", Some(Value::Int(limit))) => {
            find_all(regex, text, usize::try_from(*limit).unwrap_or(usize::MAX))
        }
        _ => no_overload(),
    }
}

fn find_all<'a>(regex: &Regex, text: &str, limit: usize) -> Outcome<Value<'a>> {
    let found = regex
        .find_iter(text)
        .take(limit)
        .map(|found| Value::text(found.as_str()));
    Ok(crate::compare::shared(found.collect()))
}
