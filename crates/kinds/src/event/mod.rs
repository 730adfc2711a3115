//! Event: what happened to an object. Source: core/v1 API reference.

use crate::plan::{EventAct, Seen};
use crate::{Column, Row, Rules};
use meta::{Call, Res};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
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
                Column::new("Last Seen", "string"),
                Column::new("Type", "string"),
                Column::new("Reason", "string"),
                Column::new("Object", "string"),
                Column::wide("Subobject", "string"),
                Column::wide("Source", "string"),
                Column::new("Message", "string"),
                Column::wide("First Seen", "string"),
                Column::wide("Count", "string"),
                Column::wide("Name", "string"),
            ]
        },
        rules: Arc::new(Event),
    }
}

struct Event;

impl Rules for Event {
    fn creates_on_update(&self) -> bool {
        true
    }
}

/// The call that records an event. Its name is derived from what it says, so a repeat finds its predecessor and
/// counts it up instead of filling the store.
pub fn record(component: &str, event: &EventAct, seen: &Seen) -> Call {
    let about = &event.about;
    let namespace = if about.namespace.is_empty() {
        "default"
    } else {
        &about.namespace
    };
    let name = format!("{}.{}", about.name, fingerprint(component, event));
    let now = seen.now.rfc3339();
    if let Some(known) = seen.snapshot.get(EVENTS, namespace, &name) {
        let count = known.value().get("count").and_then(Value::as_i64).unwrap_or(1) + 1;
        return Call::merge_patch(
            EVENTS,
            namespace,
            &name,
            json!({"count": count, "lastTimestamp": now}),
        );
    }
    let mut object = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {"apiVersion": event.api_version, "kind": event.kind, "name": about.name, "uid": about.uid},
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason, "message": event.message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
    });
    if !about.namespace.is_empty() {
        object["involvedObject"]["namespace"] = about.namespace.as_str().into();
    }
    if let Some(revision) = about.revision {
        object["involvedObject"]["resourceVersion"] = revision.to_string().into();
    }
    Call::create(EVENTS, namespace, object)
}

/// Sixteen hexadecimal digits that tell one thing said about one object from all others.
fn fingerprint(component: &str, event: &EventAct) -> String {
    let said = [
        component,
        &event.about.uid,
        &event.kind,
        event.reason,
        &event.message,
    ]
    .join("\0");
    Sha256::digest(said.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
