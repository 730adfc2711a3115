//! LimitRange: what pods, containers and claims of a namespace may ask for, and what they get unasked.
//! Source: core/v1 API reference.

use crate::json::{
    ensure_object, get, has, items_mut, list, members, put, put_default, quantity_text, string,
};
use crate::row::text;
use crate::{Check, Column, Row, Rules, Write, check, pod};
use meta::{Errors, Path, Quantity, Res, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const LIMITRANGES: Res = Res::new("", "limitranges");

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];
/// Values from here on are not compared by their thousandths.
const MILLIS_MAX: i64 = i64::MAX / 1000;

pub fn row() -> Row {
    Row {
        res: LIMITRANGES,
        version: "v1",
        kind: "LimitRange",
        singular: "limitrange",
        short_names: &["limits"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.LimitRange",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Created At", "date").shows("meta.v1.ObjectMeta", "creationTimestamp"),
            ]
        },
        rules: Arc::new(LimitRange),
    }
}

struct LimitRange;

impl Rules for LimitRange {
    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        for limit in items_mut(spec, "limits") {
            default_limit(limit);
        }
    }

    fn prepare(&self, write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        // One without a name gets one that nobody else has.
        if write == Write::Create && text(object, "/metadata/name").is_empty() {
            let uid = get(get(object, "metadata"), "uid").clone();
            if let Some(metadata) = ensure_object(object, "metadata") {
                put(metadata, "name", uid);
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let limits = list(get(object, "spec"), "limits");
        let path = Path::new("spec").child("limits");
        for (i, limit) in limits.iter().enumerate() {
            let (kind, path) = (string(limit, "type"), path.index(i));
            kind_of_limit(kind, &path.child("type"), errors);
            if limits[..i].iter().any(|other| string(other, "type") == kind) {
                errors.duplicate(&path.child("type"), kind);
            }
            check_limit(limit, &path, errors);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object]
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            text(object, "/metadata/creationTimestamp").into(),
        ]
    }
}

fn default_limit(limit: &mut Value) {
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if let Some(amounts) = crate::json::child_mut(limit, field) {
            pod::defaults::canonical(amounts);
        }
    }
    if string(limit, "type") != "Container" {
        return;
    }
    // The default limit is the maximum, the default request is that limit, or else the minimum.
    for (from, to) in [
        ("max", "default"),
        ("default", "defaultRequest"),
        ("min", "defaultRequest"),
    ] {
        let given: Vec<(String, Value)> = members(limit, from)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if let Some(target) = ensure_object(limit, to) {
            for (name, amount) in given {
                put_default(target, &name, amount);
            }
        }
    }
    for field in ["default", "defaultRequest"] {
        if get(limit, field)
            .as_object()
            .is_some_and(|amounts| amounts.is_empty())
        {
            crate::json::take(limit, field);
        }
    }
}

fn kind_of_limit(kind: &str, path: &Path, errors: &mut Errors) {
    let wrong = meta::name::check_qualified_name(kind);
    if wrong.is_empty() && !kind.contains('/') && !TYPES.contains(&kind) {
        let detail = "must be a standard limit type or fully qualified";
        errors.invalid(path, kind, detail);
    }
    check::messages(path, kind, wrong, errors);
}

fn check_limit(limit: &Value, path: &Path, errors: &mut Errors) {
    let kind = string(limit, "type");
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut amounts: BTreeMap<(&str, &str), (Quantity, String)> = BTreeMap::new();
    let mut read = |field: &'static str, errors: &mut Errors| {
        for (name, amount) in members(limit, field) {
            let path = path.child(field).key(name);
            match kind {
                "Pod" | "Container" => pod::validate::container_resource(name, &path, errors),
                _ => drop(pod::validate::resource(name, &path, errors)),
            }
            names.insert(name);
            let text = quantity_text(amount);
            if let Some(quantity) = Quantity::parse(&text) {
                amounts.insert((field, name), (quantity, text));
            }
        }
    };
    read("max", errors);
    read("min", errors);
    for field in ["default", "defaultRequest"] {
        if kind != "Pod" {
            read(field, errors);
        } else if members(limit, field).next().is_some() {
            errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
        }
    }
    if kind == "PersistentVolumeClaim" && !["min", "max"].iter().any(|f| has(get(limit, f), "storage")) {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.child("limits"), detail);
    }
    read("maxLimitRequestRatio", errors);
    for name in names {
        compare(name, &amounts, path, errors);
    }
}

/// What is said of one resource in several places must fit together.
fn compare(
    name: &str,
    amounts: &BTreeMap<(&str, &str), (Quantity, String)>,
    path: &Path,
    errors: &mut Errors,
) {
    let of = |field: &'static str| amounts.get(&(field, name));
    // The smaller, the larger, where it is told of, whose value is shown, and the words for both.
    let pairs = [
        ("min", "max", "min", "min", "min value", "greater than max value"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "defaultRequest",
            "min value",
            "greater than default request value",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "greater than max value",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "greater than default limit value",
        ),
        (
            "min",
            "default",
            "default",
            "min",
            "min value",
            "greater than default value",
        ),
        (
            "default",
            "max",
            "default",
            "max",
            "default value",
            "greater than max value",
        ),
    ];
    for (small, large, place, shown, first, second) in pairs {
        if let (Some((a, a_text)), Some((b, b_text)), Some((_, shown))) = (of(small), of(large), of(shown))
            && a > b
        {
            let detail = format!("{first} {a_text} is {second} {b_text}");
            errors.invalid(&path.child(place).key(name), shown.as_str(), &detail);
        }
    }
    ratio(name, amounts, path, errors);
    if let (Some((limit, limit_text)), Some((request, request_text))) = (of("default"), of("defaultRequest"))
        && limit != request
        && !pod::validate::may_overcommit(name)
    {
        let path = path.child("defaultRequest").key(name);
        let detail =
            format!("default value {limit_text} must equal to defaultRequest value {request_text} in {name}");
        errors.invalid(&path, request_text.as_str(), &detail);
    }
}

/// How much more than it requests something may be limited to.
fn ratio(name: &str, amounts: &BTreeMap<(&str, &str), (Quantity, String)>, path: &Path, errors: &mut Errors) {
    let of = |field: &'static str| amounts.get(&(field, name));
    if let Some((ratio, text)) = of("maxLimitRequestRatio") {
        let path = path.child("maxLimitRequestRatio").key(name);
        if *ratio < Quantity::from_whole(1) {
            errors.invalid(&path, text.as_str(), &format!("ratio {text} is less than 1"));
        }
        if let (Some((min, _)), Some((max, _))) = (of("min"), of("max"))
            && let Some(limit) = exceeded(*ratio, *min, *max)
        {
            let detail = format!("ratio {text} is greater than max/min = {limit}");
            errors.invalid(&path, text.as_str(), &detail);
        }
    }
}

/// The ratio of the maximum to the minimum where that is smaller, as Go prints such a number.
fn exceeded(ratio: Quantity, min: Quantity, max: Quantity) -> Option<String> {
    let small = [ratio, min, max].iter().all(|q| q.value() < MILLIS_MAX);
    let (ratio, min, max) = match small {
        true => (ratio.millis() as f64 / 1000.0, min.millis(), max.millis()),
        false => (ratio.value() as f64, min.value(), max.value()),
    };
    let limit = max as f64 / min as f64;
    let shown = match limit {
        limit if limit.is_nan() => "NaN".to_string(),
        limit if limit.is_infinite() && limit > 0.0 => "+Inf".to_string(),
        limit if limit.is_infinite() => "-Inf".to_string(),
        limit => format!("{limit:.6}"),
    };
    (ratio > limit).then_some(shown)
}
