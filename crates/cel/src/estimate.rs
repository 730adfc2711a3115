//! What an expression can cost at least and at most, from the sizes that its values can have.
//! Source: cel-go `checker/cost.go`. A change here changes which rules a CRD may have.

use crate::ast::{ACCU, Expr, Fold, Id, Kind, Literal, OLD_ACCU};
use crate::check::{Checked, Reference};
use crate::decl::{Decl, Shape};
use crate::estimate_calls::Argument;
use crate::price::{LIST, MAP, STRUCT};
use crate::types::Type;
use std::collections::HashMap;
use std::sync::Arc;

/// A range of costs or of sizes. Both ends stop at the largest number there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub min: u64,
    pub max: u64,
}

impl Estimate {
    pub(crate) const UNKNOWN: Self = Self {
        min: 0,
        max: u64::MAX,
    };
    pub(crate) const ZERO: Self = Self { min: 0, max: 0 };
    pub(crate) const ONE: Self = Self { min: 1, max: 1 };

    pub(crate) fn fixed(value: u64) -> Self {
        Self {
            min: value,
            max: value,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        let scaled = |value: u64| (value as f64 * factor).ceil() as u64;
        Self {
            min: scaled(self.min),
            max: scaled(self.max),
        }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// Knows how large values can be.
pub trait Sizes {
    /// How many elements (characters, bytes, items) the value at a path can have. The first part of the path is a
    /// variable, the others are fields, `@items`, `@keys` or `@values`.
    fn max_elements(&self, path: &[Arc<str>]) -> Option<u64>;
}

/// The sizes of what a variable holds whose declaration this is, whatever its name (`self`, `oldSelf`).
impl Sizes for Decl {
    fn max_elements(&self, path: &[Arc<str>]) -> Option<u64> {
        let mut decl = self;
        for (at, name) in path.get(1..)?.iter().enumerate() {
            decl = match (&decl.shape, &**name) {
                (Shape::List { items, .. }, "@items") => items,
                (Shape::Map { values }, "@values") => values,
                // Keys have no limits of their own.
                (Shape::Map { .. }, "@keys") => return (at + 2 == path.len()).then_some(0),
                _ => &decl.field_with_ident(name)?.decl,
            };
        }
        Some(u64::try_from(decl.max_elements).unwrap_or(0))
    }
}

/// Nothing is known of sizes.
impl Sizes for () {
    fn max_elements(&self, _: &[Arc<str>]) -> Option<u64> {
        None
    }
}

type Path = Vec<Arc<str>>;

/// The sizes of what a list or map holds.
#[derive(Clone, Copy)]
struct EntrySizes {
    is_list: bool,
    key: Estimate,
    value: Estimate,
}

impl EntrySizes {
    fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        let (a, b) = (a?, b?);
        Some(Self {
            is_list: a.is_list,
            key: a.key.union(b.key),
            value: a.value.union(b.value),
        })
    }
}

#[derive(Clone)]
struct Local {
    path: Path,
    size: Option<Estimate>,
    entries: Option<EntrySizes>,
}

pub(crate) struct Estimator<'c> {
    checked: &'c Checked,
    pub sizes: &'c dyn Sizes,
    paths: HashMap<Id, Path>,
    locals: HashMap<Arc<str>, Vec<Local>>,
    known: HashMap<Id, Estimate>,
    entries: HashMap<Id, EntrySizes>,
}

pub(crate) fn estimate(checked: &Checked, sizes: &dyn Sizes) -> Estimate {
    let mut estimator = Estimator {
        checked,
        sizes,
        paths: HashMap::new(),
        locals: HashMap::new(),
        known: HashMap::new(),
        entries: HashMap::new(),
    };
    estimator.cost(&checked.root)
}

impl Estimator<'_> {
    fn cost(&mut self, expr: &Expr) -> Estimate {
        match &expr.kind {
            Kind::Bad | Kind::Literal(_) => Estimate::ZERO,
            Kind::Ident(name) => {
                let name = name.strip_prefix('.').unwrap_or(name);
                let path = self
                    .local(name)
                    .map_or_else(|| vec![name.into()], |local| local.path.clone());
                self.paths.insert(expr.id, path);
                Estimate::ONE
            }
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { target, name, args } => self.call(expr, target.as_deref(), name, args),
            Kind::List { items, .. } => self.list(expr, items),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct { fields, .. } => {
                let mut sum = Estimate::ZERO;
                for field in fields {
                    sum = sum.plus(self.cost(&field.value));
                }
                sum.plus(Estimate::fixed(STRUCT))
            }
            Kind::Fold(fold) if is_bind(fold) => self.bind(expr, fold),
            Kind::Fold(fold) => self.fold(expr, fold),
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.get(name)?.last()
    }

    fn push(&mut self, name: &Arc<str>, local: Local) {
        self.locals.entry(name.clone()).or_default().push(local);
    }

    fn pop(&mut self, name: &Arc<str>) {
        if let Some(stack) = self.locals.get_mut(name) {
            stack.pop();
        }
    }

    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn extended(&self, expr: &Expr, part: &str) -> Path {
        let mut path = self.path(expr);
        path.push(part.into());
        path
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &Arc<str>, test: bool) -> Estimate {
        if let Some(Reference::Name(name)) = self.checked.references.get(&expr.id) {
            self.paths.insert(expr.id, vec![name.clone()]);
            return Estimate::ONE;
        }
        let sum = self.cost(operand);
        if test {
            return sum;
        }
        let path = self.extended(operand, field);
        self.paths.insert(expr.id, path);
        match self.checked.kind(operand) {
            Type::Map(..) | Type::Object(_) => sum.plus(Estimate::ONE),
            _ => sum,
        }
    }

    fn list(&mut self, expr: &Expr, items: &[Expr]) -> Estimate {
        let mut sum = Estimate::fixed(LIST);
        let mut size = Estimate {
            min: if items.is_empty() { 0 } else { u64::MAX },
            max: 0,
        };
        for item in items {
            sum = sum.plus(self.cost(item));
            size = size.union(self.size_or_unknown(item));
        }
        self.entries.insert(
            expr.id,
            EntrySizes {
                is_list: true,
                key: Estimate::ONE,
                value: size,
            },
        );
        sum
    }

    fn map(&mut self, expr: &Expr, entries: &[crate::ast::Entry]) -> Estimate {
        let mut sum = Estimate::fixed(MAP);
        let start = Estimate {
            min: if entries.is_empty() { 0 } else { u64::MAX },
            max: 0,
        };
        let (mut key, mut value) = (start, start);
        for entry in entries {
            sum = sum.plus(self.cost(&entry.key));
            sum = sum.plus(self.cost(&entry.value));
            key = key.union(self.size_or_unknown(&entry.key));
            value = value.union(self.size_or_unknown(&entry.value));
        }
        self.entries.insert(
            expr.id,
            EntrySizes {
                is_list: false,
                key,
                value,
            },
        );
        sum
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, name: &str, args: &[Expr]) -> Estimate {
        if let ("dyn", [arg]) = (name, args) {
            let cost = self.cost(arg).plus(Estimate::ONE);
            self.copy_sizes(expr, arg);
            return cost;
        }
        let mut nodes = Vec::with_capacity(args.len());
        let mut costs = Vec::with_capacity(args.len());
        for arg in args {
            costs.push(self.cost(arg));
            nodes.push(self.argument(arg));
        }
        let (name, overloads) = match self.checked.references.get(&expr.id) {
            Some(Reference::Call { function, overloads }) if !overloads.is_empty() => {
                (*function, overloads.clone())
            }
            _ => return Estimate::ZERO,
        };
        // Functions with a qualified name have no target.
        let target = target.filter(|_| !name.contains('.'));
        let mut sum = Estimate::ZERO;
        let target = match target {
            Some(target) => {
                sum = self.cost(target);
                Some(self.argument(target))
            }
            None => None,
        };
        let mut cost = Estimate {
            min: u64::MAX,
            max: 0,
        };
        let mut size: Option<Estimate> = None;
        for overload in overloads {
            let (one, result) = self.call_cost(expr, name, overload, target.as_ref(), &nodes, &costs, args);
            cost = cost.union(one);
            size = match (size, result) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
            if let ("index_list" | "index_map", Some(container)) = (overload, args.first()) {
                size = self.entry_sizes(container).map(|entries| entries.value);
                let path = self.extended(
                    container,
                    if overload == "index_list" {
                        "@items"
                    } else {
                        "@values"
                    },
                );
                self.paths.insert(expr.id, path);
            }
            size = size.or_else(|| self.size(expr));
        }
        if let Some(size) = size {
            self.known.insert(expr.id, size);
        }
        sum.plus(cost)
    }

    /// The cost of one overload and the size of its result.
    #[allow(clippy::too_many_arguments)] // one call's parts, used here only
    fn call_cost(
        &mut self,
        expr: &Expr,
        name: &str,
        overload: &str,
        target: Option<&Argument>,
        nodes: &[Argument],
        costs: &[Estimate],
        args: &[Expr],
    ) -> (Estimate, Option<Estimate>) {
        let all = costs.iter().fold(Estimate::ZERO, |sum, cost| sum.plus(*cost));
        match (overload, costs) {
            ("logical_or" | "logical_and", [left, right]) => (
                Estimate {
                    min: left.min,
                    max: left.plus(*right).max,
                },
                None,
            ),
            ("conditional", [condition, truthy, falsy]) => {
                let size = nodes[1].size_or_unknown().union(nodes[2].size_or_unknown());
                let entries = EntrySizes::union(self.entry_sizes(&args[1]), self.entry_sizes(&args[2]));
                if let Some(entries) = entries {
                    self.entries.insert(expr.id, entries);
                }
                (condition.plus(truthy.union(*falsy)), Some(size))
            }
            ("add_string" | "add_bytes" | "add_list", [_, _]) => {
                let size = nodes[0].size_or_unknown().plus(nodes[1].size_or_unknown());
                let entries = EntrySizes::union(self.entry_sizes(&args[0]), self.entry_sizes(&args[1]));
                if let Some(entries) = entries {
                    self.entries.insert(expr.id, entries);
                }
                let own = if overload == "add_list" {
                    Estimate::ONE
                } else {
                    size.scaled(0.1)
                };
                (own.plus(all), Some(size))
            }
            _ => {
                let (cost, size) = crate::estimate_calls::cost(self, name, overload, target, nodes);
                (cost.plus(all), size)
            }
        }
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Estimate {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_value(&fold.accu, &fold.init);
        let entries = self.entry_sizes(&fold.range);
        let is_list = entries.map_or(matches!(self.checked.kind(&fold.range), Type::List(_)), |e| {
            e.is_list
        });
        let (key, value) = if is_list {
            ("@indices", "@items")
        } else {
            ("@keys", "@values")
        };
        let local = |path: Path, size: Option<Estimate>| Local {
            path,
            size,
            entries: None,
        };
        if let Some(second) = &fold.var2 {
            self.push(
                &fold.var,
                local(self.extended(&fold.range, key), entries.map(|e| e.key)),
            );
            self.push(
                second,
                local(self.extended(&fold.range, value), entries.map(|e| e.value)),
            );
        } else {
            let part = if is_list { value } else { key };
            let size = entries.map(|e| if is_list { e.value } else { e.key });
            self.push(&fold.var, local(self.extended(&fold.range, part), size));
        }
        let turn = self.cost(&fold.condition);
        let turn = self.cost(&fold.step).plus(turn);
        self.pop(&fold.var);
        if let Some(second) = &fold.var2 {
            self.pop(second);
        }
        sum = sum.plus(self.cost(&fold.result));
        self.pop(&fold.accu);
        let count = self.size_or_unknown(&fold.range);
        match &fold.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.known.insert(expr.id, size);
                }
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.known.insert(expr.id, count);
                if let Some(entries) = self.entry_sizes(&fold.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        sum.plus(count.times(turn))
    }

    fn bind(&mut self, expr: &Expr, fold: &Fold) -> Estimate {
        let sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_value(&fold.accu, &fold.init);
        let sum = sum.plus(self.cost(&fold.result));
        self.pop(&fold.accu);
        self.copy_sizes(expr, &fold.result);
        sum
    }

    fn push_value(&mut self, name: &Arc<str>, value: &Expr) {
        let local = Local {
            path: self.path(value),
            size: self.size(value),
            entries: self.entry_sizes(value),
        };
        self.push(name, local);
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        if let Some(size) = self.size(from) {
            self.known.insert(to.id, size);
        }
        if let Some(entries) = self.entry_sizes(from) {
            self.entries.insert(to.id, entries);
        }
    }

    fn argument(&mut self, expr: &Expr) -> Argument {
        let path = self.path(expr);
        let of_fold = path
            .first()
            .is_some_and(|name| &**name == ACCU || &**name == OLD_ACCU);
        let literal = match &expr.kind {
            Kind::Literal(literal) => Some(literal.clone()),
            _ => None,
        };
        Argument {
            path: if of_fold { Path::new() } else { path },
            kind: self.checked.kind(expr).clone(),
            size: self.size(expr),
            literal,
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(Estimate::UNKNOWN)
    }

    fn size(&mut self, expr: &Expr) -> Option<Estimate> {
        if let Some(size) = self.known.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = literal_size(expr) {
            return Some(Estimate::fixed(size));
        }
        let path = self.path(expr);
        if !path.is_empty()
            && let Some(max) = self.sizes.max_elements(&path)
        {
            let size = Estimate { min: 0, max };
            self.known.insert(expr.id, size);
            return Some(size);
        }
        if is_scalar(self.checked.kind(expr)) {
            return Some(Estimate::ONE);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn entry_sizes(&self, expr: &Expr) -> Option<EntrySizes> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }
}

fn is_bind(fold: &Fold) -> bool {
    matches!(&fold.range.kind, Kind::List { items, .. } if items.is_empty())
        && matches!(fold.condition.kind, Kind::Literal(Literal::Bool(false)))
        && &*fold.accu != OLD_ACCU
}

fn literal_size(expr: &Expr) -> Option<u64> {
    Some(match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count() as u64,
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List { items, .. } => items.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    })
}

fn is_scalar(kind: &Type) -> bool {
    match kind {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        other => other.unwrap_optional().is_some_and(is_scalar),
    }
}
