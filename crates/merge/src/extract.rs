//! The fields that an object mentions, as a set; and two views on such sets that need the schema.

use crate::element::{self, SELF};
use crate::fields::{FieldSet, is_member, node, object_mut};
use crate::shape::{Form, Place, fields_of, items_of};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Every leaf and list item that `value` mentions: what its applier owns.
pub(crate) fn field_set(value: &Value, place: Place<'_>) -> FieldSet {
    FieldSet(mentioned(value, place).within)
}

/// Whether a place itself is owned, and what is owned below it.
struct Mentioned {
    itself: bool,
    within: Map<String, Value>,
}

fn mentioned(value: &Value, place: Place<'_>) -> Mentioned {
    let form = place.form(Some(value));
    match form {
        Form::Leaf => Mentioned {
            itself: true,
            within: Map::new(),
        },
        Form::Fields => mentioned_fields(value, place),
        Form::Set | Form::Keyed(_) => mentioned_items(value, place, form),
    }
}

fn mentioned_fields(value: &Value, place: Place<'_>) -> Mentioned {
    let mut within = Map::new();
    for (name, child) in fields_of(Some(value)).into_iter().flatten() {
        let below = mentioned(child, place.field_or_deduced(name));
        let is_empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
        if let Some(node) = node(below.itself || is_empty || !place.declares(name), below.within) {
            within.insert(element::field(name), node);
        }
    }
    Mentioned {
        itself: false,
        within,
    }
}

fn mentioned_items(value: &Value, place: Place<'_>, form: Form<'_>) -> Mentioned {
    let mut named = BTreeMap::<String, Option<Mentioned>>::new();
    for item in items_of(Some(value)) {
        let Ok(name) = place.element_of(form, item) else {
            continue;
        };
        // Items that share a name are one leaf.
        named
            .entry(name)
            .and_modify(|entry| *entry = None)
            .or_insert_with(|| Some(mentioned(item, place.items())));
    }
    let mut within = Map::new();
    for (name, below) in named {
        if let Some(node) = node(true, below.map(|b| b.within).unwrap_or_default()) {
            within.insert(name, node);
        }
    }
    Mentioned {
        itself: false,
        within,
    }
}

/// The set with every declared field on the way to a member added: who owns `.spec.replicas` holds on to `.spec`.
pub(crate) fn with_named_parents(set: &FieldSet, place: Place<'_>) -> FieldSet {
    FieldSet(named_parents(&set.0, place))
}

fn named_parents(level: &Map<String, Value>, place: Place<'_>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, child) in level {
        let (false, Some(child)) = (key == SELF, child.as_object()) else {
            continue;
        };
        let (below, declared) = match key.strip_prefix("f:") {
            Some(name) => (place.field_or_deduced(name), place.declares(name)),
            None => (place.items(), false),
        };
        if let Some(node) = node(is_member(child) || declared, named_parents(child, below)) {
            out.insert(key.clone(), node);
        }
    }
    out
}

/// Follows a schema whose lists or maps became atomic: who owned something inside now owns the whole.
pub(crate) fn reconcile(set: &mut FieldSet, place: Place<'_>) {
    reconcile_level(&mut set.0, place);
}

fn reconcile_level(level: &mut Map<String, Value>, place: Place<'_>) {
    if place.kind().is_none() {
        return;
    }
    for (key, child) in level.iter_mut() {
        if key == SELF {
            continue;
        }
        let below = match key.strip_prefix("f:") {
            Some(name) => match place.field(name) {
                Some(below) => below,
                None => continue,
            },
            None => place.items(),
        };
        let child = object_mut(child);
        if matches!(below.form(None), Form::Leaf) && below.kind().is_some() {
            child.clear();
        } else {
            reconcile_level(child, below);
        }
    }
}

/// The union of sets.
pub(crate) fn united(sets: Vec<FieldSet>) -> FieldSet {
    let mut out = FieldSet::new();
    sets.into_iter().for_each(|set| out.union_with(set));
    out
}
