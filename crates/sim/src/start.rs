//! What the world begins with: a namespace, an account, a storage class and a node; and who works in it.

use crate::laws::Broken;
use crate::node::NODE;
use crate::world::{World, caller};
use kinds::Controller;
use meta::{Call, Res};
use serde_json::{Value, json};

pub const NAMESPACE: &str = "default";

/// All controllers whose work the simulation shows, and the scheduler.
pub fn controllers() -> Vec<Controller> {
    let mut all = kinds::controllers();
    all.push(sched::CONTROLLER);
    all
}

fn furniture() -> Vec<(Res, &'static str, Value)> {
    let class = json!({
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": kinds::storageclass::PROVISIONER,
        "parameters": {kinds::storageclass::FOLDER: "/volumes"},
    });
    let node = json!({"metadata": {"name": NODE}});
    vec![
        (
            kinds::lifecycle::NAMESPACES,
            "",
            json!({"metadata": {"name": NAMESPACE}}),
        ),
        (
            kinds::serviceaccount::SERVICEACCOUNTS,
            NAMESPACE,
            json!({"metadata": {"name": "default"}}),
        ),
        (kinds::storageclass::STORAGECLASSES, "", class),
        (kinds::node::NODES, "", node),
    ]
}

pub fn furnish(world: &mut World) -> Result<(), Broken> {
    let admin = caller("admin", "system:masters");
    let failed = |e| Broken::new("the world can be furnished", e);
    for (res, namespace, object) in furniture() {
        world
            .call(&admin, Call::create(res, namespace, object))
            .map_err(failed)?;
    }
    let status = json!({"status": {
        "capacity": {"cpu": "64", "memory": "64Gi", "pods": "500"},
        "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "500"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    }});
    let call = Call::merge_patch(kinds::node::NODES, "", NODE, status).subresource("status");
    world.call(&admin, call).map_err(failed)?;
    let view = world.snapshot();
    let now = world.now();
    world.node.look(view, now);
    Ok(())
}
