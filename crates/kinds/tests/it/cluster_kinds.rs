//! Namespaces, nodes, secrets, events, leases, endpoints: defaults, what is refused, and how they go.

use crate::{cluster, decoded, errors, lines, now, prepared, rules};
use insta::assert_snapshot;
use kinds::configmap::CONFIGMAPS;
use kinds::endpoints::ENDPOINTS;
use kinds::endpointslice::ENDPOINTSLICES;
use kinds::event::{self, EVENTS};
use kinds::lease::LEASES;
use kinds::namespace::NAMESPACES;
use kinds::node::NODES;
use kinds::secret::SECRETS;
use kinds::service::SERVICES;
use kinds::serviceaccount::SERVICEACCOUNTS;
use kinds::workload::PODS;
use kinds::{Act, Key, Registry, Seen, Write, endpointslice, namespace, secret};
use meta::{Errors, Res, Timestamp};
use serde_json::{Value, json};

fn changed(res: Res, write: Write, old: &Value, new: &Value) -> String {
    let mut found = Errors::new();
    rules(res).validate_update(write, new, old, &mut found);
    lines(&found)
}

#[test]
fn a_namespace_from_birth_to_end() {
    let rules = rules(NAMESPACES);
    let mut object = prepared(NAMESPACES, json!({"metadata": {"name": "shop"}}));
    assert_snapshot!("namespace", object.to_string());
    assert!(rules.holds(&object));
    rules.mark_deleted(&mut object);
    object["metadata"]["deletionTimestamp"] = "2026-11-21T09:59:00Z".into();
    assert_eq!(object["status"]["phase"], "Terminating");
    let mut emptied = object.clone();
    emptied["spec"] = json!({});
    let mut plain = emptied.clone();
    rules.prepare(Write::Update, &mut plain, Some(&object), now());
    assert!(rules.holds(&plain), "only finalize takes finalizers off");
    rules.prepare(Write::Other("finalize"), &mut emptied, Some(&object), now());
    assert!(!rules.holds(&emptied));
    let mut active = object.clone();
    active["status"]["phase"] = "Active".into();
    let phase = changed(NAMESPACES, Write::Status, &object, &active);
    let wrong = errors(
        NAMESPACES,
        json!({"metadata": {"name": "x"}, "spec": {"finalizers": ["a b", "mine", "a.b/c"]}}),
    );
    assert_snapshot!("namespace_wrong", format!("{phase}\n{wrong}"));
}

#[test]
fn some_namespaces_stay() {
    let delete = |name: &str| {
        let object = json!({"metadata": {"name": name}});
        rules(NAMESPACES).admit_delete(&object, &cluster(&[]))
    };
    let refused = delete("kube-system").expect_err("it may not go");
    assert_eq!(
        refused.message,
        "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"
    );
    assert!(delete("shop").is_ok());
}

/// The plan for the namespace `shop`, which is being deleted, as text.
fn emptying(status: Value, content: &[(Res, Value)]) -> String {
    let namespace = json!({"metadata": {"name": "shop", "uid": "n", "deletionTimestamp": "2026-11-21T09:59:00Z"},
        "spec": {"finalizers": ["kubernetes"]}, "status": status});
    let objects = [&[(NAMESPACES, namespace)], content].concat();
    let (snapshot, rows) = (cluster(&objects), Registry::builtin());
    let seen = Seen {
        now: now(),
        snapshot: &snapshot,
        rows: &rows,
    };
    let plan = (namespace::CONTROLLER.plan)(&seen, &Key::new(NAMESPACES, "", "shop"));
    let acts = plan.acts.iter().map(|act| match act {
        Act::Delete { target, .. } => format!("delete {}/{}", target.res.plural, target.name),
        Act::Patch {
            subresource, patch, ..
        } => format!("{subresource} {patch:#}"),
        Act::Update { subresource, .. } => (*subresource).to_string(),
        other => format!("{other:?}"),
    });
    let lines: Vec<String> = acts.chain(plan.why.clone()).collect();
    lines.join("\n")
}

#[test]
fn a_namespace_is_emptied_pods_first_and_says_what_it_waits_for() {
    let of = |res: Res, name: &str, finalizers: &[&str], deleting: bool| {
        let mut object =
            json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "finalizers": finalizers}});
        if deleting {
            object["metadata"]["deletionTimestamp"] = "2026-11-21T09:59:00Z".into();
        }
        (res, object)
    };
    let pods = |deleting| of(PODS, "web-0", &[], deleting);
    let held = |deleting| of(SECRETS, "held", &["example.com/hold"], deleting);
    let ends = of(LEASES, "both", &["example.com/hold", "example.com/other"], true);
    let steps = [
        emptying(json!({}), &[pods(false), held(false)]),
        emptying(json!({}), &[pods(true), held(false)]),
        emptying(json!({}), &[held(false), ends.clone()]),
        emptying(json!({}), &[held(true), ends]),
        emptying(json!({}), &[]),
    ];
    assert_snapshot!("namespace_emptied", steps.join("\n--\n"));
}

#[test]
fn secrets() {
    let secret = |kind: &str, data: Value| json!({"metadata": {"name": "s"}, "type": kind, "data": data});
    let mut object = secret("", json!({"a": "Yg==", "b": "Yw=="}));
    object["stringData"] = json!({"a": "text"});
    let object = prepared(SECRETS, decoded(SECRETS, object));
    assert_snapshot!("secret", object.to_string());
    let all = [
        ("kubernetes.io/tls", json!({})),
        ("kubernetes.io/basic-auth", json!({})),
        ("kubernetes.io/ssh-auth", json!({})),
        (
            "kubernetes.io/dockerconfigjson",
            json!({".dockerconfigjson": "W10="}),
        ),
        (
            "kubernetes.io/dockerconfigjson",
            json!({".dockerconfigjson": "eA=="}),
        ),
        ("kubernetes.io/dockercfg", json!({})),
        ("kubernetes.io/service-account-token", json!({})),
        (
            "Opaque",
            json!({"a/b": "", "..x": "", "big": "A".repeat(1_500_000)}),
        ),
    ];
    let said: Vec<String> = all
        .into_iter()
        .map(|(kind, data)| errors(SECRETS, secret(kind, data)))
        .collect();
    assert_snapshot!("secret_wrong", said.join("\n--\n"));
    let mut fixed = object.clone();
    fixed["immutable"] = true.into();
    let other = json!({"type": "x", "data": {}});
    assert_snapshot!("secret_changed", changed(SECRETS, Write::Update, &fixed, &other));
}

#[test]
fn nodes() {
    let node =
        |spec: Value, status: Value| json!({"metadata": {"name": "n"}, "spec": spec, "status": status});
    let good = prepared(
        NODES,
        node(
            json!({"podCIDR": "10.1.0.0/24"}),
            json!({"capacity": {"cpu": "2"}}),
        ),
    );
    assert_eq!(good["status"]["allocatable"], json!({"cpu": "2"}));
    assert_eq!(good["spec"]["podCIDRs"], json!(["10.1.0.0/24"]));
    assert_eq!(rules(NODES).field(&good, "spec.unschedulable"), "false");
    let wrong = node(
        json!({"podCIDRs": ["x"], "taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "-", "value": "a b", "effect": "Go"}, {"key": "b"}]}),
        json!({"capacity": {"cpu": "-1"}}),
    );
    let mut moved = good.clone();
    moved["spec"]["podCIDRs"] = json!(["10.2.0.0/24"]);
    let moved = changed(NODES, Write::Update, &good, &moved);
    assert_snapshot!("node_wrong", format!("{}\n{moved}", errors(NODES, wrong)));
}

#[test]
fn addresses_behind_services() {
    let wrong = json!({"metadata": {"name": "e"}, "subsets": [{}, {"addresses": [{"ip": "127.0.0.1", "hostname": "A"}, {"ip": "x"}], "ports": [{"port": 0}, {"name": "B", "port": 1, "protocol": "ip"}]}]});
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": []}, {"addresses": ["::1", "x", "169.254.1.1"], "hostname": "A"}],
        "ports": [{"port": 80}, {"name": "", "port": 0}]});
    let untyped = json!({"metadata": {"name": "s"}, "endpoints": []});
    let said = [
        errors(ENDPOINTS, wrong),
        errors(ENDPOINTSLICES, slice.clone()),
        errors(ENDPOINTSLICES, untyped),
    ];
    assert_snapshot!("endpoints_wrong", said.join("\n--\n"));
    let mut other = slice.clone();
    other["addressType"] = "IPv6".into();
    assert_snapshot!(
        "endpointslice_changed",
        changed(ENDPOINTSLICES, Write::Update, &slice, &other)
    );
}

#[test]
fn leases_and_accounts() {
    let wrong = json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1, "preferredHolder": "a"}});
    assert_snapshot!("lease_wrong", errors(LEASES, wrong));
    let account =
        json!({"metadata": {"name": "a"}, "secrets": [{"name": "s", "uid": "x", "kind": "Secret"}]});
    assert_eq!(
        prepared(SERVICEACCOUNTS, account)["secrets"],
        json!([{"name": "s"}])
    );
}

fn event(more: Value) -> Value {
    let mut event = json!({"metadata": {"name": "e", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-11-21T08:00:00Z"},
        "involvedObject": {"kind": "Pod", "name": "web-0", "namespace": "shop"}});
    for (key, value) in more.as_object().expect("a map") {
        event[key] = value.clone();
    }
    event
}

#[test]
fn events_are_checked() {
    let elsewhere = errors(
        EVENTS,
        event(json!({"involvedObject": {"kind": "Node", "name": "n"}})),
    );
    let new_style = errors(EVENTS, event(json!({"eventTime": "2026-11-21T08:00:00.000000Z"})));
    assert_snapshot!("event_wrong", format!("{elsewhere}\n--\n{new_style}"));
}

#[test]
fn an_event_goes_an_hour_after_it_was_last_seen() {
    let plan = |more: Value| {
        let (snapshot, rows) = (cluster(&[(EVENTS, event(more))]), Registry::builtin());
        let seen = Seen {
            now: now(),
            snapshot: &snapshot,
            rows: &rows,
        };
        (event::TTL.plan)(&seen, &Key::new(EVENTS, "shop", "e"))
    };
    assert_eq!(plan(json!({})).acts.len(), 1, "it was made two hours ago");
    let fresh = plan(json!({"lastTimestamp": "2026-11-21T09:30:10Z"}));
    assert!(fresh.acts.is_empty());
    assert_eq!(fresh.wake, Timestamp::parse("2026-11-21T10:31:00Z"));
    let repeated = plan(
        json!({"lastTimestamp": "2026-11-21T08:30:10Z", "series": {"count": 2, "lastObservedTime": "2026-11-21T09:59:00.000000Z"}}),
    );
    assert!(repeated.acts.is_empty());
    // A client may write any time: it neither ends an event at birth nor keeps it for ever.
    let mut told_late = event(json!({"lastTimestamp": "2017-09-19T13:49:16Z"}));
    told_late["metadata"]["creationTimestamp"] = now().rfc3339().into();
    let rows = Registry::builtin();
    let snapshot = cluster(&[(EVENTS, told_late)]);
    let seen = Seen {
        now: now(),
        snapshot: &snapshot,
        rows: &rows,
    };
    let plan_late = (event::TTL.plan)(&seen, &Key::new(EVENTS, "shop", "e"));
    assert!(plan_late.acts.is_empty());
    assert_eq!(
        plan(json!({"lastTimestamp": "2126-11-21T09:30:10Z"})).acts.len(),
        1
    );
}

#[test]
fn a_token_secret_is_filled_and_goes_with_its_account() {
    let wanted = |annotations: Value| {
        json!({"metadata": {"name": "s", "namespace": "shop", "uid": "s", "annotations": annotations},
        "type": "kubernetes.io/service-account-token"})
    };
    let root = json!({"metadata": {"name": "kube-root-ca.crt", "namespace": "kube-system"}, "data": {"ca.crt": "PEM"}});
    let account = json!({"metadata": {"name": "robot", "namespace": "shop", "uid": "r"}});
    let plan = |secret: &Value, objects: &[(Res, Value)]| {
        let objects = [&[(SECRETS, secret.clone()), (CONFIGMAPS, root.clone())], objects].concat();
        let (snapshot, rows) = (cluster(&objects), Registry::builtin());
        let seen = Seen {
            now: now(),
            snapshot: &snapshot,
            rows: &rows,
        };
        let plan = (secret::TOKENS.plan)(&seen, &Key::new(SECRETS, "shop", "s"));
        let claims = rules(SECRETS).wants_token(secret, &snapshot);
        format!("{:?} {:?} {}", plan.acts, plan.why, claims.unwrap_or_default())
    };
    let account = [(SERVICEACCOUNTS, account)];
    let (name, uid) = (
        "kubernetes.io/service-account.name",
        "kubernetes.io/service-account.uid",
    );
    let full = json!({"token": "dA==", "ca.crt": "UEVN", "namespace": "c2hvcA=="});
    let mut done = wanted(json!({name: "robot", uid: "r"}));
    let signed = plan(&done, &account);
    done["data"] = full;
    let steps = [
        plan(&wanted(json!({name: "robot"})), &account),
        signed,
        plan(&done, &account),
        plan(&wanted(json!({name: "robot", uid: "another"})), &account),
        plan(&wanted(json!({name: "robot"})), &[]),
    ];
    assert_snapshot!("secret_token", steps.join("\n"));
}

#[test]
fn endpoints_written_by_hand_are_mirrored() {
    let service = |selector: Value| json!({"metadata": {"name": "db", "namespace": "shop", "uid": "s"}, "spec": {"selector": selector}});
    let endpoints = json!({"metadata": {"name": "db", "namespace": "shop", "uid": "e", "labels": {"team": "a"}, "annotations": {"why": "old", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "subsets": [{"addresses": [{"ip": "192.0.2.7", "hostname": "one"}, {"ip": "2001:db8::7"}], "notReadyAddresses": [{"ip": "192.0.2.8"}],
            "ports": [{"name": "sql", "port": 5432}]}]});
    let plan = |objects: &[(Res, Value)]| {
        let (snapshot, rows) = (cluster(objects), Registry::builtin());
        let seen = Seen {
            now: now(),
            snapshot: &snapshot,
            rows: &rows,
        };
        (endpointslice::MIRROR.plan)(&seen, &Key::new(ENDPOINTS, "shop", "db")).acts
    };
    let made: Vec<Value> = plan(&[(SERVICES, service(Value::Null)), (ENDPOINTS, endpoints.clone())])
        .into_iter()
        .map(|act| match act {
            Act::Create { object, .. } => object,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_snapshot!(
        "endpoints_mirrored",
        serde_json::to_string_pretty(&made).expect("JSON")
    );
    // What is there is left alone; it goes when the Service begins to select pods, and when the Endpoints go.
    let kept: Vec<(Res, Value)> = made.iter().map(|slice| (ENDPOINTSLICES, slice.clone())).collect();
    let with = |more: &[(Res, Value)]| plan(&[kept.clone(), more.to_vec()].concat());
    let still = [(SERVICES, service(Value::Null)), (ENDPOINTS, endpoints.clone())];
    assert_eq!(with(&still), []);
    let selecting = [
        (SERVICES, service(json!({"app": "db"}))),
        (ENDPOINTS, endpoints.clone()),
    ];
    for gone in [&selecting[..], &[(SERVICES, service(Value::Null))]] {
        let acts = with(gone);
        assert!(
            acts.len() == 2 && acts.iter().all(|act| matches!(act, Act::Delete { .. })),
            "{acts:?}"
        );
    }
    let mut skipped = endpoints;
    skipped["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true".into();
    assert_eq!(
        plan(&[(SERVICES, service(Value::Null)), (ENDPOINTS, skipped)]),
        []
    );
}
