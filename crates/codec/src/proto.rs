//! Protobuf bodies, which `kubectl create` and Go clients may send: the wire form, with field numbers from a table and
//! types from the schema. Bodies only: answers are JSON, which every such client accepts too.

use crate::{Decoded, Malformed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::Timestamp;
use meta::schema::{Arena, Schema, SchemaKind, StringForm};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

/// `core.v1.Pod metadata=1 spec=2`; `^` names the message of a field that JSON writes into its parent.
static TABLE: &str = include_str!("proto_fields.txt");
/// What a body starts with, before `runtime.Unknown`.
const MAGIC: &[u8] = b"k8s\0";
const MAX_DEPTH: usize = 100;

/// Numbers that Go writes for fields that JSON leaves out when they are zero.
const ZERO_IS_UNSET: [&str; 19] = [
    "generation",
    "observedGeneration",
    "minReadySeconds",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "hostPort",
    "nodePort",
    "healthCheckNodePort",
    "stdin",
    "stdinOnce",
    "tty",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "readOnly",
    "paused",
];

struct Field {
    name: &'static str,
    inline: Option<&'static str>,
}

type Message = HashMap<u32, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let field = |text: &'static str| {
        let (name, rest) = text.split_once('=')?;
        let (number, inline) = match rest.split_once('^') {
            Some((number, message)) => (number, Some(message)),
            None => (rest, None),
        };
        Some((number.parse().ok()?, Field { name, inline }))
    };
    let message = |line: &'static str| {
        let mut words = line.split(' ');
        Some((words.next()?, words.filter_map(field).collect()))
    };
    TABLE.lines().filter_map(message).collect()
});

/// Decodes a body. `None`: its kind has no table, so that the client should send JSON.
pub fn from_proto(bytes: &[u8], arena: &std::sync::Arc<Arena>) -> Option<Result<Decoded, Malformed>> {
    let rest = match bytes.strip_prefix(MAGIC) {
        Some(rest) => rest,
        None => {
            return Some(Err(Malformed(
                "the body does not start as Kubernetes' protobuf does".into(),
            )));
        }
    };
    match envelope(rest) {
        Err(e) => Some(Err(e)),
        Ok((version, kind, raw)) => {
            let name = message_name(&version, &kind);
            MESSAGES.get(name.as_str())?;
            let schema = Schema::of(arena, &full_name(&name))?;
            let names = arena
                .type_names()
                .map(|(name, node)| (node, short_name(name)))
                .collect();
            let reader = Reader { arena, names };
            let mut map = Map::new();
            let done = reader
                .message(&name, schema.node_id(), raw, &mut map, 0)
                .map(|()| {
                    map.insert("apiVersion".into(), version.into());
                    map.insert("kind".into(), kind.into());
                    Decoded {
                        value: Value::Object(map),
                        duplicates: Vec::new(),
                    }
                });
            Some(done)
        }
    }
}

/// `apiVersion`, `kind` and the object's bytes out of `runtime.Unknown`.
fn envelope(bytes: &[u8]) -> Result<(String, String, &[u8]), Malformed> {
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &bytes[..0]);
    let mut wire = Wire(bytes);
    while let Some((number, item)) = wire.next()? {
        match (number, item) {
            (1, Item::Bytes(meta)) => {
                let mut inner = Wire(meta);
                while let Some((number, item)) = inner.next()? {
                    match (number, item) {
                        (1, Item::Bytes(b)) => version = text(b)?,
                        (2, Item::Bytes(b)) => kind = text(b)?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(b)) => raw = b,
            _ => {}
        }
    }
    Ok((version, kind, raw))
}

/// `apps/v1` + `Deployment` -> `apps.v1.Deployment`, as the table has it.
fn message_name(version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".to_string();
    }
    let (group, version) = version.split_once('/').unwrap_or(("core", version));
    let group = group.split('.').next().unwrap_or_default();
    format!("{group}.{version}.{kind}")
}

fn full_name(short: &str) -> String {
    match short.starts_with("meta.") {
        true => format!("io.k8s.apimachinery.pkg.apis.{short}"),
        false => format!("io.k8s.api.{short}"),
    }
}

fn short_name(full: &str) -> &str {
    full.strip_prefix("io.k8s.apimachinery.pkg.apis.")
        .or_else(|| full.strip_prefix("io.k8s.api."))
        .unwrap_or(full)
}

enum Item<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed64(u64),
}

/// Reads one field after the other.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or_else(cut)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("proto: a number is too long".into()))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u32, Item<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let item = match tag & 7 {
            0 => Item::Varint(self.varint()?),
            1 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Item::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let count = usize::try_from(self.varint()?).map_err(|_| cut())?;
                Item::Bytes(self.take(count)?)
            }
            5 => {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(self.take(4)?);
                Item::Fixed64(f64::from(f32::from_le_bytes(bytes)).to_bits())
            }
            other => return Err(Malformed(format!("proto: illegal wireType {other}"))),
        };
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed("proto: illegal tag".into()))?;
        Ok(Some((number, item)))
    }
}

fn cut() -> Malformed {
    Malformed("proto: unexpected end of the body".into())
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("proto: a text is not valid UTF-8".into()))
}

struct Reader<'a> {
    arena: &'a Arena,
    /// Named types by node.
    names: HashMap<u32, &'a str>,
}

impl Reader<'_> {
    fn message(
        &self,
        name: &str,
        node: u32,
        bytes: &[u8],
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed("proto: messages are nested too deeply".into()));
        }
        let (Some(table), SchemaKind::Object(object)) = (MESSAGES.get(name), &self.arena.node(node).kind)
        else {
            return Ok(());
        };
        let mut wire = Wire(bytes);
        while let Some((number, item)) = wire.next()? {
            let Some(field) = table.get(&number) else { continue };
            if let (Some(inline), Item::Bytes(bytes)) = (field.inline, &item) {
                self.message(inline, node, bytes, out, depth + 1)?;
                continue;
            }
            let Ok(i) = object.fields.binary_search_by(|f| (*f.name).cmp(field.name)) else {
                continue;
            };
            self.field(field.name, object.fields[i].node, item, out, depth)?;
        }
        Ok(())
    }

    fn field(
        &self,
        name: &str,
        node: u32,
        item: Item,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Malformed> {
        match &self.arena.node(node).kind {
            SchemaKind::Array { items, .. } => {
                let value = self.value(*items, item, depth)?;
                let list = out.entry(name).or_insert_with(|| json!([]));
                if let (Value::Array(list), Some(value)) = (list, value) {
                    list.push(value);
                }
            }
            SchemaKind::Map { values, .. } => {
                let Item::Bytes(bytes) = item else { return Ok(()) };
                let (key, value) = self.entry(*values, bytes, depth)?;
                let map = out.entry(name).or_insert_with(|| json!({}));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            _ => {
                let value = self.value(node, item, depth)?;
                let unset = |v: &Value| match v {
                    Value::String(s) => s.is_empty(),
                    Value::Number(n) => n.as_i64() == Some(0) && ZERO_IS_UNSET.contains(&name),
                    Value::Bool(b) => !b && ZERO_IS_UNSET.contains(&name),
                    _ => false,
                };
                if let Some(value) = value.filter(|v| !unset(v)) {
                    out.insert(name.into(), value);
                }
            }
        }
        Ok(())
    }

    fn entry(&self, values: u32, bytes: &[u8], depth: usize) -> Result<(String, Value), Malformed> {
        let (mut key, mut value) = (String::new(), None);
        let mut wire = Wire(bytes);
        while let Some((number, item)) = wire.next()? {
            match (number, item) {
                (1, Item::Bytes(b)) => key = text(b)?,
                (2, item) => value = self.value(values, item, depth)?,
                _ => {}
            }
        }
        Ok((key, value.unwrap_or_else(|| Value::String(String::new()))))
    }

    fn value(&self, node: u32, item: Item, depth: usize) -> Result<Option<Value>, Malformed> {
        let wrong = || Malformed("proto: wrong wireType".into());
        Ok(Some(match (&self.arena.node(node).kind, item) {
            (SchemaKind::Bool, Item::Varint(n)) => Value::Bool(n != 0),
            (SchemaKind::Integer { .. }, Item::Varint(n)) => n.cast_signed().into(),
            (SchemaKind::Number, Item::Fixed64(bits)) => f64::from_bits(bits).into(),
            (SchemaKind::String(StringForm::Bytes), Item::Bytes(b)) => STANDARD.encode(b).into(),
            (SchemaKind::String(StringForm::Plain), Item::Bytes(b)) => text(b)?.into(),
            (SchemaKind::String(form), Item::Bytes(b)) => return time(*form, b),
            (SchemaKind::Quantity, Item::Bytes(b)) => first_text(b)?.into(),
            (SchemaKind::IntOrString, Item::Bytes(b)) => int_or_string(b)?,
            (SchemaKind::Object(object), Item::Bytes(b)) if !object.fields.is_empty() => {
                let mut map = Map::new();
                let name = self.names.get(&node).copied().unwrap_or_default();
                self.message(name, node, b, &mut map, depth + 1)?;
                Value::Object(map)
            }
            (SchemaKind::Any | SchemaKind::Object(_), Item::Bytes(b)) => return raw_json(b),
            _ => return Err(wrong()),
        }))
    }
}

fn first_text(bytes: &[u8]) -> Result<String, Malformed> {
    match Wire(bytes).next()? {
        Some((1, Item::Bytes(b))) => text(b),
        _ => Ok(String::new()),
    }
}

/// Unset times are not written.
fn time(form: StringForm, bytes: &[u8]) -> Result<Option<Value>, Malformed> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut wire = Wire(bytes);
    while let Some((number, item)) = wire.next()? {
        match (number, item) {
            (1, Item::Varint(n)) => seconds = Some(n.cast_signed()),
            (2, Item::Varint(n)) => nanos = n,
            _ => {}
        }
    }
    let at = seconds.filter(|s| *s > 0).and_then(Timestamp::from_unix);
    Ok(at.map(|at| {
        let at = at.plus(std::time::Duration::from_nanos(nanos.min(999_999_999)));
        Value::String(if form == StringForm::MicroTime {
            at.rfc3339_micros()
        } else {
            at.rfc3339()
        })
    }))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut kind, mut int, mut string) = (0, 0, String::new());
    let mut wire = Wire(bytes);
    while let Some((number, item)) = wire.next()? {
        match (number, item) {
            (1, Item::Varint(n)) => kind = n,
            (2, Item::Varint(n)) => int = n.cast_signed(),
            (3, Item::Bytes(b)) => string = text(b)?,
            _ => {}
        }
    }
    Ok(if kind == 0 { int.into() } else { string.into() })
}

/// `RawExtension` and `FieldsV1`: JSON in bytes.
fn raw_json(bytes: &[u8]) -> Result<Option<Value>, Malformed> {
    match Wire(bytes).next()? {
        Some((1, Item::Bytes(b))) => serde_json::from_slice(b)
            .map(Some)
            .map_err(|e| Malformed(format!("proto: {e}"))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::schema::{Field as SchemaField, Node, ObjectNode};
    use std::sync::Arc;

    fn object(fields: &[(&str, u32)]) -> Node {
        let mut fields: Vec<SchemaField> = fields
            .iter()
            .map(|(name, node)| SchemaField {
                name: (*name).into(),
                node: *node,
                required: false,
            })
            .collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Node {
            kind: SchemaKind::Object(ObjectNode {
                fields,
                ..ObjectNode::default()
            }),
            ..Node::default()
        }
    }

    fn arena() -> Arc<Arena> {
        let mut arena = Arena::default();
        let of = |kind| Node {
            kind,
            ..Node::default()
        };
        let text = arena.push(of(SchemaKind::String(StringForm::Plain)));
        let texts = arena.push(of(SchemaKind::Map {
            values: text,
            atomic: false,
        }));
        let time = arena.push(of(SchemaKind::String(StringForm::Time)));
        let flag = arena.push(of(SchemaKind::Bool));
        let meta = arena.declare("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        arena.set(
            meta,
            object(&[
                ("name", text),
                ("namespace", text),
                ("creationTimestamp", time),
                ("labels", texts),
            ]),
        );
        let map = arena.declare("io.k8s.api.core.v1.ConfigMap");
        arena.set(
            map,
            object(&[("metadata", meta), ("data", texts), ("immutable", flag)]),
        );
        Arc::new(arena)
    }

    /// One length-delimited field.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn configmap() -> Vec<u8> {
        let entry = [field(1, b"k"), field(2, b"v")].concat();
        let metadata = [field(1, b"a"), field(3, b""), field(8, b""), field(11, &entry)].concat();
        let object = [field(1, &metadata), field(2, &entry), vec![4 << 3, 1]].concat();
        let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        [MAGIC.to_vec(), field(1, &kind), field(2, &object)].concat()
    }

    #[test]
    fn a_configmap_is_read_by_its_numbers() {
        let decoded = from_proto(&configmap(), &arena())
            .expect("a known kind")
            .expect("well formed");
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"k": "v"},
            "metadata": {"name": "a", "labels": {"k": "v"}}});
        assert_eq!(decoded.value, expected);
    }

    #[test]
    fn what_is_cut_or_flipped_never_panics() {
        let whole = configmap();
        for end in 0..whole.len() {
            let cut = from_proto(&whole[..end], &arena());
            assert!(end >= MAGIC.len() || matches!(cut, Some(Err(_))));
        }
        for i in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[i] ^= 1 << bit;
                drop(from_proto(&flipped, &arena()));
            }
        }
    }
}
