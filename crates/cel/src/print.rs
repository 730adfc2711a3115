//! `text.format([values])`: cel-go's formatting, without locales.

use crate::convert::double_text;
use crate::eval::MAX_TEXT;
use crate::functions::Context;
use crate::value::{EvalError, Outcome, Value, fail, no_overload};

/// How many digits behind the point are printed at most.
const MAX_PRECISION: usize = 1000;
/// How deep what is printed can be nested.
const MAX_DEPTH: u32 = 100;

pub(crate) fn call<'a>(_: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    let [Value::String(template), Value::List(values)] = args else {
        return no_overload();
    };
    let mut out = String::new();
    let mut rest = &**template;
    let mut used = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        if used >= values.len() {
            return fail(format!("index {used} out of range"));
        }
        if rest.is_empty() {
            return fail("unexpected end of string");
        }
        let (verb, precision, after) = clause(rest)?;
        rest = after;
        let value = values.get(used)?;
        used += 1;
        match print(verb, precision, &value) {
            Ok(text) => out.push_str(&text),
            Err(EvalError::Failed(reason)) => return fail(format!("error during formatting: {reason}")),
            Err(error) => return Err(error),
        }
        if out.len() > MAX_TEXT {
            return Err(EvalError::CostExceeded);
        }
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

/// A clause's verb, its precision and what comes after it.
pub(crate) fn clause(text: &str) -> Outcome<(char, Option<usize>, &str)> {
    let wrong = |reason: String| fail(format!("could not parse formatting clause: {reason}"));
    let (precision, rest) = match text.strip_prefix('.') {
        Some(digits) => {
            let Some(end) = digits.find(|c: char| !c.is_ascii_digit()) else {
                return wrong(
                    "error while parsing precision: could not find end of precision specifier".to_string(),
                );
            };
            let Ok(precision) = digits[..end].parse::<usize>() else {
                let number = crate::strings::quoted(&digits[..end]);
                return wrong(format!(
                    "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \
                     {number}: invalid syntax"
                ));
            };
            (Some(precision.min(MAX_PRECISION)), &digits[end..])
        }
        None => (None, text),
    };
    let Some(verb) = rest.chars().next() else {
        return wrong("unexpected end of string".to_string());
    };
    if !matches!(verb, 's' | 'd' | 'f' | 'e' | 'b' | 'x' | 'X' | 'o') {
        return wrong(format!("unrecognized formatting clause \"{verb}\""));
    }
    Ok((verb, precision, &rest[verb.len_utf8()..]))
}

fn print(verb: char, precision: Option<usize>, value: &Value<'_>) -> Outcome<String> {
    let kind = value.kind();
    let kind = kind.runtime_name();
    match (verb, value) {
        ('s', value) => {
            let mut out = String::new();
            text(value, 0, &mut out)?;
            Ok(out)
        }
        ('d', Value::Int(value)) => Ok(value.to_string()),
        ('d', Value::Uint(value)) => Ok(value.to_string()),
        ('d', _) => fail(format!(
            "decimal clause can only be used on integers, was given {kind}"
        )),
        ('f', value) => match double(value) {
            Some(value) if value.is_finite() => Ok(grouped(&format!("{value:.*}", precision.unwrap_or(6)))),
            Some(value) => Ok(not_finite(value)),
            None => fail(format!(
                "fixed-point clause can only be used on doubles, was given {kind}"
            )),
        },
        ('e', value) => match double(value) {
            Some(value) if value.is_finite() => Ok(scientific(value, precision.unwrap_or(6))),
            Some(value) => Ok(not_finite(value)),
            None => fail(format!(
                "scientific clause can only be used on doubles, was given {kind}"
            )),
        },
        ('b', Value::Int(value)) => Ok(signed(*value, |n| format!("{n:b}"))),
        ('b', Value::Uint(value)) => Ok(format!("{value:b}")),
        ('b', Value::Bool(value)) => Ok(if *value { "1" } else { "0" }.to_string()),
        ('b', _) => fail(format!(
            "only integers and bools can be formatted as binary, was given {kind}"
        )),
        ('o', Value::Int(value)) => Ok(signed(*value, |n| format!("{n:o}"))),
        ('o', Value::Uint(value)) => Ok(format!("{value:o}")),
        ('o', _) => fail(format!(
            "octal clause can only be used on integers, was given {kind}"
        )),
        (verb, value) => {
            let hex = match value {
                Value::Int(value) => signed(*value, |n| format!("{n:x}")),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => text.bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
                _ => {
                    return fail(format!(
                        "only integers, byte buffers, and strings can be formatted as hex, was given {kind}"
                    ));
                }
            };
            Ok(if verb == 'X' { hex.to_uppercase() } else { hex })
        }
    }
}

fn signed(value: i64, print: impl Fn(u64) -> String) -> String {
    let digits = print(value.unsigned_abs());
    if value < 0 { format!("-{digits}") } else { digits }
}

fn named(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::String(text) => named(text),
        _ => None,
    }
}

fn not_finite(value: f64) -> String {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "\u{221e}"
    } else {
        "-\u{221e}"
    }
    .to_string()
}

/// The number with a comma between thousands.
fn grouped(number: &str) -> String {
    let (sign, number) = number
        .strip_prefix('-')
        .map_or(("", number), |number| ("-", number));
    let (whole, fraction) = number
        .split_once('.')
        .map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = sign.to_string();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// What is given as precision is the width; six digits are always printed behind the point.
fn scientific(value: f64, width: usize) -> String {
    let text = format!("{value:.6e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    // As the printer for people does it: ten with a raised exponent.
    let text = format!(
        "{digits}\u{d7}10{}",
        superscript(sign, &format!("{:02}", exponent.abs()))
    );
    format!("{text:>width$}")
}

fn superscript(sign: char, digits: &str) -> String {
    const DIGITS: [char; 10] = [
        '\u{2070}', '\u{b9}', '\u{b2}', '\u{b3}', '\u{2074}', '\u{2075}', '\u{2076}', '\u{2077}', '\u{2078}',
        '\u{2079}',
    ];
    let raised = digits.bytes().map(|b| DIGITS[usize::from(b - b'0')]);
    let sign = (sign == '-').then_some('\u{207b}');
    sign.into_iter().chain(raised).collect()
}

/// `%s`: any value, lists and maps with their items.
fn text(value: &Value<'_>, depth: u32, out: &mut String) -> Outcome<()> {
    if depth > MAX_DEPTH || out.len() > MAX_TEXT {
        return Err(EvalError::CostExceeded);
    }
    match value {
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                element(&item?, depth + 1, out)?;
            }
            out.push(']');
            Ok(())
        }
        Value::Map(map) => {
            let mut entries = Vec::new();
            for entry in map.pairs() {
                let (key, value) = entry?;
                if !matches!(
                    key,
                    Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)
                ) {
                    let kind = key.kind();
                    return fail(format!(
                        "no formatting function for map key of type {}",
                        kind.runtime_name()
                    ));
                }
                let (mut name, mut shown) = (String::new(), String::new());
                element(&key, depth + 1, &mut name)?;
                element(&value, depth + 1, &mut shown)?;
                entries.push((name, shown));
            }
            entries.sort();
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{name}:{value}"))
                .collect();
            out.push('{');
            out.push_str(&entries.join(", "));
            out.push('}');
            Ok(())
        }
        Value::String(_)
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Bytes(_)
        | Value::Type(_)
        | Value::Duration(_)
        | Value::Timestamp(_)
        | Value::Null => {
            out.push_str(&value.to_string());
            Ok(())
        }
        other => {
            let kind = other.kind();
            fail(format!("{STRING_CLAUSE}, was given {}", kind.runtime_name()))
        }
    }
}

pub(crate) const STRING_CLAUSE: &str = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, \
                                        lists, types, durations, and timestamps";

/// A value within a list or map: written so that an expression could read it.
fn element(value: &Value<'_>, depth: u32, out: &mut String) -> Outcome<()> {
    match value {
        Value::String(text) => out.push_str(&crate::strings::quoted(text)),
        Value::Bytes(bytes) => {
            out.push('b');
            out.push_str(&crate::strings::quoted(&String::from_utf8_lossy(bytes)));
        }
        Value::Double(value) if value.is_finite() => out.push_str(&format!("{value:.6}")),
        Value::Double(value) => out.push_str(&crate::strings::quoted(&double_text(*value))),
        Value::Duration(_) => out.push_str(&format!("duration(\"{value}\")")),
        Value::Timestamp(_) => out.push_str(&format!("timestamp(\"{value}\")")),
        Value::List(_)
        | Value::Map(_)
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Type(_)
        | Value::Null => {
            return text(value, depth, out);
        }
        other => {
            let kind = other.kind();
            return fail(format!("no formatting function for {}", kind.runtime_name()));
        }
    }
    Ok(())
}
