//! Strict fields: a body is brought into the form that its schema gives it. Unknown fields are taken out and reported,
//! wrong types are an error, quantities and times get their canonical text, nulls of fields go.

use meta::schema::{Arena, Schema, SchemaKind, StringForm};
use meta::{Quantity, Timestamp};
use serde_json::{Map, Value};

/// Reported unknown and duplicate fields; what comes after is not listed any more.
const MAX_REPORTED: usize = 100;

/// Schema of `metadata` for kinds that have none of their own.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Where we are in the value; text is only made for errors.
enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

struct Walk<'a> {
    arena: &'a Arena,
    kind: &'a str,
    unknown: Vec<String>,
}

/// Brings `value` into form. Gives the unknown fields, or why the value cannot be one of this kind.
pub fn conform(schema: &Schema, kind: &str, value: &mut Value) -> Result<Vec<String>, String> {
    let mut walk = Walk {
        arena: schema.arena(),
        kind,
        unknown: Vec::new(),
    };
    if !value.is_object() {
        return Err(walk.mismatch(value, &At::Root, kind));
    }
    if matches!(schema.kind(), SchemaKind::Object(_)) {
        walk.value(schema.node_id(), value, &At::Root)?;
    }
    Ok(walk.unknown)
}

/// `metadata` alone: for custom resources, whose schema says nothing of it.
pub fn conform_metadata(kind: &str, value: &mut Value) -> Result<Vec<String>, String> {
    let Some(schema) = Schema::of(kinds::schema::arena(), OBJECT_META) else {
        return Ok(Vec::new());
    };
    let mut walk = Walk {
        arena: schema.arena(),
        kind,
        unknown: Vec::new(),
    };
    if let Some(metadata) = value.get_mut("metadata") {
        walk.value(schema.node_id(), metadata, &At::Field(&At::Root, "metadata"))?;
    }
    Ok(walk.unknown)
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Field(At::Root, name) => f.write_str(name),
            At::Field(parent, name) => write!(f, "{parent}.{name}"),
            At::Index(parent, i) => write!(f, "{parent}[{i}]"),
        }
    }
}

impl Walk<'_> {
    fn value(&mut self, node: u32, value: &mut Value, at: &At) -> Result<(), String> {
        let arena = self.arena;
        match &arena.node(node).kind {
            SchemaKind::Any => Ok(()),
            SchemaKind::Bool => self.want(value.is_boolean(), value, at, "bool"),
            SchemaKind::Integer { bits } => self.integer(*bits, value, at),
            SchemaKind::Number => self.want(value.is_number(), value, at, "float64"),
            SchemaKind::String(form) => self.string(*form, value, at),
            SchemaKind::IntOrString => {
                let fits = value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                self.want(fits, value, at, "int32")
            }
            SchemaKind::Quantity => self.quantity(value, at),
            SchemaKind::Array { items, .. } => self.array(*items, value, at),
            SchemaKind::Map { values, .. } => self.map(*values, value, at),
            SchemaKind::Object(_) => self.object(node, value, at),
        }
    }

    fn object(&mut self, node: u32, value: &mut Value, at: &At) -> Result<(), String> {
        let arena = self.arena;
        let SchemaKind::Object(object) = &arena.node(node).kind else {
            return Ok(());
        };
        let Value::Object(map) = value else {
            return Err(self.mismatch(value, at, "object"));
        };
        let mut failed = None;
        map.retain(|name, member| {
            let found = object.fields.binary_search_by(|f| (*f.name).cmp(name.as_str()));
            match found {
                Err(_) if object.preserve_unknown || object.embedded => true,
                Err(_) => {
                    self.report(&At::Field(at, name));
                    false
                }
                Ok(_) if member.is_null() => false,
                Ok(i) => {
                    let here = At::Field(at, name);
                    if failed.is_none() {
                        failed = self.value(object.fields[i].node, member, &here).err();
                    }
                    true
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn array(&mut self, items: u32, value: &mut Value, at: &At) -> Result<(), String> {
        let Value::Array(list) = value else {
            return Err(self.mismatch(value, at, "slice"));
        };
        for (i, item) in list.iter_mut().enumerate() {
            self.fill_null(items, item);
            self.value(items, item, &At::Index(at, i))?;
        }
        Ok(())
    }

    fn map(&mut self, values: u32, value: &mut Value, at: &At) -> Result<(), String> {
        let Value::Object(map) = value else {
            return Err(self.mismatch(value, at, "map"));
        };
        for (key, member) in map.iter_mut() {
            self.fill_null(values, member);
            self.value(values, member, &At::Field(at, key))?;
        }
        Ok(())
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
            SchemaKind::String(_) => "".into(),
            SchemaKind::Quantity => "0".into(),
            SchemaKind::Array { .. } => Value::Array(Vec::new()),
            SchemaKind::Map { .. } | SchemaKind::Object(_) => Value::Object(Map::new()),
        };
    }

    fn integer(&self, bits: u8, value: &Value, at: &At) -> Result<(), String> {
        let fits = value
            .as_i64()
            .is_some_and(|n| bits != 32 || i32::try_from(n).is_ok());
        self.want(fits, value, at, if bits == 32 { "int32" } else { "int64" })
    }

    fn string(&self, form: StringForm, value: &mut Value, at: &At) -> Result<(), String> {
        let Value::String(text) = value else {
            return Err(self.mismatch(value, at, "string"));
        };
        let time = |text: &str| {
            Timestamp::parse(text).ok_or_else(|| {
                format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\"")
            })
        };
        match form {
            StringForm::Plain => {}
            StringForm::Bytes => {
                use base64::Engine;
                let decoded = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
                if let Err(e) = decoded {
                    let position = match e {
                        base64::DecodeError::InvalidByte(at, _)
                        | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                        _ => text.len(),
                    };
                    return Err(format!("illegal base64 data at input byte {position}"));
                }
            }
            StringForm::Time => *text = time(text)?.rfc3339(),
            StringForm::MicroTime => *text = time(text)?.rfc3339_micros(),
        }
        Ok(())
    }

    fn quantity(&self, value: &mut Value, at: &At) -> Result<(), String> {
        let text = match &*value {
            Value::String(text) => text.trim().to_string(),
            Value::Number(number) => number.to_string(),
            _ => return Err(self.mismatch(value, at, "string")),
        };
        let canonical = Quantity::canonical(&text).ok_or_else(|| meta::quantity::FORMAT_ERROR.to_string())?;
        *value = canonical.into();
        Ok(())
    }

    fn want(&self, fits: bool, value: &Value, at: &At, wanted: &str) -> Result<(), String> {
        if fits {
            Ok(())
        } else {
            Err(self.mismatch(value, at, wanted))
        }
    }

    fn mismatch(&self, value: &Value, at: &At, wanted: &str) -> String {
        let found = match value {
            Value::Null => "null".to_string(),
            Value::Bool(_) => "bool".to_string(),
            Value::Number(n) if wanted.starts_with("int") => format!("number {n}"),
            Value::Number(_) => "number".to_string(),
            Value::String(_) => "string".to_string(),
            Value::Array(_) => "array".to_string(),
            Value::Object(_) => "object".to_string(),
        };
        match at {
            At::Root => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
            at => format!(
                "json: cannot unmarshal {found} into Go struct field {}.{at} of type {wanted}",
                self.kind
            ),
        }
    }

    fn report(&mut self, at: &At) {
        if self.unknown.len() < MAX_REPORTED {
            self.unknown.push(format!("unknown field \"{at}\""));
        }
    }
}
