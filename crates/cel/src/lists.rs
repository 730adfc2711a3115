//! Functions of lists: Kubernetes' own, cel-go's `lists` (version 3) and `sets` extensions, and those of optionals.

use crate::compare::{equal, order, shared};
use crate::functions::Context;
use crate::list::List;
use crate::time::Duration;
use crate::value::{EvalError, Outcome, Value, fail, no_overload};
use std::cmp::Ordering;

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    match (context.name, args) {
        ("isSorted", [Value::List(list)]) => is_sorted(list),
        ("sum", [Value::List(list)]) => sum(list, context.overload),
        ("max", [Value::List(list)]) => extreme(list, "max", Ordering::Less),
        ("min", [Value::List(list)]) => extreme(list, "min", Ordering::Greater),
        ("indexOf", [Value::List(list), item]) => index_of(list, item, false),
        ("lastIndexOf", [Value::List(list), item]) => index_of(list, item, true),
        ("slice", [Value::List(list), Value::Int(from), Value::Int(to)]) => slice(list, *from, *to),
        ("flatten", [Value::List(list)]) => flatten(list, 1, context.room),
        ("flatten", [Value::List(_), Value::Int(depth)]) if *depth < 0 => fail("level must be non-negative"),
        ("flatten", [Value::List(list), Value::Int(depth)]) => flatten(list, *depth, context.room),
        ("sort", [Value::List(list)]) => sort(list, list, context.room),
        ("@sortByAssociatedKeys", [Value::List(list), Value::List(keys)]) => sort(list, keys, context.room),
        ("lists.range", [Value::Int(count)]) => range(*count, context.room),
        ("reverse", [Value::List(list)]) => Ok(shared(
            (0..list.len())
                .rev()
                .map(|at| list.get(at))
                .collect::<Outcome<_>>()?,
        )),
        ("distinct", [Value::List(list)]) => distinct(list, context.room),
        ("first", [Value::List(list)]) => end(list, 0),
        ("last", [Value::List(list)]) => end(list, list.len().saturating_sub(1)),
        ("optional.unwrap" | "unwrapOpt", [Value::List(list)]) => unwrap(list),
        ("sets.contains", [Value::List(all), Value::List(some)]) => contains(all, some, context.room),
        ("sets.equivalent", [Value::List(a), Value::List(b)]) => match contains(a, b, context.room)? {
            Value::Bool(true) => contains(b, a, context.room),
            other => Ok(other),
        },
        ("sets.intersects", [Value::List(a), Value::List(b)]) => {
            bound(a.len(), b.len(), context.room)?;
            for item in a.iter() {
                if matches!(b.contains(&item?), Ok(true)) {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        _ => no_overload(),
    }
}

/// `a` times `b` comparisons must not cost more than is left.
fn bound(a: usize, b: usize, room: u64) -> Outcome<()> {
    if (a as u64).saturating_mul(b as u64) > room {
        Err(EvalError::CostExceeded)
    } else {
        Ok(())
    }
}

fn is_sorted<'a>(list: &List<'a>) -> Outcome<Value<'a>> {
    let mut before: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        if let Some(before) = &before
            && order(before, &item)? == Ordering::Greater
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(list: &List<'a>, overload: &str) -> Outcome<Value<'a>> {
    let mut sum: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        sum = Some(match sum {
            Some(sum) => crate::compare::add(&sum, &item)?,
            None => match item {
                Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(Duration(_)) => item,
                _ => return no_overload(),
            },
        });
    }
    Ok(sum.unwrap_or(match overload {
        "list_uint_sum_uint" => Value::Uint(0),
        "list_double_sum_double" => Value::Double(0.0),
        "list_duration_sum_duration" => Value::Duration(Duration(0)),
        _ => Value::Int(0),
    }))
}

fn extreme<'a>(list: &List<'a>, name: &str, replaced_when: Ordering) -> Outcome<Value<'a>> {
    let mut found: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        found = match found {
            Some(best) if order(&best, &item)? != replaced_when => Some(best),
            _ => Some(item),
        };
    }
    found.map_or_else(|| fail(format!("{name} called on empty list")), Ok)
}

fn index_of<'a>(list: &List<'a>, wanted: &Value<'a>, last: bool) -> Outcome<Value<'a>> {
    let same = |at: &usize| {
        list.get(*at)
            .and_then(|item| equal(&item, wanted))
            .unwrap_or(false)
    };
    let found = if last {
        (0..list.len()).rev().find(same)
    } else {
        (0..list.len()).find(same)
    };
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn slice<'a>(list: &List<'a>, from: i64, to: i64) -> Outcome<Value<'a>> {
    let (Ok(start), Ok(end)) = (usize::try_from(from), usize::try_from(to)) else {
        return fail(format!(
            "cannot slice({from}, {to}), negative indexes not supported"
        ));
    };
    if start > end {
        return fail(format!(
            "cannot slice({from}, {to}), start index must be less than or equal to end index"
        ));
    }
    if list.len() < end {
        return fail(format!(
            "cannot slice({from}, {to}), list is length {}",
            list.len()
        ));
    }
    Ok(shared(
        (start..end).map(|at| list.get(at)).collect::<Outcome<_>>()?,
    ))
}

fn flatten<'a>(list: &List<'a>, depth: i64, room: u64) -> Outcome<Value<'a>> {
    let mut items = Vec::new();
    flatten_into(list, depth, room, &mut items)?;
    Ok(shared(items))
}

fn flatten_into<'a>(list: &List<'a>, depth: i64, room: u64, out: &mut Vec<Value<'a>>) -> Outcome<()> {
    bound(list.len(), 1, room)?;
    for item in list.iter() {
        match item? {
            Value::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, room, out)?,
            other => out.push(other),
        }
        if out.len() as u64 > room {
            return Err(EvalError::CostExceeded);
        }
    }
    Ok(())
}

fn sort<'a>(list: &List<'a>, keys: &List<'a>, room: u64) -> Outcome<Value<'a>> {
    if list.len() != keys.len() {
        return fail(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} \
             elements respectively",
            list.len(),
            keys.len()
        ));
    }
    bound(list.len(), 1, room)?;
    let keys: Vec<Value<'a>> = keys.iter().collect::<Outcome<_>>()?;
    let Some(first) = keys.first() else {
        return Ok(Value::List(list.clone()));
    };
    if order(first, first).is_err() && !matches!(first, Value::Double(_)) {
        return fail("list elements must be comparable");
    }
    let kind = first.kind();
    if keys.iter().any(|key| key.kind() != kind) {
        return fail("list elements must have the same type");
    }
    let mut places: Vec<usize> = (0..keys.len()).collect();
    places.sort_by(|a, b| order(&keys[*a], &keys[*b]).unwrap_or(Ordering::Equal));
    Ok(shared(
        places
            .into_iter()
            .map(|at| list.get(at))
            .collect::<Outcome<_>>()?,
    ))
}

fn range<'a>(count: i64, room: u64) -> Outcome<Value<'a>> {
    if u64::try_from(count).is_ok_and(|count| count > room) {
        return Err(EvalError::CostExceeded);
    }
    Ok(shared((0..count).map(Value::Int).collect()))
}

fn distinct<'a>(list: &List<'a>, room: u64) -> Outcome<Value<'a>> {
    bound(list.len(), list.len(), room)?;
    let mut items: Vec<Value<'a>> = Vec::new();
    for item in list.iter() {
        let item = item?;
        if !items.iter().any(|other| equal(&item, other).unwrap_or(false)) {
            items.push(item);
        }
    }
    Ok(shared(items))
}

fn end<'a>(list: &List<'a>, at: usize) -> Outcome<Value<'a>> {
    if list.is_empty() {
        Ok(Value::Optional(None))
    } else {
        Ok(Value::optional(Some(list.get(at)?)))
    }
}

fn unwrap<'a>(list: &List<'a>) -> Outcome<Value<'a>> {
    let mut items = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(value) => items.extend(value.map(|value| (*value).clone())),
            other => return fail(format!("value {other} is not optional")),
        }
    }
    Ok(shared(items))
}

fn contains<'a>(all: &List<'a>, some: &List<'a>, room: u64) -> Outcome<Value<'a>> {
    bound(all.len(), some.len(), room)?;
    for item in some.iter() {
        if !all.contains(&item?)? {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}
