//! What is checked of an expression beyond its types: literals of durations, timestamps and patterns, and that the
//! elements of a literal have one type. Source: cel-go `cel/validator.go`.

use crate::ast::{Expr, Id, Kind, Literal};
use crate::check::Checked;
use crate::source::{Errors, Location};
use crate::types::Type;
use crate::value::Value;
use std::collections::HashSet;

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
        template(checked, expr, at, errors);
    }
    let exempt = formatted(&nodes);
    let nodes_of = || nodes.iter().filter(|expr| !exempt.contains(&expr.id));
    for expr in nodes_of() {
        if let Kind::List { items, optional } = &expr.kind {
            let elements = items.iter().zip(optional.iter().copied());
            same_types(checked, elements, true, at, errors);
        }
    }
    for expr in nodes_of() {
        if let Kind::Map(entries) = &expr.kind {
            same_types(
                checked,
                entries.iter().map(|entry| (&entry.key, false)),
                false,
                at,
                errors,
            );
            same_types(
                checked,
                entries.iter().map(|entry| (&entry.value, entry.optional)),
                false,
                at,
                errors,
            );
        }
    }
}

/// What stands in the arguments of `format`, whose elements may have any types.
fn formatted(nodes: &[&Expr]) -> HashSet<Id> {
    let mut inside = HashSet::new();
    for expr in nodes {
        let Kind::Call { target, name, args } = &expr.kind else {
            continue;
        };
        if &**name == "format" {
            let mut stack: Vec<&Expr> = args.iter().chain(target.as_deref()).collect();
            while let Some(expr) = stack.pop() {
                // What a call inside has marked already need not be walked again.
                if inside.insert(expr.id) {
                    expr.children(&mut |child| stack.push(child));
                }
            }
        }
    }
    inside
}

/// Checks a constant template against the types of the values that it is given.
fn template(checked: &Checked, expr: &Expr, at: &dyn Fn(Id) -> Location, errors: &mut Errors) {
    let Kind::Call {
        target: Some(target),
        name,
        args,
    } = &expr.kind
    else {
        return;
    };
    let (
        Kind::Literal(Literal::String(text)),
        [
            Expr {
                kind: Kind::List { items, .. },
                ..
            },
        ],
    ) = (&target.kind, &args[..])
    else {
        return;
    };
    if &**name != "format" {
        return;
    }
    let mut rest = &**text;
    let mut used = 0;
    while let Some(start) = rest.find('%') {
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return errors.report(at(expr.id), "unexpected end of string");
        }
        let Some(item) = items.get(used) else {
            return errors.report(at(expr.id), format!("index {used} out of range"));
        };
        used += 1;
        let verb = match crate::print::clause(rest) {
            Ok((verb, _, after)) => {
                rest = after;
                verb
            }
            Err(error) => return errors.report(at(expr.id), error.to_string()),
        };
        if let Some((id, message)) = misfit(checked, verb, item) {
            return errors.report(at(id), format!("error during formatting: {message}"));
        }
    }
    if items.len() > used {
        let count = items.len();
        let message = format!("too many arguments supplied to string.format (expected {used}, got {count})");
        errors.report(at(expr.id), message);
    }
}

/// What is wrong with a value for a verb, and where.
fn misfit(checked: &Checked, verb: char, item: &Expr) -> Option<(Id, std::string::String)> {
    use Type::{Bool, Bytes, Double, Dyn, Int, Object, Opaque, String, Uint};
    let kind = checked.kind(item);
    if *kind == Dyn && verb != 's' {
        return None;
    }
    let (fits, words) = match verb {
        'd' => (
            matches!(kind, Int | Uint),
            "decimal clause can only be used on integers",
        ),
        'f' => (
            matches!(kind, Double | String),
            "fixed-point clause can only be used on doubles",
        ),
        'e' => (
            matches!(kind, Double | String),
            "scientific clause can only be used on doubles",
        ),
        'b' => (
            matches!(kind, Int | Uint | Bool),
            "only integers and bools can be formatted as binary",
        ),
        'o' => (
            matches!(kind, Int | Uint),
            "octal clause can only be used on integers",
        ),
        'x' | 'X' => {
            let fits = matches!(kind, Int | Uint | String | Bytes);
            (
                fits,
                "only integers, byte buffers, and strings can be formatted as hex",
            )
        }
        _ => {
            let mut stack = vec![item];
            while let Some(expr) = stack.pop() {
                let kind = checked.kind(expr);
                if matches!(kind, Object(_) | Opaque(..)) {
                    return Some((
                        expr.id,
                        format!(
                            "{}, was given {}",
                            crate::print::STRING_CLAUSE,
                            kind.runtime_name()
                        ),
                    ));
                }
                if matches!(expr.kind, Kind::List { .. } | Kind::Map(_)) {
                    expr.children(&mut |child| stack.push(child));
                }
            }
            return None;
        }
    };
    (!fits).then(|| (item.id, format!("{words}, was given {}", kind.runtime_name())))
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
    first_only: bool,
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
                if first_only {
                    return;
                }
            }
        }
    }
}
