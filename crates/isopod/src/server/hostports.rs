//! `hostPort`s of containers: published on the host's loopback, and inside the cluster's network on the node's address.

use kinds::pod::PODS;
use kinds::row::text;
use meta::snapshot::{Change, ChangeKind};
use meta::{Object, Snapshot};
use net::{Endpoint, Protocol, Publication, PublishOn, PublishPort, Service, ServicePort};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Ports of the node's address that are the cluster's own: the API's, and those of the way out.
const OWN: [u16; 3] = [
    super::INNER_PORT,
    net::table::EGRESS_TCP_PORT,
    net::table::EGRESS_UDP_PORT,
];

/// The pods of this machine's node that name host ports, kept in step with the API: looking through all pods at each
/// change would cost more than it is for.
pub struct HostPorts {
    node: String,
    node_ip: Ipv4Addr,
    pods: BTreeMap<String, Pod>,
}

/// A pod that holds host ports now.
pub struct Pod {
    pub object: Object,
    ports: Vec<HostPort>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct HostPort {
    /// As the pod says it; unspecified: all of the node's.
    host_ip: Ipv4Addr,
    protocol: Protocol,
    port: u16,
    target: SocketAddrV4,
}

impl HostPorts {
    pub fn new(node: &str, node_ip: Ipv4Addr) -> Self {
        Self {
            node: node.to_owned(),
            node_ip,
            pods: BTreeMap::new(),
        }
    }

    pub fn reset(&mut self, snapshot: &Snapshot) {
        self.pods.clear();
        for object in snapshot.list(PODS, "") {
            self.put(object);
        }
    }

    /// Says whether anything is different now.
    pub fn change(&mut self, change: &Change) -> bool {
        if change.res != PODS {
            return false;
        }
        match change.kind {
            ChangeKind::Deleted => self.pods.remove(&change.object.meta().key()).is_some(),
            _ => self.put(&change.object),
        }
    }

    fn put(&mut self, object: &Object) -> bool {
        let key = object.meta().key();
        let ports = host_ports(object, &self.node);
        let known = self.pods.get(&key);
        if known.is_some_and(|pod| pod.ports == ports && pod.object.uid() == object.uid()) {
            return false;
        }
        let had = self.pods.remove(&key).is_some();
        if ports.is_empty() {
            return had;
        }
        let object = object.clone();
        self.pods.insert(key, Pod { object, ports });
        true
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// What the packet rules have of them. Only ports of the node's own address exist inside.
    pub fn rules(&self) -> impl Iterator<Item = Service> {
        self.pods.values().map(|pod| Service {
            namespace: pod.object.namespace().into(),
            name: pod.publication_name(),
            cluster_ips: vec![self.node_ip],
            ports: pod.ports.iter().filter_map(|port| self.rule(port)).collect(),
            affinity: None,
        })
    }

    fn rule(&self, port: &HostPort) -> Option<ServicePort> {
        let inside = port.host_ip.is_unspecified() || port.host_ip == self.node_ip;
        (inside && !OWN.contains(&port.port)).then(|| ServicePort {
            name: String::new(),
            protocol: port.protocol,
            port: port.port,
            node_port: None,
            endpoints: vec![Endpoint {
                ip: *port.target.ip(),
                port: port.target.port(),
            }],
        })
    }

    /// What the host sees of them, by address.
    pub fn publications(&self) -> impl Iterator<Item = Publication> {
        self.pods.values().flat_map(|pod| {
            let mut by_address: BTreeMap<Ipv4Addr, Vec<PublishPort>> = BTreeMap::new();
            for port in &pod.ports {
                if let Some(address) = on_host(port.host_ip) {
                    by_address.entry(address).or_default().push(PublishPort {
                        protocol: port.protocol,
                        port: port.port,
                        target: port.target,
                    });
                }
            }
            by_address.into_iter().map(|(address, ports)| Publication {
                service: pod.key(),
                on: PublishOn::Address(address),
                prefer: None,
                ports,
            })
        })
    }

    /// Why a port of a pod is had nowhere, whatever is free.
    pub fn unreachable(&self, pod: &Pod) -> Vec<String> {
        let nowhere = |port: &&HostPort| on_host(port.host_ip).is_none() && self.rule(port).is_none();
        let said = |port: &HostPort| {
            format!(
                "hostPort {}/{} asks for the host's address {}, which isopod leaves alone; leave hostIP out, or choose one of \
                 127.0.0.0/8",
                port.port, port.protocol, port.host_ip
            )
        };
        pod.ports.iter().filter(nowhere).map(said).collect()
    }
}

impl Pod {
    /// What its publications are called; no Service's key has such a beginning.
    pub fn key(&self) -> String {
        format!("pod {}", self.object.meta().key())
    }

    fn publication_name(&self) -> String {
        format!("pod {}", self.object.name())
    }
}

/// The loopback address that stands for a `hostIP`.
fn on_host(host_ip: Ipv4Addr) -> Option<Ipv4Addr> {
    match host_ip {
        ip if ip.is_unspecified() => Some(Ipv4Addr::LOCALHOST),
        ip => ip.is_loopback().then_some(ip),
    }
}

/// Those of a pod that runs here with an address of its own. With `hostNetwork` the pod listens on the host itself.
fn host_ports(object: &Object, node: &str) -> Vec<HostPort> {
    // Most pods name none, and are not parsed for that.
    let named = b"\"hostPort\"";
    if !object.json().windows(named.len()).any(|part| part == named) {
        return Vec::new();
    }
    let pod = object.value();
    let over = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed");
    let on_host = pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true);
    let Ok(ip) = text(&pod, "/status/podIP").parse::<Ipv4Addr>() else {
        return Vec::new();
    };
    if over || on_host || text(&pod, "/spec/nodeName") != node {
        return Vec::new();
    }
    let sidecars = super::proxy::array(&pod, "/spec/initContainers")
        .filter(|container| text(container, "/restartPolicy") == "Always");
    let containers = super::proxy::array(&pod, "/spec/containers").chain(sidecars);
    let ports = containers.flat_map(|container| super::proxy::array(container, "/ports"));
    let host_port = |port: &Value| {
        let host_ip = match text(port, "/hostIP") {
            "" => Ipv4Addr::UNSPECIFIED,
            ip => ip.parse().ok()?,
        };
        Some(HostPort {
            host_ip,
            protocol: super::proxy::protocol(port)?,
            port: super::proxy::port_number(port, "hostPort")?,
            target: SocketAddrV4::new(ip, super::proxy::port_number(port, "containerPort")?),
        })
    };
    ports.filter_map(host_port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: &Value, phase: &str) -> Object {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "status": {"phase": phase, "podIP": "192.0.2.9"}});
        meta::Draft::new(value).expect("a pod").seal(7)
    }

    #[test]
    fn host_ports_are_published_on_loopback_and_on_the_nodes_address() {
        let port = |n: u16, more: Value| {
            let mut port = json!({"containerPort": 80, "hostPort": n, "protocol": "TCP"});
            port.as_object_mut()
                .expect("an object")
                .extend(more.as_object().cloned().unwrap_or_default());
            port
        };
        let ports = json!([
            port(8080, json!({})), port(5353, json!({"protocol": "UDP"})),
            port(81, json!({"hostIP": "127.0.0.7"})), port(82, json!({"hostIP": "192.0.2.200"})),
            port(super::super::INNER_PORT, json!({})), {"containerPort": 9},
        ]);
        let spec = json!({"nodeName": "n", "containers": [{"name": "c", "ports": ports}]});
        let mut all = HostPorts::new("n", Ipv4Addr::new(192, 0, 2, 1));
        assert!(all.put(&pod(&spec, "Running")));
        assert!(!all.put(&pod(&spec, "Running")), "nothing is new");
        let shown: Vec<String> = all
            .publications()
            .flat_map(|p| {
                p.ports
                    .into_iter()
                    .map(move |port| format!("{:?} {} {}", p.on, port.port, port.protocol))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "Address(127.0.0.1) 8080 tcp",
                "Address(127.0.0.1) 5353 udp",
                "Address(127.0.0.1) 6443 tcp",
                "Address(127.0.0.7) 81 tcp"
            ]
        );
        let inside: Vec<u16> = all.rules().flat_map(|s| s.ports).map(|p| p.port).collect();
        assert_eq!(inside, [8080, 5353], "the API's own port stays the API's");
        let wrong = all
            .pods()
            .flat_map(|pod| all.unreachable(pod))
            .collect::<Vec<_>>();
        assert!(wrong.len() == 1 && wrong[0].contains("192.0.2.200"), "{wrong:?}");
        assert!(all.put(&pod(&spec, "Failed")));
        assert_eq!(all.publications().count(), 0);
        let on_host = json!({"nodeName": "n", "hostNetwork": true, "containers": spec["containers"]});
        assert!(!all.put(&pod(&on_host, "Running")));
    }
}
