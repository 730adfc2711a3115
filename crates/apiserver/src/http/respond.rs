//! Replies as HTTP responses: stored bytes as they are wherever that is what was asked for.

use super::body::{Body, ListBody};
use super::negotiate::{Encoding, Form, Shape};
use super::table::{self, Include, Layout};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use kinds::Row;
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

pub fn reply(wanted: &Wanted, reply: Reply, warnings: &[String]) -> Response<Body> {
    let mut response = match reply {
        Reply::Object { object, created } => one(wanted, object, created),
        Reply::Value { value, created } => {
            let value = match wanted.form.shape {
                Shape::Table if value["kind"] == wanted.row.kind => {
                    let metadata = match &value["metadata"]["resourceVersion"] {
                        Value::Null => json!({}),
                        revision => json!({"resourceVersion": revision}),
                    };
                    let line = wanted.layout().line(value);
                    wanted.layout().table(vec![line], metadata, true)
                }
                Shape::Partial if value["kind"] != "Status" => table::partial(value, wanted.form.version),
                _ => value,
            };
            encoded(code(created), &value, wanted.form)
        }
        Reply::Done(value) => encoded(StatusCode::OK, &value, wanted.form),
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
    warn(&mut response, warnings.iter().map(String::as_str));
    response
}

fn code(created: bool) -> StatusCode {
    if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

fn one(wanted: &Wanted, object: Object, created: bool) -> Response<Body> {
    let form = wanted.form;
    match form.shape {
        Shape::Plain if form.encoding == Encoding::Json && !form.pretty => {
            raw(code(created), object.json().clone(), form)
        }
        Shape::Plain => encoded(code(created), &object.value(), form),
        Shape::Partial => encoded(code(created), &table::partial(object.value(), form.version), form),
        Shape::Table => {
            let metadata = json!({"resourceVersion": object.revision().to_string()});
            let line = wanted.layout().line(object.value());
            let table = wanted.layout().table(vec![line], metadata, true);
            encoded(code(created), &table, form)
        }
    }
}

fn list(wanted: &Wanted, objects: Vec<Object>, metadata: Value) -> Response<Body> {
    let form = wanted.form;
    match form.shape {
        Shape::Plain if form.encoding == Encoding::Json && !form.pretty => {
            let head = format!(
                "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
                wanted.row.list_kind(),
                wanted.row.api_version()
            );
            let body = ListBody::new(head.into(), objects, b"]}\n");
            respond(StatusCode::OK, Body::List(body), form)
        }
        Shape::Plain => {
            let items: Vec<Value> = objects.iter().map(Object::value).collect();
            let list = json!({"kind": wanted.row.list_kind(),
                "apiVersion": wanted.row.api_version(), "metadata": metadata, "items": items});
            encoded(StatusCode::OK, &list, form)
        }
        Shape::Partial => {
            let items: Vec<Value> = objects
                .iter()
                .map(|o| table::partial(o.value(), form.version))
                .collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": form.version,
                "metadata": metadata, "items": items});
            encoded(StatusCode::OK, &list, form)
        }
        Shape::Table => {
            let lines = wanted.layout().lines(&objects);
            let table = wanted.layout().table(lines, metadata, true);
            encoded(StatusCode::OK, &table, form)
        }
    }
}

pub fn encoded(code: StatusCode, value: &Value, form: Form) -> Response<Body> {
    let text = match form.encoding {
        Encoding::Json if form.pretty => serde_json::to_string_pretty(value).map_err(|e| e.to_string()),
        Encoding::Json => serde_json::to_string(value).map_err(|e| e.to_string()),
        Encoding::Yaml => codec::to_yaml(value).map_err(|e| e.to_string()),
    };
    match text {
        Ok(mut text) => {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            raw(code, text.into(), form)
        }
        Err(why) => status(&Status::internal(why)),
    }
}

fn raw(code: StatusCode, bytes: Bytes, form: Form) -> Response<Body> {
    respond(code, bytes.into(), form)
}

pub fn respond(code: StatusCode, body: Body, form: Form) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A failure, always as JSON: every client reads that.
pub fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = raw(code, format!("{}\n", status.to_value()).into(), Form::JSON);
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
