//! StatefulSets: order, names, claims, updates with partition and on delete, history and undo, scaling, ordinals.

use crate::harness::cluster::LIMIT;
use crate::harness::{Cluster, Tool};
use crate::helm::rows;

/// A StatefulSet of the example app with a claim for each replica, and a LoadBalancer Service on port 8123. `more` goes
/// into its spec.
pub fn visits_set(name: &str, replicas: u32, more: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  serviceName: {name}
  {more}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: visits
        image: visits:1
        env:
        - {{name: TOOLS_DIR, value: /usr/local/bin}}
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        ports: [{{containerPort: 8080, name: http}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1}}
        volumeMounts: [{{name: data, mountPath: /data}}, {{name: tools, mountPath: /usr/local/bin}}]
      volumes: [{{name: tools, emptyDir: {{}}}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: LoadBalancer, selector: {{app: {name}}}, ports: [{{name: http, port: 8123, targetPort: http}}]}}
"
    )
}

/// What a pod of `visits_set` has on its volume.
pub fn data(cluster: &Cluster, pod: &str) -> String {
    cluster.kubectl(&format!("exec {pod} -- tail -n 10000 /data/visits.txt"))
}

/// A small set of sleeping pods, quick to start and to end, without claims.
fn sleepers(replicas: u32, more: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: s}}
spec:
  replicas: {replicas}
  serviceName: s
  {more}
  selector: {{matchLabels: {{app: s}}}}
  template:
    metadata: {{labels: {{app: s}}, annotations: {{note: one}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: 'busybox:1', command: [sh, -c, 'trap \"exit 0\" TERM; while true; do sleep 0.1; done']}}]
"
    )
}

const TO_TWO: &str =
    "patch sts s -p '{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"note\":\"two\"}}}}}'";

fn notes(cluster: &Cluster) -> String {
    cluster.kubectl(
        "get po -l app=s -o 'jsonpath={range .items[*]}{.metadata.name}={.metadata.annotations.note} {end}'",
    )
}

/// The order in which something happened to pods, as a watch saw it.
fn order(seen: &[String], what: impl Fn(&[&str]) -> bool) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for line in seen {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns.len() > 3 && what(&columns) && !order.contains(&columns[0].to_owned()) {
            order.push(columns[0].to_owned());
        }
    }
    order
}

#[test]
fn replicas_start_and_end_in_order() {
    let Some(cluster) = Cluster::with_images("replicas_start_and_end_in_order", &[]) else {
        return;
    };
    let mut watch = cluster.watch("get po -l app=s -w --no-headers");
    cluster.apply(&sleepers(3, "ordinals: {start: 4}"));
    cluster.rollout("sts/s");
    watch.until("the last one runs", |line| {
        line.starts_with("s-6") && line.contains("1/1")
    });
    // No pod is seen before the one below it is ready.
    let first = |name: &str, text: &str| {
        watch
            .seen
            .iter()
            .position(|line| line.starts_with(name) && line.contains(text))
            .unwrap_or_else(|| panic!("{name} never had {text}: {:#?}", watch.seen))
    };
    assert!(first("s-4 ", "1/1") < first("s-5 ", ""), "{:#?}", watch.seen);
    assert!(first("s-5 ", "1/1") < first("s-6 ", ""), "{:#?}", watch.seen);
    let pods = cluster.kubectl("get po -o name");
    assert_eq!(
        pods.lines().collect::<Vec<_>>(),
        ["pod/s-4", "pod/s-5", "pod/s-6"]
    );
    let mark = watch.seen.len();
    cluster.kubectl("scale sts s --replicas=0");
    cluster.kubectl(&format!("wait --for=delete pod/s-4 {LIMIT}"));
    watch.until("the last one ends", |line| {
        line.starts_with("s-4") && line.contains("Terminating")
    });
    let ended = order(&watch.seen[mark..], |columns| columns[2] == "Terminating");
    assert_eq!(ended, ["s-6", "s-5", "s-4"]);
    drop(watch);
    cluster.remove();
}

#[test]
fn parallel_replicas_do_not_wait_for_each_other() {
    let Some(cluster) = Cluster::with_images("parallel_replicas_do_not_wait_for_each_other", &[]) else {
        return;
    };
    // None of them ever becomes ready; all are there all the same.
    let set = sleepers(3, "podManagementPolicy: Parallel").replace(
        "command:",
        "readinessProbe: {exec: {command: ['false']}, periodSeconds: 1}, command:",
    );
    cluster.apply(&set);
    for n in 0..3 {
        cluster.wait(&format!("pod/s-{n}"), "jsonpath={.status.phase}=Running");
    }
    let table = rows(&cluster.kubectl("get sts s"));
    assert_eq!(table[1][1], "0/3");
    let ordered = set
        .replace("Parallel", "OrderedReady")
        .replace("name: s}", "name: o}");
    cluster.apply(&ordered.replace("app: s", "app: o"));
    cluster.wait("pod/o-0", "jsonpath={.status.phase}=Running");
    assert_eq!(cluster.kubectl("get po -l app=o -o name").trim(), "pod/o-0");
    cluster.remove();
}

#[test]
fn updates_roll_from_the_highest_ordinal_and_stop_at_the_partition() {
    let test = "updates_roll_from_the_highest_ordinal_and_stop_at_the_partition";
    let Some(cluster) = Cluster::with_images(test, &[]) else {
        return;
    };
    cluster.apply(&sleepers(3, "updateStrategy: {rollingUpdate: {partition: 2}}"));
    cluster.rollout("sts/s");
    cluster.kubectl(TO_TWO);
    let said = cluster.rollout("sts/s");
    assert!(
        said.contains("partitioned roll out complete: 1 new pods have been updated"),
        "{said}"
    );
    assert_eq!(notes(&cluster), "s-0=one s-1=one s-2=two ");
    // A pod below the partition that is deleted comes back as it was.
    cluster.kubectl("delete pod s-0");
    cluster.wait("pod/s-0", "condition=Ready");
    assert_eq!(notes(&cluster), "s-0=one s-1=one s-2=two ");
    let mut watch = cluster.watch("get po -l app=s -w --no-headers");
    watch.until("the list", |line| line.starts_with("s-2"));
    let mark = watch.seen.len();
    cluster.kubectl("patch sts s -p '{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":0}}}}'");
    cluster.rollout("sts/s");
    watch.until("the new s-0", |line| {
        line.starts_with("s-0") && line.contains("1/1")
    });
    let ended = order(&watch.seen[mark..], |columns| columns[2] == "Terminating");
    assert_eq!(ended, ["s-1", "s-0"], "{:#?}", watch.seen);
    assert_eq!(notes(&cluster), "s-0=two s-1=two s-2=two ");
    drop(watch);
    cluster.remove();
}

#[test]
fn history_and_undo() {
    let Some(cluster) = Cluster::with_images("history_and_undo", &[]) else {
        return;
    };
    cluster.apply(&sleepers(1, "revisionHistoryLimit: 1"));
    cluster.rollout("sts/s");
    cluster.kubectl("annotate sts s kubernetes.io/change-cause=first");
    cluster.kubectl(TO_TWO);
    cluster.rollout("sts/s");
    let history = cluster.kubectl("rollout history sts s");
    assert_eq!(rows(&history)[1..].len(), 3, "{history}");
    let detail = cluster.kubectl("rollout history sts s --revision=1");
    assert!(detail.contains("Image:\tbusybox:1"), "{detail}");
    let said = cluster.kubectl("rollout undo sts s");
    assert_eq!(said.trim(), "statefulset.apps/s rolled back");
    cluster.rollout("sts/s");
    assert_eq!(notes(&cluster), "s-0=one ");
    cluster.kubectl("rollout restart sts s");
    cluster.rollout("sts/s");
    let restarted = cluster.jsonpath(
        "pod/s-0",
        "{.metadata.annotations.kubectl\\.kubernetes\\.io/restartedAt}",
    );
    assert!(restarted.starts_with("20"), "{restarted}");
    cluster.kubectl(&TO_TWO.replace("two", "four"));
    cluster.rollout("sts/s");
    // The live revision and one old one are kept.
    let mut watch = cluster.watch("get controllerrevisions -l app=s -o name -w");
    drop(watch.until("a revision", |line| line.contains("controllerrevision")));
    drop(watch);
    cluster.wait("sts/s", "jsonpath={.status.updatedReplicas}=1");
    let kept = cluster.kubectl("get controllerrevisions -l app=s --no-headers");
    assert!(rows(&kept).len() <= 2, "revisionHistoryLimit is 1: {kept}");
    cluster.remove();
}

#[test]
fn on_delete_waits_for_the_user() {
    let Some(cluster) = Cluster::with_images("on_delete_waits_for_the_user", &[]) else {
        return;
    };
    cluster.apply(&sleepers(2, "updateStrategy: {type: OnDelete}"));
    cluster.wait("sts/s", "jsonpath={.status.readyReplicas}=2");
    cluster.kubectl(TO_TWO);
    let refused = cluster.kubectl_fails("rollout status sts s --timeout=5s");
    assert!(
        refused.contains("rollout status is only available for RollingUpdate"),
        "{refused}"
    );
    cluster.kubectl("delete pod s-1");
    cluster.wait("pod/s-1", "condition=Ready");
    assert_eq!(notes(&cluster), "s-0=one s-1=two ");
    cluster.remove();
}

#[test]
fn claims_follow_the_retention_policy() {
    let Some(cluster) = Cluster::start("claims_follow_the_retention_policy", &[]) else {
        return;
    };
    cluster.build_visits("visits:1");
    let policy = "persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Delete}";
    cluster.apply(&visits_set("web", 2, policy));
    cluster.rollout("sts/web");
    cluster.kubectl("scale sts web --replicas=1");
    cluster.kubectl(&format!("wait --for=delete pvc/data-web-1 {LIMIT}"));
    let claims = cluster.kubectl("get pvc -o name");
    assert_eq!(claims.trim(), "persistentvolumeclaim/data-web-0");
    cluster.kubectl("delete sts web");
    cluster.kubectl(&format!("wait --for=delete pvc/data-web-0 {LIMIT}"));
    cluster.wait("pv --all", "delete");
    cluster.remove();
}

/// Orphans keep running, and are adopted by a set with the same selector.
#[test]
fn orphans_are_adopted() {
    let Some(cluster) = Cluster::with_images("orphans_are_adopted", &[Tool::Busybox]) else {
        return;
    };
    cluster.apply(&sleepers(2, ""));
    cluster.rollout("sts/s");
    let uids = cluster.kubectl("get po -o 'jsonpath={.items[*].metadata.uid}'");
    cluster.kubectl("delete sts s --cascade=orphan");
    let owners = cluster.kubectl("get po -o 'jsonpath={.items[*].metadata.ownerReferences}'");
    assert_eq!(owners.trim(), "");
    cluster.apply(&sleepers(2, ""));
    cluster.rollout("sts/s");
    assert_eq!(
        uids,
        cluster.kubectl("get po -o 'jsonpath={.items[*].metadata.uid}'")
    );
    let owners = cluster.kubectl("get po -o 'jsonpath={.items[*].metadata.ownerReferences[*].kind}'");
    assert_eq!(owners, "StatefulSet StatefulSet");
    cluster.remove();
}

/// A first start reads as upstream's happy path: nothing is said that only passes.
#[test]
fn a_first_start_has_no_warnings() {
    let Some(cluster) = Cluster::start("a_first_start_has_no_warnings", &[]) else {
        return;
    };
    cluster.build_visits("visits:1");
    cluster.apply(&visits_set("web", 2, ""));
    cluster.rollout("sts/web");
    let mut events =
        cluster.watch("get events -w -o 'jsonpath={.type} {.involvedObject.name} {.reason}{\"\\n\"}'");
    // The last one's word that it started may be on its way still.
    let seen = std::cell::RefCell::new(Vec::new());
    let wanted = [
        "Normal web SuccessfulCreate",
        "Normal data-web-1 ProvisioningSucceeded",
        "Normal web-1 Scheduled",
        "Normal web-1 Pulled",
        "Normal web-1 Created",
        "Normal web-1 Started",
    ];
    // They are written beside the work, and come in any order.
    events.until("all that upstream says", |line| {
        let mut seen = seen.borrow_mut();
        seen.push(line.to_owned());
        wanted.iter().all(|wanted| seen.iter().any(|line| line == wanted))
    });
    let seen = seen.into_inner();
    let warnings: Vec<&String> = seen.iter().filter(|line| !line.starts_with("Normal ")).collect();
    assert_eq!(warnings, [""; 0]);
    drop(events);
    cluster.remove();
}
