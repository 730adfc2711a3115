//! EndpointSlice: addresses behind a Service. Source: discovery.k8s.io/v1 API reference.

mod legacy;
mod mirror;
mod plan;

pub use mirror::CONTROLLER as MIRROR;
pub use plan::{CONTROLLER, ServiceFacts};

use crate::check::{dns_label, dns_subdomain, one_of, port_number, qualified_name};
use crate::endpoints::first_three;
use crate::json::{get, has, int, items_mut, list, put_default, string};
use crate::row::{age, text};
use crate::service::special_messages;
use crate::{Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

pub const ENDPOINTSLICES: Res = Res::new("discovery.k8s.io", "endpointslices");

pub fn row() -> Row {
    Row {
        res: ENDPOINTSLICES,
        version: "v1",
        kind: "EndpointSlice",
        singular: "endpointslice",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.discovery.v1.EndpointSlice",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("AddressType", "string").shows("discovery.v1.EndpointSlice", "addressType"),
                Column::new("Ports", "string").shows("discovery.v1.EndpointSlice", "ports"),
                Column::new("Endpoints", "string").shows("discovery.v1.EndpointSlice", "endpoints"),
                Column::AGE,
            ]
        },
        rules: Arc::new(EndpointSlice),
    }
}

const TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_ZONE_HINTS: usize = 8;

struct EndpointSlice;

impl Rules for EndpointSlice {
    fn makes_generation(&self, object: &Value, old: &Value) -> bool {
        let labels = |object| crate::json::members(get(object, "metadata"), "labels");
        !labels(object).eq(labels(old))
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        for port in items_mut(object, "ports") {
            put_default(port, "name", "");
            put_default(port, "protocol", "TCP");
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let kind = string(object, "addressType");
        one_of(object, "addressType", &TYPES, true, &Path::root(), errors);
        let (endpoints, path) = (list(object, "endpoints"), Path::new("endpoints"));
        if endpoints.len() > MAX_ENDPOINTS {
            errors.too_many(&path, endpoints.len(), MAX_ENDPOINTS);
        } else {
            for (i, endpoint) in endpoints.iter().enumerate() {
                check_endpoint(endpoint, kind, &path.index(i), errors);
            }
        }
        check_ports(list(object, "ports"), errors);
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let field = "addressType";
        crate::check::immutable(get(object, field), get(old, field), &Path::new(field), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let port = |port: &Value| match (int(port, "port"), string(port, "name")) {
            (Some(number), _) => number.to_string(),
            (None, _) if !has(port, "name") => "*".to_string(),
            (None, name) => name.to_string(),
        };
        let ports: Vec<String> = list(object, "ports").iter().map(port).collect();
        let addresses = list(object, "endpoints")
            .iter()
            .flat_map(|e| list(e, "addresses"));
        let addresses: Vec<String> = addresses
            .map(|a| a.as_str().unwrap_or_default().to_string())
            .collect();
        let or_unset = |text: String| {
            if text.is_empty() {
                "<unset>".to_string()
            } else {
                text
            }
        };
        vec![
            text(object, "/metadata/name").into(),
            string(object, "addressType").into(),
            or_unset(first_three(&ports)).into(),
            or_unset(first_three(&addresses)).into(),
            age(object, now).into(),
        ]
    }
}

fn check_endpoint(endpoint: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let (addresses, field) = (list(endpoint, "addresses"), path.child("addresses"));
    if addresses.is_empty() {
        errors.required(&field, "must contain at least 1 address");
    } else if addresses.len() > MAX_ADDRESSES {
        errors.too_many(&field, addresses.len(), MAX_ADDRESSES);
    }
    for (i, address) in addresses.iter().take(MAX_ADDRESSES).enumerate() {
        check_address(
            address.as_str().unwrap_or_default(),
            kind,
            &field.index(i),
            errors,
        );
    }
    if has(endpoint, "nodeName") {
        let name = string(endpoint, "nodeName");
        dns_subdomain(&path.child("nodeName"), name, errors);
    }
    if has(endpoint, "hostname") {
        dns_label(&path.child("hostname"), string(endpoint, "hostname"), errors);
    }
    let (zones, field) = (
        list(get(endpoint, "hints"), "forZones"),
        path.child("hints").child("forZones"),
    );
    if zones.len() > MAX_ZONE_HINTS {
        errors.too_many(&field, zones.len(), MAX_ZONE_HINTS);
    }
    for (i, zone) in zones.iter().enumerate() {
        if zones[..i].contains(zone) {
            errors.duplicate(&field.index(i).child("name"), string(zone, "name"));
        }
    }
}

fn check_address(text: &str, kind: &str, path: &Path, errors: &mut Errors) {
    let ip = text.parse::<IpAddr>();
    let wrong = match (kind, &ip) {
        ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => None,
        ("IPv4" | "IPv6", Err(_)) => crate::service::ip_message(text),
        ("IPv4", _) => Some("must be an IPv4 address"),
        ("IPv6", _) => Some("must be an IPv6 address"),
        _ => None,
    };
    if let Some(message) = wrong {
        errors.invalid(path, text, message);
    }
    if matches!(kind, "IPv4" | "IPv6") {
        for message in special_messages(text) {
            errors.invalid(path, text, message);
        }
    } else if kind == "FQDN" {
        dns_subdomain(path, text.strip_suffix('.').unwrap_or(text), errors);
        if !text.trim_end_matches('.').contains('.') {
            let detail = "should be a domain with at least two segments separated by dots";
            errors.invalid(path, text, detail);
        }
    }
}

fn check_ports(ports: &[Value], errors: &mut Errors) {
    let root = Path::new("ports");
    if ports.len() > MAX_PORTS {
        errors.too_many(&root, ports.len(), MAX_PORTS);
        return;
    }
    for (i, port) in ports.iter().enumerate() {
        let (path, name) = (root.index(i), string(port, "name"));
        if !name.is_empty() {
            dns_label(&path.child("name"), name, errors);
        }
        if ports[..i].iter().any(|p| string(p, "name") == name) {
            errors.duplicate(&path.child("name"), name);
        }
        if let Some(number) = int(port, "port") {
            port_number(number, &path.child("port"), errors);
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], true, &path, errors);
        if has(port, "appProtocol") {
            qualified_name(&path.child("appProtocol"), string(port, "appProtocol"), errors);
        }
    }
}
