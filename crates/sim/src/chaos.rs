//! What goes wrong: controllers restart, pods fail, the node restarts, the disk fills up, the power is cut.

use crate::laws::Broken;
use crate::world::World;

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
    let uids: Vec<String> = world.node.processes.keys().cloned().collect();
    let Some(uid) = world.rng.pick(&uids).cloned() else {
        return;
    };
    let key = world.node.processes[&uid].key.clone();
    match world.rng.below(5) {
        0 | 1 => {
            world.tell("chaos", || format!("a container of {key} crashes"));
            let ready_at = world.soon(3000);
            world.node.crash(&uid, ready_at);
        }
        2 | 3 => {
            world.tell("chaos", || format!("{key} loses its readiness for a while"));
            let until = world.soon(5000);
            world.node.falter(&uid, until);
        }
        _ => {
            let phase = if world.rng.percent(70) {
                "Failed"
            } else {
                "Succeeded"
            };
            world.tell("chaos", || format!("{key} ends for good, {phase}"));
            world.node.finish(&uid, phase);
        }
    }
}

fn reboot(world: &mut World) {
    world.tell("chaos", || "the machine restarts: all processes are gone".into());
    let view = world.snapshot();
    world.node.reboot(view);
}

fn restart_agent(world: &mut World) {
    world.tell("chaos", || "the node agent restarts, pods live on".into());
    let view = world.snapshot();
    world.node.look(view);
}
