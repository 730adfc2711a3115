//! What goes wrong: controllers restart, pods fail, the node restarts, the disk fills up, the power is cut.

use crate::laws::Broken;
use crate::world::World;
use kinds::workload::PODS;
use meta::Call;
use serde_json::json;

/// One mishap of the seed's choice. Most turns pass without.
pub fn act(world: &mut World) -> Result<(), Broken> {
    match world.rng.below(40) {
        0..4 => restart_controller(world),
        4..12 => fail_pod(world),
        12 => reboot(world),
        13 => restart_agent(world),
        14 => world.crash()?,
        15 if !world.is_disk_full() => {
            world.tell("chaos", || {
                "the disk is full: the store refuses all writes".into()
            });
            world.fill_disk();
        }
        _ => {}
    }
    Ok(())
}

fn restart_controller(world: &mut World) {
    let index = world.rng.index(world.offices.len());
    let name = world.offices[index].worker.controller.name;
    let lost = world.offices[index].active.len();
    world.tell("chaos", || {
        format!("restarts {name}, in the middle of {lost} runs")
    });
    world.restart_office(index);
}

fn fail_pod(world: &mut World) {
    let now = world.now();
    let alive: Vec<(String, String)> = world
        .node
        .alive(now)
        .map(|(uid, key)| (uid.into(), key.into()))
        .collect();
    let Some((uid, key)) = world.rng.pick(&alive).cloned() else {
        return;
    };
    match world.rng.below(5) {
        0 | 1 => {
            world.tell("chaos", || format!("the containers of {key} crash"));
            world.node.crash(&uid, now);
        }
        2 | 3 => {
            world.tell("chaos", || format!("{key} loses its readiness for a while"));
            let until = world.soon(5000);
            world.node.falter(&uid, now, until);
        }
        _ => end_for_good(world, &uid, &key),
    }
}

/// The pod gets a deadline that the node enforces, or somebody else declares it finished.
fn end_for_good(world: &mut World, uid: &str, key: &str) {
    let Some((namespace, name)) = key.split_once('/') else {
        return;
    };
    let patch = |body| Call::merge_patch(PODS, namespace, name, body).if_uid(uid);
    let call = match world.rng.below(10) {
        0..7 => patch(json!({"spec": {"activeDeadlineSeconds": 1}})),
        7 | 8 => patch(json!({"status": {"phase": "Failed"}})).subresource("status"),
        _ => patch(json!({"status": {"phase": "Succeeded"}})).subresource("status"),
    };
    crate::user::send(world, call);
}

fn reboot(world: &mut World) {
    world.tell("chaos", || "the machine restarts: all processes are gone".into());
    let (view, now) = (world.snapshot(), world.now());
    world.node.reboot(view, now);
}

fn restart_agent(world: &mut World) {
    world.tell("chaos", || "the node agent restarts, pods live on".into());
    world.restart_agent();
}
