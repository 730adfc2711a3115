//! Restarts: the server killed at any moment, `down` and `up`, and what a reboot is to a cluster.

use crate::harness::cluster::LIMIT;
use crate::harness::{Cluster, host};
use crate::lifecycle::pod;
use crate::statefulset::{self, visits_set};
use std::sync::atomic::{AtomicBool, Ordering};

/// How often the server is killed while writes go on.
const KILLS: usize = 6;

/// A pod's containers as processes: the same ones, or others.
fn containers(cluster: &Cluster) -> Vec<host::Process> {
    let group = format!("/isopod/{}/", cluster.name);
    let mut found: Vec<host::Process> = cluster
        .traces()
        .processes
        .into_iter()
        .filter(|p| {
            std::fs::read_to_string(format!("/proc/{}/cgroup", p.pid)).is_ok_and(|text| text.contains(&group))
        })
        .collect();
    found.sort();
    found
}

fn restarts(cluster: &Cluster) -> String {
    cluster.kubectl("get po -l app=web -o 'jsonpath={.items[*].status.containerStatuses[*].restartCount}'")
}

#[test]
fn pods_run_on_untouched_when_the_server_is_killed() {
    let Some(cluster) = Cluster::start("pods_run_on_untouched_when_the_server_is_killed", &[]) else {
        return;
    };
    cluster.build_visits("visits:1");
    cluster.apply(&visits_set("web", 3, "podManagementPolicy: Parallel"));
    cluster.rollout("sts/web");
    let before = containers(&cluster);
    assert!(before.len() >= 3, "no containers: {before:?}");
    let ids = || {
        cluster.kubectl(
            "get po -l app=web -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.podIP} {.status.containerStatuses[*].containerID}{\"\\n\"}{end}'",
        )
    };
    let names = ids();
    for _ in 0..2 {
        host::kill(&cluster.server());
        assert_eq!(before, containers(&cluster), "a container noticed");
        cluster.up().ok();
        cluster.rollout("sts/web");
        assert_eq!(before, containers(&cluster), "a container was started anew");
        assert_eq!(restarts(&cluster), "0 0 0");
        assert_eq!(names, ids());
        // The server knows them again: exec, logs, and what happens to them.
        statefulset::data(&cluster, "web-1");
        assert!(cluster.kubectl("logs web-1").contains("listening"));
    }
    // One that is about to end is waited for.
    host::ask_to_end(&cluster.server());
    cluster.up().ok();
    cluster.rollout("sts/web");
    assert_eq!(before, containers(&cluster), "a container was started anew");
    // What ends while no server is there is noticed by the next.
    host::kill(&cluster.server());
    host::kill(&before[0]);
    cluster.up().ok();
    let mut watch = cluster.watch("get po -l app=web -w");
    watch.until("a restart", |line| {
        line.contains("1/1") && line.contains("Running") && line.split_whitespace().nth(3) == Some("1")
    });
    drop(watch);
    cluster.kubectl("delete pod web-0");
    cluster.rollout("sts/web");
    cluster.remove();
}

/// Every write that was acknowledged is there after the kill, with its content.
#[test]
fn no_acknowledged_write_is_lost() {
    let Some(cluster) = Cluster::start("no_acknowledged_write_is_lost", &[]) else {
        return;
    };
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..KILLS {
        let stop = AtomicBool::new(false);
        let server = cluster.server();
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let (cluster, stop) = (&cluster, &stop);
                    scope.spawn(move || write_until(cluster, stop, &format!("r{round}-w{writer}")))
                })
                .collect();
            // The kill comes after a number of writes that differs each time, in the midst of others.
            let mut watch = cluster.watch("get cm -l round -w --no-headers");
            for _ in 0..=(round * 7) % 11 {
                watch.until("a write", |line| line.starts_with('r'));
            }
            host::kill(&server);
            stop.store(true, Ordering::SeqCst);
            for writer in writers {
                acknowledged.extend(writer.join().expect("a writer"));
            }
        });
        cluster.up().ok();
        let there = cluster.kubectl(
            "get cm -l round -o 'jsonpath={range .items[*]}{.metadata.name}={.data.v}{\"\\n\"}{end}'",
        );
        let lost: Vec<&String> = acknowledged
            .iter()
            .filter(|name| !there.lines().any(|line| line == format!("{name}={name}")))
            .collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
    }
    assert!(acknowledged.len() > KILLS, "hardly a write was acknowledged");
    cluster.remove();
}

/// Creates ConfigMaps one after the other until told to stop or nobody answers; returns those that were acknowledged.
fn write_until(cluster: &Cluster, stop: &AtomicBool, prefix: &str) -> Vec<String> {
    let target = e2e::client::Target::from_kubeconfig(&cluster.kubeconfig).expect("a target");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut acknowledged = Vec::new();
    runtime.block_on(async {
        let connected = target.connect(e2e::client::Protocol::Http2).await;
        let Ok(mut connection) = connected else { return };
        for n in 0..100_000 {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let name = format!("{prefix}-{n}");
            let body = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "labels": {"round": "x"}}, "data": {"v": name}});
            let path = "/api/v1/namespaces/default/configmaps";
            let call = connection.call(
                http::Method::POST,
                path,
                "application/json",
                body.to_string().into(),
            );
            match call.await {
                Ok(answer) if answer.status == 201 => acknowledged.push(name),
                Ok(answer) => panic!("{name}: {} {:?}", answer.status, answer.body),
                Err(_) => return,
            }
        }
    });
    acknowledged
}

/// A reboot ends everything at once, the pods' keepers included.
#[test]
fn after_a_reboot_pods_start_again_on_their_volumes() {
    let Some(cluster) = Cluster::start("after_a_reboot_pods_start_again_on_their_volumes", &[]) else {
        return;
    };
    cluster.build_visits("visits:1");
    cluster.apply(&visits_set("web", 2, "podManagementPolicy: Parallel"));
    cluster.rollout("sts/web");
    let address = cluster.load_balancer("web");
    for _ in 0..8 {
        crate::services::get(&address, "/");
    }
    let before: Vec<String> = (0..2)
        .map(|n| statefulset::data(&cluster, &format!("web-{n}")))
        .collect();
    let uids = cluster.kubectl("get po -l app=web -o 'jsonpath={.items[*].metadata.uid}'");
    // The server first, so that it does nothing about what comes; then all the rest.
    host::kill(&cluster.server());
    for process in cluster.traces().processes {
        host::kill(&process);
    }
    assert_eq!(cluster.traces().processes, [], "something lives on");
    cluster.up().ok();
    for n in 0..2 {
        cluster.wait(
            &format!("pod/web-{n}"),
            "jsonpath={.status.containerStatuses[0].restartCount}=1",
        );
    }
    cluster.rollout("sts/web");
    assert_eq!(
        uids,
        cluster.kubectl("get po -l app=web -o 'jsonpath={.items[*].metadata.uid}'")
    );
    let table = cluster.kubectl("get po -l app=web --no-headers");
    for row in crate::helm::rows(&table) {
        assert_eq!(row[1..4], ["1/1", "Running", "1"], "{table}");
    }
    let after: Vec<String> = (0..2)
        .map(|n| statefulset::data(&cluster, &format!("web-{n}")))
        .collect();
    assert_eq!(before, after);
    assert_eq!(address, cluster.load_balancer("web"));
    crate::services::get(&address, "/");
    cluster.remove();
}

/// `down` is a machine that is switched off; `up` is it being switched on again.
#[test]
fn down_ends_pods_gracefully_and_up_runs_them_again() {
    let Some(cluster) = Cluster::with_images("down_ends_pods_gracefully_and_up_runs_them_again", &[]) else {
        return;
    };
    let host = cluster.home.path().join("said");
    std::fs::create_dir(&host).expect("a folder");
    let more = format!("volumes: [{{name: h, hostPath: {{path: {}}}}}]", host.display());
    let hooks = "volumeMounts: [{name: h, mountPath: /h}]
    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo stopping >> /h/file']}}}";
    let line = "echo up; trap \"echo ended >> /h/file; exit 0\" TERM; while true; do sleep 0.1; done";
    let polite = pod("polite", line, &more, hooks).replace("PeriodSeconds: 1", "PeriodSeconds: 60");
    let once = pod(
        "once",
        "trap \"exit 0\" TERM; while true; do sleep 0.1; done",
        "restartPolicy: Never",
        "",
    );
    cluster.apply(&format!("{polite}{once}"));
    cluster.wait("pod/polite pod/once", "condition=Ready");
    let pods = || cluster.kubectl("get po -o 'jsonpath={.items[*].metadata.uid}'");
    // The loops' own children come and go.
    let lasting = || {
        let all = containers(&cluster).into_iter();
        all.filter(|process| !process.command.starts_with("sleep"))
            .collect::<Vec<_>>()
    };
    let (before, running) = (pods(), lasting());
    // The server alone: nobody notices.
    host::terminate(&cluster.server());
    assert_eq!(running, lasting(), "a container noticed the server's end");
    cluster.up().ok();
    assert_eq!(running, lasting(), "a container was started anew");
    cluster.isopod("down");
    let said = || std::fs::read_to_string(host.join("file")).unwrap_or_default();
    assert_eq!(said(), "stopping\nended\n");
    assert!(cluster.traces().is_empty(), "{:#?}", cluster.traces());
    cluster.up().ok();
    let restarted = "jsonpath={.status.containerStatuses[0].restartCount}=1";
    cluster.wait("pod/polite pod/once", restarted);
    cluster.wait("pod/polite pod/once", "condition=Ready");
    assert_eq!(before, pods());
    assert_eq!(cluster.kubectl("logs polite --previous"), "up\n");
    let last = cluster.jsonpath(
        "pod/polite",
        "{.status.containerStatuses[0].lastState.terminated.reason}",
    );
    assert_eq!(last, "Completed");
    cluster.remove();
}

#[test]
fn down_does_not_wait_for_ever() {
    let Some(cluster) = Cluster::with_images("down_does_not_wait_for_ever", &[]) else {
        return;
    };
    let deaf = pod("deaf", "trap \"\" TERM; while true; do sleep 0.1; done", "", "");
    cluster.apply(&deaf.replace("PeriodSeconds: 1", "PeriodSeconds: 3600"));
    cluster.wait("pod/deaf", "condition=Ready");
    let said = cluster.isopod("down --timeout 2");
    assert!(said.contains("at most 2 s") && said.contains("killed"), "{said}");
    assert!(cluster.traces().is_empty(), "{:#?}", cluster.traces());
    assert!(cluster.isopod("down --help").contains("--timeout"));
    cluster.up().ok();
    cluster.wait(
        "pod/deaf",
        "jsonpath={.status.containerStatuses[0].restartCount}=1",
    );
    cluster.isopod("down --timeout 0");
    cluster.remove();
}

/// The class `standard` is a gift, not a rule: what the user makes of it stays. And a data folder may be moved.
#[test]
fn a_class_of_the_users_own_and_a_moved_folder() {
    let Some(cluster) = Cluster::prepare("a_class_of_the_users_own_and_a_moved_folder", &[]) else {
        return;
    };
    let (before, after) = (
        cluster.home.path().join("before"),
        cluster.home.path().join("after"),
    );
    let up = |folder: &std::path::Path| {
        let line = format!(
            "up --api-port {} --data-dir {}",
            cluster.api_port,
            folder.display()
        );
        cluster.isopod_with(&line).run().ok();
    };
    up(&before);
    cluster.build_busybox("busybox:1");
    let claim = "volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]";
    let line = "trap \"exit 0\" TERM; echo start >> /d/file; while true; do sleep 0.1; done";
    cluster.apply("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}");
    cluster.apply(&pod(
        "user",
        line,
        claim,
        "volumeMounts: [{name: d, mountPath: /d}]",
    ));
    cluster.wait("pod/user", "condition=Ready");
    cluster.kubectl("delete sc standard");
    cluster.apply("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard}, provisioner: isopod.dev/folder, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer}");
    cluster.isopod("down");
    std::fs::rename(&before, &after).expect("moved");
    let said = cluster.isopod_with("up").run().fails();
    assert!(
        said.contains("is not there") && said.contains("--data-dir DIR"),
        "{said}"
    );
    up(&after);
    assert_eq!(
        cluster.jsonpath("sc/standard", "{.reclaimPolicy}{.metadata.annotations.isopod}"),
        "Retain"
    );
    cluster.wait(
        "pod/user",
        "jsonpath={.status.containerStatuses[0].restartCount}=1",
    );
    cluster.wait("pod/user", "condition=Ready");
    assert_eq!(cluster.kubectl("exec user -- cat /d/file"), "start\nstart\n");
    assert!(!before.exists(), "nothing is made where it was");
    cluster.kubectl("delete sc standard");
    cluster.isopod("down");
    up(&after);
    assert_eq!(cluster.kubectl("get sc -o name"), "");
    cluster.kubectl("delete pod user");
    cluster.kubectl("delete pvc d");
    cluster.kubectl(&format!("wait --for=delete pv --all {LIMIT}"));
    assert_eq!(
        std::fs::read_dir(after.join("volumes"))
            .expect("a folder")
            .count(),
        0
    );
    cluster.remove();
}
