//! Replies as HTTP responses: stored bytes as they are wherever that is what was asked for.

use super::body::{Body, Item, ListBody, Pieces};
use super::negotiate::{Encoding, Form, MEDIA_TYPES, Shape};
use super::table::{self, Include, Layout};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use kinds::Row;
use kinds::wire::{self, Wire};
use meta::{Object, Reply, Status, Timestamp};
use serde_json::{Value, json};

/// Warnings longer than this together are cut off, as upstream does.
const WARNINGS_MAX_BYTES: usize = 4096;

/// What shapes a response besides the reply.
pub struct Wanted<'a> {
    pub row: &'a Row,
    pub form: Form,
    pub include: Include,
    pub now: Timestamp,
}

impl Wanted<'_> {
    fn layout(&self) -> Layout<'_> {
        Layout {
            row: self.row,
            version: self.form.version,
            include: self.include,
            now: self.now,
        }
    }
}

pub fn reply(wanted: &Wanted, reply: Reply, warnings: &[String]) -> Result<Response<Body>, Status> {
    let made = match reply {
        Reply::Object { object, created } => one(wanted, &object, code(created)),
        Reply::Value { value, created } => {
            let shaped = match wanted.form.shape {
                Shape::Table if value["kind"] == wanted.row.kind => {
                    let metadata = match &value["metadata"]["resourceVersion"] {
                        Value::Null => json!({}),
                        revision => json!({"resourceVersion": revision}),
                    };
                    let line = wanted.layout().line(value);
                    Ok(wanted.layout().table(vec![line], metadata, true))
                }
                Shape::Partial if value["kind"] != "Status" => wanted
                    .is_one()
                    .map(|()| table::partial(value, wanted.form.version)),
                _ => Ok(value),
            };
            shaped.and_then(|value| encode(code(created), &value, wanted.form))
        }
        Reply::Done(value) => encode(StatusCode::OK, &value, wanted.form),
        Reply::List {
            objects,
            revision,
            continue_token,
            remaining,
        } => {
            let mut metadata = json!({"resourceVersion": revision.to_string()});
            if !continue_token.is_empty() {
                metadata["continue"] = continue_token.into();
            }
            if let Some(remaining) = remaining {
                metadata["remainingItemCount"] = remaining.into();
            }
            list(wanted, objects, metadata)
        }
    };
    let mut response = made?;
    warn(&mut response, warnings.iter().map(String::as_str));
    Ok(response)
}

fn code(created: bool) -> StatusCode {
    if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

impl Wanted<'_> {
    /// Refuses metadata of a list where there is one object.
    fn is_one(&self) -> Result<(), Status> {
        match self.form.list {
            true => Err(Status::of_other_form(format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list (*{})",
                self.internal_type()
            ))),
            false => Ok(()),
        }
    }

    /// Refuses metadata of one object where there is a list.
    fn is_list(&self) -> Result<(), Status> {
        match self.form.list {
            true => Ok(()),
            false => Err(Status::of_other_form(format!(
                "you requested PartialObjectMetadata, but the requested object is a list (*{}List)",
                self.internal_type()
            ))),
        }
    }

    /// What upstream calls the kind inside.
    fn internal_type(&self) -> String {
        let row = self.row;
        let package = match row.res.group.split('.').next() {
            _ if Wire::of(&row.api_version(), row.kind).is_none() => {
                return "unstructured.Unstructured".into();
            }
            Some("" | "events") | None => "core",
            Some(group) => group,
        };
        format!("{package}.{}", row.kind)
    }
}

fn one(wanted: &Wanted, object: &Object, code: StatusCode) -> Result<Response<Body>, Status> {
    let form = wanted.form;
    match (form.shape, form.encoding) {
        (Shape::Plain, Encoding::Json) if !form.pretty => Ok(raw(code, object.json().clone(), form)),
        (Shape::Plain, Encoding::Protobuf) => {
            let wire = wire_of(&wanted.row.api_version(), wanted.row.kind)?;
            let message = wire.encode_stored(object).map_err(unencodable)?;
            Ok(raw(code, wire.envelope.around(&message).into(), form))
        }
        (Shape::Plain, _) => encode(code, &object.value(), form),
        (Shape::Partial, _) => {
            wanted.is_one()?;
            encode(code, &table::partial(object.value(), form.version), form)
        }
        (Shape::Table, _) => {
            let metadata = json!({"resourceVersion": object.revision().to_string()});
            let line = wanted.layout().line(object.value());
            let table = wanted.layout().table(vec![line], metadata, true);
            encode(code, &table, form)
        }
    }
}

fn wire_of(api_version: &str, kind: &str) -> Result<Wire, Status> {
    Wire::of(api_version, kind).ok_or_else(|| Status::not_acceptable(MEDIA_TYPES))
}

fn unencodable(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "an object has no protobuf form; this is a bug");
    Status::internal(error.to_string())
}

fn list(wanted: &Wanted, objects: Vec<Object>, metadata: Value) -> Result<Response<Body>, Status> {
    let (form, row) = (wanted.form, wanted.row);
    let (api_version, kind) = match form.shape {
        Shape::Partial => (form.version.to_string(), "PartialObjectMetadata"),
        _ => (row.api_version(), row.kind),
    };
    let list_kind = match form.shape {
        Shape::Partial => format!("{kind}List").into(),
        _ => row.list_kind(),
    };
    if form.shape == Shape::Partial {
        wanted.is_list()?;
    }
    match (form.shape, form.encoding) {
        (Shape::Table, _) => {
            let lines = wanted.layout().lines(&objects);
            let table = wanted.layout().table(lines, metadata, true);
            encode(StatusCode::OK, &table, form)
        }
        (shape, Encoding::Protobuf) => {
            let wire = wire_of(&api_version, kind)?;
            let outer = wire_of(&api_version, &list_kind)?;
            let whole = Wire::of(&row.api_version(), row.kind);
            let items = objects.into_iter().map(|object| match shape {
                Shape::Partial => wire.encode_metadata(whole.as_ref(), &object).map(Item::Made),
                _ => Item::stored(&wire, object),
            });
            let items = items.collect::<Result<Vec<_>, _>>().map_err(unencodable)?;
            let parts = outer.list(&metadata.to_string()).map_err(unencodable)?;
            let parts = parts.ok_or_else(|| Status::internal("a list without items"))?;
            let pieces = Pieces::Protobuf {
                wire,
                outer: outer.envelope,
                parts,
            };
            let body = Body::List(Box::new(ListBody::new(pieces, items)));
            Ok(respond(StatusCode::OK, body, form))
        }
        (shape, Encoding::Json) if !form.pretty => {
            let head = format!(
                "{{\"kind\":\"{list_kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":["
            );
            let items = objects.iter().map(|object| match shape {
                Shape::Partial => table::partial_json(object, form.version).map(Item::Made),
                _ => Ok(Item::Made(object.json().clone())),
            });
            let pieces = Pieces::Json { head };
            let body = ListBody::new(pieces, items.collect::<Result<_, Status>>()?);
            Ok(respond(StatusCode::OK, Body::List(Box::new(body)), form))
        }
        (shape, _) => {
            let shaped = |object: &Object| match shape {
                Shape::Partial => table::partial(object.value(), form.version),
                _ => object.value(),
            };
            let items: Vec<Value> = objects.iter().map(shaped).collect();
            let list = json!({"kind": list_kind, "apiVersion": api_version, "metadata": metadata,
                "items": items});
            encode(StatusCode::OK, &list, form)
        }
    }
}

/// A value as a response; one that cannot be had in this form is a failure.
pub fn encoded(code: StatusCode, value: &Value, form: Form) -> Response<Body> {
    encode(code, value, form).unwrap_or_else(|why| status(&why, Form::JSON))
}

fn encode(code: StatusCode, value: &Value, form: Form) -> Result<Response<Body>, Status> {
    let mut text = match form.encoding {
        Encoding::Json if form.pretty => serde_json::to_string_pretty(value).map_err(|e| e.to_string()),
        Encoding::Json => Ok(value.to_string()),
        Encoding::Yaml => codec::to_yaml(value).map_err(|e| e.to_string()),
        Encoding::Protobuf => {
            let body = wire::body(value).map_err(unencodable)?;
            let body = body.ok_or_else(|| Status::not_acceptable(MEDIA_TYPES))?;
            return Ok(raw(code, body.into(), form));
        }
    }
    .map_err(Status::internal)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(raw(code, text.into(), form))
}

fn raw(code: StatusCode, bytes: Bytes, form: Form) -> Response<Body> {
    respond(code, bytes.into(), form)
}

pub fn respond(code: StatusCode, body: Body, form: Form) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.encoding.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A failure, in the form that was asked for.
pub fn status(status: &Status, form: Form) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let value = status.to_value();
    let mut response = encode(code, &value, form).unwrap_or_else(|why| {
        tracing::error!(%why, "a failure could not be encoded");
        raw(code, format!("{value}\n").into(), Form::JSON)
    });
    let seconds = status.details.get("retryAfterSeconds").and_then(Value::as_u64);
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

pub fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(text.into())));
    *response.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert("x-content-type-options", nosniff);
    response
}

/// Adds `Warning` headers, each text once.
pub fn warn<'a>(response: &mut Response<Body>, warnings: impl IntoIterator<Item = &'a str>) {
    let (mut size, mut told) = (0, Vec::new());
    for warning in warnings {
        if told.contains(&warning) {
            continue;
        }
        told.push(warning);
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        size += quoted.len();
        if size > WARNINGS_MAX_BYTES {
            return;
        }
        let clean: String = quoted.chars().filter(|c| !c.is_control()).collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{clean}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}
