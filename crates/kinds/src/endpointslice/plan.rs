//! The addresses behind a Service, as EndpointSlices and, for older clients, as Endpoints. One plan a Service makes both.
//! Source: discovery.k8s.io/v1 API reference, "EndpointSlices" in the Kubernetes documentation.

use super::ENDPOINTSLICES;
use super::legacy;
use crate::endpoints::ENDPOINTS;
use crate::plan::{Act, Plan, Target};
use crate::row::text;
use crate::service::SERVICES;
use crate::workload::{self, PODS, Pod};
use crate::{Controller, Key, Seen};
use meta::{Change, Object};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const CONTROLLER: Controller = Controller {
    name: "endpointslice-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Endpoints in one slice, as upstream.
const MAX_ENDPOINTS: usize = 100;

/// The part of a Service that says which pods stand behind it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceFacts {
    pub spec: ServiceSpecFacts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpecFacts {
    pub selector: Option<BTreeMap<String, String>>,
    pub r#type: Option<String>,
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Option<Vec<String>>,
    pub health_check_node_port: Option<i64>,
    pub publish_not_ready_addresses: bool,
    pub ports: Vec<Value>,
}

impl ServiceSpecFacts {
    /// Selects pods by itself: has a selector, and is no mere alias.
    fn is_selecting(&self) -> bool {
        self.r#type.as_deref() != Some("ExternalName")
            && self.selector.as_ref().is_some_and(|s| !s.is_empty())
    }

    fn selects(&self, pod: &Object) -> bool {
        let labels = |(key, value): (&String, &String)| pod.meta().label(key) == Some(value);
        self.is_selecting() && self.selector.iter().flatten().all(labels)
    }
}

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let object = &change.object;
    if change.res == SERVICES {
        return vec![Key::of(SERVICES, object)];
    }
    if change.res == ENDPOINTS {
        return vec![Key::of(SERVICES, object)];
    }
    if change.res == ENDPOINTSLICES {
        let service = object.meta().label(SERVICE_NAME);
        return service
            .map(|s| Key::new(SERVICES, object.namespace(), s))
            .into_iter()
            .collect();
    }
    if change.res != PODS || !matters(change) {
        return Vec::new();
    }
    let mut keys = Vec::new();
    for service in seen.snapshot.list(SERVICES, object.namespace()) {
        let Ok(facts) = service.typed::<ServiceFacts>() else {
            continue;
        };
        let before = change.previous.as_ref().is_some_and(|p| facts.spec.selects(p));
        if before || facts.spec.selects(object) {
            keys.push(Key::of(SERVICES, service));
        }
    }
    keys
}

/// Most changes of a pod do not change what a Service sees of it.
fn matters(change: &Change) -> bool {
    let Some(previous) = &change.previous else {
        return true;
    };
    if change.kind == meta::ChangeKind::Deleted {
        return true;
    }
    let (old, new) = (Pod::of(previous), Pod::of(&change.object));
    let view = |p: &Pod| {
        (
            p.is_ready(),
            p.is_deleting(),
            p.is_finished(),
            p.facts.status.pod_ip.clone(),
        )
    };
    view(&old) != view(&new) || previous.meta().labels != change.object.meta().labels
}

/// A pod behind a Service and the numbers that the Service's ports have on it.
pub struct Backend {
    pub pod: Pod,
    pub ready: bool,
    pub serving: bool,
    /// `spec.hostname` when the pod's subdomain is this Service: its name in DNS.
    pub hostname: Option<String>,
    pub ports: Vec<Value>,
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(service) = seen.snapshot.by_key(SERVICES, &key.key) else {
        legacy::delete_leftover(seen, key, &mut plan);
        return plan;
    };
    let Ok(facts) = service.typed::<ServiceFacts>() else {
        return plan;
    };
    if !facts.spec.is_selecting() || service.meta().is_deleting() {
        return plan;
    }
    let backends = backends(seen, service, &facts.spec);
    let place = (service.namespace(), service.name());
    settle(
        seen,
        place,
        MANAGER,
        wanted(service, &backends, &facts.spec),
        &mut plan,
    );
    legacy::write(seen, service, &backends, &mut plan);
    plan
}

fn backends(seen: &Seen, service: &Object, spec: &ServiceSpecFacts) -> Vec<Backend> {
    let pods = seen
        .snapshot
        .list(PODS, service.namespace())
        .filter(|pod| spec.selects(pod))
        .map(Pod::of);
    let pods = pods.filter(|pod| !pod.is_finished() && pod.facts.status.pod_ip.is_some());
    pods.map(|pod| {
        let facts = &pod.facts.spec;
        let named = facts.subdomain.as_deref() == Some(service.name());
        Backend {
            serving: pod.is_ready(),
            ready: spec.publish_not_ready_addresses || (pod.is_ready() && !pod.is_deleting()),
            hostname: facts.hostname.clone().filter(|_| named),
            ports: ports_on(&pod, &spec.ports),
            pod,
        }
    })
    .collect()
}

/// The Service's ports with their numbers on this pod; a named port that the pod does not have is left out.
fn ports_on(pod: &Pod, ports: &[Value]) -> Vec<Value> {
    let value = if ports
        .iter()
        .any(|p| p.get("targetPort").is_some_and(Value::is_string))
    {
        pod.object.value()
    } else {
        Value::Null
    };
    let resolve = |port: &Value| -> Option<Value> {
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        let number = match port.get("targetPort") {
            Some(Value::String(name)) => container_port(&value, name, protocol)?,
            Some(Value::Number(n)) if n.as_i64() != Some(0) => n.as_i64()?,
            _ => port.get("port")?.as_i64()?,
        };
        let mut out = json!({"name": text(port, "/name"), "port": number, "protocol": protocol});
        if let Some(app) = port.get("appProtocol").filter(|a| !a.is_null()) {
            out["appProtocol"] = app.clone();
        }
        Some(out)
    };
    ports.iter().filter_map(resolve).collect()
}

fn container_port(pod: &Value, name: &str, protocol: &str) -> Option<i64> {
    let lists = ["/spec/containers", "/spec/initContainers"];
    let containers = lists.iter().filter_map(|l| pod.pointer(l)?.as_array()).flatten();
    let ports = containers.filter_map(|c| c.get("ports")?.as_array()).flatten();
    let mut named = ports.filter(|p| text(p, "/name") == name);
    named
        .find(|p| p.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == protocol)?
        .get("containerPort")?
        .as_i64()
}

fn endpoint(backend: &Backend) -> Value {
    let pod = &backend.pod;
    let ip = pod.facts.status.pod_ip.as_deref().unwrap_or_default();
    let mut out = json!({
        "addresses": [ip],
        "conditions": {"ready": backend.ready, "serving": backend.serving, "terminating": pod.is_deleting()},
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

/// The slices that should be: backends with the same ports share slices of at most 100.
fn wanted(service: &Object, backends: &[Backend], spec: &ServiceSpecFacts) -> BTreeMap<String, Value> {
    let mut groups: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for backend in backends {
        let key = Value::from(backend.ports.clone()).to_string();
        let group = groups
            .entry(key)
            .or_insert_with(|| (backend.ports.clone(), Vec::new()));
        group.1.push(endpoint(backend));
    }
    if groups.is_empty() {
        groups.insert(String::new(), (Vec::new(), Vec::new()));
    }
    let mut slices = BTreeMap::new();
    for (ports_key, (ports, endpoints)) in groups {
        let chunks = endpoints
            .chunks(MAX_ENDPOINTS)
            .map(<[Value]>::to_vec)
            .collect::<Vec<_>>();
        let chunks = if chunks.is_empty() {
            vec![Vec::new()]
        } else {
            chunks
        };
        for (i, chunk) in chunks.into_iter().enumerate() {
            // The first slice of a Service keeps its name whatever its ports.
            let place = if slices.is_empty() {
                json!([])
            } else {
                json!([ports_key, i])
            };
            let name = format!("{}-{}", service.name(), &workload::content_hash(&place, 0)[..5]);
            slices.insert(name.clone(), slice(service, &name, &ports, chunk, spec));
        }
    }
    slices
}

fn slice(
    service: &Object,
    name: &str,
    ports: &[Value],
    endpoints: Vec<Value>,
    spec: &ServiceSpecFacts,
) -> Value {
    let value = service.value();
    let mut labels = value
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    labels[SERVICE_NAME] = service.name().into();
    labels[MANAGED_BY] = MANAGER.into();
    if spec.cluster_ip.as_deref() == Some("None") {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "generateName": format!("{}-", service.name()),
            "namespace": service.namespace(), "labels": labels,
            "ownerReferences": [workload::owner_reference("v1", "Service", service)],
        },
        "addressType": "IPv4",
        "endpoints": as_stored(endpoints),
        "ports": as_stored(ports.to_vec()),
    })
}

/// Lists without content are stored as null here.
fn as_stored(list: Vec<Value>) -> Value {
    match list.is_empty() {
        true => Value::Null,
        false => list.into(),
    }
}

/// Makes the slices of a Service (namespace and name) that one manager has made be the wanted ones, by name.
pub(super) fn settle(
    seen: &Seen,
    (namespace, service): (&str, &str),
    manager: &str,
    mut wanted: BTreeMap<String, Value>,
    plan: &mut Plan,
) {
    let prefix = format!("{namespace}/{service}-");
    for (_, stored) in seen.snapshot.after(ENDPOINTSLICES, &prefix, "") {
        let ours = stored.meta().label(MANAGED_BY) == Some(manager)
            && stored.meta().label(SERVICE_NAME) == Some(service);
        if !ours || stored.meta().is_deleting() {
            continue;
        }
        match wanted.remove(stored.name()) {
            None => {
                let target = Target::exactly(ENDPOINTSLICES, stored);
                plan.acts.push(Act::Delete {
                    target,
                    grace_seconds: None,
                    propagation: None,
                });
            }
            Some(slice) => update(stored, slice, plan),
        }
    }
    for (_, object) in wanted {
        plan.acts.push(Act::Create {
            res: ENDPOINTSLICES,
            namespace: namespace.into(),
            object,
        });
    }
}

/// Writes a slice when its content differs. Labels are those of the Service, so that one goes here as well when it goes
/// there; annotations that others added stay.
fn update(stored: &Object, slice: Value, plan: &mut Plan) {
    let mut object = stored.value();
    let before = object.clone();
    for field in ["endpoints", "ports"] {
        object[field] = slice[field].clone();
    }
    object["metadata"]["labels"] = slice["metadata"]["labels"].clone();
    let annotations = slice["metadata"]["annotations"].as_object();
    for (key, value) in annotations.into_iter().flatten() {
        object["metadata"]["annotations"][key] = value.clone();
    }
    if object != before {
        plan.acts.push(Act::Update {
            target: Target::exactly(ENDPOINTSLICES, stored),
            subresource: "",
            object,
        });
    }
}
