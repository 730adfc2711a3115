//! Deployments: rolling and recreating updates, history, undo, pause, scaling, and what `kubectl` says about them.

use crate::harness::Cluster;
use crate::harness::cluster::LIMIT;
use crate::helm::rows;
use std::cell::RefCell;

fn app(more: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  replicas: 3
  {more}
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: 'busybox:1', env: [{{name: V, value: one}}],
        command: [sh, -c, 'trap \"exit 0\" TERM; while true; do sleep 0.1; done']}}]
"
    )
}

#[test]
fn rolling_updates_never_fall_below() {
    let Some(cluster) = Cluster::with_images("rolling_updates_never_fall_below", &[]) else {
        return;
    };
    cluster.apply(&app(
        "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}",
    ));
    let said = cluster.rollout("deploy/app");
    assert!(
        said.contains("deployment \"app\" successfully rolled out"),
        "{said}"
    );
    // Each pod is told of by the name that it was given.
    let names = cluster.kubectl("get po -l app=app -o 'jsonpath={.items[*].metadata.name}'");
    let mut events = cluster.watch("get events -w --no-headers");
    let untold = RefCell::new(names.split(' ').collect::<Vec<_>>());
    events.until("every pod's event", |line| {
        let mut untold = untold.borrow_mut();
        untold.retain(|name| !line.contains(&format!("Created pod: {name}")));
        untold.is_empty()
    });
    drop(events);
    let mut watch = cluster.watch("get deploy app -w --no-headers");
    watch.until("the start", |line| line.contains("3/3"));
    cluster.kubectl("set env deploy/app V=two");
    cluster.rollout("deploy/app");
    watch.until("the end", |line| {
        rows(line)[0][1..4] == ["3/3", "3", "3"].map(str::to_owned)
    });
    for line in &watch.seen {
        let available: u32 = rows(line)[0][3].parse().expect("AVAILABLE");
        assert!(
            available >= 3,
            "fewer than three were available: {:#?}",
            watch.seen
        );
    }
    drop(watch);
    let sets = rows(&cluster.kubectl("get rs"));
    assert_eq!(sets[0], ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]);
    let mut sizes: Vec<&str> = sets[1..].iter().map(|row| row[1].as_str()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, ["0", "3"]);
    let history = cluster.kubectl("rollout history deploy app");
    assert!(
        history.contains("deployment.apps/app") && rows(&history).len() >= 4,
        "{history}"
    );
    cluster.kubectl("rollout undo deploy app");
    cluster.rollout("deploy/app");
    let values = cluster.kubectl("get po -l app=app --field-selector=status.phase=Running -o 'jsonpath={.items[*].spec.containers[0].env[0].value}'");
    assert!(values.contains("one"), "{values}");
    cluster.remove();
}

#[test]
fn recreate_has_no_two_versions_at_a_time() {
    let Some(cluster) = Cluster::with_images("recreate_has_no_two_versions_at_a_time", &[]) else {
        return;
    };
    cluster.apply(&app("strategy: {type: Recreate}"));
    cluster.rollout("deploy/app");
    let mut watch = cluster.watch("get po -l app=app -w --no-headers -L pod-template-hash");
    for _ in 0..3 {
        watch.until("a pod", |line| line.contains("Running"));
    }
    let old = watch.seen[0]
        .split_whitespace()
        .last()
        .expect("a hash")
        .to_owned();
    cluster.kubectl("set env deploy/app V=two");
    cluster.rollout("deploy/app");
    let first_new = watch.until("a new pod", |line| !line.ends_with(&old));
    let ended: Vec<&String> = watch
        .seen
        .iter()
        .filter(|line| line.ends_with(&old) && !line.contains("Running"))
        .collect();
    assert!(
        ended.len() >= 3,
        "{first_new} came before the old ones had ended: {:#?}",
        watch.seen
    );
    drop(watch);
    cluster.remove();
}

#[test]
fn paused_scaled_and_stuck() {
    let Some(cluster) = Cluster::with_images("paused_scaled_and_stuck", &[]) else {
        return;
    };
    cluster.apply(&app("progressDeadlineSeconds: 2"));
    cluster.rollout("deploy/app");
    cluster.kubectl("rollout pause deploy app");
    cluster.kubectl("set env deploy/app V=two");
    cluster.kubectl("scale deploy app --replicas=2");
    cluster.wait("deploy/app", "jsonpath={.status.readyReplicas}=2");
    let sets = rows(&cluster.kubectl("get rs --no-headers"));
    assert_eq!(sets.len(), 1, "a paused Deployment rolled out: {sets:?}");
    cluster.kubectl("rollout resume deploy app");
    cluster.rollout("deploy/app");
    cluster.kubectl("set image deploy/app main=none:9");
    cluster.wait(
        "deploy/app",
        "jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}=ProgressDeadlineExceeded",
    );
    let said = cluster.kubectl_fails(&format!("rollout status deploy app {LIMIT}"));
    assert!(said.contains("exceeded its progress deadline"), "{said}");
    cluster.kubectl("rollout undo deploy app");
    cluster.rollout("deploy/app");
    // What a ReplicaSet is short of, it makes; a pod that no longer matches is let go.
    let pod = rows(&cluster.kubectl("get po -l app=app --no-headers"))[0][0].clone();
    cluster.kubectl(&format!("label pod {pod} app=other --overwrite"));
    cluster.wait("deploy/app", "jsonpath={.status.readyReplicas}=2");
    let owners = cluster.jsonpath(&format!("pod/{pod}"), "{.metadata.ownerReferences}");
    assert_eq!(owners, "", "the pod was not released");
    cluster.remove();
}

/// Simulated nodes run nothing, and their pods become Ready all the same, each in its time.
#[test]
fn simulated_nodes_hold_many_pods() {
    let Some(cluster) = Cluster::prepare("simulated_nodes_hold_many_pods", &[]) else {
        return;
    };
    let up = format!(
        "up --simulated-nodes 3 --kubeconfig {} --api-port {}",
        cluster.kubeconfig.display(),
        cluster.api_port
    );
    cluster.isopod(&up);
    cluster.apply(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 60
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [simulated-0, simulated-1, simulated-2]}]}]}}}
      containers:
      - {name: c, image: 'nothing:1', resources: {requests: {cpu: 10m}}, readinessProbe: {httpGet: {path: /, port: 80}}}
",
    );
    cluster.rollout("deploy/many");
    let nodes =
        cluster.kubectl("get po -l app=many -o 'jsonpath={range .items[*]}{.spec.nodeName}{\"\\n\"}{end}'");
    for node in ["simulated-0", "simulated-1", "simulated-2"] {
        assert!(
            nodes.lines().any(|line| line == node),
            "nothing runs on {node}: {nodes}"
        );
    }
    // They start later than they are created, by a clock that goes on.
    let times = "get po -l app=many -o 'jsonpath={range .items[*]}{.status.startTime} {.status.containerStatuses[0].state.running.startedAt}{\"\\n\"}{end}'";
    for line in cluster.kubectl(times).lines() {
        let (created, started) = line.split_once(' ').expect("two times");
        assert!(created <= started, "{line}");
    }
    // Fewer nodes: those that nobody runs any more are gone, with their pods, and so is nobody else.
    cluster.isopod("down");
    cluster.isopod(&up.replace("--simulated-nodes 3", "--simulated-nodes 1"));
    let nodes = cluster.kubectl("get nodes -o name");
    assert!(
        nodes.contains("simulated-0") && nodes.lines().count() == 2,
        "{nodes}"
    );
    for gone in ["simulated-1", "simulated-2"] {
        let there = format!("--field-selector spec.nodeName={gone}");
        cluster.kubectl(&format!("wait --for=delete pod -l app=many {there} {LIMIT}"));
    }
    cluster.rollout("deploy/many");
    let nodes =
        cluster.kubectl("get po -l app=many -o 'jsonpath={range .items[*]}{.spec.nodeName}{\"\\n\"}{end}'");
    assert!(nodes.lines().all(|line| line == "simulated-0"), "{nodes}");
    cluster.kubectl("delete deploy many");
    cluster.kubectl(&format!("wait --for=delete pod -l app=many {LIMIT}"));
    cluster.remove();
}
