//! What the server itself puts into objects and keeps out of them: type, namespace, uid, times, generation, status.

use super::{Cx, metadata};
use meta::client::{FieldValidation, Sent};
use meta::schema::SchemaKind;
use meta::{Options, Status};
use serde_json::{Map, Value};

/// The part of a call that all stages of a write need.
pub struct Attempt<'a> {
    pub namespace: &'a str,
    pub options: &'a Options,
    pub subresource: &'a str,
}

/// A body as an object of the row's kind: right type, right namespace, right fields.
pub fn body(
    cx: &mut Cx,
    mut body: Value,
    namespace: &str,
    strictness: FieldValidation,
    sent: Option<&Sent>,
) -> Result<Value, Status> {
    set_type(cx, &mut body)?;
    let row = cx.row;
    let handled = |why: &str| {
        Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {why}",
            row.kind, row.version, row.kind
        ))
    };
    let unknown = conform(cx, &mut body, sent.map(|sent| &*sent.json)).map_err(|why| handled(&why))?;
    let told = told(cx, unknown, sent);
    judge(cx, told, strictness).map_err(|why| handled(&why))?;
    set_namespace(cx, &mut body, namespace)?;
    Ok(body)
}

/// Why a patched object is none of the row's kind.
pub enum Unfit {
    /// Its fields, in the decoder's words.
    Fields(String),
    Other(Status),
}

/// What a patch made of an object, as `body`; `duplicates` are the patch's own.
pub fn patched(
    cx: &mut Cx,
    mut body: Value,
    namespace: &str,
    strictness: FieldValidation,
    duplicates: Vec<String>,
) -> Result<Value, Unfit> {
    set_type(cx, &mut body).map_err(Unfit::Other)?;
    let unknown = conform(cx, &mut body, None).map_err(Unfit::Fields)?;
    let told = duplicates.into_iter().chain(unknown).collect();
    judge(cx, told, strictness).map_err(Unfit::Fields)?;
    set_namespace(cx, &mut body, namespace).map_err(Unfit::Other)?;
    Ok(body)
}

/// Unknown and duplicate fields together, in the order of the text where that is at hand.
fn told(cx: &Cx, unknown: Vec<String>, sent: Option<&Sent>) -> Vec<String> {
    match sent {
        Some(sent) if cx.row.rules.made_of().is_some() => {
            sent.duplicates.iter().cloned().chain(unknown).collect()
        }
        Some(sent) if !(unknown.is_empty() && sent.duplicates.is_empty()) => {
            let schema = cx.row.schema();
            match schema.kind() {
                SchemaKind::Object(_) => codec::strict::complaints(&schema, &sent.json),
                _ => sent.duplicates.iter().cloned().chain(unknown).collect(),
            }
        }
        _ => unknown,
    }
}

/// Warns of these fields or refuses them.
fn judge(cx: &mut Cx, told: Vec<String>, strictness: FieldValidation) -> Result<(), String> {
    match strictness {
        FieldValidation::Strict if !told.is_empty() => {
            return Err(format!("strict decoding error: {}", told.join(", ")));
        }
        FieldValidation::Warn => cx.warnings.extend(told),
        FieldValidation::Ignore | FieldValidation::Strict => {}
    }
    Ok(())
}

/// A body of the right type and in the right namespace, its fields as they were sent.
pub fn typed(cx: &Cx, mut body: Value, namespace: &str) -> Result<Value, Status> {
    set_type(cx, &mut body)?;
    if body.get("metadata").is_some_and(Value::is_object) {
        set_namespace(cx, &mut body, namespace)?;
    }
    Ok(body)
}

/// `apiVersion` and `kind` may be left out; if not, they must be the row's.
fn set_type(cx: &Cx, body: &mut Value) -> Result<(), Status> {
    let row = cx.row;
    let wanted = row.api_version();
    let Some(map) = body.as_object_mut() else {
        let text = format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct",
            row.kind,
            metadata::json_type(body)
        );
        return Err(Status::bad_request(text));
    };
    let text = |map: &Map<String, Value>, key: &str| match map.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(Status::bad_request(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{key} of type string",
            metadata::json_type(other)
        ))),
    };
    let (version, kind) = (text(map, "apiVersion")?, text(map, "kind")?);
    if !version.is_empty() && version != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != row.kind {
        return Err(Status::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: the kind in the data does not match the resource of the request",
            row.version, row.kind
        )));
    }
    if version.is_empty() {
        map.insert("apiVersion".into(), wanted.into());
    }
    if kind.is_empty() {
        map.insert("kind".into(), row.kind.into());
    }
    match map.get("metadata") {
        None | Some(Value::Null) => {
            map.insert("metadata".into(), Value::Object(Map::new()));
        }
        Some(_) => {}
    }
    Ok(())
}

/// Brings fields into the form of the row's schema. Gives the unknown ones, or what is not of its type; `json` is the text.
fn conform(cx: &Cx, body: &mut Value, json: Option<&[u8]>) -> Result<Vec<String>, String> {
    if let Some(conformed) = cx.row.rules.conform(body) {
        return conformed;
    }
    let schema = cx.row.schema();
    let found = codec::strict::conform(&schema, body);
    let found = match schema.kind() {
        SchemaKind::Object(_) => found,
        _ => found.and_then(|_| codec::strict::conform_metadata(kinds::schema::arena(), body)),
    };
    found.map_err(|misfits| misfits.told(json))
}

/// Adds what every object of the kind has, given or not.
pub fn complete(row: &kinds::Row, object: &mut Value) {
    codec::strict::complete(&row.schema(), object);
}

fn set_namespace(cx: &Cx, body: &mut Value, namespace: &str) -> Result<(), Status> {
    let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(Status::bad_request("metadata is not an object"));
    };
    if !cx.row.namespaced {
        meta.remove("namespace");
        return Ok(());
    }
    match meta.get("namespace").and_then(Value::as_str) {
        Some(given) if !given.is_empty() && given != namespace => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        Some(given) if given == namespace => Ok(()),
        _ => {
            meta.insert("namespace".into(), namespace.into());
            Ok(())
        }
    }
}

/// Identity and birth of a new object.
pub fn system_fields(cx: &mut Cx, object: &mut Value) {
    let uid = meta::env::uuid_from((cx.random)(), (cx.random)());
    let created = cx.now.rfc3339();
    let generation = cx.row.generation;
    let finalizers = cx.row.rules.finalizers();
    let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    meta.insert("uid".into(), uid.into());
    meta.insert("creationTimestamp".into(), created.into());
    if generation {
        meta.insert("generation".into(), 1.into());
    }
    for finalizer in finalizers {
        metadata::add_finalizer(meta, finalizer);
    }
}

/// Signs the token that an object is made for, where it is missing. A server without a key leaves it out.
pub fn token(cx: &Cx, object: &mut Value) -> Result<(), Status> {
    let rules = &cx.row.rules;
    if let (Some(claims), Some(signer)) = (rules.wants_token(object, cx.seen.snapshot), cx.seen.signer) {
        rules.put_token(object, &signer.sign(&claims)?);
    }
    Ok(())
}

/// A new object says nothing of its status: only the subresource writes that.
pub fn drop_status(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
}

/// True when the desired state differs: anything but metadata and status.
pub fn spec_changed(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old != new;
    };
    let counts = |key: &&String| !matches!(key.as_str(), "metadata" | "status");
    old.keys()
        .chain(new.keys())
        .filter(counts)
        .any(|key| old.get(key) != new.get(key))
}
