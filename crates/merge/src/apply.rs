//! Server-side apply: an applied configuration is merged into the live object, its applier owns what it mentions,
//! loses (and so removes) what it no longer mentions, and is told of fields that others own.

use crate::combine::{drop_nulls, merge, remove};
use crate::diff::{NEVER_OWNED, diff};
use crate::extract::{field_set, united, with_named_parents};
use crate::fields::FieldSet;
use crate::managed::{self, APPLY, Entry, Managed, ManagerId, UPDATE};
use crate::shape::Place;
use crate::typecheck;
use crate::update::record;
use crate::value::go_quote;
use meta::schema::Schema;
use serde_json::{Map, Value};

/// Owner of what was there when an object without entries is first applied to.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager whose client-side history is honoured: its conflicts with its own last-applied annotation are none.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Fields of metadata that only the server sets.
const SYSTEM_FIELDS: [&str; 5] = [
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Most bytes of all annotations together; the validation limit of every object.
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// A field that someone else owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// As upstream prints it: `"kubectl-client-side-apply" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`
    pub path: String,
}

/// At least one conflict, sorted by manager. The `Display` text is the Status message; each conflict becomes a cause
/// of type `FieldManagerConflict` with field = path and message `conflict with <manager>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl std::fmt::Display for Conflicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(
                f,
                "Apply failed with 1 conflict: conflict with {}: {}",
                only.manager, only.path
            );
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut before = None;
        for conflict in &self.0 {
            if before != Some(&conflict.manager) {
                let separator = if before.is_some() { "\n" } else { "" };
                write!(f, "{separator}conflicts with {}:", conflict.manager)?;
                before = Some(&conflict.manager);
            }
            write!(f, "\n- {}", conflict.path)?;
        }
        Ok(())
    }
}

/// Why an apply was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// 400 BadRequest.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not fit the schema. Upstream answers 500 without a reason; 400 says the same to clients.
    #[error("failed to create typed patch object ({subject}): {errors}")]
    TypeMismatch { subject: String, errors: String },
    /// 409 Conflict, unless forced.
    #[error("{0}")]
    Conflict(Conflicts),
}

/// The object that results from applying `applied` to `live` (`None`: it is created), with its `managedFields`.
/// `now` is RFC 3339 in UTC with seconds; entries keep their times when nothing changes. `reset` names fields
/// that this endpoint cannot write. Defaulting and validation of the result are the caller's.
///
/// # Errors
/// See [`ApplyError`]; all type errors of the configuration come at once.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    schema: &Schema,
    manager: &ManagerId<'_>,
    now: &str,
    force: bool,
    reset: &FieldSet,
) -> Result<Value, ApplyError> {
    let place = Place::root(schema);
    check(applied, schema, manager.api_version)?;
    let live_managed = live.and_then(managed::listed).cloned().unwrap_or_default();
    let mut managed = Managed::stored(Value::Array(live_managed));
    managed.reconcile(place);
    let live = live.map(without_entries);
    if let (Some(live), true) = (&live, managed.is_empty()) {
        managed = record(
            None,
            live,
            place,
            managed,
            &manager.named(BEFORE_FIRST_APPLY),
            now,
            &FieldSet::new(),
        );
    }
    let run = Run {
        live: live.as_ref(),
        applied,
        place,
        manager,
        now,
        reset,
    };
    let (mut object, managed) = run.decided(managed, force)?;
    if manager.name == KUBECTL {
        renew_last_applied(&mut object, applied);
    }
    managed::put(&mut object, managed);
    Ok(object)
}

/// Whether `applied` may be applied at all: `apply` asks this first. Who brings a configuration into form before
/// applying it asks beforehand, since forming takes out what the schema does not declare.
///
/// # Errors
/// All but conflicts; all type errors at once.
pub fn check(applied: &Value, schema: &Schema, api_version: &str) -> Result<(), ApplyError> {
    let version = applied
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if version != api_version {
        return Err(ApplyError::BadRequest(typecheck::wrong_version(
            version,
            api_version,
        )));
    }
    if applied
        .pointer("/metadata/managedFields")
        .is_some_and(|m| !m.is_null())
    {
        return Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".into(),
        ));
    }
    typecheck::check(applied, Place::root(schema)).map_err(|errors| ApplyError::TypeMismatch {
        subject: typecheck::subject(applied),
        errors,
    })
}

/// A copy of an object without its entries, which are the largest part of many.
fn without_entries(object: &Value) -> Value {
    let Some(object) = object.as_object() else {
        return object.clone();
    };
    let copy = |(name, value): (&String, &Value)| match value {
        Value::Object(metadata) if name == "metadata" => {
            let kept = metadata
                .iter()
                .filter(|(k, _)| *k != "managedFields")
                .map(|(k, v)| (k.clone(), v.clone()));
            (name.clone(), Value::Object(kept.collect()))
        }
        _ => (name.clone(), value.clone()),
    };
    Value::Object(object.iter().map(copy).collect())
}

/// One apply: everything that does not change while it is decided.
struct Run<'a> {
    live: Option<&'a Value>,
    applied: &'a Value,
    place: Place<'a>,
    manager: &'a ManagerId<'a>,
    now: &'a str,
    reset: &'a FieldSet,
}

/// What stands in the way, as sets.
struct Clash {
    manager: String,
    fields: FieldSet,
}

impl Run<'_> {
    fn decided(&self, managed: Managed, force: bool) -> Result<(Value, Managed), ApplyError> {
        let (object, managed, mut clashes) = self.attempt(managed);
        if force || clashes.is_empty() {
            return Ok((object, managed));
        }
        // kubectl moves from client-side to server-side apply: what still is as its annotation says was its own.
        if let (KUBECTL, Some(own)) = (self.manager.name, self.last_applied_fields()) {
            clashes.iter_mut().for_each(|clash| clash.fields.subtract(&own));
            clashes.retain(|clash| !clash.fields.is_empty());
        }
        if clashes.is_empty() {
            Ok((object, managed))
        } else {
            Err(ApplyError::Conflict(conflicts(&clashes)))
        }
    }

    /// The forced result, and with whom it clashes.
    fn attempt(&self, mut managed: Managed) -> (Value, Managed, Vec<Clash>) {
        let last = managed
            .find(self.manager, APPLY)
            .map(Entry::fields)
            .unwrap_or_default();
        let mut object = self.live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        merge(&mut object, self.applied, self.place);
        let mut own = field_set(self.applied, self.place);
        own.subtract_recursive(self.reset);
        let gives_up = !last.difference(&own).is_empty();
        managed.find_or_add(self.manager, APPLY).put_fields(own);
        if gives_up {
            self.prune(&mut object, &last, &managed);
        }
        drop_nulls(&mut object, self.place);
        self.keep_system_fields(&mut object);

        let changes = diff(self.live, &object, self.place).without(self.reset);
        let written = changes.written();
        let clashes = self.clashes(&managed, &written);
        managed.release(&written, Some((self.manager, APPLY)));
        managed.release(&changes.removed, Some((self.manager, APPLY)));

        let own = managed.find_or_add(self.manager, APPLY);
        let mut fields = own.take_fields();
        fields.subtract(&NEVER_OWNED);
        own.put_fields(fields);
        if self.live.is_none_or(|live| !crate::value::same(live, &object)) {
            own.set_time(self.now);
        }
        managed.drop_empty();
        (object, managed, clashes)
    }

    /// A configuration that was written by a tool often says `creationTimestamp: null`; that is no wish to remove it.
    fn keep_system_fields(&self, object: &mut Value) {
        let Some(live) = self.live.and_then(|live| live.get("metadata")?.as_object()) else {
            return;
        };
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        for name in SYSTEM_FIELDS {
            if let (Some(value), false) = (live.get(name), metadata.contains_key(name)) {
                metadata.insert(name.into(), value.clone());
            }
        }
    }

    /// Removes what this manager applied last time, does not apply now, and nobody else owns.
    fn prune(&self, object: &mut Value, last: &FieldSet, managed: &Managed) {
        let mut gone = with_named_parents(last, self.place);
        let owned: Vec<FieldSet> = managed.entries().iter().map(Entry::fields).collect();
        gone.subtract(&with_named_parents(&united(owned), self.place));
        if !gone.is_empty() {
            remove(object, &gone, self.place);
        }
    }

    fn clashes(&self, managed: &Managed, written: &FieldSet) -> Vec<Clash> {
        if written.is_empty() {
            return Vec::new();
        }
        let mut clashes: Vec<Clash> = managed
            .others(self.manager, APPLY)
            .map(|entry| Clash {
                manager: describe(entry),
                fields: entry.fields().intersection(written),
            })
            .filter(|clash| !clash.fields.is_empty())
            .collect();
        clashes.sort_by(|a, b| a.manager.cmp(&b.manager));
        clashes
    }

    fn last_applied_fields(&self) -> Option<FieldSet> {
        let live = self.live?;
        let text = last_applied(live)?;
        let applied: Value = serde_json::from_str(text).ok()?;
        if applied.get("apiVersion")?.as_str()? != self.manager.api_version
            || typecheck::check(&applied, self.place).is_err()
        {
            return None;
        }
        let mut fields = field_set(&applied, self.place);
        let changes = diff(Some(&applied), live, self.place);
        for changed in [&changes.modified, &changes.added, &changes.removed] {
            fields.subtract(changed);
        }
        Some(fields)
    }
}

fn conflicts(clashes: &[Clash]) -> Conflicts {
    let each = |clash: &Clash| {
        clash
            .fields
            .paths()
            .into_iter()
            .map(|path| Conflict {
                manager: clash.manager.clone(),
                path,
            })
            .collect::<Vec<_>>()
    };
    Conflicts(clashes.iter().flat_map(each).collect())
}

fn describe(entry: &Entry) -> String {
    let mut text = go_quote(entry.manager());
    if !entry.subresource().is_empty() {
        text.push_str(" with subresource ");
        text.push_str(&go_quote(entry.subresource()));
    }
    if entry.operation() == UPDATE {
        text.push_str(" using ");
        text.push_str(entry.api_version());
    }
    text
}

fn last_applied(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(LAST_APPLIED)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// Keeps kubectl's annotation in step, so that a later client-side apply knows what was applied.
fn renew_last_applied(object: &mut Value, applied: &Value) {
    if last_applied(object).is_none() {
        return;
    }
    let mut applied = applied.clone();
    if let Some(annotations) = applied
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.insert(LAST_APPLIED.into(), format!("{applied}\n").into());
    let size: usize = annotations
        .iter()
        .map(|(k, v)| k.len() + v.as_str().map_or(0, str::len))
        .sum();
    if size > MAX_ANNOTATIONS_BYTES {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
