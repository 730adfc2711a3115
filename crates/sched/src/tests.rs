//! What the scheduler says of a pod that waits for a claim.

use super::*;
use kinds::Registry;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use kinds::storageclass::STORAGECLASSES;
use meta::{Draft, Res, Snapshot, Timestamp};

const CREATED: &str = "2026-11-21T10:00:00Z";

fn bound() -> Value {
    json!({kinds::persistentvolumeclaim::BIND_COMPLETED: "yes"})
}

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
    let mut metadata =
        json!({"name": "data", "namespace": "shop", "uid": "u-1", "creationTimestamp": CREATED});
    if !volume.is_empty() {
        metadata["annotations"] = bound();
    }
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

/// The claim `data`, bound where it names a volume.
fn claim_of(spec: Value) -> Value {
    let named = spec.get("volumeName").is_some();
    let annotations = if named { bound() } else { Value::Null };
    json!({"metadata": {"name": "data", "namespace": "shop", "annotations": annotations}, "spec": spec})
}

/// What the scheduler says of a pod with the claim `data`, on the one node `n`.
fn placed(claim: Value, others: &[(Res, Value)]) -> String {
    placed_with(claim_of(claim), others)
}

fn placed_with(claim: Value, others: &[(Res, Value)]) -> String {
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
    put(PERSISTENTVOLUMECLAIMS, claim);
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
    let plan = plan(&seen, &Key::new(PODS, "shop", "web-0"));
    let binds = plan.acts.iter().any(|act| matches!(act, Act::Post { .. }));
    assert_eq!(
        binds,
        plan.assumed.is_some(),
        "what is bound is counted, and nothing else"
    );
    plan.why.join("; ")
}

#[test]
fn a_claim_that_waits_for_its_pod_is_bound_before_the_pod_is() {
    let class = json!({"metadata": {"name": "later"}, "provisioner": kinds::storageclass::PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer"});
    let class = (STORAGECLASSES, class);
    let claim = |volume: Option<&str>| match volume {
        None => json!({"storageClassName": "later"}),
        Some(volume) => json!({"storageClassName": "later", "volumeName": volume}),
    };
    assert_eq!(placed(claim(None), std::slice::from_ref(&class)), BINDS);
    assert_eq!(placed(claim(Some("pv")), &[class, volume("a")]), PLACED);
}

#[test]
fn a_volume_that_is_named_and_not_bound_is_waited_for() {
    let mut world = claim_of(json!({"volumeName": "pv", "storageClassName": ""}));
    world["metadata"]["annotations"] = Value::Null;
    let told = placed_with(world, &[volume("a")]);
    assert!(
        told.contains("pod has unbound immediate PersistentVolumeClaims"),
        "{told}"
    );
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
const BINDS: &str = "waits for its claims to be bound for node n";

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
    assert_eq!(placed(claim.clone(), &[class.clone(), volume("a")]), BINDS);
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

/// Three nodes in two zones; each line of `running` is a pod: its app, node, and spec. What becomes of `new`, of app `web`.
fn among(running: &[(&str, &str, Value)], new: Value) -> String {
    let mut snapshot = Snapshot::default();
    let mut put = |res: Res, value: Value| {
        let draft = Draft::new(value).expect("an object");
        snapshot.put(res, draft.seal(1));
    };
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        let labels = json!({"zone": zone, "kubernetes.io/hostname": name});
        put(
            kinds::node::NODES,
            json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": {"pods": "9"}}}),
        );
    }
    put(
        kinds::namespace::NAMESPACES,
        json!({"metadata": {"name": "other", "labels": {"team": "x"}}}),
    );
    let mut pod = |name: &str, namespace: &str, app: &str, node: Value, mut spec: Value| {
        spec["containers"] = json!([]);
        spec["nodeName"] = node;
        let metadata =
            json!({"name": name, "namespace": namespace, "uid": name, "labels": {"app": app, "hash": "1"}});
        put(PODS, json!({"metadata": metadata, "spec": spec}));
    };
    for (n, (app, node, spec)) in running.iter().enumerate() {
        let (namespace, app) = app.split_once('/').unwrap_or(("shop", app));
        pod(&format!("p{n}"), namespace, app, (*node).into(), spec.clone());
    }
    pod("new", "shop", "web", Value::Null, new);
    let rows = Registry::builtin();
    let now = Timestamp::EPOCH;
    let seen = Seen {
        now,
        snapshot: &snapshot,
        rows: &rows,
    };
    let why = plan(&seen, &Key::new(PODS, "shop", "new")).why.join("; ");
    why.replace("Successfully assigned shop/new to ", "-> ")
        .replace("0/3 nodes are available: ", "")
}

fn term(app: &str, key: &str) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}})
}

fn affinity(kind: &str, term: Value) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

const HOST: &str = "kubernetes.io/hostname";

#[test]
fn pods_that_keep_each_other_away() {
    let far = |key: &str| affinity("podAntiAffinity", term("web", key));
    let plain = json!({});
    let web = |node: &'static str| ("web", node, json!({}));
    assert_eq!(among(&[web("a1"), web("a2")], far(HOST)), "-> b1");
    assert_eq!(among(&[web("a1")], far("zone")), "-> b1");
    let full = "3 node(s) didn't match pod anti-affinity rules.";
    assert_eq!(among(&[web("a1"), web("a2"), web("b1")], far(HOST)), full);
    assert_eq!(among(&[web("a1"), web("b1")], far("zone")), full);
    // The other way round: those that run do not want the new one.
    let repelling = |node: &'static str| ("web", node, far(HOST));
    assert_eq!(among(&[repelling("a1"), repelling("a2")], plain.clone()), "-> b1");
    assert_eq!(
        among(&[repelling("a1"), repelling("a2"), repelling("b1")], plain),
        "3 node(s) didn't satisfy existing pods anti-affinity rules."
    );
    // Elsewhere, unless the term says so; and other revisions of it, unless their labels have to differ.
    let other = [
        ("other/web", "a1", json!({})),
        ("other/web", "a2", json!({})),
        ("other/web", "b1", json!({})),
    ];
    assert_eq!(among(&other, far(HOST)), "-> a1");
    let mut wide = term("web", HOST);
    wide["namespaceSelector"] = json!({"matchLabels": {"team": "x"}});
    assert_eq!(among(&other, affinity("podAntiAffinity", wide.clone())), full);
    wide["mismatchLabelKeys"] = json!(["hash"]);
    assert_eq!(among(&other, affinity("podAntiAffinity", wide)), "-> a1");
}

#[test]
fn pods_that_need_others_near() {
    let near = |app: &str, key: &str| affinity("podAffinity", term(app, key));
    let none = "3 node(s) didn't match pod affinity rules.";
    assert_eq!(among(&[], near("db", "zone")), none);
    let db = [("db", "b1", json!({}))];
    assert_eq!(among(&db, near("db", "zone")), "-> b1");
    assert_eq!(among(&db, near("db", "rack")), none, "nobody has the label");
    // The first of those that want each other near may go anywhere.
    assert_eq!(among(&[], near("web", "zone")), "-> a1");
    assert_eq!(among(&[("web", "a2", json!({}))], near("web", HOST)), "-> a2");
}

#[test]
fn pods_spread_evenly() {
    let spread = |key: &str, more: Value| {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}});
        for (field, value) in more.as_object().into_iter().flatten() {
            constraint[field] = value.clone();
        }
        json!({"topologySpreadConstraints": [constraint]})
    };
    let web = |node: &'static str| ("web", node, json!({}));
    let none = json!({});
    assert_eq!(among(&[web("a1")], spread("zone", none.clone())), "-> b1");
    assert_eq!(
        among(&[web("a1"), web("b1"), web("b1")], spread(HOST, none.clone())),
        "-> a2"
    );
    assert_eq!(
        among(&[], spread("rack", none.clone())),
        "3 node(s) didn't match pod topology spread constraints (missing required label)."
    );
    let uneven = "3 node(s) didn't match pod topology spread constraints.";
    assert_eq!(
        among(&[web("a1"), web("b1")], spread("zone", json!({"minDomains": 3}))),
        uneven
    );
    assert_eq!(
        among(
            &[web("a1")],
            spread("zone", json!({"whenUnsatisfiable": "ScheduleAnyway"}))
        ),
        "-> a1"
    );
    // Nodes that the pod may not use have no share.
    let mut only = spread("zone", none);
    only["nodeSelector"] = json!({"zone": "a"});
    assert_eq!(among(&[web("a1"), web("a2")], only), "-> a1");
}
