//! Roles and bindings: what may be in them, how they are printed, what they cover, and what becomes of the default ones.

use crate::{cluster, defaulted, errors, lines, now, rules};
use insta::assert_snapshot;
use kinds::rbac::policy::{self, Reconciled, reconciled};
use kinds::rbac::rule::{PolicyRule, described, missing};
use kinds::rbac::{CLUSTERROLEBINDINGS, CLUSTERROLES, CONTROLLER, ROLEBINDINGS, ROLES};
use kinds::review::Attributes;
use kinds::{Act, Key, Registry, Seen, Write};
use meta::{Errors, Res, Snapshot};
use serde_json::{Value, json};

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
    let value = json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names});
    serde_json::from_value(value).expect("a rule")
}

#[test]
fn what_is_wrong_with_roles_and_bindings() {
    let role = |rules: Value| json!({"metadata": {"name": "r", "namespace": "shop"}, "rules": rules});
    let binding = |role: Value, subjects: Value| json!({"metadata": {"name": "b", "namespace": "shop"}, "roleRef": role, "subjects": subjects});
    let view = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    let mut told = String::new();
    for (res, object) in [
        (ROLES, role(json!([{}]))),
        (
            ROLES,
            role(json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}])),
        ),
        (
            CLUSTERROLES,
            role(json!([{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}])),
        ),
        (CLUSTERROLES, role(json!([{"verbs": ["get"], "apiGroups": [""]}]))),
        (
            CLUSTERROLES,
            json!({"metadata": {"name": "r"}, "aggregationRule": {}}),
        ),
        (
            CLUSTERROLES,
            json!({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a b": "c"}}]}}),
        ),
        (ROLEBINDINGS, binding(json!({}), json!([]))),
        (
            ROLEBINDINGS,
            binding(
                json!({"apiGroup": "apps", "kind": "Pod", "name": "a/b"}),
                json!([]),
            ),
        ),
        (
            CLUSTERROLEBINDINGS,
            binding(json!({"kind": "Role", "name": "x"}), json!([])),
        ),
        (
            CLUSTERROLEBINDINGS,
            binding(
                view.clone(),
                json!([
                    {"kind": "ServiceAccount", "name": "A_b"}, {"kind": "User"}, {"kind": "Dog", "name": "rex"},
                    {"kind": "Group", "name": "g", "apiGroup": "x"},
                    {"kind": "ServiceAccount", "name": "a", "namespace": "n", "apiGroup": "y"},
                ]),
            ),
        ),
        (
            ROLEBINDINGS,
            binding(view.clone(), json!([{"kind": "ServiceAccount", "name": "a"}])),
        ),
    ] {
        told.push_str(&format!("{res:?}\n{}\n\n", errors(res, object)));
    }
    let mut found = Errors::new();
    let (old, new) = (
        defaulted(ROLEBINDINGS, binding(view, json!([]))),
        defaulted(
            ROLEBINDINGS,
            binding(json!({"kind": "Role", "name": "edit"}), json!([])),
        ),
    );
    rules(ROLEBINDINGS).validate_update(Write::Update, &new, &old, &mut found);
    told.push_str(&lines(&found));
    assert_snapshot!(told);
}

#[test]
fn bindings_are_printed_with_their_subjects() {
    let object = defaulted(
        ROLEBINDINGS,
        json!({
            "metadata": {"name": "b", "creationTimestamp": "2026-11-21T09:58:00Z"},
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [
                {"kind": "User", "name": "jane"}, {"kind": "User", "name": "joe"}, {"kind": "Group", "name": "devs"},
                {"kind": "ServiceAccount", "name": "app", "namespace": "shop"},
            ],
        }),
    );
    let cells = rules(ROLEBINDINGS).cells(&object, now());
    assert_eq!(
        Value::from(cells),
        json!(["b", "ClusterRole/view", "2m", "jane, joe", "devs", "shop/app"])
    );
}

#[test]
fn rules_allow_what_upstreams_do() {
    let ask = |verb, group, resource, subresource, name| Attributes {
        verb,
        group,
        resource,
        subresource,
        name,
        ..Attributes::default()
    };
    let scale = rule(&["get", "update"], &["*"], &["*/scale", "pods"], &[]);
    let named = rule(&["*"], &[""], &["configmaps"], &["a"]);
    for (rule, ask, allowed) in [
        (&scale, ask("get", "apps", "deployments", "scale", "x"), true),
        (&scale, ask("get", "apps", "deployments", "", "x"), false),
        (&scale, ask("get", "", "pods", "", "x"), true),
        (&scale, ask("get", "", "pods", "log", "x"), false),
        (&scale, ask("patch", "", "pods", "", "x"), false),
        (&named, ask("delete", "", "configmaps", "", "a"), true),
        (&named, ask("delete", "", "configmaps", "", "b"), false),
        (&named, ask("list", "", "configmaps", "", ""), false),
    ] {
        assert_eq!(rule.allows(&ask), allowed, "{} {ask:?}", rule.compact());
    }
    let paths: PolicyRule =
        serde_json::from_value(json!({"verbs": ["get"], "nonResourceURLs": ["/a", "/b/*"]})).expect("a rule");
    for (path, allowed) in [
        ("/a", true),
        ("/a/", false),
        ("/b", false),
        ("/b/", true),
        ("/b/c/d", true),
    ] {
        assert_eq!(paths.allows(&Attributes::of_path("get", path)), allowed, "{path}");
    }
}

#[test]
fn what_is_missing_is_told_compactly() {
    let held = [
        rule(&["get"], &[""], &["pods"], &[]),
        rule(&["*"], &["apps"], &["*/scale"], &[]),
    ];
    let wanted = [
        rule(
            &["get", "list", "watch"],
            &["", "apps"],
            &["pods", "deployments/scale"],
            &[],
        ),
        rule(&["get"], &[""], &["pods"], &["a"]),
        rule(&["get"], &[""], &["secrets"], &["a", "b"]),
        serde_json::from_value(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})).expect("a rule"),
    ];
    assert_snapshot!(described(&missing(&held, &wanted)).join("\n"));
}

/// A cluster that holds all defaults, as a server's first start leaves it.
fn bootstrapped() -> Snapshot {
    let objects: Vec<(Res, Value)> = policy::defaults()
        .into_iter()
        .map(|default| {
            let mut object = default.object;
            if !default.namespace.is_empty() {
                object["metadata"]["namespace"] = default.namespace.into();
            }
            (default.res, object)
        })
        .collect();
    cluster(&objects)
}

#[test]
fn defaults_are_valid_and_made_once() {
    for default in policy::defaults() {
        assert_eq!(
            errors(default.res, default.object.clone()),
            "",
            "{}",
            default.object
        );
    }
    let count = |res: Res| policy::defaults().iter().filter(|d| d.res == res).count();
    assert_snapshot!(format!(
        "{} cluster roles, {} bindings, {} roles, {} role bindings",
        count(CLUSTERROLES),
        count(CLUSTERROLEBINDINGS),
        count(ROLES),
        count(ROLEBINDINGS)
    ));
    assert!(
        policy::calls(&bootstrapped()).is_empty(),
        "a second start writes nothing"
    );
}

#[test]
fn what_a_default_lacks_is_added_and_what_it_has_stays() {
    let find = |name: &str, kind: &str| {
        let mut all = policy::defaults().into_iter().map(|d| d.object);
        let found = all.find(|o| o["metadata"]["name"] == name && o["kind"] == kind);
        found.expect("a default")
    };
    let role = find("system:basic-user", "ClusterRole");
    let mut stored = role.clone();
    stored["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    stored["metadata"]["labels"] = json!({"mine": "yes"});
    let Reconciled::Update(new) = reconciled(&stored, &role) else {
        panic!("something is missing");
    };
    assert_snapshot!("reconciled_role", new.to_string());
    assert_eq!(reconciled(&new, &role), Reconciled::Same);
    stored["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
    assert_eq!(reconciled(&stored, &role), Reconciled::Same, "it is protected");

    let binding = find("system:basic-user", "ClusterRoleBinding");
    let mut stored = binding.clone();
    stored["subjects"] = json!([{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]);
    let Reconciled::Update(new) = reconciled(&stored, &binding) else {
        panic!("a subject is missing");
    };
    assert_eq!(new["subjects"].as_array().map(Vec::len), Some(2));
    stored["roleRef"]["name"] = "view".into();
    assert_eq!(reconciled(&stored, &binding), Reconciled::Replace);
}

#[test]
fn roles_gather_the_rules_of_those_they_select() {
    let mut cluster = bootstrapped();
    let rows = Registry::builtin();
    let mut rounds = 0;
    loop {
        let seen = Seen {
            now: now(),
            snapshot: &cluster,
            rows: &rows,
        };
        let patches: Vec<(String, Value)> = ["admin", "edit", "view"]
            .iter()
            .flat_map(|name| (CONTROLLER.plan)(&seen, &Key::new(CLUSTERROLES, "", name)).acts)
            .map(|act| match act {
                Act::Patch { target, patch, .. } => (target.name, patch),
                other => panic!("{other:?}"),
            })
            .collect();
        if patches.is_empty() {
            break;
        }
        rounds += 1;
        for (name, patch) in patches {
            let mut role = cluster.by_key(CLUSTERROLES, &name).expect("the role").value();
            role["rules"] = patch["rules"].clone();
            let draft = meta::Draft::new(role).expect("an object");
            cluster.put(CLUSTERROLES, draft.seal(1000 + rounds));
        }
    }
    let count = |name: &str| {
        let role = cluster.by_key(CLUSTERROLES, name).expect("the role").value();
        role["rules"].as_array().map_or(0, Vec::len)
    };
    assert_snapshot!(format!(
        "view {}, edit {}, admin {} after {rounds} rounds",
        count("view"),
        count("edit"),
        count("admin")
    ));
}
