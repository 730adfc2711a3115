//! Runs planned expressions and counts what they cost. Source: cel-go `interpreter`.

use crate::ast::op;
use crate::list::List;
use crate::map::{Key, Map};
use crate::price::{self, Price};
use crate::program::{Attr, Base, Call, Element, FRAME, Fold, Node, Step, StepKey};
use crate::value::{EvalError, Outcome, Struct, Value, fail, no_overload};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longer texts are not made.
pub(crate) const MAX_TEXT: usize = 16 * 1024 * 1024;

/// A place in a fold's frame.
enum Place<'p, 'a> {
    Empty,
    /// A value that is found out when it is asked for.
    Lazy(&'p Node),
    Known(Outcome<Value<'a>>),
}

/// One evaluation.
pub(crate) struct Run<'p, 'a> {
    vars: &'p [Value<'a>],
    places: Vec<Place<'p, 'a>>,
    cost: u64,
    limit: u64,
}

impl<'p, 'a> Run<'p, 'a> {
    pub fn new(vars: &'p [Value<'a>], limit: u64) -> Self {
        Self {
            vars,
            places: Vec::new(),
            cost: 0,
            limit,
        }
    }

    pub fn cost(&self) -> u64 {
        self.cost
    }

    fn charge(&mut self, cost: u64) -> Outcome<()> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            Err(EvalError::CostExceeded)
        } else {
            Ok(())
        }
    }

    pub fn eval(&mut self, node: &'p Node) -> Outcome<Value<'a>> {
        match node {
            Node::Const(value) => Ok(value.clone()),
            Node::Attr(attr) => self.attr(attr),
            Node::Test(attr) => self.test(attr),
            Node::And(sides) => self.logic(sides, false),
            Node::Or(sides) => self.logic(sides, true),
            Node::Equal { sides, negated } => self.equal(sides, *negated),
            Node::Member(item, keys) => {
                let item = self.eval(item)?;
                let found = Key::new(&item).is_ok_and(|key| crate::map::contains(keys, &key));
                Ok(Value::Bool(found))
            }
            Node::OptionalOr { sides, value } => self.optional_or(sides, *value),
            Node::Call(call) => self.call(call),
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Struct(name, fields) => self.object(name, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::Append(place, list) => self.append(*place, list),
            Node::Insert(place, entry) => self.insert(*place, entry),
        }
    }

    /// `&&` (`decisive` false) and `||` (true): an error counts only when no side decides.
    fn logic(&mut self, sides: &'p [Node; 2], decisive: bool) -> Outcome<Value<'a>> {
        let mut error = None;
        for side in sides {
            match self.eval(side) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => error = error.or_else(|| no_overload::<()>().err()),
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                Err(found) => error = error.or(Some(found)),
            }
        }
        error.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn equal(&mut self, sides: &'p [Node; 2], negated: bool) -> Outcome<Value<'a>> {
        let left = self.absorb(&sides[0])?;
        let right = self.absorb(&sides[1])?;
        let (left, right) = match (left, right) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(error), _) | (_, Err(error)) => {
                self.charge(1)?;
                return Err(error);
            }
        };
        if let (Value::List(left), Value::List(right)) = (&left, &right)
            && left.len() == right.len()
        {
            self.room(left.len())?;
        }
        let same = crate::compare::equal(&left, &right);
        self.charge(price::equality(&left, &right, negated))?;
        match same {
            Err(EvalError::Failed(_)) if negated => Ok(Value::Bool(true)),
            same => Ok(Value::Bool(same? != negated)),
        }
    }

    /// Evaluates; an error of the expression is a value here, one of the limits is not.
    fn absorb(&mut self, node: &'p Node) -> Outcome<Outcome<Value<'a>>> {
        match self.eval(node) {
            Err(EvalError::CostExceeded) => Err(EvalError::CostExceeded),
            other => Ok(other),
        }
    }

    fn optional_or(&mut self, sides: &'p [Node; 2], value: bool) -> Outcome<Value<'a>> {
        match self.eval(&sides[0])? {
            Value::Optional(Some(inner)) if value => Ok((*inner).clone()),
            Value::Optional(None) => self.eval(&sides[1]),
            other => Ok(other),
        }
    }

    /// What is left must suffice for so many steps.
    fn room(&self, steps: usize) -> Outcome<()> {
        if steps as u64 > self.limit.saturating_sub(self.cost) {
            Err(EvalError::CostExceeded)
        } else {
            Ok(())
        }
    }

    fn call(&mut self, call: &'p Call) -> Outcome<Value<'a>> {
        let mut args = Vec::with_capacity(call.args.len());
        let mut error = None;
        for node in &call.args {
            match self.absorb(node)? {
                Ok(value) => args.push(value),
                Err(_) if call.name == op::NOT_STRICTLY_FALSE => {
                    self.charge(1)?;
                    return Ok(Value::Bool(true));
                }
                // Calls with more than two arguments stop at the first error, the others cost what they cost.
                Err(found) if call.args.len() > 2 => return Err(found),
                Err(found) => {
                    // An error is as large as a number.
                    args.push(Value::Null);
                    error = error.or(Some(found));
                }
            }
        }
        if let Some(error) = error {
            self.charge(call.price.cost(&args, None).unwrap_or(1))?;
            return Err(error);
        }
        if !matches!(call.name, "size" | op::ADD) {
            for arg in &args {
                if let Value::List(list) = arg {
                    self.room(list.len())?;
                }
            }
        }
        let room = self.limit.saturating_sub(self.cost);
        let context = crate::functions::Context {
            name: call.name,
            overload: call.overload,
            room,
            regex: call.regex.as_ref(),
        };
        let result = (call.imp)(&context, &args);
        if matches!(result, Err(EvalError::CostExceeded)) {
            return result;
        }
        let price = if call.args.is_empty() {
            Price::Fixed(1)
        } else {
            call.price
        };
        let cost = price.cost(&args, result.as_ref().ok()).unwrap_or(1);
        self.charge(cost)?;
        match result {
            Err(error) if call.regex.is_none() => Err(crate::functions::explain(call.name, &args, error)),
            other => other,
        }
    }

    fn element(
        &mut self,
        element: &'p Element,
        field: Option<&dyn std::fmt::Display>,
    ) -> Outcome<Option<Value<'a>>> {
        let value = self.eval(&element.node)?;
        if !element.optional {
            return Ok(Some(value));
        }
        match (value, field) {
            (Value::Optional(inner), _) => Ok(inner.map(|inner| (*inner).clone())),
            (other, Some(field)) => fail(format!(
                "cannot initialize optional entry '{field}' from non-optional value {other}"
            )),
            (other, None) => fail(format!(
                "cannot initialize optional list element from non-optional value {other}"
            )),
        }
    }

    fn list(&mut self, elements: &'p [Element]) -> Outcome<Value<'a>> {
        let items = self.items(elements);
        self.charge(price::LIST)?;
        Ok(Value::List(List::made(items?)))
    }

    fn items(&mut self, elements: &'p [Element]) -> Outcome<Vec<Value<'a>>> {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            items.extend(self.element(element, None)?);
        }
        Ok(items)
    }

    fn map(&mut self, entries: &'p [(Node, Element)]) -> Outcome<Value<'a>> {
        let made = self.entries(entries);
        self.charge(price::MAP)?;
        Ok(Value::Map(Map::made(made?)))
    }

    fn entries(&mut self, entries: &'p [(Node, Element)]) -> Outcome<BTreeMap<Key, Value<'a>>> {
        let mut made = BTreeMap::new();
        for (key, element) in entries {
            let key = self.eval(key)?;
            match self.element(element, Some(&key))? {
                Some(value) => made.insert(Key::new(&key)?, value),
                None => made.remove(&Key::new(&key)?),
            };
        }
        Ok(made)
    }

    fn object(&mut self, name: &Arc<str>, fields: &'p [(Arc<str>, Element)]) -> Outcome<Value<'a>> {
        let mut made = Vec::with_capacity(fields.len());
        let mut error = None;
        for (field, element) in fields {
            match self.element(element, Some(field)) {
                Ok(Some(value)) => made.push((field.clone(), value)),
                Ok(None) => made.retain(|(other, _)| other != field),
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                Err(found) => {
                    error = Some(found);
                    break;
                }
            }
        }
        self.charge(price::STRUCT)?;
        match error {
            Some(error) => Err(error),
            None => crate::patch::make(Struct {
                name: name.clone(),
                fields: made,
            }),
        }
    }

    fn fold(&mut self, fold: &'p Fold) -> Outcome<Value<'a>> {
        let range = self.eval(&fold.range)?;
        let base = self.places.len();
        self.places
            .extend([Place::Lazy(&fold.init), Place::Empty, Place::Empty]);
        let looped = self.run_loop(fold, &range, base);
        let result = looped.and_then(|()| self.eval(&fold.result));
        self.places.truncate(base);
        result
    }

    fn run_loop(&mut self, fold: &'p Fold, range: &Value<'a>, base: usize) -> Outcome<()> {
        match range {
            Value::List(list) => {
                for at in 0..list.len() {
                    let item = list.get(at);
                    let goes_on = if fold.two {
                        self.turn(fold, base, Ok(Value::Int(at as i64)), Some(item))?
                    } else {
                        self.turn(fold, base, item, None)?
                    };
                    if !goes_on {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                for key in map.keys() {
                    let value = match fold.two {
                        true => Some(map.find(&key).map(|value| value.unwrap_or(Value::Null))),
                        false => None,
                    };
                    if !self.turn(fold, base, Ok(key), value)? {
                        break;
                    }
                }
                Ok(())
            }
            other if fold.two => fail(format!(
                "unsupported comprehension range type: {}",
                other.go_name()
            )),
            other => fail(format!("got '{}', expected iterable type", other.go_name())),
        }
    }

    /// One turn of a loop; whether there is to be another one.
    fn turn(
        &mut self,
        fold: &'p Fold,
        base: usize,
        first: Outcome<Value<'a>>,
        second: Option<Outcome<Value<'a>>>,
    ) -> Outcome<bool> {
        self.places[base + 1] = Place::Known(first);
        if let Some(second) = second {
            self.places[base + 2] = Place::Known(second);
        }
        if let Ok(Value::Bool(false)) = self.absorb(&fold.condition)? {
            return Ok(false);
        }
        let step = self.absorb(&fold.step)?;
        self.places[base] = Place::Known(step);
        Ok(true)
    }

    fn local(&mut self, at: usize) -> Outcome<Value<'a>> {
        match self.places.get(at) {
            Some(Place::Known(value)) => value.clone(),
            Some(Place::Lazy(node)) => {
                let node = *node;
                // The node was planned for a stack that ends below its own frame.
                let above = self.places.split_off(at);
                let value = self.absorb(node);
                self.places.extend(above);
                let value = value?;
                self.places[at] = Place::Known(value.clone());
                value
            }
            Some(Place::Empty) | None => fail("no such attribute(s)"),
        }
    }

    /// The accumulator with items added to it.
    fn append(&mut self, place: usize, list: &'p Node) -> Outcome<Value<'a>> {
        self.charge(1)?;
        let items = match list {
            Node::List(elements) => {
                let items = self.items(elements);
                self.charge(price::LIST)?;
                items
            }
            node => match self.eval(node)? {
                Value::List(list) => list.iter().collect(),
                _ => no_overload(),
            },
        };
        self.charge(1)?;
        match (self.take(place)?, items?) {
            (Value::List(mut list), items) => {
                list.push(items)?;
                Ok(Value::List(list))
            }
            _ => no_overload(),
        }
    }

    fn insert(&mut self, place: usize, entry: &'p [Node; 2]) -> Outcome<Value<'a>> {
        self.charge(1)?;
        let key = self.eval(&entry[0])?;
        let value = self.eval(&entry[1])?;
        self.charge(1)?;
        match self.take(place)? {
            Value::Map(mut map) => {
                map.insert(&key, value)?;
                Ok(Value::Map(map))
            }
            _ => no_overload(),
        }
    }

    /// The accumulator, out of its place: what comes of it is put there next.
    fn take(&mut self, place: usize) -> Outcome<Value<'a>> {
        match self.places.get_mut(place) {
            Some(slot @ Place::Known(Ok(_))) => match std::mem::replace(slot, Place::Empty) {
                Place::Known(value) => value,
                _ => no_overload(),
            },
            _ => self.local(place),
        }
    }

    fn attr(&mut self, attr: &'p Attr) -> Outcome<Value<'a>> {
        let value = self.resolve(attr);
        if !matches!(attr.base, Base::Conditional(_)) {
            self.charge(1)?;
        }
        value
    }

    fn test(&mut self, attr: &'p Attr) -> Outcome<Value<'a>> {
        Ok(match self.resolve(attr)? {
            Value::Optional(value) => Value::Bool(value.is_some()),
            other => other,
        })
    }

    /// A branch of `? :`, or an index: what is asked for by name costs nothing of its own.
    fn branch(&mut self, node: &'p Node) -> Outcome<Value<'a>> {
        match node {
            Node::Attr(attr) | Node::Test(attr) => self.resolve(attr),
            node => self.operand(node),
        }
    }

    /// A value that is a way into itself costs as a name does.
    fn operand(&mut self, node: &'p Node) -> Outcome<Value<'a>> {
        self.eval(node)
    }

    fn resolve(&mut self, attr: &'p Attr) -> Outcome<Value<'a>> {
        let value = match &attr.base {
            Base::Global(at) => match self.vars.get(*at) {
                Some(value) => value.clone(),
                None => return fail("no such attribute(s)"),
            },
            Base::Local(at) => self.local(*at)?,
            Base::Node(node) => self.operand(node)?,
            Base::Conditional(three) => match self.eval(&three[0])? {
                Value::Bool(true) => self.branch(&three[1])?,
                Value::Bool(false) => self.branch(&three[2])?,
                _ => return no_overload(),
            },
        };
        if attr.path.is_empty() {
            Ok(value)
        } else {
            self.walk(value, &attr.path)
        }
    }

    fn walk(&mut self, value: Value<'a>, path: &'p [Step]) -> Outcome<Value<'a>> {
        let (mut value, mut optional) = match value {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            other => (other, false),
        };
        for step in path {
            optional |= step.optional;
            let (key, test) = match &step.key {
                StepKey::Const(key) => (key.clone(), false),
                StepKey::Test(key) => (key.clone(), true),
                StepKey::Node(node) => match self.branch(node).and_then(usable_key) {
                    Ok(key) => (key, false),
                    Err(error) => {
                        if !optional && error != EvalError::CostExceeded {
                            self.charge(1)?;
                        }
                        return Err(error);
                    }
                },
            };
            let found = lookup(&value, &key, optional || test);
            if test && !optional {
                self.charge(1)?;
                value = Value::Bool(found?.is_some());
                continue;
            }
            match found {
                Ok(Some(inner)) => {
                    self.charge(1)?;
                    value = if test { Value::Null } else { inner };
                }
                Ok(None) => return Ok(Value::Optional(None)),
                Err(error) => {
                    if !optional {
                        self.charge(1)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(if optional {
            Value::optional(Some(value))
        } else {
            value
        })
    }
}

/// What can be looked up: strings, numbers and bools.
pub(crate) fn usable_key(key: Value<'_>) -> Outcome<Value<'_>> {
    match key {
        Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Bool(_) => Ok(key),
        other => fail(format!("invalid qualifier type: {}", other.go_name())),
    }
}

/// `value[key]`. When `presence` is asked for, what is not there is `None`, else an error.
fn lookup<'a>(value: &Value<'a>, key: &Value<'a>, presence: bool) -> Outcome<Option<Value<'a>>> {
    match value {
        Value::Map(map) => match map.find(key)? {
            Some(found) => Ok(Some(found)),
            None if presence => Ok(None),
            None => fail(format!("no such key: {key}")),
        },
        Value::List(list) => {
            let at = index(key)?;
            match usize::try_from(at).ok().filter(|at| *at < list.len()) {
                Some(at) => list.get(at).map(Some),
                None if presence => Ok(None),
                None => fail(format!("index out of bounds: {key}")),
            }
        }
        Value::Struct(object) => match (key.as_str().and_then(|name| object.field(name)), presence) {
            (Some(found), _) => Ok(Some(found.clone())),
            (None, true) => Ok(None),
            (None, false) => crate::patch::missing(object, key).map(Some),
        },
        _ if presence => Ok(None),
        _ => fail(format!("no such key: {key}")),
    }
}

fn index(key: &Value<'_>) -> Outcome<i64> {
    let unusable = || fail(format!("unsupported index value {key} in list"));
    match key {
        Value::Int(at) => Ok(*at),
        Value::Uint(at) => i64::try_from(*at).map_or_else(|_| unusable(), Ok),
        Value::Double(at) if at.fract() == 0.0 && at.abs() < 9.2e18 => Ok(*at as i64),
        Value::Double(_) => unusable(),
        other => fail(format!(
            "unsupported index type '{}' in list",
            other.kind().runtime_name()
        )),
    }
}

const _: () = assert!(FRAME == 3);
