//! Node selectors: which nodes an affinity means, of a pod or of a volume. Source: `NodeSelector` of the API reference.

use crate::row::text;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a selector may look at.
pub struct Chosen<'a> {
    pub name: &'a str,
    pub labels: &'a BTreeMap<String, String>,
}

/// Whether one of the terms matches. Without a selector every node does.
pub fn selects(selector: Option<&Value>, node: &Chosen) -> bool {
    let terms = selector.and_then(|selector| selector.get("nodeSelectorTerms")?.as_array());
    terms.is_none_or(|terms| terms.iter().any(|term| matches_term(term, node)))
}

/// One term: all of its expressions hold. An empty term matches nothing, as upstream.
pub fn matches_term(term: &Value, node: &Chosen) -> bool {
    let list = |field: &str| {
        term.get(field)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let (labels, fields) = (list("matchExpressions"), list("matchFields"));
    if labels.is_empty() && fields.is_empty() {
        return false;
    }
    labels
        .iter()
        .all(|e| holds(e, node.labels.get(text(e, "/key")).map(String::as_str)))
        && fields
            .iter()
            .all(|e| holds(e, (text(e, "/key") == "metadata.name").then_some(node.name)))
}

fn holds(expression: &Value, value: Option<&str>) -> bool {
    let values = expression.get("values").and_then(Value::as_array);
    let listed = |v: &str| values.into_iter().flatten().any(|w| w.as_str() == Some(v));
    let number = |v: Option<&str>| v.and_then(|v| v.parse::<i64>().ok());
    let bound = || number(values.and_then(|v| v.first()).and_then(Value::as_str));
    match text(expression, "/operator") {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value).zip(bound()).is_some_and(|(v, b)| v > b),
        "Lt" => number(value).zip(bound()).is_some_and(|(v, b)| v < b),
        _ => false,
    }
}
