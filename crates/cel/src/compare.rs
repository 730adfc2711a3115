//! Equality, order and arithmetic of values.

use crate::time::Duration;
use crate::value::{Outcome, Text, Value, fail, no_overload};
use std::cmp::Ordering;

/// `a == b`. Numbers of different types are equal when they are the same number; values of other different types are not
/// equal, or an error where the left side's type says so.
pub(crate) fn equal<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<bool> {
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => numbers(a, b) == Some(Ordering::Equal),
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a.runtime_name() == b.runtime_name(),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b)?,
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::List(a), b) => a.equal(b)?,
        (Value::Map(a), b) => a.equal(b)?,
        (Value::Struct(a), Value::Struct(b)) => {
            let mut same = a.name == b.name && a.fields.len() == b.fields.len();
            for (name, value) in &a.fields {
                same = same && b.field(name).map_or(Ok(false), |theirs| equal(value, theirs))?;
            }
            same
        }
        (Value::Quantity(a), Value::Quantity(b)) => a.value == b.value,
        (Value::Url(a), Value::Url(b)) => a.text == b.text,
        (Value::Semver(a), Value::Semver(b)) => a.order(b) == Ordering::Equal,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        (Value::Format(a), Value::Format(b)) => a.name == b.name,
        (Value::Unknown(a), Value::Unknown(b)) => a == b,
        (
            Value::Quantity(_)
            | Value::Url(_)
            | Value::Semver(_)
            | Value::Ip(_)
            | Value::Cidr(_)
            | Value::Format(_)
            | Value::Authz(_),
            _,
        ) => return no_overload(),
        _ => false,
    })
}

/// The order of two numbers; `None` with NaN.
fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Double(a), Value::Int(b)) => double_order(*a, i128::from(*b)),
        (Value::Double(a), Value::Uint(b)) => double_order(*a, i128::from(*b)),
        (Value::Int(a), Value::Double(b)) => double_order(*b, i128::from(*a)).map(Ordering::reverse),
        (Value::Uint(a), Value::Double(b)) => double_order(*b, i128::from(*a)).map(Ordering::reverse),
        _ => None,
    }
}

/// A double and a whole number, which is compared as a double where it is in the double's range.
fn double_order(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    a.partial_cmp(&(b as f64))
}

/// How `a` compares to `b`; an error for values without an order.
pub(crate) fn order<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<Ordering> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => (**a).cmp(&**b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => match numbers(a, b) {
            Some(order) => order,
            None => return fail("NaN values cannot be ordered"),
        },
        _ => return no_overload(),
    })
}

fn int<'a>(value: Option<i64>) -> Outcome<Value<'a>> {
    value.map_or_else(|| fail("integer overflow"), |value| Ok(Value::Int(value)))
}

fn uint<'a>(value: Option<u64>) -> Outcome<Value<'a>> {
    value.map_or_else(
        || fail("unsigned integer overflow"),
        |value| Ok(Value::Uint(value)),
    )
}

pub(crate) fn add<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Ok(Value::String(Text::Shared(text.into())))
        }
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&**a, &**b].concat().into())),
        (Value::List(a), Value::List(b)) => a.plus(b).map(Value::List),
        (Value::Duration(a), Value::Duration(b)) => a.plus(*b).map(Value::Duration),
        (Value::Duration(d), Value::Timestamp(t)) | (Value::Timestamp(t), Value::Duration(d)) => {
            t.plus(*d).map(Value::Timestamp)
        }
        _ => no_overload(),
    }
}

pub(crate) fn subtract<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => a.minus(*b).map(Value::Duration),
        (Value::Timestamp(a), Value::Duration(b)) => a.minus_duration(*b).map(Value::Timestamp),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.minus(*b).map(Value::Duration),
        _ => no_overload(),
    }
}

pub(crate) fn multiply<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<Value<'a>> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => no_overload(),
    }
}

pub(crate) fn divide<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<Value<'a>> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => fail("division by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a / b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => no_overload(),
    }
}

pub(crate) fn modulo<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<Value<'a>> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => fail("modulus by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a % b)),
        _ => no_overload(),
    }
}

pub(crate) fn negate<'a>(value: &Value<'a>) -> Outcome<Value<'a>> {
    match value {
        Value::Int(value) => int(value.checked_neg()),
        Value::Double(value) => Ok(Value::Double(-value)),
        Value::Duration(value) => Ok(Value::Duration(match value.0.checked_neg() {
            Some(nanos) => Duration(nanos),
            None => return fail("integer overflow"),
        })),
        _ => no_overload(),
    }
}

/// Whether `optional.ofNonZeroValue` takes the value for none.
pub(crate) fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Duration(value) => value.0 == 0,
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Struct(object) => object.fields.is_empty(),
        Value::Optional(value) => value.as_ref().is_none_or(|value| is_zero(value)),
        _ => false,
    }
}

/// Whether `container` holds `item`: `item in container`.
pub(crate) fn is_in<'a>(item: &Value<'a>, container: &Value<'a>) -> Outcome<bool> {
    match container {
        Value::List(list) => list.contains(item),
        Value::Map(map) => Ok(map.find(item)?.is_some()),
        _ => no_overload(),
    }
}

pub(crate) fn shared(items: Vec<Value<'_>>) -> Value<'_> {
    Value::List(crate::list::List::made(items))
}
