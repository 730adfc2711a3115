//! Event: what happened to an object. Source: core/v1 API reference.

mod plan;
mod record;
pub mod v1;

pub use plan::TTL;
pub use record::{record, told_at};

use crate::check::qualified_name;
use crate::json::{at, get, has, number, string};
use crate::row::{self, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const EVENTS: Res = Res::new("", "events");

pub fn row() -> Row {
    Row {
        res: EVENTS,
        version: "v1",
        kind: "Event",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Event",
        generation: false,
        status: false,
        scale: None,
        selectable: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        columns: const {
            &[
                Column::new("Last Seen", "string").shows("core.v1.Event", "lastTimestamp"),
                Column::new("Type", "string").shows("core.v1.Event", "type"),
                Column::new("Reason", "string").shows("core.v1.Event", "reason"),
                Column::new("Object", "string").shows("core.v1.Event", "involvedObject"),
                Column::wide("Subobject", "string").shows("core.v1.ObjectReference", "fieldPath"),
                Column::wide("Source", "string").shows("core.v1.Event", "source"),
                Column::new("Message", "string").shows("core.v1.Event", "message"),
                Column::wide("First Seen", "string").shows("core.v1.Event", "firstTimestamp"),
                Column::wide("Count", "string").shows("core.v1.Event", "count"),
                Column::wide("Name", "string").a_name(),
            ]
        },
        rules: Arc::new(Event),
    }
}

const WORD_MAX: usize = 128;

struct Event;

impl Rules for Event {
    /// Names of events were never checked but for what a path needs.
    fn check_name(&self, name: &str) -> Vec<String> {
        meta::name::check_path_segment(name)
    }

    fn create_checks(&self) -> &'static [Check] {
        &[Check::Object]
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Object]
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        check(object, "reportingComponent", errors);
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let series = get(object, "series");
        let ago = |time: Option<Timestamp>| time.map_or("<unknown>".to_string(), |then| row::ago(then, now));
        let count = match (has(object, "series"), number(object, "count")) {
            (true, _) => number(series, "count"),
            (false, 0) => 1,
            (false, count) => count,
        };
        vec![
            ago(last_seen(object)).into(),
            string(object, "type").into(),
            string(object, "reason").into(),
            about(object).into(),
            text(object, "/involvedObject/fieldPath").into(),
            source(object).into(),
            string(object, "message").trim().into(),
            ago(first_seen(object)).into(),
            count.into(),
            text(object, "/metadata/name").into(),
        ]
    }

    fn field(&self, object: &Value, path: &str) -> String {
        match path {
            "source" => component(object).to_string(),
            path => crate::row::plain_field(object, path),
        }
    }
}

/// An event in the stored form. `controller` is what its version calls the one who reports.
fn check(object: &Value, controller: &str, errors: &mut Errors) {
    let (own, about) = (
        text(object, "/metadata/namespace"),
        text(object, "/involvedObject/namespace"),
    );
    let new_style = has(object, "eventTime");
    // Events about things without a namespace live in `default`.
    let fits = match about {
        "" => own.is_empty() || own == "default" || (own == "kube-system" && new_style),
        about => own == about || new_style,
    };
    if !fits {
        let path = Path::new("involvedObject").child("namespace");
        errors.invalid(&path, about, "does not match event.namespace");
    }
    if new_style {
        check_new_style(object, controller, errors);
    }
}

/// Events with an `eventTime` say who reports and what was done.
fn check_new_style(object: &Value, controller: &str, errors: &mut Errors) {
    let (path, name) = (Path::new(controller), string(object, "reportingComponent"));
    if name.is_empty() {
        errors.required(&path, "");
    }
    qualified_name(&path, name, errors);
    for (field, max) in [
        ("reportingInstance", WORD_MAX),
        ("action", WORD_MAX),
        ("reason", WORD_MAX),
        ("message", MESSAGE_MAX),
    ] {
        let (given, path) = (string(object, field), Path::new(field));
        if given.is_empty() && field != "message" {
            errors.required(&path, "");
        } else if given.len() > max {
            errors.invalid(&path, "", &format!("can have at most {max} characters"));
        }
    }
}

const MESSAGE_MAX: usize = 1024;

/// `pod/web-0`.
fn about(object: &Value) -> String {
    let kind = text(object, "/involvedObject/kind").to_lowercase();
    match text(object, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn component(object: &Value) -> &str {
    match text(object, "/source/component") {
        "" => string(object, "reportingComponent"),
        component => component,
    }
}

/// Who reports it, and where.
fn source(object: &Value) -> String {
    let host = match text(object, "/source/host") {
        "" => string(object, "reportingInstance"),
        host => host,
    };
    match host {
        "" => component(object).to_string(),
        host => format!("{}, {host}", component(object)),
    }
}

fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    at(object, pointer).as_str().and_then(Timestamp::parse)
}

fn first_seen(object: &Value) -> Option<Timestamp> {
    time(object, "/firstTimestamp").or_else(|| time(object, "/eventTime"))
}

/// When it was seen last: by its series, its last time, or the only time that it has.
fn last_seen(object: &Value) -> Option<Timestamp> {
    if has(object, "series") {
        return time(object, "/series/lastObservedTime");
    }
    time(object, "/lastTimestamp").or_else(|| first_seen(object))
}
