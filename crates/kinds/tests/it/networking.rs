//! Ingress, IngressClass, NetworkPolicy, IPAddress and ServiceCIDR.

use crate::cases::{changed, patched, refused, table};
use crate::{prepared, rules};
use insta::{assert_json_snapshot, assert_snapshot};
use kinds::Write;
use kinds::ingress::INGRESSES;
use kinds::ingressclass::INGRESSCLASSES;
use kinds::ipaddress::IPADDRESSES;
use kinds::networkpolicy::NETWORKPOLICIES;
use kinds::servicecidr::SERVICECIDRS;
use serde_json::{Value, json};

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": {"name": name, "creationTimestamp": "2026-11-21T09:59:00Z"}, "spec": spec})
}

fn backend() -> Value {
    json!({"service": {"name": "web", "port": {"number": 80}}})
}

fn ingress() -> Value {
    object("Ingress", "web", json!({"defaultBackend": backend()}))
}

fn class() -> Value {
    object(
        "IngressClass",
        "nginx",
        json!({"controller": "example.com/nginx"}),
    )
}

fn policy() -> Value {
    object("NetworkPolicy", "web", json!({"podSelector": {}}))
}

fn address() -> Value {
    let parent = json!({"resource": "services", "namespace": "default", "name": "kubernetes"});
    object("IPAddress", "10.96.0.1", json!({"parentRef": parent}))
}

fn range() -> Value {
    object("ServiceCIDR", "kubernetes", json!({"cidrs": ["10.96.0.0/16"]}))
}

#[test]
fn minimal_objects() {
    assert_json_snapshot!("ingress", prepared(INGRESSES, ingress()));
    let parameters = json!({"spec": {"parameters": {"kind": "K", "name": "n"}}});
    let made = prepared(INGRESSCLASSES, patched(&class(), &parameters));
    assert_json_snapshot!("ingressclass", made);
    let rules = json!({"spec": {"egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}]}]}});
    assert_json_snapshot!(
        "networkpolicy",
        prepared(NETWORKPOLICIES, patched(&policy(), &rules))
    );
    assert_json_snapshot!("servicecidr", prepared(SERVICECIDRS, range()));
}

#[test]
fn ingresses_that_are_wrong() {
    let fallback = |backend: Value| json!({"spec": {"defaultBackend": backend}});
    let host = |host: &str| json!({"spec": {"rules": [{"host": host}]}});
    let path = |kind: &str, path: &str| {
        let one = json!({"path": path, "pathType": kind, "backend": backend()});
        json!({"spec": {"rules": [{"http": {"paths": [one]}}]}})
    };
    let patches = [
        fallback(Value::Null),
        json!({"spec": {"defaultBackend": {"service": null}}}),
        fallback(json!({"resource": {"kind": "K", "name": "n"}})),
        fallback(json!({"service": {"name": "", "port": {"name": "http"}}})),
        fallback(json!({"service": {"name": "A", "port": {"number": 70_000}}})),
        fallback(json!({"service": {"port": {"number": null}}})),
        fallback(json!({"service": {"port": {"number": null, "name": "Way-too-long--name"}}})),
        fallback(json!({"service": null, "resource": {"apiGroup": "A b", "kind": "a/b", "name": ""}})),
        host("1.2.3.4"),
        host("*"),
        host("Web.example.com"),
        host("*.*.example.com"),
        json!({"spec": {"rules": [{"http": {}}, {"http": {"paths": [{"backend": backend()}]}}]}}),
        path("Exact", ""),
        path("Prefix", "/a//b/./c/../d%2f/.."),
        path("ImplementationSpecific", "a"),
        path("Regex", "/"),
        json!({"spec": {"tls": [{"hosts": ["*.a", "B", "*b"], "secretName": "A b"}]}}),
        json!({"spec": {"ingressClassName": "A b"}}),
        json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {"ingressClassName": "y"}}),
    ];
    assert_snapshot!("ingresses", refused(INGRESSES, &ingress(), &patches));
    let point = |ip: &str, host: &str| json!({"status": {"loadBalancer": {"ingress": [{"ip": ip, "hostname": host}]}}});
    let statuses = [
        point("1.2.3", "A"),
        point("01.2.3.4", "1.2.3.4"),
        point("1.2.3.4", "a.b"),
    ];
    assert_snapshot!(
        "ingress_status",
        changed(INGRESSES, Write::Status, &ingress(), &statuses)
    );
}

#[test]
fn classes_that_are_wrong() {
    let controller = |name: &str| json!({"spec": {"controller": name}});
    let parameters =
        |more: Value| json!({"spec": {"parameters": patched(&json!({"kind": "K", "name": "n"}), &more)}});
    let patches = [
        controller(""),
        controller("nginx"),
        controller("A/b c"),
        controller(&format!("a.b/{}", "x".repeat(250))),
        parameters(json!({"kind": "", "name": "a/b"})),
        parameters(json!({"apiGroup": "A b"})),
        parameters(json!({"scope": "Namespace"})),
        parameters(json!({"scope": "Namespace", "namespace": "A"})),
        parameters(json!({"scope": "Cluster", "namespace": "a"})),
        parameters(json!({"scope": "World"})),
    ];
    assert_snapshot!("classes", refused(INGRESSCLASSES, &class(), &patches));
    let other = changed(INGRESSCLASSES, Write::Update, &class(), &[controller("a.b/c")]);
    assert_snapshot!("class_changed", other);
}

#[test]
fn policies_that_are_wrong() {
    let port = |port: Value| json!({"spec": {"ingress": [{"ports": [port]}]}});
    let peer = |peer: Value| json!({"spec": {"egress": [{"to": [peer]}]}});
    let block = |cidr: &str, except: &[&str]| peer(json!({"ipBlock": {"cidr": cidr, "except": except}}));
    let patches = [
        json!({"spec": {"podSelector": {"matchLabels": {"a b": "c d"}}}}),
        json!({"spec": {"policyTypes": ["Sideways"]}}),
        json!({"spec": {"policyTypes": ["Ingress", "Egress", "Ingress"]}}),
        port(json!({"protocol": "ICMP", "port": 0})),
        port(json!({"port": 80, "endPort": 70})),
        port(json!({"port": "HTTP", "endPort": 90})),
        port(json!({"endPort": 90})),
        peer(json!({})),
        peer(
            json!({"podSelector": {"matchExpressions": [{"key": "k", "operator": "Like"}]}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
        ),
        block("", &[]),
        block("10.0.0.0/33", &["10.1.0.0/16"]),
        block("010.0.0.0/8", &["10.0.0.1/16"]),
        block("10.0.0.0/8", &["11.0.0.0/16", "10.0.0.0/8", "fd00::/64", "x"]),
        block("::ffff:10.0.0.0/104", &[]),
    ];
    assert_snapshot!("policies", refused(NETWORKPOLICIES, &policy(), &patches));
    // What was there before is let pass.
    let old = patched(&policy(), &block("010.0.0.0/8", &["10.1.0.1/16"]));
    let again = changed(
        NETWORKPOLICIES,
        Write::Update,
        &old,
        &[json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}})],
    );
    assert!(again.contains("good"), "{again}");
    let made = prepared(
        NETWORKPOLICIES,
        patched(&policy(), &block("FD00::/8", &["fd00:1:0::/48"])),
    );
    assert_snapshot!(
        "policy_warnings",
        rules(NETWORKPOLICIES).warnings(&made, None).join("\n")
    );
}

#[test]
fn addresses_and_ranges_that_are_wrong() {
    let parent = |more: Value| json!({"spec": {"parentRef": more}});
    let patches = [
        parent(Value::Null),
        parent(json!({"resource": ""})),
        parent(json!({"name": ""})),
        parent(json!({"resource": "a/b"})),
        parent(json!({"name": ".."})),
        parent(json!({"namespace": "a%b"})),
        parent(json!({"group": "A b"})),
        parent(json!({"group": "-", "resource": "%", "namespace": "/", "name": null})),
    ];
    assert_snapshot!("addresses", refused(IPADDRESSES, &address(), &patches));
    let names = [
        "10.0.0.1",
        "fd00::1",
        "010.0.0.1",
        "FD00::1",
        "fd00:0::1",
        "::ffff:1.2.3.4",
        "x",
    ];
    let said = names.map(|name| format!("{name}: {:?}", rules(IPADDRESSES).check_name(name)));
    assert_snapshot!("address_names", said.join("\n"));
    let moved = changed(
        IPADDRESSES,
        Write::Update,
        &address(),
        &[parent(json!({"name": "other"}))],
    );
    assert_snapshot!("address_moved", moved);
    let ranges = |ranges: &[&str]| json!({"spec": {"cidrs": ranges}});
    let patches = [
        ranges(&[]),
        ranges(&["x"]),
        ranges(&["10.0.0.1/16"]),
        ranges(&["010.0.0.0/16"]),
        ranges(&["FD00::/64"]),
        ranges(&["::ffff:10.0.0.0/112"]),
        ranges(&["10.0.0.0/16", "10.1.0.0/16"]),
        ranges(&["10.0.0.0/16", "fd00::/64", "fd01::/64"]),
        ranges(&["10.0.0.0/16", "nonsense"]),
    ];
    assert_snapshot!("ranges", refused(SERVICECIDRS, &range(), &patches));
    let changes = [
        ranges(&["10.97.0.0/16"]),
        ranges(&[]),
        ranges(&["10.96.0.0/16", "fd00::/64"]),
        ranges(&["10.97.0.0/16", "10.98.0.0/16"]),
    ];
    assert_snapshot!(
        "range_changed",
        changed(SERVICECIDRS, Write::Update, &range(), &changes)
    );
}

#[test]
fn tables() {
    let hosts = |hosts: &[&str]| json!({"spec": {"rules": hosts.iter().map(|host| json!({"host": host})).collect::<Vec<_>>()}});
    let ingresses = [
        json!({}),
        patched(
            &hosts(&["a", "", "b"]),
            &json!({"spec": {"ingressClassName": "nginx", "tls": [{}]}}),
        ),
        hosts(&["a", "b", "c", "d", "e"]),
        json!({"status": {"loadBalancer": {"ingress": [{"hostname": "z"}, {"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]}}}),
    ];
    let classes = [
        json!({"metadata": {"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}}),
        json!({"spec": {"parameters": {"apiGroup": "a.b", "kind": "K", "name": "n"}}}),
    ];
    let policies = [
        json!({}),
        json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
    ];
    let addresses = [
        json!({}),
        json!({"spec": {"parentRef": {"group": "G.x", "resource": "R", "namespace": null}}}),
        json!({"spec": null}),
    ];
    let all = [
        table(INGRESSES, &ingress(), &ingresses),
        table(INGRESSCLASSES, &class(), &classes),
        table(NETWORKPOLICIES, &policy(), &policies),
        table(IPADDRESSES, &address(), &addresses),
        table(
            SERVICECIDRS,
            &range(),
            &[
                json!({}),
                json!({"spec": {"cidrs": ["10.0.0.0/16", "fd00::/64"]}}),
            ],
        ),
    ];
    assert_snapshot!("networking_tables", all.join("\n"));
}
