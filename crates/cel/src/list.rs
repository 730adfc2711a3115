//! Lists: views into JSON, lists that expressions make, and sums of lists, which are not copied together.

use crate::decl::{Decl, ListKind, Shape};
use crate::value::{Outcome, Value, fail};
use serde_json::Value as Json;
use std::sync::Arc;

/// A list.
#[derive(Clone, Debug)]
pub struct List<'a>(Form<'a>);

#[derive(Clone, Debug)]
enum Form<'a> {
    Json(&'a [Json], Option<&'a Decl>),
    Made(Arc<Vec<Value<'a>>>),
    Sum(Arc<Sum<'a>>),
}

#[derive(Debug)]
struct Sum<'a> {
    left: List<'a>,
    right: List<'a>,
    len: usize,
}

impl<'a> List<'a> {
    pub fn json(items: &'a [Json]) -> Self {
        Self(Form::Json(items, None))
    }

    /// A list of a declared type; `decl` is the list's.
    pub(crate) fn typed(items: &'a [Json], decl: &'a Decl) -> Self {
        Self(Form::Json(items, Some(decl)))
    }

    pub fn made(items: Vec<Value<'a>>) -> Self {
        Self(Form::Made(Arc::new(items)))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Json(items, _) => items.len(),
            Form::Made(items) => items.len(),
            Form::Sum(sum) => sum.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn go_name(&self) -> &'static str {
        match &self.0 {
            Form::Json(_, None) => "[]interface {}",
            Form::Json(_, Some(_)) => "*common.unstructuredList",
            Form::Made(_) => "*types.baseList",
            Form::Sum(_) => "*types.concatList",
        }
    }

    /// The item at `at`, which must be below `len`.
    pub fn get(&self, at: usize) -> Outcome<Value<'a>> {
        let mut list = self;
        let mut at = at;
        loop {
            match &list.0 {
                Form::Json(items, decl) => {
                    let Some(item) = items.get(at) else {
                        return fail(format!("index out of bounds: {at}"));
                    };
                    return match decl.map(|decl| &decl.shape) {
                        Some(Shape::List { items, .. }) => Value::typed(item, items),
                        _ => Ok(Value::dynamic(item)),
                    };
                }
                Form::Made(items) => {
                    return match items.get(at) {
                        Some(item) => Ok(item.clone()),
                        None => fail(format!("index out of bounds: {at}")),
                    };
                }
                Form::Sum(sum) => {
                    let left = sum.left.len();
                    if at < left {
                        list = &sum.left;
                    } else {
                        at -= left;
                        list = &sum.right;
                    }
                }
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Outcome<Value<'a>>> + '_ {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Both lists, one after the other; the second one's items replace or are merged into sets and maps of items.
    pub(crate) fn plus(&self, other: &List<'a>) -> Outcome<List<'a>> {
        if let Some(kind @ (ListKind::Set | ListKind::Map(_))) = self.list_kind() {
            return self.merged(kind, other);
        }
        if self.is_empty() && self.list_kind().is_none() {
            return Ok(other.clone());
        }
        if other.is_empty() {
            return Ok(self.clone());
        }
        let Some(len) = self.len().checked_add(other.len()) else {
            return fail("list is too long");
        };
        Ok(Self(Form::Sum(Arc::new(Sum {
            left: self.clone(),
            right: other.clone(),
            len,
        }))))
    }

    /// Appends in place where nobody else holds the list.
    pub(crate) fn push(&mut self, items: Vec<Value<'a>>) -> Outcome<()> {
        if let Form::Made(made) = &mut self.0 {
            Arc::make_mut(made).extend(items);
            return Ok(());
        }
        *self = self.plus(&List::made(items))?;
        Ok(())
    }

    fn list_kind(&self) -> Option<&'a ListKind> {
        match &self.0 {
            Form::Json(
                _,
                Some(Decl {
                    shape: Shape::List { list, .. },
                    ..
                }),
            ) => Some(list),
            _ => None,
        }
    }

    /// The sum of lists that are sets or maps: what both have keeps its place, a map's item is replaced.
    fn merged(&self, kind: &ListKind, other: &List<'a>) -> Outcome<List<'a>> {
        let mut items: Vec<Value<'a>> = self.iter().collect::<Outcome<_>>()?;
        for item in other.iter() {
            let item = item?;
            let mut place = None;
            for (at, mine) in items.iter().enumerate() {
                if same_item(kind, mine, &item)? {
                    place = Some(at);
                    break;
                }
            }
            match (place, kind) {
                (None, _) => items.push(item),
                (Some(at), ListKind::Map(_)) => items[at] = item,
                (Some(_), _) => {}
            }
        }
        Ok(List::made(items))
    }

    /// How the left side of a comparison wants it done.
    pub(crate) fn equal(&self, other: &Value<'a>) -> Outcome<bool> {
        let Value::List(right) = other else {
            let typed = matches!(self.0, Form::Json(_, Some(_)));
            return if typed {
                crate::value::no_overload()
            } else {
                Ok(false)
            };
        };
        if self.len() != right.len() {
            return Ok(false);
        }
        if let Some(kind @ (ListKind::Set | ListKind::Map(_))) = self.list_kind() {
            return self.same_items(kind, right);
        }
        for at in 0..self.len() {
            if !crate::compare::equal(&self.get(at)?, &right.get(at)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets and maps of items are equal in any order.
    fn same_items(&self, kind: &ListKind, other: &List<'a>) -> Outcome<bool> {
        for item in other.iter() {
            let item = item?;
            let mut found = false;
            for mine in self.iter() {
                let mine = mine?;
                if same_item(kind, &mine, &item)? {
                    found = crate::compare::equal(&mine, &item)?;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn contains(&self, wanted: &Value<'a>) -> Outcome<bool> {
        let mut error = None;
        for item in self.iter() {
            match item.and_then(|item| crate::compare::equal(&item, wanted)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(found) => error = error.or(Some(found)),
            }
        }
        error.map_or(Ok(false), Err)
    }
}

/// Whether two items of a set or map are the same one.
fn same_item(kind: &ListKind, a: &Value<'_>, b: &Value<'_>) -> Outcome<bool> {
    let ListKind::Map(keys) = kind else {
        return crate::compare::equal(a, b);
    };
    let (Value::Map(a), Value::Map(b)) = (a, b) else {
        return Ok(false);
    };
    for key in keys {
        let same = match (a.field(key)?, b.field(key)?) {
            (Some(a), Some(b)) => crate::compare::equal(&a, &b)?,
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}
