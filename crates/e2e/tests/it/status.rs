//! What a pod's STATUS says while it cannot run, in the words that users search for.

use crate::harness::Cluster;
use crate::harness::cluster::LIMIT;
use crate::helm::rows;
use crate::lifecycle::pod;

#[test]
fn images_that_are_not_there() {
    let Some(cluster) = Cluster::with_images("images_that_are_not_there", &[]) else {
        return;
    };
    let with = |name: &str, image: &str, policy: &str| {
        pod(name, "true", "", &format!("imagePullPolicy: {policy}")).replace("busybox:1", image)
    };
    cluster.apply(
        &[
            with("never", "none:1", "Never"),
            with("absent", "127.0.0.1:1/none:1", "IfNotPresent"),
            with("invalid", "Not/A/Name:1", "IfNotPresent"),
        ]
        .concat(),
    );
    for (name, reason) in [
        ("never", "ErrImageNeverPull"),
        ("absent", "ImagePullBackOff"),
        ("invalid", "InvalidImageName"),
    ] {
        cluster.wait(
            &format!("pod/{name}"),
            &format!("jsonpath={{.status.containerStatuses[0].state.waiting.reason}}={reason}"),
        );
        let table = rows(&cluster.kubectl(&format!("get pod {name} --no-headers")));
        assert_eq!(table[0][1..3], ["0/1", reason]);
    }
    let waiting = |name: &str| {
        let path = "{.status.containerStatuses[0].state.waiting.message}";
        cluster.jsonpath(&format!("pod/{name}"), path)
    };
    assert_eq!(
        waiting("never"),
        "Container image \"none:1\" is not present with pull policy of Never"
    );
    assert!(waiting("absent").starts_with(
        "Back-off pulling image \"127.0.0.1:1/none:1\": ErrImagePull: failed to pull and unpack image \"127.0.0.1:1/none:1\""
    ));
    assert!(waiting("invalid").starts_with(
        "Failed to apply default image tag \"Not/A/Name:1\": couldn't parse image name \"Not/A/Name:1\": invalid reference format"
    ));
    let mut events = cluster.watch("get events --field-selector=involvedObject.name=absent -w --no-headers");
    for text in [
        "Pulling image \"127.0.0.1:1/none:1\"",
        "Failed to pull image \"127.0.0.1:1/none:1\"",
        "Back-off pulling image \"127.0.0.1:1/none:1\"",
        "Error: ImagePullBackOff",
    ] {
        if !events.seen.iter().any(|line| line.contains(text)) {
            events.until_contains(text);
        }
    }
    drop(events);
    // The image comes later, and the pod goes on by itself.
    cluster.build_busybox("none:1");
    cluster.kubectl("delete pod never");
    cluster.apply(&with("never", "none:1", "Never").replace("true", "sleep 100"));
    cluster.wait("pod/never", "condition=Ready");
    cluster.remove();
}

#[test]
// LONG: one table of cases, which reads best in one piece.
fn what_a_pod_waits_for() {
    let Some(cluster) = Cluster::with_images("what_a_pod_waits_for", &[]) else {
        return;
    };
    let env = "env: [{name: A, valueFrom: {configMapKeyRef: {name: later, key: k}}}]";
    cluster.apply(
        &[
            pod("env", "sleep 100", "", env),
            pod(
                "volume",
                "sleep 100",
                "volumes: [{name: c, configMap: {name: later}}]",
                "volumeMounts: [{name: c, mountPath: /c}]",
            ),
            pod(
                "claim",
                "sleep 100",
                "volumes: [{name: c, persistentVolumeClaim: {claimName: later}}]",
                "",
            ),
            pod("node", "sleep 100", "nodeSelector: {disk: none}", ""),
            pod("big", "sleep 100", "", "resources: {requests: {memory: 100Ti}}"),
            pod("command", "x", "", "").replace("command: [sh, -c, 'x']", "command: [/no/such/program]"),
        ]
        .concat(),
    );
    let reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    cluster.wait("pod/env", &format!("{reason}=CreateContainerConfigError"));
    let message = cluster.jsonpath("pod/env", "{.status.containerStatuses[0].state.waiting.message}");
    assert_eq!(message, "configmap \"later\" not found");
    cluster.wait("pod/volume", &format!("{reason}=ContainerCreating"));
    let mut events = cluster.watch("get events --field-selector=involvedObject.name=volume -w --no-headers");
    let line = events.until("the mount's event", |line| line.contains("FailedMount"));
    assert!(line.contains("configmap \"later\" not found"), "{line}");
    drop(events);
    for name in ["claim", "node", "big"] {
        cluster.wait(
            &format!("pod/{name}"),
            "jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].reason}=Unschedulable",
        );
        assert_eq!(
            rows(&cluster.kubectl(&format!("get pod {name} --no-headers")))[0][2],
            "Pending"
        );
    }
    let why = |pod: &str| {
        cluster.jsonpath(
            &format!("pod/{pod}"),
            "{.status.conditions[?(@.type==\"PodScheduled\")].message}",
        )
    };
    assert!(
        why("claim").contains("persistentvolumeclaim \"later\" not found"),
        "{}",
        why("claim")
    );
    assert!(
        why("node").contains("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector"),
        "{}",
        why("node")
    );
    assert!(why("big").contains("1 Insufficient memory"), "{}", why("big"));
    cluster.wait(
        "pod/command",
        "jsonpath={.status.containerStatuses[0].lastState.terminated.reason}=StartError",
    );
    cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: later}, data: {k: v}}");
    cluster.apply("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: later}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}");
    cluster.kubectl("label node --all disk=none");
    for name in ["env", "volume", "claim", "node"] {
        cluster.kubectl(&format!("wait pod/{name} --for=condition=Ready {LIMIT}"));
    }
    cluster.remove();
}
