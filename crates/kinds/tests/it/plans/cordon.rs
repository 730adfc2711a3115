//! The taint of a node that is cordoned.

use super::text::Case;
use kinds::node::NODES;
use kinds::node::cordon::CONTROLLER;
use kinds::{Act, Key, Registry, Seen};
use meta::{Change, ChangeKind, Draft};
use serde_json::{Value, json};

/// The taints that a node of this spec gets, where it is not as it should be.
fn tainted(spec: Value) -> Option<Value> {
    let mut case = Case::empty();
    let node = Draft::new(json!({"metadata": {"name": "n"}, "spec": spec})).expect("a node");
    let node = case.snapshot.put(NODES, node.seal(1));
    let rows = Registry::builtin();
    let seen = Seen {
        now: case.now,
        snapshot: &case.snapshot,
        rows: &rows,
    };
    let object = case.snapshot.get(NODES, "", "n").expect("there").clone();
    let change = Change {
        revision: 1,
        res: NODES,
        kind: ChangeKind::Modified,
        previous: node,
        object,
    };
    let keys = (CONTROLLER.wakes)(&change, &seen);
    let mut plan = (CONTROLLER.plan)(&seen, &Key::new(NODES, "", "n"));
    assert_eq!(
        keys.len(),
        plan.acts.len(),
        "woken for what there is to do, and for nothing else"
    );
    match plan.acts.pop()? {
        Act::Patch { patch, .. } => Some(patch["spec"]["taints"].clone()),
        _ => panic!("another act"),
    }
}

#[test]
fn a_cordoned_node_has_its_taint_and_no_other_one_has() {
    let own = json!({"key": "a", "value": "b", "effect": "NoExecute"});
    let ours = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "2026-11-21T10:00:00Z"});
    assert_eq!(tainted(json!({})), None);
    assert_eq!(tainted(json!({"unschedulable": true})), Some(json!([ours])));
    assert_eq!(
        tainted(json!({"unschedulable": true, "taints": [own]})),
        Some(json!([own, ours]))
    );
    assert_eq!(tainted(json!({"unschedulable": true, "taints": [ours]})), None);
    assert_eq!(tainted(json!({"taints": [own, ours]})), Some(json!([own])));
    assert_eq!(tainted(json!({"taints": [ours]})), Some(Value::Null));
}
