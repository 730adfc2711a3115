//! What `autoscaling/v1` cannot say stands in annotations of its objects, as JSON of its own kind. Here they are written and
//! read. Source: the conversion of upstream's autoscaling/v1.

use super::{moved, reference};
use crate::internal;
use crate::json::{get, has, list, put, quantity_text, some, string, take};
use crate::row::annotation;
use meta::field::Shown;
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const ALL: [&str; 6] = [
    METRICS,
    BEHAVIOR,
    CURRENT_METRICS,
    CONDITIONS,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// Sources of metrics: the member, and the order of its fields. `!` stands before a quantity that is always there.
const SPEC: [(&str, &[&str]); 5] = [
    (
        "object",
        &["target", "metricName", "!targetValue", "selector", "averageValue"],
    ),
    ("pods", &["metricName", "!targetAverageValue", "selector"]),
    (
        "resource",
        &["name", "targetAverageUtilization", "targetAverageValue"],
    ),
    (
        "containerResource",
        &[
            "name",
            "targetAverageUtilization",
            "targetAverageValue",
            "container",
        ],
    ),
    (
        "external",
        &[
            "metricName",
            "metricSelector",
            "targetValue",
            "targetAverageValue",
        ],
    ),
];
const STATUS: [(&str, &[&str]); 5] = [
    (
        "object",
        &[
            "target",
            "metricName",
            "!currentValue",
            "selector",
            "averageValue",
        ],
    ),
    ("pods", &["metricName", "!currentAverageValue", "selector"]),
    (
        "resource",
        &["name", "currentAverageUtilization", "!currentAverageValue"],
    ),
    (
        "containerResource",
        &[
            "name",
            "currentAverageUtilization",
            "!currentAverageValue",
            "container",
        ],
    ),
    (
        "external",
        &[
            "metricName",
            "metricSelector",
            "!currentValue",
            "currentAverageValue",
        ],
    ),
];

/// What is told of a metric: what is wanted, or what is measured.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Wanted,
    Measured,
}

impl Told {
    /// The member that holds the amounts, and what the older version's names begin with.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Wanted => ("target", "target"),
            Self::Measured => ("current", "current"),
        }
    }
}

pub(super) fn forget(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata") else {
        return;
    };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    let before = annotations.len();
    annotations.retain(|name, _| !ALL.contains(&name.as_str()));
    if annotations.is_empty() && before > 0 {
        take(metadata, "annotations");
    }
}

/// Writes down what the older version has no fields for; `metrics` are those that it cannot say.
pub(super) fn write(
    object: &mut Value,
    metrics: &[Value],
    behavior: &Value,
    current: &[Value],
    conditions: &[Value],
) {
    let texts = |items: &[Value], told| {
        let items = items
            .iter()
            .map(|metric| Shown(metric_text(&old_metric(metric, told), told)));
        Shown::list(items).0
    };
    let mut put_text = |name: &str, text: String| {
        let metadata = crate::json::ensure_object(object, "metadata");
        if let Some(annotations) = metadata.and_then(|m| crate::json::ensure_object(m, "annotations")) {
            put(annotations, name, text);
        }
    };
    if !metrics.is_empty() {
        put_text(METRICS, texts(metrics, Told::Wanted));
    }
    if !current.is_empty() {
        put_text(CURRENT_METRICS, texts(current, Told::Measured));
    }
    if !behavior.is_null() {
        put_text(
            BEHAVIOR,
            internal::shown("HorizontalPodAutoscalerBehavior", behavior).0,
        );
    }
    if !conditions.is_empty() {
        const FIELDS: [&str; 5] = ["type", "status", "lastTransitionTime", "reason", "message"];
        let one = |c: &Value| Shown::members(FIELDS.map(|f| (f, some(c, f).cloned())));
        put_text(CONDITIONS, Shown::list(conditions.iter().map(one)).0);
    }
}

/// What stands in the annotations. A text that is none of its kind counts as absent.
#[derive(Default)]
pub(super) struct Read {
    pub metrics: Vec<Value>,
    pub behavior: Option<Value>,
    pub current: Option<Vec<Value>>,
    pub conditions: Option<Vec<Value>>,
}

pub(super) fn read(object: &Value) -> Read {
    let parsed = |name: &str| serde_json::from_str::<Value>(annotation(object, name)?).ok();
    let objects = |name: &str| match parsed(name)? {
        Value::Array(items) if items.iter().all(Value::is_object) => Some(items),
        _ => None,
    };
    let metrics = |name: &str, told| {
        let items = objects(name)?.into_iter().map(|metric| new_metric(metric, told));
        Some(items.collect::<Vec<Value>>())
    };
    Read {
        metrics: metrics(METRICS, Told::Wanted).unwrap_or_default(),
        behavior: parsed(BEHAVIOR)
            .map(|v| small_names(&v))
            .filter(|v| has(v, "scaleUp") || has(v, "scaleDown")),
        current: metrics(CURRENT_METRICS, Told::Measured),
        conditions: objects(CONDITIONS),
    }
}

/// Names of upstream's internal version as the API has them.
fn small_names(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| {
                let mut chars = name.chars();
                let first = chars.next().map(|c| c.to_ascii_lowercase());
                (first.into_iter().chain(chars).collect(), small_names(v))
            });
            Value::Object(members.collect::<Map<String, Value>>())
        }
        Value::Array(items) => items.iter().map(small_names).collect(),
        plain => plain.clone(),
    }
}

/// A metric in the older version's form.
fn old_metric(metric: &Value, told: Told) -> Value {
    let mut out = json!({"type": string(metric, "type")});
    for (field, _) in SPEC {
        let Some(source) = some(metric, field) else {
            continue;
        };
        let (mut source, mut old) = (source.clone(), json!({}));
        let (holder, prefix) = told.names();
        let mut amounts = take(&mut source, holder).unwrap_or_default();
        let mut id = take(&mut source, "metric").unwrap_or_default();
        moved(&mut id, "name", &mut old, "metricName");
        let external = field == "external";
        moved(
            &mut id,
            "selector",
            &mut old,
            if external { "metricSelector" } else { "selector" },
        );
        if let Some(described) = take(&mut source, "describedObject") {
            put(&mut old, "target", reference(&described));
        }
        let average = match field {
            "object" => "averageValue".to_string(),
            _ => format!("{prefix}AverageValue"),
        };
        moved(&mut amounts, "averageValue", &mut old, &average);
        let is_valued = matches!(field, "object" | "external");
        if is_valued {
            moved(&mut amounts, "value", &mut old, &format!("{prefix}Value"));
        } else if field != "pods" {
            moved(
                &mut amounts,
                "averageUtilization",
                &mut old,
                &format!("{prefix}AverageUtilization"),
            );
        }
        for name in ["name", "container"] {
            moved(&mut source, name, &mut old, name);
        }
        put(&mut out, field, old);
    }
    out
}

/// … as the text that upstream's encoder makes of it.
fn metric_text(metric: &Value, told: Told) -> String {
    let sources = match told {
        Told::Wanted => SPEC,
        Told::Measured => STATUS,
    };
    let mut parts = vec![format!("\"type\":{}", get(metric, "type"))];
    for (name, fields) in sources {
        let Some(source) = some(metric, name) else {
            continue;
        };
        let members = fields.iter().filter_map(|field| {
            let (always, field) = match field.strip_prefix('!') {
                Some(field) => (true, field),
                None => (
                    matches!(*field, "metricName" | "name" | "container" | "target"),
                    *field,
                ),
            };
            let text = match (some(source, field), field) {
                (Some(target), "target") => {
                    let fields = ["kind", "name", "apiVersion"];
                    Shown::members(fields.map(|f| (f, some(target, f).cloned()))).0
                }
                (Some(selector), "selector" | "metricSelector") => crate::check::selector_shown(selector).0,
                (Some(value), _) => value.to_string(),
                (None, "target") => "{\"kind\":\"\",\"name\":\"\"}".into(),
                (None, "metricName" | "name" | "container") => "\"\"".into(),
                (None, _) if always => "\"0\"".into(),
                (None, _) => return None,
            };
            Some(format!("{}:{text}", Value::from(field)))
        });
        let members: Vec<String> = members.collect();
        parts.push(format!("\"{name}\":{{{}}}", members.join(",")));
    }
    format!("{{{}}}", parts.join(","))
}

/// A metric in the form of today.
fn new_metric(mut metric: Value, told: Told) -> Value {
    let mut out = json!({"type": string(&metric, "type")});
    for (field, _) in SPEC {
        let Some(mut old) = take(&mut metric, field).filter(Value::is_object) else {
            continue;
        };
        let (holder, prefix) = told.names();
        let (mut new, mut amounts) = (json!({}), json!({}));
        let average = match field {
            "object" => "averageValue".to_string(),
            _ => format!("{prefix}AverageValue"),
        };
        let value = format!("{prefix}Value");
        if told == Told::Wanted {
            put(&mut amounts, "type", target_type(field, &old, &average, &value));
        }
        // Zero is how the older version writes that there is no value.
        let is_zero = |v: &Value| meta::Quantity::parse(&quantity_text(v)).is_none_or(|q| q.is_zero());
        if field == "object"
            && told == Told::Wanted
            && has(&old, &average)
            && some(&old, &value).is_none_or(is_zero)
        {
            take(&mut old, &value);
        }
        let zero = match (told, field) {
            (Told::Wanted, "object") if !has(&old, &average) => Some(&value),
            (Told::Measured, "object" | "external") => Some(&value),
            (Told::Wanted, "pods") | (Told::Measured, _) => Some(&average),
            _ => None,
        };
        if let Some(name) = zero {
            crate::json::put_default(&mut old, name, "0");
        }
        moved(&mut old, &average, &mut amounts, "averageValue");
        moved(&mut old, &value, &mut amounts, "value");
        moved(
            &mut old,
            &format!("{prefix}AverageUtilization"),
            &mut amounts,
            "averageUtilization",
        );
        if let Some(target) = take(&mut old, "target") {
            put(&mut new, "describedObject", reference(&target));
        }
        for name in ["name", "container"] {
            moved(&mut old, name, &mut new, name);
        }
        if !matches!(field, "resource" | "containerResource") {
            let mut id = json!({"name": string(&old, "metricName")});
            for selector in ["selector", "metricSelector"] {
                moved(&mut old, selector, &mut id, "selector");
            }
            put(&mut new, "metric", id);
        }
        put(&mut new, holder, amounts);
        put(&mut out, field, new);
    }
    out
}

/// The older version does not say what kind of amount is meant: it follows from which one is there.
fn target_type(field: &str, old: &Value, average: &str, value: &str) -> &'static str {
    match field {
        "object" if !has(old, average) => "Value",
        "external" if has(old, value) => "Value",
        "resource" | "containerResource" if has(old, "targetAverageUtilization") => "Utilization",
        _ => "AverageValue",
    }
}

/// Members of a list that is there.
pub(super) fn or_none(holder: &Value, field: &str) -> Vec<Value> {
    list(holder, field).to_vec()
}
