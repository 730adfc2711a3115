//! Expressions as trees. Every node has an id; positions, types and resolved functions are kept in tables by id.

use std::sync::Arc;

pub(crate) type Id = u32;

#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub id: Id,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Something that could not be read; an error has been reported.
    Bad,
    Literal(Literal),
    Ident(Arc<str>),
    /// `test`: `has(operand.field)`
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        name: Arc<str>,
        args: Vec<Expr>,
    },
    List {
        items: Vec<Expr>,
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    Struct {
        name: Arc<str>,
        fields: Vec<Field>,
    },
    Fold(Box<Fold>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub id: Id,
    pub name: Arc<str>,
    pub value: Expr,
    pub optional: bool,
}

/// A comprehension: what macros such as `all` and `map` become.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub range: Expr,
    pub var: Arc<str>,
    pub var2: Option<Arc<str>>,
    pub accu: Arc<str>,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// The name of the accumulator in folds that macros make; no expression can name it.
pub(crate) const ACCU: &str = "@result";
/// The name that older compilers used, which variables must not take either.
pub(crate) const OLD_ACCU: &str = "__result__";
/// The variable of a fold that never runs (`cel.bind`).
pub(crate) const UNUSED: &str = "#unused";

pub(crate) mod op {
    pub const CONDITIONAL: &str = "_?_:_";
    pub const AND: &str = "_&&_";
    pub const OR: &str = "_||_";
    pub const NOT: &str = "!_";
    pub const NEGATE: &str = "-_";
    pub const EQUALS: &str = "_==_";
    pub const NOT_EQUALS: &str = "_!=_";
    pub const IN: &str = "@in";
    pub const ADD: &str = "_+_";
    pub const INDEX: &str = "_[_]";
    pub const OPT_INDEX: &str = "_[?_]";
    pub const OPT_SELECT: &str = "_?._";
    pub const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
    pub const MAP_INSERT: &str = "cel.@mapInsert";
}

impl Expr {
    /// `a.b.c` as one name, when the expression is nothing but identifiers and plain selections.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select {
                operand,
                field,
                test: false,
            } => {
                let mut name = operand.qualified_name()?;
                name.push('.');
                name.push_str(field);
                Some(name)
            }
            _ => None,
        }
    }

    /// Calls `f` for each child, in the order in which they were written (and expanded).
    pub fn children<'e>(&'e self, f: &mut dyn FnMut(&'e Expr)) {
        match &self.kind {
            Kind::Bad | Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => f(operand),
            Kind::Call { target, args, .. } => {
                if let Some(target) = target {
                    f(target);
                }
                args.iter().for_each(f);
            }
            Kind::List { items, .. } => items.iter().for_each(f),
            Kind::Map(entries) => {
                for entry in entries {
                    f(&entry.key);
                    f(&entry.value);
                }
            }
            Kind::Struct { fields, .. } => fields.iter().for_each(|field| f(&field.value)),
            Kind::Fold(fold) => {
                for part in [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result] {
                    f(part);
                }
            }
        }
    }
}
