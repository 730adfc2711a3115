//! Event: what happened to an object. Source: core/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
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

impl Rules for Event {}
