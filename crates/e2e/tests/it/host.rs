//! The host is left alone: its network is the same before, during and after; two clusters do not see each other; what is
//! removed is gone.

use crate::harness::{Cluster, Tool, host};
use crate::statefulset::visits_set;
use std::net::TcpStream;

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

/// What the caller's shell forbids its own processes is no rule for a cluster.
#[test]
fn a_cluster_is_the_same_from_every_shell() {
    let Some(cluster) = Cluster::prepare("a_cluster_is_the_same_from_every_shell", &[Tool::Busybox]) else {
        return;
    };
    let prelude = "umask 077; ulimit -Sn 256; ulimit -Sf 2000000";
    cluster.up_with().after(prelude).run().ok();
    cluster.build_busybox("busybox:1");
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: nobody}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000}
  containers: [{name: main, image: 'busybox:1', command: [sh, -c, 'ulimit -Sf; umask; stat -c %a /; ulimit -Sn; ulimit -Hn']}]
",
    );
    cluster.wait("pod/nobody", "jsonpath={.status.phase}=Succeeded");
    let said = cluster.kubectl("logs nobody");
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[..3], ["unlimited", "0022", "755"]);
    // How high it can be raised is the machine's to say, and that it is raised is ours.
    assert_ne!(said[3], "256");
    assert_eq!(said[3], said[4]);
    // Each of these is a file that the server has open.
    let connect = || TcpStream::connect(("127.0.0.1", cluster.api_port));
    let open: Vec<TcpStream> = (0..300).map(|_| connect().expect("a connection")).collect();
    assert_eq!(cluster.kubectl("get --raw /readyz"), "ok");
    drop(open);
    cluster.remove();
}

#[test]
fn a_reader_that_goes_early_is_no_fault() {
    let Some(cluster) = Cluster::start("a_reader_that_goes_early_is_no_fault", &[]) else {
        return;
    };
    for command in ["status", "status -o json", "image ls", "kubeconfig"] {
        // The reader has gone before the first word.
        let run = cluster
            .isopod_with(command)
            .after("exec 1> >(exec true); sleep 0.1")
            .run();
        assert!(
            run.status.success() && run.stderr.is_empty(),
            "{}",
            run.report("complained")
        );
    }
    let full = cluster.isopod_with("status").after("exec 1>/dev/full").run();
    assert!(full.fails().contains("cannot write to the standard output"));
    cluster.remove();
}
