//! Pods whose node is gone.

use super::text::Case;
use kinds::node::NODES;
use kinds::pod::PODS;
use kinds::pod::orphans::CONTROLLER;
use kinds::{Key, Registry, Seen};
use meta::{Change, ChangeKind, Draft, Object};
use serde_json::{Value, json};

fn pod(case: &mut Case, name: &str, node: Value, age_seconds: i64) {
    let created = case.now.plus_seconds(-age_seconds).rfc3339();
    let metadata = json!({"name": name, "namespace": "shop", "uid": name, "creationTimestamp": created});
    case.put(
        PODS,
        json!({"metadata": metadata, "spec": {"containers": [], "nodeName": node}}),
    );
}

fn told(case: &Case, name: &str) -> String {
    let rows = Registry::builtin();
    let seen = Seen {
        now: case.now,
        snapshot: &case.snapshot,
        rows: &rows,
    };
    let plan = (CONTROLLER.plan)(&seen, &Key::new(PODS, "shop", name));
    let wake = plan
        .wake
        .map(|at| format!(", wakes after {} s", at.since(case.now).as_secs()));
    format!("{} acts{}", plan.acts.len(), wake.unwrap_or_default())
}

#[test]
fn pods_of_a_node_that_is_gone_go_and_young_ones_wait_for_it() {
    let mut case = Case::empty();
    let node = Draft::new(json!({"metadata": {"name": "here"}})).expect("a node");
    case.snapshot.put(NODES, node.seal(1));
    pod(&mut case, "fine", "here".into(), 100);
    pod(&mut case, "waiting", Value::Null, 100);
    pod(&mut case, "young", "gone".into(), 10);
    pod(&mut case, "old", "gone".into(), 41);
    assert_eq!(told(&case, "fine"), "0 acts");
    assert_eq!(told(&case, "waiting"), "0 acts");
    assert_eq!(told(&case, "young"), "0 acts, wakes after 30 s");
    assert_eq!(told(&case, "old"), "1 acts");
    // The end of a node wakes its pods.
    let node: Object = case.snapshot.get(NODES, "", "here").expect("there").clone();
    let rows = Registry::builtin();
    let seen = Seen {
        now: case.now,
        snapshot: &case.snapshot,
        rows: &rows,
    };
    let change = Change {
        revision: 9,
        res: NODES,
        kind: ChangeKind::Deleted,
        previous: Some(node.clone()),
        object: node,
    };
    assert_eq!(
        (CONTROLLER.wakes)(&change, &seen),
        [Key::new(PODS, "shop", "fine")]
    );
}
