//! The table as the encoder wants it: of each message its members by their JSON names, and the order in which they are
//! written, with what stands there when they are missing. Go writes all that is no pointer, list, map or bytes.

use super::encode::{put_tag, put_varint};
use super::table::{Field, Kind, Shape, Special, Struct};

/// Inline structs within inline structs, and structs within structs that are written when empty.
const MAX_DEPTH: usize = 16;

/// A message of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message(pub(super) u32);

/// Of all messages, by their place in the table.
#[derive(Debug, Default)]
pub(super) struct Layouts(Vec<Layout>);

#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Sorted by name.
    members: Vec<(Box<str>, Member)>,
    /// In the order of the wire.
    pub parts: Vec<Part>,
    /// What an empty object is.
    zero: Box<[u8]>,
}

/// A member of the JSON object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Its place in the order of the wire.
    pub slot: u16,
    pub number: u32,
    pub kind: Kind,
    pub shape: Shape,
}

#[derive(Debug)]
pub(super) enum Part {
    Field { slot: u16, missing: Box<[u8]> },
    Inline { number: u32, parts: Vec<Part> },
}

impl Layouts {
    /// `None` if the structs hold each other without end.
    pub fn of(structs: &[Struct]) -> Option<Self> {
        let one = |at| {
            let mut layout = Layout::default();
            let mut slots = 0;
            layout.parts = parts(structs, at, &mut slots, &mut layout.members, 0)?;
            layout.members.sort_by(|a, b| a.0.cmp(&b.0));
            layout.zero = zero(structs, at, 0)?.into();
            Some(layout)
        };
        (0..structs.len()).map(one).collect::<Option<_>>().map(Self)
    }

    pub fn get(&self, at: u32) -> &Layout {
        &self.0[at as usize]
    }

    /// The bytes of a kind's zero value, with its tag.
    pub fn put_zero(&self, number: u32, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::Struct(at) => put_bytes(number, &self.get(at).zero, out),
            other => put_plain_zero(number, other, out),
        }
    }
}

impl Layout {
    pub fn member(&self, name: &str) -> Option<&Member> {
        let found = self.members.binary_search_by(|(n, _)| (**n).cmp(name));
        found.ok().map(|at| &self.members[at].1)
    }
}

fn parts(
    structs: &[Struct],
    at: usize,
    slots: &mut u16,
    members: &mut Vec<(Box<str>, Member)>,
    depth: usize,
) -> Option<Vec<Part>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let part = |field: &Field| match (field.kind, field.inline) {
        (Kind::Struct(inner), true) => Some(Part::Inline {
            number: field.number,
            parts: parts(structs, inner as usize, slots, members, depth + 1)?,
        }),
        (kind, _) => {
            let slot = *slots;
            *slots += 1;
            let member = Member {
                slot,
                number: field.number,
                kind,
                shape: field.shape,
            };
            members.push((field.name.clone(), member));
            let missing = missing(structs, field, 0)?.into();
            Some(Part::Field { slot, missing })
        }
    };
    structs[at].fields.iter().map(part).collect()
}

/// What is written for a field that is not there.
fn missing(structs: &[Struct], field: &Field, depth: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // What is nil in Go: a named list is a message, but still a list.
    let nil = field.kind == Kind::Special(Special::Texts);
    if field.pointer || nil || field.shape != Shape::One {
        return Some(out);
    }
    match field.kind {
        Kind::Struct(at) => put_bytes(field.number, &zero(structs, at as usize, depth + 1)?, &mut out),
        other => put_plain_zero(field.number, other, &mut out),
    }
    Some(out)
}

fn zero(structs: &[Struct], at: usize, depth: usize) -> Option<Vec<u8>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let fields = structs[at].fields.iter();
    let all: Option<Vec<_>> = fields.map(|f| missing(structs, f, depth)).collect();
    all.map(|all| all.concat())
}

fn put_plain_zero(number: u32, kind: Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Text => put_bytes(number, b"", out),
        Kind::Int | Kind::Bool => {
            put_tag(number, 0, out);
            out.push(0);
        }
        Kind::Double => {
            put_tag(number, 1, out);
            out.extend_from_slice(&[0; 8]);
        }
        // What is nil in Go.
        Kind::Bytes => {}
        Kind::Special(Special::Quantity) => put_bytes(number, b"\x0a\x010", out),
        Kind::Special(Special::IntOrString) => put_bytes(number, b"\x08\0\x10\0\x1a\0", out),
        Kind::Special(Special::SchemaOrBool) => put_bytes(number, b"\x08\0", out),
        Kind::Special(_) | Kind::Struct(_) => put_bytes(number, b"", out),
    }
}

pub(super) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_tag(number, 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
