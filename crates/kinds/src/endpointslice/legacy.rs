//! The same backends as an `Endpoints` object, for clients that still read those.

use super::plan::Backend;
use crate::endpoints::ENDPOINTS;
use crate::plan::{Act, Plan, Target};
use crate::{Key, Seen};
use meta::Object;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
/// Addresses in one object, as upstream; more than that are left out.
const MAX_ADDRESSES: usize = 1000;

pub fn write(seen: &Seen, service: &Object, backends: &[Backend], plan: &mut Plan) {
    let subsets = subsets(backends);
    let mut labels = service
        .value()
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    labels[MANAGED_BY] = MANAGER.into();
    if crate::row::text(&service.value(), "/spec/clusterIP") == "None" {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    match seen.snapshot.get(ENDPOINTS, service.namespace(), service.name()) {
        None => {
            let mut object = json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": {"name": service.name(), "namespace": service.namespace(), "labels": labels},
            });
            if !subsets.is_empty() {
                object["subsets"] = subsets.into();
            }
            plan.acts.push(Act::Create {
                res: ENDPOINTS,
                namespace: service.namespace().into(),
                object,
            });
        }
        Some(stored) => {
            let mut object = stored.value();
            let known = object
                .get("subsets")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            if known != subsets || object.pointer("/metadata/labels") != Some(&labels) {
                object["subsets"] = subsets.into();
                object["metadata"]["labels"] = labels;
                plan.acts.push(Act::Update {
                    target: Target::exactly(ENDPOINTS, stored),
                    subresource: "",
                    object,
                });
            }
        }
    }
}

/// Endpoints go with their Service. Those that someone made by hand stay.
pub fn delete_leftover(seen: &Seen, key: &Key, plan: &mut Plan) {
    let stored = seen.snapshot.by_key(ENDPOINTS, &key.key);
    if let Some(stored) = stored.filter(|e| e.meta().label(MANAGED_BY) == Some(MANAGER)) {
        let target = Target::exactly(ENDPOINTS, stored);
        plan.acts.push(Act::Delete {
            target,
            grace_seconds: None,
            propagation: None,
        });
    }
}

fn subsets(backends: &[Backend]) -> Vec<Value> {
    // Ports, ready addresses, addresses that are not ready.
    let mut groups: BTreeMap<String, [Vec<Value>; 3]> = BTreeMap::new();
    for backend in backends.iter().take(MAX_ADDRESSES) {
        let key = Value::from(backend.ports.clone()).to_string();
        let [ports, ready, not_ready] = groups.entry(key).or_default();
        *ports = backend.ports.iter().map(named_port).collect();
        if backend.ready {
            ready.push(address(backend));
        } else if !backend.pod.is_deleting() {
            not_ready.push(address(backend));
        }
    }
    let mut out = Vec::new();
    for [ports, ready, not_ready] in groups.into_values() {
        let mut subset = json!({});
        for (field, list) in [
            ("addresses", ready),
            ("notReadyAddresses", not_ready),
            ("ports", ports),
        ] {
            if !list.is_empty() {
                subset[field] = list.into();
            }
        }
        if subset.get("addresses").is_some() || subset.get("notReadyAddresses").is_some() {
            out.push(subset);
        }
    }
    out
}

/// Endpoints leave an empty name out.
fn named_port(port: &Value) -> Value {
    let mut port = port.clone();
    if port.get("name").and_then(Value::as_str) == Some("")
        && let Some(map) = port.as_object_mut()
    {
        map.remove("name");
    }
    port
}

fn address(backend: &Backend) -> Value {
    let pod = &backend.pod;
    let mut out = json!({
        "ip": pod.facts.status.pod_ip,
        "targetRef": {"kind": "Pod", "namespace": pod.object.namespace(), "name": pod.name(), "uid": pod.object.uid()},
    });
    if let Some(node) = &pod.facts.spec.node_name {
        out["nodeName"] = node.as_str().into();
    }
    if let Some(hostname) = &backend.hostname {
        out["hostname"] = hostname.as_str().into();
    }
    out
}
