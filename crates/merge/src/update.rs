//! What create, update and the three plain patches do to `managedFields`: changed fields go to the writer.

use crate::diff::{NEVER_OWNED, diff};
use crate::fields::FieldSet;
use crate::managed::{self, Managed, ManagerId, UPDATE};
use crate::shape::Place;
use meta::schema::Schema;
use serde_json::Value;

/// Makes `new`, the object that is about to replace `live` (`None` on create), carry the right `managedFields`.
/// `now` is RFC 3339 in UTC with seconds. `reset` names fields that this endpoint cannot write
/// (`status` for the main resource). The caller has already restored those fields from `live`.
///
/// A client may edit the entries themselves: `[]` or `[{}]` forgets all, leaving them out or
/// sending nonsense keeps the live ones. Nothing is recorded on objects that lost all their entries.
pub fn update(
    live: Option<&Value>,
    new: &mut Value,
    schema: &Schema,
    manager: &ManagerId<'_>,
    now: &str,
    reset: &FieldSet,
) {
    let managed = sent_or_live(live, new, manager);
    if managed.is_empty() && live.is_some() {
        return;
    }
    let place = Place::root(schema);
    let managed = record(live, new, place, managed, manager, now, reset);
    managed::put(new, managed);
}

/// `update` for a new object; `empty` is what every object of its kind has, which is nobody's.
pub fn create(
    empty: &Value,
    new: &mut Value,
    schema: &Schema,
    manager: &ManagerId<'_>,
    now: &str,
    reset: &FieldSet,
) {
    let managed = sent_or_live(None, new, manager);
    let managed = record(
        Some(empty),
        new,
        Place::root(schema),
        managed,
        manager,
        now,
        reset,
    );
    managed::put(new, managed);
}

/// The entries to start from, taken out of `new`.
fn sent_or_live(live: Option<&Value>, new: &mut Value, manager: &ManagerId<'_>) -> Managed {
    let sent = managed::take(new);
    let stored = live.and_then(managed::listed);
    if stored.is_some() && sent.as_array() == stored {
        return Managed::stored(sent);
    }
    let from_live = || {
        stored
            .map(|list| Managed::stored(Value::Array(list.clone())))
            .unwrap_or_default()
    };
    match sent {
        Value::Array(_) if !manager.subresource.is_empty() => from_live(),
        Value::Array(list) if managed::is_reset(&list) => Managed::default(),
        Value::Array(list) => match Managed::decode(&list) {
            Ok(managed) if !managed.is_empty() => managed,
            // As upstream: a client that garbles the entries does not change them.
            Ok(_) | Err(_) => from_live(),
        },
        _ => from_live(),
    }
}

/// Gives the fields that changed from `live` to `new` to the writer and takes them from everyone else.
pub(crate) fn record(
    live: Option<&Value>,
    new: &Value,
    place: Place<'_>,
    mut managed: Managed,
    manager: &ManagerId<'_>,
    now: &str,
    reset: &FieldSet,
) -> Managed {
    let changes = diff(live, new, place).without(reset);
    if changes.is_empty() {
        return managed;
    }
    let mut written = changes.written();
    managed.release(&written, Some((manager, UPDATE)));
    managed.release(&changes.removed, None);
    written.subtract(&NEVER_OWNED);
    if !written.is_empty() {
        let own = managed.find_or_add(manager, UPDATE);
        let mut fields = own.take_fields();
        fields.union_with(written);
        own.put_fields(fields);
        own.set_time(now);
    }
    managed.drop_empty();
    managed.cap_updates();
    managed
}

/// Restores the live entries in `new` when times in them are all that would change, so that a write
/// that changes nothing stays a write that changes nothing. Call it after admission, before the store.
pub fn timestamps_only(live: &Value, new: &mut Value) -> bool {
    let (Some(before), Some(after)) = (managed::listed(live), managed::listed(new)) else {
        return false;
    };
    if before == after
        || before.len() != after.len()
        || !before
            .iter()
            .zip(after)
            .all(|(a, b)| equal_but_for(a, b, "time", |_, _| true))
    {
        return false;
    }
    let same_rest = equal_but_for(live, new, "metadata", |a, b| {
        equal_but_for(a, b, "managedFields", |_, _| true)
    });
    if same_rest && let Some(entries) = new.pointer_mut("/metadata/managedFields") {
        *entries = Value::Array(before.clone());
    }
    same_rest
}

/// Whether two objects are equal in all members but one, and `rule` holds for that one.
fn equal_but_for(a: &Value, b: &Value, member: &str, rule: impl Fn(&Value, &Value) -> bool) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    let rest = |m: &'_ serde_json::Map<String, Value>| m.len() - usize::from(m.contains_key(member));
    let null = Value::Null;
    rest(a) == rest(b)
        && a.iter().all(|(k, v)| k == member || b.get(k) == Some(v))
        && rule(a.get(member).unwrap_or(&null), b.get(member).unwrap_or(&null))
}

#[cfg(test)]
#[path = "update_tests.rs"]
pub(crate) mod tests;
