//! `hostPort`s of containers: published on the host's loopback, and inside the cluster's network on the node's addresses.
//! A pod on the host's network listens on the latter itself, and all its ports are host ports.

use super::proxy::{array, port_number, protocol};
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
    ports: Ports,
}

#[derive(Debug, Default, PartialEq)]
struct Ports {
    good: Vec<HostPort>,
    /// What is wrong with the others.
    wrong: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct HostPort {
    /// As the pod says it; unspecified: all of the node's.
    host_ip: Ipv4Addr,
    protocol: Protocol,
    port: u16,
    target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    /// A pod's own address.
    Pod(SocketAddrV4),
    /// The pod is on the host's network.
    Host,
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
        if ports == Ports::default() {
            return had;
        }
        let object = object.clone();
        self.pods.insert(key, Pod { object, ports });
        true
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// What the packet rules have of them: ports of the node's addresses inside.
    pub fn rules(&self) -> impl Iterator<Item = Service> {
        let rule = |pod: &Pod, port: &HostPort| {
            let Target::Pod(target) = port.target else {
                return None;
            };
            let own = |ip: &Ipv4Addr| *ip == self.node_ip && OWN.contains(&port.port);
            let port_rule = ServicePort {
                name: String::new(),
                protocol: port.protocol,
                port: port.port,
                node_port: None,
                endpoints: vec![Endpoint {
                    ip: *target.ip(),
                    port: target.port(),
                }],
            };
            Some(Service {
                namespace: pod.object.namespace().into(),
                name: pod.publication_name(),
                cluster_ips: self.inside(port).filter(|ip| !own(ip)).collect(),
                ports: vec![port_rule],
                affinity: None,
            })
        };
        let all = self.pods.values();
        all.flat_map(move |pod| pod.ports.good.iter().filter_map(move |port| rule(pod, port)))
    }

    /// The node's addresses that a port is meant for. Those on the host's network see its loopback, too.
    fn inside(&self, port: &HostPort) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (all, one) = (port.host_ip.is_unspecified(), port.host_ip);
        let known = one == self.node_ip || one.is_loopback();
        let several = [self.node_ip, Ipv4Addr::LOCALHOST].into_iter();
        several.filter(move |_| all).chain((!all && known).then_some(one))
    }

    /// What the host sees of them, by address.
    pub fn publications(&self) -> impl Iterator<Item = Publication> {
        self.pods.values().flat_map(|pod| {
            let mut by_address: BTreeMap<Ipv4Addr, Vec<PublishPort>> = BTreeMap::new();
            for port in &pod.ports.good {
                if let Some(address) = on_host(port.host_ip) {
                    let port = self.published(port, address);
                    by_address.entry(address).or_default().push(port);
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

    /// A pod on the host's network is reached as on any machine, by its loopback, where it may be the only one to listen;
    /// one that listens on the node's address alone would be out of reach, as that is no address of the machine.
    fn published(&self, port: &HostPort, address: Ipv4Addr) -> PublishPort {
        let node = SocketAddrV4::new(self.node_ip, port.port);
        let (target, otherwise) = match port.target {
            Target::Pod(target) => (target, None),
            Target::Host => {
                let free = port.host_ip.is_unspecified() && !OWN.contains(&port.port);
                (SocketAddrV4::new(address, port.port), free.then_some(node))
            }
        };
        PublishPort {
            protocol: port.protocol,
            port: port.port,
            target,
            otherwise,
        }
    }

    /// Why a port of a pod is had nowhere, whatever is free.
    pub fn unreachable(&self, pod: &Pod) -> Vec<String> {
        let nowhere =
            |port: &&HostPort| on_host(port.host_ip).is_none() && self.inside(port).next().is_none();
        let said = |port: &HostPort| {
            format!(
                "hostPort {}/{} asks for the host's address {}, which isopod leaves alone; leave hostIP out, or choose one of \
                 127.0.0.0/8",
                port.port, port.protocol, port.host_ip
            )
        };
        let elsewhere = pod.ports.good.iter().filter(nowhere).map(said);
        elsewhere.chain(pod.ports.wrong.iter().cloned()).collect()
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

/// Those of a pod that runs here.
fn host_ports(object: &Object, node: &str) -> Ports {
    let mut all = Ports::default();
    // Most pods name none, and are not parsed for that.
    let named = b"\"hostPort\"";
    if !object.json().windows(named.len()).any(|part| part == named) {
        return all;
    }
    let pod = object.value();
    let over = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed");
    let shares = pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true);
    let Ok(ip) = text(&pod, "/status/podIP").parse::<Ipv4Addr>() else {
        return all;
    };
    if over || text(&pod, "/spec/nodeName") != node {
        return all;
    }
    let sidecars =
        array(&pod, "/spec/initContainers").filter(|container| text(container, "/restartPolicy") == "Always");
    let containers = array(&pod, "/spec/containers").chain(sidecars);
    for port in containers.flat_map(|container| array(container, "/ports")) {
        let numbers = (port_number(port, "hostPort"), port_number(port, "containerPort"));
        let ((Some(number), Some(inner)), Some(protocol)) = (numbers, protocol(port)) else {
            continue;
        };
        let host_ip = match text(port, "/hostIP") {
            "" => Ok(Ipv4Addr::UNSPECIFIED),
            ip => ip.parse::<Ipv4Addr>(),
        };
        let target = match shares {
            true => Target::Host,
            false => Target::Pod(SocketAddrV4::new(ip, inner)),
        };
        match host_ip {
            Ok(host_ip) => all.good.push(HostPort {
                host_ip,
                protocol,
                port: number,
                target,
            }),
            Err(_) => all.wrong.push(format!(
                "hostPort {number}/{protocol} has the hostIP {:?}, which is no IPv4 address; leave hostIP out, or choose one of \
                 127.0.0.0/8",
                text(port, "/hostIP")
            )),
        }
    }
    all
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
            port(super::super::INNER_PORT, json!({})), {"containerPort": 9}, port(83, json!({"hostIP": "here"})),
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
        let inside: Vec<String> = all.rules().flat_map(keys).collect();
        assert_eq!(
            inside,
            [
                "192.0.2.1 8080",
                "127.0.0.1 8080",
                "192.0.2.1 5353",
                "127.0.0.1 5353",
                "127.0.0.7 81",
                "127.0.0.1 6443"
            ],
            "the API's own port stays the API's"
        );
        let wrong = all
            .pods()
            .flat_map(|pod| all.unreachable(pod))
            .collect::<Vec<_>>();
        assert!(wrong.len() == 2, "{wrong:?}");
        assert!(
            wrong[0].contains("192.0.2.200") && wrong[1].contains("\"here\""),
            "{wrong:?}"
        );
        assert!(all.put(&pod(&spec, "Failed")));
        assert_eq!(all.publications().count(), 0);
    }

    fn keys(service: Service) -> Vec<String> {
        let port = service.ports.first().map_or(0, |p| p.port);
        let key = |ip: &Ipv4Addr| format!("{ip} {port}");
        service.cluster_ips.iter().map(key).collect()
    }

    #[test]
    fn a_pod_on_the_hosts_network_is_reached_where_it_listens() {
        let port = |n: u16, host_ip: &str| json!({"containerPort": n, "hostPort": n, "protocol": "TCP", "hostIP": host_ip});
        let ports = json!([
            port(80, ""),
            port(81, "127.0.0.7"),
            port(82, "192.0.2.1"),
            port(83, "192.0.2.200"),
            port(super::super::INNER_PORT, ""),
        ]);
        let spec =
            json!({"nodeName": "n", "hostNetwork": true, "containers": [{"name": "c", "ports": ports}]});
        let mut all = HostPorts::new("n", Ipv4Addr::new(192, 0, 2, 1));
        assert!(all.put(&pod(&spec, "Running")));
        assert_eq!(all.rules().count(), 0, "it listens there itself");
        let shown: Vec<String> = all
            .publications()
            .flat_map(|p| p.ports)
            .map(|p| format!("{} -> {} or {:?}", p.port, p.target, p.otherwise))
            .collect();
        assert_eq!(
            shown,
            [
                "80 -> 127.0.0.1:80 or Some(192.0.2.1:80)",
                "6443 -> 127.0.0.1:6443 or None",
                "81 -> 127.0.0.7:81 or None",
            ]
        );
        let wrong: Vec<String> = all.pods().flat_map(|pod| all.unreachable(pod)).collect();
        assert!(wrong.len() == 1 && wrong[0].contains("192.0.2.200"), "{wrong:?}");
    }
}
