//! EndpointSlice: addresses behind a Service. Source: discovery.k8s.io/v1 API reference.

mod legacy;
mod mirror;
mod plan;

pub use mirror::CONTROLLER as MIRROR;
pub use plan::{CONTROLLER, ServiceFacts};

use crate::check::{dns_label, dns_subdomain, ip_message, messages, one_of, one_of_given, qualified_name};
use crate::endpoints::first_three;
use crate::json::{child_mut, get, has, int, items_mut, list, number, put, put_default, string, take};
use crate::row::{age, text};
use crate::service::endpoint_ip;
use crate::{Check, Column, Row, Rules, Write};
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
const MAX_HINTS: usize = 8;

struct EndpointSlice;

impl Rules for EndpointSlice {
    fn makes_generation(&self, object: &Value, old: &Value) -> bool {
        let labels = |object| crate::json::members(get(object, "metadata"), "labels");
        !labels(object).eq(labels(old))
    }

    fn default(&self, object: &mut Value) {
        for port in items_mut(object, "ports") {
            put_default(port, "name", "");
            put_default(port, "protocol", "TCP");
        }
    }

    /// Clients of this version cannot write the topology of the version before it.
    fn prepare(&self, _write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if old.is_some_and(|old| get(old, "endpoints") == get(object, "endpoints")) {
            return;
        }
        let mut topology = false;
        for endpoint in items_mut(object, "endpoints") {
            let given = take(endpoint, "deprecatedTopology");
            topology |= given.is_some_and(|given| given.as_object().is_some_and(|map| !map.is_empty()));
        }
        // Upstream has counted it as a change by then.
        if let (true, Some(old)) = (topology, old) {
            let generation = number(get(old, "metadata"), "generation") + 1;
            if let Some(metadata) = child_mut(object, "metadata") {
                put(metadata, "generation", generation);
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        head(object, errors);
        endpoints(object, errors);
    }

    /// Endpoints that stay as they were are not looked at again.
    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        head(object, errors);
        if get(object, "endpoints") != get(old, "endpoints") {
            endpoints(object, errors);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object, Check::Change]
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let field = "addressType";
        crate::check::immutable_text(get(object, field), get(old, field), &Path::new(field), errors);
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

fn head(object: &Value, errors: &mut Errors) {
    one_of(object, "addressType", &TYPES, true, &Path::root(), errors);
    check_ports(list(object, "ports"), errors);
}

fn endpoints(object: &Value, errors: &mut Errors) {
    let kind = string(object, "addressType");
    let (endpoints, path) = (list(object, "endpoints"), Path::new("endpoints"));
    if endpoints.len() > MAX_ENDPOINTS {
        errors.too_many(&path, endpoints.len(), MAX_ENDPOINTS);
        return;
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        check_endpoint(endpoint, kind, &path.index(i), errors);
    }
}

fn check_endpoint(endpoint: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let (addresses, field) = (list(endpoint, "addresses"), path.child("addresses"));
    if addresses.is_empty() {
        errors.required(&field, "must contain at least 1 address");
    } else if addresses.len() > MAX_ADDRESSES {
        errors.too_many(&field, addresses.len(), MAX_ADDRESSES);
    }
    for (i, address) in addresses.iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        check_address(address, kind, &field, i, errors);
    }
    if has(endpoint, "nodeName") {
        let name = string(endpoint, "nodeName");
        dns_subdomain(&path.child("nodeName"), name, errors);
    }
    if has(endpoint, "hostname") {
        dns_label(&path.child("hostname"), string(endpoint, "hostname"), errors);
    }
    check_hints(get(endpoint, "hints"), &path.child("hints"), errors);
}

/// Zones and nodes that an endpoint is meant for, each once.
fn check_hints(hints: &Value, path: &Path, errors: &mut Errors) {
    for field in ["forZones", "forNodes"] {
        let (all, path) = (list(hints, field), path.child(field));
        if all.len() > MAX_HINTS {
            errors.too_many(&path, all.len(), MAX_HINTS);
            return;
        }
        for (i, hint) in all.iter().enumerate() {
            let (name, path) = (string(hint, "name"), path.index(i).child("name"));
            if all[..i].iter().any(|h| string(h, "name") == name) {
                errors.duplicate(&path, name);
            }
            match field {
                "forZones" => messages(&path, name, meta::name::check_label_value(name), errors),
                _ => dns_subdomain(&path, name, errors),
            }
        }
    }
}

fn check_address(text: &str, kind: &str, all: &Path, i: usize, errors: &mut Errors) {
    let path = all.index(i);
    if kind == "FQDN" {
        domain_name(text, &path, errors);
    }
    if !matches!(kind, "IPv4" | "IPv6") {
        return;
    }
    if let Some(message) = ip_message(text) {
        errors.invalid(&path, text, message);
        return;
    }
    let Ok(ip) = text.parse::<IpAddr>() else { return };
    if kind == "IPv6" && ip.to_string() != text {
        let detail = format!("must be in canonical form ({:?})", ip.to_string());
        errors.invalid(&path, text, &detail);
        return;
    }
    if ip.is_ipv4() != (kind == "IPv4") {
        let detail = format!("must be an {kind} address");
        errors.invalid(all, text, &detail);
    }
    endpoint_ip(text, &path, errors);
}

/// A domain name of two labels or more.
fn domain_name(text: &str, path: &Path, errors: &mut Errors) {
    if text.is_empty() {
        errors.required(path, "");
        return;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let wrong = meta::name::check_dns1123_subdomain(name);
    let parts: Vec<&str> = name.split('.').collect();
    if !wrong.is_empty() {
        messages(path, name, wrong, errors);
    } else if parts.len() < 2 {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.invalid(path, name, detail);
    } else {
        for part in parts {
            messages(path, part, meta::name::check_dns1123_label(part), errors);
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
        if !has(port, "protocol") {
            errors.required(&path.child("protocol"), "");
        }
        one_of_given(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        if has(port, "appProtocol") {
            qualified_name(&path.child("appProtocol"), string(port, "appProtocol"), errors);
        }
    }
}
