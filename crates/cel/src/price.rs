//! What calls cost when they run. Source: cel-go `interpreter/runtimecost.go` and apiserver `cel/library/cost.go`.

use crate::value::{Outcome, Value};

pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const STRUCT: u64 = 40;
/// Of a character that is read once.
pub(crate) const CHARACTER: f64 = 0.1;
/// Of a character of a pattern.
pub(crate) const PATTERN: f64 = 0.25;

/// How the cost of a call follows from its arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Price {
    Fixed(u64),
    /// Times the size of the first argument.
    First(f64),
    /// Of the second one.
    Second,
    /// Of the smaller one of both.
    Smaller,
    /// Of both together.
    Both,
    /// A pattern against a text.
    Regex,
    /// One text in another one.
    Product,
    /// A walk through the first argument.
    Traversal,
    /// Of the result.
    Result(f64),
    /// A selector is read.
    Selector,
    Validate,
    /// An address in a network; whether the address is a text.
    ContainsIp(bool),
    ContainsCidr(bool),
    /// Two sets; how often each item is looked for.
    Sets(u64),
    /// A list of the result's size is made.
    ListResult,
    Flatten,
    /// Each item is compared with each; which argument holds them.
    SelfCompare(usize),
}

fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

impl Price {
    /// The price of a function, or of its overload where the name does not say it. `overload` is empty when several fit.
    pub fn of(name: &str, overload: &str) -> Self {
        Self::of_list(overload)
            .or_else(|| Self::of_name(name, overload))
            .unwrap_or_else(|| Self::of_overload(overload))
    }

    fn of_list(overload: &str) -> Option<Self> {
        Some(match overload {
            "list_sets_contains_list" | "list_sets_intersects_list" => Self::Sets(1),
            "list_sets_equivalent_list" => Self::Sets(2),
            "list_slice" | "lists_range" | "list_reverse" => Self::ListResult,
            "list_flatten" | "list_flatten_int" => Self::Flatten,
            "list_distinct" => Self::SelfCompare(0),
            _ if overload.ends_with("_sort") => Self::SelfCompare(0),
            _ if overload.ends_with("_sortByAssociatedKeys") => Self::SelfCompare(1),
            _ => return None,
        })
    }

    fn of_name(name: &str, overload: &str) -> Option<Self> {
        Some(match name {
            "check" => Self::Fixed(350_000),
            "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name"
            | "allowed" | "reason" | "error" | "errored" => Self::Fixed(1),
            "fieldSelector" | "labelSelector" => Self::Selector,
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => Self::Traversal,
            "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey" => {
                Self::First(CHARACTER)
            }
            "replace" | "split" | "ip.isCanonical" => Self::First(2.0 * CHARACTER),
            "join" => Self::Result(2.0 * CHARACTER),
            "find" | "findAll" => Self::Regex,
            "ip" if overload == "cidr_ip" => Self::Fixed(1),
            "cidr" | "isIP" | "isCIDR" | "ip" => Self::First(CHARACTER),
            "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast" => Self::Fixed(1),
            "containsIP" => Self::ContainsIp(overload == "cidr_contains_ip_string"),
            "containsCIDR" => Self::ContainsCidr(overload == "cidr_contains_cidr_string"),
            "quantity" | "isQuantity" | "semver" | "isSemver" => Self::First(CHARACTER),
            "validate" => Self::Validate,
            "format.named" | "sign" | "asInteger" | "isInteger" | "asApproximateFloat" | "isGreaterThan"
            | "isLessThan" | "compareTo" | "add" | "sub" | "major" | "minor" | "patch" | "getScheme"
            | "getHostname" | "getHost" | "getPort" | "getEscapedPath" | "getQuery" => Self::Fixed(1),
            _ => return None,
        })
    }

    fn of_overload(overload: &str) -> Self {
        match overload {
            "starts_with_string" | "ends_with_string" => Self::First(CHARACTER),
            "string_to_bytes" | "bytes_to_string" | "strings_quote" | "string_format" => {
                Self::First(CHARACTER)
            }
            "in_list" => Self::Second,
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes" => Self::Smaller,
            "add_string" | "add_bytes" => Self::Both,
            "matches_string" => Self::Regex,
            "contains_string" => Self::Product,
            _ => Self::Fixed(1),
        }
    }

    /// What a call cost with these arguments and, if it gave one, this result.
    pub fn cost(self, args: &[Value<'_>], result: Option<&Value<'_>>) -> Outcome<u64> {
        let size = |at: usize| args.get(at).map_or(1, Value::size);
        let result_size = || result.map_or(1, Value::size);
        Ok(match self {
            Self::Fixed(cost) => cost,
            Self::First(factor) => scaled(size(0), factor),
            Self::Second => size(1),
            Self::Smaller => scaled(size(0).min(size(1)), CHARACTER),
            Self::Both => scaled(size(0).saturating_add(size(1)), CHARACTER),
            Self::Regex => scaled(size(0) + 1, CHARACTER).saturating_mul(scaled(size(1), PATTERN)),
            Self::Product => scaled(size(0), CHARACTER).saturating_mul(scaled(size(1), CHARACTER)),
            Self::Traversal => match args.first() {
                Some(value) => value.traversal()?,
                None => 0,
            },
            Self::Result(factor) => scaled(result_size(), factor),
            Self::Selector => {
                LIST + scaled(size(1), CHARACTER) + scaled(scaled(size(1), 0.5), (LIST + STRUCT) as f64)
            }
            Self::Validate => match args.first() {
                Some(Value::Format(format)) => {
                    scaled(size(1) + 1, CHARACTER).saturating_mul(scaled(format.pattern_size, PATTERN))
                }
                _ => 1,
            },
            Self::ContainsIp(text) => {
                scaled(size(0) * 2, CHARACTER) + if text { scaled(size(1), CHARACTER) } else { 0 }
            }
            Self::ContainsCidr(text) => {
                let parse = if text { scaled(size(1), CHARACTER) } else { 0 };
                scaled(size(0) * 2, CHARACTER) + scaled(size(0), CHARACTER) + 1 + parse
            }
            Self::Sets(times) => 1 + size(0).saturating_mul(size(1)).saturating_mul(times),
            Self::ListResult => result_size().saturating_add(1 + LIST),
            Self::Flatten => {
                let depth = match args.get(1) {
                    Some(Value::Int(depth)) => *depth,
                    _ => 1,
                };
                // A negative depth is an error, whose cost wraps around.
                let items = i128::from(size(0)) * i128::from(depth);
                (items.min(i128::from(u64::MAX)) as u64).wrapping_add(1 + LIST)
            }
            Self::SelfCompare(at) => self_compare(args.get(at))?,
        })
    }
}

fn self_compare(list: Option<&Value<'_>>) -> Outcome<u64> {
    let Some(Value::List(list)) = list else {
        return Ok(1 + LIST);
    };
    if list.is_empty() {
        return Ok(1 + LIST);
    }
    let texts = matches!(list.get(0)?, Value::String(_) | Value::Bytes(_));
    let factor = if texts { 2.0 + CHARACTER } else { 2.0 };
    let size = list.len() as u64;
    Ok(((size.saturating_mul(size)) as f64 * factor) as u64 + 1 + LIST)
}

/// What `==` and `!=` cost.
pub(crate) fn equality(a: &Value<'_>, b: &Value<'_>, negated: bool) -> u64 {
    let by_reference = matches!(
        a,
        Value::Quantity(_)
            | Value::Ip(_)
            | Value::Cidr(_)
            | Value::Format(_)
            | Value::Url(_)
            | Value::Semver(_)
            | Value::Authz(_)
    );
    if by_reference && !negated {
        1
    } else {
        scaled(a.size().min(b.size()), CHARACTER)
    }
}
