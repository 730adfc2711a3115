//! Conversions between types: `int(x)`, `string(x)`, `duration(x)`, …

use crate::time::{Duration, Timestamp};
use crate::value::{Outcome, Value, fail, no_overload};
use std::sync::Arc;

/// The functions that are conversions; those of constants are done when an expression is planned.
pub(crate) const CONVERSIONS: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
];

const INT: &str = "integer overflow";
const UINT: &str = "unsigned integer overflow";

/// `name(value)` for a conversion function.
pub(crate) fn convert<'a>(name: &str, value: &Value<'a>) -> Outcome<Value<'a>> {
    match name {
        "bool" => to_bool(value),
        "bytes" => to_bytes(value),
        "double" => to_double(value),
        "duration" => to_duration(value),
        "int" => to_int(value),
        "string" => to_string(value),
        "timestamp" => to_timestamp(value),
        "uint" => to_uint(value),
        "type" => Ok(Value::Type(Arc::new(value.kind()))),
        _ => Ok(value.clone()),
    }
}

fn impossible<'a>(to: &str) -> Outcome<Value<'a>> {
    fail(format!("type conversion error from 'string' to '{to}'"))
}

fn to_bool<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => impossible("bool"),
        },
        _ => no_overload(),
    }
}

fn to_bytes<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(text.as_bytes().into())),
        _ => no_overload(),
    }
}

fn to_double<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(value) => Ok(Value::Double(*value as f64)),
        Value::Uint(value) => Ok(Value::Double(*value as f64)),
        Value::String(text) => match parse_double(text) {
            Some(value) => Ok(Value::Double(value)),
            None => impossible("double"),
        },
        _ => no_overload(),
    }
}

/// Reads a number as Go does: no white space, no overflow to infinity.
fn parse_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = text.parse::<f64>().ok()?;
    let named = unsigned.starts_with(|c: char| c.is_ascii_alphabetic());
    (value.is_finite() || named).then_some(value)
}

fn to_duration<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::Int(_) => fail("type conversion error from 'int' to 'google.protobuf.Duration'"),
        Value::String(text) => match Duration::parse(text) {
            Some(duration) => Ok(Value::Duration(duration)),
            None => impossible("google.protobuf.Duration"),
        },
        _ => no_overload(),
    }
}

fn to_timestamp<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => Timestamp::from_seconds(*seconds).map(Value::Timestamp),
        Value::String(text) => match Timestamp::parse(text) {
            Some(timestamp) => timestamp.map(Value::Timestamp),
            None => impossible("google.protobuf.Timestamp"),
        },
        _ => no_overload(),
    }
}

fn to_int<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(value) => i64::try_from(*value).map_or_else(|_| fail(INT), |value| Ok(Value::Int(value))),
        Value::Double(value)
            if *value > -9_223_372_036_854_775_808.0 && *value < 9_223_372_036_854_775_807.0 =>
        {
            Ok(Value::Int(*value as i64))
        }
        Value::Double(_) => fail(INT),
        Value::Duration(value) => Ok(Value::Int(value.0)),
        Value::Timestamp(value) => Ok(Value::Int(value.seconds)),
        Value::String(text) => text
            .parse()
            .map_or_else(|_| impossible("int"), |value| Ok(Value::Int(value))),
        _ => no_overload(),
    }
}

fn to_uint<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(value) => {
            u64::try_from(*value).map_or_else(|_| fail(UINT), |value| Ok(Value::Uint(value)))
        }
        Value::Double(value) if *value >= 0.0 && *value < 18_446_744_073_709_551_615.0 => {
            Ok(Value::Uint(*value as u64))
        }
        Value::Double(_) => fail(UINT),
        Value::String(text) if !text.starts_with('+') => text
            .parse()
            .map_or_else(|_| impossible("uint"), |value| Ok(Value::Uint(value))),
        Value::String(_) => impossible("uint"),
        _ => no_overload(),
    }
}

fn to_string<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Duration(_)
        | Value::Timestamp(_) => Ok(Value::text(value.to_string())),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Ip(ip) => Ok(Value::text(ip.to_string())),
        Value::Cidr(cidr) => Ok(Value::text(cidr.to_string())),
        _ => no_overload(),
    }
}

/// A double as Go prints it with `%g`: the fewest digits that tell it apart.
pub(crate) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
