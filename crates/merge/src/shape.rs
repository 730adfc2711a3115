//! How server-side apply sees a place of an object: one leaf with one owner, a struct or map of fields,
//! or a list whose items have names. A thin, copyable view on `meta::schema`.

use crate::element;
use meta::schema::{Arena, ListType, Schema, SchemaKind};
use serde_json::{Map, Value};

/// Deeper than this, whatever is there has one owner. `managedFields` repeats the object's nesting some levels
/// further down, and the whole must stay below the parser's limit of 128.
const MAX_OWNED_DEPTH: usize = 100;

#[derive(Clone, Copy)]
pub(crate) struct Place<'s> {
    arena: &'s Arena,
    /// `None`: no schema here; maps are granular, everything else is a leaf (upstream's "deduced" type).
    node: Option<u32>,
    depth: usize,
}

/// The form of a place, as far as ownership is concerned.
#[derive(Clone, Copy)]
pub(crate) enum Form<'s> {
    /// A scalar, or an atomic list, map or struct.
    Leaf,
    /// A struct or map whose fields have owners of their own.
    Fields,
    /// A list of scalars named by their values.
    Set,
    /// A list of objects named by the values of these fields.
    Keyed(&'s [Box<str>]),
}

/// Why a list's item has no name.
pub(crate) type NoElement = String;

impl<'s> Place<'s> {
    pub(crate) fn root(schema: &'s Schema) -> Self {
        let place = Place {
            arena: schema.arena(),
            node: Some(schema.node_id()),
            depth: 0,
        };
        match schema.kind() {
            SchemaKind::Any => Place { node: None, ..place },
            _ => place,
        }
    }

    pub(crate) fn kind(self) -> Option<&'s SchemaKind> {
        self.node.map(|node| &self.arena.node(node).kind)
    }

    fn at(self, node: Option<u32>) -> Self {
        Place {
            node,
            depth: self.depth + 1,
            ..self
        }
    }

    /// The form for this value; only where there is no schema does it depend on the value.
    pub(crate) fn form(self, value: Option<&Value>) -> Form<'s> {
        if self.depth >= MAX_OWNED_DEPTH {
            return Form::Leaf;
        }
        match self.kind() {
            None => match value {
                Some(Value::Object(_)) => Form::Fields,
                _ => Form::Leaf,
            },
            Some(SchemaKind::Object(object)) if !object.atomic => Form::Fields,
            Some(SchemaKind::Map { atomic: false, .. }) => Form::Fields,
            Some(SchemaKind::Array {
                list: ListType::Set, ..
            }) => Form::Set,
            Some(SchemaKind::Array {
                list: ListType::Map(keys),
                ..
            }) => Form::Keyed(keys),
            Some(_) => Form::Leaf,
        }
    }

    /// Like [`Place::form`] for a pair of which either may be absent; two sides of different forms are one leaf.
    pub(crate) fn form_of_pair(self, a: Option<&Value>, b: Option<&Value>) -> Form<'s> {
        match (a, b) {
            (Some(Value::Null) | None, other) | (other, Some(Value::Null) | None) => self.form(other),
            (Some(a), Some(b)) => match (self.form(Some(a)), self.form(Some(b))) {
                (Form::Leaf, _) | (_, Form::Leaf) => Form::Leaf,
                (form, _) => form,
            },
        }
    }

    /// A field's place; `None` when the schema does not declare the field and keeps no unknown ones.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        match self.kind() {
            None => Some(self.at(None)),
            Some(SchemaKind::Map { values, .. }) => Some(self.at(Some(*values))),
            Some(SchemaKind::Object(object)) => {
                match object.fields.binary_search_by(|f| (*f.name).cmp(name)) {
                    Ok(i) => Some(self.at(Some(object.fields[i].node))),
                    Err(_) if object.preserve_unknown || object.fields.is_empty() => Some(self.at(None)),
                    Err(_) => None,
                }
            }
            Some(_) => None,
        }
    }

    /// A field's place, where an undeclared field is taken for one without schema.
    pub(crate) fn field_or_deduced(self, name: &str) -> Self {
        self.field(name).unwrap_or_else(|| self.at(None))
    }

    /// Whether the field is part of a struct, so that it is there even if nobody says so.
    pub(crate) fn declares(self, name: &str) -> bool {
        match self.kind() {
            Some(SchemaKind::Object(object)) => {
                object.fields.binary_search_by(|f| (*f.name).cmp(name)).is_ok()
            }
            _ => false,
        }
    }

    /// Whether null is a value of its own here; elsewhere it means "not set".
    pub(crate) fn keeps_null(self) -> bool {
        self.node.is_none_or(|node| self.arena.node(node).nullable)
    }

    pub(crate) fn items(self) -> Self {
        match self.kind() {
            Some(SchemaKind::Array { items, .. }) => self.at(Some(*items)),
            _ => self.at(None),
        }
    }

    /// The value that a list's item has for a key that it leaves out, e.g. `protocol: TCP` of a port.
    fn key_default(self, key: &str) -> Option<&'s Value> {
        let field = self.items().field(key)?;
        self.arena.node(field.node?).default.as_ref()
    }

    /// The name of an item in a list of this place.
    pub(crate) fn element_of(self, form: Form<'s>, item: &Value) -> Result<String, NoElement> {
        match form {
            Form::Keyed(keys) => self.keyed_element(keys, item),
            Form::Set => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".into())
                }
                scalar => Ok(element::scalar(scalar)),
            },
            Form::Leaf | Form::Fields => Err("invalid indexing of non-associative list".into()),
        }
    }

    fn keyed_element(self, keys: &[Box<str>], item: &Value) -> Result<String, NoElement> {
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => {
                return Err("associative list with keys may not have a null element".into());
            }
            _ => return Err("associative list with keys may not have non-map elements".into()),
        };
        let mut named = Map::new();
        for key in keys {
            if let Some(value) = fields.get(&**key).or_else(|| self.key_default(key)) {
                named.insert(key.to_string(), value.clone());
            }
        }
        if named.is_empty() {
            let keys: Vec<_> = keys.iter().map(|k| crate::value::go_quote(k)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        Ok(element::keyed(named))
    }
}

/// Absent, null, or holding nothing: upstream takes two such sides for a leaf.
pub(crate) fn holds_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

/// The fields of a map; none of anything else.
pub(crate) fn fields_of(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// The items of a list; none of anything else.
pub(crate) fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
