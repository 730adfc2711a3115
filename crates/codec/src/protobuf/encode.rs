//! JSON to protobuf in one pass over its text: each member is written where it is read and put in the order of the
//! fields' numbers when its object ends. Nothing else is built on the way.

use super::layout::{Layout, Member, Message, Part, put_bytes};
use super::table::{Kind, Shape, Special, Table};
use super::{ProtobufError, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

type Read<T, E> = std::result::Result<T, E>;

const NANOS: i128 = 1_000_000_000;
/// The zero of Go's `time.Time`, which is written as no time at all.
const YEAR_ONE_SECONDS: i64 = -62_135_596_800;

impl Table {
    /// Writes an object of JSON (keys in order, as all that is stored has them) to the end of `out`. Members that the
    /// table does not have are left out.
    pub fn encode(&self, message: Message, json: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let mut encoder = Encoder {
            table: self,
            out,
            segments: Vec::new(),
            spare: Vec::new(),
        };
        let mut reader = serde_json::Deserializer::from_slice(json);
        let object = Object {
            encoder: &mut encoder,
            layout: self.layouts.get(message.0),
            start,
        };
        let read = reader.deserialize_map(object).and_then(|()| reader.end());
        read.map_err(|e| ProtobufError::Mismatch(format!("{}: {e}", self.name_of(message.0))))
    }
}

struct Encoder<'a> {
    table: &'a Table,
    out: &'a mut Vec<u8>,
    /// Members of the objects that are being read, the innermost last.
    segments: Vec<Segment>,
    /// For an object's members in their order; empty between objects.
    spare: Vec<u8>,
}

/// Where a member stands in `out`.
#[derive(Clone, Copy)]
struct Segment {
    slot: u16,
    start: usize,
    end: usize,
}

impl Encoder<'_> {
    /// Makes what stands from `start` on a field's value.
    fn wrap(&mut self, number: u32, start: usize) {
        let end = self.out.len();
        put_tag(number, 2, self.out);
        put_varint((end - start) as u64, self.out);
        let head = self.out.len() - end;
        self.out[start..].rotate_right(head);
    }

    /// Puts the members from `first` on in order; they stand in `out` from `start` on.
    fn arrange(&mut self, layout: &Layout, first: usize, start: usize) {
        let segments = &mut self.segments[first..];
        // Stable: of two members of one name the last counts.
        segments.sort_by_key(|s| s.slot);
        self.spare.clear();
        let mut place = Arranged {
            segments,
            from: self.out,
            at: 0,
        };
        place.write(&layout.parts, &mut self.spare);
        self.out.truncate(start);
        self.out.extend_from_slice(&self.spare);
        self.segments.truncate(first);
    }
}

struct Arranged<'a> {
    segments: &'a [Segment],
    from: &'a [u8],
    at: usize,
}

impl Arranged<'_> {
    /// The bytes of the next part's member, which are taken.
    fn take(&mut self, slot: u16) -> Option<&[u8]> {
        let mut found = None;
        while let Some(segment) = self.segments.get(self.at).filter(|s| s.slot == slot) {
            found = Some(segment);
            self.at += 1;
        }
        found.map(|s| &self.from[s.start..s.end])
    }

    fn write(&mut self, parts: &[Part], to: &mut Vec<u8>) {
        for part in parts {
            match part {
                Part::Field { slot, missing } => to.extend_from_slice(self.take(*slot).unwrap_or(missing)),
                Part::Inline { number, parts } => {
                    let before = self.at;
                    let size = self.size(parts);
                    self.at = before;
                    put_tag(*number, 2, to);
                    put_varint(size as u64, to);
                    self.write(parts, to);
                }
            }
        }
    }

    fn size(&mut self, parts: &[Part]) -> usize {
        let one = |part: &Part| match part {
            Part::Field { slot, missing } => self.take(*slot).unwrap_or(missing).len(),
            Part::Inline { number, parts } => {
                let size = self.size(parts);
                size + varint_len(u64::from(*number) << 3) + varint_len(size as u64)
            }
        };
        parts.iter().map(one).sum()
    }
}

/// An object whose fields the table knows; they are written from `start` on.
struct Object<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    layout: &'a Layout,
    start: usize,
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Read<(), A::Error> {
        let Self {
            encoder,
            layout,
            start,
        } = self;
        let first = encoder.segments.len();
        while let Some(member) = access.next_key_seed(Name(layout))? {
            let Some(member) = member else {
                access.next_value::<IgnoredAny>()?;
                continue;
            };
            let start = encoder.out.len();
            access.next_value_seed(Put {
                encoder,
                number: member.number,
                kind: member.kind,
                shape: member.shape,
                null: Null::Missing,
            })?;
            let end = encoder.out.len();
            if end > start {
                let slot = member.slot;
                encoder.segments.push(Segment { slot, start, end });
            }
        }
        encoder.arrange(layout, first, start);
        Ok(())
    }
}

/// The member that a key names, if there is one.
struct Name<'a>(&'a Layout);

impl<'de, 'a> DeserializeSeed<'de> for Name<'a> {
    type Value = Option<&'a Member>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Read<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = Option<&'a Member>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Read<Self::Value, E> {
        Ok(self.0.member(name))
    }
}

/// What null is where a value is expected.
#[derive(Clone, Copy, PartialEq)]
enum Null {
    /// As if the member were not there.
    Missing,
    /// In lists and maps: the zero value.
    Zero,
}

/// A value, to be written with the tag of a field.
struct Put<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    number: u32,
    kind: Kind,
    shape: Shape,
    null: Null,
}

impl<'de> DeserializeSeed<'de> for Put<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Read<(), D::Error> {
        if (self.kind, self.shape) != (Kind::Special(Special::Raw), Shape::One) {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw == "null" {
            return self.visit_unit();
        }
        let start = self.encoder.out.len();
        put_bytes(1, raw.as_bytes(), self.encoder.out);
        self.encoder.wrap(self.number, start);
        Ok(())
    }
}

impl<'a> Put<'_, 'a> {
    /// The same field's value within a list or a map.
    fn inner(&mut self, number: u32) -> Put<'_, 'a> {
        let null = Null::Zero;
        let (encoder, kind, shape) = (&mut *self.encoder, self.kind, Shape::One);
        Put {
            encoder,
            number,
            kind,
            shape,
            null,
        }
    }

    fn varint<E>(self, number: u64) -> Read<(), E> {
        put_tag(self.number, 0, self.encoder.out);
        put_varint(number, self.encoder.out);
        Ok(())
    }

    fn message<E>(self, bytes: &[u8]) -> Read<(), E> {
        put_bytes(self.number, bytes, self.encoder.out);
        Ok(())
    }

    fn time<E: Error>(self, text: &str) -> Read<(), E> {
        let at = Timestamp::parse(text).ok_or_else(|| E::custom("not a point in time"))?;
        let nanos = at.jiff().as_nanosecond();
        let (seconds, nanos) = (nanos.div_euclid(NANOS) as i64, nanos.rem_euclid(NANOS) as u64);
        let nanos = match self.kind {
            Kind::Special(Special::MicroTime) => nanos / 1000 * 1000,
            _ => 0,
        };
        let mut out = Vec::with_capacity(18);
        if (seconds, nanos) != (YEAR_ONE_SECONDS, 0) {
            out.push(1 << 3);
            put_varint(seconds as u64, &mut out);
            out.push(2 << 3);
            put_varint(nanos, &mut out);
        }
        self.message(&out)
    }
}

impl<'de> Visitor<'de> for Put<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.shape, self.kind)
    }

    fn visit_str<E: Error>(self, text: &str) -> Read<(), E> {
        match self.kind {
            _ if self.shape != Shape::One => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
            Kind::Text => self.message(text.as_bytes()),
            Kind::Bytes => self.message(&STANDARD.decode(text).map_err(E::custom)?),
            Kind::Special(Special::Quantity) => {
                let start = self.encoder.out.len();
                put_bytes(1, text.as_bytes(), self.encoder.out);
                self.encoder.wrap(self.number, start);
                Ok(())
            }
            Kind::Special(Special::IntOrString) => {
                let start = self.encoder.out.len();
                self.encoder.out.extend_from_slice(b"\x08\x01\x10\0");
                put_bytes(3, text.as_bytes(), self.encoder.out);
                self.encoder.wrap(self.number, start);
                Ok(())
            }
            Kind::Special(Special::Time | Special::MicroTime) => self.time(text),
            _ => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Read<(), E> {
        match (self.shape, self.kind) {
            (Shape::One, Kind::Int) => self.varint(number as u64),
            (Shape::One, Kind::Double) => self.visit_f64(number as f64),
            (Shape::One, Kind::Special(Special::IntOrString)) => {
                let mut out = vec![8, 0, 16];
                put_varint(number as u64, &mut out);
                out.extend_from_slice(b"\x1a\0");
                self.message(&out)
            }
            // The API takes `1` for a quantity.
            (Shape::One, Kind::Special(Special::Quantity)) => self.visit_str(&number.to_string()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Read<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) if self.kind == Kind::Double => self.visit_f64(number as f64),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Read<(), E> {
        match (self.shape, self.kind) {
            (Shape::One, Kind::Double) => {
                put_tag(self.number, 1, self.encoder.out);
                self.encoder
                    .out
                    .extend_from_slice(&number.to_bits().to_le_bytes());
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
    }

    fn visit_bool<E: Error>(self, is: bool) -> Read<(), E> {
        match (self.shape, self.kind) {
            (Shape::One, Kind::Bool) => self.varint(u64::from(is)),
            (Shape::One, Kind::Special(Special::SchemaOrBool)) => self.message(&[8, u8::from(is)]),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(is), &self)),
        }
    }

    fn visit_unit<E>(self) -> Read<(), E> {
        if self.null == Null::Zero {
            let layouts = &self.encoder.table.layouts;
            layouts.put_zero(self.number, self.kind, self.encoder.out);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Read<(), A::Error> {
        let start = self.encoder.out.len();
        match (self.shape, self.kind) {
            (Shape::List, _) => {
                let number = self.number;
                while items.next_element_seed(self.inner(number))?.is_some() {}
                return Ok(());
            }
            (Shape::One, Kind::Special(Special::Texts)) => {
                self.kind = Kind::Text;
                while items.next_element_seed(self.inner(1))?.is_some() {}
            }
            (Shape::One, Kind::Special(Special::SchemaOrTexts)) => {
                self.kind = Kind::Text;
                while items.next_element_seed(self.inner(2))?.is_some() {}
            }
            (Shape::One, Kind::Special(Special::SchemaOrArray)) => {
                self.kind = Kind::Struct(self.encoder.table.schema);
                while items.next_element_seed(self.inner(2))?.is_some() {}
            }
            _ => return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
        self.encoder.wrap(self.number, start);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Read<(), A::Error> {
        let start = self.encoder.out.len();
        match (self.shape, self.kind) {
            (Shape::Map, _) => {
                // An entry is a message of its own: key and value.
                loop {
                    let start = self.encoder.out.len();
                    if members.next_key_seed(Key(self.encoder.out))?.is_none() {
                        return Ok(());
                    }
                    members.next_value_seed(self.inner(2))?;
                    self.encoder.wrap(self.number, start);
                }
            }
            (Shape::One, Kind::Struct(at)) => {
                let layout = self.encoder.table.layouts.get(at);
                let encoder = &mut *self.encoder;
                Object {
                    encoder,
                    layout,
                    start,
                }
                .visit_map(members)?;
            }
            (
                Shape::One,
                Kind::Special(
                    special @ (Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrTexts),
                ),
            ) => {
                if special == Special::SchemaOrBool {
                    self.encoder.out.extend_from_slice(&[8, 1]);
                }
                self.kind = Kind::Struct(self.encoder.table.schema);
                let number = if special == Special::SchemaOrBool { 2 } else { 1 };
                self.inner(number).visit_map(members)?;
            }
            _ => return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
        self.encoder.wrap(self.number, start);
        Ok(())
    }
}

/// A key of a map, written as field 1 of its entry.
struct Key<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Read<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Read<(), E> {
        put_bytes(1, key.as_bytes(), self.0);
        Ok(())
    }
}

pub(super) fn put_tag(number: u32, wire: u8, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | u64::from(wire), out);
}

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes `put_varint` writes.
pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
