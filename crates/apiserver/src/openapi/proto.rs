//! An OpenAPI v2 document in the protobuf form that Kubernetes clients ask for (the `openapi.v2.Document` message):
//! a walk over the JSON form that writes the fields that such documents have.

use serde_json::{Map, Value};

/// One protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// The text member `name`, if there is one.
    fn text(&mut self, field: u64, of: &Value, name: &str) {
        if let Some(text) = of.get(name).and_then(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u64, of: &Value, name: &str) {
        if of.get(name).and_then(Value::as_bool) == Some(true) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    /// Each text of the list `name`.
    fn texts(&mut self, field: u64, of: &Value, name: &str) {
        for text in items(of, name).iter().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    /// Members that begin with `x-`, each as its name and its value in YAML (of which JSON is a part).
    fn extensions(&mut self, field: u64, of: &Value) {
        for (name, value) in members(of).filter(|(name, _)| name.starts_with("x-")) {
            let mut any = Self::default();
            any.bytes(2, value.to_string().as_bytes());
            self.message(field, &named(name, &any));
        }
    }
}

fn items<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of.get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn members(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of.as_object().into_iter().flat_map(Map::iter)
}

/// A name and a value, as gnostic writes the entries of its maps.
fn named(name: &str, value: &Message) -> Message {
    let mut entry = Message::default();
    entry.bytes(1, name.as_bytes());
    entry.message(2, value);
    entry
}

/// The whole document.
pub fn document(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document, "swagger");
    if let Some(info) = document.get("info") {
        let mut message = Message::default();
        message.text(1, info, "title");
        message.text(2, info, "version");
        out.message(2, &message);
    }
    let mut paths = Message::default();
    for (path, item) in document.get("paths").into_iter().flat_map(members) {
        paths.message(2, &named(path, &path_item(item)));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, value) in document.get("definitions").into_iter().flat_map(members) {
        definitions.message(1, &named(name, &schema(value)));
    }
    out.message(9, &definitions);
    out.0
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(value) = item.get(method) {
            out.message(field, &operation(value));
        }
    }
    for value in items(item, "parameters") {
        out.message(9, &parameter(value));
    }
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, operation, "tags");
    out.text(3, operation, "description");
    out.text(5, operation, "operationId");
    out.texts(6, operation, "produces");
    out.texts(7, operation, "consumes");
    for value in items(operation, "parameters") {
        out.message(8, &parameter(value));
    }
    let mut responses = Message::default();
    for (code, value) in operation.get("responses").into_iter().flat_map(members) {
        let mut response = Message::default();
        response.text(1, value, "description");
        if let Some(value) = value.get("schema") {
            let mut item = Message::default();
            item.message(1, &schema(value));
            response.message(2, &item);
        }
        let mut either = Message::default();
        either.message(1, &response);
        responses.message(1, &named(code, &either));
    }
    out.message(9, &responses);
    out.texts(10, operation, "schemes");
    out.extensions(13, operation);
    out
}

/// A parameter, inside the messages that tell the sorts of parameters apart.
fn parameter(parameter: &Value) -> Message {
    let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
    let mut inner = Message::default();
    let mut either = Message::default();
    if place == "body" {
        inner.text(2, parameter, "name");
        inner.text(3, parameter, "in");
        inner.flag(4, parameter, "required");
        if let Some(value) = parameter.get("schema") {
            inner.message(5, &schema(value));
        }
        either.message(1, &inner);
    } else {
        let in_query = place == "query";
        inner.flag(1, parameter, "required");
        inner.text(2, parameter, "in");
        inner.text(3, parameter, "description");
        inner.text(4, parameter, "name");
        inner.text(if in_query { 6 } else { 5 }, parameter, "type");
        inner.flag(if in_query { 20 } else { 19 }, parameter, "uniqueItems");
        let mut sort = Message::default();
        sort.message(if in_query { 3 } else { 4 }, &inner);
        either.message(2, &sort);
    }
    let mut out = Message::default();
    out.message(1, &either);
    out
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, value, "$ref");
    out.text(2, value, "format");
    out.text(4, value, "description");
    if let Some(default) = value.get("default") {
        let mut any = Message::default();
        any.bytes(2, default.to_string().as_bytes());
        out.message(5, &any);
    }
    out.texts(19, value, "required");
    if let Some(values) = value.get("additionalProperties") {
        let mut either = Message::default();
        either.message(1, &schema(values));
        out.message(21, &either);
    }
    if value.get("type").is_some() {
        let mut kind = Message::default();
        kind.text(1, value, "type");
        out.message(22, &kind);
    }
    if let Some(inner) = value.get("items") {
        let mut list = Message::default();
        list.message(1, &schema(inner));
        out.message(23, &list);
    }
    if let Some(properties) = value.get("properties") {
        let mut list = Message::default();
        for (name, property) in members(properties) {
            list.message(1, &named(name, &schema(property)));
        }
        out.message(25, &list);
    }
    out.extensions(31, value);
    out
}
