//! EndpointSlices for Endpoints that someone writes by hand, behind a Service that selects no pods. Source:
//! "EndpointSlice mirroring" in the Kubernetes documentation.

use super::ENDPOINTSLICES;
use super::plan::{SERVICE_NAME, settle};
use crate::endpoints::ENDPOINTS;
use crate::json::list;
use crate::plan::Plan;
use crate::row::text;
use crate::service::SERVICES;
use crate::workload;
use crate::{Controller, Key, Seen};
use meta::{Change, Object};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub const CONTROLLER: Controller = Controller {
    name: "endpointslice-mirroring-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that are a lock of an old kind of leader election.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// What is about the writing of the Endpoints, not about the endpoints.
const NOT_COPIED: [&str; 2] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
];
/// Addresses of one subset that are taken over, as upstream.
const MAX_ADDRESSES: usize = 1000;

fn wakes(change: &Change, _: &Seen) -> Vec<Key> {
    let object = &change.object;
    let name = match change.res {
        ENDPOINTS | SERVICES => object.name(),
        ENDPOINTSLICES if object.meta().label(MANAGED_BY) == Some(MANAGER) => {
            object.meta().label(SERVICE_NAME).unwrap_or_default()
        }
        _ => return Vec::new(),
    };
    vec![Key::new(ENDPOINTS, object.namespace(), name)]
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let (namespace, name) = key.key.split_once('/').unwrap_or_default();
    let endpoints = seen.snapshot.get(ENDPOINTS, namespace, name);
    let wanted = match endpoints.filter(|endpoints| is_mirrored(seen, endpoints)) {
        Some(endpoints) => slices(endpoints),
        None => BTreeMap::new(),
    };
    settle(seen, (namespace, name), MANAGER, wanted, &mut plan);
    plan
}

fn is_mirrored(seen: &Seen, endpoints: &Object) -> bool {
    if endpoints.meta().is_deleting() || endpoints.meta().label(SKIP) == Some("true") {
        return false;
    }
    let service = seen
        .snapshot
        .get(SERVICES, endpoints.namespace(), endpoints.name());
    let selects = |service: &Object| {
        let value = service.value();
        let selector = value.pointer("/spec/selector").and_then(Value::as_object);
        selector.is_some_and(|selector| !selector.is_empty())
    };
    let value = endpoints.value();
    let annotations = value.pointer("/metadata/annotations");
    let is_lock = annotations.is_some_and(|all| all.get(LEADER).is_some());
    !is_lock && service.is_some_and(|service| !selects(service))
}

/// One slice for each set of ports and kind of address, by name.
fn slices(endpoints: &Object) -> BTreeMap<String, Value> {
    let value = endpoints.value();
    let mut groups: BTreeMap<(&str, String), Vec<Value>> = BTreeMap::new();
    for subset in list(&value, "subsets") {
        let ports: Vec<Value> = list(subset, "ports").iter().map(port).collect();
        let ready = list(subset, "addresses").iter().map(|a| (a, true));
        let not_ready = list(subset, "notReadyAddresses").iter().map(|a| (a, false));
        for (address, ready) in ready.chain(not_ready).take(MAX_ADDRESSES) {
            if let Some((family, endpoint)) = endpoint(address, ready) {
                let key = (family, Value::from(ports.clone()).to_string());
                groups.entry(key).or_default().push(endpoint);
            }
        }
    }
    let mut slices = BTreeMap::new();
    for ((family, ports), found) in groups {
        let hash = workload::content_hash(&json!([MANAGER, family, ports]), 0);
        let name = format!("{}-{}", endpoints.name(), &hash[..5]);
        let ports: Value = serde_json::from_str(&ports).unwrap_or_default();
        slices.insert(
            name.clone(),
            slice(endpoints, &value, &name, family, ports, found),
        );
    }
    slices
}

fn port(port: &Value) -> Value {
    let mut out = json!({"name": text(port, "/name"), "port": port["port"],
        "protocol": port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")});
    if let Some(app) = port.get("appProtocol").filter(|app| !app.is_null()) {
        out["appProtocol"] = app.clone();
    }
    out
}

fn endpoint(address: &Value, ready: bool) -> Option<(&'static str, Value)> {
    let ip: IpAddr = text(address, "/ip").parse().ok()?;
    let mut out = json!({"addresses": [ip.to_string()], "conditions": {"ready": ready}});
    for field in ["hostname", "nodeName", "targetRef"] {
        if let Some(value) = address.get(field).filter(|value| !value.is_null()) {
            out[field] = value.clone();
        }
    }
    Some((if ip.is_ipv4() { "IPv4" } else { "IPv6" }, out))
}

fn slice(
    endpoints: &Object,
    value: &Value,
    name: &str,
    family: &str,
    ports: Value,
    found: Vec<Value>,
) -> Value {
    let map = |pointer: &str| -> Map<String, Value> {
        let map = value.pointer(pointer).and_then(Value::as_object);
        map.cloned().unwrap_or_default()
    };
    let mut labels = map("/metadata/labels");
    labels.insert(SERVICE_NAME.into(), endpoints.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = map("/metadata/annotations");
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "generateName": format!("{}-", endpoints.name()),
            "namespace": endpoints.namespace(), "labels": labels, "annotations": annotations,
            "ownerReferences": [workload::owner_reference("v1", "Endpoints", endpoints)],
        },
        "addressType": family, "endpoints": found,
        // Lists without content are stored as null here.
        "ports": if ports == json!([]) { Value::Null } else { ports },
    })
}
