//! The host is left alone: its network is the same before, during and after; two clusters do not see each other; what is
//! removed is gone.

use crate::harness::{Cluster, Tool, host};
use crate::statefulset::visits_set;

fn app() -> String {
    visits_set("web", 2, "podManagementPolicy: Parallel")
}

#[test]
fn the_host_is_the_same_before_during_and_after() {
    let test = "the_host_is_the_same_before_during_and_after";
    let before = crate::harness::tools::can_run(test, &[Tool::Ip, Tool::Nft]).then(host::network);
    let (Some(before), Some(cluster)) = (before, Cluster::prepare(test, &[])) else {
        return;
    };
    assert!(cluster.traces().is_empty(), "something is there before the start");
    cluster.up().ok();
    cluster.build_visits("visits:1");
    cluster.apply(&app());
    cluster.rollout("sts/web");
    cluster.load_balancer("web");
    assert_eq!(before, host::network(), "while pods run");
    cluster.isopod("down");
    assert_eq!(before, host::network(), "after `isopod down`");
    cluster.up().ok();
    cluster.rollout("sts/web");
    cluster.remove();
    assert_eq!(before, host::network(), "after `isopod rm`");
}

#[test]
fn two_clusters_side_by_side() {
    let test = "two_clusters_side_by_side";
    let (Some(one), Some(two)) = (Cluster::start(test, &[]), Cluster::start(test, &[])) else {
        return;
    };
    for cluster in [&one, &two] {
        cluster.build_visits("visits:1");
        cluster.apply(&app());
    }
    for cluster in [&one, &two] {
        cluster.rollout("sts/web");
    }
    // The same port on loopback: the second cluster gets the next address, and both answer.
    let addresses = [one.load_balancer("web"), two.load_balancer("web")];
    assert_ne!(addresses[0], addresses[1]);
    for (cluster, address) in [&one, &two].into_iter().zip(&addresses) {
        for _ in 0..4 {
            crate::services::get(address, "/");
        }
        let seen: usize = (0..2)
            .map(|n| {
                crate::statefulset::data(cluster, &format!("web-{n}"))
                    .lines()
                    .count()
            })
            .sum();
        assert_eq!(seen, 4, "{address} does not lead to its own cluster alone");
    }
    // One goes, the other does not notice.
    let pids = two.traces().processes;
    one.remove();
    assert_eq!(two.traces().processes, pids);
    crate::services::get(&addresses[1], "/");
    two.remove();
}

#[test]
fn clusters_are_listed_and_described() {
    let Some(cluster) = Cluster::start("clusters_are_listed_and_described", &[]) else {
        return;
    };
    let table = cluster.isopod("ls");
    assert!(table.lines().any(|line| line.contains(&cluster.name)), "{table}");
    let status = cluster.isopod("status -o json");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert!(status.to_string().contains(&cluster.name), "{status}");
    let text = cluster.isopod("status");
    assert!(text.contains(&cluster.api_port.to_string()), "{text}");
    cluster.isopod("down");
    let run = cluster.isopod_with("status").run();
    assert_eq!(run.status.code(), Some(3), "{}", run.report("is down"));
    let clusters = cluster.clusters();
    let bystander = cluster.isopod_raw(["ls".to_owned()]);
    cluster.remove();
    let after = bystander.run().ok();
    assert!(!after.contains("e2e-"), "{after}");
    assert!(!clusters.exists(), "{} is left", clusters.display());
}
