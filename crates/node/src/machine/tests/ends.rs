//! Ends of pods: deadlines, completion, and the node being switched off.

use super::*;

fn never(extra: Value) -> Value {
    let mut spec = json!({"restartPolicy": "Never", "containers": [container("c")]});
    spec.as_object_mut()
        .expect("a map")
        .extend(extra.as_object().expect("a map").clone());
    spec
}

#[test]
fn a_deadline_that_passes_while_the_pod_starts_fails_it() {
    for failing in ["PullImage", "SetUpVolumes", "CreateSandbox"] {
        let mut life =
            Life::new(never(json!({"activeDeadlineSeconds": 5}))).script(move |step, now| {
                match (failing, step) {
                    ("PullImage", Step::PullImage { .. }) => (
                        Duration::from_secs(60),
                        Outcome::NoImage {
                            reason: "ErrImagePull",
                            message: "no".into(),
                        },
                    ),
                    ("SetUpVolumes", Step::SetUpVolumes) | ("CreateSandbox", Step::CreateSandbox) => {
                        (Duration::from_millis(1), Outcome::Failed("no".into()))
                    }
                    _ => well(step, now),
                }
            });
        life.run(4);
        assert_eq!(life.status()["phase"], "Pending", "{failing}");
        life.run(6);
        let status = life.status();
        let said = json!([status["phase"], status["reason"], status["message"]]);
        assert_eq!(
            said,
            json!([
                "Failed",
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline"
            ]),
            "{failing}"
        );
        let state = &status["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(
            json!([state["reason"], state["exitCode"]]),
            json!(["ContainerStatusUnknown", 137]),
            "{failing}: {status:#}"
        );
        assert!(life.run(200).told().contains("Release"), "{failing}");
        // Taken on by the next server, it says the same and is silent.
        let again = Observed::adopt(&life.pod, None, at(201));
        assert_eq!(
            super::status(at(201), &life.pod, &again, &["192.0.2.1".into()]),
            life.pod.stored
        );
    }
}

#[test]
fn an_init_containers_deadline_leaves_the_others_waiting() {
    let spec = never(json!({"activeDeadlineSeconds": 5, "initContainers": [container("init")]}));
    let mut life = Life::new(spec);
    life.run(10);
    let status = life.status();
    assert_eq!(status["phase"], "Failed");
    assert!(status["initContainerStatuses"][0]["state"]["terminated"].is_object());
    assert_eq!(
        status["containerStatuses"][0]["state"]["waiting"]["reason"],
        "PodInitializing"
    );
}

#[test]
fn what_a_completed_pod_holds_is_released_once() {
    let mut life = Life::new(never(json!({}))).ends("c", Duration::from_secs(1), 0);
    assert!(
        !life.run(20).told().contains("Release"),
        "not before it is known to be over"
    );
    life.status();
    assert_eq!(life.run(30).told().matches("Release").count(), 1);
    assert_eq!(life.status(), life.pod.stored);
    life.seen.sandbox_lost();
    assert_eq!(life.run(60).told(), "", "a released pod is silent");
    life.delete(30);
    let told = life.run(90).told();
    assert!(told.contains("TearDown") && told.contains("DeletePod"), "{told}");
}

/// What the next server finds: the sandbox is gone, and how the containers ended is known.
fn left(code: i32, interrupted: bool) -> crate::runtime::PodState {
    use crate::runtime::{ContainerId, ContainerState, ContainerStatus, Exit};
    let exit = Exit {
        code,
        interrupted,
        finished_at_ns: 1,
        ..Exit::default()
    };
    crate::runtime::PodState {
        uid: "u1".into(),
        containers: vec![ContainerStatus {
            id: ContainerId::new("u1", "c", 0),
            state: ContainerState::Exited(exit),
        }],
        ready: false,
        sandbox: crate::runtime::PodSandboxSpec::default(),
    }
}

#[test]
fn a_node_that_is_switched_off_ends_pods_and_runs_them_again() {
    for policy in ["Always", "OnFailure", "Never"] {
        let mut life = Life::new(json!({"restartPolicy": policy, "containers": [container("c")]}));
        life.run(1).told();
        life.status();
        life.seen.switch_off(&life.pod, life.now);
        let told = life.run(60).told();
        assert!(told.contains("stop c#0 PodEnds"), "{policy}: {told}");
        assert!(
            !told.contains("TearDown") && !told.contains("DeletePod"),
            "{policy}: {told}"
        );
        assert!(life.over, "{policy}");
        life.seen = Observed::adopt(&life.pod, Some(&left(0, true)), life.now);
        life.over = false;
        assert_eq!(life.status()["phase"], "Running", "{policy}");
        let told = life.run(120).told();
        assert!(told.contains("start c#1"), "{policy}: {told}");
        assert_eq!(
            life.status()["containerStatuses"][0]["restartCount"],
            1,
            "{policy}"
        );
    }
    // What ended by itself has ended.
    let mut life = Life::new(never(json!({})));
    life.run(1).told();
    life.status();
    life.seen = Observed::adopt(&life.pod, Some(&left(0, false)), life.now);
    assert_eq!(life.status()["phase"], "Succeeded");
    assert!(!life.run(60).told().contains("start"), "it starts again");
}
