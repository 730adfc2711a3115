//! Keeps the network in step with the API: service rules, DNS and what is published on the host's loopback; and says
//! in each LoadBalancer Service's status where it can be reached.

use super::hostports::HostPorts;
use futures::{FutureExt, StreamExt};
use kinds::endpointslice::ENDPOINTSLICES;
use kinds::event;
use kinds::plan::{EventAct, Target};
use kinds::pod::PODS;
use kinds::row::text;
use kinds::service::SERVICES;
use kinds::{Registry, Seen};
use meta::snapshot::Change;
use meta::{Call, Client, Env, Object, Res, Snapshot, Timestamp};
use net::dns::{DnsEndpoint, DnsKind, DnsPort, DnsService, DnsZone};
use net::{
    ClusterNet, DnsServer, DnsTable, Endpoint, Protocol, Publication, PublishOn, PublishPort, Published,
    Publisher, Service, ServicePort,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

/// Changes taken in before the network is set anew, so that a burst is one change.
const MAX_DRAIN: usize = 4096;
/// What could not be published is tried again after 1, 2, 4 … seconds, at most this many.
const RETRY_MAX_S: i64 = 60;

pub struct Proxy {
    pub client: Arc<dyn Client>,
    pub env: Arc<dyn Env>,
    pub net: Arc<ClusterNet>,
    pub dns: DnsServer,
    pub publisher: Publisher,
    pub zone: DnsZone,
    pub host_ports: HostPorts,
}

/// When what could not be published is tried again. No event tells that a port of the host is free.
#[derive(Default)]
struct Retry {
    failures: u32,
    at: Option<Timestamp>,
}

impl Retry {
    fn note(&mut self, complete: bool, now: Timestamp) {
        self.failures = match complete {
            true => 0,
            false => self.failures.saturating_add(1),
        };
        let seconds = (1_i64 << self.failures.saturating_sub(1).min(6)).min(RETRY_MAX_S);
        self.at = (!complete).then(|| now.plus_seconds(seconds));
    }
}

impl Proxy {
    /// Follows the API until it ends, or the task is dropped.
    pub async fn run(mut self) {
        let mut retry = Retry::default();
        loop {
            let snapshot = self.client.snapshot();
            self.host_ports.reset(&snapshot);
            retry.note(self.apply(&snapshot).await, self.env.now());
            let mut changes = self.client.changes(snapshot.revision());
            loop {
                let again = match retry.at {
                    Some(at) => self.env.sleep_until(at),
                    None => futures::future::pending().boxed(),
                };
                let change = tokio::select! {
                    change = changes.next() => change,
                    () = again => {
                        retry.note(self.apply(&self.client.snapshot()).await, self.env.now());
                        continue;
                    }
                };
                let change = match change {
                    Some(Ok(change)) => change,
                    // The place in the history is lost: everything is read again.
                    Some(Err(_)) => break,
                    None => return,
                };
                let mut relevant = self.concerns(&change);
                for _ in 0..MAX_DRAIN {
                    match changes.next().now_or_never() {
                        Some(Some(Ok(change))) => relevant |= self.concerns(&change),
                        _ => break,
                    }
                }
                if relevant {
                    // What changed may be what was in the way.
                    retry = Retry::default();
                    retry.note(self.apply(&self.client.snapshot()).await, self.env.now());
                }
            }
        }
    }

    fn concerns(&mut self, change: &Change) -> bool {
        let pods = self.host_ports.change(change);
        pods || change.res == SERVICES || change.res == ENDPOINTSLICES
    }

    /// Says whether all that should be published is.
    async fn apply(&self, snapshot: &Snapshot) -> bool {
        let views = views(snapshot);
        let services = views.iter().filter_map(ServiceView::rules);
        let services: Vec<Service> = services.chain(self.host_ports.rules()).collect();
        if let Err(error) = self.net.set_services(&services).await {
            tracing::error!(%error, "service rules not changed");
        }
        let names: Vec<DnsService> = views.iter().map(ServiceView::dns).collect();
        self.dns.set_table(DnsTable::build(self.zone.clone(), &names));
        let of_services = views.iter().flat_map(ServiceView::publications);
        let publications: Vec<Publication> = of_services.chain(self.host_ports.publications()).collect();
        let published = self.publisher.set(&publications).await;
        for view in &views {
            self.settle_status(view, &published, snapshot).await;
        }
        for pod in self.host_ports.pods() {
            let key = pod.key();
            let own = published
                .iter()
                .filter(|p| p.service == key)
                .flat_map(|p| &p.ports);
            let errors = own.filter_map(|port| port.bound.as_ref().err().map(ToString::to_string));
            for message in errors.chain(self.host_ports.unreachable(pod)) {
                self.warn(&pod.object, ("Pod", PODS), &message, snapshot).await;
            }
        }
        published
            .iter()
            .flat_map(|p| &p.ports)
            .all(|port| port.bound.is_ok())
    }

    /// Writes `status.loadBalancer` when it differs, and an event when a port could not be had.
    async fn settle_status(&self, view: &ServiceView, published: &[Published], snapshot: &Snapshot) {
        let key = view.key();
        let own = || published.iter().filter(|p| p.service == key);
        let balanced = own().find(|p| p.on == PublishOn::AnyLoopback);
        let wanted = match balanced.and_then(Published::address) {
            Some(address) => json!({"ingress": [{"ip": address, "ipMode": "VIP"}]}),
            None => json!({}),
        };
        let stored = view
            .value
            .pointer("/status/loadBalancer")
            .cloned()
            .unwrap_or_else(|| json!({}));
        if stored != wanted {
            let patch = json!({"status": {"loadBalancer": {"ingress": wanted.get("ingress")}}});
            let (namespace, name) = (view.object.namespace(), view.object.name());
            let call = Call::merge_patch(SERVICES, namespace, name, patch)
                .subresource("status")
                .if_uid(view.object.uid());
            if let Err(status) = self.client.call(call.manager("service-controller")).await {
                tracing::debug!(service = %key, %status, "status not written");
            }
        }
        let errors = own()
            .flat_map(|p| &p.ports)
            .filter_map(|port| port.bound.as_ref().err());
        for error in errors {
            self.warn(&view.object, ("Service", SERVICES), &error.to_string(), snapshot)
                .await;
        }
    }

    /// An event about an object, once: one that says the same is not counted up at each look.
    async fn warn(&self, object: &Object, (kind, res): (&str, Res), message: &str, snapshot: &Snapshot) {
        let act = EventAct {
            about: Target::of(res, object),
            api_version: "v1".into(),
            kind: kind.into(),
            warning: true,
            reason: "PortNotPublished",
            message: message.to_string(),
            field_path: None,
        };
        let rows = Registry::default();
        let seen = Seen {
            now: self.env.now(),
            snapshot,
            rows: &rows,
        };
        let call = event::record("service-controller", &act, &seen);
        if call.verb == meta::Verb::Create
            && let Err(status) = self.client.call(call).await
        {
            tracing::debug!(%status, "event not recorded");
        }
    }
}

/// A Service with the slices behind it.
struct ServiceView {
    object: Object,
    value: Value,
    slices: Vec<Value>,
}

fn views(snapshot: &Snapshot) -> Vec<ServiceView> {
    let mut slices: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for slice in snapshot.list(ENDPOINTSLICES, "") {
        if let Some(service) = slice.meta().label("kubernetes.io/service-name") {
            let key = meta::object::key(slice.namespace(), service);
            slices.entry(key).or_default().push(slice.value());
        }
    }
    let services = snapshot.list(SERVICES, "");
    services
        .map(|object| ServiceView {
            slices: slices.remove(&object.meta().key()).unwrap_or_default(),
            value: object.value(),
            object: object.clone(),
        })
        .collect()
}

pub(super) fn protocol(port: &Value) -> Option<Protocol> {
    match port.get("protocol").and_then(Value::as_str) {
        Some("TCP") | None => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

pub(super) fn port_number(port: &Value, field: &str) -> Option<u16> {
    port.get(field)?.as_u64()?.try_into().ok().filter(|p| *p > 0)
}

pub(super) fn array<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn dns_ports(list: &Value) -> Vec<DnsPort> {
    let port = |p: &Value| {
        Some(DnsPort {
            name: text(p, "/name").into(),
            protocol: protocol(p)?,
            port: port_number(p, "port")?,
        })
    };
    list.as_array().into_iter().flatten().filter_map(port).collect()
}

impl ServiceView {
    fn key(&self) -> String {
        self.object.meta().key()
    }

    fn cluster_ips(&self) -> Vec<Ipv4Addr> {
        array(&self.value, "/spec/clusterIPs")
            .filter_map(|ip| ip.as_str()?.parse().ok())
            .collect()
    }

    fn kind(&self) -> &str {
        text(&self.value, "/spec/type")
    }

    /// Endpoints of a named port. Ready ones; when there is none, those that still serve while they end (KEP-1669).
    fn endpoints(&self, port: &str, protocol: Protocol) -> Vec<Endpoint> {
        let (mut ready, mut ending) = (Vec::new(), Vec::new());
        for slice in &self.slices {
            let same = |p: &&Value| text(p, "/name") == port && self::protocol(p) == Some(protocol);
            let Some(number) = array(slice, "/ports")
                .find(same)
                .and_then(|p| port_number(p, "port"))
            else {
                continue;
            };
            for endpoint in array(slice, "/endpoints") {
                let Some(ip) = text(endpoint, "/addresses/0").parse().ok() else {
                    continue;
                };
                let is = |condition: &str, default: bool| {
                    endpoint
                        .pointer(&format!("/conditions/{condition}"))
                        .and_then(Value::as_bool)
                        .unwrap_or(default)
                };
                if is("ready", true) {
                    ready.push(Endpoint { ip, port: number });
                } else if is("serving", false) && is("terminating", false) {
                    ending.push(Endpoint { ip, port: number });
                }
            }
        }
        if ready.is_empty() { ending } else { ready }
    }

    /// The Service for the packet rules; `None` for headless and external ones.
    fn rules(&self) -> Option<Service> {
        let cluster_ips = self.cluster_ips();
        // The cluster's DNS has its address on lo and needs no rule.
        if cluster_ips.is_empty() || self.key() == "kube-system/kube-dns" {
            return None;
        }
        let seconds = self
            .value
            .pointer("/spec/sessionAffinityConfig/clientIP/timeoutSeconds");
        let affinity = (text(&self.value, "/spec/sessionAffinity") == "ClientIP")
            .then(|| Duration::from_secs(seconds.and_then(Value::as_u64).unwrap_or(10_800)));
        let ports = array(&self.value, "/spec/ports").filter_map(|p| {
            let (name, protocol) = (text(p, "/name"), protocol(p)?);
            Some(ServicePort {
                name: name.into(),
                protocol,
                port: port_number(p, "port")?,
                node_port: port_number(p, "nodePort"),
                endpoints: self.endpoints(name, protocol),
            })
        });
        Some(Service {
            namespace: self.object.namespace().into(),
            name: self.object.name().into(),
            cluster_ips,
            ports: ports.collect(),
            affinity,
        })
    }

    fn dns(&self) -> DnsService {
        let ips = self.cluster_ips();
        let kind = match self.kind() {
            "ExternalName" => DnsKind::ExternalName(text(&self.value, "/spec/externalName").into()),
            _ if ips.is_empty() => DnsKind::Headless,
            _ => DnsKind::ClusterIp(ips),
        };
        let mut endpoints = Vec::new();
        for slice in &self.slices {
            let ports = dns_ports(slice.get("ports").unwrap_or(&Value::Null));
            for endpoint in array(slice, "/endpoints") {
                let ready = endpoint
                    .pointer("/conditions/ready")
                    .and_then(Value::as_bool)
                    .unwrap_or(true);
                let ip = text(endpoint, "/addresses/0").parse().ok().filter(|_| ready);
                let hostname = endpoint
                    .get("hostname")
                    .and_then(Value::as_str)
                    .map(str::to_string);
                endpoints.extend(ip.map(|ip| DnsEndpoint {
                    ip,
                    hostname,
                    ports: ports.clone(),
                }));
            }
        }
        DnsService {
            namespace: self.object.namespace().into(),
            name: self.object.name().into(),
            kind,
            ports: dns_ports(self.value.pointer("/spec/ports").unwrap_or(&Value::Null)),
            endpoints,
        }
    }

    /// Node ports on 127.0.0.1; a LoadBalancer's ports on the first loopback address that has them free.
    fn publications(&self) -> Vec<Publication> {
        let Some(ip) = self.cluster_ips().first().copied() else {
            return Vec::new();
        };
        let publication = |on: PublishOn, field: &str| {
            let ports = array(&self.value, "/spec/ports").filter_map(|p| {
                let target = SocketAddrV4::new(ip, port_number(p, "port")?);
                Some(PublishPort {
                    protocol: protocol(p)?,
                    port: port_number(p, field)?,
                    target,
                    otherwise: None,
                })
            });
            Publication {
                service: self.key(),
                on,
                prefer: text(&self.value, "/status/loadBalancer/ingress/0/ip")
                    .parse()
                    .ok(),
                ports: ports.collect(),
            }
        };
        let mut out = Vec::new();
        if matches!(self.kind(), "NodePort" | "LoadBalancer") {
            out.push(publication(PublishOn::Localhost, "nodePort"));
        }
        if self.kind() == "LoadBalancer" && !self.object.meta().is_deleting() {
            out.push(publication(PublishOn::AnyLoopback, "port"));
        }
        out.retain(|p| !p.ports.is_empty());
        out
    }
}
