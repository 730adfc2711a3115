//! What a new agent makes of pods that an earlier one left, or that others have changed.

use super::*;
use crate::runtime::{ContainerId, ContainerState, ContainerStatus, Exit, PodSandboxSpec, PodState};

fn left(state: ContainerState) -> PodState {
    PodState {
        uid: "u1".into(),
        sandbox: PodSandboxSpec::default(),
        ready: true,
        containers: vec![ContainerStatus {
            id: ContainerId::new("u1", "c", 0),
            state,
        }],
    }
}

fn pod() -> PodView {
    view(json!({"restartPolicy": "Always", "containers": [container("c")]}))
}

/// What is decided once volumes and sandbox are there.
fn decided(seen: &Observed, pod: &PodView, now: Timestamp) -> String {
    let mut seen = seen.clone();
    (seen.volumes, seen.sandbox) = (Task::Done, Task::Done);
    let steps = sync(now, pod, &seen).steps;
    steps.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_sandbox_that_stands_is_reported_so_from_the_start() {
    let pod = pod();
    let running = ContainerState::Running {
        pid: 7,
        started_at_ns: 1,
    };
    let mut seen = Observed::adopt(&pod, Some(&left(running)), at(9));
    let shown = |seen: &Observed| conditions(&status(at(9), &pod, seen, &[]));
    assert!(
        shown(&seen).contains("PodReadyToStartContainers=True"),
        "{}",
        shown(&seen)
    );
    seen.sandbox_lost();
    assert!(
        shown(&seen).contains("PodReadyToStartContainers=False"),
        "{}",
        shown(&seen)
    );
}

#[test]
fn a_start_that_an_earlier_agent_began_is_waited_for() {
    let pod = pod();
    let mut seen = Observed::adopt(&pod, Some(&left(ContainerState::Creating)), at(0));
    assert_eq!(decided(&seen, &pod, at(0)), "");
    seen.started(&pod, "c", 0, at(1), at(1));
    let state = &status(at(1), &pod, &seen, &[])["containerStatuses"][0];
    assert!(state["state"]["running"].is_object(), "{state}");
    assert_eq!(state["restartCount"], 0);
    assert_eq!(decided(&seen, &pod, at(1)), "");
}

#[test]
fn a_start_that_an_earlier_agent_began_in_vain_is_made_again() {
    let pod = pod();
    let mut seen = Observed::adopt(&pod, Some(&left(ContainerState::Creating)), at(0));
    let exit = Exit::start_error("no such command", 1);
    seen.exited("c", Ended::of(0, &exit, String::new()));
    assert_eq!(decided(&seen, &pod, at(1)), "pull c");
    let state = &status(at(1), &pod, &seen, &[])["containerStatuses"][0];
    assert_eq!(state["state"]["terminated"]["exitCode"], 128, "{state}");
}

/// A start of its own is told by its step, not by the runtime's event.
#[test]
fn an_event_of_its_own_start_changes_nothing() {
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]}));
    life.run(1);
    let (before, pod) = (life.status(), life.pod.clone());
    life.seen.started(&pod, "c", 0, at(50), at(50));
    assert_eq!(life.status(), before);
}

/// Source: kubelet's pod workers, which tear down a pod in a terminal phase whoever wrote that.
#[test]
fn a_pod_that_others_declare_failed_is_ended() {
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]}));
    life.run(1);
    life.pod.stored["phase"] = "Failed".into();
    let told = life.run(60).told();
    assert!(told.contains("stop c#0 PodEnds"), "{told}");
    assert!(
        !told.contains("start c#1") && !told.contains("DeletePod"),
        "{told}"
    );
    assert_eq!(life.status()["phase"], "Failed");
}
