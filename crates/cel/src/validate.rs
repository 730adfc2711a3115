//! What is checked of an expression beyond its types: literals of durations, timestamps and patterns, and that the
//! elements of a literal have one type. Source: cel-go `cel/validator.go`.

use crate::ast::{Expr, Id, Kind, Literal};
use crate::check::Checked;
use crate::source::{Errors, Location};
use crate::types::Type;
use crate::value::Value;

pub(crate) fn validate(checked: &Checked, at: &dyn Fn(Id) -> Location, errors: &mut Errors) {
    let mut stack = vec![&checked.root];
    let mut nodes = Vec::new();
    while let Some(expr) = stack.pop() {
        nodes.push(expr);
        expr.children(&mut |child| stack.push(child));
    }
    for name in ["duration", "timestamp", "matches"] {
        for expr in &nodes {
            literal_argument(expr, name, at, errors);
        }
    }
    for expr in &nodes {
        if let Kind::List { items, optional } = &expr.kind {
            let elements = items.iter().zip(optional.iter().copied());
            same_types(checked, elements, at, errors);
        }
    }
    for expr in &nodes {
        if let Kind::Map(entries) = &expr.kind {
            same_types(
                checked,
                entries.iter().map(|entry| (&entry.key, false)),
                at,
                errors,
            );
            same_types(
                checked,
                entries.iter().map(|entry| (&entry.value, entry.optional)),
                at,
                errors,
            );
        }
    }
}

fn literal_argument(expr: &Expr, name: &str, at: &dyn Fn(Id) -> Location, errors: &mut Errors) {
    let Kind::Call {
        name: called, args, ..
    } = &expr.kind
    else {
        return;
    };
    let Some(Expr {
        id,
        kind: Kind::Literal(literal),
    }) = args.first().filter(|_| **called == *name)
    else {
        return;
    };
    let valid = match (name, literal) {
        ("matches", Literal::String(pattern)) => crate::pattern::compile(pattern).is_ok(),
        ("matches", _) => true,
        (_, Literal::String(text)) => crate::convert::convert(name, &Value::text(text.clone())).is_ok(),
        ("timestamp", Literal::Int(seconds)) => crate::convert::convert(name, &Value::Int(*seconds)).is_ok(),
        ("duration", Literal::Int(_)) => false,
        _ => true,
    };
    if !valid {
        errors.report(at(*id), format!("invalid {name} argument"));
    }
}

fn same_types<'e>(
    checked: &Checked,
    elements: impl Iterator<Item = (&'e Expr, bool)>,
    at: &dyn Fn(Id) -> Location,
    errors: &mut Errors,
) {
    let mut first: Option<&Type> = None;
    for (expr, optional) in elements {
        let kind = checked.kind(expr);
        let kind = if optional {
            kind.unwrap_optional().unwrap_or(kind)
        } else {
            kind
        };
        match first {
            None => first = Some(kind),
            Some(first) if first == kind => {}
            Some(first) => {
                errors.report(at(expr.id), format!("expected type '{first}' but found '{kind}'"));
                return;
            }
        }
    }
}
