//! `metadata.managedFields`: who owns what. Entries stay the JSON that is stored; only what changes is touched.

use crate::fields::{FieldSet, object_mut};
use crate::shape::Place;
use serde_json::{Map, Value, json};

/// Most entries of operation Update; older ones are united under [`ANCIENT`].
const MAX_UPDATE_ENTRIES: usize = 10;
const ANCIENT: &str = "ancient-changes";
const MEMBERS: [&str; 7] = [
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
];

pub(crate) const APPLY: &str = "Apply";
pub(crate) const UPDATE: &str = "Update";

/// Who writes: the field manager's name (`fieldManager`, or the user agent up to its first `/`), the version of
/// the endpoint (`apps/v1`) and the subresource (`""` for the main one).
#[derive(Debug, Clone, Copy)]
pub struct ManagerId<'a> {
    pub name: &'a str,
    pub api_version: &'a str,
    pub subresource: &'a str,
}

impl<'a> ManagerId<'a> {
    pub(crate) fn named(self, name: &'a str) -> Self {
        ManagerId { name, ..self }
    }

    /// The name that is recorded.
    pub(crate) fn recorded(&self) -> &'a str {
        if self.name.is_empty() {
            "unknown"
        } else {
            self.name
        }
    }
}

/// One entry, as stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry(Map<String, Value>);

impl Entry {
    fn new(id: &ManagerId<'_>, operation: &str) -> Self {
        let mut entry = Map::new();
        entry.insert("manager".into(), id.recorded().into());
        entry.insert("operation".into(), operation.into());
        entry.insert("apiVersion".into(), id.api_version.into());
        entry.insert("fieldsType".into(), "FieldsV1".into());
        entry.insert("fieldsV1".into(), Value::Object(Map::new()));
        if !id.subresource.is_empty() {
            entry.insert("subresource".into(), id.subresource.into());
        }
        Entry(entry)
    }

    fn text(&self, member: &str) -> &str {
        self.0.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn manager(&self) -> &str {
        self.text("manager")
    }

    pub(crate) fn operation(&self) -> &str {
        self.text("operation")
    }

    pub(crate) fn api_version(&self) -> &str {
        self.text("apiVersion")
    }

    pub(crate) fn subresource(&self) -> &str {
        self.text("subresource")
    }

    fn time(&self) -> &str {
        self.text("time")
    }

    pub(crate) fn set_time(&mut self, now: &str) {
        self.0.insert("time".into(), now.into());
    }

    /// An applier keeps its entry when it moves to another version; an updater gets another one.
    fn is_of(&self, id: &ManagerId<'_>, operation: &str) -> bool {
        self.operation() == operation
            && self.manager() == id.recorded()
            && self.subresource() == id.subresource
            && (operation == APPLY || self.api_version() == id.api_version)
    }

    fn same_owner(&self, other: &Entry) -> bool {
        let id = ManagerId {
            name: other.manager(),
            api_version: other.api_version(),
            subresource: other.subresource(),
        };
        self.is_of(&id, other.operation())
    }

    /// The set, taken out for changing; [`Entry::put_fields`] brings it back.
    pub(crate) fn take_fields(&mut self) -> FieldSet {
        FieldSet(
            self.0
                .get_mut("fieldsV1")
                .map(|v| std::mem::take(object_mut(v)))
                .unwrap_or_default(),
        )
    }

    pub(crate) fn put_fields(&mut self, fields: FieldSet) {
        self.0.insert("fieldsV1".into(), fields.into_value());
    }

    pub(crate) fn fields(&self) -> FieldSet {
        FieldSet(
            self.0
                .get("fieldsV1")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
        )
    }

    fn owns_nothing(&self) -> bool {
        self.0
            .get("fieldsV1")
            .and_then(Value::as_object)
            .is_none_or(Map::is_empty)
    }

    /// Reads an entry that a client sent: known members only, canonical fields.
    fn decode(index: usize, entry: &Value) -> Result<Entry, String> {
        let given = entry
            .as_object()
            .ok_or_else(|| format!("managed fields entry {index} is not an object"))?;
        let mut entry = Entry(
            given
                .iter()
                .filter(|(k, v)| MEMBERS.contains(&k.as_str()) && !v.is_null())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        );
        if ![APPLY, UPDATE].contains(&entry.operation()) {
            return Err("operation must be `Apply` or `Update`".into());
        }
        if entry.api_version().is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        match entry.text("fieldsType") {
            "FieldsV1" => {}
            "" => {
                return Err(format!("missing fieldsType in managed fields entry {index}"));
            }
            other => {
                return Err(format!(
                    "invalid fieldsType {other:?} in managed fields entry {index}"
                ));
            }
        }
        let fields = entry
            .0
            .get("fieldsV1")
            .map_or_else(|| Ok(FieldSet::new()), FieldSet::parse);
        entry.put_fields(
            fields.map_err(|e| format!("managed fields entry {index}: error decoding set: {e}"))?,
        );
        if entry.subresource().is_empty() {
            entry.0.remove("subresource");
        }
        Ok(entry)
    }
}

/// All entries of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Managed(Vec<Entry>);

impl Managed {
    /// Entries that this server stored: taken as they are.
    pub(crate) fn stored(list: Value) -> Self {
        let Value::Array(list) = list else {
            return Self::default();
        };
        let entry = |v| {
            if let Value::Object(entry) = v {
                Some(Entry(entry))
            } else {
                None
            }
        };
        Managed(list.into_iter().filter_map(entry).collect())
    }

    /// Entries that a client sent. Of two with one owner the later counts.
    pub(crate) fn decode(list: &[Value]) -> Result<Self, String> {
        let mut managed = Managed::default();
        for (i, entry) in list.iter().enumerate() {
            let entry = Entry::decode(i, entry)?;
            managed.0.retain(|e| !e.same_owner(&entry));
            managed.0.push(entry);
        }
        Ok(managed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    fn position(&self, id: &ManagerId<'_>, operation: &str) -> Option<usize> {
        self.0.iter().position(|e| e.is_of(id, operation))
    }

    pub(crate) fn find(&self, id: &ManagerId<'_>, operation: &str) -> Option<&Entry> {
        self.position(id, operation).map(|i| &self.0[i])
    }

    pub(crate) fn find_or_add(&mut self, id: &ManagerId<'_>, operation: &str) -> &mut Entry {
        let i = self.position(id, operation).unwrap_or_else(|| {
            self.0.push(Entry::new(id, operation));
            self.0.len() - 1
        });
        let entry = &mut self.0[i];
        entry.0.insert("apiVersion".into(), id.api_version.into());
        entry
    }

    /// All entries but this owner's.
    pub(crate) fn others<'m>(
        &'m self,
        id: &'m ManagerId<'_>,
        operation: &'m str,
    ) -> impl Iterator<Item = &'m Entry> {
        self.0.iter().filter(move |e| !e.is_of(id, operation))
    }

    /// Takes the paths of `lost` from every entry, except from `keeper`'s.
    pub(crate) fn release(&mut self, lost: &FieldSet, keeper: Option<(&ManagerId<'_>, &str)>) {
        if lost.is_empty() {
            return;
        }
        for entry in &mut self.0 {
            if keeper.is_none_or(|(id, operation)| !entry.is_of(id, operation)) {
                let mut fields = entry.take_fields();
                fields.subtract(lost);
                entry.put_fields(fields);
            }
        }
    }

    pub(crate) fn drop_empty(&mut self) {
        self.0.retain(|e| !e.owns_nothing());
    }

    pub(crate) fn reconcile(&mut self, place: Place<'_>) {
        for entry in &mut self.0 {
            let mut fields = entry.take_fields();
            crate::extract::reconcile(&mut fields, place);
            entry.put_fields(fields);
        }
    }

    /// Unites the oldest Update entries of a version until no more than [`MAX_UPDATE_ENTRIES`] are left.
    pub(crate) fn cap_updates(&mut self) {
        let mut updates = self.0.iter().filter(|e| e.operation() == UPDATE).count();
        if updates <= MAX_UPDATE_ENTRIES {
            return;
        }
        let (mut old, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|e| e.operation() == UPDATE);
        old.sort_by(|a, b| (a.time(), a.manager()).cmp(&(b.time(), b.manager())));
        self.0 = rest;
        // For each version, the entry that collects: first the oldest itself, from the second on the bucket.
        let mut kept: Vec<Entry> = Vec::with_capacity(MAX_UPDATE_ENTRIES);
        for mut entry in old {
            let bucket = kept.iter_mut().find(|k| k.api_version() == entry.api_version());
            match bucket {
                Some(bucket) if updates > MAX_UPDATE_ENTRIES => {
                    let mut fields = bucket.take_fields();
                    fields.union_with(entry.take_fields());
                    bucket.put_fields(fields);
                    bucket.0.insert("manager".into(), ANCIENT.into());
                    bucket.0.remove("subresource");
                    match entry.0.remove("time") {
                        Some(time) => bucket.0.insert("time".into(), time),
                        None => bucket.0.remove("time"),
                    };
                    updates -= 1;
                }
                _ => kept.push(entry),
            }
        }
        self.0.extend(kept);
    }

    /// The stored form, sorted as upstream sorts; `None` when there is no entry.
    pub(crate) fn encode(mut self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        Some(Value::Array(
            self.0.into_iter().map(|e| Value::Object(e.0)).collect(),
        ))
    }
}

impl Entry {
    fn sort_key(&self) -> [&str; 5] {
        [
            self.operation(),
            self.time(),
            self.manager(),
            self.api_version(),
            self.subresource(),
        ]
    }
}

/// The entries of an object as a list; `None` when the member is absent or null.
pub(crate) fn listed(object: &Value) -> Option<&Vec<Value>> {
    object.get("metadata")?.get("managedFields")?.as_array()
}

/// Takes the entries out of an object.
pub(crate) fn take(object: &mut Value) -> Value {
    object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .and_then(|m| m.remove("managedFields"))
        .unwrap_or(Value::Null)
}

/// Puts entries into an object.
pub(crate) fn put(object: &mut Value, managed: Managed) {
    if let Some(list) = managed.encode()
        && let Some(object) = object.as_object_mut()
    {
        object_mut(object.entry("metadata").or_insert(Value::Null)).insert("managedFields".into(), list);
    }
}

/// `[]` or `[{}]`: the client wants ownership forgotten.
pub(crate) fn is_reset(list: &[Value]) -> bool {
    match list {
        [] => true,
        [one] => one
            .as_object()
            .is_some_and(|e| e.values().all(|v| v.is_null() || v == &json!(""))),
        _ => false,
    }
}

#[cfg(test)]
#[path = "managed_tests.rs"]
mod tests;
