//! Merging an applied configuration into the live object, and taking fields out of an object.

use crate::fields::{FieldSet, is_member};
use crate::shape::{Form, Place, holds_nothing};
use serde_json::{Map, Value};
use std::collections::HashMap;

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
        (Form::Fields | Form::Set | Form::Keyed(_), present, applied) if holds_nothing(Some(applied)) && !holds_nothing(Some(present)) => {}
        _ => live.clone_from(applied),
    }
}

/// One item of a list that is merged: its name and where it comes from.
struct Item {
    name: String,
    value: Value,
}

/// Keeps the applied order among applied items and the live order among the others, and places the others as near
/// to where they were as that allows. The rule is upstream's.
fn merge_items(live: Vec<Value>, applied: &[Value], place: Place<'_>, form: Form<'_>) -> Vec<Value> {
    let live = named(live, place, form);
    let applied = named(applied.to_vec(), place, form);
    let in_applied: HashMap<String, usize> = applied.iter().enumerate().map(|(i, item)| (item.name.clone(), i)).collect();
    let mut counterparts = HashMap::<&str, (usize, usize)>::new();
    for (i, item) in live.iter().enumerate().filter(|(_, item)| in_applied.contains_key(&item.name)) {
        counterparts.entry(&item.name).or_insert((i, 0)).1 += 1;
    }
    // Applied items that are live too, in applied order: the next of them is where both lists meet again.
    let mut shared = applied.iter().map(|item| item.name.as_str()).filter(|name| counterparts.contains_key(name)).peekable();
    let mut taken = vec![false; applied.len()];
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let merged = |at: usize| {
        let item = &applied[at];
        match counterparts.get(item.name.as_str()) {
            // Duplicates among the live items are replaced by the one that is applied.
            Some(&(first, 1)) => {
                let mut value = live[first].value.clone();
                merge(&mut value, &item.value, place.items());
                value
            }
            _ => item.value.clone(),
        }
    };
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < applied.len() {
        if l < live.len() && r < applied.len() {
            if live[l].name == applied[r].name {
                taken[r] = true;
                out.push(merged(r));
                (l, r) = (l + 1, r + 1);
                shared.next();
                continue;
            }
            let waits = shared.peek().is_some_and(|next| *next != live[l].name);
            if waits && in_applied.contains_key(&live[l].name) {
                l += 1;
                continue;
            }
        }
        if l < live.len() {
            match in_applied.get(&live[l].name) {
                None => {
                    out.push(live[l].value.clone());
                    l += 1;
                    continue;
                }
                Some(&at) if taken[at] => l += 1,
                Some(_) => {}
            }
        }
        if r < applied.len() {
            taken[r] = true;
            out.push(merged(r));
            if shared.peek() == Some(&applied[r].name.as_str()) {
                shared.next();
            }
            r += 1;
        }
    }
    out
}

fn named(items: Vec<Value>, place: Place<'_>, form: Form<'_>) -> Vec<Item> {
    // A live item without a name cannot be applied to; its index keeps it apart from the others.
    let name = |i: usize, value: &Value| place.element_of(form, value).unwrap_or_else(|_| format!("i:{i}"));
    items.into_iter().enumerate().map(|(i, value)| Item { name: name(i, &value), value }).collect()
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
                let (Some(name), Some(node)) = (key.strip_prefix("f:"), node.as_object()) else { continue };
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
            let Some(node) = place.element_of(form, item).ok().and_then(|name| set.get(&name)?.as_object()) else { return true };
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
        Value::Array(items) if matches!(form, Form::Set | Form::Keyed(_)) => items.iter_mut().for_each(|item| drop_nulls(item, place.items())),
        _ => {}
    }
}
