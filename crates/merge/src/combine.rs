//! Merging an applied configuration into the live object, and taking fields out of an object.

use crate::fields::{FieldSet, is_member};
use crate::shape::{Form, Place, holds_nothing};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Lays `applied` over `live`: fields of `applied` win, fields and list items that it does not mention stay.
pub(crate) fn merge(live: &mut Value, applied: &Value, place: Place<'_>) {
    let form = place.form_of_pair(Some(live), Some(applied));
    match (form, &mut *live, applied) {
        (Form::Fields, Value::Object(live), Value::Object(applied)) => {
            for (name, value) in applied {
                match live.get_mut(name) {
                    Some(present) => merge(present, value, place.field_or_deduced(name)),
                    None => {
                        live.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Form::Set | Form::Keyed(_), Value::Array(present), Value::Array(items)) if !items.is_empty() => {
            *present = merge_items(std::mem::take(present), items, place, form);
        }
        // An empty list, map or null asks for nothing where something granular is; it only replaces what is empty too.
        (Form::Fields | Form::Set | Form::Keyed(_), present, applied)
            if holds_nothing(Some(applied)) && !holds_nothing(Some(present)) => {}
        _ => live.clone_from(applied),
    }
}

/// Where an item of the merged list comes from.
#[derive(Clone, Copy)]
enum Source {
    Live(usize),
    Applied(usize),
}

fn merge_items(live: Vec<Value>, applied: &[Value], place: Place<'_>, form: Form<'_>) -> Vec<Value> {
    let names = |items: &[Value]| -> Vec<String> {
        // An item without a name meets no other; its index keeps it apart.
        let name = |(i, item)| place.element_of(form, item).unwrap_or_else(|_| format!("i:{i}"));
        items.iter().enumerate().map(name).collect()
    };
    let (live_names, applied_names) = (names(&live), names(applied));
    let mut live: Vec<Option<Value>> = live.into_iter().map(Some).collect();
    let mut namesakes = HashMap::<&str, Vec<usize>>::new();
    for (i, name) in live_names.iter().enumerate() {
        namesakes.entry(name).or_default().push(i);
    }
    let item = |source| match source {
        Source::Live(l) => live[l].take(),
        Source::Applied(r) => match namesakes.get(applied_names[r].as_str()).map(Vec::as_slice) {
            Some(&[l]) => live[l].take().map(|mut item| {
                merge(&mut item, &applied[r], place.items());
                item
            }),
            // New, or it replaces duplicates.
            _ => Some(applied[r].clone()),
        },
    };
    interleave(&live_names, &applied_names)
        .into_iter()
        .filter_map(item)
        .collect()
}

/// The merged list's order: applied items as applied, the others as they are, and both as near as that allows to
/// where they were. Live items wait for the next applied item that is live too. The rule is upstream's.
fn interleave(live: &[String], applied: &[String]) -> Vec<Source> {
    let at: HashMap<&str, usize> = applied
        .iter()
        .enumerate()
        .map(|(r, name)| (name.as_str(), r))
        .collect();
    let is_live: HashSet<&str> = live.iter().map(String::as_str).collect();
    let mut meeting_points = applied
        .iter()
        .filter(|name| is_live.contains(name.as_str()))
        .peekable();
    let mut order = Vec::with_capacity(live.len().max(applied.len()));
    let (mut l, mut r) = (0, 0);
    loop {
        match (live.get(l), applied.get(r)) {
            (None, None) => return order,
            // A live item that nobody applies keeps its place.
            (Some(name), _) if !at.contains_key(name.as_str()) => {
                order.push(Source::Live(l));
                l += 1;
            }
            // Its turn comes with its applied namesake, or has come.
            (Some(_), None) => l += 1,
            (Some(name), Some(next))
                if name != next && meeting_points.peek().is_some_and(|point| *point != name) =>
            {
                l += 1;
            }
            (here, Some(name)) => {
                order.push(Source::Applied(r));
                meeting_points.next_if(|point| *point == name);
                l += usize::from(here.is_some_and(|here| here == name || at[here.as_str()] < r));
                r += 1;
            }
        }
    }
}

/// Takes the members of `set` out of `value`; a list, map or struct that held nothing else goes with them.
pub(crate) fn remove(value: &mut Value, set: &FieldSet, place: Place<'_>) {
    remove_level(value, &set.0, place);
}

fn remove_level(value: &mut Value, set: &Map<String, Value>, place: Place<'_>) {
    let form = place.form(Some(value));
    match value {
        Value::Object(fields) if matches!(form, Form::Fields) => {
            for (key, node) in set {
                let (Some(name), Some(node)) = (key.strip_prefix("f:"), node.as_object()) else {
                    continue;
                };
                if is_member(node) {
                    fields.remove(name);
                } else if let Some(child) = fields.get_mut(name)
                    && !holds_nothing(Some(child))
                {
                    remove_level(child, node, place.field_or_deduced(name));
                    if holds_nothing(Some(child)) {
                        fields.remove(name);
                    }
                }
            }
        }
        Value::Array(items) if matches!(form, Form::Set | Form::Keyed(_)) => items.retain_mut(|item| {
            let Some(node) = place
                .element_of(form, item)
                .ok()
                .and_then(|name| set.get(&name)?.as_object())
            else {
                return true;
            };
            if !is_member(node) {
                remove_level(item, node, place.items());
            }
            !is_member(node)
        }),
        _ => {}
    }
}

/// Takes out null fields of structs and maps, which mean "not set"; nulls inside atomic values stay.
pub(crate) fn drop_nulls(value: &mut Value, place: Place<'_>) {
    let form = place.form(Some(value));
    match value {
        Value::Object(fields) if matches!(form, Form::Fields) => fields.retain(|name, child| {
            let below = place.field_or_deduced(name);
            drop_nulls(child, below);
            !child.is_null() || below.keeps_null()
        }),
        Value::Array(items) if matches!(form, Form::Set | Form::Keyed(_)) => {
            items.iter_mut().for_each(|item| drop_nulls(item, place.items()))
        }
        _ => {}
    }
}
