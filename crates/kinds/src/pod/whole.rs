//! Defaults of the resources of a whole pod. Source: KEP-2837.

use super::status::{Totals, containers};
use crate::json::{child_mut, ensure_object, get, has, list, members, put_default, quantity_text};
use meta::quantity::{Format, Quantity};
use serde_json::Value;

/// Where a pod asks for resources as a whole: huge pages are limited to what its containers are, and what is limited
/// is requested, as its containers do together or else as much as the limit.
pub(super) fn default(spec: &mut Value) {
    let given = |field: &str| members(get(spec, "resources"), field).next().is_some();
    if !given("limits") && !given("requests") {
        return;
    }
    for (name, limit) in containers(spec, "limits") {
        let of_pod = get(spec, "resources");
        if is_huge_page(&name) && !has(get(of_pod, "requests"), &name) {
            put_in(spec, "limits", &name, print(spec, "limits", &name, limit));
        }
    }
    let limits = get(get(spec, "resources"), "limits").clone();
    if limits.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let own: Totals = containers(spec, "requests");
    for (name, sum) in own.into_iter().filter(|(name, _)| is_native(name)) {
        put_in(spec, "requests", &name, print(spec, "requests", &name, sum));
    }
    for (name, limit) in limits.as_object().into_iter().flatten() {
        if is_native(name) || is_huge_page(name) {
            put_in(spec, "requests", name, quantity_text(limit));
        }
    }
}

fn is_native(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn put_in(spec: &mut Value, field: &str, name: &str, text: String) {
    let quantities = child_mut(spec, "resources").and_then(|r| ensure_object(r, field));
    if let Some(quantities) = quantities {
        put_default(quantities, name, text);
    }
}

/// A sum reads in the form of its first part.
fn print(spec: &Value, field: &str, name: &str, sum: Quantity) -> String {
    let all = list(spec, "containers")
        .iter()
        .chain(list(spec, "initContainers"));
    let quantities = all.map(|c| get(get(c, "resources"), field));
    let first = quantities.map(|q| get(q, name)).find(|q| !q.is_null());
    let format = first.and_then(|q| Quantity::parse_with_format(&quantity_text(q)));
    sum.print(format.map_or(Format::Decimal, |(_, format)| format))
}
