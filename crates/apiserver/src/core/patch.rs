//! PATCH in its three plain forms and server-side apply: how the new object comes about. The rest is `update`'s.

use super::managed::By;
use super::prepare::{self, Attempt, Unfit};
use super::update::{Change, check_name, replace};
use super::{Cx, Decision, access, create, managed, metadata, scale};
use merge::json_patch::JsonPatchError;
use merge::strategic::StrategicError;
use merge::{ApplyError, ManagerId};
use meta::client::Sent;
use meta::schema::SchemaKind;
use meta::{Call, Errors, Path, Status, Verb};
use serde_json::{Value, json};

pub fn patch(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    if call.subresource == "scale" {
        return scale::patch(cx, call);
    }
    let patch = call
        .body
        .ok_or_else(|| Status::bad_request("the request has no body"))?;
    let attempt = Attempt {
        namespace: &call.namespace,
        options: &call.options,
        subresource: call.subresource,
    };
    let found = cx
        .seen
        .snapshot
        .get(cx.row.res, &call.namespace, &call.name)
        .cloned();
    let stored = found.ok_or_else(|| Status::not_found(cx.row.res, &call.name))?;
    let old = stored.value();
    let mut new = old.clone();
    patched(cx, call.verb, &mut new, patch)?;
    keep_unless_named(&mut new, &old);
    let strictness = call.options.field_validation;
    let duplicates = duplicates(call.verb, call.sent.as_ref());
    let new = match prepare::patched(cx, new, &call.namespace, strictness, duplicates) {
        Ok(new) => new,
        Err(Unfit::Other(status)) => return Err(status),
        Err(Unfit::Fields(why)) => {
            let mut errors = Errors::new();
            let shown = shown(cx, call.verb, old, call.sent.as_ref());
            errors.invalid(&Path::new("patch"), shown, &why);
            return Err(Status::invalid("", "", "", &errors));
        }
    };
    check_name(&new, &call.name)?;
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

/// What stands in the patch more than once, in upstream's words.
fn duplicates(verb: Verb, sent: Option<&Sent>) -> Vec<String> {
    let all = sent.map(|sent| sent.duplicates.clone()).unwrap_or_default();
    match verb {
        Verb::PatchJson => all.iter().map(|text| format!("json patch {text}")).collect(),
        _ => all,
    }
}

/// How messages show a patch: what it makes of the object, or, of a strategic one, the patch itself as Go prints it.
fn shown(cx: &Cx, verb: Verb, old: Value, sent: Option<&Sent>) -> String {
    let Some(Ok(patch)) = sent.map(|sent| serde_json::from_slice::<Value>(&sent.json)) else {
        return old.to_string();
    };
    if verb == Verb::PatchStrategic {
        return go_text(&patch);
    }
    let mut new = old;
    match patched(cx, verb, &mut new, patch) {
        Ok(()) => new.to_string(),
        Err(status) => status.message,
    }
}

fn go_text(value: &Value) -> String {
    let spaced = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", spaced(items.iter().map(go_text).collect())),
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| format!("{key}:{}", go_text(value)));
            format!("map[{}]", spaced(members.collect()))
        }
        plain => plain.to_string(),
    }
}

/// A patch that leaves the revision alone means whatever is stored by then.
fn keep_unless_named(new: &mut Value, old: &Value) {
    let same = metadata::text(new, "resourceVersion") == metadata::text(old, "resourceVersion");
    if let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut)
        && same
    {
        meta.remove("resourceVersion");
    }
}

/// Changes `doc` as the patch says, or says why not.
pub fn patched(cx: &Cx, verb: Verb, doc: &mut Value, patch: Value) -> Result<(), Status> {
    match verb {
        Verb::PatchJson => merge::json_patch::apply(doc, &patch).map_err(|e| match &e {
            JsonPatchError::Malformed(why) => Status::bad_request(why.clone()),
            JsonPatchError::TooManyOperations(_) => Status::new(413, "RequestEntityTooLarge", e.to_string()),
            JsonPatchError::TestFailed(_) | JsonPatchError::NotApplicable(_) => rejected(&e.to_string()),
        }),
        Verb::PatchMerge => {
            if !patch.is_object() {
                let text = "error decoding patch: a JSON merge patch must be an object";
                return Err(Status::bad_request(text));
            }
            merge::merge_patch::apply(doc, patch);
            Ok(())
        }
        _ => {
            let schema = cx.row.schema();
            let is_custom = cx.row.rules.made_of().is_some();
            if is_custom || !matches!(schema.kind(), SchemaKind::Object(_)) {
                let accepted =
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(Status::unsupported_media_type(accepted));
            }
            merge::strategic::apply(doc, patch, &schema).map_err(|e| match e {
                StrategicError::ListOfLists => rejected(&e.to_string()),
                other => Status::bad_request(other.to_string()),
            })
        }
    }
}

/// Upstream's general answer and our reason. Clients print the message of an answer without causes.
fn rejected(why: &str) -> Status {
    Status {
        details: json!({}),
        ..Status::new(422, "Invalid", format!("{}: {why}", merge::REJECTED))
    }
}

pub fn apply(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    if call.subresource == "scale" {
        return Err(Status::method_not_allowed());
    }
    let applied = call
        .body
        .ok_or_else(|| Status::bad_request("the request has no body"))?;
    for field in ["apiVersion", "kind"] {
        if applied
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
        {
            return Err(Status::bad_request(format!(
                "invalid object type: /, Kind=: {field} must be set in an apply patch"
            )));
        }
    }
    let applied = prepare::typed(cx, applied, &call.namespace)?;
    merge::apply::check(&applied, &cx.row.schema(), &cx.row.api_version()).map_err(refused)?;
    let mut applied = prepare::body(cx, applied, &call.namespace, call.options.field_validation, None)?;
    if metadata::text(&applied, "name").is_empty() {
        applied["metadata"]["name"] = call.name.clone().into();
    }
    check_name(&applied, &call.name)?;
    let attempt = Attempt {
        namespace: &call.namespace,
        options: &call.options,
        subresource: call.subresource,
    };
    let found = cx
        .seen
        .snapshot
        .get(cx.row.res, &call.namespace, &call.name)
        .cloned();
    if found.is_none() && !call.subresource.is_empty() {
        return Err(Status::not_found(cx.row.res, &call.name));
    }
    let old = found.as_ref().map(meta::Object::value);
    let new = merged(cx, old.as_ref(), &applied, &attempt)?;
    match (found, old) {
        (Some(stored), Some(old)) => {
            let mut new = new;
            if metadata::text(&applied, "resourceVersion").is_empty() {
                keep_unless_named(&mut new, &old);
            }
            replace(
                cx,
                Change {
                    stored: &stored,
                    old,
                    new,
                    by: By::Apply,
                },
                &attempt,
            )
        }
        _ => {
            access::require_create(cx, &call.namespace, &call.name)?;
            create::object_of(cx, new, &attempt, By::Apply).map(Decision::whoever_was_faster)
        }
    }
}

fn merged(cx: &Cx, old: Option<&Value>, applied: &Value, attempt: &Attempt) -> Result<Value, Status> {
    let version = cx.row.api_version();
    let id = ManagerId {
        name: managed::manager(cx, attempt),
        api_version: &version,
        subresource: attempt.subresource,
    };
    let reset = managed::reset(cx.row, attempt.subresource);
    let now = cx.now.rfc3339();
    let schema = cx.row.schema();
    let force = attempt.options.force;
    merge::apply(old, applied, &schema, &id, &now, force, &reset).map_err(refused)
}

fn refused(error: ApplyError) -> Status {
    let ApplyError::Conflict(conflicts) = &error else {
        return Status::bad_request(error.to_string());
    };
    let causes: Value = conflicts
        .0
        .iter()
        .map(|c| {
            json!({"reason": "FieldManagerConflict", "field": c.path,
                "message": format!("conflict with {}", c.manager)})
        })
        .collect();
    Status {
        details: json!({"causes": causes}),
        ..Status::new(409, "Conflict", conflicts.to_string())
    }
}
