//! CEL's types as the checker sees them, and how messages name them.

use std::fmt;
use std::sync::Arc;

/// The type of an expression, a variable, a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// Not known before evaluation; fits everything.
    Dyn,
    /// Of what has an error already; fits everything.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    /// A type with fields, or one that only functions know (`kubernetes.Quantity`).
    Object(Arc<str>),
    /// A type with parameters that only functions know (`optional_type`), or without (`net.IP`).
    Opaque(Arc<str>, Arc<[Type]>),
    /// The type of a type.
    Type(Option<Arc<Type>>),
    /// A parameter of a function's declaration.
    Param(u8),
    /// A type that the checker has still to find out.
    Var(u32),
}

pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    pub fn list(items: Type) -> Self {
        Self::List(Arc::new(items))
    }

    pub fn map(keys: Type, values: Type) -> Self {
        Self::Map(Arc::new(keys), Arc::new(values))
    }

    pub fn object(name: &str) -> Self {
        Self::Object(name.into())
    }

    pub fn optional(of: Type) -> Self {
        Self::Opaque(OPTIONAL.into(), Arc::new([of]))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The type inside an optional.
    pub(crate) fn unwrap_optional(&self) -> Option<&Type> {
        match self {
            Self::Opaque(name, params) if &**name == OPTIONAL => params.first(),
            _ => None,
        }
    }

    /// The name by which `type(x)` and errors at evaluation know the type.
    pub fn runtime_name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Error => "error",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Object(name) | Self::Opaque(name, _) => name,
            Self::Type(_) => "type",
            Self::Param(_) | Self::Var(_) => "",
        }
    }

    /// Applies `f` to each parameter.
    pub(crate) fn map_params(&self, f: &mut dyn FnMut(&Type) -> Type) -> Type {
        match self {
            Self::List(items) => Self::List(Arc::new(f(items))),
            Self::Map(keys, values) => Self::Map(Arc::new(f(keys)), Arc::new(f(values))),
            Self::Opaque(name, params) if !params.is_empty() => {
                Self::Opaque(name.clone(), params.iter().map(f).collect())
            }
            Self::Type(Some(of)) => Self::Type(Some(Arc::new(f(of)))),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(items) => write!(f, "list({items})"),
            Self::Map(keys, values) => write!(f, "map({keys}, {values})"),
            Self::Opaque(name, params) if !params.is_empty() => {
                write!(f, "{name}(")?;
                for (i, param) in params.iter().enumerate() {
                    write!(f, "{}{param}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Self::Type(Some(of)) => write!(f, "type({of})"),
            Self::Param(at) => write!(f, "{}", char::from(b'A' + at)),
            Self::Var(at) => write!(f, "_var{at}"),
            other => f.write_str(other.runtime_name()),
        }
    }
}
