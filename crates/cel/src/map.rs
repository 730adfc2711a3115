//! Maps: views into JSON (with the fields of a declared object, or any keys) and maps that expressions make.

use crate::decl::{Decl, Shape};
use crate::escape::{escape, unescape};
use crate::value::{EvalError, Outcome, Text, Value, fail, no_overload};
use serde_json::{Map as JsonMap, Value as Json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A map, or an object with fields.
#[derive(Clone, Debug)]
pub struct Map<'a>(Form<'a>);

#[derive(Clone, Debug)]
enum Form<'a> {
    Json(&'a JsonMap<String, Json>, Option<&'a Decl>),
    Made(Arc<BTreeMap<Key, Value<'a>>>),
    Lazy(&'a (dyn Fields + Sync)),
}

/// Fields whose values are found out when an expression asks for them, such as a policy's `variables`.
pub trait Fields: Send {
    /// The field's value, or why there is none; `None` when there is no such field.
    fn field(&self, name: &str) -> Option<Result<Value<'_>, EvalError>>;
}

impl std::fmt::Debug for dyn Fields + Sync + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fields")
    }
}

/// A key of a map that an expression makes. Numbers of different types that are equal are the same key when looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// The bits of a double.
    Double(u64),
    String(Arc<str>),
}

impl Key {
    pub fn new(value: &Value<'_>) -> Outcome<Self> {
        Ok(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Uint(value) => Self::Uint(*value),
            Value::Double(value) => Self::Double(value.to_bits()),
            Value::String(Text::Shared(text)) => Self::String(text.clone()),
            Value::String(text) => Self::String((**text).into()),
            other => return fail(format!("unsupported key type: {}", other.kind().runtime_name())),
        })
    }

    fn value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::Double(bits) => Value::Double(f64::from_bits(*bits)),
            Self::String(text) => Value::text(text.clone()),
        }
    }
}

impl<'a> Map<'a> {
    pub fn json(fields: &'a JsonMap<String, Json>) -> Self {
        Self(Form::Json(fields, None))
    }

    pub(crate) fn typed(fields: &'a JsonMap<String, Json>, decl: &'a Decl) -> Self {
        Self(Form::Json(fields, Some(decl)))
    }

    pub fn lazy(fields: &'a (dyn Fields + Sync)) -> Self {
        Self(Form::Lazy(fields))
    }

    pub(crate) fn made(entries: BTreeMap<Key, Value<'a>>) -> Self {
        Self(Form::Made(Arc::new(entries)))
    }

    /// A map with these keys.
    pub fn of(entries: impl IntoIterator<Item = (Arc<str>, Value<'a>)>) -> Self {
        Self::made(
            entries
                .into_iter()
                .map(|(key, value)| (Key::String(key), value))
                .collect(),
        )
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Json(fields, _) => fields.len(),
            Form::Made(entries) => entries.len(),
            Form::Lazy(_) => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn go_name(&self) -> &'static str {
        match &self.0 {
            Form::Json(_, None) => "map[string]interface {}",
            Form::Json(_, Some(_)) => "*common.unstructuredMap",
            Form::Made(_) | Form::Lazy(_) => "*types.baseMap",
        }
    }

    /// The value under a key; `None` when there is no such key.
    pub(crate) fn find(&self, key: &Value<'a>) -> Outcome<Option<Value<'a>>> {
        match (&self.0, key) {
            (Form::Json(_, Some(decl)), Value::String(key)) if matches!(decl.shape, Shape::Object(_)) => {
                match unescape(key) {
                    Some(name) => self.field(&name),
                    None => Ok(None),
                }
            }
            (Form::Json(..), Value::String(key)) => self.field(key),
            (Form::Json(_, Some(_)), _) => no_overload(),
            (Form::Json(_, None), _) => Ok(None),
            (Form::Lazy(fields), Value::String(key)) => fields.field(key).transpose(),
            (Form::Lazy(_), _) => no_overload(),
            (Form::Made(entries), key) => {
                let Ok(exact) = Key::new(key) else {
                    return Ok(None);
                };
                if let Some(value) = entries.get(&exact) {
                    return Ok(Some(value.clone()));
                }
                Ok(other_numbers(&exact)
                    .iter()
                    .find_map(|key| entries.get(key))
                    .cloned())
            }
        }
    }

    /// A field by its name in JSON; a declared object has those that are declared and not null.
    pub(crate) fn field(&self, name: &str) -> Outcome<Option<Value<'a>>> {
        match &self.0 {
            Form::Json(fields, decl) => {
                let Some(value) = fields.get(name) else {
                    return Ok(None);
                };
                match decl {
                    None => Ok(Some(Value::dynamic(value))),
                    Some(decl) => match &decl.shape {
                        Shape::Map { values } => Value::typed(value, values).map(Some),
                        Shape::Object(_) if value.is_null() => Ok(None),
                        _ => decl
                            .field(name)
                            .map(|field| Value::typed(value, &field.decl))
                            .transpose(),
                    },
                }
            }
            _ => self.find(&Value::text(name)),
        }
    }

    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match &self.0 {
            Form::Json(fields, Some(decl)) if matches!(decl.shape, Shape::Object(_)) => {
                let declared = fields.keys().filter(|key| decl.field(key).is_some());
                declared
                    .map(|key| escape(key).map_or(Value::borrowed(key), |key| Value::text(key.as_ref())))
                    .collect()
            }
            Form::Json(fields, _) => fields.keys().map(|key| Value::borrowed(key)).collect(),
            Form::Made(entries) => entries.keys().map(Key::value).collect(),
            Form::Lazy(_) => Vec::new(),
        }
    }

    pub fn pairs(&self) -> impl Iterator<Item = Outcome<(Value<'a>, Value<'a>)>> + '_ {
        self.keys().into_iter().map(|key| match self.find(&key)? {
            Some(value) => Ok((key, value)),
            None => Ok((key, Value::Null)),
        })
    }

    /// Adds an entry whose key must be new; in place where nobody else holds the map.
    pub(crate) fn insert(&mut self, key: &Value<'a>, value: Value<'a>) -> Outcome<()> {
        if self.find(key)?.is_some() {
            return fail(format!("insert failed: key {key} already exists"));
        }
        if !matches!(self.0, Form::Made(_)) {
            let mut entries = BTreeMap::new();
            for entry in self.pairs() {
                let (key, value) = entry?;
                entries.insert(Key::new(&key)?, value);
            }
            *self = Self::made(entries);
        }
        if let Form::Made(entries) = &mut self.0 {
            Arc::make_mut(entries).insert(Key::new(key)?, value);
        }
        Ok(())
    }

    pub(crate) fn equal(&self, other: &Value<'a>) -> Outcome<bool> {
        let typed = matches!(self.0, Form::Json(_, Some(_)));
        let Value::Map(right) = other else {
            return if typed { no_overload() } else { Ok(false) };
        };
        if self.len() != right.len() {
            return Ok(false);
        }
        if let Form::Json(fields, Some(decl)) = &self.0 {
            return self.equal_typed(fields, decl, right);
        }
        for entry in self.pairs() {
            let (key, value) = entry?;
            match right.find(&key)? {
                Some(theirs) if crate::compare::equal(&value, &theirs)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Fields that are not declared are compared as they stand in JSON.
    fn equal_typed(&self, fields: &JsonMap<String, Json>, decl: &Decl, right: &Map<'a>) -> Outcome<bool> {
        for (name, json) in fields {
            if matches!(decl.shape, Shape::Object(_)) && decl.field(name).is_none() {
                let Form::Json(theirs, _) = &right.0 else {
                    return no_overload();
                };
                if theirs.get(name).is_some_and(|theirs| theirs != json) {
                    return Ok(false);
                }
                continue;
            }
            match (self.field(name)?, right.field(name)?) {
                (Some(mine), Some(theirs)) if crate::compare::equal(&mine, &theirs)? => {}
                (None, None) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// The same number as a key of another type.
fn other_numbers(key: &Key) -> Vec<Key> {
    let whole = |value: f64| {
        let int = (value == value.trunc() && value.abs() < 9.2e18).then_some(value as i64);
        let uint = (value == value.trunc() && (0.0..1.8e19).contains(&value)).then_some(value as u64);
        int.map(Key::Int).into_iter().chain(uint.map(Key::Uint)).collect()
    };
    match key {
        Key::Double(bits) => whole(f64::from_bits(*bits)),
        Key::Int(value) => {
            let uint = u64::try_from(*value).ok().map(Key::Uint);
            uint.into_iter()
                .chain([Key::Double((*value as f64).to_bits())])
                .collect()
        }
        Key::Uint(value) => {
            let int = i64::try_from(*value).ok().map(Key::Int);
            int.into_iter()
                .chain([Key::Double((*value as f64).to_bits())])
                .collect()
        }
        Key::Bool(_) | Key::String(_) => Vec::new(),
    }
}

/// Whether a set of keys holds this one, or the same number as a key of another type.
pub(crate) fn contains(keys: &std::collections::HashSet<Key>, key: &Key) -> bool {
    let nan = matches!(key, Key::Double(bits) if f64::from_bits(*bits).is_nan());
    !nan && (keys.contains(key) || other_numbers(key).iter().any(|key| keys.contains(key)))
}
