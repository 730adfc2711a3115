//! Pods that are made in one moment share what there is: each is placed as if those before it were there already.

use apiserver::Caller;
use kinds::deployment::DEPLOYMENTS;
use kinds::pod::PODS;
use kinds::row::text;
use meta::Call;
use serde_json::json;
use sim::{Settings, World};

const NAMESPACE: &str = "default";
/// The simulated node has 64 CPUs.
const ROOM: usize = 6;

fn burst(world: &mut World) {
    let labels = json!({"app": "burst"});
    let container = json!({"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "10"}}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "burst"},
        "spec": {
            "replicas": 3 * ROOM, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    let admin = Caller {
        name: "admin".into(),
        groups: vec!["system:masters".into()],
        ..Caller::default()
    };
    world
        .call(&admin, Call::create(DEPLOYMENTS, NAMESPACE, deployment))
        .expect("it is created");
}

/// How many of them have a place. By name: users change labels.
fn placed(world: &World) -> usize {
    let snapshot = world.snapshot();
    let pods = snapshot.list(PODS, NAMESPACE).map(|pod| pod.value());
    pods.filter(|pod| {
        text(pod, "/metadata/name").starts_with("burst-") && !text(pod, "/spec/nodeName").is_empty()
    })
    .count()
}

#[test]
fn a_node_never_gets_more_than_it_has_room_for() {
    for seed in 0..12 {
        let mut settings = Settings::default();
        // Its timers would let hours pass between two steps.
        settings.controllers.retain(|c| c.name != kinds::event::TTL.name);
        let mut world = World::new(seed, &settings).expect("a world");
        // The server's scheduler is in one process with the store: it never sees an old snapshot, nor loses a reply.
        world.stormy = false;
        burst(&mut world);
        for _ in 0..1500 {
            world.advance().expect("the laws hold");
            let placed = placed(&world);
            assert!(placed <= ROOM, "seed {seed}: {placed} pods on room for {ROOM}");
        }
        assert_eq!(
            placed(&world),
            ROOM,
            "seed {seed}: there is room that nobody takes"
        );
    }
}
