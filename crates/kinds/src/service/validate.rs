//! What is wrong with a Service, and what may change in one. Source: core/v1 API reference.

use super::families::{self, ip_message};
use super::{is_headless, is_reached_from_outside, kind, needs_cluster_ip, needs_health_check};
use crate::check::{dns_label, dns_subdomain, labels, one_of, port_number, port_or_name, qualified_name};
use crate::json::{at, get, has, int, list, number, some, string};
use meta::{Errors, Path};
use serde_json::{Value, json};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const AFFINITY_MAX_SECONDS: i64 = 86_400;
/// The node agent's own port; balancers that open it to the world have done harm.
const KUBELET_PORT: i64 = 10_250;
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

pub(super) fn service(object: &Value, errors: &mut Errors) {
    let (spec, root) = (get(object, "spec"), Path::new("spec"));
    if list(spec, "ports").is_empty() && !is_headless(spec) && kind(spec) != "ExternalName" {
        errors.required(&root.child("ports"), "");
    }
    by_type(spec, &root, errors);
    ports(spec, errors);
    labels(spec, "selector", &root.child("selector"), errors);
    affinity(spec, &root, errors);
    for (i, ip) in list(spec, "externalIPs").iter().enumerate() {
        external_ip(
            ip.as_str().unwrap_or_default(),
            &root.child("externalIPs").index(i),
            errors,
        );
    }
    one_of(spec, "type", &TYPES, true, &root, errors);
    repeated_ports(spec, errors);
    balancer(spec, &root, errors);
    families::validate(spec, errors);
    traffic(spec, &root, errors);
}

fn by_type(spec: &Value, root: &Path, errors: &mut Errors) {
    let kind = kind(spec);
    if matches!(kind, "LoadBalancer" | "NodePort") && is_headless(spec) {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.invalid(&root.child("clusterIPs").index(0), super::NONE, &detail);
    }
    match kind {
        "LoadBalancer" => {
            for (i, port) in list(spec, "ports").iter().enumerate() {
                if number(port, "port") == KUBELET_PORT {
                    let detail =
                        format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                    errors.invalid(&root.child("ports").index(i), KUBELET_PORT, &detail);
                }
            }
        }
        "ClusterIP" => {
            for (i, port) in list(spec, "ports").iter().enumerate() {
                if number(port, "nodePort") != 0 {
                    let path = root.child("ports").index(i).child("nodePort");
                    errors.forbidden(&path, "may not be used when `type` is 'ClusterIP'");
                }
            }
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies"] {
                if !list(spec, field).is_empty() {
                    errors.forbidden(&root.child(field), "may not be set for ExternalName services");
                }
            }
            if has(spec, "ipFamilyPolicy") {
                let path = root.child("ipFamilyPolicy");
                errors.forbidden(&path, "may not be set for ExternalName services");
            }
            let (name, path) = (string(spec, "externalName"), root.child("externalName"));
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.required(&path, ""),
                name => dns_subdomain(&path, name, errors),
            }
        }
        _ => {}
    }
}

fn ports(spec: &Value, errors: &mut Errors) {
    let all = list(spec, "ports");
    let mut names: Vec<&str> = Vec::new();
    for (i, port) in all.iter().enumerate() {
        let path = Path::new("spec").child("ports").index(i);
        let name = string(port, "name");
        if name.is_empty() && all.len() > 1 {
            errors.required(&path.child("name"), "");
        } else if !name.is_empty() {
            dns_label(&path.child("name"), name, errors);
            if names.contains(&name) {
                errors.duplicate(&path.child("name"), name);
            }
            names.push(name);
        }
        port_number(number(port, "port"), &path.child("port"), errors);
        one_of(port, "protocol", &PROTOCOLS, true, &path, errors);
        port_or_name(get(port, "targetPort"), &path.child("targetPort"), errors);
        if let Some(protocol) = some(port, "appProtocol").and_then(Value::as_str) {
            qualified_name(&path.child("appProtocol"), protocol, errors);
        }
    }
}

/// No port twice under one protocol, neither inside nor on the node.
fn repeated_ports(spec: &Value, errors: &mut Errors) {
    let all = list(spec, "ports");
    let twice = |i: usize, field: &str| {
        let same = |p: &Value| {
            get(p, field) == get(&all[i], field) && get(p, "protocol") == get(&all[i], "protocol")
        };
        all[..i].iter().any(same)
    };
    for (i, port) in all.iter().enumerate() {
        let path = Path::new("spec").child("ports").index(i);
        if number(port, "nodePort") != 0 && twice(i, "nodePort") {
            errors.duplicate(&path.child("nodePort"), number(port, "nodePort"));
        }
    }
    for (i, port) in all.iter().enumerate().filter(|(i, _)| twice(*i, "port")) {
        let shown = json!({"port": number(port, "port"), "protocol": string(port, "protocol")});
        errors.duplicate(&Path::new("spec").child("ports").index(i), shown);
    }
}

fn affinity(spec: &Value, root: &Path, errors: &mut Errors) {
    one_of(spec, "sessionAffinity", &["ClientIP", "None"], true, root, errors);
    let path = root.child("sessionAffinityConfig");
    let config = get(spec, "sessionAffinityConfig");
    match string(spec, "sessionAffinity") {
        "None" if !config.is_null() => {
            errors.forbidden(&path, "must not be set when session affinity is None");
        }
        "ClientIP" => {
            let detail = "when session affinity type is ClientIP";
            let path = path.child("clientIP");
            match int(get(config, "clientIP"), "timeoutSeconds") {
                None => errors.required(&path.child("timeoutSeconds"), detail),
                Some(seconds) if seconds <= 0 || seconds > AFFINITY_MAX_SECONDS => {
                    let detail = format!("must be greater than 0 and less than {AFFINITY_MAX_SECONDS}");
                    errors.invalid(&path.child("timeoutSeconds"), seconds, &detail);
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

/// An address that can stand for something outside.
fn external_ip(text: &str, path: &Path, errors: &mut Errors) {
    if let Some(message) = ip_message(text) {
        errors.invalid(path, text, message);
        return;
    }
    for message in special_messages(text) {
        errors.invalid(path, text, message);
    }
}

/// Why an address cannot be that of an endpoint.
pub(crate) fn special_messages(text: &str) -> Vec<&'static str> {
    let Ok(ip) = text.parse::<std::net::IpAddr>() else {
        return Vec::new();
    };
    let (link_local, link_multicast) = match ip {
        std::net::IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(v6) => (
            v6.segments()[0] & 0xffc0 == 0xfe80,
            v6.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    let rules = [
        (ip.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (
            ip.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            link_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ];
    rules
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, text)| *text)
        .collect()
}

fn balancer(spec: &Value, root: &Path, errors: &mut Errors) {
    let is_balancer = kind(spec) == "LoadBalancer";
    let ranges = list(spec, "loadBalancerSourceRanges");
    if !ranges.is_empty() && !is_balancer {
        errors.forbidden(&root.child("LoadBalancerSourceRanges"), BALANCER_ONLY);
    }
    for (i, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or_default();
        if !is_cidr(range.trim()) {
            let path = root.child("LoadBalancerSourceRanges").index(i);
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid(&path, range, detail);
        }
    }
    let allocate = "allocateLoadBalancerNodePorts";
    match (is_balancer, has(spec, allocate)) {
        (true, false) => errors.required(&root.child(allocate), ""),
        (false, true) => errors.forbidden(&root.child(allocate), BALANCER_ONLY),
        _ => {}
    }
    let class = string(spec, "loadBalancerClass");
    if has(spec, "loadBalancerClass") {
        let path = root.child("loadBalancerClass");
        if is_balancer {
            qualified_name(&path, class, errors);
        } else {
            errors.forbidden(&path, BALANCER_ONLY);
        }
    }
}

/// `address/bits`.
pub(crate) fn is_cidr(text: &str) -> bool {
    let Some((ip, bits)) = text.split_once('/') else {
        return false;
    };
    let (Ok(ip), Ok(bits)) = (ip.parse::<std::net::IpAddr>(), bits.parse::<u8>()) else {
        return false;
    };
    bits <= if ip.is_ipv4() { 32 } else { 128 }
}

fn traffic(spec: &Value, root: &Path, errors: &mut Errors) {
    let policies = ["Cluster", "Local"];
    let (external, path) = (
        string(spec, "externalTrafficPolicy"),
        root.child("externalTrafficPolicy"),
    );
    if is_reached_from_outside(spec) {
        one_of(spec, "externalTrafficPolicy", &policies, true, root, errors);
    } else if !external.is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.invalid(&path, external, detail);
    }
    let (port, path) = (
        number(spec, "healthCheckNodePort"),
        root.child("healthCheckNodePort"),
    );
    if needs_health_check(spec) {
        // Not given: it is allocated after this.
        if port != 0 {
            port_number(port, &path, errors);
        }
    } else if port != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid(&path, port, detail);
    }
    let must = needs_cluster_ip(spec);
    one_of(spec, "internalTrafficPolicy", &policies, must, root, errors);
    if has(spec, "trafficDistribution") {
        let allowed = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        one_of(spec, "trafficDistribution", &allowed, true, root, errors);
    }
}

pub(super) fn update(object: &Value, old: &Value, errors: &mut Errors) {
    let (spec, before) = (get(object, "spec"), get(old, "spec"));
    families::update(spec, before, errors);
    let class = "loadBalancerClass";
    let both = kind(spec) == "LoadBalancer" && kind(before) == "LoadBalancer";
    if both && get(spec, class) != get(before, class) {
        let path = Path::new("spec").child(class);
        errors.invalid(&path, get(spec, class).clone(), "may not change once set");
    }
}

/// What a balancer reports.
pub(super) fn status(object: &Value, errors: &mut Errors) {
    let (spec, balancer) = (get(object, "spec"), at(object, "/status/loadBalancer"));
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let all = list(balancer, "ingress");
    if kind(spec) != "LoadBalancer" && !all.is_empty() {
        let detail = "may only be used when `spec.type` is \"LoadBalancer\"";
        errors.forbidden(&path, detail);
        return;
    }
    for (i, ingress) in all.iter().enumerate() {
        let path = path.index(i);
        let (ip, host) = (string(ingress, "ip"), string(ingress, "hostname"));
        if let Some(message) = ip_message(ip).filter(|_| !ip.is_empty()) {
            errors.invalid(&path.child("ip"), ip, message);
        }
        if has(ingress, "ipMode") && ip.is_empty() {
            errors.forbidden(&path.child("ipMode"), "may not be specified when `ip` is not set");
        }
        if !ip.is_empty() {
            one_of(ingress, "ipMode", &["Proxy", "VIP"], true, &path, errors);
        }
        if !host.is_empty() {
            dns_subdomain(&path.child("hostname"), host, errors);
            if ip_is(host) {
                let detail = "must be a DNS name, not an IP address";
                errors.invalid(&path.child("hostname"), host, detail);
            }
        }
    }
}

fn ip_is(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}
