//! How containers end, and what outlives whom.

use std::path::Path;
use std::time::Duration;

use node::runtime::{
    ContainerState, ExitReason, PodSandboxSpec, PodState, Resources, Runtime, RuntimeEvent, ShimRuntime,
};

use super::{LIMIT, World, config};

fn shim_pid(world: &World, uid: &str) -> nix::unistd::Pid {
    let text = std::fs::read(world.dir.path().join(format!("data/pods/{uid}/state.json"))).expect("state");
    let state: serde_json::Value = serde_json::from_slice(&text).expect("json");
    nix::unistd::Pid::from_raw(state["shim_pid"].as_i64().expect("pid") as i32)
}

/// A shim that does not answer is killed, and its pod goes as any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_shim_is_lost_from_sight_can_be_removed() {
    let world = World::new().await;
    world.pod("p1").await;
    let spec = world.shell("p1", "main", "sleep 1000");
    let pid = world.runtime.start_container(&spec).await.expect("start").pid;
    let shim = shim_pid(&world, "p1");
    // Nobody can connect any more, and the server that could is gone.
    std::fs::remove_file(world.dir.path().join("data/pods/p1/shim.sock")).expect("socket");
    let second = ShimRuntime::open(config(world.dir.path(), &world.cluster))
        .await
        .expect("open");
    second.remove_pod("p1").await.expect("remove");
    for dead in [pid, shim.as_raw()] {
        assert!(
            std::fs::read(format!("/proc/{dead}/cmdline"))
                .unwrap_or_default()
                .is_empty(),
            "{dead} is left"
        );
    }
    assert!(!world.dir.path().join("data/pods/p1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_is_gentle_first() {
    let world = World::new().await;
    world.pod("p1").await;
    let gentle = world.shell(
        "p1",
        "gentle",
        "trap 'echo term; exit 5' TERM; echo up; while true; do sleep 0.05; done",
    );
    let stubborn = world.shell("p1", "stubborn", "trap '' TERM; echo up; sleep 1000");
    for spec in [&gentle, &stubborn] {
        world.runtime.start_container(spec).await.expect("start");
        world.wait_for_log(&spec.id, "up").await;
    }
    let exit = world
        .runtime
        .stop_container(&gentle.id, 0, LIMIT)
        .await
        .expect("stop");
    assert_eq!((exit.code, exit.signal), (5, 0));
    assert!(world.log(&gentle.id).contains("stdout F term"));
    let exit = world
        .runtime
        .stop_container(&stubborn.id, 0, Duration::from_millis(50))
        .await
        .expect("stop");
    assert_eq!((exit.code, exit.signal, exit.reason), (137, 9, ExitReason::Error));
    // Again: it has ended already.
    assert_eq!(
        world
            .runtime
            .stop_container(&stubborn.id, 0, LIMIT)
            .await
            .expect("stop")
            .code,
        137
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_seen_as_such() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell("p1", "hog", "exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    spec.resources = Resources {
        memory_limit_bytes: Some(32 << 20),
        ..Resources::default()
    };
    let (exit, _) = world.run(&spec).await;
    assert_eq!(
        (exit.code, exit.reason, exit.oom_killed),
        (137, ExitReason::OomKilled, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pods_limit_holds_for_containers_without_one() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell("p1", "hog", "exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    spec.pod_resources = Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        memory_limit_bytes: Some(32 << 20),
        ..Resources::default()
    };
    let (exit, log) = world.run(&spec).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true), "{log}");
}

/// As under a kubelet: on cgroup v2 the whole container ends, on v1 the process that asked for too much.
#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_of_a_child_ends_what_the_cgroup_version_says() {
    let world = World::new().await;
    world.pod("p1").await;
    let script = "dd if=/dev/zero of=/dev/null bs=200M count=1 & wait; echo the first process lives; exit 5";
    let mut spec = world.shell("p1", "hog", script);
    spec.resources = Resources {
        memory_limit_bytes: Some(32 << 20),
        ..Resources::default()
    };
    let (exit, log) = world.run(&spec).await;
    let whole = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert_eq!((exit.code, exit.oom_killed), (if whole { 137 } else { 5 }, true));
    assert_eq!(log.contains("the first process lives"), !whole, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_outlive_the_server_and_their_results_outlive_the_shim() {
    let world = World::new().await;
    world.pod("p1").await;
    let ended = world.shell("p1", "ended", "exit 3");
    world.run(&ended).await;
    let running = world.shell("p1", "running", "echo up; sleep 0.3; echo still here; sleep 1000");
    let pid = world.runtime.start_container(&running).await.expect("start").pid;
    let second = ShimRuntime::open(config(world.dir.path(), &world.cluster))
        .await
        .expect("open");
    let pod = second.pod("p1").await.expect("pod").expect("known");
    assert!(pod.ready);
    assert_eq!(pod.sandbox.hostname, "host-p1");
    let state = |pod: &PodState, name: &str| {
        pod.containers
            .iter()
            .find(|c| c.id.name == name)
            .expect("there")
            .state
            .clone()
    };
    assert!(matches!(state(&pod, "ended"), ContainerState::Exited(exit) if exit.code == 3));
    assert!(matches!(state(&pod, "running"), ContainerState::Running { pid: p, .. } if p == pid));
    world.wait_for_log(&running.id, "still here").await;
    // Now the shim dies: its container must not run on unseen.
    let mut events = second.subscribe();
    let shim = shim_pid(&world, "p1");
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).expect("kill");
    let seen = tokio::time::timeout(LIMIT, async {
        let mut seen = Vec::new();
        while !matches!(seen.last(), Some(RuntimeEvent::ShimGone { .. })) {
            seen.push(events.recv().await.expect("event"));
        }
        seen
    });
    let seen = seen.await.expect("in time");
    assert!(
        matches!(&seen[0], RuntimeEvent::Exited { id, exit } if *id == running.id && exit.code == 137 && exit.reason == ExitReason::ContainerStatusUnknown),
        "{seen:?}"
    );
    assert!(
        !Path::new(&format!("/proc/{pid}/root/bin")).exists(),
        "the container is dead"
    );
    // The pod goes on with a new shim that knows the old results.
    let mut again = running.clone();
    again.id.attempt = 1;
    again.args[2] = "echo again".into();
    second.start_container(&again).await.expect("start");
    let third = ShimRuntime::open(config(world.dir.path(), &world.cluster))
        .await
        .expect("open");
    assert_eq!(
        third
            .pod("p1")
            .await
            .expect("pod")
            .expect("known")
            .containers
            .len(),
        3
    );
    third.remove_pod("p1").await.expect("remove");
    third.remove_pod("p1").await.expect("remove again");
    assert!(!world.dir.path().join("data/pods/p1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_only_results_are_left() {
    let world = World::new().await;
    let dir = world.dir.path().join("data/pods/p9");
    std::fs::create_dir_all(&dir).expect("directory");
    let state = r#"{"version":1,"boot_id":"another","shim_pid":1,"containers":[{"id":{"pod_uid":"p9","name":"main","attempt":2},"state":"running","pid":1,"started_at_ns":5}]}"#;
    std::fs::write(dir.join("state.json"), state).expect("write");
    std::fs::write(
        dir.join("sandbox.json"),
        r#"{"boot_id":"another","sandbox":{"uid":"p9","hostname":"h"}}"#,
    )
    .expect("write");
    let runtime = ShimRuntime::open(config(world.dir.path(), &world.cluster))
        .await
        .expect("open");
    let pod = runtime.pod("p9").await.expect("pod").expect("known");
    assert!(!pod.ready);
    assert!(
        matches!(&pod.containers[0].state, ContainerState::Exited(e) if e.code == 255 && e.reason == ExitReason::ContainerStatusUnknown)
    );
    runtime.remove_pod("p9").await.expect("remove");
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_pods_start_side_by_side() {
    let world = World::new().await;
    let before = std::time::Instant::now();
    let starts = (0..30).map(|n| {
        let runtime = world.runtime.clone();
        let uid = format!("p{n}");
        let spec = world.shell(&uid, "main", "echo up; sleep 1000");
        tokio::spawn(async move {
            runtime
                .create_sandbox(&PodSandboxSpec {
                    uid,
                    hostname: "h".into(),
                    ..PodSandboxSpec::default()
                })
                .await?;
            runtime.start_container(&spec).await
        })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.expect("task").expect("start");
    }
    eprintln!("30 pods started in {:?}", before.elapsed());
    let running = world
        .runtime
        .list()
        .await
        .expect("list")
        .iter()
        .filter(|p| p.ready && matches!(p.containers[0].state, ContainerState::Running { .. }))
        .count();
    assert_eq!(running, 30);
}

/// Stopped as a debugger or `kill -STOP` does it: it holds its connection and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_does_not_answer_keeps_nobody_waiting() {
    use nix::sys::signal::{Signal, kill};
    let world = World::new().await;
    for uid in ["p1", "p2"] {
        world.pod(uid).await;
        let spec = world.shell(uid, "main", "sleep 1000");
        world.runtime.start_container(&spec).await.expect("start");
    }
    let mut impatient = config(world.dir.path(), &world.cluster);
    impatient.answer_limit = Duration::from_millis(500);
    let connected = ShimRuntime::open(impatient.clone()).await.expect("open");
    for uid in ["p1", "p2"] {
        kill(shim_pid(&world, uid), Signal::SIGSTOP).expect("stopped");
    }
    let bounded = async {
        let id = world.shell("p1", "main", "").id;
        let exec = connected.exec(&id, &node::runtime::ExecSpec::default()).await;
        let error = exec.err().expect("nobody answers").to_string();
        assert!(error.contains("does not answer"), "{error}");
        let exit = connected.stop_container(&id, 0, Duration::from_millis(100)).await;
        assert_eq!(exit.expect("it ends").code, 137);
        // A server that starts now does not hang either.
        let next = ShimRuntime::open(impatient).await.expect("open");
        let pod = next.pod("p2").await.expect("read").expect("known");
        assert!(matches!(pod.containers[0].state, ContainerState::Exited(_)) && !pod.ready);
        next.remove_pod("p2").await.expect("removed");
    };
    tokio::time::timeout(LIMIT, bounded).await.expect("in time");
}
