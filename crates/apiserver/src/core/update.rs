//! UPDATE, and everything after "new object" that PUT, PATCH and apply share for an object that exists.

use super::managed::By;
use super::prepare::{self, Attempt};
use super::{Cx, Decision, Pending, Then, access, create, managed, metadata, page, review, scale, success};
use kinds::node::restriction;
use kinds::{Check, Within, Write as Verb};
use meta::{Call, Draft, Errors, Object, Path, Reply, Status};
use serde_json::Value;
use store::{Expect, Write};

pub fn update(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    if call.subresource == "scale" {
        return scale::update(cx, call);
    }
    let body = call
        .body
        .ok_or_else(|| Status::bad_request("the request has no body"))?;
    let new = prepare::body(
        cx,
        body,
        &call.namespace,
        call.options.field_validation,
        call.sent.as_ref(),
    )?;
    check_name(&new, &call.name)?;
    let attempt = Attempt {
        namespace: &call.namespace,
        options: &call.options,
        subresource: call.subresource,
    };
    let stored = cx
        .seen
        .snapshot
        .get(cx.row.res, &call.namespace, &call.name)
        .cloned();
    let Some(stored) = stored else {
        if cx.row.rules.creates_on_update() && call.subresource.is_empty() {
            access::require_create(cx, &call.namespace, &call.name)?;
            return create::object_of(cx, new, &attempt, By::Update).map(Decision::whoever_was_faster);
        }
        return Err(Status::not_found(cx.row.res, &call.name));
    };
    names_revision(cx, &new, &stored, &attempt)?;
    let old = stored.value();
    replace(
        cx,
        Change {
            stored: &stored,
            old,
            new,
            by: By::Update,
        },
        &attempt,
    )
}

/// The body's name must be the path's.
pub fn check_name(new: &Value, name: &str) -> Result<(), Status> {
    match metadata::text(new, "name") {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        given if given != name => Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}

/// An object that is to take the place of a stored one.
pub struct Change<'a> {
    pub stored: &'a Object,
    /// `stored`, decoded.
    pub old: Value,
    pub new: Value,
    pub by: By,
}

/// Everything after "new object" for one that exists.
pub fn replace(cx: &mut Cx, change: Change, attempt: &Attempt) -> Result<Decision, Status> {
    let Change {
        stored,
        old,
        mut new,
        by,
    } = change;
    let row = cx.row.clone();
    let named = check_revision(cx, &new, stored, attempt)?;
    let write = match attempt.subresource {
        "" => Verb::Update,
        "status" => Verb::Status,
        other => Verb::Other(meta::res::intern(other)),
    };
    keep_system_fields(&mut new, &old);
    if write == Verb::Status {
        new = only_status(new, &old, row.rules.status_keeps());
    }
    row.rules.default(&mut new);
    cx.admit_caller(&new, Some(&old))?;
    // A binding touches both spec and status, an approval the status alone.
    if row.status && !matches!(attempt.subresource, "status" | "binding" | "approval") {
        keep_member(&mut new, &old, "status");
    }
    row.rules.prepare(write, &mut new, Some(&old), cx.now);
    prepare::token(cx, &mut new)?;
    let mut sent = row.rules.allocates().then(|| new.clone());
    row.rules.begin(write, &mut new, Some(&old), cx.seen.snapshot)?;
    validate(cx, write, &mut new, &old, stored.name())?;
    // Where a pod runs is not what it was asked to be: binding leaves its generation.
    let counts = write != Verb::Status && attempt.subresource != "binding";
    let changed = prepare::spec_changed(&old, &new) || row.rules.makes_generation(&new, &old);
    if row.generation && counts && changed {
        new["metadata"]["generation"] = (stored.meta().generation + 1).into();
    }
    if let Some(sent) = &mut sent {
        prepare::complete(&row, sent);
    }
    managed::record_of(cx, Some(&old), &mut new, sent, attempt, by);
    cx.restrict_node(&restriction::Attempt {
        operation: restriction::Operation::Update,
        res: row.res,
        subresource: attempt.subresource,
        namespace: attempt.namespace,
        name: stored.name(),
        object: &new,
        old: &old,
    })?;
    row.rules.admit(write, &mut new, Some(&old), cx.seen.snapshot)?;
    cx.warnings.extend(row.rules.warnings(&new, Some(&old)));
    merge::timestamps_only(&old, &mut new);
    if attempt.options.dry_run {
        // As it is stored: who compares (kubectl diff) must not see a difference where there is none.
        new["metadata"]["resourceVersion"] = stored.revision().to_string().into();
        let reply = Reply::Value {
            value: new,
            created: false,
        };
        return Ok(Decision::Answer(reply, cx.warnings()));
    }
    let was_held = row.rules.holds(&old) || !stored.meta().finalizers.is_empty();
    let released = was_held && !row.rules.holds(&new) && goes_when_released(stored);
    let draft = Draft::new(new).map_err(|e| Status::bad_request(e.to_string()))?;
    commit(cx, draft, stored, released, !named)
}

/// A deleted object without grace left goes with the last thing that holds it.
fn goes_when_released(stored: &Object) -> bool {
    let was = stored.meta();
    was.is_deleting() && was.deletion_grace_seconds.unwrap_or(0) == 0
}

/// The write for a checked draft: nothing when nothing changes, a delete when this was the last thing that held it.
fn commit(
    cx: &mut Cx,
    draft: Draft,
    stored: &Object,
    released: bool,
    retry: bool,
) -> Result<Decision, Status> {
    let res = cx.row.res;
    let expect = Expect::Revision(stored.revision());
    let was = stored.meta();
    let released = released && draft.meta().finalizers.is_empty();
    if !released && draft.same_as(stored) {
        let reply = Reply::Object {
            object: stored.clone(),
            created: false,
        };
        return Ok(Decision::Answer(reply, cx.warnings()));
    }
    let (write, then) = if released {
        (
            Write::Delete {
                res,
                key: was.key(),
                expect,
            },
            Then::Released(Box::new(draft)),
        )
    } else {
        (Write::Put { res, draft, expect }, Then::Object { created: false })
    };
    Ok(Decision::Write(Pending {
        writes: vec![write],
        then,
        warnings: cx.warnings(),
        retry,
        lost: Status::stale(res, stored.name()),
    }))
}

/// The revision and uid that the client means, if it says so. True when it names a revision.
fn check_revision(cx: &Cx, new: &Value, stored: &Object, attempt: &Attempt) -> Result<bool, Status> {
    let res = cx.row.res;
    let options = attempt.options;
    check_uid(cx, options.uid.as_deref().unwrap_or_default(), stored)?;
    check_uid(cx, metadata::text(new, "uid"), stored)?;
    let text = metadata::text(new, "resourceVersion");
    let given = match page::parse_revision(text)? {
        Some(0) | None => options.revision,
        given => given,
    };
    match given {
        Some(revision) if revision != stored.revision() => Err(Status::stale(res, stored.name())),
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

/// Some kinds must be told from which revision a new state was made. Patches are made from the one that is stored.
fn names_revision(cx: &Cx, new: &Value, stored: &Object, attempt: &Attempt) -> Result<(), Status> {
    let text = metadata::text(new, "resourceVersion");
    let named = page::parse_revision(text)?.is_some_and(|revision| revision != 0);
    if named || attempt.options.revision.is_some() || !cx.row.rules.needs_revision() {
        return Ok(());
    }
    let mut errors = Errors::new();
    errors.invalid(
        &Path::new("metadata").child("resourceVersion"),
        0,
        "must be specified for an update",
    );
    // Upstream names the resource here, not the kind.
    let res = cx.row.res;
    Err(Status::invalid(res.group, res.plural, stored.name(), &errors))
}

pub fn check_uid(cx: &Cx, uid: &str, stored: &Object) -> Result<(), Status> {
    if uid.is_empty() || uid == stored.uid() {
        return Ok(());
    }
    let why = format!(
        "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
        stored.uid()
    );
    Err(Status::conflict(cx.row.res, stored.name(), &why))
}

/// What an update that leaves it out keeps, and what no update may set.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let null = Value::Null;
    let before = old.get("metadata").unwrap_or(&null);
    let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    meta.remove("resourceVersion");
    meta.remove("selfLink");
    // Nobody is asked for when it was made, or marked: what is sent does not count, unless there is nothing yet.
    let always = ["creationTimestamp", "deletionTimestamp"];
    let unless_sent = ["uid", "deletionGracePeriodSeconds"];
    for field in always.into_iter().chain(unless_sent) {
        if let Some(kept) = before.get(field)
            && (always.contains(&field) || !meta.contains_key(field))
        {
            meta.insert(field.into(), kept.clone());
        }
    }
    match before.get("generation") {
        Some(kept) => meta.insert("generation".into(), kept.clone()),
        None => meta.remove("generation"),
    };
}

fn keep_member(new: &mut Value, old: &Value, member: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(member) {
        Some(kept) => map.insert(member.into(), kept.clone()),
        None => map.remove(member),
    };
}

/// A status write changes the status and, as upstream's, the metadata; but for `kept`.
fn only_status(mut sent: Value, old: &Value, kept: &[&str]) -> Value {
    let mut new = old.clone();
    keep_member(&mut new, &sent, "status");
    let mut metadata = sent.get_mut("metadata").map(Value::take).unwrap_or(Value::Null);
    for field in kept {
        keep_member(&mut metadata, &old["metadata"], field);
    }
    if let Some(map) = new.as_object_mut() {
        map.insert("metadata".into(), metadata);
    }
    new
}

fn validate(cx: &Cx, write: Verb, new: &mut Value, old: &Value, name: &str) -> Result<(), Status> {
    let mut errors = Errors::new();
    let rules = &cx.row.rules;
    metadata::validate_any(new, &mut errors);
    metadata::validate_update(new, old, &mut errors);
    let within = Within {
        old: Some(old),
        seen: cx.seen.snapshot,
        asks: &review::Known(cx),
    };
    rules.validate_within(write, new, &within, &mut errors);
    for check in rules.update_checks(write) {
        match check {
            Check::Metadata => metadata::validate(cx.row, new, &mut errors),
            Check::MetadataChange => metadata::validate_change(cx.row, new, old, &mut errors),
            Check::Object => rules.validate_replacement(new, old, &mut errors),
            Check::Change => {
                // What is stored is complete, and what is compared with it has to be.
                if rules.compares_as_sent() {
                    codec::strict::complete_as_sent(&cx.row.schema(), new);
                } else {
                    prepare::complete(cx.row, new);
                }
                rules.validate_update(write, new, old, &mut errors);
            }
        }
    }
    prepare::complete(cx.row, new);
    if errors.is_empty() {
        rules.authorize(write, new, &within, &mut errors);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(cx.invalid(name, &errors))
    }
}

/// The `Status` that some subresources answer with.
pub fn done() -> Value {
    let mut value = success(Value::Null);
    if let Some(map) = value.as_object_mut() {
        map.remove("details");
        map.insert("code".into(), 201.into());
    }
    value
}
