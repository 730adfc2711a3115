//! Probes: by http, tcp, command and gRPC; what their failure does to READY and RESTARTS.

use crate::harness::Cluster;
use crate::lifecycle::pod;

#[test]
fn readiness_by_every_kind_of_probe() {
    let Some(cluster) = Cluster::with_images("readiness_by_every_kind_of_probe", &[]) else {
        return;
    };
    let server = "mkdir /tmp/w; echo hi > /tmp/w/index.html; httpd -p 8080 -h /tmp/w; sleep 3600";
    let probe = |probe: &str| {
        format!(
            "ports: [{{name: web, containerPort: 8080}}]\n    readinessProbe: {{{probe}, periodSeconds: 1, timeoutSeconds: 5}}"
        )
    };
    let good = [
        ("http", "httpGet: {path: /, port: web}"),
        ("tcp", "tcpSocket: {port: 8080}"),
        ("exec", "exec: {command: [test, -e, /tmp/w/index.html]}"),
    ];
    let bad = [
        ("http-404", "httpGet: {path: /none, port: 8080}"),
        ("tcp-closed", "tcpSocket: {port: 8081}"),
        ("exec-fails", "exec: {command: ['false']}"),
        ("grpc-none", "grpc: {port: 8080}"),
    ];
    for (name, how) in good.iter().chain(&bad) {
        cluster.apply(&pod(name, server, "", &probe(how)));
    }
    for (name, _) in good {
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    for (name, text) in [
        (
            "http-404",
            "Readiness probe failed: HTTP probe failed with statuscode: 404",
        ),
        ("tcp-closed", "connection refused"),
        ("exec-fails", "Readiness probe failed"),
        ("grpc-none", "Readiness probe failed"),
    ] {
        let mut events = cluster.watch(&format!(
            "get events --field-selector=involvedObject.name={name} -w --no-headers"
        ));
        // The first tries may come before the container listens at all.
        events.until(text, |line| line.contains("Unhealthy") && line.contains(text));
        let table = crate::helm::rows(&cluster.kubectl(&format!("get pod {name} --no-headers")));
        assert_eq!(table[0][1..4], ["0/1", "Running", "0"], "{name}");
    }
    cluster.remove();
}

#[test]
fn liveness_restarts_and_startup_protects() {
    let Some(cluster) = Cluster::with_images("liveness_restarts_and_startup_protects", &[]) else {
        return;
    };
    let volume = "volumes: [{name: w, emptyDir: {}}]";
    let mount = "volumeMounts: [{name: w, mountPath: /work}]";
    // Healthy on its second life only.
    let line = "test -e /work/second || touch /work/second; echo life >> /work/lives; sleep 3600";
    let liveness = format!(
        "{mount}\n    livenessProbe: {{exec: {{command: [sh, -c, 'test $(wc -l < /work/lives) -gt 1']}}, periodSeconds: 1, failureThreshold: 1}}"
    );
    cluster.apply(&pod("sick", line, volume, &liveness));
    let startup =
        "startupProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, failureThreshold: 60}
    livenessProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, failureThreshold: 1}";
    cluster.apply(&pod("slow", "sleep 3; touch /tmp/up; sleep 3600", "", startup));
    cluster.wait(
        "pod/sick",
        "jsonpath={.status.containerStatuses[0].restartCount}=1",
    );
    cluster.wait("pod/sick", "condition=Ready");
    let mut events = cluster.watch("get events --field-selector=involvedObject.name=sick -w --no-headers");
    let line = events.until("the kill's event", |line| line.contains("Killing"));
    assert!(
        line.contains("Container main failed liveness probe, will be restarted"),
        "{line}"
    );
    drop(events);
    cluster.wait("pod/slow", "condition=Ready");
    assert_eq!(
        cluster.jsonpath("pod/slow", "{.status.containerStatuses[0].restartCount}"),
        "0"
    );
    assert_eq!(
        cluster.jsonpath("pod/slow", "{.status.containerStatuses[0].started}"),
        "true"
    );
    cluster.remove();
}
