//! Webhooks and policies of admission, and who serves which group.

use crate::printed::line;
use crate::{prepared, rules, wrong, wrong_update};
use insta::assert_snapshot;
use kinds::Write;
use kinds::apiservice::APISERVICES;
use kinds::mutatingadmissionpolicy::MUTATINGADMISSIONPOLICIES;
use kinds::mutatingadmissionpolicybinding::MUTATINGADMISSIONPOLICYBINDINGS;
use kinds::mutatingwebhookconfiguration::MUTATINGWEBHOOKCONFIGURATIONS;
use kinds::validatingadmissionpolicy::VALIDATINGADMISSIONPOLICIES;
use kinds::validatingadmissionpolicybinding::VALIDATINGADMISSIONPOLICYBINDINGS;
use kinds::validatingwebhookconfiguration::VALIDATINGWEBHOOKCONFIGURATIONS;
use serde_json::{Value, json};

fn named(name: &str, more: Value) -> Value {
    let mut object = json!({"metadata": {"name": name, "creationTimestamp": "2026-11-21T09:59:00Z"}});
    crate::merge(&mut object, &more);
    object
}

fn hook(more: Value) -> Value {
    let mut hook = json!({"name": "a.example.com", "clientConfig": {"url": "https://h/p"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"]});
    crate::merge(&mut hook, &more);
    json!({"webhooks": [hook]})
}

fn rule(more: Value) -> Value {
    let mut rule =
        json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    crate::merge(&mut rule, &more);
    rule
}

fn bad_hooks() -> Vec<Value> {
    let url = |url: &str| hook(json!({"clientConfig": {"url": url}}));
    let service = |service: Value| hook(json!({"clientConfig": {"url": null, "service": service}}));
    let rules = |more: Value| hook(json!({"rules": [rule(more)]}));
    vec![
        hook(json!({"name": ""})),
        hook(json!({"name": "example.com"})),
        hook(
            json!({"name": "A.b.c", "failurePolicy": "Shrug", "matchPolicy": "Near", "sideEffects": "Some", "timeoutSeconds": 31}),
        ),
        hook(json!({"sideEffects": null, "admissionReviewVersions": []})),
        hook(json!({"admissionReviewVersions": ["v2", "v2", "V3"]})),
        hook(
            json!({"namespaceSelector": {"matchLabels": {"a b": "c d"}}, "objectSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
        ),
        hook(
            json!({"matchConditions": [{"name": "", "expression": " "}, {"name": "a b", "expression": "x"}, {"name": "c", "expression": "x"}, {"name": "c", "expression": "x"}]}),
        ),
        hook(json!({"clientConfig": {"service": {"namespace": "n", "name": "s"}}})),
        url(":"),
        url("http://u:p@h?q#f"),
        url("https://a b"),
        service(json!({"port": -1, "path": "x//y/Z_"})),
        rules(json!({"operations": [], "apiGroups": [], "apiVersions": [], "resources": []})),
        rules(
            json!({"operations": ["*", "LOOK"], "apiGroups": ["*", ""], "apiVersions": ["*", ""], "scope": "Moon"}),
        ),
        rules(json!({"resources": ["a/*", "a/b", "*/c", "d/c", "*/*", "", "*", "x"]})),
    ]
}

#[test]
fn wrong_webhooks() {
    let base = named("c", hook(json!({})));
    assert_snapshot!(
        "validating_webhooks",
        wrong(VALIDATINGWEBHOOKCONFIGURATIONS, &base, &bad_hooks())
    );
    let mut all = bad_hooks();
    all.push(hook(json!({"reinvocationPolicy": "Often"})));
    let two = json!({"webhooks": [hook(json!({}))["webhooks"][0], hook(json!({}))["webhooks"][0]]});
    all.push(two);
    assert_snapshot!(
        "mutating_webhooks",
        wrong(MUTATINGWEBHOOKCONFIGURATIONS, &base, &all)
    );
    let weak = named(
        "c",
        hook(
            json!({"sideEffects": "Some", "admissionReviewVersions": ["v9"], "objectSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]}, "matchConditions": [{"name": "a", "expression": ""}]}),
        ),
    );
    let same = [json!({"metadata": {"labels": {"a": "b"}}})];
    let kept = wrong_update(VALIDATINGWEBHOOKCONFIGURATIONS, Write::Update, &weak, &same);
    assert_eq!(
        kept, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}\n\n",
        "what was stored may stay"
    );
}

fn policy(more: Value) -> Value {
    let mut spec = json!({"matchConstraints": {"resourceRules": [rule(json!({}))]}});
    crate::merge(&mut spec, &more);
    named("p", json!({"spec": spec}))
}

fn bad_policies() -> Vec<Value> {
    [
        json!({"failurePolicy": "Shrug", "matchConstraints": null}),
        json!({"paramKind": {}}),
        json!({"paramKind": {"apiVersion": "a/b/c", "kind": "No Kind"}}),
        json!({"paramKind": {"apiVersion": "A_/", "kind": "x"}}),
        json!({"matchConstraints": {"resourceRules": [], "matchPolicy": "Near", "namespaceSelector": {"matchLabels": {"a b": ""}}}}),
        json!({"matchConstraints": {"excludeResourceRules": [rule(json!({"resourceNames": ["a", "a", "..", "x/y"], "operations": ["DELETE", "LOOK"]}))], "resourceRules": [rule(json!({"operations": ["DELETE"]}))]}}),
        json!({"matchConditions": [{"name": "a"}]}),
        json!({"variables": [{"name": " "}, {"name": "1x", "expression": "true"}, {"name": "namespace", "expression": "true"}]}),
    ]
    .map(|spec| json!({"spec": spec}))
    .to_vec()
}

#[test]
fn wrong_policies() {
    let base = policy(json!({"validations": [{"expression": "true"}]}));
    let mut changes = bad_policies();
    let spec = |spec: Value| json!({"spec": spec});
    let many: Vec<Value> = (0..21)
        .map(|i| json!({"key": format!("k{i}"), "valueExpression": "'v'"}))
        .collect();
    changes.extend([
        spec(json!({"validations": []})),
        spec(json!({"validations": [{"expression": " ", "message": " ", "messageExpression": " ", "reason": "Mood"}, {"expression": "true", "message": "a\nb"}]})),
        spec(json!({"auditAnnotations": [{"key": "a b"}, {"key": "c", "valueExpression": "x".repeat(5 * 1024 + 1)}, {"key": "c", "valueExpression": "x"}]})),
        spec(json!({"auditAnnotations": many})),
    ]);
    let told = wrong(VALIDATINGADMISSIONPOLICIES, &base, &changes);
    let short: Vec<String> = told
        .lines()
        .map(|line| line.chars().take(400).collect())
        .collect();
    assert_snapshot!("validating_policies", short.join("\n"));
    let status = [
        json!({"status": {"typeChecking": {"expressionWarnings": [{}]}, "conditions": [{"type": "", "status": "Maybe"}]}}),
    ];
    assert_snapshot!(
        "validating_policy_status",
        wrong_update(VALIDATINGADMISSIONPOLICIES, Write::Status, &base, &status)
    );

    let apply = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}});
    let base = policy(json!({"mutations": [apply], "reinvocationPolicy": "Never"}));
    let mut changes = bad_policies();
    changes.extend([
        spec(json!({"mutations": [], "reinvocationPolicy": ""})),
        spec(json!({"reinvocationPolicy": "Often", "mutations": [{"patchType": ""}, {"patchType": "Magic"}, {"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}}, {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": " "}, "jsonPatch": {"expression": "x"}}]})),
    ]);
    assert_snapshot!(
        "mutating_policies",
        wrong(MUTATINGADMISSIONPOLICIES, &base, &changes)
    );
}

#[test]
fn wrong_bindings() {
    let spec = |spec: Value| json!({"spec": spec});
    let changes = [
        spec(json!({"policyName": ""})),
        spec(json!({"policyName": "No Such"})),
        spec(json!({"paramRef": {}})),
        spec(json!({"paramRef": {"name": "a/b", "selector": {}, "parameterNotFoundAction": "Shrug"}})),
        spec(
            json!({"paramRef": {"selector": {"matchLabels": {"a b": "c"}}, "parameterNotFoundAction": "Deny"}}),
        ),
        spec(
            json!({"matchResources": {"matchPolicy": "Near", "resourceRules": [rule(json!({"operations": ["DELETE", "LOOK"]}))]}}),
        ),
        spec(json!({"validationActions": []})),
        spec(json!({"validationActions": ["Deny", "Warn", "Warn", "Shout"]})),
    ];
    let base = named(
        "b",
        spec(json!({"policyName": "p", "validationActions": ["Deny"]})),
    );
    assert_snapshot!(
        "validating_bindings",
        wrong(VALIDATINGADMISSIONPOLICYBINDINGS, &base, &changes)
    );
    let base = named("b", spec(json!({"policyName": "p"})));
    let mut changes = changes.to_vec();
    changes.truncate(6);
    changes.push(spec(
        json!({"paramRef": {"name": "..", "parameterNotFoundAction": "Deny"}}),
    ));
    changes.push(spec(json!({"matchResources": {"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}})));
    assert_snapshot!(
        "mutating_bindings",
        wrong(MUTATINGADMISSIONPOLICYBINDINGS, &base, &changes)
    );
}

fn remote() -> Value {
    named(
        "v1.m.io",
        json!({"spec": {"group": "m.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 5, "service": {"namespace": "n", "name": "s"}}}),
    )
}

#[test]
fn wrong_api_services() {
    let changes = [
        json!({"spec": {"group": ""}}),
        json!({"spec": {"group": null, "version": "v2"}}),
        json!({"spec": {"group": "M_io", "version": "1"}}),
        json!({"spec": {"groupPriorityMinimum": 0, "versionPriority": 0}}),
        json!({"spec": {"groupPriorityMinimum": 20_001, "versionPriority": 1001}}),
        json!({"spec": {"service": {"namespace": "", "name": "", "port": 70_000}}}),
        json!({"spec": {"insecureSkipTLSVerify": true, "caBundle": "YQ=="}}),
        json!({"spec": {"service": null, "insecureSkipTLSVerify": true, "caBundle": "YQ=="}}),
    ];
    assert_snapshot!(wrong(APISERVICES, &remote(), &changes[1..]));
    let other = rules(APISERVICES).check_name_of(&remote(), "v1.other");
    assert_eq!(other, ["must be `spec.version+\".\"+spec.group`: \"v1.m.io\""]);
    let status = [json!({"status": {"conditions": [{"type": "Available", "status": "Maybe"}]}})];
    assert_snapshot!(
        "api_service_status",
        wrong_update(APISERVICES, Write::Status, &remote(), &status)
    );
}

#[test]
fn the_servers_own_groups_are_there() {
    let rows = kinds::rows();
    let own = kinds::apiservice::of_own_groups(rows.iter());
    for object in &own {
        assert_eq!(crate::errors(APISERVICES, object.clone()), "", "{object}");
    }
    let core = prepared(APISERVICES, own[0].clone());
    assert_snapshot!(line(APISERVICES, &core), @"v1. | Local | True | <unknown>");
}

#[test]
fn printed_and_filled_in() {
    let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["x", "y"]}]});
    let mut failed = remote();
    failed["status"] =
        json!({"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]});
    let full = policy(
        json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{}], "mutations": [{}, {}]}),
    );
    let bound = |more: Value| named("b", json!({"spec": {"policyName": "p", "paramRef": more}}));
    let lines = [
        line(VALIDATINGWEBHOOKCONFIGURATIONS, &named("c", hook(json!({})))),
        line(MUTATINGWEBHOOKCONFIGURATIONS, &named("c", json!({}))),
        line(VALIDATINGADMISSIONPOLICIES, &full),
        line(MUTATINGADMISSIONPOLICIES, &policy(json!({"mutations": [{}, {}]}))),
        line(
            VALIDATINGADMISSIONPOLICYBINDINGS,
            &bound(json!({"name": "x", "namespace": "n"})),
        ),
        line(VALIDATINGADMISSIONPOLICYBINDINGS, &bound(json!({"name": "x"}))),
        line(
            MUTATINGADMISSIONPOLICYBINDINGS,
            &bound(json!({"selector": selector})),
        ),
        line(MUTATINGADMISSIONPOLICYBINDINGS, &bound(Value::Null)),
        line(APISERVICES, &remote()),
        line(APISERVICES, &failed),
        prepared(
            MUTATINGWEBHOOKCONFIGURATIONS,
            hook(json!({"rules": [rule(json!({}))], "clientConfig": {"url": null, "service": {}}})),
        )
        .to_string(),
        prepared(VALIDATINGADMISSIONPOLICIES, policy(json!({}))).to_string(),
        prepared(APISERVICES, remote()).to_string(),
    ];
    assert_snapshot!(lines.join("\n"));
    let reserved = named("x.static.k8s.io", json!({}));
    assert_eq!(
        rules(VALIDATINGWEBHOOKCONFIGURATIONS)
            .warnings(&reserved, None)
            .len(),
        1
    );
}
