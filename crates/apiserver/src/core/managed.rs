//! Field owners (`managedFields`): who is recorded for a write, and under which name.

use super::Cx;
use super::prepare::Attempt;
use kinds::Row;
use merge::{FieldSet, ManagerId};
use meta::{Errors, Path};
use serde_json::Value;

const MANAGER_MAX: usize = 128;

/// How a write takes fields over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Changed fields go to the writer.
    Update,
    /// Server-side apply has recorded the owners already.
    Apply,
    /// The server itself writes; nobody becomes an owner.
    Nobody,
}

/// The manager's name: what the call says, or the client's program.
pub fn manager<'a>(cx: &'a Cx, attempt: &'a Attempt) -> &'a str {
    if attempt.options.field_manager.is_empty() {
        &cx.caller.agent
    } else {
        &attempt.options.field_manager
    }
}

/// Fields that the endpoint cannot write, so that it cannot own them either.
pub fn reset(row: &Row, subresource: &str) -> FieldSet {
    match subresource {
        "" if row.status => FieldSet::of_fields(&[&["status"]]),
        "status" => {
            let kept = row.rules.status_keeps().iter().map(|field| ["metadata", *field]);
            let kept: Vec<[&str; 2]> = kept.collect();
            let mut fields: Vec<&[&str]> = kept.iter().map(|path| path.as_slice()).collect();
            fields.push(&["spec"]);
            FieldSet::of_fields(&fields)
        }
        _ => FieldSet::new(),
    }
}

/// `record` for an object in which the server has chosen something since it was `sent`.
pub fn record_of(
    cx: &Cx,
    old: Option<&Value>,
    new: &mut Value,
    sent: Option<Value>,
    attempt: &Attempt,
    by: By,
) {
    let Some(mut sent) = sent else {
        return record(cx, old, new, attempt, by);
    };
    record(cx, old, &mut sent, attempt, by);
    let fields = sent.pointer_mut("/metadata/managedFields").map(Value::take);
    if let (Some(to), Some(fields)) = (new.get_mut("metadata").and_then(Value::as_object_mut), fields) {
        to.insert("managedFields".into(), fields);
    }
}

/// Records the writer in `new`, which is about to replace `old`.
pub fn record(cx: &Cx, old: Option<&Value>, new: &mut Value, attempt: &Attempt, by: By) {
    if by != By::Update {
        return;
    }
    let version = cx.row.api_version();
    let id = ManagerId {
        name: manager(cx, attempt),
        api_version: &version,
        subresource: attempt.subresource,
    };
    let reset = reset(cx.row, attempt.subresource);
    let now = cx.now.rfc3339();
    let schema = cx.row.schema();
    if old.is_some() {
        merge::update(old, new, &schema, &id, &now, &reset);
        return;
    }
    let mut empty = Value::Object(serde_json::Map::new());
    super::prepare::complete(cx.row, &mut empty);
    merge::create(&empty, new, &schema, &id, &now, &reset);
}

pub fn check_manager(name: &str, errors: &mut Errors) {
    let field = Path::new("fieldManager");
    if name.len() > MANAGER_MAX {
        errors.too_long(&field, MANAGER_MAX);
    }
    if name.chars().any(char::is_control) {
        errors.invalid(&field, name, "should only contain printable characters");
    }
}
