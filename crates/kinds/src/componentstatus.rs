//! ComponentStatus: whether the parts of a control plane are well. Here they are one program, and who gets an answer has
//! found it well. Source: core/v1 API reference.

use crate::json::{list, string};
use crate::row::text;
use crate::{Column, Row, Rules};
use meta::{Res, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const NAMES: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];

pub fn row() -> Row {
    Row {
        res: Res::new("", "componentstatuses"),
        version: "v1",
        kind: "ComponentStatus",
        singular: "componentstatus",
        short_names: &["cs"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.core.v1.ComponentStatus",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Status", "string").says("Status of the component conditions"),
                Column::new("Message", "string").says("Message of the component conditions"),
                Column::new("Error", "string").says("Error of the component conditions"),
            ]
        },
        rules: Arc::new(ComponentStatus),
    }
}

struct ComponentStatus;

impl Rules for ComponentStatus {
    fn shows(&self) -> Option<Vec<Value>> {
        let one = |name: &&str| {
            json!({
                "apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name},
                "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
            })
        };
        Some(NAMES.iter().map(one).collect())
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }

    fn deletes_collections(&self) -> bool {
        false
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let mut conditions = list(object, "conditions").iter();
        let healthy = conditions.find(|c| string(c, "type") == "Healthy");
        let status = match healthy.map(|c| string(c, "status")) {
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
            None => "Unknown",
        };
        let of = |field: &str| Value::from(healthy.map_or("", |c| string(c, field)));
        vec![
            text(object, "/metadata/name").into(),
            status.into(),
            of("message"),
            of("error"),
        ]
    }
}
