//! `events.k8s.io/v1` Event: the same objects as core/v1's under other names. Source: events.k8s.io/v1 API reference.

use super::{EVENTS, Event};
use crate::json::{get, has, number, put, string, take};
use crate::{Check, Row, Rules, Write};
use meta::field::Shown;
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "events.k8s.io";

/// Names of the stored version, and of this one.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

pub fn row() -> Row {
    Row {
        res: Res::new(GROUP, "events"),
        type_name: "io.k8s.api.events.v1.Event",
        selectable: &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        rules: Arc::new(NewEvent),
        ..super::row()
    }
}

struct NewEvent;

impl NewEvent {
    /// A copy in the stored version's form.
    fn old(&self, object: &Value) -> Value {
        let mut old = object.clone();
        self.stored(&mut old);
        old
    }
}

impl Rules for NewEvent {
    fn version_of(&self) -> Option<Res> {
        Some(EVENTS)
    }

    fn shown(&self, object: &mut Value) {
        put(object, "apiVersion", "events.k8s.io/v1");
        for (old, new) in NAMES {
            if let Some(value) = take(object, old) {
                put(object, new, value);
            }
        }
    }

    fn stored(&self, object: &mut Value) {
        put(object, "apiVersion", "v1");
        for (old, new) in NAMES {
            if let Some(value) = take(object, new) {
                put(object, old, value);
            }
        }
    }

    fn create_checks(&self) -> &'static [Check] {
        &[Check::Object, Check::Metadata]
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Object, Check::MetadataChange, Check::Change]
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        super::check(&self.old(object), "reportingController", errors);
    }

    /// A new event speaks the new words only; one that exists may have been made in the old ones.
    fn validate_new(&self, object: &Value, errors: &mut Errors) {
        check_new(object, errors);
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if get(object, "series") != get(old, "series") {
            check_series(object, errors);
        }
        let fixed = [
            ("regarding", "involvedObject"),
            ("reason", "reason"),
            ("note", "message"),
            ("deprecatedSource", "source"),
            ("deprecatedFirstTimestamp", "firstTimestamp"),
            ("deprecatedLastTimestamp", "lastTimestamp"),
            ("deprecatedCount", "count"),
            // Upstream looks at this twice.
            ("reason", "reason"),
            ("type", "type"),
            ("eventTime", "eventTime"),
            ("action", "action"),
            ("related", "related"),
            ("reportingController", "reportingController"),
            ("reportingInstance", "reportingInstance"),
        ];
        for (field, path) in fixed {
            let check = match field {
                "reason" | "note" | "type" | "action" | "reportingController" | "reportingInstance" => {
                    crate::check::immutable_text
                }
                _ => crate::check::immutable,
            };
            let (now, was) = (get(object, field), get(old, field));
            match field {
                "regarding" | "related" | "deprecatedSource" if now != was => {
                    errors.invalid(&Path::new(path), part_shown(field, now), crate::check::IMMUTABLE);
                }
                _ => check(now, was, &Path::new(path), errors),
            }
        }
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        Event.cells(&self.old(object), now)
    }
}

/// A reference or a source in upstream's own form.
fn part_shown(field: &str, part: &Value) -> Shown {
    let names: &[(&str, &str)] = match field {
        "deprecatedSource" => &[("Component", "component"), ("Host", "host")],
        _ if part.is_null() && field == "related" => return Shown("null".into()),
        _ => &[
            ("Kind", "kind"),
            ("Namespace", "namespace"),
            ("Name", "name"),
            ("UID", "uid"),
            ("APIVersion", "apiVersion"),
            ("ResourceVersion", "resourceVersion"),
            ("FieldPath", "fieldPath"),
        ],
    };
    Shown::members(
        names
            .iter()
            .map(|(go, name)| (*go, Some(string(part, name).into()))),
    )
}

fn check_new(object: &Value, errors: &mut Errors) {
    check_series(object, errors);
    if !has(object, "eventTime") {
        errors.required(&Path::new("eventTime"), "");
    }
    let kind = string(object, "type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", &format!("has invalid value: {kind}"));
    }
    let unset = "needs to be unset";
    let source = get(object, "deprecatedSource");
    let given = [
        ("firstTimestamp", has(object, "deprecatedFirstTimestamp")),
        ("lastTimestamp", has(object, "deprecatedLastTimestamp")),
        ("count", number(object, "deprecatedCount") != 0),
        (
            "source",
            !string(source, "component").is_empty() || !string(source, "host").is_empty(),
        ),
    ];
    for (field, _) in given.iter().filter(|(_, is_set)| *is_set) {
        errors.invalid(&Path::new(field), "", unset);
    }
}

fn check_series(object: &Value, errors: &mut Errors) {
    let series = get(object, "series");
    if series.is_null() {
        return;
    }
    let path = Path::new("series");
    if number(series, "count") < 2 {
        errors.invalid(&path.child("count"), "", "should be at least 2");
    }
    if !has(series, "lastObservedTime") {
        errors.required(&path.child("lastObservedTime"), "");
    }
}
