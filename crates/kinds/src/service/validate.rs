//! What is wrong with a Service, and what may change in one. Source: core/v1 API reference.

use super::families;
use super::{is_alias, is_headless, is_reached_from_outside, kind, needs_cluster_ip, needs_health_check};
use crate::check::{
    LEADING_ZEROS, cidr_message, dns_label, dns_subdomain, ip_message, labels, one_of, one_of_given,
    port_number, port_or_name, qualified_name,
};
use crate::json::{at, get, has, int, list, number, some, string};
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::Value;
use std::net::IpAddr;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const AFFINITY_MAX_SECONDS: i64 = 86_400;
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

pub(super) fn service(object: &Value, errors: &mut Errors) {
    let (spec, root) = (get(object, "spec"), Path::new("spec"));
    topology_annotations(object, errors);
    if list(spec, "ports").is_empty() && !is_headless(spec) && !is_alias(spec) {
        errors.required(&root.child("ports"), "");
    }
    by_type(spec, &root, errors);
    ports(spec, errors);
    labels(spec, "selector", &root.child("selector"), errors);
    affinity(spec, &root, errors);
    families::validate(spec, &Value::Null, errors);
    for (i, ip) in list(spec, "externalIPs").iter().enumerate() {
        external_ip(
            ip.as_str().unwrap_or_default(),
            &root.child("externalIPs").index(i),
            errors,
        );
    }
    one_of(spec, "type", &TYPES, true, &root, errors);
    if kind(spec) == "ClusterIP" {
        for (i, port) in list(spec, "ports").iter().enumerate() {
            if number(port, "nodePort") != 0 {
                let path = root.child("ports").index(i).child("nodePort");
                errors.forbidden(&path, "may not be used when `type` is 'ClusterIP'");
            }
        }
    }
    repeated_ports(spec, errors);
    balancer(object, spec, &root, errors);
    traffic(spec, &root, errors);
}

/// An annotation and its older name say the same.
fn topology_annotations(object: &Value, errors: &mut Errors) {
    const MODE: &str = "service.kubernetes.io/topology-mode";
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    let annotations = at(object, "/metadata/annotations");
    if has(annotations, MODE) && has(annotations, HINTS) && get(annotations, MODE) != get(annotations, HINTS)
    {
        let path = Path::new("metadata").child("annotations").key(MODE);
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.invalid(&path, string(annotations, MODE), &detail);
    }
}

fn by_type(spec: &Value, root: &Path, errors: &mut Errors) {
    let kind = kind(spec);
    if matches!(kind, "LoadBalancer" | "NodePort") && is_headless(spec) {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.invalid(&root.child("clusterIPs").index(0), super::NONE, &detail);
    }
    if kind != "ExternalName" {
        return;
    }
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
        // Upstream shows its own form of a port, of which it compares these two.
        let shown = Shown(format!(
            "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
            Value::from(string(port, "protocol")),
            number(port, "port")
        ));
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
            let (client, client_path) = (get(config, "clientIP"), path.child("clientIP"));
            let seconds_path = client_path.child("timeoutSeconds");
            match int(client, "timeoutSeconds") {
                _ if config.is_null() => errors.required(&path, detail),
                _ if client.is_null() => errors.required(&client_path, detail),
                None => errors.required(&seconds_path, detail),
                Some(seconds) if seconds <= 0 || seconds > AFFINITY_MAX_SECONDS => {
                    let detail = format!("must be greater than 0 and less than {AFFINITY_MAX_SECONDS}");
                    errors.invalid(&seconds_path, seconds, &detail);
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

/// An address that can stand for something outside.
fn external_ip(text: &str, path: &Path, errors: &mut Errors) {
    match ip_message(text) {
        Some(message) => errors.invalid(path, text, message),
        None => endpoint_ip(text, path, errors),
    }
}

/// An address at which something can be reached from elsewhere.
pub(crate) fn endpoint_ip(text: &str, path: &Path, errors: &mut Errors) {
    let Ok(ip) = text.parse::<IpAddr>() else {
        if ip_message(text) != Some(LEADING_ZEROS) {
            errors.invalid(path, text, "must be a valid IP address");
        }
        return;
    };
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (
            v6.segments()[0] & 0xffc0 == 0xfe80,
            v6.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    if ip.is_unspecified() {
        errors.invalid(path, text, &format!("may not be unspecified ({text})"));
    }
    for (holds, detail) in [
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
    ] {
        if holds {
            errors.invalid(path, text, detail);
        }
    }
}

/// Who may reach the balancer: the field, or the annotation that was there before it.
fn source_ranges(object: &Value, spec: &Value, root: &Path, errors: &mut Errors) {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let is_balancer = kind(spec) == "LoadBalancer";
    let ranges = list(spec, "loadBalancerSourceRanges");
    let annotation = at(object, "/metadata/annotations")
        .get(ANNOTATION)
        .and_then(Value::as_str);
    let path = match annotation {
        // Upstream writes this path with a capital.
        _ if !ranges.is_empty() => root.child("LoadBalancerSourceRanges"),
        Some(_) => Path::new("metadata").child("annotations").key(ANNOTATION),
        None => return,
    };
    if !is_balancer {
        errors.forbidden(&path, BALANCER_ONLY);
    }
    let mut check = |range: &str, path: &Path| {
        if let Some(message) = cidr_message(range.trim()) {
            errors.invalid(path, range.trim(), message);
        }
    };
    for (i, range) in ranges.iter().enumerate() {
        check(range.as_str().unwrap_or_default(), &path.index(i));
    }
    let given = annotation.unwrap_or_default().trim();
    if ranges.is_empty() && !given.is_empty() {
        given.split(',').for_each(|range| check(range, &path));
    }
}

fn balancer(object: &Value, spec: &Value, root: &Path, errors: &mut Errors) {
    let is_balancer = kind(spec) == "LoadBalancer";
    source_ranges(object, spec, root, errors);
    let allocate = "allocateLoadBalancerNodePorts";
    match (is_balancer, has(spec, allocate)) {
        // Upstream leaves `spec` out here.
        (true, false) => errors.required(&Path::new(allocate), ""),
        (false, true) => errors.forbidden(&root.child(allocate), BALANCER_ONLY),
        _ => {}
    }
    balancer_class(spec, root, errors);
}

fn balancer_class(spec: &Value, root: &Path, errors: &mut Errors) {
    let (field, is_balancer) = ("loadBalancerClass", kind(spec) == "LoadBalancer");
    match has(spec, field) {
        true if is_balancer => qualified_name(&root.child(field), string(spec, field), errors),
        true => errors.forbidden(&root.child(field), BALANCER_ONLY),
        false => {}
    }
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
    if needs_cluster_ip(spec) && !has(spec, "internalTrafficPolicy") {
        errors.required(&root.child("internalTrafficPolicy"), "");
    }
    one_of_given(spec, "internalTrafficPolicy", &policies, root, errors);
    let allowed = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    one_of_given(spec, "trafficDistribution", &allowed, root, errors);
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
    // Upstream looks at it here too.
    balancer_class(spec, &Path::new("spec"), errors);
    let port = "healthCheckNodePort";
    let checked = needs_health_check(spec) && needs_health_check(before);
    if checked && number(spec, port) != number(before, port) {
        errors.forbidden(&Path::new("spec").child(port), "field is immutable");
    }
}

/// What a balancer reports.
pub(super) fn status(object: &Value, errors: &mut Errors) {
    let (spec, balancer) = (get(object, "spec"), at(object, "/status/loadBalancer"));
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let all = list(balancer, "ingress");
    if kind(spec) != "LoadBalancer" && !all.is_empty() {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.forbidden(&path, detail);
        return;
    }
    for (i, ingress) in all.iter().enumerate() {
        let path = path.index(i);
        let (ip, host) = (string(ingress, "ip"), string(ingress, "hostname"));
        if let Some(message) = ip_message(ip).filter(|_| !ip.is_empty()) {
            errors.invalid(&path.child("ip"), ip, message);
        }
        let mode = path.child("ipMode");
        match (has(ingress, "ipMode"), ip.is_empty()) {
            (false, false) => errors.required(&mode, "must be specified when `ip` is set"),
            (true, true) => errors.forbidden(&mode, "may not be specified when `ip` is not set"),
            _ => one_of_given(ingress, "ipMode", &["Proxy", "VIP"], &path, errors),
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
