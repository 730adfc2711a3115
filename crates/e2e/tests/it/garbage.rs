//! What goes when its owner goes: background, foreground, orphan; and a namespace with all that is in it.

use crate::harness::Cluster;
use crate::harness::cluster::LIMIT;
use crate::lifecycle::pod;

fn deployment(name: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{replicas: 2, selector: {{matchLabels: {{app: {name}}}}},
          template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 1,
            containers: [{{name: main, image: 'busybox:1', command: [sleep, '3600']}}]}}}}}}}}"
    )
}

#[test]
fn dependents_go_as_asked() {
    let Some(cluster) = Cluster::with_images("dependents_go_as_asked", &[]) else {
        return;
    };
    for policy in ["background", "foreground", "orphan"] {
        cluster.apply(&deployment(policy));
    }
    for policy in ["background", "foreground", "orphan"] {
        cluster.rollout(&format!("deploy/{policy}"));
    }
    let mut watch = cluster.watch("get deploy,po -l app=foreground -w -o name");
    cluster.kubectl("delete deploy foreground --cascade=foreground");
    // The owner is the last to go.
    let left = cluster.kubectl("get rs,po -l app=foreground --ignore-not-found");
    assert_eq!(left, "", "the owner went before its dependents");
    watch.finish();
    drop(watch);
    cluster.kubectl("delete deploy background --cascade=background");
    cluster.kubectl(&format!("wait --for=delete rs,po -l app=background {LIMIT}"));
    cluster.kubectl("delete deploy orphan --cascade=orphan");
    let sets = cluster.kubectl("get rs -l app=orphan -o 'jsonpath={.items[*].metadata.ownerReferences}'");
    assert_eq!(sets.trim(), "");
    assert_eq!(cluster.kubectl("get rs -l app=orphan -o name").lines().count(), 1);
    assert_eq!(cluster.kubectl("get po -l app=orphan -o name").lines().count(), 2);
    // Something whose owner is not there is garbage from the start.
    cluster.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: lost, ownerReferences:
          [{apiVersion: v1, kind: ConfigMap, name: none, uid: 00000000-0000-0000-0000-00000000dead}]}}",
    );
    cluster.kubectl(&format!("wait --for=delete cm/lost {LIMIT}"));
    cluster.remove();
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let Some(cluster) = Cluster::with_images("a_namespace_goes_with_all_that_is_in_it", &[]) else {
        return;
    };
    cluster.kubectl("create namespace team");
    let certificate = cluster.kubectl("get cm kube-root-ca.crt -n team -o 'jsonpath={.data.ca\\.crt}'");
    assert!(
        certificate.starts_with("-----BEGIN CERTIFICATE-----"),
        "{certificate}"
    );
    cluster.kubectl("get sa default -n team");
    let inside = |text: String| text.replace("metadata: {name: ", "metadata: {namespace: team, name: ");
    cluster.apply(&inside(deployment("app")));
    cluster.apply(&inside(pod("single", "sleep 3600", "", "")));
    cluster.kubectl("create cm held -n team --from-literal=a=b");
    cluster.kubectl("patch cm held -n team -p '{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}'");
    cluster.kubectl(&format!("rollout status deploy/app -n team {LIMIT}"));
    cluster.kubectl("delete namespace team --wait=false");
    let state = cluster.kubectl("get namespace team --no-headers");
    assert!(state.contains("Terminating"), "{state}");
    let refused = cluster.kubectl_fails("create cm late -n team");
    assert!(
        refused.contains(
            "is forbidden: unable to create new content in namespace team because it is being terminated"
        ),
        "{refused}"
    );
    let condition = |kind: &str| format!("{{.status.conditions[?(@.type==\"{kind}\")].message}}");
    cluster.wait(
        "namespace/team",
        &format!(
            "jsonpath={}=Some resources are remaining: configmaps. has 1 resource instances",
            condition("NamespaceContentRemaining")
        ),
    );
    let held = cluster.jsonpath("namespace/team", &condition("NamespaceFinalizersRemaining"));
    assert_eq!(
        held,
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    cluster.kubectl("patch cm held -n team --type=merge -p '{\"metadata\":{\"finalizers\":null}}'");
    cluster.kubectl(&format!("wait --for=delete namespace/team {LIMIT}"));
    let left = cluster.kubectl("get po,deploy,rs,cm,sa -n team --ignore-not-found");
    assert_eq!(left, "");
    cluster.remove();
}

/// Pods go first, and for as long as one is held nothing else goes; what is left says how it is and not how it was.
#[test]
fn workloads_of_a_namespace_that_is_held_say_that_their_pods_are_gone() {
    let Some(cluster) = Cluster::with_images(
        "workloads_of_a_namespace_that_is_held_say_that_their_pods_are_gone",
        &[],
    ) else {
        return;
    };
    cluster.kubectl("create namespace team");
    let inside = |text: String| text.replace("metadata: {name: ", "metadata: {namespace: team, name: ");
    cluster.apply(&inside(deployment("app")));
    let set = deployment("web")
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace("{replicas: 2", "{serviceName: web, replicas: 2");
    cluster.apply(&inside(set));
    cluster.apply(&inside(pod("held", "sleep 3600", "", "")));
    for workload in ["deploy/app", "sts/web"] {
        cluster.kubectl(&format!("rollout status {workload} -n team {LIMIT}"));
    }
    cluster.kubectl("patch pod held -n team -p '{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}'");
    cluster.kubectl("delete namespace team --wait=false");
    cluster.wait(
        "deploy/app -n team",
        "jsonpath={.status.conditions[?(@.type==\"Available\")].status}=False",
    );
    for workload in ["rs -l app=app", "sts/web"] {
        cluster.wait(&format!("{workload} -n team"), "jsonpath={.status.replicas}=0");
    }
    let failures =
        cluster.kubectl("get rs,deploy -n team -o 'jsonpath={.items[*].status.conditions[*].type}'");
    assert!(!failures.contains("ReplicaFailure"), "{failures}");
    cluster.kubectl("patch pod held -n team --type=merge -p '{\"metadata\":{\"finalizers\":null}}'");
    cluster.kubectl(&format!("wait --for=delete namespace/team {LIMIT}"));
    cluster.remove();
}
