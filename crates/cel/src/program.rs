//! What a checked expression becomes before it runs: names are places, constants are values, functions are pointers.
//! Source: cel-go `interpreter/planner.go` with its optimizations, which costs depend on.

use crate::ast::{Expr, Fold as FoldExpr, Kind, Literal, op};
use crate::check::{Checked, Reference};
use crate::env::Env;
use crate::functions::{Imp, implementation};
use crate::map::{Key, Map};
use crate::price::Price;
use crate::types::Type;
use crate::value::{EvalError, Value};
use regex::Regex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(crate) enum Node {
    Const(Value<'static>),
    Attr(Attr),
    /// `has(…)`
    Test(Attr),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Equal {
        sides: Box<[Node; 2]>,
        negated: bool,
    },
    /// `x in [constants]`
    Member(Box<Node>, HashSet<Key>),
    /// `a.or(b)` and `a.orValue(b)`
    OptionalOr {
        sides: Box<[Node; 2]>,
        value: bool,
    },
    Call(Box<Call>),
    List(Vec<Element>),
    Map(Vec<(Node, Element)>),
    Struct(Arc<str>, Vec<(Arc<str>, Element)>),
    Fold(Box<Fold>),
    /// `@result + [items]`: the fold's list grows in place. The place of the accumulator, and the list.
    Append(usize, Box<Node>),
    /// `cel.@mapInsert(@result, key, value)`
    Insert(usize, Box<[Node; 2]>),
}

pub(crate) struct Element {
    pub node: Node,
    pub optional: bool,
}

/// A value and the way into it.
pub(crate) struct Attr {
    pub base: Base,
    pub path: Vec<Step>,
}

pub(crate) enum Base {
    Global(usize),
    Local(usize),
    Node(Box<Node>),
    Conditional(Box<[Node; 3]>),
}

pub(crate) struct Step {
    pub key: StepKey,
    pub optional: bool,
}

pub(crate) enum StepKey {
    Const(Value<'static>),
    Node(Node),
    /// The last one of `has(a.b)`.
    Test(Value<'static>),
}

pub(crate) struct Call {
    pub name: &'static str,
    pub overload: &'static str,
    pub imp: Imp,
    pub price: Price,
    pub args: Vec<Node>,
    /// The pattern, where it is a constant.
    pub regex: Option<Regex>,
}

pub(crate) struct Fold {
    pub range: Node,
    pub two: bool,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

/// Names in scope, from the outermost in: what each place of a fold's frame is called.
pub(crate) struct Planner<'c> {
    pub env: &'c Env,
    pub checked: &'c Checked,
    places: Vec<Option<Arc<str>>>,
}

/// How many places a fold's frame has: accumulator and two variables.
pub(crate) const FRAME: usize = 3;

type Planned = Result<Node, EvalError>;

/// Plans a checked expression; an error is a constant conversion or pattern that is wrong.
pub(crate) fn plan(checked: &Checked, env: &Env) -> Planned {
    Planner {
        env,
        checked,
        places: Vec::new(),
    }
    .node(&checked.root)
}

impl Planner<'_> {
    fn node(&mut self, expr: &Expr) -> Planned {
        match &expr.kind {
            Kind::Bad => Ok(Node::Const(Value::Null)),
            Kind::Literal(literal) => Ok(Node::Const(constant(literal))),
            Kind::Ident(_) => self.name(expr),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { target, name, args } => self.call(expr, target.as_deref(), name, args),
            Kind::List { items, optional } => self.list(items, optional),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => {
                let name = match self.checked.references.get(&expr.id) {
                    Some(Reference::Name(name)) => name.clone(),
                    _ => name.clone(),
                };
                let mut planned = Vec::with_capacity(fields.len());
                for field in fields {
                    let node = self.node(&field.value)?;
                    planned.push((
                        field.name.clone(),
                        Element {
                            node,
                            optional: field.optional,
                        },
                    ));
                }
                Ok(Node::Struct(name, planned))
            }
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn name(&mut self, expr: &Expr) -> Planned {
        let Some(Reference::Name(name)) = self.checked.references.get(&expr.id) else {
            return Ok(Node::Const(Value::Null));
        };
        let place = self.places.iter().rposition(|place| place.as_ref() == Some(name));
        let base = match (place, self.env.var(name)) {
            (Some(place), _) => Base::Local(place),
            (None, Some(var)) => Base::Global(var),
            (None, None) => {
                if matches!(&**name, "timestamp" | "duration") {
                    // Types of declarations, which upstream's checker knows and its planner does not.
                    return Err(EvalError::Failed(
                        format!("reference to undefined type: {name}").into(),
                    ));
                }
                let kind = self.env.type_named(name).unwrap_or(Type::Dyn);
                return Ok(Node::Const(Value::Type(Arc::new(kind))));
            }
        };
        Ok(Node::Attr(Attr {
            base,
            path: Vec::new(),
        }))
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &Arc<str>, test: bool) -> Planned {
        if self.checked.references.contains_key(&expr.id) {
            return self.name(expr);
        }
        let mut attr = attr(self.node(operand)?);
        let key = Value::text(field.clone());
        let key = if test {
            StepKey::Test(key)
        } else {
            StepKey::Const(key)
        };
        attr.path.push(Step { key, optional: false });
        Ok(if test { Node::Test(attr) } else { Node::Attr(attr) })
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, name: &str, args: &[Expr]) -> Planned {
        let (function, overloads) = match self.checked.references.get(&expr.id) {
            Some(Reference::Call { function, overloads }) => (*function, &overloads[..]),
            _ => (
                self.env.function(name).map_or("", |function| function.name),
                &[][..],
            ),
        };
        // A qualified name such as `optional.of` has no target of its own.
        let target = target.filter(|target| {
            let qualified = target.qualified_name().map(|prefix| format!("{prefix}.{name}"));
            qualified
                .as_deref()
                .map(|name| name.strip_prefix('.').unwrap_or(name))
                != Some(function)
        });
        let mut nodes = Vec::with_capacity(args.len() + 1);
        for arg in target.into_iter().chain(args) {
            nodes.push(self.node(arg)?);
        }
        let overload = match overloads {
            [overload] => *overload,
            _ => "",
        };
        self.operation(function, overload, nodes)
    }

    fn operation(&mut self, function: &'static str, overload: &'static str, mut args: Vec<Node>) -> Planned {
        match (function, args.len()) {
            (op::CONDITIONAL, 3) => {
                let three = take(&mut args);
                Ok(Node::Attr(Attr {
                    base: Base::Conditional(Box::new(three)),
                    path: Vec::new(),
                }))
            }
            (op::AND, 2) => Ok(Node::And(Box::new(take(&mut args)))),
            (op::OR, 2) => Ok(Node::Or(Box::new(take(&mut args)))),
            (op::EQUALS | op::NOT_EQUALS, 2) => Ok(Node::Equal {
                sides: Box::new(take(&mut args)),
                negated: function == op::NOT_EQUALS,
            }),
            (op::INDEX | op::OPT_INDEX | op::OPT_SELECT, 2) => {
                let [operand, index] = take(&mut args);
                let mut attr = attr(operand);
                let key = match index {
                    Node::Const(value) => StepKey::Const(crate::eval::usable_key(value)?),
                    node => StepKey::Node(node),
                };
                attr.path.push(Step {
                    key,
                    optional: function != op::INDEX,
                });
                Ok(Node::Attr(attr))
            }
            ("or" | "orValue", 2) => Ok(Node::OptionalOr {
                sides: Box::new(take(&mut args)),
                value: function == "orValue",
            }),
            (op::IN, 2) if overload == "in_list" => Ok(membership(args, overload)),
            _ => call(function, overload, args),
        }
    }

    fn list(&mut self, items: &[Expr], optional: &[bool]) -> Planned {
        let mut elements = Vec::with_capacity(items.len());
        for (item, optional) in items.iter().zip(optional) {
            elements.push(Element {
                node: self.node(item)?,
                optional: *optional,
            });
        }
        let constants: Option<Vec<Value<'static>>> = elements.iter().map(Element::constant).collect();
        Ok(match constants {
            Some(values) => Node::Const(crate::compare::shared(values)),
            None => Node::List(elements),
        })
    }

    fn map(&mut self, entries: &[crate::ast::Entry]) -> Planned {
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = self.node(&entry.key)?;
            nodes.push((
                key,
                Element {
                    node: self.node(&entry.value)?,
                    optional: entry.optional,
                },
            ));
        }
        let constant = |(key, value): &(Node, Element)| match key {
            Node::Const(key) => Some((Key::new(key).ok()?, value.constant()?)),
            _ => None,
        };
        let constants: Option<BTreeMap<Key, Value<'static>>> = nodes.iter().map(constant).collect();
        Ok(match constants {
            Some(entries) => Node::Const(Value::Map(Map::made(entries))),
            None => Node::Map(nodes),
        })
    }

    fn fold(&mut self, fold: &FoldExpr) -> Planned {
        let init = self.node(&fold.init)?;
        let range = self.node(&fold.range)?;
        let base = self.places.len();
        self.places
            .extend([Some(fold.accu.clone()), Some(fold.var.clone()), fold.var2.clone()]);
        let condition = self.node(&fold.condition)?;
        let step = self.node(&fold.step)?;
        let step = growing(step, base);
        self.places[base + 1] = None;
        self.places[base + 2] = None;
        let result = self.node(&fold.result)?;
        self.places.truncate(base);
        let two = fold.var2.is_some();
        Ok(Node::Fold(Box::new(Fold {
            range,
            two,
            init,
            condition,
            step,
            result,
        })))
    }
}

impl Element {
    fn constant(&self) -> Option<Value<'static>> {
        match &self.node {
            Node::Const(value) if !self.optional => Some(value.clone()),
            _ => None,
        }
    }
}

/// The nodes as an array: the caller has looked how many there are.
fn take<const N: usize>(args: &mut Vec<Node>) -> [Node; N] {
    args.resize_with(N, || Node::Const(Value::Null));
    let mut nodes = args.drain(..);
    std::array::from_fn(|_| nodes.next().unwrap_or(Node::Const(Value::Null)))
}

fn attr(node: Node) -> Attr {
    match node {
        Node::Attr(attr) => attr,
        node => Attr {
            base: Base::Node(Box::new(node)),
            path: Vec::new(),
        },
    }
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::text(text.clone()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

/// `x in list`: a look into a set when the list is made of simple constants.
fn membership(mut args: Vec<Node>, overload: &'static str) -> Node {
    let Some(Node::Const(Value::List(list))) = args.get(1) else {
        return call_node(op::IN, overload, args, None);
    };
    if list.is_empty() {
        return Node::Const(Value::Bool(false));
    }
    let key = |item: Result<Value<'static>, EvalError>| match item {
        Ok(item) if !matches!(item, Value::Double(value) if value.is_nan()) => Key::new(&item).ok(),
        _ => None,
    };
    match list.iter().map(key).collect::<Option<HashSet<Key>>>() {
        Some(keys) => Node::Member(Box::new(args.swap_remove(0)), keys),
        None => call_node(op::IN, overload, args, None),
    }
}

fn call_node(name: &'static str, overload: &'static str, args: Vec<Node>, regex: Option<Regex>) -> Node {
    let imp = implementation(name);
    Node::Call(Box::new(Call {
        name,
        overload,
        imp,
        price: Price::of(name, overload),
        args,
        regex,
    }))
}

fn call(name: &'static str, overload: &'static str, args: Vec<Node>) -> Planned {
    if let ([Node::Const(value)], true) = (&args[..], crate::convert::CONVERSIONS.contains(&name)) {
        return Ok(Node::Const(crate::functions::convert_constant(name, value)?));
    }
    let mut regex = None;
    if matches!(name, "matches" | "find" | "findAll")
        && let Some(Node::Const(Value::String(pattern))) = args.get(1)
    {
        regex = Some(crate::pattern::compile(pattern)?);
    }
    Ok(call_node(name, overload, args, regex))
}

/// The step of a fold whose accumulator grows: done in place, so that a list of n items costs n.
fn growing(step: Node, base: usize) -> Node {
    let is_accu = |node: &Node| matches!(node, Node::Attr(Attr { base: Base::Local(place), path }) if *place == base && path.is_empty());
    match step {
        Node::Call(mut call)
            if matches!(call.name, op::ADD) && call.args.len() == 2 && is_accu(&call.args[0]) =>
        {
            match call.args.pop() {
                Some(list @ (Node::List(_) | Node::Const(Value::List(_)))) => {
                    Node::Append(base, Box::new(list))
                }
                Some(other) => {
                    call.args.push(other);
                    Node::Call(call)
                }
                None => Node::Call(call),
            }
        }
        Node::Call(mut call)
            if call.name == op::MAP_INSERT && call.args.len() == 3 && is_accu(&call.args[0]) =>
        {
            call.args.remove(0);
            Node::Insert(base, Box::new(take(&mut call.args)))
        }
        Node::Attr(Attr {
            base: Base::Conditional(three),
            path,
        }) if path.is_empty() => {
            let [condition, truthy, falsy] = *three;
            let three = [condition, growing(truthy, base), falsy];
            Node::Attr(Attr {
                base: Base::Conditional(Box::new(three)),
                path,
            })
        }
        other => other,
    }
}
