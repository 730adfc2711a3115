//! Protobuf bodies of built-in kinds, read with a table of field numbers: bytes in, the same value out that the JSON
//! form would give. Source: "Kubernetes protobuf encoding" in the API concepts, gogo's proto2 wire format.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::Timestamp;
use meta::schema::Written;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What every protobuf body starts with.
pub const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages; the API's own types stay far below it.
const MAX_DEPTH: usize = 64;

/// Fields of all messages, by the names that the table uses (`core.v1.Pod`).
#[derive(Debug, Default)]
pub struct Table {
    messages: HashMap<String, HashMap<u32, Field>>,
}

#[derive(Debug, Clone)]
struct Field {
    name: Box<str>,
    kind: Kind,
    shape: Shape,
    /// Members stand in the message that holds this one.
    inline: bool,
    pointer: bool,
    /// Without `omitempty`.
    always: bool,
}

impl Field {
    /// A zero that was sent is meant: Go's pointers, and fields without `omitempty`.
    fn keeps_zero(&self) -> bool {
        self.pointer || (self.always && self.kind != Kind::Bytes)
    }

    fn written(&self) -> Written {
        match () {
            () if self.pointer && self.always => Written::OrNull,
            () if self.pointer => Written::Given,
            () if self.always => Written::Always,
            () => Written::Nonzero,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Text,
    Bytes,
    Int,
    Bool,
    Double,
    Message(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    One,
    List,
    Map,
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    #[error("unexpected EOF at byte {0}")]
    Truncated(usize),
    #[error("illegal wire type {wire} for field {field}")]
    WireType { field: u32, wire: u8 },
    #[error("field {0} is not UTF-8")]
    NotText(String),
    #[error("messages are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("no protobuf form is known for {0}")]
    UnknownType(String),
    #[error("{field}: {problem}")]
    BadValue { field: String, problem: String },
}

type Result<T> = std::result::Result<T, ProtobufError>;

impl Table {
    /// Reads the table's text: `type: field=number kind; …` a line, `#` for comments. `None` if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut messages = HashMap::new();
        for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            let (name, fields) = line.split_once(": ")?;
            let fields = fields
                .split("; ")
                .map(parse_field)
                .collect::<Option<HashMap<_, _>>>()?;
            messages.insert(name.to_string(), fields);
        }
        Some(Self { messages })
    }

    pub fn knows(&self, message: &str) -> bool {
        self.messages.contains_key(message)
    }

    /// When Go's encoder writes a message's field, for all fields by their JSON names, and the inline struct it is in.
    pub fn written(&self, message: &str) -> HashMap<&str, (Written, Option<&str>)> {
        let mut out = HashMap::new();
        for field in self.messages.get(message).into_iter().flat_map(HashMap::values) {
            match (&field.kind, field.inline) {
                (Kind::Message(inner), true) => {
                    let holder = inner.rsplit('.').next();
                    let fields = self.written(inner).into_iter();
                    out.extend(fields.map(|(name, (written, _))| (name, (written, holder))));
                }
                _ => {
                    out.insert(&*field.name, (field.written(), None));
                }
            }
        }
        out
    }

    /// Decodes an enveloped body. `apiVersion` and `kind` are the envelope's.
    /// `type_of` gives the message's name for them.
    pub fn decode(&self, body: &[u8], type_of: impl Fn(&str, &str) -> Option<String>) -> Result<Value> {
        let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
        let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
        for item in Items::new(body) {
            let (number, item) = item?;
            match (number, item) {
                (1, Item::Bytes(bytes)) => {
                    for item in Items::new(bytes) {
                        match item? {
                            (1, Item::Bytes(b)) => api_version = text(b, "apiVersion")?,
                            (2, Item::Bytes(b)) => kind = text(b, "kind")?,
                            _ => {}
                        }
                    }
                }
                (2, Item::Bytes(bytes)) => raw = bytes,
                _ => {}
            }
        }
        let name = type_of(&api_version, &kind)
            .ok_or_else(|| ProtobufError::UnknownType(format!("{api_version}, Kind={kind}")))?;
        let mut value = self.message(&name, raw, 0)?;
        if let Some(map) = value.as_object_mut() {
            map.insert("apiVersion".into(), api_version.into());
            map.insert("kind".into(), kind.into());
        }
        Ok(value)
    }

    fn message(&self, name: &str, bytes: &[u8], depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        if let Some(value) = special(name, bytes)? {
            return Ok(value);
        }
        if let Some(item) = name.strip_prefix("[]") {
            // A named list such as `extra` of a user: its items are field 1, all of them text.
            debug_assert_eq!(item, "string");
            let mut list = Vec::new();
            for item in Items::new(bytes) {
                if let (1, Item::Bytes(b)) = item? {
                    list.push(text(b, name)?.into());
                }
            }
            return Ok(Value::Array(list));
        }
        let mut out = Map::new();
        self.fill(name, bytes, depth, &mut out)?;
        Ok(Value::Object(out))
    }

    fn fill(&self, name: &str, bytes: &[u8], depth: usize, out: &mut Map<String, Value>) -> Result<()> {
        let fields = self.messages.get(name);
        for item in Items::new(bytes) {
            let (number, item) = item?;
            // Fields that we do not know come from a newer client; typed decoding drops them.
            let Some(field) = fields.and_then(|f| f.get(&number)) else {
                continue;
            };
            if field.inline {
                if let (Kind::Message(inner), Item::Bytes(bytes)) = (&field.kind, &item) {
                    self.fill(inner, bytes, depth + 1, out)?;
                }
                continue;
            }
            match field.shape {
                Shape::Map => self.entry(field, item, depth, out)?,
                Shape::List => self.element(field, item, depth, out)?,
                Shape::One => {
                    let value = self.value(field, item, depth)?;
                    if field.keeps_zero() || !is_zero(&value) {
                        out.insert(field.name.to_string(), value);
                    }
                }
            }
        }
        Ok(())
    }

    fn element(&self, field: &Field, item: Item, depth: usize, out: &mut Map<String, Value>) -> Result<()> {
        let list = out
            .entry(field.name.to_string())
            .or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = list else { return Ok(()) };
        match (&field.kind, item) {
            // Numbers may come packed.
            (Kind::Int | Kind::Bool, Item::Bytes(packed)) => {
                let mut at = 0;
                while at < packed.len() {
                    let number = varint(packed, &mut at)?;
                    list.push(self.value(field, Item::Varint(number), depth)?);
                }
            }
            (_, item) => list.push(self.value(field, item, depth)?),
        }
        Ok(())
    }

    fn entry(&self, field: &Field, item: Item, depth: usize, out: &mut Map<String, Value>) -> Result<()> {
        let Item::Bytes(bytes) = item else {
            return Err(wrong(field));
        };
        let mut key = String::new();
        let mut value = match &field.kind {
            Kind::Message(name) => self.message(name, &[], depth + 1)?,
            Kind::Int => 0.into(),
            Kind::Bool => false.into(),
            _ => "".into(),
        };
        for item in Items::new(bytes) {
            match item? {
                (1, Item::Bytes(b)) => key = text(b, &field.name)?,
                (2, item) => value = self.value(field, item, depth)?,
                _ => {}
            }
        }
        let map = out
            .entry(field.name.to_string())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(map) = map {
            map.insert(key, value);
        }
        Ok(())
    }

    fn value(&self, field: &Field, item: Item, depth: usize) -> Result<Value> {
        Ok(match (&field.kind, item) {
            (Kind::Text, Item::Bytes(b)) => text(b, &field.name)?.into(),
            (Kind::Bytes, Item::Bytes(b)) => STANDARD.encode(b).into(),
            (Kind::Int, Item::Varint(n)) => (n as i64).into(),
            (Kind::Bool, Item::Varint(n)) => (n != 0).into(),
            (Kind::Double, Item::Fixed64(bits)) => {
                serde_json::Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            (Kind::Message(name), Item::Bytes(b)) => self.message(name, b, depth + 1)?,
            _ => return Err(wrong(field)),
        })
    }
}

fn wrong(field: &Field) -> ProtobufError {
    ProtobufError::BadValue {
        field: field.name.to_string(),
        problem: "wrong wire type".into(),
    }
}

/// What Go's `omitempty` leaves out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Number(n) => n.as_i64() == Some(0) || n.as_f64() == Some(0.0),
        Value::Bool(b) => !b,
        // Structs that are no pointers are always on the wire; an empty one says nothing.
        Value::Object(map) => map.is_empty(),
        Value::Array(_) => false,
    }
}

fn parse_field(text: &str) -> Option<(u32, Field)> {
    let (name, rest) = text.split_once('=')?;
    let (number, mut kind) = rest.split_once(' ')?;
    let always = strip_end(&mut kind, "!");
    let pointer = strip_end(&mut kind, "*");
    let inline = strip_start(&mut kind, "~");
    let shape = match () {
        () if strip_start(&mut kind, "+") => Shape::List,
        () if strip_start(&mut kind, "%") => Shape::Map,
        () => Shape::One,
    };
    let kind = match kind {
        "s" => Kind::Text,
        "y" => Kind::Bytes,
        "i" => Kind::Int,
        "b" => Kind::Bool,
        "d" => Kind::Double,
        other => Kind::Message(other.strip_prefix("m ")?.into()),
    };
    Some((
        number.parse().ok()?,
        Field {
            name: name.into(),
            kind,
            shape,
            inline,
            pointer,
            always,
        },
    ))
}

fn strip_start(text: &mut &str, mark: &str) -> bool {
    text.strip_prefix(mark).map(|rest| *text = rest).is_some()
}

fn strip_end(text: &mut &str, mark: &str) -> bool {
    text.strip_suffix(mark).map(|rest| *text = rest).is_some()
}

/// Types whose JSON is not an object.
fn special(name: &str, bytes: &[u8]) -> Result<Option<Value>> {
    let bad = |problem: &str| ProtobufError::BadValue {
        field: name.to_string(),
        problem: problem.to_string(),
    };
    Ok(Some(match name {
        "resource.Quantity" => match first_bytes(bytes)? {
            Some(b) => text(b, name)?.into(),
            None => "0".into(),
        },
        "runtime.RawExtension" | "meta.v1.FieldsV1" | "apiextensions.v1.JSON" => match first_bytes(bytes)? {
            Some(b) if !b.is_empty() => serde_json::from_slice(b).map_err(|e| bad(&e.to_string()))?,
            _ => Value::Null,
        },
        "intstr.IntOrString" => {
            let (mut is_text, mut number, mut string) = (false, 0, String::new());
            for item in Items::new(bytes) {
                match item? {
                    (1, Item::Varint(n)) => is_text = n == 1,
                    (2, Item::Varint(n)) => number = n as i64,
                    (3, Item::Bytes(b)) => string = text(b, name)?,
                    _ => {}
                }
            }
            if is_text { string.into() } else { number.into() }
        }
        "meta.v1.Time" | "meta.v1.MicroTime" => {
            let (mut seconds, mut nanos, mut any) = (0, 0, false);
            for item in Items::new(bytes) {
                match item? {
                    (1, Item::Varint(n)) => (seconds, any) = (n as i64, true),
                    (2, Item::Varint(n)) => (nanos, any) = (n as u32, true),
                    _ => {}
                }
            }
            if !any {
                return Ok(Some(Value::Null));
            }
            let at = Timestamp::from_unix(seconds).ok_or_else(|| bad("not a point in time"))?;
            let at = at.plus(std::time::Duration::from_nanos(u64::from(nanos)));
            if name.ends_with("MicroTime") {
                at.rfc3339_micros().into()
            } else {
                at.rfc3339().into()
            }
        }
        "meta.v1.Duration" => return Err(bad("durations are not used by built-in kinds")),
        _ => return Ok(None),
    }))
}

fn first_bytes(bytes: &[u8]) -> Result<Option<&[u8]>> {
    for item in Items::new(bytes) {
        if let (1, Item::Bytes(b)) = item? {
            return Ok(Some(b));
        }
    }
    Ok(None)
}

fn text(bytes: &[u8], field: &str) -> Result<String> {
    std::str::from_utf8(bytes)
        .map(str::to_string)
        .map_err(|_| ProtobufError::NotText(field.to_string()))
}

/// One field of a message, not yet interpreted.
enum Item<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    failed: bool,
}

impl<'a> Items<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            failed: false,
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ProtobufError::Truncated(self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn read(&mut self) -> Result<(u32, Item<'a>)> {
        let key = varint(self.bytes, &mut self.at)?;
        let field = (key >> 3) as u32;
        let item = match (key & 7) as u8 {
            0 => Item::Varint(varint(self.bytes, &mut self.at)?),
            1 => {
                let mut bits = [0; 8];
                bits.copy_from_slice(self.take(8)?);
                Item::Fixed64(u64::from_le_bytes(bits))
            }
            2 => {
                let length = varint(self.bytes, &mut self.at)?;
                let length =
                    usize::try_from(length).map_err(|_| ProtobufError::Truncated(self.bytes.len()))?;
                Item::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Item::Fixed32
            }
            wire => return Err(ProtobufError::WireType { field, wire }),
        };
        Ok((field, item))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<(u32, Item<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.at >= self.bytes.len() {
            return None;
        }
        let read = self.read();
        self.failed = read.is_err();
        Some(read)
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(ProtobufError::Truncated(bytes.len()))?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Truncated(*at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A little writer, so that the tests do not read their own bytes back by the same code.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, bytes.len() as u8];
        out.extend_from_slice(bytes);
        out
    }

    fn table() -> Table {
        let text = "a.Pod: metadata=1 m a.Meta; spec=2 m a.Spec\n\
            a.Meta: name=1 s; labels=11 %s\n\
            a.Spec: source=1 ~m a.Source; replicas=2 i*; port=3 i; list=4 +s; at=5 m meta.v1.Time; size=6 m resource.Quantity\n\
            a.Source: secret=1 m a.Meta*\n";
        Table::parse(text).expect("a table")
    }

    fn body(raw: &[u8]) -> Vec<u8> {
        let mut envelope = MAGIC.to_vec();
        envelope.extend(field(1, &[field(1, b"v1"), field(2, b"Pod")].concat()));
        envelope.extend(field(2, raw));
        envelope
    }

    #[test]
    fn fields_maps_lists_and_inlined_messages_read_as_json_would() {
        let labels = field(11, &[field(1, b"app"), field(2, b"x")].concat());
        let meta = field(1, &[field(1, b"web"), labels].concat());
        let source = field(1, &field(1, &field(1, b"s")));
        let spec = field(
            2,
            &[
                source,
                vec![2 << 3, 0],
                vec![3 << 3, 0],
                field(4, b"p"),
                field(4, b"q"),
                field(6, &field(1, b"1Gi")),
            ]
            .concat(),
        );
        let value = table()
            .decode(&body(&[meta, spec].concat()), |_, _| Some("a.Pod".into()))
            .expect("decodes");
        assert_eq!(
            value,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "x"}},
                "spec": {"secret": {"name": "s"}, "replicas": 0, "list": ["p", "q"], "size": "1Gi"}})
        );
    }

    #[test]
    fn every_cut_of_a_body_is_an_error_or_a_smaller_object() {
        let meta = field(
            1,
            &[
                field(1, b"web"),
                field(11, &[field(1, b"app"), field(2, b"x")].concat()),
            ]
            .concat(),
        );
        let whole = body(&meta);
        for cut in 0..whole.len() {
            // No panic is what counts; most cuts are errors.
            let read = table().decode(&whole[..cut], |_, _| Some("a.Pod".into()));
            assert!(read.is_err() || read.is_ok_and(|v| v.is_object()));
        }
        assert_eq!(table().decode(b"{}", |_, _| None), Err(ProtobufError::NoMagic));
    }
}
