//! Kubernetes' quantities.

use crate::amount::Amount;
use crate::functions::Context;
use crate::value::{Outcome, Value, fail, no_overload};
use meta::Quantity;
use std::cmp::Ordering;

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    match (context.name, args) {
        ("quantity", [Value::String(text)]) => match Amount::parse(text) {
            Some(quantity) => Ok(Value::Quantity(quantity)),
            None => fail(meta::quantity::FORMAT_ERROR),
        },
        ("isQuantity", [Value::String(text)]) => Ok(Value::Bool(Quantity::parse(text).is_some())),
        ("sign", [Value::Quantity(quantity)]) => Ok(Value::Int(quantity.value.cmp(&Quantity::ZERO) as i64)),
        ("asApproximateFloat", [Value::Quantity(quantity)]) => Ok(Value::Double(float(quantity.value))),
        ("asInteger", [Value::Quantity(quantity)]) => match quantity.as_integer() {
            Some(value) => Ok(Value::Int(value)),
            None => fail("cannot convert value to integer"),
        },
        ("isInteger", [Value::Quantity(quantity)]) => Ok(Value::Bool(quantity.as_integer().is_some())),
        ("add", [Value::Quantity(a), b]) => Ok(Value::Quantity(a.plus(operand(b)?))),
        ("sub", [Value::Quantity(a), b]) => Ok(Value::Quantity(a.minus(operand(b)?))),
        _ => no_overload(),
    }
}

fn operand(value: &Value<'_>) -> Outcome<Amount> {
    match value {
        Value::Quantity(quantity) => Ok(*quantity),
        Value::Int(whole) => Ok(Amount::from_whole(*whole)),
        _ => no_overload(),
    }
}

fn float(quantity: Quantity) -> f64 {
    let whole = quantity.value();
    let rest = Quantity::from_whole(whole).minus(quantity);
    if rest.cmp(&Quantity::ZERO) == Ordering::Equal {
        return whole as f64;
    }
    // What was rounded up, in steps of a thousandth, then of a millionth of that.
    let text = quantity.print(meta::quantity::Format::Decimal);
    let (digits, unit) = match text.strip_suffix(['n', 'u', 'm']) {
        Some(digits) => (digits, &text[digits.len()..]),
        None => (&text[..], ""),
    };
    let exponent = match unit {
        "n" => "e-9",
        "u" => "e-6",
        "m" => "e-3",
        _ => "",
    };
    format!("{digits}{exponent}").parse().unwrap_or(whole as f64)
}
