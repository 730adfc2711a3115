//! How `kubectl get services` reads.

use super::kind;
use crate::json::{get, list, number, string, texts};
use crate::row::{age, text};
use meta::Timestamp;
use serde_json::Value;

pub(super) fn cells(service: &Value, now: Timestamp) -> Vec<Value> {
    let spec = get(service, "spec");
    let or_none = |text: String| {
        if text.is_empty() {
            "<none>".to_string()
        } else {
            text
        }
    };
    let ip = match list(spec, "clusterIPs").first().and_then(Value::as_str) {
        Some(first) => first,
        None => string(spec, "clusterIP"),
    };
    let selector: Vec<String> = texts(spec, "selector").map(|(k, v)| format!("{k}={v}")).collect();
    vec![
        text(service, "/metadata/name").into(),
        kind(spec).into(),
        or_none(ip.to_string()).into(),
        external(service).into(),
        or_none(ports(spec)).into(),
        age(service, now).into(),
        or_none(selector.join(",")).into(),
    ]
}

fn external(service: &Value) -> String {
    let spec = get(service, "spec");
    let by_hand: Vec<&str> = list(spec, "externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match kind(spec) {
        "ExternalName" => string(spec, "externalName").to_string(),
        "LoadBalancer" => {
            let given = balancer(service);
            if !by_hand.is_empty() {
                let mut all: Vec<&str> = given.split(',').filter(|a| !a.is_empty()).collect();
                all.extend(by_hand);
                return all.join(",");
            }
            if given.is_empty() {
                "<pending>".to_string()
            } else {
                given
            }
        }
        _ if by_hand.is_empty() => "<none>".to_string(),
        _ => by_hand.join(","),
    }
}

/// The balancer's addresses, sorted, each once.
fn balancer(service: &Value) -> String {
    let ingress = list(crate::json::at(service, "/status/loadBalancer"), "ingress");
    let address = |i: &Value| match string(i, "ip") {
        "" => string(i, "hostname").to_string(),
        ip => ip.to_string(),
    };
    let mut all: Vec<String> = ingress.iter().map(address).filter(|a| !a.is_empty()).collect();
    all.sort();
    all.dedup();
    all.join(",")
}

/// `80/TCP,8000:30123/TCP`.
fn ports(spec: &Value) -> String {
    let one = |port: &Value| {
        let (number_, node, protocol) = (
            number(port, "port"),
            number(port, "nodePort"),
            string(port, "protocol"),
        );
        if node > 0 {
            format!("{number_}:{node}/{protocol}")
        } else {
            format!("{number_}/{protocol}")
        }
    };
    list(spec, "ports").iter().map(one).collect::<Vec<_>>().join(",")
}
