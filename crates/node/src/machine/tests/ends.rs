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

/// A server that is killed while a container waits for its next attempt leaves only what the status says.
#[test]
fn an_attempts_number_is_never_used_again() {
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]}));
    life.run(1).told();
    life.status();
    let count = |life: &mut Life| life.status()["containerStatuses"][0]["restartCount"].clone();
    for restarts in 1..4_u32 {
        // Switched off and on again, killed before the next attempt has started, and again.
        let mut found = left(0, true);
        found.containers[0].id.attempt = restarts - 1;
        life.seen = Observed::adopt(&life.pod, Some(&found), life.now);
        for _ in 0..3 {
            assert_eq!(count(&mut life), restarts - 1);
            life.seen = Observed::adopt(&life.pod, None, life.now);
        }
        let told = life.run(120 * i64::from(restarts)).told();
        assert!(told.contains(&format!("start c#{restarts}")), "{told}");
        assert_eq!(count(&mut life), restarts);
    }
    // What the status does not know may stand on the disk.
    life.seen = Observed::adopt(&life.pod, None, life.now);
    life.seen.has_run("c", 7);
    let told = life.run(600).told();
    assert!(told.contains("start c#8"), "{told}");
}

#[test]
fn a_pod_with_a_sysctl_that_is_not_safe_is_refused_as_a_whole() {
    let pod = |name: &str, more: Value| {
        let sysctls = json!({"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}, {"name": name, "value": "1"}]});
        let mut spec = never(more);
        spec["securityContext"] = sysctls;
        spec
    };
    let forbidden = [
        (
            pod("kernel.msgmax", json!({})),
            "forbidden sysctl: \"kernel.msgmax\" not allowlisted",
        ),
        (
            pod("net/ipv4/conf/eth0.1/arp", json!({})),
            "forbidden sysctl: \"net.ipv4.conf.eth0/1.arp\" not allowlisted",
        ),
        (
            pod("net.ipv4.tcp_rmem", json!({"hostNetwork": true})),
            "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled",
        ),
    ];
    for (spec, message) in forbidden {
        let mut life = Life::new(spec);
        assert_eq!(life.run(30).told(), "", "nothing is made of it");
        let status = life.status();
        let shown = json!({"phase": "Failed", "reason": "SysctlForbidden", "qosClass": "BestEffort",
            "observedGeneration": 1, "message": format!("Pod was rejected: {message}")});
        assert_eq!(status, shown);
        life.run(60).told();
        assert_eq!(life.status(), status, "it stays so");
        life.delete(30);
        assert!(life.run(90).told().contains("DeletePod"));
    }
    let mut life = Life::new(pod("net/ipv4/tcp_fin_timeout", json!({})));
    assert!(life.run(30).told().contains("start c#0"));
}

#[test]
fn what_does_not_fit_this_node_is_refused_as_a_whole() {
    let mut spec = never(json!({"os": {"name": "windows"}}));
    let mut life = Life::new(spec.clone());
    assert_eq!(life.run(30).told(), "", "nothing is made of it");
    assert_eq!(life.status()["reason"], "PodOSNotSupported");
    spec["os"]["name"] = "linux".into();
    let mut life = Life::new(spec);
    life.seen.refused = Some(("OutOfcpu", "Node didn't have enough resource".into()));
    assert_eq!(life.run(30).told(), "", "nothing is made of it");
    let status = life.status();
    assert_eq!([&status["phase"], &status["reason"]], ["Failed", "OutOfcpu"]);
    assert_eq!(
        status["message"],
        "Pod was rejected: Node didn't have enough resource"
    );
}

/// The pod's deletion and a write of its status cross: nothing is gained by writing on until word of the deletion comes.
#[test]
fn a_status_that_finds_no_pod_is_not_written_again() {
    let life = Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]}));
    let mut report = Report::default();
    let due = |report: &Report, pod: &PodView| report.due(life.now, pod, &life.seen, &[]);
    let Due::Now(wanted) = due(&report, &life.pod) else {
        panic!("a first status is due");
    };
    report.begin();
    let missing = Err(meta::Status::not_found(kinds::pod::PODS, "web-0"));
    report.finish(life.now, &life.pod, wanted, &missing);
    assert_eq!(due(&report, &life.pod), Due::Nothing);
    // Another change of the pod shows that it is there after all.
    let mut newer = life.pod.clone();
    newer.revision += 1;
    assert!(matches!(due(&report, &newer), Due::Now(_)));
}

#[test]
fn readiness_is_asked_for_until_the_end() {
    let mut c = container("c");
    c["readinessProbe"] = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1});
    c["livenessProbe"] = json!({"tcpSocket": {"port": 2}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"terminationGracePeriodSeconds": 30, "containers": [c]});
    let mut life = Life::new(spec).script(|step, now| match step {
        Step::StopContainer { attempt, .. } => {
            let end = now.plus_seconds(20);
            (
                Duration::from_secs(20),
                Outcome::Stopped(Some(ended(*attempt, 0, end))),
            )
        }
        // It says no from the tenth second on, which is no reason to be killed any more.
        Step::Probe { .. } if now >= at(10) => (Duration::from_millis(1), Outcome::Probed(Err("no".into()))),
        _ => well(step, now),
    });
    life.run(5);
    assert!(conditions(&life.status()).contains("Ready=True"));
    life.delete(30);
    life.run(9).told();
    assert!(
        conditions(&life.status()).contains("Ready=True"),
        "it still serves"
    );
    let told = life.run(15).told();
    assert!(told.contains("Readiness") && !told.contains("Liveness"), "{told}");
    assert!(
        conditions(&life.status()).contains("Ready=False"),
        "{:#}",
        life.status()
    );
    life.run(60);
    assert!(life.over);
}

#[test]
fn a_pod_is_pending_until_its_first_post_start_is_through() {
    let hook = json!({"postStart": {"exec": {"command": ["true"]}}});
    let spec = json!({"restartPolicy": "Always", "containers": [
        container("quick"), {"name": "slow", "image": "img", "lifecycle": hook}]});
    let mut life = Life::new(spec).script(|step, now| match step {
        Step::PostStart { .. } => (Duration::from_secs(4), Outcome::Hook(Ok(()))),
        step => well(step, now),
    });
    let first = life.run(2).status();
    assert_eq!((&first["phase"], life.log.len() > 2), (&json!("Pending"), true));
    assert_eq!(life.run(5).status()["phase"], "Running");
    // In its next life it has been Running already.
    let attempt = life.seen.containers["slow"].life.as_ref().expect("alive").attempt;
    life.seen.exited("slow", ended(attempt, 1, at(5)));
    life.run(17);
    assert!(life.told().contains("start slow#1"));
    assert_eq!(life.status()["phase"], "Running");
}
