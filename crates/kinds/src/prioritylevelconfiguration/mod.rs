//! PriorityLevelConfiguration: how many requests of a kind are served at once. Source: flowcontrol.apiserver.k8s.io/v1
//! API reference.

mod initial;
mod validate;

pub use initial::initial;

use crate::flowschema::{ALL_OF_METADATA, condition_types};
use crate::json::{child_mut, get, put_default, put_nonzero, some, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const PRIORITYLEVELCONFIGURATIONS: Res =
    Res::new("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations");

pub fn row() -> Row {
    Row {
        res: PRIORITYLEVELCONFIGURATIONS,
        version: "v1",
        kind: "PriorityLevelConfiguration",
        singular: "prioritylevelconfiguration",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Type", "string").shows("flowcontrol.v1.PriorityLevelConfigurationSpec", "type"),
                Column::new("NominalConcurrencyShares", "string")
                    .shows("flowcontrol.v1.LimitedPriorityLevelConfiguration", SHARES),
                Column::new("Queues", "string").shows(QUEUING, "queues"),
                Column::new("HandSize", "string").shows(QUEUING, "handSize"),
                Column::new("QueueLengthLimit", "string").shows(QUEUING, "queueLengthLimit"),
                Column::AGE,
            ]
        },
        rules: Arc::new(PriorityLevelConfiguration),
    }
}

const QUEUING: &str = "flowcontrol.v1.QueuingConfiguration";
const SHARES: &str = "nominalConcurrencyShares";

struct PriorityLevelConfiguration;

impl Rules for PriorityLevelConfiguration {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child_mut(object, "spec") else {
            return;
        };
        for (field, shares) in [("limited", 30), ("exempt", 0)] {
            if let Some(level) = child_mut(spec, field) {
                put_default(level, SHARES, shares);
                put_default(level, "lendablePercent", 0);
            }
        }
        let response = spec.pointer_mut("/limited/limitResponse");
        if let Some(queuing) = response.and_then(|response| child_mut(response, "queuing")) {
            for (field, number) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                put_nonzero(queuing, field, number);
            }
        }
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        ALL_OF_METADATA
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::level(object, errors);
        condition_types(get(object, "status"), errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => &[Check::Change],
            _ => &[Check::Metadata, Check::Object],
        }
    }

    fn validate_update(&self, _write: Write, object: &Value, _old: &Value, errors: &mut Errors) {
        condition_types(get(object, "status"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let limited = some(spec, "limited");
        let queuing = spec
            .pointer("/limited/limitResponse/queuing")
            .filter(|q| !q.is_null());
        let number = |holder: Option<&Value>, field: &str| match holder {
            None => Value::from("<none>"),
            Some(holder) => crate::json::number(holder, field).into(),
        };
        vec![
            text(object, "/metadata/name").into(),
            string(spec, "type").into(),
            number(limited, SHARES),
            number(queuing, "queues"),
            number(queuing, "handSize"),
            number(queuing, "queueLengthLimit"),
            age(object, now).into(),
        ]
    }
}
