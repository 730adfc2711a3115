//! Services: who answers behind a ClusterIP, a NodePort, a LoadBalancer and a name; UDP; affinity; and who must not.

use crate::harness::Cluster;
use crate::harness::cluster::LIMIT;
use crate::harness::command::words;
use crate::helm::rows;
use crate::statefulset::visits_set;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// One HTTP GET on a connection of its own; the body of a 200.
#[track_caller]
pub fn get(address: &str, path: &str) -> String {
    try_get(address, path).unwrap_or_else(|e| panic!("GET {address}{path}: {e}"))
}

pub fn try_get(address: &str, path: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|e| e.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(format!("not a 200: {answer:?}")),
    }
}

/// `Hello! web-0 has seen 3 visits`: who.
fn who(answer: &str) -> String {
    let words: Vec<&str> = answer.split_whitespace().collect();
    let at = words
        .iter()
        .position(|w| *w == "has")
        .unwrap_or_else(|| panic!("{answer}"));
    words[at - 1].to_owned()
}

fn client(cluster: &Cluster) {
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {terminationGracePeriodSeconds: 0,
          containers: [{name: main, image: 'busybox:1', command: [sleep, '3600']}]}}",
    );
    cluster.wait("pod/client", "condition=Ready");
}

fn from_client(cluster: &Cluster, command: &str) -> String {
    cluster.kubectl(&format!("exec client -- sh -c '{command}'"))
}

#[test]
fn every_kind_of_service_leads_to_all_ready_pods() {
    let Some(cluster) = Cluster::with_images("every_kind_of_service_leads_to_all_ready_pods", &[]) else {
        return;
    };
    cluster.apply(&visits_set("web", 3, "podManagementPolicy: Parallel"));
    cluster.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: peers}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}}",
    );
    client(&cluster);
    cluster.rollout("sts/web");
    let everyone = BTreeSet::from(["web-0", "web-1", "web-2"].map(str::to_owned));
    let address = cluster.load_balancer("web");
    let node_port = cluster.jsonpath("svc/web", "{.spec.ports[0].nodePort}");
    for address in [address, format!("127.0.0.1:{node_port}")] {
        let seen: BTreeSet<String> = (0..40).map(|_| who(&get(&address, "/"))).collect();
        assert_eq!(seen, everyone, "{address}");
    }
    let ip = cluster.jsonpath("svc/web", "{.spec.clusterIP}");
    let port = "8123";
    for address in [
        format!("{ip}:{port}"),
        format!("web:{port}"),
        format!("web.default.svc.cluster.local:{port}"),
    ] {
        let loop_ = format!(
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do wget -qO- http://{address}/; echo; done"
        );
        let answers = from_client(&cluster, &loop_);
        let seen: BTreeSet<String> = answers.lines().filter(|l| !l.is_empty()).map(who).collect();
        assert_eq!(seen, everyone, "{address}");
    }
    let ips: BTreeSet<String> =
        words(&cluster.kubectl("get po -l app=web -o 'jsonpath={.items[*].status.podIP}'"))
            .into_iter()
            .collect();
    let found = from_client(&cluster, "nslookup peers.default.svc.cluster.local");
    assert!(ips.iter().all(|ip| found.contains(ip.as_str())), "{found}");
    let slices = cluster.kubectl("get endpointslices -l kubernetes.io/service-name=web");
    assert!(ips.iter().any(|ip| slices.contains(ip.as_str())), "{slices}");
    let endpoints = cluster.kubectl("get endpoints web --no-headers");
    assert!(
        ips.iter().all(|ip| endpoints.contains(&format!("{ip}:8080"))),
        "{endpoints}"
    );
    // Endpoints that someone writes by hand, behind a Service that selects nobody.
    let first = cluster.jsonpath("pod/web-0", "{.status.podIP}");
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: by-hand}}, spec: {{ports: [{{port: 80}}]}}}}
---
{{apiVersion: v1, kind: Endpoints, metadata: {{name: by-hand}}, subsets: [{{addresses: [{{ip: {first}}}], ports: [{{port: 8080}}]}}]}}"
    ));
    let until_heard = "for i in $(seq 100); do wget -qO- http://by-hand/ && break; sleep 0.1; done";
    assert_eq!(who(&from_client(&cluster, until_heard)), "web-0");
    cluster.remove();
}

/// `web-1.web`, a name for each replica, that moves with its pod.
#[test]
fn replicas_have_names_of_their_own() {
    let Some(cluster) = Cluster::with_images("replicas_have_names_of_their_own", &[]) else {
        return;
    };
    let headless = visits_set("web", 2, "podManagementPolicy: Parallel")
        .replace("type: LoadBalancer", "clusterIP: None")
        .replace("port: 8123", "port: 8080");
    cluster.apply(&headless);
    client(&cluster);
    cluster.rollout("sts/web");
    for _ in 0..2 {
        for n in 0..2 {
            for name in [
                format!("web-{n}.web"),
                format!("web-{n}.web.default.svc.cluster.local"),
            ] {
                let answer = from_client(&cluster, &format!("wget -qO- http://{name}:8080/"));
                assert_eq!(who(&answer), format!("web-{n}"));
            }
        }
        cluster.kubectl("delete pod web-1");
        cluster.rollout("sts/web");
    }
    let said = cluster
        .kubectl_with("exec client -- nslookup web-7.web.default.svc.cluster.local")
        .run();
    assert!(
        !said.status.success() || said.stdout.contains("NXDOMAIN") || said.stderr.contains("NXDOMAIN"),
        "{}",
        said.report("found a pod that is not")
    );
    let host = cluster.kubectl("exec client -- hostname");
    assert_eq!(host.trim(), "client");
    cluster.remove();
}

#[test]
fn who_is_not_ready_gets_no_traffic() {
    let Some(cluster) = Cluster::with_images("who_is_not_ready_gets_no_traffic", &[]) else {
        return;
    };
    let probe = "readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}";
    let by_file = "readinessProbe: {exec: {command: [/usr/local/bin/tail, -n, '1', /data/ready]}, periodSeconds: 1, failureThreshold: 1}";
    let set = visits_set("web", 2, "podManagementPolicy: Parallel").replace(probe, by_file);
    cluster.apply(&set);
    for n in 0..2 {
        cluster.wait(&format!("pod/web-{n}"), "jsonpath={.status.phase}=Running");
    }
    let address = cluster.load_balancer("web");
    // Nobody is ready: refused, not hung.
    let refused = try_get(&address, "/");
    assert!(refused.is_err(), "{refused:?}");
    let table = rows(&cluster.kubectl("get po -l app=web --no-headers"));
    assert_eq!(table[0][1..3], ["0/1", "Running"]);
    let folder = |n: u32| {
        let volume = cluster.jsonpath(&format!("pvc/data-web-{n}"), "{.spec.volumeName}");
        let path = cluster.jsonpath(&format!("pv/{volume}"), "{.spec.hostPath.path}{.spec.local.path}");
        std::path::PathBuf::from(path)
    };
    std::fs::write(folder(1).join("ready"), "yes").expect("written");
    cluster.wait("pod/web-1", "condition=Ready");
    cluster.wait(
        "endpoints/web",
        "jsonpath={.subsets[0].addresses[0].targetRef.name}=web-1",
    );
    let seen: BTreeSet<String> = (0..12).map(|_| who(&get(&address, "/"))).collect();
    assert_eq!(seen, BTreeSet::from(["web-1".to_owned()]));
    std::fs::write(folder(0).join("ready"), "yes").expect("written");
    cluster.wait("pod/web-0", "condition=Ready");
    std::fs::remove_file(folder(1).join("ready")).expect("removed");
    cluster.wait("pod/web-1", "condition=Ready=false");
    cluster.wait(
        "endpoints/web",
        "jsonpath={.subsets[0].addresses[0].targetRef.name}=web-0",
    );
    let seen: BTreeSet<String> = (0..12).map(|_| who(&get(&address, "/"))).collect();
    assert_eq!(seen, BTreeSet::from(["web-0".to_owned()]));
    cluster.remove();
}

/// While pods are replaced one after the other, each request gets an answer.
#[test]
fn no_request_fails_during_a_rolling_update() {
    let Some(cluster) = Cluster::start("no_request_fails_during_a_rolling_update", &[]) else {
        return;
    };
    cluster.build_visits("visits:1");
    // As docs advise: time for everyone to hear that the pod ends, before it does.
    let set = visits_set("web", 3, "podManagementPolicy: Parallel").replace(
        "image: visits:1",
        "image: visits:1\n        lifecycle: {preStop: {sleep: {seconds: 1}}}",
    );
    cluster.apply(&set);
    cluster.rollout("sts/web");
    let address = cluster.load_balancer("web");
    let done = std::sync::atomic::AtomicBool::new(false);
    let failures = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let (mut failures, mut visits) = (Vec::new(), 0);
            while !done.load(std::sync::atomic::Ordering::SeqCst) && visits < 100_000 {
                visits += 1;
                failures.extend(try_get(&address, "/").err());
            }
            (failures, visits)
        });
        cluster.kubectl("rollout restart sts web");
        let rolled = cluster
            .kubectl_with(&format!("rollout status sts/web {LIMIT}"))
            .run();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        let (failures, visits) = visitor.join().expect("a visitor");
        assert!(rolled.status.success(), "{}", rolled.report("failed"));
        assert!(visits > 10, "only {visits} visits");
        failures
    });
    assert!(failures.is_empty(), "{failures:?}");
    cluster.remove();
}

#[test]
fn affinity_keeps_a_client_with_one_pod() {
    let Some(cluster) = Cluster::with_images("affinity_keeps_a_client_with_one_pod", &[]) else {
        return;
    };
    let set = visits_set("web", 3, "podManagementPolicy: Parallel").replace(
        "type: LoadBalancer,",
        "type: LoadBalancer, sessionAffinity: ClientIP,",
    );
    cluster.apply(&set);
    client(&cluster);
    cluster.rollout("sts/web");
    let answers = from_client(
        &cluster,
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do wget -qO- http://web:8123/; echo; done",
    );
    let seen: BTreeSet<String> = answers.lines().filter(|l| !l.is_empty()).map(who).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    cluster.remove();
}

/// A port that the host has taken: the Service gets the next loopback address, and says so.
#[test]
fn a_port_taken_on_the_host() {
    let Some(cluster) = Cluster::with_images("a_port_taken_on_the_host", &[]) else {
        return;
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let set = visits_set("web", 1, "").replace("8123", &port);
    cluster.apply(&set);
    cluster.rollout("sts/web");
    let address = cluster.load_balancer("web");
    assert!(
        address.starts_with("127.0.0.") && address != format!("127.0.0.1:{port}"),
        "{address}"
    );
    assert_eq!(who(&get(&address, "/")), "web-0");
    let table = rows(&cluster.kubectl("get svc web --no-headers"));
    assert_eq!(format!("{}:{port}", table[0][3]), address);
    cluster.remove();
}

/// Pods reach the API by its Service, with their own token and the cluster's CA.
#[test]
fn pods_talk_to_the_api() {
    let Some(cluster) = Cluster::with_images("pods_talk_to_the_api", &[]) else {
        return;
    };
    client(&cluster);
    let files = from_client(&cluster, "ls /var/run/secrets/kubernetes.io/serviceaccount/");
    assert_eq!(words(&files), ["ca.crt", "namespace", "token"]);
    let found = from_client(&cluster, "nslookup kubernetes.default.svc.cluster.local");
    let ip = cluster.jsonpath("svc/kubernetes", "{.spec.clusterIP}");
    assert!(found.contains(&ip), "{found}");
    let env = from_client(&cluster, "env");
    assert!(env.contains(&format!("KUBERNETES_SERVICE_HOST={ip}")), "{env}");
    let open = from_client(&cluster, "nc -w 5 kubernetes.default 443 </dev/null && echo open");
    assert_eq!(open.trim(), "open");
    let token = from_client(
        &cluster,
        "cat /var/run/secrets/kubernetes.io/serviceaccount/token",
    );
    let version = cluster.kubectl(&format!("get --raw /api/v1 --token={token}"));
    assert!(version.contains("APIResourceList"), "{version}");
    cluster.remove();
}

/// A port that another program held is had some seconds after it is free.
fn eventually(address: &str) -> String {
    let until = std::time::Instant::now() + ANSWER_LIMIT;
    loop {
        match try_get(address, "/") {
            Ok(answer) => return answer,
            Err(error) => assert!(std::time::Instant::now() < until, "{address}: {error}"),
        }
        // pause: nobody tells when a port of the host is published
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn ports_of_the_host_lead_to_their_pod_and_a_taken_one_is_had_when_it_is_free() {
    let test = "ports_of_the_host_lead_to_their_pod_and_a_taken_one_is_had_when_it_is_free";
    let Some(cluster) = Cluster::with_images(test, &[]) else {
        return;
    };
    let [free, taken] = [(); 2].map(|()| crate::harness::cluster::free_port());
    let held = std::net::TcpListener::bind(("127.0.0.1", taken)).expect("a port");
    let pod = |name: &str, ports: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 0,
              volumes: [{{name: data, emptyDir: {{}}}}], containers: [{{name: visits, image: 'visits:1',
              volumeMounts: [{{name: data, mountPath: /data}}], env: [{{name: POD_NAME, value: {name}}}],
              readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}}}, ports: {ports}}}]}}}}"
        )
    };
    cluster.apply(&pod(
        "one",
        &format!("[{{containerPort: 8080, hostPort: {free}}}]"),
    ));
    cluster.apply(&pod(
        "two",
        &format!("[{{containerPort: 8080, hostPort: {taken}, hostIP: 127.0.0.1}}]"),
    ));
    client(&cluster);
    for name in ["one", "two"] {
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    assert_eq!(who(&eventually(&format!("127.0.0.1:{free}"))), "one");
    let node = cluster.jsonpath("node", "{.items[0].status.addresses[0].address}");
    let answer = from_client(&cluster, &format!("wget -qO- http://{node}:{free}/"));
    assert_eq!(who(&answer), "one");
    let mut events = cluster.watch("get events -w");
    events.until("an event", |line| {
        line.contains(&format!("port {taken}/tcp is taken on 127.0.0.1"))
    });
    drop(events);
    drop(held);
    assert_eq!(who(&eventually(&format!("127.0.0.1:{taken}"))), "two");
    cluster.kubectl("delete pod one two");
    assert!(try_get(&format!("127.0.0.1:{free}"), "/").is_err());
    // An open log, exec and attachment do not hold up `down`.
    let log = cluster.watch("logs -f client");
    let mut exec = cluster.watch("exec client -- sh -c 'echo here; sleep 1000'");
    exec.until_contains("here");
    cluster.isopod("down");
    let said = cluster.server_log();
    assert!(!said.contains("did not end"), "{said}");
    drop((log, exec));
    cluster.remove();
}

/// `kubectl delete all --all` is a habit; what pods find the API and DNS by must outlive it.
#[test]
fn the_clusters_own_services_come_back() {
    let Some(cluster) = Cluster::with_images("the_clusters_own_services_come_back", &[]) else {
        return;
    };
    let address = cluster.jsonpath("svc/kubernetes", "{.spec.clusterIP}");
    let uid = cluster.jsonpath("svc/kubernetes", "{.metadata.uid}");
    cluster.kubectl("delete all --all");
    cluster.kubectl("delete endpoints,endpointslices kubernetes");
    cluster.kubectl("delete svc,endpointslices -n kube-system --all");
    let mut services = cluster.watch("get svc -A -w --no-headers");
    services.until("the kubernetes Service", |line| {
        line.contains(" kubernetes ") && line.contains(&address)
    });
    services.until_contains("kube-dns");
    drop(services);
    assert_ne!(cluster.jsonpath("svc/kubernetes", "{.metadata.uid}"), uid);
    client(&cluster);
    let found = from_client(&cluster, "nslookup kubernetes.default.svc.cluster.local");
    assert!(found.contains(&address), "{found}");
    assert_eq!(
        from_client(&cluster, "echo $KUBERNETES_SERVICE_HOST").trim(),
        address
    );
    let port = "nc -w 5 kubernetes.default 443 </dev/null && echo open";
    assert_eq!(from_client(&cluster, port).trim(), "open");
    cluster.remove();
}
