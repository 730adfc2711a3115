//! A stored object: its canonical JSON bytes (keys sorted) and the metadata that everyone asks for, parsed once.
//! The bytes are what GET, LIST and WATCH send; a field that isopod does not know is therefore never lost.

use crate::Timestamp;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// One object at one revision. Cloning costs a reference count.
#[derive(Clone)]
pub struct Object(Arc<Inner>);

struct Inner {
    json: Bytes,
    /// Where the digits of `metadata.resourceVersion` stand in `json`.
    revision_at: u32,
    meta: Meta,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
    encoded: OnceLock<Kept>,
}

/// Another encoding of an object, counted among all that are kept.
struct Kept(Bytes);

/// How many bytes of other encodings all objects of the process keep.
static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);
/// More are not kept but made anew each time: they would cost more memory than they save work.
const KEPT_MAX_BYTES: usize = 32 << 20;

impl Kept {
    fn new(bytes: Bytes) -> Option<Self> {
        let before = KEPT_BYTES.fetch_add(bytes.len(), Ordering::Relaxed);
        // Dropped where it is over the limit, which takes it from the count again.
        let kept = Self(bytes);
        (before + kept.0.len() <= KEPT_MAX_BYTES).then_some(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT_BYTES.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// An object that is ready to be stored, but for its revision, which the sequencer gives it.
#[derive(Clone, Debug)]
pub struct Draft {
    head: Vec<u8>,
    tail: Vec<u8>,
    meta: Meta,
}

/// The parsed part of `metadata`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    pub name: Box<str>,
    /// Empty for cluster-scoped objects.
    pub namespace: Box<str>,
    pub uid: Box<str>,
    /// `resourceVersion` as a number; 0 in a draft.
    pub revision: u64,
    pub generation: i64,
    pub created: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    pub deletion_grace_seconds: Option<i64>,
    pub labels: Vec<(Box<str>, Box<str>)>,
    pub owners: Vec<OwnerRef>,
    pub finalizers: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRef {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    #[serde(default)]
    pub controller: Option<bool>,
    #[serde(default)]
    pub block_owner_deletion: Option<bool>,
}

/// `metadata` as serde reads it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMeta {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    namespace: Option<Box<str>>,
    #[serde(default)]
    uid: Option<Box<str>>,
    #[serde(default)]
    resource_version: Option<Box<str>>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    deletion_grace_period_seconds: Option<i64>,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<Box<str>, Box<str>>>,
    #[serde(default)]
    owner_references: Option<Vec<OwnerRef>>,
    #[serde(default)]
    finalizers: Option<Vec<Box<str>>>,
}

/// Why bytes or a value are not an object.
#[derive(Debug, thiserror::Error)]
#[error("not an API object: {0}")]
pub struct NotAnObject(pub String);

impl Meta {
    /// Reads `metadata` of a whole object.
    pub fn of(value: &Value) -> Result<Self, NotAnObject> {
        let meta = value
            .get("metadata")
            .ok_or_else(|| NotAnObject("metadata is missing".into()))?;
        let raw = RawMeta::deserialize(meta).map_err(|e| NotAnObject(format!("metadata: {e}")))?;
        Ok(raw.into())
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .binary_search_by(|(k, _)| (**k).cmp(key))
            .ok()
            .map(|i| &*self.labels[i].1)
    }

    /// The owner that manages this object, if any.
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.owners.iter().find(|o| o.controller == Some(true))
    }

    pub fn is_deleting(&self) -> bool {
        self.deleted.is_some()
    }

    /// `namespace/name`, or the name alone for cluster-scoped objects: the key within a resource.
    pub fn key(&self) -> String {
        key(&self.namespace, &self.name)
    }
}

/// `namespace/name`, or the name alone when there is no namespace. Orders as upstream's storage keys do.
pub fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_string()
    } else {
        format!("{namespace}/{name}")
    }
}

impl From<RawMeta> for Meta {
    fn from(raw: RawMeta) -> Self {
        Self {
            name: raw.name,
            namespace: raw.namespace.unwrap_or_default(),
            uid: raw.uid.unwrap_or_default(),
            revision: raw.resource_version.and_then(|v| v.parse().ok()).unwrap_or(0),
            generation: raw.generation.unwrap_or(0),
            created: raw.creation_timestamp,
            deleted: raw.deletion_timestamp,
            deletion_grace_seconds: raw.deletion_grace_period_seconds,
            labels: raw.labels.unwrap_or_default().into_iter().collect(),
            owners: raw.owner_references.unwrap_or_default(),
            finalizers: raw.finalizers.unwrap_or_default(),
        }
    }
}

impl Draft {
    /// Encodes `value`, leaving room for the revision.
    pub fn new(mut value: Value) -> Result<Self, NotAnObject> {
        let mut meta = Meta::of(&value)?;
        meta.revision = 0;
        let encode = |e: serde_json::Error| NotAnObject(e.to_string());
        let top = value
            .as_object_mut()
            .ok_or_else(|| NotAnObject("the top level is not a map".into()))?;
        let mut metadata = match top.remove("metadata") {
            Some(Value::Object(map)) => map,
            _ => return Err(NotAnObject("metadata is not a map".into())),
        };
        metadata.remove("resourceVersion");
        let (mut head, mut tail) = (Vec::with_capacity(512), Vec::with_capacity(512));
        head.push(b'{');
        let before = |k: &&String| k.as_str() < "metadata";
        for key in top.keys().filter(before) {
            write_member(&mut head, key, &top[key]).map_err(encode)?;
            head.push(b',');
        }
        head.extend_from_slice(b"\"metadata\":{");
        for (key, member) in metadata.iter().filter(|(k, _)| k.as_str() < "resourceVersion") {
            write_member(&mut head, key, member).map_err(encode)?;
            head.push(b',');
        }
        head.extend_from_slice(b"\"resourceVersion\":\"");
        tail.push(b'"');
        for (key, member) in metadata.iter().filter(|(k, _)| k.as_str() > "resourceVersion") {
            tail.push(b',');
            write_member(&mut tail, key, member).map_err(encode)?;
        }
        tail.push(b'}');
        for key in top.keys().filter(|k| !before(k)) {
            tail.push(b',');
            write_member(&mut tail, key, &top[key]).map_err(encode)?;
        }
        tail.push(b'}');
        Ok(Self { head, tail, meta })
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes that the object will have, without the digits of its revision.
    pub fn size_bytes(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// True when storing this would change nothing but the revision of `stored`.
    pub fn same_as(&self, stored: &Object) -> bool {
        let (json, at) = (&stored.0.json, stored.0.revision_at as usize);
        let rest = &json[at..];
        let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        json[..at] == self.head && rest[digits..] == self.tail
    }

    /// The object as it is stored at `revision`.
    pub fn seal(self, revision: u64) -> Object {
        let digits = revision.to_string();
        let mut json = Vec::with_capacity(self.size_bytes() + digits.len());
        json.extend_from_slice(&self.head);
        json.extend_from_slice(digits.as_bytes());
        json.extend_from_slice(&self.tail);
        let meta = Meta {
            revision,
            ..self.meta
        };
        Object(Arc::new(Inner {
            json: json.into(),
            revision_at: self.head.len() as u32,
            meta,
            typed: OnceLock::new(),
            encoded: OnceLock::new(),
        }))
    }
}

fn write_member(out: &mut Vec<u8>, key: &str, value: &Value) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, key)?;
    out.push(b':');
    serde_json::to_writer(out, value)
}

impl Object {
    /// Reads back what was stored. The bytes must be those of a sealed draft.
    pub fn from_stored(json: Bytes) -> Result<Self, NotAnObject> {
        let meta = stored_meta(&json)?;
        let revision_at = find_revision(&json, meta.revision)
            .ok_or_else(|| NotAnObject("metadata.resourceVersion is missing".into()))?;
        Ok(Self::with(json, revision_at, meta))
    }

    /// As `from_stored`, for a store that kept `revision_at()` beside the bytes: exact and without a search.
    pub fn from_stored_at(json: Bytes, revision_at: u32) -> Result<Self, NotAnObject> {
        const BEFORE: &[u8] = b"\"resourceVersion\":\"";
        let meta = stored_meta(&json)?;
        let (head, tail) = json
            .split_at_checked(revision_at as usize)
            .ok_or_else(|| NotAnObject("the revision lies outside of the object".into()))?;
        if !head.ends_with(BEFORE) || !tail.starts_with(format!("{}\"", meta.revision).as_bytes()) {
            return Err(NotAnObject("the revision is not where it should be".into()));
        }
        Ok(Self::with(json, revision_at, meta))
    }

    fn with(json: Bytes, revision_at: u32, meta: Meta) -> Self {
        Self(Arc::new(Inner {
            json,
            revision_at,
            meta,
            typed: OnceLock::new(),
            encoded: OnceLock::new(),
        }))
    }

    /// Where the digits of `metadata.resourceVersion` stand in `json()`.
    pub fn revision_at(&self) -> u32 {
        self.0.revision_at
    }

    /// The version in `apiVersion`, read without the rest.
    pub fn version(&self) -> Option<&str> {
        const START: &[u8] = b"{\"apiVersion\":\"";
        let rest = self.json().strip_prefix(START)?;
        let end = rest.iter().position(|b| *b == b'"')?;
        let text = std::str::from_utf8(&rest[..end]).ok()?;
        Some(text.rsplit_once('/').map_or(text, |(_, version)| version))
    }

    pub fn json(&self) -> &Bytes {
        &self.0.json
    }

    pub fn meta(&self) -> &Meta {
        &self.0.meta
    }

    pub fn name(&self) -> &str {
        &self.0.meta.name
    }

    pub fn namespace(&self) -> &str {
        &self.0.meta.namespace
    }

    pub fn uid(&self) -> &str {
        &self.0.meta.uid
    }

    pub fn revision(&self) -> u64 {
        self.0.meta.revision
    }

    /// The whole object as a fresh value, for one that will be changed.
    pub fn value(&self) -> Value {
        // The bytes were written by `Draft` or checked by `from_stored`.
        serde_json::from_slice(&self.0.json).unwrap_or(Value::Null)
    }

    /// The object as `T`, decoded at the first call and kept with this revision. A second type for the same object
    /// is decoded each time, so use one type a resource.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, NotAnObject> {
        if let Some(known) = self.0.typed.get()
            && let Ok(typed) = known.clone().downcast::<T>()
        {
            return Ok(typed);
        }
        let typed: Arc<T> = Arc::new(
            serde_json::from_slice(&self.0.json)
                .map_err(|e| NotAnObject(format!("{}: {e}", self.meta().key())))?,
        );
        // A lost race only means that the other thread's equal value is kept.
        self.0.typed.set(typed.clone()).ok();
        Ok(typed)
    }

    /// The object in its other encoding (protobuf), made from its JSON at the first call and kept with this revision as
    /// long as there is room: all who list and watch it share it. `make` must be the same at each call.
    pub fn encoded<E>(&self, make: impl FnOnce(&[u8]) -> Result<Bytes, E>) -> Result<Bytes, E> {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let bytes = make(&self.0.json)?;
        if let Some(kept) = Kept::new(bytes.clone()) {
            // A lost race only means that the other thread's equal bytes are kept.
            self.0.encoded.set(kept).ok();
        }
        Ok(bytes)
    }

    /// What `encoded` has made, as far as it is kept.
    pub fn kept(&self) -> Option<Bytes> {
        self.0.encoded.get().map(|kept| kept.0.clone())
    }

    /// The same object under another revision: what a DELETED event carries.
    pub fn at_revision(&self, revision: u64) -> Self {
        let at = self.0.revision_at as usize;
        let old = self.0.meta.revision.to_string().len();
        let mut json = Vec::with_capacity(self.0.json.len() + 4);
        json.extend_from_slice(&self.0.json[..at]);
        json.extend_from_slice(revision.to_string().as_bytes());
        json.extend_from_slice(&self.0.json[at + old..]);
        let meta = Meta {
            revision,
            ..self.0.meta.clone()
        };
        Self(Arc::new(Inner {
            json: json.into(),
            revision_at: self.0.revision_at,
            meta,
            typed: OnceLock::new(),
            encoded: OnceLock::new(),
        }))
    }

    /// True when both handles are the very same stored object.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Equal are handles on the very same stored object, so that two states of a table can be compared without reading objects.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

fn stored_meta(json: &[u8]) -> Result<Meta, NotAnObject> {
    #[derive(Deserialize)]
    struct Outer {
        metadata: RawMeta,
    }
    let outer: Outer = serde_json::from_slice(json).map_err(|e| NotAnObject(e.to_string()))?;
    Ok(outer.metadata.into())
}

/// Finds the digits of `metadata.resourceVersion`: only inside `metadata`, where `Draft` wrote them.
fn find_revision(json: &[u8], revision: u64) -> Option<u32> {
    let needle = format!("\"resourceVersion\":\"{revision}\"");
    // `metadata` may hold the same text only after it (in no key that sorts before `resourceVersion` may a bare
    // quoted key occur: strings escape their quotes), but `managedFields` and `ownerReferences` hold no such member.
    let start = json.windows(12).position(|w| w == b"\"metadata\":{")?;
    let found = json[start..]
        .windows(needle.len())
        .position(|w| w == needle.as_bytes())?;
    Some((start + found + "\"resourceVersion\":\"".len()) as u32)
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0.json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_draft_is_sealed_with_its_revision_and_reads_back() {
        let value = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"metadata": "\"resourceVersion\":\"7\""},
            "metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "3", "annotations": {"x": "\"resourceVersion\":\"7\""}}});
        let object = Draft::new(value).expect("valid").seal(7);
        assert_eq!(
            std::str::from_utf8(object.json()).expect("utf-8"),
            r#"{"apiVersion":"v1","data":{"metadata":"\"resourceVersion\":\"7\""},"kind":"ConfigMap","metadata":{"annotations":{"x":"\"resourceVersion\":\"7\""},"name":"a","namespace":"b","resourceVersion":"7","uid":"u"}}"#
        );
        let again = Object::from_stored(object.json().clone()).expect("reads back");
        let draft = Draft::new(again.value()).expect("valid");
        assert!(draft.same_as(&again));
        let mut other = again.value();
        other["data"] = json!({});
        assert!(!Draft::new(other).expect("valid").same_as(&again));
        assert_eq!(again.meta(), object.meta());
        let at = object.revision_at();
        let exact = Object::from_stored_at(object.json().clone(), at).expect("reads back");
        assert_eq!(exact.meta(), object.meta());
        for wrong in [0, at - 1, at + 1, u32::MAX] {
            assert!(Object::from_stored_at(object.json().clone(), wrong).is_err());
        }
        assert_eq!(
            again.at_revision(1234).value()["metadata"]["resourceVersion"],
            "1234"
        );
        assert_eq!(
            again.at_revision(1234).value()["metadata"]["annotations"],
            object.value()["metadata"]["annotations"]
        );
    }

    #[test]
    fn another_encoding_is_made_once_unless_there_is_no_room() {
        let object = || {
            let value = json!({"metadata": {"name": "a"}});
            Draft::new(value).expect("valid").seal(1)
        };
        let small = object();
        let make = |bytes: usize| move |_: &[u8]| Ok::<_, ()>(Bytes::from(vec![1; bytes]));
        assert_eq!(small.encoded(make(3)).map(|b| b.len()), Ok(3));
        assert_eq!(small.clone().encoded(|_| Err(())).map(|b| b.len()), Ok(3));
        let large = object();
        assert_eq!(
            large.encoded(make(KEPT_MAX_BYTES + 1)).map(|b| b.len()),
            Ok(KEPT_MAX_BYTES + 1)
        );
        assert_eq!(large.kept(), None);
        assert_eq!(large.encoded(make(4)).map(|b| b.len()), Ok(4));
    }
}
