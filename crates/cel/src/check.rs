//! The type checker: gives each node its type, each name what it stands for and each call its overloads.
//! Source: cel-go `checker/checker.go`; messages are its own.

use crate::ast::{Expr, Fold, Id, Kind, Literal, op};
use crate::declare::Function;
use crate::env::Env;
use crate::parser::Parsed;
use crate::source::{Errors, Location, Source};
use crate::types::Type;
use crate::unify::{Unifier, instantiate, most_general};
use std::collections::HashMap;
use std::sync::Arc;

/// What a name or a call turned out to be.
#[derive(Debug, Clone)]
pub(crate) enum Reference {
    /// A variable, a fold's variable or a type, by its full name.
    Name(Arc<str>),
    /// The function and the overloads that fit.
    Call {
        function: &'static str,
        overloads: Vec<&'static str>,
    },
}

/// A tree with its types.
pub(crate) struct Checked {
    pub root: Expr,
    pub types: Vec<Option<Type>>,
    pub references: HashMap<Id, Reference>,
}

impl Checked {
    pub fn kind(&self, expr: &Expr) -> &Type {
        self.types[expr.id as usize].as_ref().unwrap_or(&Type::Dyn)
    }
}

struct Checker<'c> {
    env: &'c Env,
    source: &'c Source,
    errors: &'c mut Errors,
    positions: Vec<u32>,
    types: Vec<Option<Type>>,
    references: HashMap<Id, Reference>,
    unifier: Unifier,
    /// The variables of folds around what is being checked, the innermost last.
    scopes: Vec<(Arc<str>, Type)>,
}

/// Checks a tree; `None` when something was reported.
pub(crate) fn check(parsed: Parsed, source: &Source, env: &Env, errors: &mut Errors) -> Option<Checked> {
    let Parsed { root, positions } = parsed;
    let types = vec![None; positions.len()];
    let mut checker = Checker {
        env,
        source,
        errors,
        positions,
        types,
        references: HashMap::new(),
        unifier: Unifier::default(),
        scopes: Vec::new(),
    };
    checker.check(&root);
    let Checker {
        types,
        references,
        unifier,
        errors,
        positions,
        ..
    } = checker;
    let types = types
        .iter()
        .map(|kind| kind.as_ref().map(|kind| unifier.substitute(kind, true)))
        .collect();
    if !errors.is_empty() {
        return None;
    }
    let checked = Checked {
        root,
        types,
        references,
    };
    let at = |id: Id| source.location(positions[id as usize] as usize);
    crate::validate::validate(&checked, &at, errors);
    errors.is_empty().then_some(checked)
}

impl Checker<'_> {
    fn location(&self, id: Id) -> Location {
        self.source.location(self.positions[id as usize] as usize)
    }

    fn report(&mut self, id: Id, message: String) {
        let location = self.location(id);
        self.errors.report(location, message);
    }

    fn set(&mut self, expr: &Expr, kind: Type) {
        self.types[expr.id as usize] = Some(kind);
    }

    fn get(&self, expr: &Expr) -> Type {
        self.types[expr.id as usize].clone().unwrap_or(Type::Error)
    }

    fn undeclared(&mut self, id: Id, name: &str) -> Type {
        self.report(id, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.report(id, format!("expected type '{expected}' but found '{found}'"));
    }

    /// What a name stands for: the innermost variable, a variable of the environment, a type.
    fn lookup(&self, name: &str) -> Option<Type> {
        let absolute = name.strip_prefix('.');
        let name = absolute.unwrap_or(name);
        if let Some((_, kind)) = self.scopes.iter().rev().find(|(var, _)| &**var == name) {
            return Some(kind.clone());
        }
        if let Some(at) = self.env.var(name) {
            return Some(self.env.vars()[at].1.clone());
        }
        self.env
            .type_named(name)
            .map(|kind| Type::Type(Some(Arc::new(kind))))
    }

    fn check(&mut self, expr: &Expr) {
        let kind = match &expr.kind {
            Kind::Bad => Type::Error,
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => self.ident(expr.id, name),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { target, name, args } => self.call(expr.id, target.as_deref(), name, args),
            Kind::List { items, optional } => self.list(items, optional),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => self.object(expr.id, name, fields),
            Kind::Fold(fold) => self.fold(fold),
        };
        self.set(expr, kind);
    }

    fn ident(&mut self, id: Id, name: &str) -> Type {
        match self.lookup(name) {
            Some(kind) => {
                let name = name.strip_prefix('.').unwrap_or(name);
                self.references.insert(id, Reference::Name(name.into()));
                kind
            }
            None => self.undeclared(id, name),
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) -> Type {
        if let Some(name) = expr.qualified_name()
            && let Some(kind) = self.lookup(&name)
        {
            let name = name.strip_prefix('.').unwrap_or(&name);
            self.references.insert(expr.id, Reference::Name(name.into()));
            return kind;
        }
        let kind = self.field(expr.id, operand, field, false);
        if test {
            Type::Bool
        } else {
            self.unifier.substitute(&kind, false)
        }
    }

    /// The type of `operand.field`.
    fn field(&mut self, id: Id, operand: &Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let kind = self.get(operand);
        let kind = self.unifier.substitute(&kind, false);
        let (target, was_optional) = match kind.unwrap_optional() {
            Some(inner) => (inner.clone(), true),
            None => (kind, false),
        };
        let result = match &target {
            Type::Map(_, values) => (**values).clone(),
            Type::Object(name) => self.field_of(id, name, field).unwrap_or(Type::Error),
            Type::Var(_) => {
                self.unifier.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    self.report(id, format!("type '{other}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if was_optional || optional {
            Type::optional(result)
        } else {
            result
        }
    }

    fn field_of(&mut self, id: Id, object: &str, field: &str) -> Option<Type> {
        if !self.env.has_struct(object) {
            self.report(id, format!("unexpected failed resolution of '{object}'"));
            return None;
        }
        let kind = self.env.field_type(object, field);
        if kind.is_none() {
            self.report(id, format!("undefined field '{field}'"));
        }
        kind
    }

    fn call(&mut self, id: Id, target: Option<&Expr>, name: &str, args: &[Expr]) -> Type {
        if name == op::OPT_SELECT {
            return self.optional_select(id, args);
        }
        for arg in args {
            self.check(arg);
        }
        let Some(target) = target else {
            return match self.env.function(name) {
                Some(function) => self.resolve(id, function, None, args),
                None => self.undeclared(id, name),
            };
        };
        let qualified = target
            .qualified_name()
            .and_then(|prefix| self.env.function(&format!("{prefix}.{name}")));
        if let Some(function) = qualified {
            return self.resolve(id, function, None, args);
        }
        self.check(target);
        match self.env.function(name) {
            Some(function) => self.resolve(id, function, Some(target), args),
            None => self.undeclared(id, name),
        }
    }

    fn optional_select(&mut self, id: Id, args: &[Expr]) -> Type {
        let [
            operand,
            Expr {
                kind: Kind::Literal(Literal::String(field)),
                ..
            },
        ] = args
        else {
            self.report(
                id,
                format!(
                    "unsupported optional field selection: incorrect signature. argument count: {}",
                    args.len()
                ),
            );
            return Type::Error;
        };
        let kind = self.field(id, operand, field, true);
        let overloads = vec!["select_optional_field"];
        self.references.insert(
            id,
            Reference::Call {
                function: op::OPT_SELECT,
                overloads,
            },
        );
        self.unifier.substitute(&kind, false)
    }

    /// Finds the overloads that fit the arguments; the first one says the type of the result.
    fn resolve(&mut self, id: Id, function: &'static Function, target: Option<&Expr>, args: &[Expr]) -> Type {
        let kinds: Vec<Type> = target.into_iter().chain(args).map(|arg| self.get(arg)).collect();
        let mut result: Option<Type> = None;
        let mut overloads = Vec::new();
        if matches!(function.name, op::AND | op::OR) {
            let before = self.errors_of(args, &kinds);
            if before {
                return Type::Error;
            }
            overloads.push(function.overloads[0].id);
            result = Some(Type::Bool);
        } else {
            for overload in function
                .overloads
                .iter()
                .filter(|overload| overload.member == target.is_some())
            {
                let fresh: Vec<Type> = (0..overload.params).map(|_| self.unifier.fresh()).collect();
                let params: Vec<Type> = overload.args.iter().map(|arg| instantiate(arg, &fresh)).collect();
                if !self.unifier.all_assignable(&kinds, &params) {
                    continue;
                }
                overloads.push(overload.id);
                let kind = self
                    .unifier
                    .substitute(&instantiate(&overload.result, &fresh), false);
                result = match result {
                    None => Some(kind),
                    Some(first) if first != Type::Dyn && kind != first => Some(Type::Dyn),
                    first => first,
                };
            }
        }
        let Some(result) = result else {
            let kinds: Vec<String> = kinds
                .iter()
                .map(|kind| self.unifier.substitute(kind, true).to_string())
                .collect();
            let signature = match target {
                Some(_) => format!("{}.({})", kinds[0], kinds[1..].join(", ")),
                None => format!("({})", kinds.join(", ")),
            };
            let name = function.name;
            self.report(
                id,
                format!("found no matching overload for '{name}' applied to '{signature}'"),
            );
            return Type::Error;
        };
        self.references.insert(
            id,
            Reference::Call {
                function: function.name,
                overloads,
            },
        );
        result
    }

    /// Reports each operand of `&&` and `||` that is no bool.
    fn errors_of(&mut self, args: &[Expr], kinds: &[Type]) -> bool {
        let mut found = false;
        for (arg, kind) in args.iter().zip(kinds) {
            if !self.unifier.assignable(kind, &Type::Bool) {
                self.mismatch(arg.id, &Type::Bool, kind);
                found = true;
            }
        }
        found
    }

    /// The type that is left of an optional element, which must be optional.
    fn element(&mut self, expr: &Expr, optional: bool) -> Type {
        self.check(expr);
        let kind = self.get(expr);
        if !optional {
            return kind;
        }
        match kind.unwrap_optional() {
            Some(inner) => inner.clone(),
            None => {
                if kind != Type::Dyn {
                    self.mismatch(expr.id, &Type::optional(kind.clone()), &kind);
                }
                kind
            }
        }
    }

    fn list(&mut self, items: &[Expr], optional: &[bool]) -> Type {
        let mut joined = None;
        for (item, optional) in items.iter().zip(optional) {
            let kind = self.element(item, *optional);
            joined = Some(self.join(joined, kind));
        }
        Type::list(joined.unwrap_or_else(|| self.unifier.fresh()))
    }

    fn map(&mut self, entries: &[crate::ast::Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(&entry.key);
            let key = self.get(&entry.key);
            keys = Some(self.join(keys, key));
            let value = self.element(&entry.value, entry.optional);
            values = Some(self.join(values, value));
        }
        let keys = keys.unwrap_or_else(|| self.unifier.fresh());
        Type::map(keys, values.unwrap_or_else(|| self.unifier.fresh()))
    }

    fn join(&mut self, before: Option<Type>, kind: Type) -> Type {
        let Some(before) = before else {
            return kind;
        };
        if self.unifier.assignable(&before, &kind) {
            return most_general(&before, &kind).clone();
        }
        // Literals of several types are reported once all is known (`validate`).
        Type::Dyn
    }

    fn object(&mut self, id: Id, name: &str, fields: &[crate::ast::Field]) -> Type {
        let Some(kind) = self.lookup(name) else {
            return self.undeclared(id, name);
        };
        let name = name.strip_prefix('.').unwrap_or(name);
        self.references.insert(id, Reference::Name(name.into()));
        let result = match kind {
            Type::Error => Type::Error,
            Type::Type(Some(of)) => match &*of {
                Type::Object(_) => (*of).clone(),
                other => {
                    self.report(id, format!("'{}' is not a message type", other.runtime_name()));
                    Type::Error
                }
            },
            other => {
                self.report(id, format!("'{}' is not a type", other.runtime_name()));
                Type::Error
            }
        };
        for field in fields {
            let found = self.element(&field.value, field.optional);
            let declared = match &result {
                Type::Object(object) => self.field_of(field.id, object, &field.name),
                _ => None,
            };
            let declared = declared.unwrap_or(Type::Error);
            if !self.unifier.assignable(&declared, &found) {
                let message = format!(
                    "expected type of field '{}' is '{declared}' but provided type is '{found}'",
                    field.name
                );
                self.report(field.id, message);
            }
        }
        result
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        self.check(&fold.range);
        self.check(&fold.init);
        let range = self.unifier.substitute(&self.get(&fold.range), false);
        let accu = self.get(&fold.init);
        let outer = self.scopes.len();
        self.scopes.push((fold.accu.clone(), accu.clone()));
        let two = fold.var2.is_some();
        let (first, second) = match &range {
            Type::List(items) if two => (Type::Int, (**items).clone()),
            Type::List(items) => ((**items).clone(), Type::Dyn),
            Type::Map(keys, values) => ((**keys).clone(), (**values).clone()),
            Type::Dyn | Type::Error | Type::Var(_) => {
                self.unifier.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(fold.range.id, message);
                (Type::Error, Type::Error)
            }
        };
        self.scopes.push((fold.var.clone(), first));
        if let Some(var) = &fold.var2 {
            self.scopes.push((var.clone(), second));
        }
        self.check(&fold.condition);
        self.assert(&fold.condition, &Type::Bool);
        self.check(&fold.step);
        self.assert(&fold.step, &accu);
        self.scopes.truncate(outer + 1);
        self.check(&fold.result);
        self.scopes.truncate(outer);
        let result = self.get(&fold.result);
        self.unifier.substitute(&result, false)
    }

    fn assert(&mut self, expr: &Expr, expected: &Type) {
        let found = self.get(expr);
        if !self.unifier.assignable(expected, &found) {
            self.mismatch(expr.id, expected, &found);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
