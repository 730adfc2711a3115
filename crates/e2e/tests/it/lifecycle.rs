//! A pod's life: init containers, sidecars, hooks, grace periods, restart policies, ends of all kinds, deadlines.

use crate::harness::cluster::LIMIT;
use crate::harness::{Cluster, host};
use crate::helm::rows;
use std::time::Duration;

/// A pod of one busybox container that runs a shell line; `more` goes into its spec, `container` into the container.
pub fn pod(name: &str, line: &str, more: &str, container: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  {more}
  containers:
  - name: main
    image: busybox:1
    command: [sh, -c, '{line}']
    {container}
---
"
    )
}

/// The STATUS column.
fn status(cluster: &Cluster, pod: &str) -> String {
    rows(&cluster.kubectl(&format!("get pod {pod} --no-headers")))[0][2].clone()
}

#[test]
fn ends_of_all_kinds() {
    let Some(cluster) = Cluster::with_images("ends_of_all_kinds", &[]) else {
        return;
    };
    cluster.apply(
        &[
            pod(
                "good",
                "echo done > /dev/termination-log",
                "restartPolicy: Never",
                "",
            ),
            pod(
                "bad",
                "echo reason; exit 3",
                "restartPolicy: Never",
                "terminationMessagePolicy: FallbackToLogsOnError",
            ),
            pod("killed", "kill -9 $$", "restartPolicy: Never", ""),
            pod(
                "memory",
                "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done",
                "restartPolicy: Never",
                "resources: {limits: {memory: 16Mi}}",
            ),
        ]
        .concat(),
    );
    cluster.wait("pod/good", "jsonpath={.status.phase}=Succeeded");
    for name in ["bad", "killed", "memory"] {
        cluster.wait(&format!("pod/{name}"), "jsonpath={.status.phase}=Failed");
    }
    assert_eq!(status(&cluster, "good"), "Completed");
    assert_eq!(status(&cluster, "bad"), "Error");
    assert_eq!(status(&cluster, "memory"), "OOMKilled");
    let ended = |pod: &str, field: &str| {
        cluster.jsonpath(
            &format!("pod/{pod}"),
            &format!("{{.status.containerStatuses[0].state.terminated.{field}}}"),
        )
    };
    assert_eq!(ended("good", "message").trim(), "done");
    assert_eq!(ended("bad", "message").trim(), "reason");
    assert_eq!(ended("bad", "exitCode"), "3");
    assert_eq!(ended("memory", "reason"), "OOMKilled");
    let ready = rows(&cluster.kubectl("get pod good --no-headers"))[0][1].clone();
    assert_eq!(ready, "0/1");
    cluster.remove();
}

/// Whatever keeps a pod from starting, its time runs.
#[test]
fn a_deadline_holds_while_a_pod_starts() {
    let Some(cluster) = Cluster::with_images("a_deadline_holds_while_a_pod_starts", &[]) else {
        return;
    };
    let late = "restartPolicy: Never\n  activeDeadlineSeconds: 1";
    let waits = format!("{late}\n  volumes: [{{name: c, configMap: {{name: never}}}}]");
    let mount = "volumeMounts: [{name: c, mountPath: /c}]";
    cluster.apply(
        &[
            pod("volume", "true", &waits, mount),
            pod("image", "true", late, "").replace("busybox:1", "nowhere:1"),
            pod("runs", "sleep 3600", late, ""),
        ]
        .concat(),
    );
    for name in ["volume", "image", "runs"] {
        cluster.wait(&format!("pod/{name}"), "jsonpath={.status.phase}=Failed");
        let said = cluster.jsonpath(&format!("pod/{name}"), "{.status.reason}: {.status.message}");
        assert_eq!(
            said, "DeadlineExceeded: Pod was active on the node longer than the specified deadline",
            "{name}"
        );
    }
    cluster.remove();
}

/// What a pod takes of the machine goes with its end; what it said stays, whatever happens to the server.
#[test]
fn a_completed_pod_leaves_its_words_only() {
    let Some(cluster) = Cluster::with_images("a_completed_pod_leaves_its_words_only", &[]) else {
        return;
    };
    let line = "echo said; echo last > /dev/termination-log; exit 4";
    let more = "restartPolicy: Never\n  volumes: [{name: m, emptyDir: {medium: Memory}}]";
    cluster.apply(&pod(
        "over",
        line,
        more,
        "volumeMounts: [{name: m, mountPath: /m}]",
    ));
    cluster.wait("pod/over", "jsonpath={.status.phase}=Failed");
    let uid = cluster.jsonpath("pod/over", "{.metadata.uid}");
    let processes = || {
        let all = cluster.traces().processes.into_iter();
        all.filter(|process| process.command.contains(&uid))
            .collect::<Vec<_>>()
    };
    for shim in processes() {
        assert!(
            host::wait_for_end(shim.pid, Duration::from_secs(10)),
            "{shim:?} lives on"
        );
    }
    host::wait_unmounted(&uid);
    let status = || {
        let value = cluster.get("pod over");
        (
            value["status"].clone(),
            value["metadata"]["resourceVersion"].clone(),
        )
    };
    let before = status();
    let ended = &before.0["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(ended["exitCode"], 4);
    assert_eq!(ended["message"], "last\n");
    assert_eq!(cluster.kubectl("logs over"), "said\n");
    let mut restarts: Vec<Box<dyn Fn()>> = vec![Box::new(|| host::kill(&cluster.server()))];
    restarts.push(Box::new(|| drop(cluster.isopod("down"))));
    for restart in restarts {
        restart();
        cluster.up().ok();
        assert_eq!(cluster.kubectl("logs over"), "said\n");
        assert_eq!(before, status(), "a restart changes the pod");
        assert_eq!(processes(), [], "something of the pod runs again");
    }
    cluster.kubectl("delete pod over");
    // The API forgets a pod that is over at once; the node has done so when it is switched off.
    cluster.isopod("down");
    assert!(!cluster.dir().join("pods").join(&uid).exists());
    cluster.remove();
}

#[test]
fn restarts_by_policy_and_their_back_off() {
    let Some(cluster) = Cluster::with_images("restarts_by_policy_and_their_back_off", &[]) else {
        return;
    };
    cluster.apply(
        &[
            pod("crash", "echo I am $HOSTNAME; exit 1", "", ""),
            pod(
                "again",
                "test -e /work/once && exit 0; touch /work/once; exit 1",
                "restartPolicy: OnFailure\n  volumes: [{name: w, emptyDir: {}}]",
                "volumeMounts: [{name: w, mountPath: /work}]",
            ),
            pod(
                "once",
                "test -e /work/once && sleep 100; touch /work/once; exit 0",
                "volumes: [{name: w, emptyDir: {}}]",
                "volumeMounts: [{name: w, mountPath: /work}]",
            ),
        ]
        .concat(),
    );
    cluster.wait("pod/again", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(
        cluster.jsonpath("pod/again", "{.status.containerStatuses[0].restartCount}"),
        "1"
    );
    cluster.wait(
        "pod/once",
        "jsonpath={.status.containerStatuses[0].restartCount}=1",
    );
    cluster.wait("pod/once", "condition=Ready");
    assert_eq!(status(&cluster, "once"), "Running");
    cluster.wait(
        "pod/crash",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
    );
    assert_eq!(status(&cluster, "crash"), "CrashLoopBackOff");
    let message = cluster.jsonpath(
        "pod/crash",
        "{.status.containerStatuses[0].state.waiting.message}",
    );
    assert!(
        message.contains("restarting failed container=main pod=crash_default("),
        "{message}"
    );
    cluster.wait(
        "pod/crash",
        "jsonpath={.status.containerStatuses[0].restartCount}=1",
    );
    let previous = cluster.kubectl("logs crash --previous");
    assert_eq!(previous.trim(), "I am crash");
    let mut events = cluster.watch("get events --field-selector=involvedObject.name=crash -w --no-headers");
    let line = events.until("the back-off's event", |line| line.contains("BackOff"));
    assert!(
        line.contains("Back-off restarting failed container main in pod crash"),
        "{line}"
    );
    drop(events);
    cluster.remove();
}

#[test]
fn init_containers_and_sidecars() {
    let Some(cluster) = Cluster::with_images("init_containers_and_sidecars", &[]) else {
        return;
    };
    let volume = "volumeMounts: [{name: w, mountPath: /work}]";
    let gate = "command: [sh, -c, 'until test -e /work/go; do sleep 0.1; done; echo one >> /work/order']";
    let more = format!(
        "restartPolicy: Never
  volumes: [{{name: w, emptyDir: {{}}}}]
  initContainers:
  - {{name: gate, image: 'busybox:1', {gate}, {volume}}}
  - {{name: helper, image: 'busybox:1', restartPolicy: Always, {volume}, startupProbe: {{exec: {{command: [test, -e, /work/up]}}, periodSeconds: 1}},
      command: [sh, -c, 'echo two >> /work/order; touch /work/up; trap \"echo four >> /work/order; exit 0\" TERM; while true; do sleep 0.1; done']}}
  - {{name: last, image: 'busybox:1', command: [sh, -c, 'echo three >> /work/order'], {volume}}}"
    );
    cluster.apply(&pod("steps", "cat /work/order; sleep 1", &more, volume));
    cluster.wait(
        "pod/steps",
        "jsonpath={.status.initContainerStatuses[0].state.running.startedAt}",
    );
    assert_eq!(status(&cluster, "steps"), "Init:0/3");
    let initialized = cluster.jsonpath(
        "pod/steps",
        "{.status.conditions[?(@.type==\"Initialized\")].status}",
    );
    assert_eq!(initialized, "False");
    cluster.kubectl("exec steps -c gate -- touch /work/go");
    cluster.wait("pod/steps", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(cluster.kubectl("logs steps"), "one\ntwo\nthree\n");
    assert_eq!(status(&cluster, "steps"), "Completed");
    cluster.apply(&pod(
        "stuck",
        "true",
        "restartPolicy: Never\n  initContainers: [{name: fails, image: 'busybox:1', command: ['false']}]",
        "",
    ));
    cluster.wait("pod/stuck", "jsonpath={.status.phase}=Failed");
    assert_eq!(status(&cluster, "stuck"), "Init:Error");
    cluster.apply(&pod(
        "loop",
        "true",
        "initContainers: [{name: fails, image: 'busybox:1', command: ['false']}]",
        "",
    ));
    cluster.wait(
        "pod/loop",
        "jsonpath={.status.initContainerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
    );
    assert_eq!(status(&cluster, "loop"), "Init:CrashLoopBackOff");
    cluster.remove();
}

#[test]
fn hooks_and_grace() {
    let Some(cluster) = Cluster::with_images("hooks_and_grace", &[]) else {
        return;
    };
    let claim = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: w}, \
                 spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}\n---\n";
    let mount = "volumeMounts: [{name: w, mountPath: /work}]";
    let more = "volumes: [{name: w, persistentVolumeClaim: {claimName: w}}]";
    let hooks = format!(
        "{mount}
    lifecycle:
      postStart: {{exec: {{command: [sh, -c, 'echo started >> /work/said']}}}}
      preStop: {{exec: {{command: [sh, -c, 'echo stopping >> /work/said']}}}}"
    );
    let line = "trap \"echo ended >> /work/said; exit 0\" TERM; while true; do sleep 0.1; done";
    let stubborn = pod(
        "stubborn",
        "trap \"\" TERM; while true; do sleep 0.1; done",
        "",
        "",
    );
    let refused = pod(
        "refused",
        "sleep 100",
        "restartPolicy: Never",
        "lifecycle: {postStart: {exec: {command: ['false']}}}",
    );
    let polite = pod("polite", line, more, &hooks).replace("GracePeriodSeconds: 1", "GracePeriodSeconds: 20");
    cluster.apply(&format!("{claim}{polite}{stubborn}{refused}"));
    cluster.wait("pod/polite", "condition=Ready");
    cluster.wait("pod/stubborn", "condition=Ready");
    cluster.kubectl("delete pod polite");
    cluster.apply(&pod(
        "reader",
        "cat /work/said",
        &format!("restartPolicy: Never\n  {more}"),
        mount,
    ));
    cluster.wait("pod/reader", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(cluster.kubectl("logs reader"), "started\nstopping\nended\n");
    let mut watch = cluster.watch("get pod stubborn -w --no-headers");
    cluster.kubectl("delete pod stubborn --wait=false");
    watch.until("the end's begin", |line| line.contains("Terminating"));
    drop(watch);
    // It does not listen, and is killed after its second.
    cluster.kubectl(&format!("wait --for=delete pod/stubborn {LIMIT}"));
    cluster.wait("pod/refused", "jsonpath={.status.phase}=Failed");
    let mut events = cluster.watch("get events --field-selector=involvedObject.name=refused -w --no-headers");
    events.until_contains("FailedPostStartHook");
    drop(events);
    // Without a grace there is nothing to wait for.
    cluster.apply(
        &pod("now", "trap \"\" TERM; while true; do sleep 0.1; done", "", "")
            .replace("Seconds: 1", "Seconds: 3600"),
    );
    cluster.wait("pod/now", "condition=Ready");
    cluster.kubectl("delete pod now --grace-period=0 --force");
    cluster.kubectl(&format!("wait --for=delete pod/now {LIMIT}"));
    cluster.remove();
}

#[test]
fn limits_and_identity_are_enforced() {
    let Some(cluster) = Cluster::with_images("limits_and_identity_are_enforced", &[]) else {
        return;
    };
    let security = "securityContext: {runAsUser: 1234, runAsGroup: 2345, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    resources: {limits: {cpu: 100m, memory: 32Mi}}";
    let line = "id -u; id -g; id -G; touch /no 2>&1; grep -E \"CapEff|NoNewPrivs|Seccomp:\" /proc/self/status; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ls -ldn /data; true";
    let more = "restartPolicy: Never\n  securityContext: {fsGroup: 3456, supplementalGroups: [4567]}\n  volumes: [{name: d, emptyDir: {}}]";
    cluster.apply(&pod(
        "who",
        line,
        more,
        &format!("{security}\n    volumeMounts: [{{name: d, mountPath: /data}}]"),
    ));
    cluster.apply(&pod(
        "root",
        "true",
        "restartPolicy: Never\n  securityContext: {runAsNonRoot: true}",
        "",
    ));
    cluster.wait("pod/who", "jsonpath={.status.phase}=Succeeded");
    let said = cluster.kubectl("logs who");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["1234", "2345"], "{said}");
    for group in ["2345", "3456", "4567"] {
        assert!(lines[2].split(' ').any(|g| g == group), "{said}");
    }
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains("CapEff:\t0000000000000000"), "{said}");
    assert!(
        said.contains("NoNewPrivs:\t1") && said.contains("Seccomp:\t2"),
        "{said}"
    );
    assert!(said.contains(&(32 << 20).to_string()), "{said}");
    let folder = lines.last().expect("a line");
    assert!(folder.split_whitespace().nth(3) == Some("3456"), "{said}");
    cluster.wait(
        "pod/root",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError",
    );
    let message = cluster.jsonpath("pod/root", "{.status.containerStatuses[0].state.waiting.message}");
    assert!(
        message.contains("container has runAsNonRoot and image will run as root"),
        "{message}"
    );
    assert_eq!(status(&cluster, "root"), "CreateContainerConfigError");
    cluster.remove();
}
