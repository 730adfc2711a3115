//! Numbers against their bounds. Upstream compares integers as such and all else as floats, and prints both as Go does.

use super::structure::Kind;
use super::validate::Checks;
use serde_json::Number;

/// What is said of a number, or of what it may be at all.
pub enum Said {
    /// Follows the path: `should be less than …`.
    OfValue(String),
    /// A sentence of its own.
    OfRange(String),
}

/// JSON's largest whole number without loss.
const MAX_WHOLE: f64 = 9_007_199_254_740_991.0;

/// Whether a float stands for an integer.
pub fn is_whole(n: f64) -> bool {
    if !n.is_finite() || n.abs() > MAX_WHOLE {
        return false;
    }
    let apart = (n - n.trunc()).abs();
    apart < f64::EPSILON || apart < 1e-9 * n.abs().max(f64::EPSILON)
}

/// All that is wrong with `n`, the bounds in upstream's order.
pub fn problems(checks: &Checks, kind: Kind, n: &Number, path: &str) -> Vec<Said> {
    let mut said = Vec::new();
    if let Some(text) = out_of_range(&checks.format, kind, n, path) {
        said.push(Said::OfRange(text));
    }
    if let Some(factor) = checks.multiple_of {
        said.extend(not_multiple(n, factor).map(Said::OfValue));
    }
    let bound = |low: bool, limit: f64, exclusive: bool| {
        let beyond = match n.as_i64() {
            Some(value) => out(value.cmp(&(limit as i64)), low, exclusive),
            None => n
                .as_f64()
                .and_then(|value| value.partial_cmp(&limit))
                .is_some_and(|order| out(order, low, exclusive)),
        };
        let shown = match n.as_i64() {
            Some(_) => (limit as i64).to_string(),
            None => go_float(limit),
        };
        let words = match (low, exclusive) {
            (true, false) => "greater than or equal to",
            (true, true) => "greater than",
            (false, false) => "less than or equal to",
            (false, true) => "less than",
        };
        beyond.then(|| Said::OfValue(format!("should be {words} {shown}")))
    };
    if let Some(limit) = checks.minimum {
        said.extend(bound(true, limit, checks.exclusive_minimum));
    }
    if let Some(limit) = checks.maximum {
        said.extend(bound(false, limit, checks.exclusive_maximum));
    }
    said
}

fn out(order: std::cmp::Ordering, low: bool, exclusive: bool) -> bool {
    let order = if low { order.reverse() } else { order };
    order.is_gt() || (exclusive && order.is_eq())
}

fn not_multiple(n: &Number, factor: f64) -> Option<String> {
    let positive = |shown: String| format!("must be positive: {shown}");
    match n.as_i64() {
        Some(value) => {
            let factor = factor as i64;
            if factor <= 0 {
                return Some(positive(factor.to_string()));
            }
            (value % factor != 0).then(|| format!("should be a multiple of {factor}"))
        }
        None => {
            if factor <= 0.0 {
                return Some(positive(go_float(factor)));
            }
            let value = n.as_f64()?;
            let times = if factor < 1.0 {
                1.0 / factor * value
            } else {
                value / factor
            };
            (!is_whole(times)).then(|| format!("should be a multiple of {}", go_float(factor)))
        }
    }
}

fn out_of_range(format: &str, kind: Kind, n: &Number, path: &str) -> Option<String> {
    let fits = match (kind, format) {
        (Kind::Integer, "int32") => {
            n.as_i64().is_some_and(|v| i32::try_from(v).is_ok()) || whole_in(n, 2_147_483_648.0)
        }
        (Kind::Integer, _) => n.is_i64() || whole_in(n, 9_223_372_036_854_775_808.0),
        (Kind::Number, "float") => n.as_f64().is_some_and(|v| v.abs() <= f64::from(f32::MAX)),
        _ => true,
    };
    let name = if kind == Kind::Integer {
        "integer"
    } else {
        "number"
    };
    let said = match format {
        "" => format!("Checked value must be of type {name} (default format) in {path}"),
        format => format!("Checked value must be of type {name} with format {format} in {path}"),
    };
    (!fits).then_some(said)
}

fn whole_in(n: &Number, limit: f64) -> bool {
    n.as_f64().is_some_and(|v| v.fract() == 0.0 && v.abs() < limit)
}

/// A float as Go's `%v` prints it: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
pub fn go_float(n: f64) -> String {
    let plain = format!("{n}");
    let exponent = if n == 0.0 {
        0
    } else {
        n.abs().log10().floor() as i32
    };
    if (-4..6).contains(&exponent) {
        return plain;
    }
    let text = format!("{n:e}");
    match text.split_once('e') {
        Some((digits, power)) => {
            let (sign, power) = match power.strip_prefix('-') {
                Some(power) => ('-', power),
                None => ('+', power),
            };
            format!("{digits}e{sign}{power:0>2}")
        }
        None => text,
    }
}
