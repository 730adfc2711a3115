//! Services: what is filled in and allocated, what is refused, and how changes of type work out.

use crate::{cluster, errors, lines, now, prepared, rules};
use insta::assert_snapshot;
use kinds::Write;
use kinds::service::SERVICES;
use meta::{Errors, Snapshot, Status};
use serde_json::{Value, json};

fn service(uid: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop", "uid": uid}, "spec": spec})
}

/// Created as the pipeline does it, in a cluster that holds `seen`.
fn created(uid: &str, spec: Value, seen: &Snapshot) -> Result<Value, Status> {
    let mut object = prepared(SERVICES, service(uid, spec));
    let mut found = Errors::new();
    rules(SERVICES).begin(Write::Create, &mut object, None, seen)?;
    rules(SERVICES).validate(&object, &mut found);
    assert_eq!(lines(&found), "");
    Ok(object)
}

/// The errors of an update, or the spec that it gives.
fn updated(old: &Value, spec: Value, seen: &Snapshot) -> String {
    let mut new = service("u-1", spec);
    new["status"] = old["status"].clone();
    let rules = rules(SERVICES);
    rules.default(&mut new);
    rules.prepare(Write::Update, &mut new, Some(old), now());
    if let Err(status) = rules.begin(Write::Update, &mut new, Some(old), seen) {
        return status.message;
    }
    let mut found = Errors::new();
    rules.validate_update(Write::Update, &new, old, &mut found);
    rules.validate(&new, &mut found);
    match found.is_empty() {
        true => shown(&new),
        false => lines(&found),
    }
}

fn shown(object: &Value) -> String {
    let spec = object["spec"].as_object().expect("a spec");
    let lines: Vec<String> = spec.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    lines.join("\n")
}

fn empty() -> Snapshot {
    Snapshot::default()
}

#[test]
fn defaults_and_addresses() {
    let plain = created("u-1", json!({"ports": [{"port": 80}]}), &empty()).expect("it is valid");
    assert_snapshot!("service_cluster_ip", shown(&plain));
    assert_eq!(plain["status"], json!({"loadBalancer": {}}));
    let balancer = json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
        "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}, {"name": "dns-tcp", "port": 53}]});
    let balancer = created("u-2", balancer, &empty()).expect("it is valid");
    assert_snapshot!("service_load_balancer", shown(&balancer));
    let headless = json!({"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]});
    let headless = created("u-3", headless, &empty()).expect("it is valid");
    assert_snapshot!("service_headless", shown(&headless));
    let detached = created("u-4", json!({"clusterIP": "None"}), &empty()).expect("it is valid");
    assert_snapshot!("service_headless_without_selector", shown(&detached));
    let external = json!({"type": "ExternalName", "externalName": "db.example.com."});
    let external = created("u-5", external, &empty()).expect("it is valid");
    assert_snapshot!("service_external_name", shown(&external));
}

#[test]
fn what_one_service_has_no_other_gets() {
    let asked =
        json!({"type": "NodePort", "clusterIP": "10.96.0.1", "ports": [{"port": 443, "nodePort": 30443}]});
    let first = created("u-1", asked.clone(), &empty()).expect("it is valid");
    let seen = cluster(&[(SERVICES, first)]);
    let refused = |spec: Value| created("u-2", spec, &seen).expect_err("it is taken").message;
    let mut said = vec![refused(asked)];
    said.push(refused(json!({"clusterIP": "10.97.0.1", "ports": [{"port": 1}]})));
    said.push(refused(
        json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}),
    ));
    said.push(refused(
        json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"], "ports": [{"port": 1}]}),
    ));
    assert_snapshot!("service_taken", said.join("\n"));
}

#[test]
fn many_services_share_neither_addresses_nor_ports() {
    let mut seen = Snapshot::default();
    let (mut ips, mut ports) = (
        std::collections::BTreeSet::new(),
        std::collections::BTreeSet::new(),
    );
    for i in 0..300 {
        let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        let mut made = created(&format!("u-{i}"), spec, &seen).expect("there is room");
        made["metadata"]["name"] = format!("web-{i}").into();
        assert!(ips.insert(made["spec"]["clusterIP"].to_string()));
        assert!(ports.insert(made["spec"]["ports"][0]["nodePort"].to_string()));
        let draft = meta::Draft::new(made).expect("an object");
        seen.put(SERVICES, draft.seal(i + 1));
    }
}

#[test]
fn changes_of_type() {
    let old = created("u-1", json!({"ports": [{"port": 80}]}), &empty()).expect("it is valid");
    let ports = json!([{"port": 80}]);
    let to_node_port = updated(&old, json!({"type": "NodePort", "ports": ports}), &empty());
    assert_snapshot!("service_to_node_port", to_node_port);
    let to_external = json!({"type": "ExternalName", "externalName": "db.example.com", "clusterIP": old["spec"]["clusterIP"],
        "clusterIPs": old["spec"]["clusterIPs"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": ports});
    assert_snapshot!("service_to_external_name", updated(&old, to_external, &empty()));
    let moved = json!({"clusterIP": "10.96.7.7", "ports": ports});
    assert_snapshot!("service_address_moved", updated(&old, moved, &empty()));
    let node_port =
        created("u-1", json!({"type": "NodePort", "ports": ports}), &empty()).expect("it is valid");
    let mut back = node_port["spec"].clone();
    back["type"] = "ClusterIP".into();
    assert_snapshot!("service_back_to_cluster_ip", updated(&node_port, back, &empty()));
}

#[test]
fn all_that_is_wrong_at_once() {
    let wrong = json!({
        "type": "Balancer", "sessionAffinity": "Cookie", "internalTrafficPolicy": "Near",
        "clusterIPs": ["a", "b"], "ipFamilies": ["IPv4", "IPv4", "IPv5"], "ipFamilyPolicy": "Some",
        "selector": {"a b": "-"}, "externalIPs": ["127.0.0.1", "x"], "loadBalancerClass": "x",
        "loadBalancerSourceRanges": ["10.0.0.0"], "externalTrafficPolicy": "Local", "healthCheckNodePort": 4,
        "ports": [{"port": 0}, {"port": 80, "name": "a", "protocol": "tcp", "targetPort": "UP"},
            {"port": 80, "name": "a", "protocol": "tcp", "targetPort": 70000, "appProtocol": "/"}],
    });
    assert_snapshot!("service_wrong", errors(SERVICES, service("u-1", wrong)));
    let node_port = json!({"type": "NodePort", "clusterIP": "None", "ports": [{"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 2, "nodePort": 30000}]});
    assert_snapshot!(
        "service_wrong_node_port",
        errors(SERVICES, service("u-1", node_port))
    );
    let external = json!({"type": "ExternalName", "clusterIP": "10.96.0.9", "externalName": "a_b"});
    assert_snapshot!(
        "service_wrong_external",
        errors(SERVICES, service("u-1", external))
    );
    let balancer = json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}, "ports": [{"port": 10250}]});
    assert_snapshot!(
        "service_wrong_balancer",
        errors(SERVICES, service("u-1", balancer))
    );
    assert_snapshot!(
        "service_wrong_empty",
        errors(SERVICES, service("u-1", json!({"type": "ClusterIP"})))
    );
}
