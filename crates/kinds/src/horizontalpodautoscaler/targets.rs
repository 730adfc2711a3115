//! The column TARGETS: of each metric what is measured and what is wanted.

use crate::json::{get, has, int, quantity_text, some, string};
use serde_json::Value;

/// So many metrics are shown.
const SHOWN_MAX: usize = 2;

pub(super) fn text(metrics: &[Value], current: &[Value]) -> String {
    if metrics.is_empty() {
        return "<none>".to_string();
    }
    let one = |(i, metric)| one(metric, current.get(i).unwrap_or(&Value::Null));
    let shown: Vec<String> = metrics.iter().enumerate().take(SHOWN_MAX).map(one).collect();
    let shown = shown.join(", ");
    match metrics.len().checked_sub(SHOWN_MAX) {
        Some(more) if more > 0 => format!("{shown} + {more} more..."),
        _ => shown,
    }
}

fn one(metric: &Value, current: &Value) -> String {
    let field = match string(metric, "type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_string(),
    };
    let (source, measured) = (get(metric, field), get(current, field));
    let (target, measured) = (get(source, "target"), get(measured, "current"));
    let by_average = has(target, "averageValue");
    let amount = |holder: &Value, field: &str| some(holder, field).map(quantity_text);
    let unknown = || "<unknown>".to_string();
    if matches!(field, "resource" | "containerResource") {
        let name = string(source, "name");
        let percent = |holder: &Value| int(holder, "averageUtilization").map(|n| format!("{n}%"));
        return match amount(target, "averageValue") {
            Some(wanted) => {
                let now = amount(measured, "averageValue").unwrap_or_else(unknown);
                format!("{name}: {now}/{wanted}")
            }
            None => {
                let now = percent(measured).unwrap_or_else(unknown);
                let wanted = percent(target).unwrap_or("<auto>".into());
                format!("{name}: {now}/{wanted}")
            }
        };
    }
    let value = if by_average || field == "pods" {
        "averageValue"
    } else {
        "value"
    };
    let now = amount(measured, value).unwrap_or_else(unknown);
    let wanted = amount(target, value).unwrap_or_default();
    match by_average && field != "pods" {
        true => format!("{now}/{wanted} (avg)"),
        false => format!("{now}/{wanted}"),
    }
}
