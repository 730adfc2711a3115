//! Protobuf bodies, read with the table: bytes in, the same value out that the JSON form would give.

use super::layout::Message;
use super::table::{Field, Kind, Shape, Special, Table};
use super::{MAGIC, ProtobufError, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::Timestamp;
use serde_json::{Map, Value};
use std::cell::Cell;

/// Messages within messages; the API's own types stay far below it.
const MAX_DEPTH: usize = 64;
/// Maps and lists within each other in what comes out: it is read back as JSON, which has a limit of 128.
const MAX_VALUE_DEPTH: usize = 120;
/// A byte or two on the wire can be a value of many in memory. Bodies of 3 MiB of honest objects stay below.
const MAX_VALUES: usize = 500_000;

impl Table {
    /// Decodes an enveloped body. `apiVersion` and `kind` are the envelope's, or where it has none the `default`.
    pub fn decode(&self, body: &[u8], default: (&str, &str)) -> Result<Value> {
        let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
        if body.is_empty() {
            return Err(ProtobufError::Empty);
        }
        let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
        for item in Items::new(body) {
            match item? {
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
        for (own, default) in [(&mut api_version, default.0), (&mut kind, default.1)] {
            if own.is_empty() {
                own.push_str(default);
            }
        }
        let Some(message) = self.message(&api_version, &kind) else {
            return Err(ProtobufError::UnknownType { api_version, kind });
        };
        let mut value = self.decode_message(message, raw)?;
        if let Some(map) = value.as_object_mut() {
            map.insert("apiVersion".into(), api_version.into());
            map.insert("kind".into(), kind.into());
        }
        Ok(value)
    }

    /// Decodes a message without an envelope.
    pub fn decode_message(&self, message: Message, raw: &[u8]) -> Result<Value> {
        let left = Cell::new(MAX_VALUES);
        let value = Reader {
            table: self,
            left: &left,
        }
        .message(message.0, raw, 0)?;
        if depth(&value) > MAX_VALUE_DEPTH {
            return Err(ProtobufError::TooDeep(MAX_VALUE_DEPTH));
        }
        Ok(value)
    }
}

/// How deep maps and lists are within each other. The decoder's own limits bound the recursion.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    table: &'a Table,
    /// How many values there may still be.
    left: &'a Cell<usize>,
}

impl Reader<'_> {
    fn message(self, at: u32, bytes: &[u8], depth: usize) -> Result<Value> {
        let mut out = Map::new();
        self.fill(at, bytes, depth, &mut out)?;
        Ok(Value::Object(out))
    }

    fn fill(self, at: u32, bytes: &[u8], depth: usize, out: &mut Map<String, Value>) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(ProtobufError::TooDeep(MAX_DEPTH));
        }
        let fields = &self.table.structs[at as usize];
        for item in Items::new(bytes) {
            let (number, item) = item?;
            // Fields that we do not know come from a newer client; typed decoding drops them.
            let Some(field) = fields.field(number) else {
                continue;
            };
            match (field.shape, field.kind) {
                (_, Kind::Struct(inner)) if field.inline => {
                    let Item::Bytes(bytes) = item else {
                        return Err(wrong(field));
                    };
                    self.fill(inner, bytes, depth + 1, out)?;
                }
                (Shape::Map, _) => self.entry(field, item, depth, out)?,
                (Shape::List, _) => self.element(field, item, depth, out)?,
                (Shape::One, _) => {
                    let value = self.value(field, item, depth)?;
                    if field.keeps_zero() || !is_zero(field.kind, &value) {
                        out.insert(field.name.to_string(), value);
                    }
                }
            }
        }
        Ok(())
    }

    fn element(self, field: &Field, item: Item, depth: usize, out: &mut Map<String, Value>) -> Result<()> {
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

    fn entry(self, field: &Field, item: Item, depth: usize, out: &mut Map<String, Value>) -> Result<()> {
        let Item::Bytes(bytes) = item else {
            return Err(wrong(field));
        };
        let (mut key, mut value) = (String::new(), None);
        for item in Items::new(bytes) {
            match item? {
                (1, Item::Bytes(b)) => key = text(b, &field.name)?,
                (2, item) => value = Some(self.value(field, item, depth)?),
                _ => {}
            }
        }
        let value = match (value, field.kind) {
            (Some(value), _) => value,
            (None, Kind::Text) => "".into(),
            (None, Kind::Int) => 0.into(),
            (None, Kind::Bool) => false.into(),
            (None, Kind::Double) => 0.0.into(),
            // Bytes that are nil.
            (None, Kind::Bytes) => Value::Null,
            (None, Kind::Struct(_) | Kind::Special(_)) => self.value(field, Item::Bytes(&[]), depth)?,
        };
        let map = out
            .entry(field.name.to_string())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(map) = map {
            map.insert(key, value);
        }
        Ok(())
    }

    fn value(self, field: &Field, item: Item, depth: usize) -> Result<Value> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or(ProtobufError::TooMany(MAX_VALUES))?);
        Ok(match (field.kind, item) {
            (Kind::Text, Item::Bytes(b)) => text(b, &field.name)?.into(),
            (Kind::Bytes, Item::Bytes(b)) => STANDARD.encode(b).into(),
            (Kind::Int, Item::Varint(n)) => (n as i64).into(),
            (Kind::Bool, Item::Varint(n)) => (n != 0).into(),
            (Kind::Double, Item::Fixed64(bits)) => {
                serde_json::Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            (Kind::Struct(at), Item::Bytes(b)) => self.message(at, b, depth + 1)?,
            (Kind::Special(special), Item::Bytes(b)) => self.special(special, &field.name, b, depth)?,
            _ => return Err(wrong(field)),
        })
    }

    /// Messages whose JSON is not an object.
    fn special(self, special: Special, name: &str, bytes: &[u8], depth: usize) -> Result<Value> {
        Ok(match special {
            Special::Quantity => match first_bytes(bytes)? {
                Some(b) => text(b, name)?.into(),
                None => "0".into(),
            },
            Special::Raw => match first_bytes(bytes)? {
                Some(b) if !b.is_empty() => {
                    serde_json::from_slice(b).map_err(|e| bad(name, &e.to_string()))?
                }
                _ => Value::Null,
            },
            Special::IntOrString => int_or_string(name, bytes)?,
            Special::Time | Special::MicroTime => time(special, name, bytes)?,
            Special::Texts => self.texts(1, name, bytes)?,
            Special::SchemaOrTexts => match first_bytes(bytes)? {
                Some(schema) => self.message(self.table.schema, schema, depth + 1)?,
                None => self.texts(2, name, bytes)?,
            },
            Special::SchemaOrArray => {
                let mut schemas = Vec::new();
                for item in Items::new(bytes) {
                    match item? {
                        (1, Item::Bytes(b)) => return self.message(self.table.schema, b, depth + 1),
                        (2, Item::Bytes(b)) => schemas.push(self.message(self.table.schema, b, depth + 1)?),
                        _ => {}
                    }
                }
                schemas.into()
            }
            Special::SchemaOrBool => {
                let mut allows = false;
                for item in Items::new(bytes) {
                    match item? {
                        (1, Item::Varint(n)) => allows = n != 0,
                        (2, Item::Bytes(b)) => return self.message(self.table.schema, b, depth + 1),
                        _ => {}
                    }
                }
                allows.into()
            }
        })
    }

    /// The texts of one field.
    fn texts(self, number: u32, name: &str, bytes: &[u8]) -> Result<Value> {
        let mut list = Vec::new();
        for item in Items::new(bytes) {
            let left = self.left.get().checked_sub(1);
            self.left.set(left.ok_or(ProtobufError::TooMany(MAX_VALUES))?);
            match item? {
                (n, Item::Bytes(b)) if n == number => list.push(text(b, name)?.into()),
                _ => {}
            }
        }
        Ok(Value::Array(list))
    }
}

fn bad(field: &str, problem: &str) -> ProtobufError {
    ProtobufError::BadValue {
        field: field.to_string(),
        problem: problem.to_string(),
    }
}

fn wrong(field: &Field) -> ProtobufError {
    bad(&field.name, "wrong wire type")
}

/// What Go's `omitempty` leaves out.
fn is_zero(kind: Kind, value: &Value) -> bool {
    match value {
        // A struct in Go, which is never left out.
        _ if kind == Kind::Special(Special::IntOrString) => false,
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Number(n) => n.as_i64() == Some(0) || n.as_f64() == Some(0.0),
        Value::Bool(b) => !b,
        // Structs that are no pointers are always on the wire; an empty one says nothing.
        Value::Object(map) => map.is_empty(),
        Value::Array(_) => false,
    }
}

fn int_or_string(name: &str, bytes: &[u8]) -> Result<Value> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    for item in Items::new(bytes) {
        match item? {
            (1, Item::Varint(n)) => is_text = n == 1,
            (2, Item::Varint(n)) => number = n as i64,
            (3, Item::Bytes(b)) => string = text(b, name)?,
            _ => {}
        }
    }
    Ok(if is_text { string.into() } else { number.into() })
}

fn time(special: Special, name: &str, bytes: &[u8]) -> Result<Value> {
    let (mut seconds, mut nanos, mut any) = (0, 0, false);
    for item in Items::new(bytes) {
        match item? {
            (1, Item::Varint(n)) => (seconds, any) = (n as i64, true),
            (2, Item::Varint(n)) => (nanos, any) = (n as u32, true),
            _ => {}
        }
    }
    if !any {
        return Ok(Value::Null);
    }
    let at = Timestamp::from_unix(seconds).filter(|_| seconds >= YEAR_ZERO_SECONDS);
    let at = at.ok_or_else(|| bad(name, "not a point in time"))?;
    Ok(match special {
        Special::MicroTime => {
            let at = at.plus(std::time::Duration::from_nanos(u64::from(nanos)));
            at.rfc3339_micros().into()
        }
        _ => at.rfc3339().into(),
    })
}

/// Years before that have no place in RFC 3339.
const YEAR_ZERO_SECONDS: i64 = -62_167_219_200;

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
        let end = end.ok_or(ProtobufError::Truncated)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn read(&mut self) -> Result<(u32, Item<'a>)> {
        let key = varint(self.bytes, &mut self.at)?;
        let field = match u32::try_from(key >> 3) {
            Ok(field) if field > 0 => field,
            _ => return Err(ProtobufError::Tag(key >> 3)),
        };
        let item = match (key & 7) as u8 {
            0 => Item::Varint(varint(self.bytes, &mut self.at)?),
            1 => {
                let mut bits = [0; 8];
                bits.copy_from_slice(self.take(8)?);
                Item::Fixed64(u64::from_le_bytes(bits))
            }
            2 => {
                let length = varint(self.bytes, &mut self.at)?;
                let length = usize::try_from(length).map_err(|_| ProtobufError::Truncated)?;
                Item::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Item::Fixed32
            }
            wire => return Err(ProtobufError::WireType(wire)),
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

pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(ProtobufError::Truncated)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Truncated)
}
