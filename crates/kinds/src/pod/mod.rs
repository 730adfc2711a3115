//! Pod: containers that run together on one node. This file is the row and its rules; beside it are the defaults, the
//! validation that all workloads share, the printed state and the helpers that plans read pods with.
//! Source: core/v1 API reference.

mod admit;
pub(crate) mod cells;
pub(crate) mod defaults;
mod disabled;
mod fresh;
mod image;
pub mod orphans;
mod status;
mod template;
pub mod typed;
pub(crate) mod validate;
pub(crate) mod warnings;
mod whole;

pub(crate) use disabled::{drop_at, drop_in_template};

pub use cells::Summary;
pub use defaults::template as default_template;
pub use status::{
    Totals, available_at, condition, grace_seconds, is_active, is_available, is_finished, is_ready,
    is_scheduled, is_sidecar, is_terminating, limits, phase, qos_class, ready_condition, ready_since,
    requests, restarts,
};
pub use template::{controller_reference, from_template, template_hash};

use crate::json::{ensure_object, get, put};
use crate::{Column, Row, Rules, Write};
use meta::{Errors, Res, Snapshot, Status, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const PODS: Res = Res::new("", "pods");

pub fn row() -> Row {
    Row {
        res: PODS,
        version: "v1",
        kind: "Pod",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Pod",
        // Upstream counts changes of a pod's spec since v1.35 (KEP-5067).
        generation: true,
        status: true,
        scale: None,
        selectable: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        columns: const {
            &[
                Column::NAME,
                Column::new("Ready", "string").says("The aggregate readiness state of this pod for accepting traffic."),
                Column::new("Status", "string").says("The aggregate status of the containers in this pod."),
                Column::new("Restarts", "string").says("The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
                Column::AGE,
                Column::wide("IP", "string").shows("core.v1.PodStatus", "podIP"),
                Column::wide("Node", "string").shows("core.v1.PodSpec", "nodeName"),
                Column::wide("Nominated Node", "string").shows("core.v1.PodStatus", "nominatedNodeName"),
                Column::wide("Readiness Gates", "string").shows("core.v1.PodSpec", "readinessGates"),
            ]
        },
        rules: Arc::new(Pod),
    }
}

struct Pod;

impl Rules for Pod {
    fn default(&self, object: &mut Value) {
        defaults::pod(object);
    }

    // Old kubelets send back references that they do not know well.
    fn status_keeps(&self) -> &'static [&'static str] {
        &["ownerReferences", "deletionTimestamp"]
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, now: Timestamp) {
        if write == Write::Create
            && let Some(spec) = ensure_object(object, "spec")
        {
            admit::fill_in(spec);
            disabled::drop_disabled(spec, &Value::Null);
            fresh::merge_label_keys(object);
            validate::sync_apparmor(object);
        }
        if write == Write::Update
            && let Some(spec) = ensure_object(object, "spec")
        {
            let before = old.map_or(&Value::Null, |old| get(old, "spec"));
            admit::tolerate(spec);
            admit::keep_priority(spec, before);
            disabled::drop_disabled(spec, before);
        }
        let spec = get(object, "spec");
        let qos = match old {
            // The class never changes in a pod's life.
            Some(_) if write == Write::Status && !crate::row::text(object, "/status/qosClass").is_empty() => {
                crate::row::text(object, "/status/qosClass").to_string()
            }
            Some(old) if !crate::row::text(old, "/status/qosClass").is_empty() => {
                crate::row::text(old, "/status/qosClass").to_string()
            }
            _ => qos_class(spec).to_string(),
        };
        let gated = !crate::json::list(spec, "schedulingGates").is_empty();
        let Some(status) = ensure_object(object, "status") else {
            return;
        };
        if write == Write::Create {
            put(status, "phase", "Pending");
            if gated {
                put(status, "conditions", vec![fresh::gated(now)]);
            }
        } else if let Some(before) = old.filter(|_| write == Write::Status) {
            fresh::keep_observed_generations(status, get(before, "status"));
            disabled::drop_in_status(status, get(before, "status"));
            fresh::same_addresses(status);
        }
        put(status, "qosClass", qos);
        fresh::show_times(status);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::pod(object, errors);
    }

    fn validate_new(&self, object: &Value, errors: &mut Errors) {
        validate::new_pod(object, errors);
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        validate::update(write, object, old, errors);
    }

    fn admit(
        &self,
        write: Write,
        object: &mut Value,
        old: Option<&Value>,
        seen: &Snapshot,
    ) -> Result<(), Status> {
        match write {
            Write::Create => {
                admit::admit(object, seen)?;
                fresh::take_topology(object, seen);
                Ok(())
            }
            Write::Other("binding") => {
                admit::binding(object, old)?;
                fresh::take_topology(object, seen);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        warnings::of_pod(object, old)
    }

    fn subresources(&self) -> &'static [&'static str] {
        &[
            "binding",
            "eviction",
            "log",
            "exec",
            "attach",
            "portforward",
            "proxy",
        ]
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn deletion_grace(&self, object: &Value, asked: Option<i64>) -> Option<i64> {
        Some(grace_seconds(object, asked)).filter(|grace| *grace != 0)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        cells::cells(object, now)
    }

    fn row_conditions(&self, object: &Value) -> Vec<Value> {
        cells::row_conditions(object)
    }

    fn field(&self, object: &Value, path: &str) -> String {
        match path {
            // Every pod has an answer to this, whether its spec has the member or not.
            "spec.hostNetwork" => crate::json::is_true(get(object, "spec"), "hostNetwork").to_string(),
            "status.podIP" | "status.podIPs" => {
                let ips = crate::json::list(get(object, "status"), "podIPs");
                let ips: Vec<&str> = ips.iter().map(|ip| crate::json::string(ip, "ip")).collect();
                match (path, ips.first()) {
                    ("status.podIPs", _) => ips.join(","),
                    (_, Some(first)) => (*first).to_string(),
                    (_, None) => crate::row::text(object, "/status/podIP").to_string(),
                }
            }
            _ => crate::row::plain_field(object, path),
        }
    }
}
