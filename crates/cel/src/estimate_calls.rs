//! What calls are estimated to cost. Source: apiserver `cel/library/cost.go`, cel-go `checker/cost.go` and its
//! extensions.

use crate::ast::Literal;
use crate::declare::{
    AUTHORIZER, DECISION, FORMAT, GROUP_CHECK, PATH_CHECK, QUANTITY, RESOURCE_CHECK, SEMVER, URL,
};
use crate::estimate::{Estimate, Estimator};
use crate::price::{CHARACTER, LIST, PATTERN, STRUCT};
use crate::types::Type;
use std::sync::Arc;

/// An argument of a call, as far as it is known.
pub(crate) struct Argument {
    pub path: Vec<Arc<str>>,
    pub kind: Type,
    pub size: Option<Estimate>,
    pub literal: Option<Literal>,
}

impl Argument {
    pub fn size_or_unknown(&self) -> Estimate {
        self.size.unwrap_or(Estimate::UNKNOWN)
    }

    fn int_or(&self, default: u64) -> u64 {
        match self.literal {
            Some(Literal::Int(value)) => u64::try_from(value).unwrap_or(0),
            _ => default,
        }
    }
}

type Cost = (Estimate, Option<Estimate>);

/// The longest name of a format's pattern that is assumed.
const MAX_FORMAT_PATTERN: f64 = 128.0;
const MAX_FORMAT: u64 = 64;

pub(crate) fn cost(
    estimator: &Estimator<'_>,
    name: &str,
    overload: &str,
    target: Option<&Argument>,
    args: &[Argument],
) -> Cost {
    of_list(estimator, overload, target, args)
        .or_else(|| of_kubernetes(estimator, name, overload, target, args))
        .unwrap_or_else(|| of_standard(overload, target, args))
}

/// The size of an argument, if only by its path.
fn size(estimator: &Estimator<'_>, arg: &Argument) -> Estimate {
    if let Some(size) = arg.size {
        return size;
    }
    if arg.path.is_empty() {
        return Estimate::UNKNOWN;
    }
    estimator
        .sizes
        .max_elements(&arg.path)
        .map_or(Estimate::UNKNOWN, |max| Estimate { min: 0, max })
}

fn made_list(factor: f64, size: Estimate) -> Cost {
    (size.scaled(factor).plus(Estimate::fixed(1 + LIST)), Some(size))
}

/// cel-go's lists and sets.
fn of_list(
    estimator: &Estimator<'_>,
    overload: &str,
    target: Option<&Argument>,
    args: &[Argument],
) -> Option<Cost> {
    let sets = |factor: f64| match args {
        [a, b] => {
            let product = size(estimator, a).times(size(estimator, b));
            Some((product.scaled(factor).plus(Estimate::ONE), None))
        }
        _ => None,
    };
    let compared = |arg: &Argument, texts: bool| {
        let size = size(estimator, arg);
        Some(made_list(
            if texts { 2.0 + CHARACTER } else { 2.0 },
            size.times(size),
        ))
    };
    let texts = overload.starts_with("list_string_") || overload.starts_with("list_bytes_");
    match (overload, target, args) {
        ("list_sets_contains_list" | "list_sets_intersects_list", _, _) => sets(1.0),
        ("list_sets_equivalent_list", _, _) => sets(2.0),
        ("list_slice", Some(list), [from, to]) => {
            let end = to.int_or(size(estimator, list).max);
            Some(made_list(1.0, Estimate::fixed(end.wrapping_sub(from.int_or(0)))))
        }
        ("lists_range", None, [count]) => Some(made_list(1.0, Estimate::fixed(count.int_or(u64::MAX)))),
        ("list_reverse", Some(list), []) => Some(made_list(1.0, size(estimator, list))),
        ("list_flatten", Some(list), []) => Some(made_list(1.0, size(estimator, list))),
        ("list_flatten_int", Some(list), [depth]) => {
            Some(made_list(depth.int_or(u64::MAX) as f64, size(estimator, list)))
        }
        ("list_distinct", Some(list), []) => compared(list, false),
        (_, Some(list), []) if overload.ends_with("_sort") => compared(list, texts),
        (_, Some(_), [keys]) if overload.ends_with("_sortByAssociatedKeys") => compared(keys, texts),
        _ => None,
    }
}

/// The item of a list, whose size may be known by the path.
fn item(list: &Argument) -> Option<Argument> {
    let kind = match &list.kind {
        Type::List(items) => (**items).clone(),
        Type::Map(keys, _) => (**keys).clone(),
        Type::Opaque(_, params) => params.first()?.clone(),
        _ => return None,
    };
    let mut path = list.path.clone();
    if !path.is_empty() {
        path.push("@items".into());
    }
    Some(Argument {
        path,
        kind,
        size: None,
        literal: None,
    })
}

/// Functions of Kubernetes and of strings, by name.
// LONG: a table with an arm a function; apart the arms would be harder to hold against upstream's.
fn of_kubernetes(
    estimator: &Estimator<'_>,
    name: &str,
    overload: &str,
    target: Option<&Argument>,
    args: &[Argument],
) -> Option<Cost> {
    let size = |arg: &Argument| size(estimator, arg);
    let only = |cost: Estimate| Some((cost, None));
    match name {
        "check" => only(Estimate::fixed(350_000)),
        "serviceAccount"
        | "path"
        | "group"
        | "resource"
        | "subresource"
        | "namespace"
        | "name"
        | "allowed"
        | "reason"
        | "error"
        | "errored"
        | "masked"
        | "prefixLength"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "format.named"
        | "sign"
        | "asInteger"
        | "isInteger"
        | "asApproximateFloat"
        | "isGreaterThan"
        | "isLessThan"
        | "compareTo"
        | "add"
        | "sub"
        | "major"
        | "minor"
        | "patch"
        | "getScheme"
        | "getHostname"
        | "getHost"
        | "getPort"
        | "getEscapedPath"
        | "getQuery" => only(Estimate::ONE),
        "fieldSelector" | "labelSelector" => {
            let length = size(args.first()?);
            let requirements = length.scaled(0.5).scaled((LIST + STRUCT) as f64);
            only(
                Estimate::fixed(LIST)
                    .plus(length.scaled(CHARACTER))
                    .plus(requirements),
            )
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let target = target?;
            let Some(item) = item(target) else {
                return only(size(target).scaled(CHARACTER));
            };
            let texts = matches!(item.kind, Type::String | Type::Bytes);
            let each = if texts {
                Estimate::ONE.plus(size(&item).scaled(CHARACTER))
            } else {
                Estimate::ONE
            };
            only(size(target).times(each))
        }
        "url" | "jsonpatch.escapeKey" => {
            let length = size(args.first()?);
            Some((length.scaled(CHARACTER), Some(length)))
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            let length = size(target?);
            Some((length.scaled(CHARACTER), Some(length)))
        }
        "replace" => match args {
            [old, new, ..] => Some(replace(size(target?), size(old), size(new))),
            _ => None,
        },
        "split" => {
            let length = size(target?);
            let max = match args.get(1).and_then(|limit| limit.literal.as_ref()) {
                Some(Literal::Int(limit)) => *limit as u64,
                _ => length.max,
            };
            Some((length.scaled(2.0 * CHARACTER), Some(Estimate { min: 0, max })))
        }
        "join" => {
            let list = target?;
            let count = size(list);
            let mut length = item(list).map_or(Estimate::ZERO, |item| count.times(size(&item)));
            if let Some(separator) = args.first() {
                let gaps = Estimate {
                    min: count.min.saturating_sub(1),
                    max: count.max.saturating_sub(1),
                };
                length = length.plus(size(separator).times(gaps));
            }
            Some((length.scaled(CHARACTER), Some(length)))
        }
        "find" | "findAll" => {
            let length = size(target?);
            let pattern = size(args.first()?).scaled(PATTERN);
            let cost = length.plus(Estimate::ONE).scaled(CHARACTER).times(pattern);
            Some((
                cost,
                Some(Estimate {
                    min: 0,
                    max: length.max,
                }),
            ))
        }
        "ip" if overload == "cidr_ip" => only(Estimate::ONE),
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            only(size(args.first()?).scaled(CHARACTER))
        }
        "ip.isCanonical" => only(size(args.first()?).scaled(2.0 * CHARACTER)),
        "containsIP" | "containsCIDR" => {
            let address = Estimate { min: 4, max: 16 };
            let mut cost = address.plus(address).scaled(CHARACTER);
            if name == "containsCIDR" {
                cost = cost.plus(address.scaled(CHARACTER)).plus(Estimate::ONE);
            }
            if matches!(overload, "cidr_contains_ip_string" | "cidr_contains_cidr_string") {
                cost = cost.plus(size(args.first()?).scaled(CHARACTER));
            }
            only(cost)
        }
        "validate" => only(
            size(args.first()?)
                .scaled(CHARACTER)
                .scaled(MAX_FORMAT_PATTERN * PATTERN),
        ),
        "_==_" => equality(args),
        _ => None,
    }
}

fn replace(length: Estimate, old: Estimate, new: Estimate) -> Cost {
    let (mut count, mut kept) = (Estimate::ZERO, Estimate::ZERO);
    if old.min == 0 {
        count.max = length.max.saturating_add(1);
        kept.max = length.max;
    } else if new.max <= old.min {
        kept.max = length.max;
    } else {
        count.max = (length.max as f64 / old.min as f64).ceil() as u64;
    }
    if old.max == 0 {
        count.min = length.min.saturating_add(1);
        kept.min = length.min;
    } else if old.max <= new.min {
        kept.min = length.min;
    } else {
        count.min = (length.min as f64 / old.max as f64).ceil() as u64;
    }
    (length.scaled(2.0 * CHARACTER), Some(count.times(new).plus(kept)))
}

/// Equality of Kubernetes' types.
fn equality(args: &[Argument]) -> Option<Cost> {
    let [a, b] = args else {
        return None;
    };
    if a.kind != b.kind {
        return None;
    }
    match &a.kind {
        Type::Opaque(name, _) if matches!(&**name, "net.IP" | "net.CIDR") => Some((Estimate::ONE, None)),
        Type::Object(name) => match &**name {
            QUANTITY | AUTHORIZER | PATH_CHECK | GROUP_CHECK | RESOURCE_CHECK | DECISION | SEMVER => {
                Some((Estimate::ONE, None))
            }
            FORMAT => Some((
                Estimate {
                    min: 1,
                    max: MAX_FORMAT,
                }
                .scaled(CHARACTER),
                None,
            )),
            URL => {
                let max = b.size.map_or(1, |size| size.max);
                Some((Estimate { min: 1, max }.scaled(CHARACTER), None))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Functions of the standard library, by overload.
// LONG: a table with an arm a function.
fn of_standard(overload: &str, target: Option<&Argument>, args: &[Argument]) -> Cost {
    let length = |arg: &Argument| arg.size_or_unknown();
    match (overload, target, args) {
        ("string_format", Some(template), _) => (length(template).scaled(CHARACTER), None),
        ("string_to_bytes", _, [text]) => {
            let text = length(text);
            (
                text.scaled(CHARACTER),
                Some(Estimate {
                    min: text.min,
                    max: text.max.wrapping_mul(4),
                }),
            )
        }
        ("bytes_to_string", _, [bytes]) => {
            let bytes = length(bytes);
            (
                bytes.scaled(CHARACTER),
                Some(Estimate {
                    min: bytes.min / 4,
                    max: bytes.max,
                }),
            )
        }
        ("strings_quote", _, [text]) => {
            let text = length(text);
            let max = text.max.wrapping_mul(2).wrapping_add(2);
            (
                text.scaled(CHARACTER),
                Some(Estimate {
                    min: text.min + 2,
                    max,
                }),
            )
        }
        ("starts_with_string" | "ends_with_string", _, [part]) => (length(part).scaled(CHARACTER), None),
        ("in_list", _, [_, list]) => (length(list).scaled(1.0), None),
        ("matches_string", Some(text), [pattern]) => {
            let text = length(text).plus(Estimate::ONE).scaled(CHARACTER);
            (text.times(length(pattern).scaled(PATTERN)), None)
        }
        ("contains_string", Some(text), [part]) => (
            length(text)
                .scaled(CHARACTER)
                .times(length(part).scaled(CHARACTER)),
            None,
        ),
        (
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals",
            _,
            [a, b],
        ) => {
            let max = length(a).max.min(length(b).max);
            (
                Estimate {
                    min: u64::from(max > 0),
                    max,
                }
                .scaled(CHARACTER),
                None,
            )
        }
        _ => (Estimate::ONE, None),
    }
}
