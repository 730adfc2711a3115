//! Schema facts of a kind: types, required fields, list keys and patch strategies, as one arena of nodes.
//! Built-in kinds share one arena that is built from the API's registry packages; a CRD brings an arena of its own.
//! A `Schema` is a cheap handle (arena + index), so recursive types need no special care.

use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A handle on one node of an arena. Cloning costs one reference count.
#[derive(Clone)]
pub struct Schema {
    arena: Arc<Arena>,
    node: u32,
}

/// All nodes of one set of schemas and the names under which types are published in OpenAPI.
#[derive(Default, Debug)]
pub struct Arena {
    nodes: Vec<Node>,
    types: HashMap<String, u32>,
}

/// One node. `description` is kept elsewhere (OpenAPI documents), it is not needed to process objects.
#[derive(Debug, Clone, Default)]
pub struct Node {
    pub kind: SchemaKind,
    /// Filled in when an applied list item leaves out this key, e.g. `protocol` of a port.
    pub default: Option<Value>,
    pub nullable: bool,
}

/// The shape of a value. Indices point into the same arena.
#[derive(Debug, Clone, Default)]
pub enum SchemaKind {
    /// Anything goes; treated as one atomic value.
    #[default]
    Any,
    Bool,
    /// `bits` is 32 or 64.
    Integer {
        bits: u8,
    },
    Number,
    String(StringForm),
    IntOrString,
    Quantity,
    Array {
        items: u32,
        list: ListType,
        patch: PatchStrategy,
    },
    Map {
        values: u32,
        atomic: bool,
    },
    Object(ObjectNode),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StringForm {
    #[default]
    Plain,
    /// base64
    Bytes,
    /// RFC 3339, seconds
    Time,
    /// RFC 3339, microseconds
    MicroTime,
}

/// A struct: fields sorted by name.
#[derive(Debug, Clone, Default)]
pub struct ObjectNode {
    pub fields: Vec<Field>,
    /// The whole object has one owner in server-side apply (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// `x-kubernetes-patch-strategy: retainKeys` on the field that holds this object.
    pub retain_keys: bool,
    /// A complete object inside another one (`x-kubernetes-embedded-resource`, raw extensions).
    pub embedded: bool,
    /// The fields (by index) that are there in every object of the type, whatever was given.
    pub constant: Vec<u32>,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub name: Box<str>,
    pub node: u32,
    pub required: bool,
    pub written: Written,
    /// The struct of Go that the field is in, where that stands inline in the one that holds it.
    pub inline: Option<Box<str>>,
}

/// When Go's encoder writes a field, so that objects look as if typed code had read and written them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Written {
    /// Whenever it was given: pointers, and types of which nothing is known.
    #[default]
    Given,
    /// Unless it is the zero value of its type; structs have none, they are always written.
    Nonzero,
    /// Always.
    Always,
    /// Always, as null where it was not given.
    OrNull,
}

/// How server-side apply merges a list (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Vec<Box<str>>),
}

/// How a strategic merge patch merges a list (`x-kubernetes-patch-strategy`, `-merge-key`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PatchStrategy {
    #[default]
    Replace,
    /// A list of scalars, merged as a set.
    MergeScalars,
    /// A list of objects, merged by the value of this field.
    MergeByKey(Box<str>),
}

impl Arena {
    pub fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// Reserves a node for a named type, so that types may refer to each other before they are filled in.
    pub fn declare(&mut self, name: &str) -> u32 {
        if let Some(&node) = self.types.get(name) {
            return node;
        }
        let node = self.push(Node::default());
        self.types.insert(name.to_string(), node);
        node
    }

    pub fn set(&mut self, node: u32, value: Node) {
        self.nodes[node as usize] = value;
    }

    pub fn node_mut(&mut self, node: u32) -> &mut Node {
        &mut self.nodes[node as usize]
    }

    pub fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    /// To be called when all types are set: notes in each struct which of its fields every object has.
    pub fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            let SchemaKind::Object(object) = &self.nodes[at].kind else {
                continue;
            };
            let constant = |field: &Field| match field.written {
                Written::Given => false,
                Written::Always | Written::OrNull => true,
                Written::Nonzero => self.node(field.node).kind.is_struct(),
            };
            let fields = (0_u32..).zip(&object.fields);
            let constant: Vec<u32> = fields.filter(|(_, f)| constant(f)).map(|(i, _)| i).collect();
            if let SchemaKind::Object(object) = &mut self.nodes[at].kind {
                object.constant = constant;
            }
        }
    }

    /// Copies a node of another arena with all that it refers to; gives its place here.
    pub fn graft(&mut self, from: &Arena, node: u32) -> u32 {
        let mut places = HashMap::new();
        self.graft_part(from, node, &mut places)
    }

    fn graft_part(&mut self, from: &Arena, node: u32, places: &mut HashMap<u32, u32>) -> u32 {
        if let Some(&place) = places.get(&node) {
            return place;
        }
        let place = self.push(Node::default());
        places.insert(node, place);
        let mut copy = from.node(node).clone();
        let mut take = |part: &mut u32| *part = self.graft_part(from, *part, places);
        match &mut copy.kind {
            SchemaKind::Array { items, .. } => take(items),
            SchemaKind::Map { values, .. } => take(values),
            SchemaKind::Object(object) => object.fields.iter_mut().for_each(|field| take(&mut field.node)),
            _ => {}
        }
        self.set(place, copy);
        place
    }

    pub fn type_names(&self) -> impl Iterator<Item = (&str, u32)> {
        self.types.iter().map(|(name, node)| (name.as_str(), *node))
    }
}

impl SchemaKind {
    /// A struct in Go, which `omitempty` never leaves out.
    fn is_struct(&self) -> bool {
        match self {
            Self::Object(_) | Self::Quantity | Self::IntOrString => true,
            Self::String(form) => matches!(form, StringForm::Time | StringForm::MicroTime),
            _ => false,
        }
    }
}

impl Schema {
    pub fn new(arena: Arc<Arena>, node: u32) -> Self {
        Self { arena, node }
    }

    /// The schema of a named type such as `io.k8s.api.core.v1.Pod`.
    pub fn of(arena: &Arc<Arena>, name: &str) -> Option<Self> {
        arena.types.get(name).map(|&node| Self::new(arena.clone(), node))
    }

    /// A schema under which everything is allowed and every value is atomic.
    pub fn any() -> Self {
        let mut arena = Arena::default();
        let node = arena.push(Node::default());
        Self::new(Arc::new(arena), node)
    }

    fn node(&self) -> &Node {
        &self.arena.nodes[self.node as usize]
    }

    fn at(&self, node: u32) -> Self {
        Self {
            arena: self.arena.clone(),
            node,
        }
    }

    pub fn kind(&self) -> &SchemaKind {
        &self.node().kind
    }

    pub fn default_value(&self) -> Option<&Value> {
        self.node().default.as_ref()
    }

    pub fn nullable(&self) -> bool {
        self.node().nullable
    }

    /// The schema of a declared field, or of a map's values. `None` when the field is not declared.
    pub fn field(&self, name: &str) -> Option<Self> {
        match self.kind() {
            SchemaKind::Object(object) => {
                let i = object.fields.binary_search_by(|f| (*f.name).cmp(name)).ok()?;
                Some(self.at(object.fields[i].node))
            }
            SchemaKind::Map { values, .. } => Some(self.at(*values)),
            _ => None,
        }
    }

    /// When a declared field is written.
    pub fn written(&self, name: &str) -> Written {
        let SchemaKind::Object(object) = self.kind() else {
            return Written::Given;
        };
        let found = object.fields.binary_search_by(|f| (*f.name).cmp(name));
        found.map_or(Written::Given, |i| object.fields[i].written)
    }

    /// The schema of a list's items.
    pub fn items(&self) -> Option<Self> {
        match self.kind() {
            SchemaKind::Array { items, .. } => Some(self.at(*items)),
            _ => None,
        }
    }

    /// The schema of a map's values.
    pub fn values(&self) -> Option<Self> {
        match self.kind() {
            SchemaKind::Map { values, .. } => Some(self.at(*values)),
            _ => None,
        }
    }

    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    pub fn node_id(&self) -> u32 {
        self.node
    }
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schema#{}", self.node)
    }
}
