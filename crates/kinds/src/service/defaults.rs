//! Defaults of a Service, and what an update keeps of what the server chose before.
//! Source: core/v1 API reference.

use super::{is_reached_from_outside, kind, needs_cluster_ip, needs_health_check, needs_node_ports};
use crate::json::{
    child_mut, ensure_object, get, has, items_mut, list, number, put, put_default, put_nonzero, string, take,
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

/// Brings `clusterIP` and `clusterIPs` in step, keeps what was allocated, and drops what a change of type leaves
/// without a meaning.
pub(super) fn carry_over(object: &mut Value, old: Option<&Value>) {
    let before = old.map_or(&Value::Null, |old| get(old, "spec"));
    let Some(spec) = ensure_object(object, "spec") else {
        return;
    };
    if old.is_some() {
        keep_allocated(spec, before);
        same_addresses(spec, before);
        drop_by_type(spec, before);
        // What a balancer has told goes with it.
        if kind(spec) != "LoadBalancer"
            && let Some(status) = child_mut(object, "status")
        {
            put(status, "loadBalancer", json!({}));
        }
    } else if !string(spec, "clusterIP").is_empty() && list(spec, "clusterIPs").is_empty() {
        let ip = get(spec, "clusterIP").clone();
        put(spec, "clusterIPs", vec![ip]);
    }
}

/// A client that sends back less than it read does not lose its addresses and ports.
fn keep_allocated(spec: &mut Value, before: &Value) {
    if needs_cluster_ip(before) && needs_cluster_ip(spec) {
        if string(spec, "clusterIP").is_empty() && has(before, "clusterIP") {
            put(spec, "clusterIP", get(before, "clusterIP").clone());
        }
        let same = get(spec, "clusterIP") == get(before, "clusterIP");
        if same && list(spec, "clusterIPs").is_empty() && has(before, "clusterIPs") {
            put(spec, "clusterIPs", get(before, "clusterIPs").clone());
        }
    }
    if needs_cluster_ip(before) && needs_cluster_ip(spec) {
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if has(before, field) && (!has(spec, field) || get(spec, field) == &json!([])) {
                put(spec, field, get(before, field).clone());
            }
        }
    }
    if needs_node_ports(before) && needs_node_ports(spec) {
        let used: Vec<i64> = list(spec, "ports")
            .iter()
            .map(|p| number(p, "nodePort"))
            .collect();
        for port in items_mut(spec, "ports") {
            let same = |p: &&Value| {
                get(p, "protocol") == get(port, "protocol") && get(p, "port") == get(port, "port")
            };
            let known = list(before, "ports")
                .iter()
                .find(same)
                .map_or(0, |p| number(p, "nodePort"));
            if known != 0 && !used.contains(&known) {
                put_nonzero(port, "nodePort", known);
            }
        }
    }
    if needs_health_check(before) && needs_health_check(spec) {
        let port = number(before, "healthCheckNodePort");
        put_nonzero(spec, "healthCheckNodePort", port);
    }
}

/// Clients that know only the one field or only the other change both.
fn same_addresses(spec: &mut Value, before: &Value) {
    let same_list = get(spec, "clusterIPs") == get(before, "clusterIPs");
    let ip = string(spec, "clusterIP").to_string();
    if ip != string(before, "clusterIP") {
        if ip.is_empty() && same_list {
            take(spec, "clusterIPs");
        } else if !ip.is_empty() && (same_list || list(spec, "clusterIPs").is_empty()) {
            put(spec, "clusterIPs", json!([ip]));
        }
    } else if !same_list && list(spec, "clusterIPs").is_empty() {
        take(spec, "clusterIP");
        take(spec, "clusterIPs");
    }
}

/// What belonged to the old type goes, unless the client set it to something new.
fn drop_by_type(spec: &mut Value, before: &Value) {
    let unchanged = |spec: &Value, fields: &[&str]| fields.iter().all(|f| get(spec, f) == get(before, f));
    let addresses = ["clusterIP", "clusterIPs"];
    if needs_cluster_ip(before) && !needs_cluster_ip(spec) && unchanged(spec, &addresses) {
        for field in addresses {
            take(spec, field);
        }
    }
    if needs_node_ports(before) && !needs_node_ports(spec) && same_node_ports(spec, before) {
        for port in items_mut(spec, "ports") {
            take(port, "nodePort");
        }
    }
    let is_balancer = |spec: &Value| kind(spec) == "LoadBalancer";
    let rules: [(Condition, &str); 7] = [
        (&needs_health_check, "healthCheckNodePort"),
        (&is_balancer, "allocateLoadBalancerNodePorts"),
        (&is_balancer, "loadBalancerClass"),
        (&is_reached_from_outside, "externalTrafficPolicy"),
        (&needs_cluster_ip, "internalTrafficPolicy"),
        (&needs_cluster_ip, "ipFamilies"),
        (&needs_cluster_ip, "ipFamilyPolicy"),
    ];
    for (holds, field) in rules {
        if holds(before) && !holds(spec) && unchanged(spec, &[field]) {
            take(spec, field);
        }
    }
}

type Condition<'a> = &'a dyn Fn(&Value) -> bool;

fn same_node_ports(spec: &Value, before: &Value) -> bool {
    let ports = |spec: &Value| -> Vec<i64> {
        let mut all: Vec<i64> = list(spec, "ports")
            .iter()
            .map(|p| number(p, "nodePort"))
            .collect();
        all.sort_unstable();
        all
    };
    ports(spec) == ports(before)
}
