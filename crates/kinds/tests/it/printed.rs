//! The cells of `kubectl get -o wide`, a line an object.

use crate::{now, rules};
use insta::assert_snapshot;
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::pod::PODS;
use kinds::replicaset::REPLICASETS;
use kinds::service::SERVICES;
use kinds::serviceaccount::SERVICEACCOUNTS;
use kinds::statefulset::STATEFULSETS;
use meta::Res;
use serde_json::{Value, json};

pub(crate) fn line(res: Res, object: &Value) -> String {
    let cells = rules(res).cells(object, now());
    let text = |cell: &Value| cell.as_str().map_or(cell.to_string(), String::from);
    cells.iter().map(text).collect::<Vec<_>>().join(" | ")
}

/// One pod: its name says what it shows, `init` and `app` are container statuses.
fn pod(name: &str, init: Value, app: Value, more: Value) -> Value {
    let specs = |statuses: &Value| -> Value {
        let of = |s: &Value| {
            let mut spec = json!({"name": s["name"]});
            if s.get("started").is_some() {
                spec["restartPolicy"] = "Always".into();
            }
            spec
        };
        statuses.as_array().into_iter().flatten().map(of).collect()
    };
    let mut pod = json!({
        "metadata": {"name": name, "creationTimestamp": "2026-11-21T09:59:00Z"},
        "spec": {"containers": specs(&app), "initContainers": specs(&init), "nodeName": "node-1"},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}], "initContainerStatuses": init, "containerStatuses": app},
    });
    merge(&mut pod, &more);
    pod
}

fn merge(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                merge(to.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (to, from) => *to = from.clone(),
    }
}

fn running(name: &str) -> Value {
    json!({"name": name, "ready": true, "restartCount": 0, "state": {"running": {}}})
}

fn waiting(name: &str, reason: &str, restarts: i64) -> Value {
    json!({"name": name, "ready": false, "restartCount": restarts, "state": {"waiting": {"reason": reason}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-21T09:59:55Z"}}})
}

fn ended(name: &str, code: i64, more: Value) -> Value {
    let mut terminated = json!({"exitCode": code});
    merge(&mut terminated, &more);
    json!({"name": name, "ready": false, "restartCount": 0, "state": {"terminated": terminated}})
}

fn phase(phase: &str) -> Value {
    json!({"status": {"phase": phase}})
}

#[test]
// LONG: one table of cases, which reads best in one piece.
fn pods_in_every_state() {
    let none = || json!([]);
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-11-21T09:59:59Z"}});
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let sidecar =
        json!({"name": "side", "ready": true, "started": true, "restartCount": 2, "state": {"running": {}}});
    let done = ended("i", 0, json!({"reason": "Completed"}));
    let pods = [
        pod(
            "pending",
            none(),
            none(),
            json!({"status": {"phase": "Pending", "podIPs": []}, "spec": {"nodeName": ""}}),
        ),
        pod(
            "gated",
            none(),
            none(),
            json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}}),
        ),
        pod(
            "creating",
            none(),
            json!([waiting("a", "ContainerCreating", 0)]),
            phase("Pending"),
        ),
        pod(
            "pull-failed",
            none(),
            json!([waiting("a", "ImagePullBackOff", 0)]),
            phase("Pending"),
        ),
        pod("running", none(), json!([running("a"), running("b")]), json!({})),
        pod(
            "gates",
            none(),
            json!([running("a")]),
            json!({"spec": {"readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}]}, "status": {"conditions": [{"type": "x", "status": "True"}], "nominatedNodeName": "node-2"}}),
        ),
        pod(
            "crash-loop",
            none(),
            json!([waiting("a", "CrashLoopBackOff", 3)]),
            json!({}),
        ),
        pod(
            "error",
            none(),
            json!([ended("a", 1, json!({"reason": "Error"}))]),
            json!({}),
        ),
        pod(
            "oom",
            none(),
            json!([ended("a", 137, json!({"reason": "OOMKilled"}))]),
            json!({}),
        ),
        pod("exit-code", none(), json!([ended("a", 3, json!({}))]), json!({})),
        pod(
            "signal",
            none(),
            json!([ended("a", 137, json!({"signal": 9}))]),
            json!({}),
        ),
        pod(
            "completed",
            none(),
            json!([ended("a", 0, json!({"reason": "Completed"}))]),
            phase("Succeeded"),
        ),
        pod(
            "half-done-ready",
            none(),
            json!([ended("a", 0, json!({"reason": "Completed"})), running("b")]),
            ready,
        ),
        pod(
            "half-done",
            none(),
            json!([ended("a", 0, json!({"reason": "Completed"})), running("b")]),
            json!({}),
        ),
        pod(
            "half-failed",
            none(),
            json!([
                ended("a", 0, json!({"reason": "Completed"})),
                ended("b", 2, json!({"reason": "Error"})),
                running("c")
            ]),
            json!({}),
        ),
        pod(
            "half-failed-ready",
            none(),
            json!([
                ended("a", 0, json!({"reason": "Completed"})),
                ended("b", 2, json!({"reason": "Error"})),
                running("c")
            ]),
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
        pod("terminating", none(), json!([running("a")]), deleted.clone()),
        pod(
            "node-lost",
            none(),
            json!([running("a")]),
            json!({"metadata": deleted["metadata"], "status": {"reason": "NodeLost"}}),
        ),
        pod(
            "evicted",
            none(),
            none(),
            json!({"status": {"phase": "Failed", "reason": "Evicted"}}),
        ),
        pod(
            "init-0",
            json!([
                waiting("i", "PodInitializing", 0),
                waiting("j", "PodInitializing", 0)
            ]),
            json!([waiting("a", "PodInitializing", 0)]),
            phase("Pending"),
        ),
        pod(
            "init-1",
            json!([done.clone(), {"name": "j", "restartCount": 0, "state": {"running": {}}}]),
            json!([waiting("a", "PodInitializing", 0)]),
            phase("Pending"),
        ),
        pod(
            "init-error",
            json!([ended("i", 1, json!({"reason": "Error"}))]),
            json!([waiting("a", "PodInitializing", 0)]),
            phase("Pending"),
        ),
        pod(
            "init-exit-code",
            json!([ended("i", 4, json!({}))]),
            none(),
            phase("Pending"),
        ),
        pod(
            "init-crash",
            json!([waiting("i", "CrashLoopBackOff", 2)]),
            json!([waiting("a", "PodInitializing", 0)]),
            phase("Pending"),
        ),
        pod(
            "initializing",
            json!([done.clone()]),
            json!([waiting("a", "PodInitializing", 0)]),
            phase("Pending"),
        ),
        pod(
            "sidecar",
            json!([done, sidecar.clone()]),
            json!([running("a")]),
            json!({}),
        ),
        pod(
            "sidecar-only",
            json!([sidecar]),
            json!([waiting("a", "PodInitializing", 0)]),
            phase("Pending"),
        ),
    ];
    let lines: Vec<String> = pods.iter().map(|p| line(PODS, p)).collect();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn workloads() {
    let object = json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-11-21T07:00:00Z"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]}}},
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
    });
    let revision = json!({"metadata": {"name": "web-5f", "creationTimestamp": "2026-11-11T10:00:00Z", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": true}]}, "revision": 4});
    let lines = [
        line(STATEFULSETS, &object),
        line(DEPLOYMENTS, &object),
        line(REPLICASETS, &object),
        line(CONTROLLERREVISIONS, &revision),
    ];
    assert_snapshot!(lines.join("\n"));
}

fn dated(name: &str, mut object: Value) -> Value {
    object["metadata"]["name"] = name.into();
    object["metadata"]["creationTimestamp"] = "2026-11-21T09:59:00Z".into();
    object
}

#[test]
fn services() {
    use kinds::service::SERVICES;
    let service = |name: &str, spec: Value, ips: Value| {
        dated(
            name,
            json!({"spec": spec, "status": {"loadBalancer": {"ingress": ips}}}),
        )
    };
    let ports = json!([{"port": 8000, "nodePort": 30123, "protocol": "TCP"}]);
    let all = [
        service(
            "plain",
            json!({"type": "ClusterIP", "clusterIP": "10.96.1.1", "selector": {"app": "web", "tier": "x"}, "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}),
            json!([]),
        ),
        service(
            "headless",
            json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}),
            json!([]),
        ),
        service(
            "waiting",
            json!({"type": "LoadBalancer", "clusterIP": "10.96.1.2", "ports": ports}),
            json!([]),
        ),
        service(
            "served",
            json!({"type": "LoadBalancer", "clusterIP": "10.96.1.2", "ports": ports}),
            json!([{"ip": "127.0.0.1"}]),
        ),
        service(
            "far",
            json!({"type": "ExternalName", "externalName": "db.example.com"}),
            json!([]),
        ),
        service(
            "by-hand",
            json!({"type": "NodePort", "clusterIP": "10.96.1.3", "externalIPs": ["1.2.3.4"], "ports": ports}),
            json!([]),
        ),
    ];
    assert_snapshot!(all.map(|s| line(SERVICES, &s)).join("\n"));
}

#[test]
fn storage() {
    use kinds::persistentvolume::PERSISTENTVOLUMES;
    use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
    use kinds::storageclass::STORAGECLASSES;
    let bound = json!({"spec": {"volumeName": "pv-1", "storageClassName": "standard", "volumeMode": "Filesystem"}, "status": {"phase": "Bound", "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "capacity": {"storage": "256M"}}});
    let volume = json!({"spec": {"capacity": {"storage": "256M"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Delete", "claimRef": {"namespace": "shop", "name": "data"}, "storageClassName": "standard", "volumeMode": "Filesystem"}, "status": {"phase": "Bound"}});
    let mut leaving = volume.clone();
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T09:59:30Z".into();
    let class = json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "isopod.dev/folder", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
    let lines = [
        line(PERSISTENTVOLUMECLAIMS, &dated("bound", bound)),
        line(
            PERSISTENTVOLUMECLAIMS,
            &dated(
                "new",
                json!({"spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}),
            ),
        ),
        line(PERSISTENTVOLUMES, &dated("pv-1", volume)),
        line(PERSISTENTVOLUMES, &dated("pv-2", leaving)),
        line(STORAGECLASSES, &dated("standard", class)),
    ];
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn nodes_and_namespaces() {
    use kinds::namespace::NAMESPACES;
    use kinds::node::NODES;
    let info = json!({"kubeletVersion": "v1.36.0", "osImage": "Debian GNU/Linux 13", "kernelVersion": "6.12", "containerRuntimeVersion": "isopod://0.1.0"});
    let node = |name: &str, ready: Value, cordoned: bool, labels: Value| {
        dated(
            name,
            json!({"metadata": {"labels": labels}, "spec": {"unschedulable": cordoned}, "status": {"nodeInfo": info, "conditions": ready, "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}]}}),
        )
    };
    let lines = [
        line(
            NODES,
            &node(
                "ready",
                json!([{"type": "Ready", "status": "True"}]),
                false,
                json!({"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "ingress"}),
            ),
        ),
        line(
            NODES,
            &node(
                "cordoned",
                json!([{"type": "Ready", "status": "Unknown"}]),
                true,
                json!({}),
            ),
        ),
        line(
            NODES,
            &with_architecture(node("arm", json!([]), false, json!({}))),
        ),
        line(NODES, &node("silent", json!([]), false, json!({}))),
        line(NAMESPACES, &dated("shop", json!({"status": {"phase": "Active"}}))),
    ];
    assert_snapshot!(lines.join("\n"));
}

fn with_architecture(mut node: Value) -> Value {
    node["status"]["nodeInfo"]["architecture"] = "arm64".into();
    node
}

#[test]
fn the_rest() {
    use kinds::endpoints::ENDPOINTS;
    use kinds::endpointslice::ENDPOINTSLICES;
    use kinds::event::EVENTS;
    use kinds::lease::LEASES;
    use kinds::secret::SECRETS;
    use kinds::serviceaccount::SERVICEACCOUNTS;
    let about = json!({"kind": "Pod", "name": "web-0", "fieldPath": "spec.containers{web}"});
    let legacy = json!({"type": "Normal", "reason": "Pulled", "message": " Pulled it\n", "involvedObject": about, "count": 3, "firstTimestamp": "2026-11-21T09:00:00Z", "lastTimestamp": "2026-11-21T09:58:00Z", "source": {"component": "kubelet", "host": "node-1"}});
    let modern = json!({"type": "Warning", "reason": "Failed", "message": "no", "involvedObject": about, "eventTime": "2026-11-21T09:59:00.000000Z", "reportingComponent": "scheduler", "reportingInstance": "s-1", "series": {"count": 7, "lastObservedTime": "2026-11-21T09:59:50.000000Z"}});
    let ips: Vec<Value> = (1..6).map(|i| json!({"ip": format!("10.0.0.{i}")})).collect();
    let slices: Vec<Value> = (1..6)
        .map(|i| json!({"addresses": [format!("10.0.0.{i}")]}))
        .collect();
    let lines = [
        line(EVENTS, &dated("old", legacy)),
        line(EVENTS, &dated("new", modern)),
        line(
            EVENTS,
            &dated(
                "unseen",
                json!({"involvedObject": {"kind": "Node"}, "series": {"count": 4}, "lastTimestamp": "2026-11-21T09:58:00Z"}),
            ),
        ),
        line(
            ENDPOINTS,
            &dated(
                "web",
                json!({"subsets": [{"addresses": ips, "ports": [{"port": 80}]}]}),
            ),
        ),
        line(ENDPOINTS, &dated("none", json!({}))),
        line(
            ENDPOINTSLICES,
            &dated(
                "web-x",
                json!({"addressType": "IPv4", "endpoints": slices, "ports": [{"name": "http", "port": 80}, {"name": "any"}]}),
            ),
        ),
        line(ENDPOINTSLICES, &dated("none", json!({"addressType": "IPv4"}))),
        line(
            LEASES,
            &dated("leader", json!({"spec": {"holderIdentity": "me"}})),
        ),
        line(
            SECRETS,
            &dated("s", json!({"type": "Opaque", "data": {"a": "", "b": ""}})),
        ),
        line(SERVICEACCOUNTS, &dated("default", json!({}))),
    ];
    assert_snapshot!(lines.join("\n"));
}

/// Every kind's columns; those of `-o wide` in brackets, names with `@`, and how each description begins.
#[test]
fn columns() {
    let rows = kinds::rows();
    let printed = rows.iter().filter(|row| !row.rules.is_question());
    let lines = printed.chain([&**kinds::scale::row()]).flat_map(|row| {
        let column = |column: &kinds::Column| {
            let wide = if column.priority == 0 { "" } else { " -o wide" };
            let name = if column.format == "name" { " (name)" } else { "" };
            let text = column.description();
            assert!(!text.is_empty(), "{}: {} says nothing", row.kind, column.name);
            let start: String = text.chars().take(50).collect();
            format!("    {}: {}{name}{wide}, {start}", column.name, column.kind)
        };
        let title = [row.res.qualified()].into_iter();
        title.chain(row.columns.iter().map(column)).collect::<Vec<_>>()
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn rows_of_pods_that_are_through_say_so() {
    let conditions = |phase: &str| rules(PODS).row_conditions(&json!({"status": {"phase": phase}}));
    let completed = |reason: &str, message: &str| {
        vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
    };
    assert_eq!(conditions("Running"), Vec::<Value>::new());
    assert_eq!(
        conditions("Succeeded"),
        completed("Succeeded", "The pod has completed successfully.")
    );
    assert_eq!(conditions("Failed"), completed("Failed", "The pod failed."));
}

#[test]
fn scales() {
    let scale = json!({"metadata": {"name": "web", "creationTimestamp": "2026-11-21T09:59:00Z"}, "spec": {"replicas": 3}, "status": {"replicas": 2}});
    let cells = kinds::scale::row().rules.cells(&scale, now());
    assert_eq!(cells, [json!("web"), json!(3), json!(2), json!("60s")]);
}

#[test]
fn services_and_what_is_yet_to_come() {
    let metadata = json!({"name": "s", "creationTimestamp": "2026-11-21T09:59:00Z"});
    let service = |spec: Value, ingress: Value| {
        let object =
            json!({"metadata": metadata, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}});
        line(SERVICES, &object)
    };
    let many = json!([{"ip": "192.0.2.10"}, {"ip": "192.0.2.11"}, {"hostname": "balancer.example.com"}]);
    let port = json!([{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
    let soon = json!({"metadata": {"name": "b", "creationTimestamp": "2026-11-21T10:00:01.900Z"}});
    let tomorrow = json!({"metadata": {"name": "a", "creationTimestamp": "2026-11-22T09:59:00Z"}});
    let lines = [
        service(
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.2"], "ports": port, "selector": {"b": "2", "a": "1"}}),
            many,
        ),
        service(
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.2"], "externalIPs": ["192.0.2.1"]}),
            json!([]),
        ),
        service(
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.2"]}),
            json!([]),
        ),
        service(
            json!({"type": "ExternalName", "externalName": "example.com"}),
            json!([]),
        ),
        service(json!({"clusterIP": "None"}), json!([])),
        line(SERVICEACCOUNTS, &soon),
        line(SERVICEACCOUNTS, &tomorrow),
    ];
    assert_snapshot!(lines.join("\n"));
}
