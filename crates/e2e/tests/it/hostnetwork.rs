//! Pods on the host's network: that is the cluster's own, where all others reach them and they reach all others; what they
//! listen on is found on the machine's loopback, and the machine's network is left alone.

use crate::harness::cluster::free_port;
use crate::harness::command::words;
use crate::harness::watch::Watch;
use crate::harness::{Cluster, Tool, host};
use crate::lifecycle::pod;
use crate::services::{get, try_get};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// The example app on the host's network, with a Service and a headless one before it.
fn visits(name: &str, port: u16, probe: &str) -> String {
    let service_port = free_port();
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  volumes: [{{name: data, emptyDir: {{}}}}]
  containers:
  - name: visits
    image: visits:1
    volumeMounts: [{{name: data, mountPath: /data}}]
    env: [{{name: POD_NAME, value: {name}}}, {{name: PORT, value: '{port}'}}]
    ports: [{{containerPort: {port}, name: http}}]
    readinessProbe: {{{probe}, periodSeconds: 1}}
    lifecycle: {{postStart: {{sleep: {{seconds: 0}}}}, preStop: {{httpGet: {{path: /healthz, port: http}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: LoadBalancer, selector: {{app: {name}}}, ports: [{{port: {service_port}, targetPort: http}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}-names}}
spec: {{clusterIP: None, selector: {{app: {name}}}}}
---
"
    )
}

/// A port is published a moment after its pod is ready.
fn eventually(address: &str) -> String {
    let until = Instant::now() + LIMIT;
    loop {
        match try_get(address, "/") {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < until, "{address}: {error}"),
        }
        // pause: nobody tells when a port of the host is published
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn answers(cluster: &Cluster, from: &str, address: &str) {
    let got = cluster.kubectl(&format!("exec {from} -- timeout 5 wget -qO- http://{address}/"));
    assert!(
        got.contains("web has seen") || got.contains("here"),
        "{from} to {address}: {got}"
    );
}

/// From pods, from each other, and from the machine.
fn all_ways(cluster: &Cluster, port: u16) {
    let node = cluster.jsonpath("node", "{.items[0].status.addresses[0].address}");
    let ip = cluster.jsonpath("svc/web", "{.spec.clusterIP}");
    let service_port = cluster.jsonpath("svc/web", "{.spec.ports[0].port}");
    let node_port = cluster.jsonpath("svc/web", "{.spec.ports[0].nodePort}");
    for from in ["client", "tools"] {
        for address in [
            format!("{node}:{port}"),
            format!("{ip}:{service_port}"),
            format!("web:{service_port}"),
            format!("web-names:{port}"),
            format!("{node}:{node_port}"),
            "inner".to_owned(),
        ] {
            answers(cluster, from, &address);
        }
    }
    // What they share is the node's loopback, with its node ports.
    for address in [format!("127.0.0.1:{port}"), format!("127.0.0.1:{node_port}")] {
        answers(cluster, "tools", &address);
        assert!(eventually(&address).contains("web has seen"), "{address}");
    }
    assert!(get(&cluster.load_balancer("web"), "/").contains("web has seen"));
    let lonely = cluster.kubectl_with(&format!(
        "exec client -- timeout 5 wget -qO- http://127.0.0.1:{port}/"
    ));
    lonely.run().fails();
}

#[test]
fn they_are_reached_and_reach_all_others() {
    let test = "they_are_reached_and_reach_all_others";
    let (before, Some(cluster)) = (
        crate::harness::tools::can_run(test, &[Tool::Ip, Tool::Nft]).then(host::network),
        Cluster::with_images(test, &[]),
    ) else {
        return;
    };
    let port = free_port();
    let serve = "mkdir /www; echo here > /www/index.html; httpd -f -p 8080 -h /www";
    cluster.apply(
        &[
            visits("web", port, "httpGet: {path: /healthz, port: http}"),
            pod(
                "tools",
                "sleep 3600",
                "hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet",
                "",
            ),
            pod(
                "plain",
                "sleep 3600",
                "hostNetwork: true\n  hostname: other",
                "",
            ),
            pod("client", serve, "", ""),
            "{apiVersion: v1, kind: Service, metadata: {name: inner}, spec: {selector: {app: client}, ports: [{port: 80, targetPort: 8080}]}}".to_owned(),
        ]
        .concat(),
    );
    for name in ["web", "tools", "plain", "client"] {
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    let node = cluster.jsonpath("node", "{.items[0].status.addresses[0].address}");
    for field in ["podIP", "hostIP", "podIPs[0].ip"] {
        assert_eq!(cluster.jsonpath("pod/web", &format!("{{.status.{field}}}")), node);
    }
    all_ways(&cluster, port);
    it_is_the_node(&cluster, &node);
    let slices = cluster.kubectl("get endpointslices -l kubernetes.io/service-name=web");
    assert!(slices.contains(&node), "{slices}");
    through_the_api(&cluster, port);
    if let Some(before) = &before {
        assert_eq!(before, &host::network(), "while pods run");
    }

    over_restarts(&cluster, port);
    cluster.kubectl("delete pod web");
    assert!(try_get(&format!("127.0.0.1:{port}"), "/").is_err());
    cluster.remove();
    if let Some(before) = before {
        assert_eq!(before, host::network(), "after `isopod rm`");
    }
}

/// Of the server, by `down` and `up`, and of the machine.
fn over_restarts(cluster: &Cluster, port: u16) {
    let running =
        || cluster.kubectl("get po -o 'jsonpath={.items[*].status.containerStatuses[*].containerID}'");
    let containers = running();
    host::kill(&cluster.server());
    cluster.up().ok();
    all_ways(cluster, port);
    assert_eq!(running(), containers, "a container was started anew");
    cluster.isopod("down");
    assert!(try_get(&format!("127.0.0.1:{port}"), "/").is_err());
    cluster.up().ok();
    for name in ["web", "tools", "client"] {
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    all_ways(cluster, port);
    // As a reboot: the server first, so that it does nothing about what comes.
    host::kill(&cluster.server());
    for process in cluster.traces().processes {
        host::kill(&process);
    }
    cluster.up().ok();
    for name in ["web", "tools", "client"] {
        let again = "jsonpath={.status.containerStatuses[0].restartCount}=2";
        cluster.wait(&format!("pod/{name}"), again);
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    all_ways(cluster, port);
}

/// Names and files are the node's, as are its links.
fn it_is_the_node(cluster: &Cluster, node: &str) {
    let name = cluster.jsonpath("node", "{.items[0].metadata.name}");
    for from in ["tools", "plain"] {
        let said = cluster.kubectl(&format!(
            "exec {from} -- sh -c 'hostname; cat /etc/hostname; echo $HOSTNAME'"
        ));
        assert_eq!(words(&said), [name.as_str(); 3], "{from}");
    }
    let hosts = cluster.kubectl("exec plain -- cat /etc/hosts");
    assert!(hosts.starts_with("# Kubernetes-managed hosts file (host network)."));
    assert!(hosts.contains(&format!("{node}\t{name}\n")), "{hosts}");
    let links = cluster.kubectl("exec tools -- sh -c 'ip -o address; ls /sys/class/net'");
    assert!(links.contains(&format!(" {node}/32 ")), "{links}");
    assert!(links.lines().any(|link| link.starts_with("pod")), "{links}");
    // `ClusterFirst`, which is what a pod gets that says nothing, is the machine's own there.
    let resolvers = cluster.kubectl("exec plain -- cat /etc/resolv.conf");
    assert!(!resolvers.contains("cluster.local"), "{resolvers}");
    let found = cluster.kubectl("exec tools -- nslookup web-names.default.svc.cluster.local");
    assert!(found.contains(node), "{found}");
}

fn through_the_api(cluster: &Cluster, port: u16) {
    let root = "/api/v1/namespaces/default";
    for path in [
        format!("pods/web:{port}"),
        "services/web:".to_owned() + &cluster.jsonpath("svc/web", "{.spec.ports[0].port}"),
        "pods/web".to_owned(),
    ] {
        let answer = cluster.kubectl(&format!("get --raw {root}/{path}/proxy/"));
        assert!(answer.contains("web has seen"), "{path}: {answer}");
    }
    let line = format!("port-forward pod/web :{port}");
    let mut forward = Watch::start(cluster.kubectl_with(&line).into_command(), &line);
    let line = forward.until("the port", |line| line.starts_with("Forwarding from 127.0.0.1"));
    assert!(get(&words(&line)[2], "/").contains("web has seen"));
    drop(forward);
    assert!(cluster.kubectl("logs web").contains("listening"));
}

/// Probes meet who listens on the node's address or on its loopback; a port that the machine has taken is said.
#[test]
fn their_ports_are_found_on_the_machine() {
    let test = "their_ports_are_found_on_the_machine";
    let Some(cluster) = Cluster::with_images(test, &[]) else {
        return;
    };
    let [local, node_only, taken] = [(); 3].map(|()| free_port());
    let held = std::net::TcpListener::bind(("127.0.0.1", taken)).expect("a port");
    let node = cluster.jsonpath("node", "{.items[0].status.addresses[0].address}");
    let serve = |at: &str| format!("mkdir /www; echo here > /www/index.html; httpd -f -p {at} -h /www");
    let ports = |port: u16, more: &str, probe: &str| {
        format!(
            "ports: [{{containerPort: {port}{more}}}]\n    readinessProbe: {{tcpSocket: {{port: {port}{probe}}}, periodSeconds: 1}}"
        )
    };
    let on_host = "hostNetwork: true";
    cluster.apply(
        &[
            pod(
                "local",
                &serve(&format!("127.0.0.1:{local}")),
                on_host,
                &ports(local, "", ", host: 127.0.0.1"),
            ),
            pod(
                "node-only",
                &serve(&format!("{node}:{node_only}")),
                on_host,
                &ports(node_only, "", ""),
            ),
            visits("late", taken, "tcpSocket: {port: http}"),
            pod(
                "wrong",
                "sleep 3600",
                "",
                "ports: [{containerPort: 80, hostPort: 80, hostIP: here}]",
            ),
        ]
        .concat(),
    );
    for name in ["local", "node-only", "late"] {
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    for port in [local, node_only] {
        assert_eq!(eventually(&format!("127.0.0.1:{port}")).trim(), "here");
    }
    let mut events = cluster.watch("get events -w");
    let mut wanted = vec![
        format!("port {taken}/tcp is taken on 127.0.0.1"),
        "hostPort 80/tcp has the hostIP \"here\", which is no IPv4 address".to_owned(),
    ];
    while !wanted.is_empty() {
        let line = events.until("an event", |line| wanted.iter().any(|text| line.contains(text)));
        wanted.retain(|text| !line.contains(text));
    }
    drop(events);
    // The same port on one node is one too many.
    cluster.apply(&visits("second", taken, "tcpSocket: {port: http}"));
    let mut events = cluster.watch("get events -w");
    events.until("no room", |line| {
        line.contains("pod/second") && line.contains("didn't have free ports")
    });
    drop(events);
    drop(held);
    assert!(eventually(&format!("127.0.0.1:{taken}")).contains("late has seen"));
    cluster.remove();
}

/// Some ports of the shared network are the cluster's own. Who waits for one until no server runs is named by the next.
#[test]
fn a_port_of_the_clusters_own_is_not_had_for_long() {
    let test = "a_port_of_the_clusters_own_is_not_had_for_long";
    let Some(cluster) = Cluster::with_images(test, &[]) else {
        return;
    };
    let line =
        "mkdir /www; until httpd -p 6443 -h /www 2>/dev/null; do usleep 50000; done; echo got it; sleep 3600";
    cluster.apply(&pod("thief", line, "hostNetwork: true", ""));
    cluster.wait("pod/thief", "condition=Ready");
    host::kill(&cluster.server());
    let got = cluster
        .dir()
        .join("pods")
        .read_dir()
        .expect("pods")
        .map(|pod| pod.expect("a pod").path().join("logs/main/0.log"))
        .next()
        .expect("a log");
    let until = Instant::now() + LIMIT;
    while !std::fs::read_to_string(&got).is_ok_and(|log| log.contains("got it")) {
        assert!(Instant::now() < until, "the port was not free");
        // pause: the pod says it in its log, and no server follows that
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = cluster.up().fails();
    let way_out = format!("end it with isopod down --name {}", cluster.name);
    assert!(said.contains("6443") && said.contains(&way_out), "{said}");
    cluster.isopod("down");
    cluster.up().ok();
    cluster.wait("pod/thief", "condition=Ready");
    cluster.remove();
}

/// Each cluster has a node of its own to share.
#[test]
fn those_of_two_clusters_do_not_meet() {
    let test = "those_of_two_clusters_do_not_meet";
    let (Some(one), Some(two)) = (Cluster::with_images(test, &[]), Cluster::with_images(test, &[])) else {
        return;
    };
    for (cluster, text) in [(&one, "one"), (&two, "two")] {
        let serve = format!("mkdir /www; echo here {text} > /www/index.html; httpd -f -p 8080 -h /www");
        cluster.apply(&pod("p", &serve, "hostNetwork: true", ""));
        cluster.wait("pod/p", "condition=Ready");
    }
    for (cluster, text) in [(&one, "one"), (&two, "two")] {
        let got = cluster.kubectl("exec p -- timeout 5 wget -qO- http://127.0.0.1:8080/");
        assert_eq!(got.trim(), format!("here {text}"));
    }
    one.remove();
    let got = two.kubectl("exec p -- timeout 5 wget -qO- http://127.0.0.1:8080/");
    assert_eq!(got.trim(), "here two");
    two.remove();
}
