//! Flow schemas and priority levels, and those that every cluster has.

use crate::printed::line;
use crate::{prepared, wrong, wrong_update};
use insta::assert_snapshot;
use kinds::Write;
use kinds::flowschema::FLOWSCHEMAS;
use kinds::prioritylevelconfiguration::PRIORITYLEVELCONFIGURATIONS;
use meta::Res;
use serde_json::{Value, json};

#[test]
fn what_every_cluster_has_is_right_and_complete() {
    let schemas = kinds::flowschema::initial().map(|object| (FLOWSCHEMAS, object));
    let levels = kinds::prioritylevelconfiguration::initial();
    let levels = levels.map(|object| (PRIORITYLEVELCONFIGURATIONS, object));
    let all: Vec<(Res, Value)> = levels.chain(schemas).collect();
    for (res, object) in &all {
        assert_eq!(crate::errors(*res, object.clone()), "", "{object}");
        assert_eq!(
            prepared(*res, object.clone()),
            *object,
            "nothing is left to fill in"
        );
    }
    let lines: Vec<String> = all.iter().map(|(res, object)| line(*res, object)).collect();
    assert_snapshot!(lines.join("\n"));
}

fn named(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

fn rule(more: Value) -> Value {
    let mut rule = json!({
        "subjects": [{"kind": "User", "user": {"name": "u"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    });
    crate::merge(&mut rule, &more);
    json!({"spec": {"rules": [rule]}})
}

#[test]
fn wrong_schemas() {
    let base = named("mine", json!({"priorityLevelConfiguration": {"name": "low"}}));
    let resources = |more: Value| {
        let mut one =
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]});
        crate::merge(&mut one, &more);
        rule(json!({"resourceRules": [one]}))
    };
    let changes = [
        json!({"spec": {"matchingPrecedence": -1}}),
        json!({"spec": {"matchingPrecedence": 10_001}}),
        json!({"spec": {"matchingPrecedence": 1}}),
        json!({"spec": {"distinguisherMethod": {"type": "ByMood"}}}),
        json!({"spec": {"priorityLevelConfiguration": {"name": ""}}}),
        json!({"spec": {"priorityLevelConfiguration": {"name": "No Such"}}}),
        rule(json!({"subjects": [], "nonResourceRules": []})),
        rule(
            json!({"subjects": [{"kind": "Robot"}, {"kind": "User", "group": {"name": "g"}}, {"kind": "ServiceAccount", "serviceAccount": {}, "user": {"name": "u"}}, {"kind": "Group", "group": {}}]}),
        ),
        rule(
            json!({"nonResourceRules": [{"verbs": ["*", "get"], "nonResourceURLs": ["*", "/x"]}, {"verbs": ["walk"], "nonResourceURLs": ["", "x", "/a b", "//", "/*/b", "/x*"]}, {}]}),
        ),
        resources(json!({"verbs": [], "apiGroups": [], "resources": [], "namespaces": []})),
        resources(json!({"apiGroups": ["*", "apps"], "resources": ["*", "x"], "namespaces": ["*", "a"]})),
        resources(json!({"namespaces": ["A b"]})),
        json!({"metadata": {"name": "exempt"}}),
    ];
    assert_snapshot!(wrong(FLOWSCHEMAS, &base, &changes));
    let conditions = json!({"status": {"conditions": [{"type": "A"}, {"type": "A"}, {}]}});
    assert_snapshot!(
        "flow_schema_status",
        wrong_update(FLOWSCHEMAS, Write::Status, &base, &[conditions])
    );
}

#[test]
fn wrong_levels() {
    let limited = |more: Value| {
        let mut spec = json!({"limitResponse": {"type": "Reject"}});
        crate::merge(&mut spec, &more);
        json!({"spec": {"limited": spec}})
    };
    let queuing = |queuing: Value| limited(json!({"limitResponse": {"type": "Queue", "queuing": queuing}}));
    let base = named(
        "mine",
        json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}),
    );
    let changes = [
        json!({"spec": {"type": ""}}),
        json!({"spec": {"type": "Open"}}),
        json!({"spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": -1, "lendablePercent": 101}}}),
        json!({"spec": {"limited": null, "exempt": {}}}),
        limited(json!({"nominalConcurrencyShares": -1, "lendablePercent": -1, "borrowingLimitPercent": -1})),
        limited(json!({"limitResponse": {"type": "Wait"}})),
        limited(json!({"limitResponse": {"type": "Queue"}})),
        limited(json!({"limitResponse": {"queuing": {}}})),
        queuing(json!({"queues": -1, "handSize": -1, "queueLengthLimit": -1})),
        queuing(json!({"queues": 10_000_001, "handSize": 3})),
        queuing(json!({"queues": 4, "handSize": 5})),
        queuing(json!({"queues": 1024, "handSize": 7})),
        json!({"metadata": {"annotations": {"flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares": ""}}}),
        json!({"metadata": {"name": "catch-all"}}),
        json!({"metadata": {"name": "exempt"}}),
    ];
    assert_snapshot!(wrong(PRIORITYLEVELCONFIGURATIONS, &base, &changes));
    let queue = json!({"type": "Queue", "queuing": {}});
    let bare = named(
        "mine",
        json!({"type": "Limited", "limited": {"limitResponse": queue}}),
    );
    assert_snapshot!(
        "priority_level_filled_in",
        prepared(PRIORITYLEVELCONFIGURATIONS, bare).to_string()
    );
}
