//! Defaults of a Service, and what an update keeps of what the server chose before.
//! Source: core/v1 API reference.

use super::{
    is_alias, is_reached_from_outside, kind, needs_cluster_ip, needs_health_check, needs_node_ports,
};
use crate::json::{
    child_mut, ensure_object, flag, get, has, items_mut, list, number, put, put_default, put_nonzero, string,
    take,
};
use serde_json::{Value, json};

/// Seconds for which a client stays with its pod.
const AFFINITY_SECONDS: i64 = 10_800;

pub(super) fn service(object: &mut Value) {
    if let Some(spec) = ensure_object(object, "spec") {
        put_default(spec, "sessionAffinity", "None");
        affinity(spec);
        put_default(spec, "type", "ClusterIP");
        for port in items_mut(spec, "ports") {
            default_port(port);
        }
        if is_reached_from_outside(spec) {
            put_default(spec, "externalTrafficPolicy", "Cluster");
        }
        if needs_cluster_ip(spec) {
            put_default(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind(spec) == "LoadBalancer" {
            put_default(spec, "allocateLoadBalancerNodePorts", true);
        }
    }
    if kind(get(object, "spec")) != "LoadBalancer" {
        return;
    }
    let balancer = child_mut(object, "status").and_then(|s| child_mut(s, "loadBalancer"));
    for ingress in balancer.into_iter().flat_map(|b| items_mut(b, "ingress")) {
        if !string(ingress, "ip").is_empty() {
            put_default(ingress, "ipMode", "VIP");
        }
    }
}

fn affinity(spec: &mut Value) {
    match string(spec, "sessionAffinity") {
        "None" => {
            take(spec, "sessionAffinityConfig");
        }
        "ClientIP" => {
            let config = ensure_object(spec, "sessionAffinityConfig");
            if let Some(client) = config.and_then(|c| ensure_object(c, "clientIP")) {
                put_default(client, "timeoutSeconds", AFFINITY_SECONDS);
            }
        }
        _ => {}
    }
}

fn default_port(port: &mut Value) {
    put_default(port, "protocol", "TCP");
    let unset = match get(port, "targetPort") {
        Value::Null => true,
        Value::String(name) => name.is_empty(),
        number => number == 0,
    };
    if unset {
        let number = get(port, "port").clone();
        put(port, "targetPort", number);
    }
}

/// Keeps what was allocated, and brings `clusterIP` and `clusterIPs` in step.
pub(super) fn carry_over(object: &mut Value, old: Option<&Value>) {
    let Some(spec) = ensure_object(object, "spec") else {
        return;
    };
    let Some(old) = old else {
        if !string(spec, "clusterIP").is_empty() && list(spec, "clusterIPs").is_empty() {
            let ip = get(spec, "clusterIP").clone();
            put(spec, "clusterIPs", vec![ip]);
        }
        return;
    };
    let before = get(old, "spec");
    keep_allocated(spec, before);
    same_addresses(spec, before);
    // What a balancer has told goes with it.
    if kind(spec) != "LoadBalancer"
        && let Some(status) = child_mut(object, "status")
    {
        put(status, "loadBalancer", json!({}));
    }
}

/// A client that sends back less than it read does not lose its addresses and ports.
fn keep_allocated(spec: &mut Value, before: &Value) {
    if !is_alias(before) && !is_alias(spec) {
        if string(spec, "clusterIP").is_empty() && has(before, "clusterIP") {
            put(spec, "clusterIP", get(before, "clusterIP").clone());
        }
        if list(spec, "clusterIPs").is_empty() && has(before, "clusterIPs") {
            put(spec, "clusterIPs", get(before, "clusterIPs").clone());
        }
    }
    let automatic =
        |spec: &Value| needs_node_ports(spec) && flag(spec, "allocateLoadBalancerNodePorts") != Some(false);
    if automatic(before) && automatic(spec) {
        keep_node_ports(spec, before);
    }
    if needs_health_check(before) && needs_health_check(spec) && number(spec, "healthCheckNodePort") == 0 {
        put_nonzero(spec, "healthCheckNodePort", number(before, "healthCheckNodePort"));
    }
}

/// A port is known by its name; a number that both have is spoken for.
fn keep_node_ports(spec: &mut Value, before: &Value) {
    let node_ports = |spec: &Value| -> Vec<i64> {
        let ports = list(spec, "ports").iter();
        ports.map(|p| number(p, "nodePort")).filter(|p| *p != 0).collect()
    };
    let now = node_ports(spec);
    let mut used = node_ports(before);
    used.retain(|port| now.contains(port));
    let unset = |port: &&mut Value| number(port, "nodePort") == 0;
    for port in items_mut(spec, "ports").filter(unset) {
        // Of ports of one name the last one counts.
        let same = |p: &&Value| string(p, "name") == string(port, "name");
        let known = list(before, "ports").iter().rfind(same);
        let known = known.map_or(0, |p| number(p, "nodePort"));
        if !used.contains(&known) {
            put_nonzero(port, "nodePort", known);
        }
    }
}

/// Clients that know only the one field change both.
fn same_addresses(spec: &mut Value, before: &Value) {
    let (ip, was) = (string(spec, "clusterIP").to_string(), string(before, "clusterIP"));
    if list(spec, "clusterIPs").is_empty() && has(before, "clusterIPs") && ip == was {
        put(spec, "clusterIPs", get(before, "clusterIPs").clone());
    }
    if ip == was || list(spec, "clusterIPs") != list(before, "clusterIPs") {
        return;
    }
    if ip.is_empty() {
        take(spec, "clusterIPs");
    } else {
        put(spec, "clusterIPs", json!([ip]));
    }
}

/// What belonged to the old type goes, unless the client set it to something new.
pub(super) fn drop_by_type(spec: &mut Value, before: &Value) {
    let unchanged = |spec: &Value, fields: &[&str]| fields.iter().all(|f| get(spec, f) == get(before, f));
    let addresses = ["clusterIP", "clusterIPs"];
    if !is_alias(before) && is_alias(spec) && unchanged(spec, &addresses) {
        for field in addresses {
            take(spec, field);
        }
    }
    if needs_node_ports(before) && !needs_node_ports(spec) && no_new_node_ports(spec, before) {
        for port in items_mut(spec, "ports") {
            take(port, "nodePort");
        }
    }
    let is_balancer = |spec: &Value| kind(spec) == "LoadBalancer";
    let has_families = |spec: &Value| !is_alias(spec);
    let rules: [(Condition, &str); 6] = [
        (&needs_health_check, "healthCheckNodePort"),
        (&is_balancer, "allocateLoadBalancerNodePorts"),
        (&is_balancer, "loadBalancerClass"),
        (&is_reached_from_outside, "externalTrafficPolicy"),
        (&has_families, "ipFamilies"),
        (&has_families, "ipFamilyPolicy"),
    ];
    for (holds, field) in rules {
        if holds(before) && !holds(spec) && unchanged(spec, &[field]) {
            take(spec, field);
        }
    }
}

type Condition<'a> = &'a dyn Fn(&Value) -> bool;

fn no_new_node_ports(spec: &Value, before: &Value) -> bool {
    let mut now = list(spec, "ports").iter().map(|p| number(p, "nodePort"));
    now.all(|port| {
        port == 0
            || list(before, "ports")
                .iter()
                .any(|p| number(p, "nodePort") == port)
    })
}
