//! Lists in a strategic merge patch: merged by key or as sets, and put in order.
//! Items are found through hashes of their keys, so the time grows with the sizes, not with their product.

use super::{
    BAD_ORDER, DIRECTIVE, Facts, ORDER, StrategicError, go_type, go_value, merge_map, no_merge_key, plain,
    unknown_directive, wrong_type,
};
use StrategicError::{ListOfLists, Mismatch};
use meta::schema::PatchStrategy;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// What names an item: the whole scalar, or the value of the merge key, as JSON text.
type Name = String;

/// Merges a patch list into a present one as the schema's strategy says.
pub(super) fn merge(
    original: Vec<Value>,
    patch: Vec<Value>,
    field: Facts<'_>,
) -> Result<Vec<Value>, StrategicError> {
    let key: Option<&str> = match field.strategy() {
        PatchStrategy::Replace => return Ok(patch),
        PatchStrategy::MergeScalars => None,
        PatchStrategy::MergeByKey(key) => Some(key),
    };
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    check_types(&original, &patch)?;
    let first = original.iter().chain(&patch).next();
    match (key, first) {
        (Some(key), Some(Value::Object(_))) => merge_keyed(original, patch, key, field),
        (Some(_), Some(other)) => Err(wrong_type("map[string]interface {}", other)),
        (None, Some(Value::Object(_))) => Err(Mismatch(
            "cannot merge lists without merge key for the list's items".into(),
        )),
        _ => Ok(merge_scalars(original, patch)),
    }
}

/// All items of both lists must be of one type, and no list.
pub(super) fn check_types(original: &[Value], patch: &[Value]) -> Result<(), StrategicError> {
    let mut items = original.iter().chain(patch);
    let Some(first) = items.next() else {
        return Err(Mismatch("no elements in any of the given slices".into()));
    };
    if first.is_array() {
        return Err(ListOfLists);
    }
    if items.all(|item| go_type(item) == go_type(first)) {
        return Ok(());
    }
    let lists: Vec<_> = [original, patch]
        .iter()
        .map(|list| go_value(&Value::Array(list.to_vec())))
        .collect();
    Err(Mismatch(format!(
        "list element types are not identical: [{}]",
        lists.join(" ")
    )))
}

fn merge_scalars(original: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    let order: Vec<Name> = patch.iter().map(Value::to_string).collect();
    let server_order: Vec<Name> = original.iter().map(Value::to_string).collect();
    let mut seen = HashSet::new();
    let merged = original
        .into_iter()
        .chain(patch)
        .map(|item| (item.to_string(), item));
    let merged = merged.filter(|(name, _)| seen.insert(name.clone())).collect();
    arrange(merged, &order, &server_order)
}

fn merge_keyed(
    original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
    field: Facts<'_>,
) -> Result<Vec<Value>, StrategicError> {
    let Directed {
        deleted,
        replaces,
        rest,
    } = directed(patch, key)?;
    if replaces {
        return Ok(rest.into_iter().map(Value::Object).collect());
    }
    let mut merged: Vec<Map<String, Value>> = Vec::with_capacity(original.len() + rest.len());
    for item in original.into_iter().filter_map(into_map) {
        if item
            .get(key)
            .is_none_or(|value| !deleted.contains(&value.to_string()))
        {
            merged.push(item);
        }
    }
    let mut at: HashMap<Name, usize> = HashMap::new();
    for (i, item) in merged.iter().enumerate() {
        at.entry(name_of(item, key)?).or_insert(i);
    }
    let server_order = merged
        .iter()
        .map(|item| name_of(item, key))
        .collect::<Result<Vec<_>, _>>()?;
    let order = rest
        .iter()
        .map(|item| name_of(item, key))
        .collect::<Result<Vec<_>, _>>()?;
    for (item, name) in rest.into_iter().zip(&order) {
        match at.get(name) {
            Some(&i) => {
                let present = std::mem::take(&mut merged[i]);
                merged[i] = merge_map(present, item, field.items())?;
            }
            None => {
                at.insert(name.clone(), merged.len());
                merged.extend(plain(Value::Object(item)).and_then(into_map));
            }
        }
    }
    let named = merged
        .into_iter()
        .map(|item| Ok((name_of(&item, key)?, Value::Object(item))))
        .collect::<Result<Vec<_>, StrategicError>>()?;
    Ok(arrange(named, &order, &server_order))
}

fn into_map(value: Value) -> Option<Map<String, Value>> {
    if let Value::Object(map) = value {
        Some(map)
    } else {
        None
    }
}

fn name_of(item: &Map<String, Value>, key: &str) -> Result<Name, StrategicError> {
    item.get(key)
        .map(Value::to_string)
        .ok_or_else(|| no_merge_key(item, key))
}

/// A patch list, its directives taken apart.
struct Directed {
    deleted: HashSet<Name>,
    replaces: bool,
    rest: Vec<Map<String, Value>>,
}

fn directed(patch: Vec<Value>, key: &str) -> Result<Directed, StrategicError> {
    let mut directed = Directed {
        deleted: HashSet::new(),
        replaces: false,
        rest: Vec::with_capacity(patch.len()),
    };
    for mut item in patch.into_iter().filter_map(into_map) {
        match item.get(DIRECTIVE).map(|d| (d.as_str(), d)) {
            None => directed.rest.push(item),
            Some((Some("delete"), _)) => {
                directed.deleted.insert(name_of(&item, key)?);
            }
            Some((Some("replace"), _)) => directed.replaces = true,
            Some((Some("merge"), _)) => {
                return Err(Mismatch(
                    "merging lists cannot yet be specified in the patch".into(),
                ));
            }
            Some((_, other)) => {
                let other = other.clone();
                item.remove(DIRECTIVE);
                return Err(unknown_directive(&other, item));
            }
        }
    }
    Ok(directed)
}

/// Puts the items that `order` names in that order, and lets the others keep their places as far as that allows.
fn arrange(merged: Vec<(Name, Value)>, order: &[Name], server_order: &[Name]) -> Vec<Value> {
    let ranks = |order: &[Name]| {
        let mut ranks = HashMap::with_capacity(order.len());
        for (i, name) in order.iter().enumerate() {
            ranks.entry(name.clone()).or_insert(i);
        }
        ranks
    };
    let (rank, server_rank) = (ranks(order), ranks(server_order));
    let (mut ordered, mut others): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|(name, _)| rank.contains_key(name));
    let place = |ranks: &HashMap<Name, usize>, name: &Name| ranks.get(name).copied().unwrap_or(usize::MAX);
    ordered.sort_by_key(|(name, _)| place(&rank, name));
    others.sort_by_key(|(name, _)| place(&server_rank, name));

    let mut out = Vec::with_capacity(ordered.len() + others.len());
    let (mut ordered, mut others) = (ordered.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let take_other = match (others.peek(), ordered.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((a, _)), Some((b, _))) => server_rank
                .get(a)
                .zip(server_rank.get(b))
                .is_some_and(|(a, b)| a < b),
        };
        out.extend(if take_other { others.next() } else { ordered.next() }.map(|(_, item)| item));
    }
}

/// Merges every list that `$setElementOrder/<field>` names, in the order that it gives.
pub(super) fn merge_ordered(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    facts: Facts<'_>,
) -> Result<(), StrategicError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let Some(order) = patch.remove(&directive) else {
            continue;
        };
        let Value::Array(order) = order else {
            return Err(wrong_type("[]interface {}", &order));
        };
        let field = directive[ORDER.len()..].strip_prefix('/').ok_or(BAD_ORDER)?;
        let present = take_list(original, field)?;
        let patched = take_list(patch, field)?;
        let facts = facts.field(field);
        let key = match facts.strategy() {
            PatchStrategy::MergeByKey(key) => Some(&**key),
            PatchStrategy::MergeScalars | PatchStrategy::Replace => None,
        };
        follows_order(patched.as_deref().unwrap_or_default(), &order, key)?;
        let server_order = names(present.as_deref().unwrap_or_default(), key)?;
        if present.as_ref().is_none_or(Vec::is_empty) && patched.as_ref().is_none_or(Vec::is_empty) {
            if let Some(list) = present.or(patched) {
                original.insert(field.to_owned(), Value::Array(list));
            }
            continue;
        }
        let merged = match (present, patched) {
            (Some(present), None) => present,
            (None, Some(patched)) => patched.into_iter().filter_map(plain).collect(),
            (Some(present), Some(patched)) => merge(present, patched, facts)?,
            (None, None) => continue,
        };
        let merged_names = names(&merged, key)?;
        let order = names(&order, key)?;
        let merged = merged_names.into_iter().zip(merged).collect();
        original.insert(
            field.to_owned(),
            Value::Array(arrange(merged, &order, &server_order)),
        );
    }
    Ok(())
}

fn take_list(map: &mut Map<String, Value>, field: &str) -> Result<Option<Vec<Value>>, StrategicError> {
    match map.remove(field) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(other) => Err(wrong_type("[]interface {}", &other)),
    }
}

fn names(items: &[Value], key: Option<&str>) -> Result<Vec<Name>, StrategicError> {
    let name = |item: &Value| match (key, item) {
        (None, scalar) => Ok(scalar.to_string()),
        (Some(key), Value::Object(item)) => name_of(item, key),
        (Some(_), other) => Err(wrong_type("map[string]interface {}", other)),
    };
    items.iter().map(name).collect()
}

/// The patch list must name its items in the order of the order list, which must name them all; deletions aside.
fn follows_order(patched: &[Value], order: &[Value], key: Option<&str>) -> Result<(), StrategicError> {
    if patched.is_empty() || order.is_empty() {
        return Ok(());
    }
    let kept: Vec<Value> = patched
        .iter()
        .filter(|item| item.get(DIRECTIVE).is_none())
        .cloned()
        .collect();
    let mut places = names(order, key)?.into_iter();
    let in_order = names(&kept, key)?
        .into_iter()
        .all(|name| places.any(|place| place == name));
    if in_order {
        return Ok(());
    }
    let (patched, order) = (
        go_value(&Value::Array(patched.to_vec())),
        go_value(&Value::Array(order.to_vec())),
    );
    Err(Mismatch(format!(
        "The order in patch list:\n{patched}\n doesn't match {ORDER} list:\n{order}\n"
    )))
}
