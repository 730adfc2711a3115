//! Macros: calls that are rewritten while an expression is read (`has`, `all`, `map`, `cel.bind`, `optMap`, …).

use crate::ast::{ACCU, Entry, Expr, Field, Fold, Id, Kind, Literal, OLD_ACCU, UNUSED, op};
use crate::parser::{Parser, Read};
use std::sync::Arc;

/// What a macro says when its arguments do not fit: the node where, and the words.
struct Misuse(Id, String);

/// The list that `sortBy` sorts.
const SORT_INPUT: &str = "@__sortBy_input__";

type Expanded = Result<Kind, Misuse>;

impl Parser<'_> {
    /// A call, or what it stands for when it is a macro.
    pub fn call_or_macro(
        &mut self,
        offset: usize,
        name: Arc<str>,
        target: Option<Expr>,
        args: Vec<Expr>,
    ) -> Read<Expr> {
        let is_macro = match &target {
            None => &*name == "has" && args.len() == 1,
            Some(target) => match (&*name, args.len()) {
                ("all" | "exists" | "exists_one" | "map", 2 | 3)
                | ("existsOne", 3)
                | ("filter" | "sortBy", 2) => true,
                ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => true,
                ("optMap" | "optFlatMap", 2) => true,
                ("bind", 3) => self.bindings && matches!(&target.kind, Kind::Ident(name) if &**name == "cel"),
                _ => false,
            },
        };
        let id = self.id(offset)?;
        if !is_macro {
            return Ok(Expr {
                id,
                kind: Kind::Call {
                    target: target.map(Box::new),
                    name,
                    args,
                },
            });
        }
        let mut maker = Maker { parser: self, offset };
        let expanded = match target {
            None => maker.has(args),
            Some(target) => maker.on_target(&name, target, args)?,
        };
        match expanded {
            Ok(kind) => Ok(Expr { id, kind }),
            Err(Misuse(at, message)) => {
                let location = self.source.location(self.positions[at as usize] as usize);
                self.errors.report(location, message);
                Ok(Expr { id, kind: Kind::Bad })
            }
        }
    }
}

/// Makes nodes that stand where the macro stands.
struct Maker<'p, 's> {
    parser: &'p mut Parser<'s>,
    offset: usize,
}

impl Maker<'_, '_> {
    fn node(&mut self, kind: Kind) -> Read<Expr> {
        Ok(Expr {
            id: self.parser.id(self.offset)?,
            kind,
        })
    }

    fn literal(&mut self, literal: Literal) -> Read<Expr> {
        self.node(Kind::Literal(literal))
    }

    fn ident(&mut self, name: &str) -> Read<Expr> {
        self.node(Kind::Ident(name.into()))
    }

    fn accu(&mut self) -> Read<Expr> {
        self.ident(ACCU)
    }

    fn call(&mut self, name: &str, args: Vec<Expr>) -> Read<Expr> {
        self.node(Kind::Call {
            target: None,
            name: name.into(),
            args,
        })
    }

    fn list(&mut self, items: Vec<Expr>) -> Read<Expr> {
        let optional = vec![false; items.len()];
        self.node(Kind::List { items, optional })
    }

    fn has(&mut self, args: Vec<Expr>) -> Expanded {
        match args.into_iter().next().map(|arg| (arg.id, arg.kind)) {
            Some((
                _,
                Kind::Select {
                    operand,
                    field,
                    test: false,
                },
            )) => Ok(Kind::Select {
                operand,
                field,
                test: true,
            }),
            Some((id, _)) => Err(Misuse(id, "invalid argument to has() macro".to_string())),
            None => Err(Misuse(0, "invalid argument to has() macro".to_string())),
        }
    }

    fn on_target(&mut self, name: &str, target: Expr, args: Vec<Expr>) -> Read<Expanded> {
        if matches!(name, "bind" | "optMap" | "optFlatMap") {
            return self.binding(name, target, args);
        }
        if name == "sortBy" {
            return self.sort_by(target, args);
        }
        let transform = name.starts_with("transform");
        let two = transform || args.len() == 3 && name != "map";
        let not_a_name = if matches!(name, "map" | "filter") {
            "argument is not an identifier"
        } else {
            "argument must be a simple name"
        };
        let vars = match variables(&args, if two { 2 } else { 1 }, not_a_name) {
            Ok(vars) => vars,
            Err(misuse) => return Ok(Err(misuse)),
        };
        let first = args[0].clone();
        let mut args = args.into_iter().skip(vars.len());
        let (Some(one), more) = (args.next(), args.next()) else {
            return Ok(Err(Misuse(first.id, not_a_name.to_string())));
        };
        let (init, condition, step, result) = match name {
            "all" | "exists" => self.quantifier(name == "all", one)?,
            "exists_one" | "existsOne" => self.exactly_one(one)?,
            "filter" => {
                let item = self.list(vec![first])?;
                self.collect(Some(one), item)?
            }
            "map" | "transformList" => {
                let (filter, item) = match more {
                    Some(item) => (Some(one), item),
                    None => (None, one),
                };
                let item = self.list(vec![item])?;
                self.collect(filter, item)?
            }
            _ => {
                let (filter, value) = match more {
                    Some(value) => (Some(one), value),
                    None => (None, one),
                };
                self.insert((name == "transformMap").then(|| vars[0].clone()), filter, value)?
            }
        };
        let mut vars = vars.into_iter();
        let var = vars.next().unwrap_or_else(|| UNUSED.into());
        let fold = Fold {
            range: target,
            var,
            var2: vars.next(),
            accu: ACCU.into(),
            init,
            condition,
            step,
            result,
        };
        Ok(Ok(Kind::Fold(Box::new(fold))))
    }

    fn quantifier(&mut self, all: bool, predicate: Expr) -> Read<(Expr, Expr, Expr, Expr)> {
        let init = self.literal(Literal::Bool(all))?;
        let accu = self.accu()?;
        let goes_on = if all {
            accu
        } else {
            self.call(op::NOT, vec![accu])?
        };
        let condition = self.call(op::NOT_STRICTLY_FALSE, vec![goes_on])?;
        let accu = self.accu()?;
        let step = self.call(if all { op::AND } else { op::OR }, vec![accu, predicate])?;
        Ok((init, condition, step, self.accu()?))
    }

    fn exactly_one(&mut self, predicate: Expr) -> Read<(Expr, Expr, Expr, Expr)> {
        let init = self.literal(Literal::Int(0))?;
        let condition = self.literal(Literal::Bool(true))?;
        let (accu, one) = (self.accu()?, self.literal(Literal::Int(1))?);
        let more = self.call(op::ADD, vec![accu, one])?;
        let same = self.accu()?;
        let step = self.call(op::CONDITIONAL, vec![predicate, more, same])?;
        let (accu, one) = (self.accu()?, self.literal(Literal::Int(1))?);
        Ok((init, condition, step, self.call(op::EQUALS, vec![accu, one])?))
    }

    /// A list that grows by `item`, which is a list of one, where `filter` holds.
    fn collect(&mut self, filter: Option<Expr>, item: Expr) -> Read<(Expr, Expr, Expr, Expr)> {
        let init = self.list(Vec::new())?;
        let accu = self.accu()?;
        let step = self.call(op::ADD, vec![accu, item])?;
        self.growing(init, filter, step)
    }

    /// A map that grows by one entry, or by the entries of another map.
    fn insert(
        &mut self,
        key: Option<Arc<str>>,
        filter: Option<Expr>,
        value: Expr,
    ) -> Read<(Expr, Expr, Expr, Expr)> {
        let init = self.node(Kind::Map(Vec::new()))?;
        let mut args = vec![self.accu()?];
        if let Some(key) = key {
            args.push(self.ident(&key)?);
        }
        args.push(value);
        let step = self.call(op::MAP_INSERT, args)?;
        self.growing(init, filter, step)
    }

    fn growing(&mut self, init: Expr, filter: Option<Expr>, step: Expr) -> Read<(Expr, Expr, Expr, Expr)> {
        let condition = self.literal(Literal::Bool(true))?;
        let step = match filter {
            Some(filter) => {
                let same = self.accu()?;
                self.call(op::CONDITIONAL, vec![filter, step, same])?
            }
            None => step,
        };
        Ok((init, condition, step, self.accu()?))
    }

    fn binding(&mut self, name: &str, target: Expr, args: Vec<Expr>) -> Read<Expanded> {
        let mut args = args.into_iter();
        let (Some(var), Some(second)) = (args.next(), args.next()) else {
            return Ok(Err(Misuse(
                target.id,
                "argument must be a simple name".to_string(),
            )));
        };
        let Kind::Ident(var_name) = var.kind else {
            let message = match name {
                "bind" => "cel.bind() variable names must be simple identifiers".to_string(),
                _ => format!("{name}() variable name must be a simple identifier"),
            };
            return Ok(Err(Misuse(var.id, message)));
        };
        if let Some(result) = args.next() {
            return self.bind(var_name, second, result).map(Ok);
        }
        let copy = self.copy(&target)?;
        let has = self.method("hasValue", target)?;
        let value = self.method("value", copy)?;
        let kind = self.bind(var_name, value, second)?;
        let mut found = self.node(kind)?;
        if name == "optMap" {
            found = self.call("optional.of", vec![found])?;
        }
        let none = self.call("optional.none", Vec::new())?;
        Ok(Ok(Kind::Call {
            target: None,
            name: op::CONDITIONAL.into(),
            args: vec![has, found, none],
        }))
    }

    /// `list.sortBy(x, key)`: the list is bound to a name, its keys are a fold over it.
    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Read<Expanded> {
        if matches!(
            target.kind,
            Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. } | Kind::Bad
        ) {
            let message =
                "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return Ok(Err(Misuse(target.id, message.to_string())));
        }
        let input = self.ident(SORT_INPUT)?;
        let keys = match self.on_target("map", input, args)? {
            Ok(kind) => self.node(kind)?,
            Err(misuse) => return Ok(Err(misuse)),
        };
        let input = self.ident(SORT_INPUT)?;
        let name = "@sortByAssociatedKeys".into();
        let sorted = self.node(Kind::Call {
            target: Some(Box::new(input)),
            name,
            args: vec![keys],
        })?;
        self.bind(SORT_INPUT.into(), target, sorted).map(Ok)
    }

    fn method(&mut self, name: &str, target: Expr) -> Read<Expr> {
        self.node(Kind::Call {
            target: Some(Box::new(target)),
            name: name.into(),
            args: Vec::new(),
        })
    }

    /// A fold that never runs: its accumulator is the variable.
    fn bind(&mut self, name: Arc<str>, init: Expr, result: Expr) -> Read<Kind> {
        let range = self.list(Vec::new())?;
        let condition = self.literal(Literal::Bool(false))?;
        let step = self.ident(&name)?;
        let var = UNUSED.into();
        Ok(Kind::Fold(Box::new(Fold {
            range,
            var,
            var2: None,
            accu: name,
            init,
            condition,
            step,
            result,
        })))
    }

    /// The same expression with ids of its own.
    fn copy(&mut self, expr: &Expr) -> Read<Expr> {
        let offset = self.parser.positions[expr.id as usize] as usize;
        let id = self.parser.id(offset)?;
        let kind = match &expr.kind {
            Kind::Bad | Kind::Literal(_) | Kind::Ident(_) => expr.kind.clone(),
            Kind::Select { operand, field, test } => Kind::Select {
                operand: Box::new(self.copy(operand)?),
                field: field.clone(),
                test: *test,
            },
            Kind::Call { target, name, args } => {
                let target = match target {
                    Some(target) => Some(Box::new(self.copy(target)?)),
                    None => None,
                };
                Kind::Call {
                    target,
                    name: name.clone(),
                    args: self.copies(args)?,
                }
            }
            Kind::List { items, optional } => Kind::List {
                items: self.copies(items)?,
                optional: optional.clone(),
            },
            Kind::Map(entries) => {
                let mut copies = Vec::with_capacity(entries.len());
                for Entry { key, value, optional } in entries {
                    copies.push(Entry {
                        key: self.copy(key)?,
                        value: self.copy(value)?,
                        optional: *optional,
                    });
                }
                Kind::Map(copies)
            }
            Kind::Struct { name, fields } => {
                let fields = fields
                    .iter()
                    .map(|field| self.copy_field(field))
                    .collect::<Read<_>>()?;
                Kind::Struct {
                    name: name.clone(),
                    fields,
                }
            }
            Kind::Fold(fold) => Kind::Fold(Box::new(Fold {
                range: self.copy(&fold.range)?,
                var: fold.var.clone(),
                var2: fold.var2.clone(),
                accu: fold.accu.clone(),
                init: self.copy(&fold.init)?,
                condition: self.copy(&fold.condition)?,
                step: self.copy(&fold.step)?,
                result: self.copy(&fold.result)?,
            })),
        };
        Ok(Expr { id, kind })
    }

    fn copy_field(&mut self, field: &Field) -> Read<Field> {
        let offset = self.parser.positions[field.id as usize] as usize;
        let (id, value) = (self.parser.id(offset)?, self.copy(&field.value)?);
        Ok(Field {
            id,
            value,
            ..field.clone()
        })
    }

    fn copies(&mut self, exprs: &[Expr]) -> Read<Vec<Expr>> {
        exprs.iter().map(|expr| self.copy(expr)).collect()
    }
}

/// The names of a fold's variables: its first `count` arguments.
fn variables(args: &[Expr], count: usize, not_a_name: &str) -> Result<Vec<Arc<str>>, Misuse> {
    let mut names: Vec<Arc<str>> = Vec::with_capacity(count);
    for arg in &args[..count] {
        match &arg.kind {
            Kind::Ident(name) => names.push(name.clone()),
            _ => return Err(Misuse(arg.id, not_a_name.to_string())),
        }
    }
    if count == 2 && names[0] == names[1] {
        return Err(Misuse(
            args[1].id,
            format!("duplicate variable name: {}", names[0]),
        ));
    }
    match names
        .iter()
        .position(|name| &**name == OLD_ACCU || &**name == ACCU)
    {
        Some(at) => Err(Misuse(
            args[at].id,
            "iteration variable overwrites accumulator variable".to_string(),
        )),
        None => Ok(names),
    }
}
