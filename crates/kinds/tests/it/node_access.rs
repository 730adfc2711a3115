//! What a node may read and write: what its own pods refer to, and about itself; in upstream's words where it may not.

use crate::cluster;
use insta::assert_snapshot;
use kinds::node::NODES;
use kinds::node::access::decide;
use kinds::node::restriction::{Attempt, Operation, admit};
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::pod::PODS;
use kinds::review::Attributes;
use meta::{Res, Snapshot};
use serde_json::{Value, json};

fn pod(name: &str, node: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": {"app": "a"}},
        "spec": {
            "nodeName": node, "serviceAccountName": format!("account-{node}"),
            "imagePullSecrets": [{"name": format!("pull-{node}")}],
            "containers": [{
                "name": "c",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": format!("env-{node}"), "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": format!("all-{node}")}}],
            }],
            "volumes": [
                {"name": "s", "secret": {"secretName": format!("volume-{node}")}},
                {"name": "m", "projected": {"sources": [
                    {"configMap": {"name": format!("map-{node}")}}, {"serviceAccountToken": {"path": "t"}}]}},
                {"name": "d", "persistentVolumeClaim": {"claimName": format!("claim-{node}")}},
                {"name": "e", "ephemeral": {}},
            ],
        },
    })
}

fn seen() -> Snapshot {
    let volume = |node: &str| {
        json!({"metadata": {"name": format!("pv-{node}")}, "spec": {
            "claimRef": {"namespace": "shop", "name": format!("claim-{node}")},
            "csi": {"driver": "d", "nodePublishSecretRef": {"name": format!("mount-{node}"), "namespace": "shop"},
                "controllerPublishSecretRef": {"name": format!("attach-{node}"), "namespace": "shop"}},
        }})
    };
    cluster(&[
        (NODES, json!({"metadata": {"name": "a", "uid": "uid-a"}})),
        (PODS, pod("web", "a")),
        (PODS, pod("db", "b")),
        (PERSISTENTVOLUMES, volume("a")),
        (PERSISTENTVOLUMES, volume("b")),
    ])
}

#[test]
fn a_node_reads_what_its_pods_refer_to() {
    let seen = seen();
    for (resource, names) in [
        ("secrets", &["pull-", "env-", "volume-", "mount-"][..]),
        ("configmaps", &["all-", "map-"]),
        ("persistentvolumeclaims", &["claim-"]),
        ("persistentvolumes", &["pv-"]),
        ("serviceaccounts", &["account-"]),
    ] {
        for (name, node) in names.iter().flat_map(|name| [(name, "a"), (name, "b")]) {
            let (name, namespace) = (
                format!("{name}{node}"),
                if resource == "persistentvolumes" {
                    ""
                } else {
                    "shop"
                },
            );
            let ask = Attributes {
                verb: "get",
                resource,
                namespace,
                name: &name,
                ..Attributes::default()
            };
            assert_eq!(decide("a", &ask, &seen).is_ok(), node == "a", "{resource} {name}");
        }
    }
    let ephemeral = Attributes {
        verb: "get",
        resource: "persistentvolumeclaims",
        namespace: "shop",
        name: "web-e",
        ..Attributes::default()
    };
    assert_eq!(decide("a", &ephemeral, &seen), Ok(()));
    assert!(decide("b", &ephemeral, &seen).is_err());
}

// LONG: a table.
#[test]
fn what_a_node_may_not_is_told() {
    let seen = seen();
    let mut lines = Vec::new();
    for (verb, group, resource, subresource, namespace, name, selector) in [
        ("list", "", "secrets", "", "shop", "", ""),
        ("update", "", "secrets", "", "shop", "pull-a", ""),
        ("get", "", "secrets", "", "shop", "attach-a", ""),
        ("list", "", "persistentvolumes", "", "", "", ""),
        (
            "patch",
            "",
            "persistentvolumeclaims",
            "status",
            "shop",
            "claim-a",
            "",
        ),
        (
            "get",
            "",
            "persistentvolumeclaims",
            "status",
            "shop",
            "claim-a",
            "",
        ),
        ("list", "", "pods", "", "", "", ""),
        ("list", "", "pods", "", "", "", "spec.nodeName=a"),
        ("list", "", "pods", "", "", "", "spec.nodeName=b"),
        ("get", "", "pods", "", "shop", "db", ""),
        ("patch", "", "pods", "", "shop", "web", ""),
        ("list", "", "nodes", "", "", "", ""),
        ("get", "", "nodes", "", "", "b", ""),
        ("get", "", "nodes", "", "", "a", ""),
        ("create", "", "serviceaccounts", "token", "shop", "account-a", ""),
        ("create", "", "serviceaccounts", "token", "shop", "account-b", ""),
        (
            "update",
            "coordination.k8s.io",
            "leases",
            "",
            "kube-node-lease",
            "a",
            "",
        ),
        (
            "update",
            "coordination.k8s.io",
            "leases",
            "",
            "kube-node-lease",
            "b",
            "",
        ),
        (
            "list",
            "coordination.k8s.io",
            "leases",
            "",
            "kube-node-lease",
            "",
            "",
        ),
        ("get", "coordination.k8s.io", "leases", "", "default", "a", ""),
        ("list", "", "services", "", "", "", ""),
        ("delete", "", "services", "", "shop", "s", ""),
    ] {
        let ask = Attributes {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
            field_selector: selector,
            ..Attributes::default()
        };
        lines.push(format!(
            "{verb} {resource}/{subresource} {namespace}/{name} {selector}: {:?}",
            decide("a", &ask, &seen)
        ));
    }
    assert_snapshot!(lines.join("\n"));
}

// LONG: a table.
#[test]
fn what_a_node_may_not_write_is_told() {
    let seen = seen();
    let mut lines = Vec::new();
    let mut tried = |operation, res: Res, subresource: &str, name: &str, object: Value, old: Value| {
        let attempt = Attempt {
            operation,
            res,
            subresource,
            namespace: if res == NODES { "" } else { "shop" },
            name,
            object: &object,
            old: &old,
        };
        let said = admit("a", &attempt, &seen)
            .err()
            .map_or("may".to_string(), |status| status.message);
        lines.push(said);
    };
    use Operation::{Create, Delete, Update};
    let none = Value::Null;
    let node = |labels: Value| json!({"metadata": {"name": "a", "labels": labels}});
    tried(Update, NODES, "", "b", none.clone(), none.clone());
    tried(
        Create,
        NODES,
        "",
        "a",
        node(json!({"kubernetes.io/hostname": "a", "mine": "x", "node.kubernetes.io/x": "y"})),
        none.clone(),
    );
    tried(
        Create,
        NODES,
        "",
        "a",
        node(json!({"kubernetes.io/role": "king", "x.k8s.io/y": "z"})),
        none.clone(),
    );
    tried(
        Update,
        NODES,
        "",
        "a",
        node(json!({"node-restriction.kubernetes.io/pci": "1"})),
        node(json!({})),
    );
    let tainted =
        json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    tried(Update, NODES, "", "a", node(json!({})), tainted);
    tried(Create, PODS, "", "m", pod("m", "a"), none.clone());
    let mirror = |owner: Value, spec: Value| json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": owner}, "spec": spec});
    let owner = |uid: &str| json!([{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": uid, "controller": true}]);
    tried(
        Create,
        PODS,
        "",
        "m",
        mirror(json!([]), json!({"nodeName": "b"})),
        none.clone(),
    );
    tried(
        Create,
        PODS,
        "",
        "m",
        mirror(json!([]), json!({"nodeName": "a"})),
        none.clone(),
    );
    tried(
        Create,
        PODS,
        "",
        "m",
        mirror(owner("x"), json!({"nodeName": "a"})),
        none.clone(),
    );
    tried(
        Create,
        PODS,
        "",
        "m",
        mirror(owner("uid-a"), json!({"nodeName": "a"})),
        none.clone(),
    );
    let secret = json!({"nodeName": "a", "volumes": [{"secret": {"secretName": "s"}}]});
    tried(
        Create,
        PODS,
        "",
        "m",
        mirror(owner("uid-a"), secret),
        none.clone(),
    );
    tried(Delete, PODS, "", "db", none.clone(), pod("db", "b"));
    tried(Delete, PODS, "", "web", none.clone(), pod("web", "a"));
    tried(Update, PODS, "", "web", pod("web", "a"), pod("web", "a"));
    tried(Update, PODS, "status", "db", pod("db", "b"), pod("db", "b"));
    let mut relabelled = pod("web", "a");
    relabelled["metadata"]["labels"]["app"] = "b".into();
    tried(Update, PODS, "status", "web", relabelled, pod("web", "a"));
    let accounts = kinds::serviceaccount::SERVICEACCOUNTS;
    let token = |name: &str, uid: &str, audiences: Value| json!({"spec": {"audiences": audiences, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}});
    tried(Create, accounts, "token", "x", json!({"spec": {}}), none.clone());
    tried(
        Create,
        accounts,
        "token",
        "x",
        token("web", "", json!([])),
        none.clone(),
    );
    tried(
        Create,
        accounts,
        "token",
        "x",
        token("db", "uid-db", json!([])),
        none.clone(),
    );
    tried(
        Create,
        accounts,
        "token",
        "x",
        token("web", "uid-web", json!(["vault"])),
        none.clone(),
    );
    tried(
        Create,
        accounts,
        "token",
        "x",
        token("web", "uid-web", json!([])),
        none,
    );
    assert_snapshot!(lines.join("\n"));
}
