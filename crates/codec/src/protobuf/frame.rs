//! What stands around messages: the envelope of bodies, the parts of lists that are sent in pieces, the frames of a watch.

use super::decode::varint;
use super::encode::{put_tag, put_varint, varint_len};
use super::layout::{Message, put_bytes};
use super::table::Table;
use super::{MAGIC, Result};
use bytes::BufMut;

/// What follows the message in its envelope: no encoding and no content type of its own.
pub const ENVELOPE_END: &[u8] = b"\x1a\0\x22\0";

/// The envelope of one kind's messages: what stands before them, up to their length.
#[derive(Debug, Clone)]
pub struct Envelope(Box<[u8]>);

impl Envelope {
    pub fn new(api_version: &str, kind: &str) -> Self {
        let (mut out, mut named) = (MAGIC.to_vec(), Vec::new());
        put_bytes(1, api_version.as_bytes(), &mut named);
        put_bytes(2, kind.as_bytes(), &mut named);
        put_bytes(1, &named, &mut out);
        put_tag(2, 2, &mut out);
        Self(out.into())
    }

    /// How long the envelope of a message is together with it.
    pub fn size_bytes(&self, message: usize) -> usize {
        self.0.len() + varint_len(message as u64) + message + ENVELOPE_END.len()
    }

    /// What stands before a message of this length.
    pub fn head(&self, message: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size_bytes(message));
        out.extend_from_slice(&self.0);
        put_varint(message as u64, &mut out);
        out
    }

    /// The whole body.
    pub fn around(&self, message: &[u8]) -> Vec<u8> {
        let mut out = self.head(message.len());
        out.extend_from_slice(message);
        out.extend_from_slice(ENVELOPE_END);
        out
    }

    /// A watch's frame: its length in four bytes, and a `WatchEvent` that holds the enveloped message.
    pub fn event(&self, kind: &str, message: &[u8], out: &mut impl BufMut) {
        let body = self.size_bytes(message.len());
        let mut inner = Vec::with_capacity(8);
        put_tag(1, 2, &mut inner);
        put_varint(body as u64, &mut inner);
        let mut event = Vec::with_capacity(64 + self.0.len());
        put_bytes(1, kind.as_bytes(), &mut event);
        put_tag(2, 2, &mut event);
        put_varint((inner.len() + body) as u64, &mut event);
        event.extend_from_slice(&inner);
        out.put_u32((event.len() + body) as u32);
        event.extend_from_slice(&self.0);
        put_varint(message.len() as u64, &mut event);
        out.put_slice(&event);
        out.put_slice(message);
        out.put_slice(ENVELOPE_END);
    }
}

/// A list's message but for its items.
#[derive(Debug)]
pub struct List {
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    number: u32,
}

impl Table {
    /// How much of an encoded object is its metadata, as `PartialObjectMetadata` has it too: the first field of both.
    pub fn metadata_bytes(&self, message: Message, encoded: &[u8]) -> Option<usize> {
        let first = self.structs[message.0 as usize].fields.first()?;
        if (first.number, &*first.name) != (1, "metadata") || encoded.first() != Some(&(1 << 3 | 2)) {
            return None;
        }
        let mut at = 1;
        let length = varint(encoded, &mut at).ok()?;
        at.checked_add(usize::try_from(length).ok()?)
            .filter(|end| *end <= encoded.len())
    }

    /// A list with this `metadata` (JSON); `None` if the message is none.
    pub fn list(&self, message: Message, metadata: &str) -> Result<Option<List>> {
        let fields = &self.structs[message.0 as usize].fields;
        let number = |name: &str| fields.iter().find(|f| &*f.name == name).map(|f| f.number);
        let (Some(items), Some(own)) = (number("items"), number("metadata")) else {
            return Ok(None);
        };
        let mut rest = Vec::new();
        self.encode(
            message,
            format!("{{\"metadata\":{metadata}}}").as_bytes(),
            &mut rest,
        )?;
        let (before, after) = if own < items {
            (rest, Vec::new())
        } else {
            (Vec::new(), rest)
        };
        Ok(Some(List {
            before,
            after,
            number: items,
        }))
    }
}

impl List {
    /// What stands before an item of this length.
    pub fn item_head(&self, item: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        put_tag(self.number, 2, &mut out);
        put_varint(item as u64, &mut out);
        out
    }

    /// How long an item is together with its head.
    pub fn item_size_bytes(&self, item: usize) -> usize {
        varint_len(u64::from(self.number) << 3) + varint_len(item as u64) + item
    }
}
