//! Every name of the cluster and what it holds, built from Services and their endpoints: pure.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use hickory_proto::rr::Name;

use crate::config::{Cidr, NetConfig};
use crate::services::Protocol;

/// The cluster's domain and networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsZone {
    /// Without a dot at the end: `cluster.local`.
    pub domain: String,
    pub pod_cidr: Cidr,
    pub service_cidr: Cidr,
    /// Further names with an address, e.g. `host.isopod.internal`.
    pub hosts: Vec<(String, Ipv4Addr)>,
}

impl DnsZone {
    /// The zone of a network; `host.isopod.internal` when pods may reach the host.
    pub fn new(domain: impl Into<String>, config: &NetConfig) -> Self {
        let alias = config.egress.as_ref().and_then(|e| e.host_alias);
        Self {
            domain: domain.into(),
            pod_cidr: config.pod_cidr,
            service_cidr: config.service_cidr,
            hosts: alias
                .map(|ip| ("host.isopod.internal".to_owned(), ip))
                .into_iter()
                .collect(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsKind {
    ClusterIp(Vec<Ipv4Addr>),
    Headless,
    ExternalName(String),
}

/// A named port; an empty name has no SRV record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsPort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

/// An address that DNS may name: ready, or any when the Service has `publishNotReadyAddresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsEndpoint {
    pub ip: Ipv4Addr,
    /// The pod's hostname when its subdomain is this Service.
    pub hostname: Option<String>,
    /// The EndpointSlice's ports.
    pub ports: Vec<DnsPort>,
}

/// A Service of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsService {
    pub namespace: String,
    pub name: String,
    pub kind: DnsKind,
    /// The Service's ports.
    pub ports: Vec<DnsPort>,
    pub endpoints: Vec<DnsEndpoint>,
}

/// What a name holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    A(Ipv4Addr),
    Srv { port: u16, target: Name },
    Cname(Name),
    Ptr(Name),
    Txt(&'static str),
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name exists; it may hold nothing of the type that was asked for.
    Data(&'a [Data]),
    /// A name made from a pod's address.
    Pod(Ipv4Addr),
    /// The name is the cluster's to give, and it is not there.
    Missing,
    /// Somebody else's name.
    Foreign,
}

/// Immutable; a new one replaces it as a whole.
#[derive(Debug, Clone)]
pub struct DnsTable {
    zone: DnsZone,
    /// By name in lower case, without a dot at the end.
    names: HashMap<String, Vec<Data>>,
}

impl DnsTable {
    /// The table for `services`. Names that are too long for DNS are left out (the API refuses them).
    pub fn build(zone: DnsZone, services: &[DnsService]) -> Self {
        let mut table = Self {
            names: HashMap::with_capacity(services.len() * 4),
            zone,
        };
        let domain = table.zone.domain.clone();
        for name in ["svc", "pod"] {
            table.exists(&format!("{name}.{domain}"));
        }
        table.add(&format!("dns-version.{domain}"), Data::Txt("1.1.0"));
        for (name, ip) in table.zone.hosts.clone() {
            table.add(&name, Data::A(ip));
        }
        for service in services {
            table.add_service(service);
        }
        table
    }

    pub fn zone(&self) -> &DnsZone {
        &self.zone
    }

    /// Looks up a name in lower case, without a dot at the end.
    pub fn find(&self, name: &str) -> Found<'_> {
        if let Some(data) = self.names.get(name) {
            return Found::Data(data);
        }
        if let Some(ip) = reverse_address(name) {
            let ours = self.zone.pod_cidr.contains(ip) || self.zone.service_cidr.contains(ip);
            return if ours { Found::Missing } else { Found::Foreign };
        }
        let Some(rest) = name.strip_suffix(&self.zone.domain) else {
            return Found::Foreign;
        };
        if !(rest.is_empty() || rest.ends_with('.')) {
            return Found::Foreign;
        }
        match self.pod_address(rest) {
            Some(ip) => Found::Pod(ip),
            None => Found::Missing,
        }
    }

    /// `10-244-0-7.default.pod.` is 10.244.0.7.
    fn pod_address(&self, rest: &str) -> Option<Ipv4Addr> {
        let (dashed, namespace) = rest.strip_suffix(".pod.")?.split_once('.')?;
        if namespace.is_empty() || namespace.contains('.') {
            return None;
        }
        let ip: Ipv4Addr = dashed.replace('-', ".").parse().ok()?;
        self.zone.pod_cidr.contains(ip).then_some(ip)
    }

    fn add_service(&mut self, service: &DnsService) {
        let base =
            format!("{}.{}.svc.{}", service.name, service.namespace, self.zone.domain).to_ascii_lowercase();
        match &service.kind {
            DnsKind::ExternalName(target) => {
                if let Some(target) = absolute(target) {
                    self.add(&base, Data::Cname(target));
                }
                return;
            }
            DnsKind::ClusterIp(ips) => {
                self.exists(&base);
                for ip in ips {
                    self.add(&base, Data::A(*ip));
                    self.add_pointer(*ip, &base);
                }
                for port in &service.ports {
                    self.add_srv(&base, port, &base);
                }
            }
            DnsKind::Headless => self.exists(&base),
        }
        let headless = service.kind == DnsKind::Headless;
        for endpoint in &service.endpoints {
            let label = match &endpoint.hostname {
                Some(hostname) => hostname.to_ascii_lowercase(),
                None => endpoint.ip.to_string().replace('.', "-"),
            };
            let target = format!("{label}.{base}");
            self.add(&target, Data::A(endpoint.ip));
            self.add_pointer(endpoint.ip, &target);
            if headless {
                self.add(&base, Data::A(endpoint.ip));
                for port in &endpoint.ports {
                    self.add_srv(&base, port, &target);
                }
            }
        }
    }

    fn add_srv(&mut self, base: &str, port: &DnsPort, target: &str) {
        let Some(target) = absolute(target) else {
            return;
        };
        let data = Data::Srv {
            port: port.port,
            target,
        };
        self.add(base, data.clone());
        if !port.name.is_empty() {
            let name = format!("_{}._{}.{base}", port.name.to_ascii_lowercase(), port.protocol);
            self.add(&name, data);
        }
    }

    fn add_pointer(&mut self, ip: Ipv4Addr, name: &str) {
        let [a, b, c, d] = ip.octets();
        if let Some(target) = absolute(name) {
            self.add(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), Data::Ptr(target));
        }
    }

    fn add(&mut self, name: &str, data: Data) {
        self.exists(name);
        if let Some(held) = self.names.get_mut(name)
            && !held.contains(&data)
        {
            held.push(data);
        }
    }

    /// The name, and those above it in the zone, exist even if they hold nothing.
    fn exists(&mut self, name: &str) {
        let mut name = name;
        while !self.names.contains_key(name) {
            self.names.insert(name.to_owned(), Vec::new());
            match name.split_once('.') {
                Some((_, above)) if above.ends_with(&self.zone.domain) => name = above,
                _ => return,
            }
        }
    }
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// `7.0.244.10.in-addr.arpa` is 10.244.0.7.
fn reverse_address(name: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = name.strip_suffix(".in-addr.arpa")?.split('.');
    for octet in octets.iter_mut().rev() {
        *octet = parts.next()?.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}
