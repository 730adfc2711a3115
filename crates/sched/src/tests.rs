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
