//! Typed decoding without the types: one walk over a value and its schema brings the value into the form that
//! Kubernetes' own decoder would give it. Wrong types are an error in that decoder's words. Unknown fields are taken
//! out and reported; nulls of fields go, and so do zeros where they mean the same as nothing; quantities, times
//! and bytes get their canonical text.

mod complaints;
mod constants;
mod misfits;
mod same;
mod texts;

pub use complaints::complaints;
pub use constants::{complete, complete_as_sent};
pub use misfits::Misfits;
pub use same::same;

use crate::MAX_REPORTED;
use crate::json::At as Place;
use meta::Quantity;
use meta::schema::{Arena, Schema, SchemaKind, StringForm, Written};
use serde_json::{Map, Value};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Brings `value` into form. Gives the unknown fields as `unknown field "spec.foo"`, or what in the value is not of this
/// type. A schema that is not an object's allows anything.
pub fn conform(schema: &Schema, value: &mut Value) -> Result<Vec<String>, Misfits> {
    let mut walk = Walk::new(schema);
    if !value.is_object() {
        walk.mismatch(value, &At::ROOT, schema.node_id());
    } else if matches!(schema.kind(), SchemaKind::Object(_)) {
        walk.value(schema.node_id(), value, &At::ROOT);
    }
    walk.end()
}

/// `metadata` alone, for kinds whose schema says nothing of it; `types` is where `ObjectMeta` is.
pub fn conform_metadata(types: &std::sync::Arc<Arena>, value: &mut Value) -> Result<Vec<String>, Misfits> {
    let Some(schema) = Schema::of(types, OBJECT_META) else {
        return Ok(Vec::new());
    };
    let mut walk = Walk::new(&schema);
    if let Some(metadata) = value.get_mut("metadata") {
        let at = At {
            place: &Place::Field(&Place::Root, "metadata"),
            ..At::ROOT
        };
        walk.value(schema.node_id(), metadata, &at);
    }
    walk.end()
}

/// Where we are in the value; text is only made for errors.
#[derive(Clone, Copy)]
struct At<'a> {
    place: &'a Place<'a>,
    /// The struct that holds the field we are in.
    owner: Option<u32>,
}

impl At<'_> {
    const ROOT: At<'static> = At {
        place: &Place::Root,
        owner: None,
    };
}

struct Walk<'a> {
    arena: &'a Arena,
    root: u32,
    unknown: Vec<String>,
    misfits: Misfits,
}

impl<'w> Walk<'w> {
    fn new(schema: &'w Schema) -> Self {
        Self {
            arena: schema.arena(),
            root: schema.node_id(),
            unknown: Vec::new(),
            misfits: Misfits::default(),
        }
    }

    fn end(self) -> Result<Vec<String>, Misfits> {
        match self.misfits.is_empty() {
            true => Ok(self.unknown),
            false => Err(self.misfits),
        }
    }

    fn value(&mut self, node: u32, value: &mut Value, at: &At) {
        let arena = self.arena;
        let fits = match &arena.node(node).kind {
            SchemaKind::Any => true,
            SchemaKind::Bool => value.is_boolean(),
            SchemaKind::Integer { bits: 32 } => is_int32(value),
            SchemaKind::Integer { .. } => value.as_i64().is_some(),
            SchemaKind::Number => value.is_number(),
            SchemaKind::IntOrString => value.is_string() || is_int32(value),
            SchemaKind::String(form) => return self.string(node, *form, value, at),
            SchemaKind::Quantity => return self.quantity(value, at, Quantity::canonical),
            SchemaKind::Array { items, .. } => return self.array(node, *items, value, at),
            SchemaKind::Map { values, .. } => return self.map(node, *values, value, at),
            SchemaKind::Object(_) => return self.object(node, value, at),
        };
        if !fits {
            self.mismatch(value, at, node);
        }
    }

    fn object(&mut self, node: u32, value: &mut Value, at: &At) {
        let arena = self.arena;
        let SchemaKind::Object(object) = &arena.node(node).kind else {
            return;
        };
        let Value::Object(map) = value else {
            return self.mismatch(value, at, node);
        };
        map.retain(|name, member| {
            let place = Place::Field(at.place, name);
            let found = object.fields.binary_search_by(|f| (*f.name).cmp(name.as_str()));
            let field = match found {
                Err(_) if object.preserve_unknown || object.embedded => return true,
                Err(_) => {
                    self.report(&place);
                    return false;
                }
                Ok(_) if member.is_null() => return false,
                Ok(i) => &object.fields[i],
            };
            let here = At {
                place: &place,
                owner: Some(node),
            };
            self.value(field.node, member, &here);
            !(field.written == Written::Nonzero && self.is_zero(field.node, member))
        });
    }

    /// The zero value of a Go type, where typed code cannot tell it from nothing.
    fn is_zero(&self, node: u32, value: &Value) -> bool {
        match (&self.arena.node(node).kind, value) {
            (SchemaKind::String(_), Value::String(text)) => text.is_empty(),
            (SchemaKind::Bool, Value::Bool(b)) => !b,
            (SchemaKind::Integer { .. } | SchemaKind::Number, Value::Number(n)) => n.as_f64() == Some(0.0),
            _ => false,
        }
    }

    fn array(&mut self, node: u32, items: u32, value: &mut Value, at: &At) {
        let Value::Array(list) = value else {
            return self.mismatch(value, at, node);
        };
        for (i, item) in list.iter_mut().enumerate() {
            self.fill_null(items, item);
            let place = Place::Index(at.place, i);
            let here = At { place: &place, ..*at };
            self.value(items, item, &here);
        }
    }

    fn map(&mut self, node: u32, values: u32, value: &mut Value, at: &At) {
        let Value::Object(map) = value else {
            return self.mismatch(value, at, node);
        };
        for (key, member) in map.iter_mut() {
            self.fill_null(values, member);
            let place = Place::Key(at.place, key);
            let here = At { place: &place, ..*at };
            match self.arena.node(values).kind {
                SchemaKind::Quantity => self.quantity(member, &here, Quantity::canonical_in_list),
                _ => self.value(values, member, &here),
            }
        }
    }

    /// A null inside a list or map is the zero value of its type, as Go's decoder makes it.
    fn fill_null(&self, node: u32, value: &mut Value) {
        if !value.is_null() {
            return;
        }
        *value = match &self.arena.node(node).kind {
            SchemaKind::Any | SchemaKind::IntOrString => return,
            SchemaKind::Bool => false.into(),
            SchemaKind::Integer { .. } | SchemaKind::Number => 0.into(),
            // Times have no zero that they would be read from again: these stay null, and are refused.
            SchemaKind::String(StringForm::Time | StringForm::MicroTime) => return,
            SchemaKind::String(_) => "".into(),
            SchemaKind::Quantity => "0".into(),
            SchemaKind::Array { .. } => Value::Array(Vec::new()),
            SchemaKind::Map { .. } | SchemaKind::Object(_) => Value::Object(Map::new()),
        };
    }

    fn string(&mut self, node: u32, form: StringForm, value: &mut Value, at: &At) {
        let Value::String(text) = value else {
            return self.mismatch(value, at, node);
        };
        let formed = match form {
            StringForm::Plain => Ok(()),
            StringForm::Bytes => texts::bytes(text),
            StringForm::Time => texts::time(text, texts::SECONDS).map(|time| *text = time.rfc3339()),
            StringForm::MicroTime => {
                texts::time(text, texts::MICROSECONDS).map(|time| *text = time.rfc3339_micros())
            }
        };
        if let Err(why) = formed {
            self.misfits.add(at.place, form != StringForm::Bytes, why);
        }
    }

    fn quantity(&mut self, value: &mut Value, at: &At, canonical: impl Fn(&str) -> Option<String>) {
        let canonical = match &*value {
            Value::String(text) => canonical(text.trim()),
            Value::Number(number) => canonical(&number.to_string()),
            _ => None,
        };
        match canonical {
            Some(canonical) => *value = canonical.into(),
            None => self
                .misfits
                .add(at.place, true, meta::quantity::FORMAT_ERROR.into()),
        }
    }

    /// Notes a value of the wrong type. Types that read themselves end Go's decoding at once.
    fn mismatch(&mut self, value: &Value, at: &At, node: u32) {
        let reads_itself = matches!(
            self.arena.node(node).kind,
            SchemaKind::IntOrString | SchemaKind::String(StringForm::Time | StringForm::MicroTime)
        );
        if !self.misfits.are_enough() {
            let why = self.told(value, at, node);
            self.misfits.add(at.place, reads_itself, why);
        }
    }

    /// A value of the wrong type, in the words of Go's decoder: the struct that holds the field, the path from the
    /// root without indices and keys, and the Go type that was wanted.
    fn told(&self, value: &Value, at: &At, node: u32) -> String {
        let kind = &self.arena.node(node).kind;
        let number = matches!(
            kind,
            SchemaKind::Integer { .. } | SchemaKind::IntOrString | SchemaKind::Number
        );
        let found = match value {
            Value::Null => "null".to_string(),
            Value::Bool(_) => "bool".to_string(),
            Value::Number(n) if number => format!("number {n}"),
            Value::Number(_) => "number".to_string(),
            Value::String(_) => "string".to_string(),
            Value::Array(_) => "array".to_string(),
            Value::Object(_) => "object".to_string(),
        };
        let wanted = self.go_type(node);
        let mut fields = String::new();
        self.fields(at.place, &mut fields);
        match at.owner.and_then(|owner| self.type_name(owner)) {
            Some(owner) => {
                let owner = owner.rsplit('.').next().unwrap_or(owner);
                format!(
                    "json: cannot unmarshal {found} into Go struct field {owner}.{fields} of type {wanted}"
                )
            }
            None if fields.is_empty() => {
                format!("json: cannot unmarshal {found} into Go value of type {wanted}")
            }
            None => format!("json: cannot unmarshal {found} into Go struct field .{fields} of type {wanted}"),
        }
    }

    /// The Go type of a node, as far as the schema tells.
    fn go_type(&self, node: u32) -> String {
        match &self.arena.node(node).kind {
            SchemaKind::Any => "interface {}".into(),
            SchemaKind::Bool => "bool".into(),
            SchemaKind::Integer { bits: 32 } | SchemaKind::IntOrString => "int32".into(),
            SchemaKind::Integer { .. } => "int64".into(),
            SchemaKind::Number => "float64".into(),
            SchemaKind::String(StringForm::Bytes) => "[]uint8".into(),
            SchemaKind::String(_) => "string".into(),
            SchemaKind::Quantity => "resource.Quantity".into(),
            SchemaKind::Array { items, .. } => format!("[]{}", self.go_type(*items)),
            SchemaKind::Map { values, .. } => match &self.arena.node(*values).kind {
                SchemaKind::Quantity => "v1.ResourceList".into(),
                _ => format!("map[string]{}", self.go_type(*values)),
            },
            SchemaKind::Object(_) => match self.type_name(node) {
                Some(name) => {
                    let from = name.rmatch_indices('.').nth(1).map_or(0, |(i, _)| i + 1);
                    name[from..].to_string()
                }
                None => "struct".into(),
            },
        }
    }

    /// The name of a type; a search, for errors alone.
    fn type_name(&self, node: u32) -> Option<&str> {
        let mut names = self.arena.type_names();
        names.find(|(_, n)| *n == node).map(|(name, _)| name)
    }

    /// The names of the fields on the way to a place, without indices and keys of maps, with the structs that stand
    /// inline in others. Gives the node of the place.
    fn fields(&self, place: &Place, out: &mut String) -> Option<u32> {
        let kind = |node: u32| &self.arena.node(node).kind;
        let (parent, name) = match place {
            Place::Root => return Some(self.root),
            Place::Field(parent, name) => (parent, name),
            Place::Index(parent, _) | Place::Key(parent, _) => {
                return match kind(self.fields(parent, out)?) {
                    SchemaKind::Array { items, .. } => Some(*items),
                    SchemaKind::Map { values, .. } => Some(*values),
                    _ => None,
                };
            }
        };
        let holder = self.fields(parent, out);
        let field = holder.and_then(|holder| match kind(holder) {
            SchemaKind::Object(object) => object.fields.iter().find(|f| *f.name == **name),
            _ => None,
        });
        let inline = field.and_then(|f| f.inline.as_deref());
        for part in inline.into_iter().chain([*name]) {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(part);
        }
        field.map(|f| f.node)
    }

    fn report(&mut self, place: &Place) {
        if self.unknown.len() < MAX_REPORTED {
            self.unknown.push(format!("unknown field \"{place}\""));
        }
    }
}

fn is_int32(value: &Value) -> bool {
    value.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
}
