//! Which code runs for which function, and what calls say that fit no overload at run time.

use crate::ast::op;
use crate::compare;
use crate::convert::convert;
use crate::value::{EvalError, Outcome, Value, fail, no_overload};
use regex::Regex;
use std::cmp::Ordering;

/// What a function knows besides its arguments: the name it was called by, how much cost is left, its constant pattern.
pub(crate) struct Context<'c> {
    pub name: &'static str,
    /// Empty when several overloads fit.
    pub overload: &'static str,
    pub room: u64,
    pub regex: Option<&'c Regex>,
}

pub(crate) type Imp = for<'a> fn(&Context<'_>, &[Value<'a>]) -> Outcome<Value<'a>>;

/// The function that runs for a name. Every declared name has one; the checker lets no other through.
pub(crate) fn implementation(name: &str) -> Imp {
    match name {
        "charAt"
        | "indexOf"
        | "lastIndexOf"
        | "lowerAscii"
        | "replace"
        | "split"
        | "substring"
        | "trim"
        | "upperAscii"
        | "strings.quote"
        | "join"
        | "contains"
        | "endsWith"
        | "startsWith"
        | "jsonpatch.escapeKey" => crate::strings::call,
        "format" => crate::print::call,
        "matches" | "find" | "findAll" => crate::pattern::call,
        "slice"
        | "flatten"
        | "sort"
        | "@sortByAssociatedKeys"
        | "lists.range"
        | "reverse"
        | "distinct"
        | "first"
        | "last"
        | "optional.unwrap"
        | "unwrapOpt"
        | "sets.contains"
        | "sets.equivalent"
        | "sets.intersects"
        | "isSorted"
        | "sum"
        | "max"
        | "min" => crate::lists::call,
        "url" | "isURL" | "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath"
        | "getQuery" => crate::url::call,
        "quantity" | "isQuantity" | "sign" | "asApproximateFloat" | "asInteger" | "isInteger" | "add"
        | "sub" => crate::quantity::call,
        "isGreaterThan" | "isLessThan" | "compareTo" => three_way,
        "semver" | "isSemver" | "major" | "minor" | "patch" => crate::semver::call,
        "ip"
        | "isIP"
        | "family"
        | "ip.isCanonical"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "cidr"
        | "isCIDR"
        | "containsIP"
        | "containsCIDR"
        | "prefixLength"
        | "masked" => crate::ip::call,
        "validate" => crate::format::call,
        _ if name.starts_with("format.") => crate::format::call,
        "path" | "group" | "serviceAccount" | "resource" | "subresource" | "namespace" | "name"
        | "fieldSelector" | "labelSelector" | "check" | "errored" | "error" | "allowed" | "reason" => {
            crate::authz::call
        }
        _ if name.starts_with("get") => time,
        _ => standard,
    }
}

fn standard<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    match (context.name, args) {
        (op::ADD, [a, b]) => compare::add(a, b),
        ("_-_", [a, b]) => compare::subtract(a, b),
        ("_*_", [a, b]) => compare::multiply(a, b),
        ("_/_", [a, b]) => compare::divide(a, b),
        ("_%_", [a, b]) => compare::modulo(a, b),
        (op::NEGATE, [a]) => compare::negate(a),
        (op::NOT, [Value::Bool(value)]) => Ok(Value::Bool(!value)),
        (op::NOT_STRICTLY_FALSE, [value]) => Ok(Value::Bool(value.as_bool().unwrap_or(true))),
        ("_<_", [a, b]) => Ok(Value::Bool(compare::order(a, b)? == Ordering::Less)),
        ("_<=_", [a, b]) => Ok(Value::Bool(compare::order(a, b)? != Ordering::Greater)),
        ("_>_", [a, b]) => Ok(Value::Bool(compare::order(a, b)? == Ordering::Greater)),
        ("_>=_", [a, b]) => Ok(Value::Bool(compare::order(a, b)? != Ordering::Less)),
        (op::IN, [item, container]) => Ok(Value::Bool(compare::is_in(item, container)?)),
        ("size", [value]) => match value {
            Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => {
                Ok(Value::Int(i64::try_from(value.size()).unwrap_or(i64::MAX)))
            }
            _ => no_overload(),
        },
        ("optional.of", [value]) => Ok(Value::optional(Some(value.clone()))),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(Value::optional((!compare::is_zero(value)).then(|| value.clone())))
        }
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("value", [Value::Optional(Some(value))]) => Ok((**value).clone()),
        ("value", [Value::Optional(None)]) => fail("optional.none() dereference"),
        (op::MAP_INSERT, [Value::Map(map), key, value]) => {
            let mut map = map.clone();
            map.insert(key, value.clone())?;
            Ok(Value::Map(map))
        }
        (op::MAP_INSERT, [Value::Map(map), Value::Map(more)]) => {
            let mut map = map.clone();
            for entry in more.pairs() {
                let (key, value) = entry?;
                map.insert(&key, value)?;
            }
            Ok(Value::Map(map))
        }
        (name, [value]) if crate::convert::CONVERSIONS.contains(&name) => convert(name, value),
        _ => no_overload(),
    }
}

/// A conversion of a constant, done once.
pub(crate) fn convert_constant(name: &'static str, value: &Value<'static>) -> Outcome<Value<'static>> {
    convert(name, value).map_err(|error| explain(name, std::slice::from_ref(value), error))
}

fn three_way<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    let order = match args {
        [Value::Quantity(a), Value::Quantity(b)] => a.value.cmp(&b.value),
        [Value::Semver(a), Value::Semver(b)] => a.order(b),
        _ => return no_overload(),
    };
    Ok(match context.name {
        "isGreaterThan" => Value::Bool(order == Ordering::Greater),
        "isLessThan" => Value::Bool(order == Ordering::Less),
        _ => Value::Int(order as i64),
    })
}

fn time<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    match (context.name, args) {
        (name, [Value::Timestamp(time)]) => time.part(name, None).map(Value::Int),
        (name, [Value::Timestamp(time), Value::String(zone)]) => time.part(name, Some(zone)).map(Value::Int),
        ("getHours", [Value::Duration(duration)]) => Ok(Value::Int(duration.0 / 3_600_000_000_000)),
        ("getMinutes", [Value::Duration(duration)]) => Ok(Value::Int(duration.0 / 60_000_000_000)),
        ("getSeconds", [Value::Duration(duration)]) => Ok(Value::Int(duration.0 / 1_000_000_000)),
        ("getMilliseconds", [Value::Duration(duration)]) => Ok(Value::Int(duration.0 / 1_000_000)),
        _ => no_overload(),
    }
}

/// The error of a call that fits no overload, with the words of that function's kind.
pub(crate) fn explain(name: &str, args: &[Value<'_>], error: EvalError) -> EvalError {
    if !matches!(&error, EvalError::Failed(text) if &**text == "no such overload") {
        return error;
    }
    use Value::*;
    let first = args.first();
    if matches!(first, Some(String(_) | Duration(_) | Timestamp(_)))
        && (name.starts_with(['_', '-', '@']) || matches!(name, "size" | "sort"))
    {
        return error;
    }
    let number = |value: &Value<'_>| matches!(value, Int(_) | Uint(_) | Double(_));
    let ordered = |value: &Value<'_>| {
        number(value) || matches!(value, Bool(_) | String(_) | Bytes(_) | Duration(_) | Timestamp(_))
    };
    let fits = |fit: &dyn Fn(&Value<'_>) -> bool| first.is_some_and(fit);
    let has_trait = match name {
        op::ADD => {
            fits(&|v| number(v) || matches!(v, String(_) | Bytes(_) | List(_) | Duration(_) | Timestamp(_)))
        }
        "_-_" => fits(&|v| number(v) || matches!(v, Duration(_) | Timestamp(_))),
        "_*_" | "_/_" => fits(&number),
        "_%_" => fits(&|v| matches!(v, Int(_) | Uint(_))),
        op::NEGATE => fits(&|v| matches!(v, Int(_) | Double(_) | Duration(_) | Bool(_))),
        "_<_" | "_<=_" | "_>_" | "_>=_" => fits(&ordered),
        "size" => fits(&|v| matches!(v, String(_) | Bytes(_) | List(_) | Map(_))),
        "matches" => fits(&|v| matches!(v, String(_))),
        "sort" | "@sortByAssociatedKeys" => fits(&|v| matches!(v, List(_))),
        "containsIP" => fits(&|v| matches!(v, Cidr(_))),
        "flatten" => {
            let depth = args
                .get(1)
                .map(|depth| depth.kind().runtime_name().to_string())
                .unwrap_or_default();
            let kind = first.map_or(crate::types::Type::Dyn, Value::kind);
            let call = format!("no such overload: {}.flatten({depth})", kind.runtime_name());
            return EvalError::Failed(call.into());
        }
        op::NOT | op::IN | "contains" | "startsWith" | "endsWith" => true,
        _ => {
            let kinds: Vec<std::string::String> = args
                .iter()
                .map(|arg| arg.kind().runtime_name().to_string())
                .collect();
            return EvalError::Failed(format!("no such overload: {name}({})", kinds.join(", ")).into());
        }
    };
    if has_trait {
        error
    } else {
        EvalError::Failed(format!("no such overload: {name}").into())
    }
}
