//! What a new user does: the example's chart by helm 3 and helm 4, visited, looked at, updated, and removed.

use crate::harness::cluster::LIMIT;
use crate::harness::command::prepare;
use crate::harness::{Cluster, Tool, tools};
use std::collections::BTreeMap;

fn chart() -> String {
    tools::root().join("examples/visits/chart").display().to_string()
}

/// One visit by curl: who answered, and how many visits it has seen.
fn visit(address: &str) -> (String, u64) {
    let answer = prepare(&Tool::Curl.path(), ["-sS", "--max-time", "20", address])
        .run()
        .ok();
    // `Hello! web-visits-0 has seen 3 visits`
    let words: Vec<&str> = answer.split_whitespace().collect();
    let at = words
        .iter()
        .position(|w| *w == "has")
        .unwrap_or_else(|| panic!("not a visit: {answer}"));
    let count = words[at + 2]
        .parse()
        .unwrap_or_else(|_| panic!("no count: {answer}"));
    (words[at - 1].to_owned(), count)
}

fn visits(address: &str, count: usize) -> BTreeMap<String, u64> {
    let mut by_pod = BTreeMap::new();
    for _ in 0..count {
        *by_pod.entry(visit(address).0).or_insert(0) += 1;
    }
    by_pod
}

/// The rows of a table that kubectl printed, split at runs of two or more spaces.
pub fn rows(table: &str) -> Vec<Vec<String>> {
    table
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn lines_of(cluster: &Cluster, pod: &str) -> Vec<String> {
    let text = cluster.kubectl(&format!("exec {pod} -- tail -n 500 /data/visits.txt"));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_new_user_with_helm_3() {
    walk("a_new_user_with_helm_3", Tool::Helm3);
}

#[test]
fn a_new_user_with_helm_4() {
    walk("a_new_user_with_helm_4", Tool::Helm4);
}

fn walk(test: &str, helm: Tool) {
    let Some(cluster) = Cluster::prepare(test, &[helm, Tool::Curl]) else {
        return;
    };
    let said = cluster.up().ok();
    assert!(said.contains("ready in "), "{said}");
    let context = cluster.kubectl("config current-context");
    assert_eq!(context.trim(), format!("isopod-{}", cluster.name));
    cluster.build_visits("visits:1");
    let chart = chart();
    let said = cluster.helm(
        helm,
        &format!("install web {chart} --set replicas=3,token=s3cret"),
    );
    assert!(said.contains("STATUS: deployed"), "{said}");
    cluster.rollout("sts/web-visits");
    looks_right(&cluster);
    let address = cluster.load_balancer("web-visits");
    balanced(&cluster, &address);
    a_deleted_pod_comes_back(&cluster, &address);
    scaled_down_and_up(&cluster);
    updated_and_rolled_back(&cluster, helm, &address);
    down_and_up(&cluster, &address);
    let said = cluster.helm(helm, "uninstall web --wait");
    assert!(said.contains("uninstalled"), "{said}");
    cluster.kubectl(&format!(
        "wait --for=delete pod -l app.kubernetes.io/name=visits {LIMIT}"
    ));
    // The claims stay: what users stored is not the chart's to remove.
    let claims = rows(&cluster.kubectl("get pvc --no-headers"));
    assert_eq!(claims.len(), 3, "{claims:?}");
    let left = cluster.kubectl("get sts,svc -l app.kubernetes.io/name=visits --ignore-not-found");
    assert_eq!(left, "");
    cluster.remove();
}

/// The columns as users know them.
fn looks_right(cluster: &Cluster) {
    let table = rows(&cluster.kubectl("get po"));
    assert_eq!(table[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    for (n, row) in table[1..].iter().enumerate() {
        assert_eq!(row[..4], [&format!("web-visits-{n}"), "1/1", "Running", "0"]);
    }
    assert_eq!(table.len(), 4);
    let table = rows(&cluster.kubectl("get sts"));
    assert_eq!(table[0], ["NAME", "READY", "AGE"]);
    assert_eq!(table[1][..2], ["web-visits", "3/3"]);
    let table = rows(&cluster.kubectl("get svc web-visits"));
    assert_eq!(
        table[0],
        ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    );
    assert_eq!(table[1][1], "LoadBalancer");
    assert!(table[1][3].starts_with("127.0.0."), "{table:?}");
    assert!(
        table[1][4].starts_with("8000:") && table[1][4].ends_with("/TCP"),
        "{table:?}"
    );
    let table = rows(&cluster.kubectl("get pvc --no-headers"));
    for (n, row) in table.iter().enumerate() {
        assert_eq!(
            row[..2],
            [&format!("visits-web-visits-{n}"), "Bound"],
            "{table:?}"
        );
        assert_eq!(row[3..6], ["256M", "RWO", "standard"], "{table:?}");
    }
    assert_eq!(table.len(), 3);
    // Each started when the one before it was ready.
    let times = cluster.kubectl(
        "get po -o 'jsonpath={range .items[*]}{.status.startTime} \
         {.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}{\"\\n\"}{end}'",
    );
    let times: Vec<Vec<&str>> = times.lines().map(|l| l.split(' ').collect()).collect();
    assert!(
        times.windows(2).all(|two| two[0][1] <= two[1][0]),
        "not in order: {times:?}"
    );
}

/// All replicas answer, and each counts its own visits, in a file of its own.
fn balanced(cluster: &Cluster, address: &str) {
    let by_pod = visits(address, 30);
    assert_eq!(by_pod.len(), 3, "not all replicas answer: {by_pod:?}");
    for (pod, count) in &by_pod {
        let lines = lines_of(cluster, pod);
        assert_eq!(lines.len() as u64, *count, "{pod}: {lines:?}");
        assert!(
            lines.iter().all(|l| l.starts_with("20") && l.contains('T')),
            "{lines:?}"
        );
    }
}

fn a_deleted_pod_comes_back(cluster: &Cluster, address: &str) {
    let before = (lines_of(cluster, "web-visits-1"), uid(cluster, "web-visits-1"));
    let said = cluster.kubectl("delete pod web-visits-1");
    assert!(said.starts_with("pod \"web-visits-1\" deleted"), "{said}");
    cluster.rollout("sts/web-visits");
    assert_ne!(before.1, uid(cluster, "web-visits-1"), "it is not a new pod");
    let mut after = lines_of(cluster, "web-visits-1");
    assert!(after.starts_with(&before.0), "the file is not the same");
    // It gets its share of visits again.
    let mut tries = 0;
    while after.len() == before.0.len() {
        visit(address);
        after = lines_of(cluster, "web-visits-1");
        tries += 1;
        assert!(tries < 60, "the new pod is not visited");
    }
}

fn uid(cluster: &Cluster, pod: &str) -> String {
    cluster.jsonpath(&format!("pod/{pod}"), "{.metadata.uid}")
}

fn scaled_down_and_up(cluster: &Cluster) {
    let before = lines_of(cluster, "web-visits-2");
    let said = cluster.kubectl("scale sts/web-visits --replicas=1");
    assert_eq!(said.trim(), "statefulset.apps/web-visits scaled");
    cluster.kubectl(&format!(
        "wait --for=delete pod/web-visits-1 pod/web-visits-2 {LIMIT}"
    ));
    let pods = rows(&cluster.kubectl("get po --no-headers"));
    assert_eq!((pods.len(), pods[0][0].as_str()), (1, "web-visits-0"));
    assert_eq!(rows(&cluster.kubectl("get pvc --no-headers")).len(), 3);
    cluster.kubectl("scale sts/web-visits --replicas=3");
    cluster.rollout("sts/web-visits");
    assert_eq!(lines_of(cluster, "web-visits-2"), before);
}

fn updated_and_rolled_back(cluster: &Cluster, helm: Tool, address: &str) {
    let before = lines_of(cluster, "web-visits-0");
    let chart = chart();
    let values = "--set replicas=3,token=s3cret,settings.greeting=Welcome!,podAnnotations.release=two";
    let said = cluster.helm(helm, &format!("upgrade web {chart} {values}"));
    assert!(said.contains("REVISION: 2"), "{said}");
    cluster.rollout("sts/web-visits");
    let notes = cluster.kubectl("get po -o 'jsonpath={.items[*].metadata.annotations.release}'");
    assert_eq!(notes, "two two two");
    let answer = prepare(&Tool::Curl.path(), ["-sS", address]).run().ok();
    assert!(answer.starts_with("Welcome! web-visits-"), "{answer}");
    let history = cluster.kubectl("rollout history sts/web-visits");
    assert_eq!(
        rows(&history)[1..],
        [
            vec!["REVISION", "CHANGE-CAUSE"],
            vec!["1", "<none>"],
            vec!["2", "<none>"]
        ],
        "{history}"
    );
    let said = cluster.helm(helm, "rollback web 1");
    assert!(said.contains("Rollback was a success"), "{said}");
    cluster.rollout("sts/web-visits");
    let notes = cluster.kubectl("get po -o 'jsonpath={.items[*].metadata.annotations.release}'");
    assert_eq!(notes.trim(), "");
    assert!(
        lines_of(cluster, "web-visits-0").starts_with(&before),
        "the data is not the same"
    );
    let history = cluster.helm(helm, "history web");
    assert_eq!(rows(&history).len(), 4, "{history}");
}

/// The same pods, names, addresses of Services, and data.
fn down_and_up(cluster: &Cluster, address: &str) {
    let state = || {
        let services = cluster.kubectl(
            "get svc -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.clusterIP} {.spec.ports[*].nodePort} \
             {.status.loadBalancer.ingress[*].ip}{\"\\n\"}{end}'",
        );
        let pods = cluster
            .kubectl("get po -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}'");
        let files: Vec<Vec<String>> = (0..3)
            .map(|n| lines_of(cluster, &format!("web-visits-{n}")))
            .collect();
        (services, pods, files)
    };
    let before = state();
    let said = cluster.isopod("down");
    assert!(said.contains("is down"), "{said}");
    let left = cluster.traces();
    assert!(left.is_empty(), "`isopod down` left this running: {left:#?}");
    cluster.up().ok();
    cluster.rollout("sts/web-visits");
    let after = state();
    assert_eq!(before, after, "asked once more: {:?}", state());
    assert!(visit(address).0.starts_with("web-visits-"));
}

/// The same app as a Deployment: its replicas share one claim, and their pods have no names that stay.
#[test]
fn the_contrast_replicas_that_share_one_claim() {
    let tools = [Tool::Helm3, Tool::Curl];
    let Some(cluster) = Cluster::start("the_contrast_replicas_that_share_one_claim", &tools) else {
        return;
    };
    cluster.build_visits("visits:1");
    let values = "--set mode=deployment,replicas=3,service.port=8001";
    cluster.helm(Tool::Helm3, &format!("install shared {} {values}", chart()));
    cluster.rollout("deploy/shared-visits");
    let table = rows(&cluster.kubectl("get deploy"));
    assert_eq!(table[0], ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    assert_eq!(table[1][..4], ["shared-visits", "3/3", "3", "3"]);
    let claims = rows(&cluster.kubectl("get pvc --no-headers"));
    assert_eq!(claims.len(), 1, "{claims:?}");
    let address = cluster.load_balancer("shared-visits");
    // One file for all: the count goes on whoever answers.
    let counts: Vec<(String, u64)> = (0..20).map(|_| visit(&address)).collect();
    assert!(
        counts.windows(2).all(|two| two[0].1 + 1 == two[1].1),
        "{counts:?}"
    );
    let who: std::collections::BTreeSet<&str> = counts.iter().map(|(pod, _)| pod.as_str()).collect();
    assert_eq!(who.len(), 3, "{who:?}");
    let (gone, _) = counts[0].clone();
    cluster.kubectl(&format!("delete pod {gone}"));
    cluster.rollout("deploy/shared-visits");
    let pods = cluster.kubectl("get po -o name");
    assert!(
        !pods.contains(&gone),
        "a Deployment's pod got its name back: {pods}"
    );
    // The new pod counts on in the same file.
    assert_eq!(visit(&address).1, 21);
}
