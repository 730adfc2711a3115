//! Functions of strings: cel-go's `strings` extension, version 2.

use crate::eval::MAX_TEXT;
use crate::functions::Context;
use crate::value::{EvalError, Outcome, Text, Value, fail, no_overload};

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    match (context.name, args) {
        ("charAt", [Value::String(text), Value::Int(at)]) => char_at(text, *at),
        ("indexOf", [Value::String(text), Value::String(part)]) => index_of(text, part, 0),
        ("indexOf", [Value::String(text), Value::String(part), Value::Int(from)]) => {
            index_of(text, part, *from)
        }
        ("lastIndexOf", [Value::String(text), Value::String(part)]) => match part.is_empty() {
            true => Ok(Value::Int(text.chars().count() as i64)),
            false if text.len() < part.len() => Ok(Value::Int(-1)),
            false => last_index_of(text, part, text.chars().count() as i64 - 1),
        },
        ("lastIndexOf", [Value::String(text), Value::String(part), Value::Int(from)]) => {
            last_index_of(text, part, *from)
        }
        ("indexOf" | "lastIndexOf", [Value::List(_), _]) => crate::lists::call(context, args),
        ("lowerAscii", [Value::String(text)]) => Ok(Value::text(text.to_ascii_lowercase())),
        ("upperAscii", [Value::String(text)]) => Ok(Value::text(text.to_ascii_uppercase())),
        ("trim", [Value::String(text)]) => Ok(Value::text(text.trim())),
        ("replace", [Value::String(text), Value::String(old), Value::String(new)]) => {
            replace(text, old, new, -1)
        }
        (
            "replace",
            [
                Value::String(text),
                Value::String(old),
                Value::String(new),
                Value::Int(limit),
            ],
        ) => replace(text, old, new, *limit),
        ("split", [Value::String(text), Value::String(separator)]) => split(text, separator, -1),
        ("split", [Value::String(text), Value::String(separator), Value::Int(limit)]) => {
            split(text, separator, *limit)
        }
        ("substring", [Value::String(text), Value::Int(from)]) => {
            let length = text.chars().count() as i64;
            if (0..=length).contains(from) {
                substring(text, *from, length)
            } else {
                out_of_range(*from)
            }
        }
        ("substring", [Value::String(text), Value::Int(from), Value::Int(to)]) => {
            if from > to {
                return fail(format!("invalid substring range. start: {from}, end: {to}"));
            }
            substring(text, *from, *to)
        }
        ("strings.quote", [Value::String(text)]) => Ok(Value::text(quoted(text))),
        ("join", [Value::List(list)]) => join(list, ""),
        ("join", [Value::List(list), Value::String(separator)]) => join(list, separator),
        ("contains", [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.contains(&**part))),
        ("startsWith", [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.starts_with(&**part)))
        }
        ("endsWith", [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        // What the tilde stands for is put in for tildes of the text only.
        ("jsonpatch.escapeKey", [Value::String(text)]) => {
            Ok(Value::text(text.replace('~', "~0").replace('/', "~1")))
        }
        _ => no_overload(),
    }
}

fn out_of_range<'a>(at: i64) -> Outcome<Value<'a>> {
    fail(format!("index out of range: {at}"))
}

fn char_at<'a>(text: &str, at: i64) -> Outcome<Value<'a>> {
    let length = text.chars().count();
    match usize::try_from(at) {
        Ok(at) if at <= length => Ok(Value::text(
            text.chars().nth(at).map(String::from).unwrap_or_default(),
        )),
        _ => out_of_range(at),
    }
}

/// The byte at which the character number `at` starts.
fn byte_of(text: &str, at: usize) -> usize {
    text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte)
}

fn index_of<'a>(text: &str, part: &str, from: i64) -> Outcome<Value<'a>> {
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    let Ok(start) = usize::try_from(from) else {
        return out_of_range(from);
    };
    let start = byte_of(text, start);
    let found = text[start..]
        .find(part)
        .map(|byte| text[..start + byte].chars().count() as i64);
    Ok(Value::Int(found.unwrap_or(-1)))
}

fn last_index_of<'a>(text: &str, part: &str, from: i64) -> Outcome<Value<'a>> {
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    let Ok(start) = usize::try_from(from) else {
        return out_of_range(from);
    };
    if start >= text.chars().count() {
        return Ok(Value::Int(-1));
    }
    // A match may begin at `start` at the latest, so it ends no later than this.
    let end = (byte_of(text, start) + part.len()).min(text.len());
    let end = (end..=text.len())
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(text.len());
    let last = text[..end]
        .rmatch_indices(part)
        .find(|(byte, _)| *byte <= byte_of(text, start));
    Ok(Value::Int(
        last.map_or(-1, |(byte, _)| text[..byte].chars().count() as i64),
    ))
}

fn replace<'a>(text: &Text<'a>, old: &str, new: &str, limit: i64) -> Outcome<Value<'a>> {
    let times = match usize::try_from(limit) {
        Ok(limit) => limit,
        Err(_) => usize::MAX,
    };
    let found = if old.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(old).count()
    };
    let length = found
        .min(times)
        .saturating_mul(new.len())
        .saturating_add(text.len());
    if length > MAX_TEXT {
        return Err(EvalError::CostExceeded);
    }
    Ok(if times == usize::MAX {
        Value::text(text.replace(old, new))
    } else {
        Value::text(text.replacen(old, new, times))
    })
}

fn split<'a>(text: &str, separator: &str, limit: i64) -> Outcome<Value<'a>> {
    let limit = match usize::try_from(limit) {
        Ok(limit) => limit,
        Err(_) => usize::MAX,
    };
    let parts: Vec<Value<'a>> = if limit == 0 {
        Vec::new()
    } else if separator.is_empty() {
        let count = text.chars().count();
        let mut parts: Vec<String> = text.chars().take(limit - 1).map(String::from).collect();
        if count > parts.len() {
            parts.push(text[byte_of(text, parts.len())..].to_string());
        }
        if parts.len() == limit || limit == usize::MAX || parts.len() == count {
            parts.into_iter().map(Value::text).collect()
        } else {
            text.chars().map(|c| Value::text(String::from(c))).collect()
        }
    } else {
        text.splitn(limit, separator).map(Value::text).collect()
    };
    Ok(crate::compare::shared(parts))
}

fn substring<'a>(text: &str, from: i64, to: i64) -> Outcome<Value<'a>> {
    let length = text.chars().count() as i64;
    for at in [from, to] {
        if !(0..=length).contains(&at) {
            return out_of_range(at);
        }
    }
    let (from, to) = (byte_of(text, from as usize), byte_of(text, to as usize));
    Ok(Value::text(&text[from..to]))
}

fn join<'a>(list: &crate::list::List<'a>, separator: &str) -> Outcome<Value<'a>> {
    let mut out = String::new();
    for (at, item) in list.iter().enumerate() {
        let item = item?;
        let Some(text) = item.as_str() else {
            return no_overload();
        };
        if at > 0 {
            out.push_str(separator);
        }
        out.push_str(text);
        if out.len() > MAX_TEXT {
            return Err(EvalError::CostExceeded);
        }
    }
    Ok(Value::text(out))
}

/// The text between double quotes, escaped as in an expression.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
