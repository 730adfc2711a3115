//! The cells of `kubectl get -o wide`, a line an object.

use crate::{now, rules};
use insta::assert_snapshot;
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::pod::PODS;
use kinds::replicaset::REPLICASETS;
use kinds::statefulset::STATEFULSETS;
use meta::Res;
use serde_json::{Value, json};

fn line(res: Res, object: &Value) -> String {
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
