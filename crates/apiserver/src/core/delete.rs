//! DELETE and DELETECOLLECTION: grace, finalizers, propagation and preconditions, as upstream's registry decides them.

use super::prepare::Attempt;
use super::update::check_uid;
use super::{Cx, Decision, Pending, Then, metadata, select::Filter, success};
use kinds::node::restriction;
use meta::{Call, Draft, Object, Options, Propagation, Reply, Status};
use serde_json::{Map, Value, json};
use store::{Expect, Write};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete does to one object.
enum Fate {
    /// It goes now.
    Gone,
    /// It stays for a while, marked.
    Marked(Value),
    /// It is on its way already; nothing changes.
    Pending,
}

pub fn delete(cx: &mut Cx, call: &Call) -> Result<Decision, Status> {
    if !call.subresource.is_empty() {
        return Err(Status::method_not_allowed());
    }
    let stored = cx.stored(call)?;
    one(cx, &stored, &call.options)
}

/// Deletes one object.
pub fn one(cx: &mut Cx, stored: &Object, options: &Options) -> Result<Decision, Status> {
    marked(cx, stored, stored.value(), options)
}

/// … which stands as `old` while it is on its way.
fn marked(cx: &mut Cx, stored: &Object, old: Value, options: &Options) -> Result<Decision, Status> {
    let row = cx.row.clone();
    check_preconditions(cx, stored, options)?;
    cx.restrict_node(&restriction::Attempt {
        operation: restriction::Operation::Delete,
        res: row.res,
        subresource: "",
        namespace: stored.namespace(),
        name: stored.name(),
        object: &Value::Null,
        old: &old,
    })?;
    row.rules.admit_delete(&old, cx.seen.snapshot)?;
    let fate = fate(cx, stored, old, options);
    let expect = Expect::Revision(stored.revision());
    let (write, then) = match fate {
        Fate::Pending => {
            let reply = Reply::Object {
                object: stored.clone(),
                created: false,
            };
            return Ok(Decision::Answer(reply, cx.warnings()));
        }
        Fate::Gone => {
            let then = if row.rules.returns_deleted() {
                Then::Object { created: false }
            } else {
                Then::Done(deleted(&row, stored))
            };
            (
                Write::Delete {
                    res: row.res,
                    key: stored.meta().key(),
                    expect,
                },
                then,
            )
        }
        Fate::Marked(value) => {
            let draft = Draft::new(value).map_err(Status::internal)?;
            (
                Write::Put {
                    res: row.res,
                    draft,
                    expect,
                },
                Then::Object { created: false },
            )
        }
    };
    if options.dry_run {
        let reply = match then {
            Then::Done(value) => Reply::Done(value),
            _ => Reply::Object {
                object: stored.clone(),
                created: false,
            },
        };
        return Ok(Decision::Answer(reply, cx.warnings()));
    }
    Ok(Decision::Write(Pending {
        writes: vec![write],
        then,
        warnings: cx.warnings(),
        retry: options.revision.is_none(),
        lost: Status::stale(row.res, stored.name()),
    }))
}

fn deleted(row: &kinds::Row, stored: &Object) -> Value {
    let mut details = json!({"name": stored.name(), "kind": row.res.plural, "uid": stored.uid()});
    if !row.res.group.is_empty() {
        details["group"] = row.res.group.into();
    }
    success(details)
}

fn check_preconditions(cx: &Cx, stored: &Object, options: &Options) -> Result<(), Status> {
    check_uid(cx, options.uid.as_deref().unwrap_or_default(), stored)?;
    match options.revision {
        Some(wanted) if wanted != stored.revision() => {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {}",
                stored.revision()
            );
            Err(Status::conflict(cx.row.res, stored.name(), &why))
        }
        _ => Ok(()),
    }
}

/// Upstream's BeforeDelete and what the registry makes of it.
fn fate(cx: &Cx, stored: &Object, mut value: Value, options: &Options) -> Fate {
    let was = stored.meta();
    let grace = cx.row.rules.deletion_grace(&value, options.grace_seconds);
    let holds = cx.row.rules.holds(&value);
    let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Fate::Gone;
    };
    let propagation = options.propagation.or_else(|| default_propagation(cx.row, meta));
    let finalizers_changed = set_propagation(meta, propagation);
    let held = holds
        || meta
            .get("finalizers")
            .and_then(Value::as_array)
            .is_some_and(|f| !f.is_empty());
    if let Some(deleted) = was.deleted {
        let left = was.deletion_grace_seconds.unwrap_or(0);
        if left > 0 {
            return match options.grace_seconds {
                Some(asked) if asked < left => {
                    let asked = asked.max(0);
                    let at = deleted.plus_seconds(asked - left);
                    mark(meta, at, asked);
                    if asked == 0 && !held {
                        Fate::Gone
                    } else {
                        Fate::Marked(value)
                    }
                }
                _ if finalizers_changed => Fate::Marked(value),
                _ => Fate::Pending,
            };
        }
        return match (held, finalizers_changed) {
            (false, _) => Fate::Gone,
            (true, true) => Fate::Marked(value),
            (true, false) => Fate::Pending,
        };
    }
    let seconds = grace.unwrap_or(0).max(0);
    if seconds == 0 && !held {
        return Fate::Gone;
    }
    mark(meta, cx.now.plus_seconds(seconds), seconds);
    if was.generation > 0 {
        meta.insert("generation".into(), (was.generation + 1).into());
    }
    cx.row.rules.mark_deleted(&mut value);
    Fate::Marked(value)
}

/// What the kind wants for dependents that the request does not speak of; what is settled already stays so.
fn default_propagation(row: &kinds::Row, meta: &Map<String, Value>) -> Option<Propagation> {
    let finalizers = meta.get("finalizers").and_then(Value::as_array);
    let settled = finalizers.is_some_and(|f| f.iter().any(|f| f == ORPHAN || f == FOREGROUND));
    (row.rules.orphans_by_default() && !settled).then_some(Propagation::Orphan)
}

fn mark(meta: &mut Map<String, Value>, at: meta::Timestamp, seconds: i64) {
    meta.insert("deletionTimestamp".into(), at.rfc3339().into());
    meta.insert("deletionGracePeriodSeconds".into(), seconds.into());
}

/// Adds and removes the two finalizers that tell the garbage collector what to do. True when that changed them.
fn set_propagation(meta: &mut Map<String, Value>, asked: Option<Propagation>) -> bool {
    let before: Vec<Value> = meta
        .get("finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let Some(asked) = asked else { return false };
    let wanted = match asked {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let stays = |f: &&Value| {
        let text = f.as_str().unwrap_or_default();
        !(text == ORPHAN || text == FOREGROUND) || Some(text) == wanted
    };
    let after: Vec<Value> = before.iter().filter(stays).cloned().collect();
    let changed = after.len() != before.len();
    if after.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), after.into());
    }
    match wanted {
        Some(finalizer) if !before.iter().any(|f| f == finalizer) => {
            metadata::add_finalizer(meta, finalizer);
            true
        }
        _ => changed,
    }
}

/// All that match, as one transaction; answers with what was deleted or marked.
pub fn collection(cx: &mut Cx, call: &Call) -> Result<Decision, Status> {
    let filter = Filter::new(cx.row, &call.namespace, &call.options)?;
    let limit = if call.options.limit == 0 {
        usize::MAX
    } else {
        call.options.limit
    };
    let snapshot = cx.seen.snapshot;
    let matching: Vec<Object> = snapshot
        .list(cx.row.res, &call.namespace)
        .filter(|o| filter.matches(cx.row, o))
        .take(limit)
        .cloned()
        .collect();
    let (mut writes, mut left) = (Vec::new(), Vec::new());
    for stored in &matching {
        match one(cx, stored, &call.options)? {
            Decision::Write(mut pending) => writes.append(&mut pending.writes),
            Decision::Answer(..) => left.push(stored.clone()),
        }
    }
    if writes.is_empty() {
        let reply = Reply::List {
            objects: left,
            revision: snapshot.revision(),
            continue_token: String::new(),
            remaining: None,
        };
        return Ok(Decision::Answer(reply, cx.warnings()));
    }
    Ok(Decision::Write(Pending {
        writes,
        then: Then::Collection,
        warnings: cx.warnings(),
        retry: true,
        lost: Status::conflict(
            cx.row.res,
            "",
            "objects were modified meanwhile; please try again",
        ),
    }))
}

/// An eviction is a delete with the options that its body carries; the pod says why it goes.
pub fn evict(cx: &mut Cx, stored: &Object, pod: Value, attempt: &Attempt) -> Result<Decision, Status> {
    match marked(cx, stored, pod, attempt.options)? {
        Decision::Write(pending) => {
            let then = Then::Created(super::update::done());
            Ok(Decision::Write(Pending { then, ..pending }))
        }
        Decision::Answer(_, warnings) => {
            let reply = Reply::Value {
                value: super::update::done(),
                created: true,
            };
            Ok(Decision::Answer(reply, warnings))
        }
    }
}
