//! Service: a stable address for pods. Source: core/v1 API reference.

mod allocate;
mod cells;
mod defaults;
mod families;
mod validate;

pub use allocate::{CLUSTER_IPS, NODE_PORTS};
pub(crate) use validate::endpoint_ip;

use crate::json::{get, list, put, take};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Res, Snapshot, Status, Timestamp, name};
use serde_json::{Value, json};
use std::sync::Arc;

pub const SERVICES: Res = Res::new("", "services");

pub fn row() -> Row {
    Row {
        res: SERVICES,
        version: "v1",
        kind: "Service",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Service",
        generation: false,
        status: true,
        scale: None,
        selectable: &["spec.clusterIP", "spec.type"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Type", "string").shows("core.v1.ServiceSpec", "type"),
                Column::new("Cluster-IP", "string").shows("core.v1.ServiceSpec", "clusterIP"),
                Column::new("External-IP", "string").shows("core.v1.ServiceSpec", "externalIPs"),
                Column::new("Port(s)", "string").shows("core.v1.ServiceSpec", "ports"),
                Column::AGE,
                Column::wide("Selector", "string").shows("core.v1.ServiceSpec", "selector"),
            ]
        },
        rules: Arc::new(Service),
    }
}

struct Service;

impl Rules for Service {
    fn default(&self, object: &mut Value) {
        defaults::service(object);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write == Write::Create {
            put(object, "status", json!({"loadBalancer": {}}));
        }
        if write != Write::Status {
            defaults::carry_over(object, old);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::service(object, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Change, Check::Object],
        }
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            validate::status(object, errors);
        } else {
            validate::update(object, old, errors);
        }
    }

    fn begin(
        &self,
        write: Write,
        object: &mut Value,
        old: Option<&Value>,
        seen: &Snapshot,
    ) -> Result<(), Status> {
        match write {
            Write::Status => return Ok(()),
            _ => allocate::allocate(object, old, seen)?,
        }
        // Only now, as upstream: what an old type leaves behind counts until addresses and ports are found.
        if let (Some(spec), Some(old)) = (object.get_mut("spec"), old) {
            defaults::drop_by_type(spec, get(old, "spec"));
        }
        Ok(())
    }

    /// Traffic inside the cluster has no policy where there is no address.
    fn admit(
        &self,
        write: Write,
        object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        if let Some(spec) = object.get_mut("spec")
            && write != Write::Status
            && is_alias(spec)
        {
            take(spec, "internalTrafficPolicy");
        }
        Ok(())
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn allocates(&self) -> bool {
        true
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn subresources(&self) -> &'static [&'static str] {
        &["proxy"]
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings(&object["spec"])
    }

    fn check_name(&self, text: &str) -> Vec<String> {
        name::check_dns1123_label(text)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        cells::cells(object, now)
    }
}

/// The value of `spec.clusterIP` of a service without an address of its own.
pub(crate) const NONE: &str = "None";

/// Headless: its name stands for the addresses of its pods.
fn is_headless(spec: &Value) -> bool {
    list(spec, "clusterIPs").first().is_some_and(|ip| ip == NONE) || spec["clusterIP"] == NONE
}

/// A name for something elsewhere; every other type has addresses, even one that is not known.
fn is_alias(spec: &Value) -> bool {
    kind(spec) == "ExternalName"
}

fn needs_cluster_ip(spec: &Value) -> bool {
    matches!(kind(spec), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_ports(spec: &Value) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

/// Balancers that keep traffic on the node where it arrives ask a port whether it has pods.
fn needs_health_check(spec: &Value) -> bool {
    kind(spec) == "LoadBalancer" && crate::json::string(spec, "externalTrafficPolicy") == "Local"
}

fn is_reached_from_outside(spec: &Value) -> bool {
    needs_node_ports(spec) || (kind(spec) == "ClusterIP" && !list(spec, "externalIPs").is_empty())
}

fn kind(spec: &Value) -> &str {
    crate::json::string(spec, "type")
}

/// What is allowed and has no effect.
fn warnings(spec: &Value) -> Vec<String> {
    let (is_alias, has) = (is_alias(spec), |field: &str| {
        !crate::json::string(spec, field).is_empty()
    });
    let rules = [
        (
            is_alias && !list(spec, "externalIPs").is_empty(),
            "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
        ),
        (
            !is_alias && has("externalName"),
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
        ),
        (
            is_headless(spec) && crate::json::string(spec, "sessionAffinity") == "ClientIP",
            "spec.SessionAffinity is ignored for headless services",
        ),
    ];
    let told = rules.iter().filter(|(holds, _)| *holds);
    told.map(|(_, text)| text.to_string()).collect()
}
