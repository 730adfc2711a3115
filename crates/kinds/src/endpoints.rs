//! Endpoints: the older form of EndpointSlices. Source: core/v1 API reference.

use crate::check::{dns_label, dns_subdomain, ip, one_of, port_number, qualified_name};
use crate::json::{get, has, items_mut, list, number, put_default, string};
use crate::row::{age, text};
use crate::service::endpoint_ip;
use crate::{Column, Row, Rules};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const ENDPOINTS: Res = Res::new("", "endpoints");

pub fn row() -> Row {
    Row {
        res: ENDPOINTS,
        version: "v1",
        kind: "Endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Endpoints",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Endpoints", "string").shows("core.v1.Endpoints", "subsets"),
                Column::AGE,
            ]
        },
        rules: Arc::new(Endpoints),
    }
}

struct Endpoints;

impl Rules for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in items_mut(object, "subsets") {
            for port in items_mut(subset, "ports") {
                put_default(port, "protocol", "TCP");
            }
        }
    }

    /// Subsets that stay as they were are not looked at again.
    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        if get(object, "subsets") != get(old, "subsets") {
            self.validate(object, errors);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        for (i, subset) in list(object, "subsets").iter().enumerate() {
            let path = Path::new("subsets").index(i);
            let fields = ["addresses", "notReadyAddresses"];
            if fields.iter().all(|f| list(subset, f).is_empty()) {
                errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
            }
            for field in fields {
                for (i, address) in list(subset, field).iter().enumerate() {
                    check_address(address, &path.child(field).index(i), errors);
                }
            }
            let ports = list(subset, "ports");
            for (i, port) in ports.iter().enumerate() {
                check_port(port, ports.len() > 1, &path.child("ports").index(i), errors);
            }
        }
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            shown(object).into(),
            age(object, now).into(),
        ]
    }
}

fn check_address(address: &Value, path: &Path, errors: &mut Errors) {
    let (text, field) = (string(address, "ip"), path.child("ip"));
    ip(text, &field, errors);
    let hostname = string(address, "hostname");
    if !hostname.is_empty() {
        dns_label(&path.child("hostname"), hostname, errors);
    }
    if has(address, "nodeName") {
        dns_subdomain(&path.child("nodeName"), string(address, "nodeName"), errors);
    }
    endpoint_ip(text, &field, errors);
}

fn check_port(port: &Value, named: bool, path: &Path, errors: &mut Errors) {
    let name = string(port, "name");
    if name.is_empty() && named {
        errors.required(&path.child("name"), "");
    } else if !name.is_empty() {
        dns_label(&path.child("name"), name, errors);
    }
    port_number(number(port, "port"), &path.child("port"), errors);
    one_of(port, "protocol", &["SCTP", "TCP", "UDP"], true, path, errors);
    if has(port, "appProtocol") {
        qualified_name(&path.child("appProtocol"), string(port, "appProtocol"), errors);
    }
}

/// Ready addresses with their ports, three at most.
fn shown(endpoints: &Value) -> String {
    let subsets = list(endpoints, "subsets");
    if subsets.is_empty() {
        return "<none>".to_string();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let ips = || list(subset, "addresses").iter().map(|a| string(a, "ip"));
        let ports = list(subset, "ports");
        if ports.is_empty() {
            all.extend(ips().map(str::to_string));
        }
        for port in ports {
            all.extend(ips().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{}", get(port, "port")),
                false => format!("{ip}:{}", get(port, "port")),
            }));
        }
    }
    first_three(&all)
}

/// `a,b,c + 2 more...`
pub(crate) fn first_three(all: &[String]) -> String {
    const MAX: usize = 3;
    let first = all[..all.len().min(MAX)].join(",");
    match all.len().saturating_sub(MAX) {
        0 => first,
        more => format!("{first} + {more} more..."),
    }
}
