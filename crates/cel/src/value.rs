//! Values while an expression runs. What comes from an object is a view into its JSON, typed by its declaration; nothing
//! of it is copied.

use crate::amount::Amount;
use crate::authz::Authz;
use crate::decl::Decl;
use crate::format::Format;
use crate::ip::Cidr;
use crate::list::List;
use crate::map::Map;
use crate::semver::Semver;
use crate::time::{Duration, Timestamp};
use crate::types::Type;
use crate::url::Url;
use serde_json::Value as Json;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

/// A value of CEL. Cloning costs a reference count at most.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Duration(Duration),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    /// What `type(x)` gives.
    Type(Arc<Type>),
    Optional(Option<Arc<Value<'a>>>),
    /// `Object{…}` and `JSONPatch{…}`.
    Struct(Arc<Struct<'a>>),
    Quantity(Amount),
    Url(Arc<Url>),
    Semver(Arc<Semver>),
    Ip(IpAddr),
    Cidr(Cidr),
    Format(&'static Format),
    Authz(Arc<Authz<'a>>),
    /// Data without a schema in an object that has one: can be compared, no more.
    Unknown(&'a Json),
}

/// A string, in the object or made by the expression.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// An object that an expression makes: the name of its type and its fields in the order in which they were given.
#[derive(Clone, Debug)]
pub struct Struct<'a> {
    pub name: Arc<str>,
    pub fields: Vec<(Arc<str>, Value<'a>)>,
}

impl<'a> Struct<'a> {
    pub fn field(&self, name: &str) -> Option<&Value<'a>> {
        self.fields
            .iter()
            .rev()
            .find(|(field, _)| &**field == name)
            .map(|(_, value)| value)
    }
}

/// Why an evaluation gives no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression's own error, which `&&`, `||` and `? :` may have absorbed.
    #[error("{0}")]
    Failed(Arc<str>),
    /// The expression cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostExceeded,
    /// All evaluations together cost more than they may.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    BudgetExceeded,
}

pub(crate) type Outcome<T> = Result<T, EvalError>;

pub(crate) fn fail<T>(message: impl Into<Arc<str>>) -> Outcome<T> {
    Err(EvalError::Failed(message.into()))
}

pub(crate) fn no_overload<T>() -> Outcome<T> {
    fail("no such overload")
}

impl<'a> Value<'a> {
    /// A value without a declaration, as it stands in JSON.
    pub fn dynamic(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value),
                (None, Some(value)) => Self::Uint(value),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::borrowed(text),
            Json::Array(items) => Self::List(List::json(items)),
            Json::Object(fields) => Self::Map(Map::json(fields)),
        }
    }

    /// A value that is declared; an error where the data are not as declared.
    pub fn typed(json: &'a Json, decl: &'a Decl) -> Result<Self, EvalError> {
        crate::view::typed(json, decl)
    }

    pub fn borrowed(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }

    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    pub fn optional(value: Option<Value<'a>>) -> Self {
        Self::Optional(value.map(Arc::new))
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The value's type, as `type(x)` gives it.
    pub fn kind(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Type(_) => Type::Type(None),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Struct(object) => Type::Object(object.name.clone()),
            Self::Quantity(_) => Type::object(crate::declare::QUANTITY),
            Self::Url(_) => Type::object(crate::declare::URL),
            Self::Semver(_) => Type::object(crate::declare::SEMVER),
            Self::Ip(_) => crate::declare::ip(),
            Self::Cidr(_) => crate::declare::cidr(),
            Self::Format(_) => Type::object(crate::declare::FORMAT),
            Self::Authz(authz) => Type::object(authz.type_name()),
            Self::Unknown(_) => Type::object("unknown"),
        }
    }

    /// What upstream's errors call the value's type.
    pub(crate) fn go_name(&self) -> &'static str {
        match self {
            Self::Null => "types.Null",
            Self::Bool(_) => "types.Bool",
            Self::Int(_) => "types.Int",
            Self::Uint(_) => "types.Uint",
            Self::Double(_) => "types.Double",
            Self::String(_) => "types.String",
            Self::Bytes(_) => "types.Bytes",
            Self::Duration(_) => "types.Duration",
            Self::Timestamp(_) => "types.Timestamp",
            Self::List(list) => list.go_name(),
            Self::Map(map) => map.go_name(),
            Self::Type(_) => "*types.Type",
            Self::Optional(_) => "*types.Optional",
            Self::Struct(_) => "*dynamic.ObjectVal",
            Self::Quantity(_) => "cel.Quantity",
            Self::Url(_) => "cel.URL",
            Self::Semver(_) => "cel.Semver",
            Self::Ip(_) => "cel.IP",
            Self::Cidr(_) => "cel.CIDR",
            Self::Format(_) => "cel.Format",
            Self::Authz(_) => "library.authorizerVal",
            Self::Unknown(_) => "*common.unknownPreserved",
        }
    }

    /// What costs are counted by: characters, bytes, items; 1 for what has no size.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(cidr) => u64::from(cidr.bits).div_ceil(8),
            Self::Optional(Some(value)) => value.size(),
            _ => 1,
        }
    }

    /// What a walk through the value costs.
    pub(crate) fn traversal(&self) -> Outcome<u64> {
        Ok(match self {
            Self::String(text) => (text.len() as f64 * 0.1) as u64,
            Self::Bytes(bytes) => (bytes.len() as f64 * 0.1) as u64,
            Self::List(list) => {
                let mut sum = 0_u64;
                for item in list.iter() {
                    sum = sum.saturating_add(item?.traversal()?);
                }
                sum
            }
            Self::Map(map) => {
                let mut sum = 0_u64;
                for entry in map.pairs() {
                    let (key, value) = entry?;
                    sum = sum
                        .saturating_add(key.traversal()?)
                        .saturating_add(value.traversal()?);
                }
                sum
            }
            _ => 1,
        })
    }

    /// The value as JSON: what a mutation writes into the object. `None` for what JSON has no form for.
    pub fn to_json(&self) -> Option<Json> {
        crate::view::to_json(self)
    }
}

/// The value as errors name it.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Double(value) => f.write_str(&crate::convert::double_text(*value)),
            Self::String(text) => f.write_str(text),
            Self::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Duration(value) => write!(f, "{value}"),
            Self::Timestamp(value) => write!(f, "{value}"),
            Self::Type(kind) => f.write_str(kind.runtime_name()),
            other => f.write_str(other.kind().runtime_name()),
        }
    }
}
