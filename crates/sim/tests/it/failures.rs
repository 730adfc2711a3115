//! What a workload says when the API refuses its pods, and that it recovers when the cause is gone.

use apiserver::Caller;
use kinds::deployment::DEPLOYMENTS;
use kinds::event::EVENTS;
use kinds::pod::PODS;
use kinds::replicaset::REPLICASETS;
use kinds::row::text;
use kinds::serviceaccount::SERVICEACCOUNTS;
use kinds::statefulset::STATEFULSETS;
use meta::{Call, Res};
use serde_json::{Value, json};
use sim::{Settings, World};

const NAMESPACE: &str = "default";

fn calm_world() -> World {
    let mut settings = Settings {
        refused: Some(PODS),
        ..Settings::default()
    };
    // Its timers would let hours pass between two steps.
    settings.controllers.retain(|c| c.name != kinds::event::TTL.name);
    let mut world = World::new(7, &settings).expect("a world");
    world.stormy = false;
    world
}

fn create(world: &mut World, res: Res, object: Value) {
    let admin = Caller {
        name: "admin".into(),
        groups: vec!["system:masters".into()],
        ..Caller::default()
    };
    world
        .call(&admin, Call::create(res, NAMESPACE, object))
        .expect("it is created");
}

fn workload(kind: &str, name: &str, account: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": labels}, "serviceName": name,
            "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": account, "containers": [{"name": "app", "image": "app:1"}],
            }},
        },
    })
}

/// So many steps of whoever has something to do.
fn pass(world: &mut World, steps: usize) {
    for _ in 0..steps {
        world.advance().expect("the laws hold");
    }
}

/// `Warning ReplicaSet FailedCreate xN: …`, sorted.
fn warnings(world: &World) -> Vec<(String, i64)> {
    let snapshot = world.snapshot();
    let events = snapshot.list(EVENTS, NAMESPACE).map(|e| e.value());
    let line = |e: Value| {
        let words = ["/involvedObject/kind", "/reason", "/message"].map(|at| text(&e, at));
        (words.join(" "), e["count"].as_i64().unwrap_or(0))
    };
    let mut lines: Vec<_> = events.filter(|e| e["type"] == "Warning").map(line).collect();
    lines.sort();
    lines
}

fn condition(object: &Value, kind: &str) -> Option<Value> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    all.iter().find(|c| c["type"] == kind).cloned()
}

#[test]
fn refused_pods_are_told_and_the_status_is_written() {
    let mut world = calm_world();
    let start = world.now();
    create(&mut world, DEPLOYMENTS, workload("Deployment", "api", "nosuch"));
    create(&mut world, STATEFULSETS, workload("StatefulSet", "web", "nosuch"));
    pass(&mut world, 800);
    let snapshot = world.snapshot();
    let set = snapshot
        .list(REPLICASETS, NAMESPACE)
        .next()
        .expect("a ReplicaSet");
    let why =
        "is forbidden: error looking up service account default/nosuch: serviceaccount \"nosuch\" not found";
    let told = warnings(&world);
    let words: Vec<&str> = told.iter().map(|(words, _)| words.as_str()).collect();
    let set_says = format!(
        "ReplicaSet FailedCreate Error creating: pods \"{}-\" {why}",
        set.name()
    );
    let web_says = format!(
        "StatefulSet FailedCreate create Pod web-0 in StatefulSet web failed error: pods \"web-0\" {why}"
    );
    assert_eq!(words, [set_says.as_str(), web_says.as_str()]);
    let minutes = world.now().since(start).as_secs() as i64 / 60;
    for (words, count) in &told {
        // Tries after 5, 10, 20 ms … up to a minute apart; what is written meanwhile makes for some more.
        assert!(
            (3..=minutes + 40).contains(count),
            "{count} times in {minutes} minutes: {words}"
        );
    }
    let failure = condition(&set.value(), "ReplicaFailure").expect("ReplicaFailure");
    assert_eq!(
        (&failure["status"], &failure["reason"]),
        (&json!("True"), &json!("FailedCreate"))
    );
    for (res, name) in [(DEPLOYMENTS, "api"), (STATEFULSETS, "web")] {
        let object = snapshot.get(res, NAMESPACE, name).expect("it is there").value();
        assert_eq!(object["status"]["observedGeneration"], 1, "{name}");
    }
    let deployment = snapshot
        .get(DEPLOYMENTS, NAMESPACE, "api")
        .expect("it is there")
        .value();
    assert_eq!(
        condition(&deployment, "ReplicaFailure").expect("passed on")["message"],
        failure["message"]
    );

    create(
        &mut world,
        SERVICEACCOUNTS,
        json!({"metadata": {"name": "nosuch"}}),
    );
    pass(&mut world, 2000);
    let snapshot = world.snapshot();
    for (res, name) in [(DEPLOYMENTS, "api"), (STATEFULSETS, "web")] {
        let object = snapshot.get(res, NAMESPACE, name).expect("it is there").value();
        assert_eq!(object["status"]["readyReplicas"], 3, "{name}");
        assert_eq!(condition(&object, "ReplicaFailure"), None);
    }
}

/// Names, labels and claims that only show to be wrong when a pod is made of them.
#[test]
fn a_name_that_is_too_long_for_its_pods_is_told() {
    let mut world = calm_world();
    let name = "w".repeat(60);
    create(
        &mut world,
        STATEFULSETS,
        workload("StatefulSet", &name, "default"),
    );
    pass(&mut world, 200);
    let told = warnings(&world);
    let start = format!(
        "StatefulSet FailedCreate create Pod {name}-0 in StatefulSet {name} failed error: Pod \"{name}-0\" is invalid: "
    );
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0.starts_with(&start), "{told:?}");
    let set = world
        .snapshot()
        .get(STATEFULSETS, NAMESPACE, &name)
        .expect("it is there")
        .value();
    assert_eq!(set["status"]["observedGeneration"], 1);
}
