//! What the scheduler says of a pod that waits for a claim.

use super::*;
use kinds::Registry;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use kinds::storageclass::STORAGECLASSES;
use meta::{Draft, Res, Snapshot, Timestamp};

const CREATED: &str = "2026-11-21T10:00:00Z";

/// The plan for a pod whose claim of that class is so many seconds old, in words.
fn told(class: &str, age_seconds: i64, volume: &str) -> String {
    let mut snapshot = Snapshot::default();
    let mut put = |res: Res, value: Value| {
        let draft = Draft::new(value).expect("an object");
        snapshot.put(res, draft.seal(1));
    };
    let own = |name: &str, provisioner: &str| json!({"metadata": {"name": name}, "provisioner": provisioner});
    put(STORAGECLASSES, own("standard", kinds::storageclass::PROVISIONER));
    put(STORAGECLASSES, own("foreign", "example.com/disk"));
    put(
        kinds::node::NODES,
        json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "9"}}}),
    );
    let metadata = json!({"name": "data", "namespace": "shop", "uid": "u-1", "creationTimestamp": CREATED});
    put(
        PERSISTENTVOLUMECLAIMS,
        json!({"metadata": metadata, "spec": {"storageClassName": class, "volumeName": volume}}),
    );
    put(
        PODS,
        json!({"metadata": {"name": "web-0", "namespace": "shop", "uid": "u-2"},
            "spec": {"containers": [], "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}}),
    );
    let rows = Registry::builtin();
    let now = Timestamp::parse(CREATED)
        .expect("a time")
        .plus_seconds(age_seconds);
    let seen = Seen {
        now,
        snapshot: &snapshot,
        rows: &rows,
    };
    let plan = plan(&seen, &Key::new(PODS, "shop", "web-0"));
    let events = plan.acts.iter().filter_map(|act| match act {
        Act::Event(event) => Some(format!("{}: {}", event.reason, event.message)),
        _ => None,
    });
    let wake = plan
        .wake
        .map(|at| format!("wakes after {} s", at.since(now).as_secs()));
    events.chain(wake).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_volume_on_its_way_is_no_obstacle_worth_a_word() {
    assert_eq!(told("standard", 1, ""), "wakes after 4 s");
    assert_eq!(
        told("standard", 5, ""),
        "FailedScheduling: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    );
    assert_eq!(
        told("foreign", 1, ""),
        "FailedScheduling: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    );
    assert_eq!(
        told("standard", 1, "pv"),
        "Scheduled: Successfully assigned shop/web-0 to n"
    );
}

/// Why a node with a running pod does not take another that was given to it.
fn refused(spec: Value) -> Option<String> {
    let sealed = |value: Value| Draft::new(value).expect("an object").seal(1);
    let node = sealed(json!({"metadata": {"name": "n", "labels": {"disk": "fast"}},
        "spec": {"taints": [{"key": "down", "effect": "NoExecute"}, {"key": "full", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"pods": "2", "cpu": "2", "memory": "1Gi"}}}));
    let busy = sealed(
        json!({"metadata": {"name": "busy", "namespace": "d"}, "spec": {"nodeName": "n", "containers": [
        {"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}], "resources": {"requests": {"cpu": "1500m"}}}]}}),
    );
    let mut spec = spec;
    if spec.get("tolerations").is_none() {
        spec["tolerations"] = json!([{"key": "down", "operator": "Exists"}]);
    }
    let (reason, message) = admit::refusal(&json!({"spec": spec}), &node, [&busy].into_iter())?;
    Some(format!("{reason}: {message}"))
}

#[test]
fn a_node_refuses_what_it_cannot_hold() {
    let port = |port: u16, ip: &str| {
        refused(
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": port, "hostIP": ip}]}]}),
        )
    };
    let taken =
        "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    assert_eq!(port(80, "").as_deref(), Some(taken));
    assert_eq!(port(80, "127.0.0.1").as_deref(), Some(taken));
    assert_eq!(port(81, ""), None);
    let wants = |requests: Value| {
        refused(json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}))
    };
    assert_eq!(
        wants(json!({"cpu": "1"})).as_deref(),
        Some("OutOfcpu: Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000")
    );
    assert_eq!(
        wants(json!({"cpu": "500m", "memory": "1Gi", "example.com/card": "1"})),
        None
    );
    assert_eq!(
        refused(json!({"containers": [], "nodeSelector": {"disk": "slow"}})).as_deref(),
        Some(
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    );
    assert_eq!(
        refused(json!({"containers": [], "tolerations": []})).as_deref(),
        Some(
            "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
        )
    );
}

/// What the scheduler says of a pod with the claim `data`, on the one node `n`.
fn placed(claim: Value, others: &[(Res, Value)]) -> String {
    let mut snapshot = Snapshot::default();
    let mut put = |res: Res, value: Value| {
        let draft = Draft::new(value).expect("an object");
        snapshot.put(res, draft.seal(1));
    };
    let pod = |name: &str, node: Value| {
        json!({"metadata": {"name": name, "namespace": "shop", "uid": name}, "spec": {"containers": [], "nodeName": node,
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}})
    };
    put(
        kinds::node::NODES,
        json!({"metadata": {"name": "n", "labels": {"zone": "a"}}, "status": {"allocatable": {"pods": "9"}}}),
    );
    put(
        PERSISTENTVOLUMECLAIMS,
        json!({"metadata": {"name": "data", "namespace": "shop"}, "spec": claim}),
    );
    put(PODS, pod("web-0", Value::Null));
    for (res, value) in others {
        let value = if *res == PODS {
            pod("other", "n".into())
        } else {
            value.clone()
        };
        put(*res, value);
    }
    let rows = Registry::builtin();
    let now = Timestamp::EPOCH;
    let seen = Seen {
        now,
        snapshot: &snapshot,
        rows: &rows,
    };
    plan(&seen, &Key::new(PODS, "shop", "web-0")).why.join("; ")
}

fn volume(zone: &str) -> (Res, Value) {
    let terms = json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]);
    let spec = json!({"storageClassName": "static", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}});
    (
        kinds::persistentvolume::PERSISTENTVOLUMES,
        json!({"metadata": {"name": "pv"}, "spec": spec}),
    )
}

const PLACED: &str = "Successfully assigned shop/web-0 to n";

#[test]
fn a_pod_goes_where_its_volume_is() {
    let bound = json!({"volumeName": "pv"});
    assert_eq!(placed(bound.clone(), &[volume("a")]), PLACED);
    assert_eq!(
        placed(bound, &[volume("b")]),
        "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity."
    );
}

#[test]
fn a_claim_of_a_class_without_provisioner_needs_a_volume_on_the_node() {
    let class = json!({"metadata": {"name": "static"}, "provisioner": kinds::storageclass::NO_PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer"});
    let class = (STORAGECLASSES, class);
    let claim = json!({"storageClassName": "static", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}});
    assert_eq!(placed(claim.clone(), &[class.clone(), volume("a")]), PLACED);
    let none = "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.";
    assert_eq!(placed(claim.clone(), &[class.clone(), volume("b")]), none);
    assert_eq!(placed(claim, &[class]), none);
}

#[test]
fn a_claim_for_one_pod_has_one() {
    let claim = |mode: &str| json!({"volumeName": "pv", "accessModes": [mode]});
    let other = (PODS, Value::Null);
    assert_eq!(placed(claim("ReadWriteOncePod"), &[volume("a")]), PLACED);
    assert_eq!(
        placed(claim("ReadWriteOnce"), &[volume("a"), other.clone()]),
        PLACED
    );
    assert_eq!(
        placed(claim("ReadWriteOncePod"), &[volume("a"), other]),
        "0/1 nodes are available: 1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod."
    );
}
