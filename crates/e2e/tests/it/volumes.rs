//! Volumes of every kind: what is in them, who may write, what is shared, what stays.

use crate::harness::cluster::LIMIT;
use crate::harness::command::prepare;
use crate::harness::{Cluster, host};
use crate::helm::rows;
use crate::lifecycle::pod;
use std::path::Path;

#[test]
// LONG: one table of cases, which reads best in one piece.
fn every_kind_of_volume() {
    let Some(cluster) = Cluster::with_images("every_kind_of_volume", &[]) else {
        return;
    };
    let host = cluster.home.path().join("on-the-host");
    std::fs::create_dir(&host).expect("a folder");
    std::fs::write(host.join("file"), "host\n").expect("written");
    let manifest = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: in-a, b: in-b}, binaryData: {bin: AAEC}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: pw}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: v, labels: {color: blue}}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: c, configMap: {name: c, defaultMode: 256, items: [{key: a, path: deep/er/a}, {key: bin, path: bin, mode: 292}]}}
  - {name: s, secret: {secretName: s}}
  - {name: e, emptyDir: {}}
  - {name: m, emptyDir: {medium: Memory, sizeLimit: 2Mi}}
  - {name: d, persistentVolumeClaim: {claimName: d}}
  - {name: h, hostPath: {path: HOST, type: Directory}}
  - {name: w, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - name: p
    projected:
      sources:
      - {configMap: {name: c, items: [{key: b, path: b}]}}
      - {secret: {name: s}}
      - {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
      - {serviceAccountToken: {path: token, audience: me, expirationSeconds: 600}}
  containers:
  - name: main
    image: busybox:1
    command: [sh, -c, 'trap \"exit 0\" TERM; while true; do sleep 0.1; done']
    volumeMounts:
    - {name: c, mountPath: /c}
    - {name: s, mountPath: /s, readOnly: true}
    - {name: e, mountPath: /e}
    - {name: m, mountPath: /m}
    - {name: d, mountPath: /d}
    - {name: d, mountPath: /sub, subPath: below}
    - {name: h, mountPath: /h, readOnly: true}
    - {name: w, mountPath: /w}
    - {name: p, mountPath: /p}
    - {name: p, mountPath: /etc/one, subPath: b}
    - {name: s, mountPath: /etc/two, subPath: password}
    - {name: w, mountPath: /etc/three, subPath: labels}
    - {name: c, mountPath: /etc/deeper, subPath: deep/er}
  - {name: other, image: 'busybox:1', command: [sleep, '3600'], volumeMounts: [{name: e, mountPath: /shared}]}
";
    cluster.apply(&manifest.replace("HOST", &host.display().to_string()));
    cluster.wait("pod/v", "condition=Ready");
    let sh = |line: &str| cluster.kubectl(&format!("exec v -c main -- sh -c '{line} 2>&1 || true'"));
    assert_eq!(sh("cat /c/deep/er/a"), "in-a");
    assert_eq!(sh("stat -L -c %a /c/deep/er/a /c/bin"), "400\n444\n");
    assert_eq!(sh("od -An -tx1 /c/bin").trim(), "00 01 02");
    assert_eq!(sh("cat /s/password"), "pw");
    assert!(
        sh("touch /s/x").contains("Read-only"),
        "a Secret is not to be written"
    );
    sh("echo hello > /e/file");
    assert_eq!(cluster.kubectl("exec v -c other -- cat /shared/file"), "hello\n");
    assert!(sh("df -k /m | tail -1").contains(" 2048 "), "{}", sh("df -k /m"));
    sh("echo kept > /d/file; echo sub > /sub/file");
    assert_eq!(sh("cat /d/below/file"), "sub\n");
    assert_eq!(sh("cat /h/file"), "host\n");
    assert!(sh("touch /h/x").contains("Read-only"));
    assert_eq!(sh("cat /w/labels").trim(), "color=\"blue\"");
    assert_eq!(sh("cat /p/b /p/password /p/name"), "in-bpwv");
    assert_eq!(sh("cut -d. -f3 /p/token | wc -l").trim(), "1");
    // One key as a file; it stays as it was, and a container that starts later sees it anew.
    assert_eq!(sh("cat /etc/one /etc/two /etc/three"), "in-bpwcolor=\"blue\"");
    assert_eq!(sh("cat /etc/deeper/a; ls /etc/deeper"), "in-aa\n");
    // What changes in the API changes in the files; a token stays until it is due.
    let token = sh("md5sum /p/token");
    cluster.kubectl("patch cm c -p '{\"data\":{\"a\":\"new\",\"b\":\"new\"}}'");
    cluster.kubectl("label pod v color=red --overwrite");
    let changed = "for i in $(seq 600); do grep -q new /c/deep/er/a && grep -q new /p/b && grep -q red /w/labels && echo seen && break; sleep 0.1; done";
    assert_eq!(sh(changed).trim(), "seen");
    assert_eq!(sh("cat /etc/one /etc/three"), "in-bcolor=\"blue\"");
    assert_eq!(sh("md5sum /p/token"), token);
    cluster.kubectl("delete pod v");
    cluster.apply(&pod(
        "later",
        "cat /d/file; sleep 3600",
        "volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]",
        "volumeMounts: [{name: d, mountPath: /d}]",
    ));
    cluster.wait("pod/later", "condition=Ready");
    assert_eq!(cluster.kubectl("logs later"), "kept\n");
    assert_eq!(
        std::fs::read_to_string(host.join("file")).expect("the host's file"),
        "host\n"
    );
    cluster.remove();
}

#[test]
fn claims_and_volumes_as_users_see_them() {
    let Some(cluster) = Cluster::with_images("claims_and_volumes_as_users_see_them", &[]) else {
        return;
    };
    let table = rows(&cluster.kubectl("get sc"));
    assert_eq!(table[0][..2], ["NAME", "PROVISIONER"]);
    assert_eq!(table[1][..2], ["standard", "(default)"]);
    cluster.apply("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 3Mi}}}}");
    let mode = cluster.jsonpath("sc/standard", "{.volumeBindingMode}");
    if mode == "WaitForFirstConsumer" {
        assert_eq!(rows(&cluster.kubectl("get pvc d --no-headers"))[0][1], "Pending");
    }
    cluster.apply(&pod(
        "user",
        "sleep 3600",
        "volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]",
        "volumeMounts: [{name: d, mountPath: /d}]",
    ));
    cluster.wait("pod/user", "condition=Ready");
    cluster.wait("pvc/d", "jsonpath={.status.phase}=Bound");
    let table = rows(&cluster.kubectl("get pv"));
    assert_eq!(
        table[0],
        [
            "NAME",
            "CAPACITY",
            "ACCESS",
            "MODES",
            "RECLAIM",
            "POLICY",
            "STATUS",
            "CLAIM",
            "STORAGECLASS",
            "VOLUMEATTRIBUTESCLASS",
            "REASON",
            "AGE"
        ]
    );
    assert_eq!(
        table[1][1..7],
        ["3Mi", "RWO", "Delete", "Bound", "default/d", "standard"]
    );
    // A claim in use stays until nobody uses it; then its volume and folder go.
    let volume = table[1][0].clone();
    let path = cluster.jsonpath(&format!("pv/{volume}"), "{.spec.hostPath.path}{.spec.local.path}");
    assert!(std::path::Path::new(&path).is_dir(), "{path}");
    cluster.kubectl("delete pvc d --wait=false");
    assert_eq!(
        rows(&cluster.kubectl("get pvc d --no-headers"))[0][1],
        "Terminating"
    );
    cluster.kubectl("exec user -- touch /d/still-here");
    cluster.kubectl("delete pod user");
    cluster.kubectl(&format!("wait --for=delete pvc/d pv/{volume} {LIMIT}"));
    assert!(!std::path::Path::new(&path).exists(), "{path} is left");
    cluster.remove();
}

/// A claim for one MiB.
fn claim(name: &str, mode: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}}}, spec: {{accessModes: [{mode}], resources: {{requests: {{storage: 1Mi}}}}, {more}}}}}\n---\n"
    )
}

/// A pod with the claim at /d.
fn user(name: &str, claim: &str, more: &str) -> String {
    pod(
        name,
        "sleep 3600",
        &format!("volumes: [{{name: d, persistentVolumeClaim: {{claimName: {claim}}}}}]\n  {more}"),
        "volumeMounts: [{name: d, mountPath: /d}]",
    )
}

#[test]
fn a_class_that_waits_and_a_claim_for_one_pod() {
    let Some(cluster) = Cluster::with_images("a_class_that_waits_and_a_claim_for_one_pod", &[]) else {
        return;
    };
    cluster.apply(&format!(
        "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: later}}, provisioner: isopod.dev/folder, volumeBindingMode: WaitForFirstConsumer}}\n---\n{}",
        claim("late", "ReadWriteOncePod", "storageClassName: later"),
    ));
    let mut events = cluster.watch("get events -w --no-headers");
    events.until_contains("waiting for first consumer");
    drop(events);
    cluster.apply(&user("first", "late", ""));
    cluster.wait("pod/first", "condition=Ready");
    let volume = cluster.jsonpath("pvc/late", "{.spec.volumeName}");
    let path = cluster.jsonpath(&format!("pv/{volume}"), "{.spec.hostPath.path}");
    let own = cluster.dir().display().to_string();
    assert!(path.starts_with(&own), "{path} is not the cluster's");
    // Nobody else may have it meanwhile.
    cluster.apply(&user("second", "late", ""));
    let scheduled = "{.status.conditions[?(@.type==\"PodScheduled\")]";
    cluster.wait(
        "pod/second",
        &format!("jsonpath={scheduled}.reason}}=Unschedulable"),
    );
    let why = cluster.jsonpath("pod/second", &format!("{scheduled}.message}}"));
    assert!(
        why.contains("ReadWriteOncePod access mode already in-use by another pod"),
        "{why}"
    );
    cluster.kubectl("delete pod first");
    cluster.wait("pod/second", "condition=Ready");
    cluster.kubectl("delete pod second");
    cluster.kubectl(&format!("delete pvc late {LIMIT}"));
    cluster.kubectl(&format!("wait --for=delete pv/{volume} {LIMIT}"));
    assert!(!Path::new(&path).exists(), "{path} is left");
    cluster.remove();
}

/// The volume comes after the claim that names it, and its folder with the first pod; the files stay the host's.
#[test]
fn a_volume_made_by_hand() {
    let Some(cluster) = Cluster::with_images("a_volume_made_by_hand", &[]) else {
        return;
    };
    let made = cluster.home.path().join("made/by/hand");
    cluster.apply(&claim(
        "named",
        "ReadWriteOnce",
        "storageClassName: '', volumeName: by-hand",
    ));
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: by-hand}}, spec: {{accessModes: [ReadWriteOnce], capacity: {{storage: 1Mi}}, hostPath: {{path: {}}}}}}}",
        made.display()
    ));
    cluster.wait("pvc/named", "jsonpath={.status.phase}=Bound");
    cluster.apply(&user("user", "named", "securityContext: {fsGroup: 4321}"));
    cluster.wait("pod/user", "condition=Ready");
    cluster.kubectl("exec user -- touch /d/file");
    assert!(made.join("file").is_file());
    let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(&made).expect("there"));
    assert_eq!(group, 0, "it was the host's before");
    cluster.remove();
}

#[test]
fn a_claim_grows_and_never_shrinks() {
    let Some(cluster) = Cluster::start("a_claim_grows_and_never_shrinks", &[]) else {
        return;
    };
    cluster.apply(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: rigid}, provisioner: isopod.dev/folder}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: r}, spec: {storageClassName: rigid, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    );
    cluster.wait("pvc/d pvc/r", "jsonpath={.status.phase}=Bound");
    let patch = |claim: &str, size: &str| {
        format!(
            "patch pvc {claim} -p '{{\"spec\":{{\"resources\":{{\"requests\":{{\"storage\":\"{size}\"}}}}}}}}'"
        )
    };
    cluster.kubectl(&patch("d", "2Gi"));
    cluster.wait("pvc/d", "jsonpath={.status.capacity.storage}=2Gi");
    let volume = cluster.jsonpath("pvc/d", "{.spec.volumeName}");
    assert_eq!(
        cluster.jsonpath(&format!("pv/{volume}"), "{.spec.capacity.storage}"),
        "2Gi"
    );
    let shrunk = cluster.kubectl_fails(&patch("d", "1Gi"));
    assert!(
        shrunk.contains(
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
        ),
        "{shrunk}"
    );
    let rigid = cluster.kubectl_fails(&patch("r", "2Gi"));
    assert!(
        rigid.contains("persistentvolumeclaims \"r\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"),
        "{rigid}"
    );
    let mut events = cluster.watch("get events -w --no-headers");
    events.until_contains("VolumeResizeSuccessful");
    drop(events);
    cluster.remove();
}

/// What is secret lies in memory for as long as its pod is there, and nowhere else.
#[test]
fn secrets_do_not_reach_the_disk() {
    let Some(cluster) = Cluster::with_images("secrets_do_not_reach_the_disk", &[]) else {
        return;
    };
    cluster.apply("{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: hidden-word}}");
    let more = "volumes: [{name: s, secret: {secretName: s}}, {name: m, emptyDir: {medium: Memory}}]";
    let mounts = "volumeMounts: [{name: s, mountPath: /s}, {name: m, mountPath: /m}]";
    let line = "echo from-memory > /m/file; trap \"exit 0\" TERM; while true; do sleep 0.1; done";
    cluster.apply(&pod("p", line, more, mounts));
    cluster.wait("pod/p", "condition=Ready");
    let uid = cluster.jsonpath("pod/p", "{.metadata.uid}");
    let in_memory = || {
        let folder = format!("pods/{uid}/volumes/");
        let mounts = cluster.traces().mounts.into_iter();
        let mut found: Vec<String> = mounts
            .filter(|line| line.starts_with("tmpfs "))
            .filter_map(|line| Some(line.split(' ').nth(1)?.split_once(&folder)?.1.to_owned()))
            .collect();
        found.sort();
        found
    };
    let read = || {
        cluster.kubectl(
            "exec p -- cat /s/password /m/file /var/run/secrets/kubernetes.io/serviceaccount/namespace",
        )
    };
    let before = in_memory();
    assert_eq!(before[0], "empty-dir/m");
    assert!(before[1].starts_with("projected/kube-api-access-"), "{before:?}");
    assert_eq!(before[2..], ["secret/s"]);
    assert_eq!(read(), "hidden-wordfrom-memory\ndefault");
    host::kill(&cluster.server());
    cluster.up().ok();
    assert_eq!(read(), "hidden-wordfrom-memory\ndefault");
    assert_eq!(before, in_memory());
    // Updates reach it after the restart as well.
    cluster.kubectl("patch secret s -p '{\"stringData\":{\"password\":\"other-word\"}}'");
    let changed =
        "for i in $(seq 600); do grep -q other-word /s/password && echo seen && break; sleep 0.1; done";
    assert_eq!(cluster.kubectl(&format!("exec p -- sh -c '{changed}'")), "seen\n");
    // Memory is empty when the machine was off; what comes from the API comes again.
    cluster.isopod("down");
    assert_eq!(in_memory(), [""; 0]);
    let folder = cluster.dir();
    let args = [
        "-rlE",
        "hidden-word|other-word",
        "--exclude-dir=store",
        &folder.display().to_string(),
    ]
    .map(str::to_owned);
    let files = prepare(Path::new("/bin/grep"), args).run();
    assert_eq!(files.stdout, "", "a Secret was written to the disk");
    cluster.up().ok();
    cluster.wait("pod/p", "jsonpath={.status.containerStatuses[0].restartCount}=1");
    cluster.wait("pod/p", "condition=Ready");
    assert_eq!(cluster.kubectl("exec p -- cat /s/password"), "other-word");
    assert_eq!(before, in_memory());
    cluster.kubectl("delete pod p");
    assert_eq!(in_memory(), [""; 0]);
    cluster.remove();
}
