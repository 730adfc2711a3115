//! Where a container's environment and arguments come from.

use crate::harness::Cluster;

#[test]
fn environment_from_everywhere() {
    let Some(cluster) = Cluster::with_images("environment_from_everywhere", &[]) else {
        return;
    };
    cluster.apply(
        "
{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {one: from-map, UPPER: x}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {two: from-secret}}
---
apiVersion: v1
kind: Pod
metadata: {name: env, labels: {color: blue}, annotations: {note: 'a b'}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox:1
    workingDir: /tmp
    command: [sh, -c]
    args: ['pwd; env; echo args $0 $1', '$(PLAIN)', '$(NOT_SET)-$$(PLAIN)']
    resources: {limits: {memory: 64Mi, cpu: 500m}, requests: {memory: 32Mi}}
    envFrom:
    - {configMapRef: {name: c}, prefix: MAP_}
    - {secretRef: {name: none, optional: true}}
    env:
    - {name: PLAIN, value: plain}
    - {name: COMPOSED, value: '$(PLAIN)+$(MAP_one)'}
    - {name: KEY, valueFrom: {configMapKeyRef: {name: c, key: one}}}
    - {name: OPTIONAL, valueFrom: {configMapKeyRef: {name: c, key: none, optional: true}}}
    - {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: two}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: COLOR, valueFrom: {fieldRef: {fieldPath: 'metadata.labels[''color'']'}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: SA, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
",
    );
    cluster.wait("pod/env", "jsonpath={.status.phase}=Succeeded");
    let said = cluster.kubectl("logs env");
    let ip = cluster.jsonpath("pod/env", "{.status.podIP}");
    let node = cluster.jsonpath("pod/env", "{.spec.nodeName}");
    for line in [
        "/tmp",
        "MAP_one=from-map",
        "MAP_UPPER=x",
        "PLAIN=plain",
        "COMPOSED=plain+from-map",
        "KEY=from-map",
        "SECRET=from-secret",
        "POD=env",
        "NS=default",
        "COLOR=blue",
        &format!("NODE={node}"),
        &format!("IP={ip}"),
        "SA=default",
        "MEMORY=64",
        "CPU=500",
        "HOSTNAME=env",
        "KUBERNETES_SERVICE_PORT=443",
        "args plain $(NOT_SET)-$(PLAIN)",
    ] {
        assert!(said.lines().any(|l| l == line), "no {line:?} in:\n{said}");
    }
    assert!(!said.contains("OPTIONAL="), "{said}");
    cluster.remove();
}

/// What an init container wrote is in the environment of those after it.
#[test]
fn environment_from_files() {
    let Some(cluster) = Cluster::with_images("environment_from_files", &[]) else {
        return;
    };
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: env}
spec:
  restartPolicy: Never
  volumes: [{name: v, emptyDir: {}}]
  initContainers:
  - name: writes
    image: busybox:1
    command: [sh, -c]
    args:
    - |
      echo \"FROM='a file' # of the container before\" > /v/vars
    volumeMounts: [{name: v, mountPath: /v}]
  containers:
  - name: main
    image: busybox:1
    command: [env]
    env:
    - {name: FILE, valueFrom: {fileKeyRef: {volumeName: v, path: vars, key: FROM}}}
    - {name: OPTIONAL, valueFrom: {fileKeyRef: {volumeName: v, path: vars, key: none, optional: true}}}
    - {name: COMPOSED, value: '$(FILE)!'}
",
    );
    cluster.wait("pod/env", "jsonpath={.status.phase}=Succeeded");
    let said = cluster.kubectl("logs env");
    for line in ["FILE=a file", "COMPOSED=a file!"] {
        assert!(said.lines().any(|l| l == line), "no {line:?} in:\n{said}");
    }
    assert!(!said.contains("OPTIONAL"), "{said}");
    // A file that nobody wrote.
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: none}, spec: {volumes: [{name: v, emptyDir: {}}], containers: [{name: main,
          image: 'busybox:1', env: [{name: F, valueFrom: {fileKeyRef: {volumeName: v, path: none, key: k}}}]}]}}",
    );
    cluster.wait(
        "pod/none",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError",
    );
    let message = "{.status.containerStatuses[0].state.waiting.message}";
    assert_eq!(cluster.jsonpath("pod/none", message), "couldn't parse env file");
    cluster.remove();
}
