//! The levels that every cluster has from its first moment; two of them must be as they are.

use serde_json::{Value, json};

/// A level: name, shares, percent that it lends, and queues with the size of a hand; without queues it rejects.
type Line = (&'static str, i64, i64, Option<(i64, i64)>);

const EXEMPT: &str = "exempt";
const CATCH_ALL: Line = ("catch-all", 5, 0, None);

const SUGGESTED: [Line; 6] = [
    ("system", 30, 33, Some((64, 6))),
    ("node-high", 40, 25, Some((64, 6))),
    ("leader-election", 10, 0, Some((16, 4))),
    ("workload-high", 40, 50, Some((128, 6))),
    ("workload-low", 100, 90, Some((128, 6))),
    ("global-default", 20, 50, Some((128, 6))),
];
/// Requests that wait in one queue.
const QUEUE_LENGTH: i64 = 50;

/// All of them, those that must be first.
pub fn initial() -> impl Iterator<Item = Value> {
    [limited(&CATCH_ALL), exempt()]
        .into_iter()
        .chain(SUGGESTED.iter().map(limited))
}

/// The level that an object of this name must be.
pub(super) fn mandatory(name: &str) -> Option<Value> {
    match name {
        EXEMPT => Some(exempt()),
        name => (name == CATCH_ALL.0).then(|| limited(&CATCH_ALL)),
    }
}

fn exempt() -> Value {
    let nothing = json!({"nominalConcurrencyShares": 0, "lendablePercent": 0});
    object(EXEMPT, json!({"type": "Exempt", "exempt": nothing}))
}

fn limited((name, shares, lends, queues): &Line) -> Value {
    let response = match queues {
        None => json!({"type": "Reject"}),
        Some((queues, hand)) => json!({"type": "Queue", "queuing": {
            "queues": queues, "handSize": hand, "queueLengthLimit": QUEUE_LENGTH,
        }}),
    };
    let limited = json!({
        "nominalConcurrencyShares": shares, "lendablePercent": lends, "limitResponse": response,
    });
    object(name, json!({"type": "Limited", "limited": limited}))
}

fn object(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
        "spec": spec,
    })
}
