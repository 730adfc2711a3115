//! Who may do what: decisions of the authorizer and the words of refusals, over roles in the store.

use crate::world::World;
use apiserver::Authorizer;
use apiserver::Caller;
use apiserver::core::access::{Ask, Who};
use apiserver::core::rbac::Rbac;
use apiserver::http::Peer;
use kinds::rbac::{BindingView, CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES};
use meta::{Draft, Res, Snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

const GROUP: &str = "rbac.authorization.k8s.io";

fn caller(name: &str, groups: &[&str]) -> Arc<Peer> {
    let groups = groups.iter().copied().chain(["system:authenticated"]);
    Arc::new(Peer {
        caller: Some(Caller {
            name: name.into(),
            groups: groups.map(str::to_string).collect(),
            ..Caller::default()
        }),
        loopback: true,
        address: None,
    })
}

/// What the server says to them.
async fn told(world: &mut World, who: &Arc<Peer>, method: &str, path: &str, body: &Value) -> String {
    let admin = std::mem::replace(&mut world.admin, who.clone());
    let (code, answer) = world.json(method, path, body).await;
    world.admin = admin;
    match answer["message"].as_str() {
        Some(message) => format!("{code} {message}"),
        None => code.to_string(),
    }
}

async fn make(world: &World, path: &str, object: Value) {
    let (code, answer) = world.json("POST", path, &object).await;
    assert_eq!(code, 201, "{answer}");
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

fn binding(name: &str, kind: &str, role: &str, subjects: Value) -> Value {
    let role = json!({"apiGroup": GROUP, "kind": kind, "name": role});
    json!({"metadata": {"name": name}, "roleRef": role, "subjects": subjects})
}

const OWN: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
const CLUSTER: &str = "/apis/rbac.authorization.k8s.io/v1";

#[tokio::test]
async fn refusals_say_what_upstreams_say() {
    let mut world = World::new().await.with_roles().await;
    let (jane, stranger) = (caller("jane", &["devs"]), Arc::new(Peer::default()));
    let devs = json!([{"kind": "Group", "name": "devs"}]);
    make(
        &world,
        &format!("{OWN}/rolebindings"),
        binding("gone", "Role", "nothing", devs.clone()),
    )
    .await;
    make(
        &world,
        &format!("{CLUSTER}/clusterrolebindings"),
        binding("lost", "ClusterRole", "no-such", devs),
    )
    .await;
    let mut lines = Vec::new();
    for (who, method, path) in [
        (&jane, "GET", "/api/v1/namespaces/default/pods"),
        (&jane, "GET", "/api/v1/pods?fieldSelector=metadata.name%3Dweb"),
        (&jane, "GET", "/api/v1/namespaces/default"),
        (&jane, "GET", "/api/v1/namespaces/other/pods/web/log"),
        (&jane, "GET", "/api/v1/namespaces/other/pods?watch=1"),
        (&jane, "DELETE", "/apis/apps/v1/namespaces/other/deployments"),
        (&jane, "GET", "/apis/shop.example.com/v1/carts/%3Cb%3E"),
        (&jane, "GET", "/metrics"),
        (&jane, "GET", "/healthz/ping"),
        (&jane, "GET", "/version"),
        (&jane, "GET", "/apis/apps"),
        (&stranger, "GET", "/api"),
        (&stranger, "GET", "/version"),
        (&stranger, "GET", "/livez"),
        (&stranger, "GET", "/livez/ping"),
        (&stranger, "GET", "/api/v1/pods"),
        (&stranger, "GET", "/openid/v1/jwks"),
    ] {
        let said = told(&mut world, who, method, path, &Value::Null).await;
        lines.push(format!("{method} {path}\n  {said}"));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

// LONG: one story, from what jane holds to all that she tries.
#[tokio::test]
async fn nobody_gives_away_more_than_they_hold() {
    let mut world = World::new().await.with_roles().await;
    let jane = caller("jane", &[]);
    let user = json!([{"kind": "User", "name": "jane"}]);
    let rules = json!([
        {"verbs": ["*"], "apiGroups": [GROUP], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["edit"]},
    ]);
    make(&world, &format!("{OWN}/roles"), role("boss", rules)).await;
    // `*` would allow to escalate as well.
    let rules = json!([{"verbs": ["create", "update", "patch"], "apiGroups": [GROUP], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["edit"]}]);
    let (code, _) = world
        .json("PATCH", &format!("{OWN}/roles/boss"), &json!({"rules": rules}))
        .await;
    assert_eq!(code, 200);
    make(
        &world,
        &format!("{OWN}/rolebindings"),
        binding("boss", "Role", "boss", user),
    )
    .await;
    let pods =
        |verbs: &[&str]| json!([{"verbs": verbs, "apiGroups": [""], "resources": ["pods", "secrets"]}]);
    let mut lines = Vec::new();
    let only_pods = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    for (method, path, object) in [
        ("POST", "roles", role("small", only_pods)),
        ("POST", "roles", role("large", pods(&["get", "watch", "delete"]))),
        ("PATCH", "roles/small", json!({"rules": pods(&["get"])})),
        (
            "PATCH",
            "roles/small",
            json!({"metadata": {"finalizers": ["example.com/a"]}}),
        ),
        ("PUT", "roles/new", role("new", pods(&["list"]))),
        ("POST", "rolebindings", binding("a", "Role", "small", json!([]))),
        (
            "POST",
            "rolebindings",
            binding("b", "ClusterRole", "edit", json!([])),
        ),
        (
            "POST",
            "rolebindings",
            binding("c", "ClusterRole", "system:basic-user", json!([])),
        ),
        (
            "POST",
            "rolebindings",
            binding("d", "ClusterRole", "system:heapster", json!([])),
        ),
        ("POST", "rolebindings", binding("e", "Role", "no-such", json!([]))),
    ] {
        let said = told(&mut world, &jane, method, &format!("{OWN}/{path}"), &object).await;
        lines.push(format!("{method} {path}: {said}"));
    }
    let all = json!([{"matchLabels": {"a": "b"}}]);
    let rules = json!([{"verbs": ["create"], "apiGroups": [GROUP], "resources": ["clusterroles"]}]);
    make(&world, &format!("{CLUSTER}/clusterroles"), role("maker", rules)).await;
    let user = json!([{"kind": "User", "name": "jane"}]);
    make(
        &world,
        &format!("{CLUSTER}/clusterrolebindings"),
        binding("maker", "ClusterRole", "maker", user),
    )
    .await;
    let gathers =
        json!({"metadata": {"name": "g"}, "rules": [], "aggregationRule": {"clusterRoleSelectors": all}});
    let said = told(
        &mut world,
        &jane,
        "POST",
        &format!("{CLUSTER}/clusterroles"),
        &gathers,
    )
    .await;
    lines.push(format!("POST aggregating: {said}"));
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn reviews_answer_from_the_authorizer() {
    let world = World::new().await.with_roles().await;
    let app = json!([{"kind": "ServiceAccount", "name": "app", "namespace": "default"}]);
    make(
        &world,
        &format!("{OWN}/rolebindings"),
        binding("app", "ClusterRole", "system:heapster", app),
    )
    .await;
    let app = "system:serviceaccount:default:app";
    let mut lines = Vec::new();
    for spec in [
        json!({"user": app, "resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}}),
        json!({"user": app, "resourceAttributes": {"namespace": "other", "verb": "list", "resource": "pods"}}),
        json!({"user": "x", "groups": ["system:masters"], "resourceAttributes": {"verb": "explode", "resource": "sun"}}),
        json!({"user": "x", "groups": ["system:authenticated"], "nonResourceAttributes": {"verb": "get", "path": "/apis/apps"}}),
        json!({"user": "system:node:a", "groups": ["system:nodes"], "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "default", "name": "s"}}),
        json!({"user": "system:node:a", "groups": ["system:nodes"], "resourceAttributes": {"verb": "list", "resource": "pods",
            "fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["a"]}]}}}),
        json!({"user": "system:node:a", "groups": ["system:nodes"], "resourceAttributes": {"verb": "list", "resource": "pods",
            "fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "Near", "values": ["a"]}]},
            "labelSelector": {"rawSelector": "a in ("}}}),
        json!({"user": "x", "resourceAttributes": {"fieldSelector": {"rawSelector": "a=b", "requirements": [{"operator": "In"}]}, "labelSelector": {}}}),
    ] {
        let review = json!({"spec": spec});
        let (code, answer) = world
            .json(
                "POST",
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                &review,
            )
            .await;
        let said = match code {
            201 => answer["status"].to_string(),
            _ => answer["message"].to_string(),
        };
        lines.push(format!("{spec}\n  {said}"));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

/// The same decision without an index: every binding is looked at.
fn by_hand(who: Who, ask: &Ask, seen: &Snapshot) -> bool {
    let bindings = seen.list(CLUSTERROLEBINDINGS, "").chain(
        seen.list(ROLEBINDINGS, ask.namespace)
            .filter(|_| !ask.namespace.is_empty()),
    );
    bindings.into_iter().any(|binding| {
        let view = binding.typed::<BindingView>().expect("a binding");
        let namespace = binding.namespace();
        let named = view
            .subjects
            .iter()
            .any(|s| s.is(who.name, who.groups, namespace));
        let role = view.role_ref.rules(namespace, seen);
        named && role.is_ok_and(|role| role.rules.iter().any(|rule| rule.allows(ask)))
    })
}

#[derive(Clone, Debug)]
enum Step {
    Put(Res, String, String, Value),
    Remove(Res, String, String),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(vec!["a", "b", "c"]).prop_map(String::from);
    let space = || prop::sample::select(vec!["one", "two"]).prop_map(String::from);
    let verbs = prop::sample::subsequence(vec!["get", "list", "create"], 1..3);
    let resources = prop::sample::subsequence(vec!["pods", "secrets", "pods/log", "*/log"], 1..3);
    let rules = (verbs, resources)
        .prop_map(|(verbs, resources)| json!([{"verbs": verbs, "apiGroups": [""], "resources": resources}]));
    let subject = prop::sample::select(vec![
        json!({"kind": "User", "name": "jane"}),
        json!({"kind": "Group", "name": "devs"}),
        json!({"kind": "ServiceAccount", "name": "app"}),
        json!({"kind": "ServiceAccount", "name": "app", "namespace": "two"}),
    ]);
    let subjects = prop::collection::vec(subject, 0..3).prop_map(Value::from);
    let binding = (name(), prop::bool::ANY, subjects).prop_map(|(role, cluster, subjects)| {
        let kind = if cluster { "ClusterRole" } else { "Role" };
        json!({"roleRef": {"kind": kind, "name": role}, "subjects": subjects})
    });
    let role = rules.prop_map(|rules| json!({"rules": rules}));
    let res = prop::sample::select(vec![ROLES, CLUSTERROLES, ROLEBINDINGS, CLUSTERROLEBINDINGS]);
    (res, name(), space(), role, binding, 0..4).prop_map(|(res, name, space, role, binding, fate)| {
        let space = match res {
            ROLES | ROLEBINDINGS => space,
            _ => String::new(),
        };
        match (fate, res) {
            (0, _) => Step::Remove(res, space, name),
            (_, ROLES | CLUSTERROLES) => Step::Put(res, space, name, role),
            _ => Step::Put(res, space, name, binding),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_index_decides_as_all_bindings_do(steps in prop::collection::vec(step(), 1..24)) {
        let (rbac, mut seen) = (Rbac::default(), Snapshot::default());
        for (i, step) in steps.into_iter().enumerate() {
            let revision = i as u64 + 1;
            match step {
                Step::Put(res, namespace, name, mut object) => {
                    object["metadata"] = json!({"name": name, "namespace": namespace});
                    seen.put(res, Draft::new(object).expect("an object").seal(revision));
                }
                Step::Remove(res, namespace, name) => {
                    seen.remove(res, &meta::object::key(&namespace, &name), revision);
                }
            }
            let devs = ["devs".to_string()];
            for (name, groups) in [
                ("jane", &[][..]), ("joe", &devs[..]), ("system:serviceaccount:one:app", &[]),
                ("system:serviceaccount:two:app", &devs[..]),
            ] {
                for (namespace, resource, subresource) in [("one", "pods", ""), ("two", "secrets", ""), ("", "pods", "log")] {
                    let ask = Ask { verb: "get", resource, subresource, namespace, ..Ask::default() };
                    let who = Who { name, groups };
                    let allowed = by_hand(who, &ask, &seen);
                    prop_assert_eq!(rbac.allows(who, &ask, &seen), allowed);
                    prop_assert_eq!(rbac.verdict(who, &ask, &seen).allowed, allowed);
                }
            }
        }
    }
}
