//! Sets of field paths, in the tree form that `managedFields` stores (`fieldsV1`).
//! A set is that JSON tree itself: reading and writing it costs nothing, and an operation costs what it touches.

use crate::element::{self, SELF};
use serde_json::{Map, Value};

/// A set of field paths. `{"f:spec":{"f:replicas":{}}}` holds `.spec.replicas`; a node holds itself when it
/// is empty or has the child `"."`. Invariant: canonical elements, every node an object, no `"."` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet(pub(crate) Map<String, Value>);

/// A text that is no field set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldSetError {
    #[error("parsing key as path element: {0}")]
    Element(String),
    #[error("expected an object in fieldsV1, got {0}")]
    NotAnObject(&'static str),
}

impl FieldSet {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of plain field paths, each a list of field names.
    #[must_use]
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            set.insert(path.iter().map(|name| element::field(name)));
        }
        set
    }

    /// Reads the JSON form, sorts keys within elements and drops kinds of elements that nobody knows yet.
    ///
    /// # Errors
    /// When an element or a node is malformed.
    pub fn parse(value: &Value) -> Result<Self, FieldSetError> {
        let map = value
            .as_object()
            .ok_or_else(|| FieldSetError::NotAnObject(crate::value::go_type(value)))?;
        let mut out = Map::new();
        for (key, child) in map {
            if key == SELF {
                continue;
            }
            let Some(key) = element::canonical(key).map_err(FieldSetError::Element)? else {
                continue;
            };
            let grandchildren = Self::parse(child)?.0;
            let member = child.as_object().is_none_or(|c| c.contains_key(SELF)) || grandchildren.is_empty();
            union_node(&mut out, key, member, grandchildren);
        }
        Ok(Self(out))
    }

    /// The JSON form.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one path, given as elements in their text form (`f:spec`). The empty path is in every set.
    pub fn insert(&mut self, path: impl IntoIterator<Item = String>) {
        let mut at = &mut self.0;
        let mut path = path.into_iter().peekable();
        while let Some(element) = path.next() {
            let is_last = path.peek().is_none();
            let is_new = !at.contains_key(&element);
            let node = object_mut(at.entry(element).or_insert_with(|| Value::Object(Map::new())));
            if is_last {
                if !is_new && !node.is_empty() {
                    node.insert(SELF.into(), Value::Object(Map::new()));
                }
                return;
            }
            if !is_new && node.is_empty() {
                node.insert(SELF.into(), Value::Object(Map::new()));
            }
            at = node;
        }
    }

    /// Whether exactly this path (elements in text form) is in the set.
    pub fn has<'e>(&self, path: impl IntoIterator<Item = &'e str>) -> bool {
        self.descend(path).is_some_and(is_member)
    }

    /// Whether this path or one below it is in the set.
    pub fn has_prefix<'e>(&self, path: impl IntoIterator<Item = &'e str>) -> bool {
        self.descend(path).is_some()
    }

    fn descend<'e>(&self, path: impl IntoIterator<Item = &'e str>) -> Option<&Map<String, Value>> {
        path.into_iter()
            .try_fold(&self.0, |at, element| at.get(element)?.as_object())
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: FieldSet) {
        union_maps(&mut self.0, other.0);
    }

    #[must_use]
    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut out = self.clone();
        out.union_with(other.clone());
        out
    }

    /// Removes the paths of `other`, and only these: what lies below a removed path stays.
    pub fn subtract(&mut self, other: &FieldSet) {
        subtract_maps(&mut self.0, &other.0);
    }

    #[must_use]
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        let mut out = self.clone();
        out.subtract(other);
        out
    }

    /// Removes the paths of `other` and all that lies below them.
    pub fn subtract_recursive(&mut self, other: &FieldSet) {
        if !self.is_empty() {
            subtract_trees(&mut self.0, &other.0);
        }
    }

    /// The paths that are in both.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        FieldSet(intersect_maps(&self.0, &other.0))
    }

    /// All paths as people read them (`.spec.containers[name="x"].image`), at each level members before what lies deeper.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        collect_paths(&self.0, "", &mut out);
        out
    }
}

/// Whether a node is in the set itself, not only something below it.
pub(crate) fn is_member(node: &Map<String, Value>) -> bool {
    node.is_empty() || node.contains_key(SELF)
}

/// A node of an invariant-keeping set is always an object; a foreign value is made one.
pub(crate) fn object_mut(node: &mut Value) -> &mut Map<String, Value> {
    if !node.is_object() {
        *node = Value::Object(Map::new());
    }
    node.as_object_mut().expect("was just made an object")
}

/// The stored form of a node; `None` when nothing is left of it.
pub(crate) fn node(member: bool, mut children: Map<String, Value>) -> Option<Value> {
    if children.is_empty() {
        return member.then_some(Value::Object(children));
    }
    if member {
        children.insert(SELF.into(), Value::Object(Map::new()));
    }
    Some(Value::Object(children))
}

/// Adds a node to a level, uniting it with one that is there.
pub(crate) fn union_node(
    level: &mut Map<String, Value>,
    key: String,
    member: bool,
    children: Map<String, Value>,
) {
    match level.get_mut(&key) {
        Some(present) => {
            let present = object_mut(present);
            let was_member = is_member(present);
            union_maps(present, children);
            if (member || was_member) && !present.is_empty() {
                present.insert(SELF.into(), Value::Object(Map::new()));
            }
            if present.len() == 1 && present.contains_key(SELF) {
                present.clear();
            }
        }
        None => {
            if let Some(node) = node(member, children) {
                level.insert(key, node);
            }
        }
    }
}

fn union_maps(into: &mut Map<String, Value>, from: Map<String, Value>) {
    if into.is_empty() {
        *into = from;
        return;
    }
    for (key, mut child) in from {
        if key == SELF {
            continue;
        }
        let mut children = std::mem::take(object_mut(&mut child));
        let member = is_member(&children);
        children.remove(SELF);
        union_node(into, key, member, children);
    }
}

fn subtract_maps(from: &mut Map<String, Value>, what: &Map<String, Value>) {
    for (key, removed) in what {
        if key == SELF {
            continue;
        }
        let (Some(present), Some(removed)) = (from.get_mut(key), removed.as_object()) else {
            continue;
        };
        let present = object_mut(present);
        let stays_member = is_member(present) && !is_member(removed);
        present.remove(SELF);
        subtract_maps(present, removed);
        settle(from, key, stays_member);
    }
}

fn subtract_trees(from: &mut Map<String, Value>, what: &Map<String, Value>) {
    for (key, removed) in what {
        if key == SELF {
            continue;
        }
        let (Some(present), Some(removed)) = (from.get_mut(key), removed.as_object()) else {
            continue;
        };
        if is_member(removed) {
            from.remove(key);
            continue;
        }
        let present = object_mut(present);
        let member = is_member(present);
        present.remove(SELF);
        subtract_trees(present, removed);
        settle(from, key, member);
    }
}

/// Restores the canonical form of a node whose `"."` was taken out while its children changed.
fn settle(level: &mut Map<String, Value>, key: &str, member: bool) {
    let Some(present) = level.get_mut(key).map(object_mut) else {
        return;
    };
    match (present.is_empty(), member) {
        (true, false) => {
            level.remove(key);
        }
        (false, true) => {
            present.insert(SELF.into(), Value::Object(Map::new()));
        }
        _ => {}
    }
}

fn intersect_maps(a: &Map<String, Value>, b: &Map<String, Value>) -> Map<String, Value> {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut out = Map::new();
    for (key, x) in few {
        if key == SELF {
            continue;
        }
        let (Some(x), Some(y)) = (x.as_object(), many.get(key).and_then(Value::as_object)) else {
            continue;
        };
        if let Some(node) = node(is_member(x) && is_member(y), intersect_maps(x, y)) {
            out.insert(key.clone(), node);
        }
    }
    out
}

fn collect_paths(level: &Map<String, Value>, prefix: &str, out: &mut Vec<String>) {
    let nodes = || {
        level
            .iter()
            .filter(|(key, _)| *key != SELF)
            .filter_map(|(key, node)| Some((key, node.as_object()?)))
    };
    for (key, _) in nodes().filter(|(_, node)| is_member(node)) {
        out.push(format!("{prefix}{}", element::display(key)));
    }
    for (key, node) in nodes().filter(|(_, node)| !node.is_empty()) {
        collect_paths(node, &format!("{prefix}{}", element::display(key)), out);
    }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
