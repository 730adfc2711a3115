//! What an expression can name: variables and their types, object types and their fields, functions.

use crate::decl::{Decl, Shape};
use crate::declare::{FUNCTIONS, Function};
use crate::types::Type;
use std::collections::HashMap;
use std::sync::Arc;

/// The type of a JSON patch in a MutatingAdmissionPolicy.
pub(crate) const JSON_PATCH: &str = "JSONPatch";
/// The type, and the beginning of the types' names, of apply configurations in a MutatingAdmissionPolicy.
pub(crate) const OBJECT: &str = "Object";

/// The environment of expressions. The functions of Kubernetes v1.36's base environment are always there.
#[derive(Debug, Clone, Default)]
pub struct Env {
    vars: Vec<(Arc<str>, Type)>,
    decls: HashMap<Arc<str>, Arc<Decl>>,
    bindings: bool,
    patches: bool,
}

impl Env {
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable whose type stands for itself.
    pub fn variable(mut self, name: &str, kind: Type) -> Self {
        self.vars.retain(|(var, _)| &**var != name);
        self.vars.push((name.into(), kind));
        self
    }

    /// Declares a variable by its value's declaration, and the object types in it.
    pub fn declare(self, name: &str, decl: &Arc<Decl>) -> Self {
        let kind = decl.cel_type();
        self.types(decl).variable(name, kind)
    }

    /// Makes the object types of a declaration known.
    pub fn types(mut self, decl: &Arc<Decl>) -> Self {
        self.add_types(decl);
        self
    }

    /// Turns `cel.bind(name, value, expression)` on, which Kubernetes has for device selectors only.
    pub fn bindings(mut self) -> Self {
        self.bindings = true;
        self
    }

    /// Turns the types of mutations on: `Object{…}`, `JSONPatch{…}` and `jsonpatch.escapeKey`.
    pub fn patches(mut self) -> Self {
        self.patches = true;
        self
    }

    fn add_types(&mut self, decl: &Arc<Decl>) {
        match &decl.shape {
            Shape::List { items, .. } => self.add_types(items),
            Shape::Map { values } => self.add_types(values),
            Shape::Object(fields) => {
                if let Some(Type::Object(name)) = &decl.kind {
                    self.decls.insert(name.clone(), decl.clone());
                }
                for field in fields {
                    self.add_types(&field.decl);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn has_bindings(&self) -> bool {
        self.bindings
    }

    pub(crate) fn vars(&self) -> &[(Arc<str>, Type)] {
        &self.vars
    }

    pub(crate) fn var(&self, name: &str) -> Option<usize> {
        self.vars.iter().position(|(var, _)| &**var == name)
    }

    pub(crate) fn function(&self, name: &str) -> Option<&'static Function> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if name.starts_with("jsonpatch.") && !self.patches {
            return None;
        }
        FUNCTIONS.get(name)
    }

    fn is_object(&self, name: &str) -> bool {
        self.patches
            && (name == OBJECT
                || name
                    .strip_prefix(OBJECT)
                    .is_some_and(|rest| rest.starts_with('.')))
    }

    /// The type that a name stands for.
    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        let known = match name {
            "bool" => Type::Bool,
            "bytes" => Type::Bytes,
            "double" => Type::Double,
            "google.protobuf.Duration" => Type::Duration,
            "google.protobuf.Timestamp" => Type::Timestamp,
            "duration" if !self.decls.is_empty() => Type::Duration,
            "timestamp" if !self.decls.is_empty() => Type::Timestamp,
            "int" => Type::Int,
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "null_type" => Type::Null,
            "string" => Type::String,
            "type" => Type::Type(None),
            "uint" => Type::Uint,
            "optional_type" => Type::optional(Type::Dyn),
            "net.IP" => crate::declare::ip(),
            "net.CIDR" => crate::declare::cidr(),
            _ if self.decls.contains_key(name) || self.is_object(name) => Type::object(name),
            JSON_PATCH if self.patches => Type::object(name),
            _ => return None,
        };
        Some(known)
    }

    /// Whether `name` is a type with fields.
    pub(crate) fn has_struct(&self, name: &str) -> bool {
        self.decls.contains_key(name) || self.is_object(name) || self.patches && name == JSON_PATCH
    }

    pub(crate) fn field_type(&self, object: &str, field: &str) -> Option<Type> {
        if self.is_object(object) {
            return Some(Type::Dyn);
        }
        if self.patches && object == JSON_PATCH {
            return match field {
                "op" | "path" | "from" => Some(Type::String),
                "value" => Some(Type::Dyn),
                _ => None,
            };
        }
        self.decls.get(object)?.field_by_ident(field)?.decl.kind.clone()
    }
}
