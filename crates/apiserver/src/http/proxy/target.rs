//! Where `[scheme:]name[:port]` leads: a pod's address, for a Service that of one of its ready pods.

use crate::http::route::Place;
use kinds::endpoints::ENDPOINTS;
use kinds::pod::PODS;
use kinds::service::SERVICES;
use meta::{Snapshot, Status};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where to connect to a pod.
#[derive(Debug, PartialEq)]
pub struct Target {
    pub address: SocketAddr,
    pub tls: bool,
    /// A port was named or found; else it is the scheme's own.
    explicit_port: bool,
}

impl Target {
    /// As a URL would have it.
    pub fn authority(&self) -> String {
        match self.explicit_port {
            true => self.address.to_string(),
            false => self.address.ip().to_string(),
        }
    }
}

/// `random` chooses among a Service's pods.
pub fn of(place: &Place, snapshot: &Snapshot, random: u64) -> Result<Target, Status> {
    let parts: Vec<&str> = place.name.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return Err(invalid(place)),
    };
    if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
        return Err(invalid(place));
    }
    let wanted = Wanted {
        place,
        snapshot,
        name,
        port,
        tls: scheme == "https",
    };
    match place.row.res == SERVICES {
        true => wanted.service(random),
        false => wanted.pod(),
    }
}

fn invalid(place: &Place) -> Status {
    let kind = place.row.singular;
    Status::bad_request(format!("invalid {kind} request {:?}", place.name))
}

struct Wanted<'a> {
    place: &'a Place,
    snapshot: &'a Snapshot,
    name: &'a str,
    port: &'a str,
    tls: bool,
}

impl Wanted<'_> {
    /// Without a port it is the first one that a container declares.
    fn pod(&self) -> Result<Target, Status> {
        let pod = self.snapshot.get(PODS, &self.place.namespace, self.name);
        let pod = pod.ok_or_else(|| Status::not_found(PODS, self.name))?.value();
        let port = match self.port {
            "" => declared_port(&pod),
            text if text.bytes().all(|b| b.is_ascii_digit()) => Some(number(text)?),
            _ => return Err(invalid(self.place)),
        };
        let ip = kinds::row::text(&pod, "/status/podIP");
        let ip: Option<IpAddr> = ip.parse().ok().filter(is_allowed);
        let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
        Ok(self.target(ip, port))
    }

    fn service(&self, random: u64) -> Result<Target, Status> {
        let port = self.service_port()?;
        let endpoints = self.snapshot.get(ENDPOINTS, &self.place.namespace, self.name);
        let endpoints = endpoints.ok_or_else(|| Status::not_found(ENDPOINTS, self.name))?;
        let endpoints = endpoints.value();
        let none = |of: &str| Status::unavailable(format!("no endpoints available for service {of:?}"));
        let subsets = array(&endpoints, "subsets");
        if subsets.is_empty() {
            return Err(none(self.name));
        }
        for subset in turned(subsets, random) {
            let has_name = |p: &&Value| p["name"].as_str().unwrap_or_default() == port;
            let Some(port) = array(subset, "ports").iter().find(has_name).and_then(port_of) else {
                continue;
            };
            let found = turned(array(subset, "addresses"), random).find_map(|a| self.checked(a));
            if let Some(ip) = found {
                return Ok(self.target(ip, Some(port)));
            }
        }
        Err(none(&self.place.name))
    }

    /// Ports go by name; for a number it is the name of the Service's port with that number.
    fn service_port(&self) -> Result<String, Status> {
        let Ok(wanted) = self.port.parse::<i64>() else {
            return Ok(self.port.to_string());
        };
        let service = self.snapshot.get(SERVICES, &self.place.namespace, self.name);
        let service = service
            .ok_or_else(|| Status::not_found(SERVICES, self.name))?
            .value();
        let port = array(&service["spec"], "ports")
            .iter()
            .find(|p| p["port"].as_i64() == Some(wanted));
        let port = port.ok_or_else(|| {
            let text = format!("no service port {wanted} found for service {:?}", self.name);
            Status::unavailable(text)
        })?;
        Ok(port["name"].as_str().unwrap_or_default().to_string())
    }

    /// The pod of an address, if it is the address of a pod in this namespace: whoever writes Endpoints must not be
    /// able to point the server elsewhere.
    fn checked(&self, address: &Value) -> Option<IpAddr> {
        let pod = &address["targetRef"];
        let ip = address["ip"].as_str()?;
        if pod["namespace"].as_str() != Some(&self.place.namespace) {
            return None;
        }
        let name = pod["name"].as_str()?;
        let object = self.snapshot.get(PODS, &self.place.namespace, name)?.value();
        let own = array(&object["status"], "podIPs")
            .iter()
            .any(|own| own["ip"] == ip);
        ip.parse().ok().filter(|ip| own && is_allowed(ip))
    }

    fn target(&self, ip: IpAddr, port: Option<u16>) -> Target {
        let usual = if self.tls { 443 } else { 80 };
        Target {
            address: SocketAddr::new(ip, port.unwrap_or(usual)),
            tls: self.tls,
            explicit_port: port.is_some(),
        }
    }
}

fn declared_port(pod: &Value) -> Option<u16> {
    let containers = array(&pod["spec"], "containers").iter();
    let first = containers.filter_map(|c| array(c, "ports").first()).next()?;
    first["containerPort"].as_u64().and_then(|p| p.try_into().ok())
}

fn number(text: &str) -> Result<u16, Status> {
    let port = text.parse();
    port.map_err(|_| super::unreachable(&format!("dial tcp: address {text}: invalid port")))
}

fn port_of(port: &Value) -> Option<u16> {
    port["port"].as_u64().and_then(|p| p.try_into().ok())
}

fn array<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// All items, beginning with a random one.
fn turned(items: &[Value], random: u64) -> impl Iterator<Item = &Value> {
    let first = usize::try_from(random % items.len().max(1) as u64).unwrap_or(0);
    items.iter().cycle().skip(first).take(items.len())
}

/// What a pod may have: nothing of the machine's own loopback or link.
fn is_allowed(ip: &IpAddr) -> bool {
    let v4 = |ip: &Ipv4Addr| ip.is_loopback() || ip.is_link_local() || *ip == Ipv4Addr::BROADCAST;
    let of_host = match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some(),
    };
    !(of_host || ip.is_multicast() || ip.is_unspecified())
}
