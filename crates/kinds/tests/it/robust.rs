//! Whatever a client sends instead of any part of an object, the rules answer; they never panic.

use crate::{cluster, now, rules};
use kinds::Write;
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::pod::{self, PODS};
use kinds::replicaset::REPLICASETS;
use kinds::statefulset::STATEFULSETS;
use meta::{Errors, Res};
use serde_json::{Value, json};

/// A spec that uses most of what a pod can have.
fn rich_spec() -> Value {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let probe = json!({"httpGet": {"port": "http", "path": "/", "httpHeaders": [{"name": "A", "value": "b"}]}, "periodSeconds": 1});
    json!({
        "serviceAccountName": "default", "hostNetwork": true, "nodeName": "n", "activeDeadlineSeconds": 5, "nodeSelector": {"a": "b"}, "os": {"name": "linux"},
        "initContainers": [{"name": "side", "image": "a", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}],
        "containers": [{"name": "web", "image": "a:1", "ports": [{"name": "http", "containerPort": 80, "hostPort": 80}],
            "env": [{"name": "A", "value": "$(A)"}, {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}}, {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}, {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "envFrom": [{"prefix": "P", "configMapRef": {"name": "c"}}], "resources": {"limits": {"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "2Mi"}, "requests": {"cpu": 1}}, "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            "livenessProbe": probe, "readinessProbe": {"exec": {"command": ["x"]}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}, "postStart": {"exec": {"command": ["x"]}}},
            "volumeMounts": [{"name": "p", "mountPath": "/p", "subPath": "x", "mountPropagation": "None"}], "volumeDevices": [{"name": "pvc", "devicePath": "/dev/x"}],
            "securityContext": {"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}, "capabilities": {"add": ["X"]}, "allowPrivilegeEscalation": false}}],
        "volumes": [{"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "c", "items": [{"key": "k", "path": "f", "mode": 1}]}}, {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}},
            {"name": "pvc", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "emptyDir": {"sizeLimit": "1"}}, {"name": "h", "hostPath": {"path": "/x"}}, {"name": "x", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}}}}],
        "securityContext": {"fsGroup": 1, "supplementalGroups": [1], "sysctls": [{"name": "a.b", "value": "1"}]}, "overhead": {"cpu": "1m"}, "imagePullSecrets": [{"name": "x"}],
        "affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}], "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}}, "podAntiAffinity": {required: [{"topologyKey": "z", "labelSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]}}]}},
        "tolerations": [{"key": "a", "operator": "Exists"}], "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}}],
        "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "x"}]}, "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a"]}], "readinessGates": [{"conditionType": "a"}], "schedulingGates": [{"name": "a"}],
    })
}

fn rich(res: Res) -> Value {
    let metadata = json!({"name": "web", "namespace": "shop", "uid": "u", "labels": {"a": "b"}, "creationTimestamp": "2026-11-21T09:00:00Z", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "X", "name": "x", "uid": "u", "controller": true}]});
    let container = json!({"name": "web", "restartCount": 1, "ready": true, "state": {"terminated": {"exitCode": 1}}, "lastState": {"terminated": {"finishedAt": "2026-11-21T09:00:00Z"}}});
    if res == PODS {
        let status = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T09:00:00Z"}], "containerStatuses": [container], "initContainerStatuses": [container]});
        return json!({"metadata": metadata, "spec": rich_spec(), "status": status});
    }
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    json!({"metadata": metadata, "data": {"a": 1}, "revision": 1, "status": {"replicas": 1, "readyReplicas": 1}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, "volumeClaimTemplates": [claim],
        "strategy": {"rollingUpdate": {"maxSurge": "1%"}}, "updateStrategy": {"rollingUpdate": {"partition": 1, "maxUnavailable": 1}}, "ordinals": {"start": 1},
        "template": {"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}}}})
}

/// The kinds that run nothing, with most of what they can have. One table, a line a kind: it stays in one piece.
// LONG: one table of cases, which reads best in one piece.
fn rich_others() -> Vec<(Res, Value)> {
    let meta = json!({"name": "x", "namespace": "shop", "uid": "u", "labels": {"a": "b"}, "annotations": {"kubernetes.io/service-account.name": "a"}, "creationTimestamp": "2026-11-21T09:00:00Z"});
    let object = |more: Value| {
        let mut object = more;
        object["metadata"] = meta.clone();
        object
    };
    let address = json!({"ip": "10.0.0.1", "hostname": "a", "nodeName": "n", "targetRef": {"kind": "Pod", "name": "p"}});
    let port = json!({"name": "a", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30000, "appProtocol": "h2c"});
    vec![
        (
            kinds::service::SERVICES,
            object(
                json!({"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1", "hostname": "a.b"}]}}, "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [port], "selector": {"a": "b"},
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}, "externalIPs": ["1.2.3.4"], "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001,
            "internalTrafficPolicy": "Local", "loadBalancerClass": "a/b", "loadBalancerSourceRanges": ["10.0.0.0/8"], "allocateLoadBalancerNodePorts": true, "trafficDistribution": "PreferClose"}}),
            ),
        ),
        (
            kinds::namespace::NAMESPACES,
            object(json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})),
        ),
        (
            kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS,
            object(
                json!({"status": {"phase": "Bound", "capacity": {"storage": "1"}, "accessModes": ["ReadWriteOnce"]}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}, "volumeName": "v", "storageClassName": "s", "volumeMode": "Block", "selector": {"matchLabels": {"a": "b"}}, "dataSource": {"kind": "A", "apiGroup": "a.b", "name": "x"}}}),
            ),
        ),
        (
            kinds::persistentvolume::PERSISTENTVOLUMES,
            object(
                json!({"status": {"phase": "Bound"}, "spec": {"capacity": {"storage": "1"}, "accessModes": ["ReadWriteOnce"], "local": {"path": "/a"}, "nfs": {"server": "a", "path": "/b"}, "hostPath": {"path": "/"},
            "claimRef": {"namespace": "a", "name": "b"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{}]}}, "volumeMode": "Block"}}),
            ),
        ),
        (
            kinds::storageclass::STORAGECLASSES,
            object(
                json!({"provisioner": "a/b", "parameters": {"a": "b"}, "allowVolumeExpansion": true, "allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": ["b"]}]}]}),
            ),
        ),
        (
            kinds::secret::SECRETS,
            object(
                json!({"type": "kubernetes.io/dockerconfigjson", "immutable": true, "data": {".dockerconfigjson": "e30="}, "stringData": {"a": "b"}}),
            ),
        ),
        (
            kinds::configmap::CONFIGMAPS,
            object(json!({"immutable": true, "data": {"a": "b"}, "binaryData": {"c": "e30="}})),
        ),
        (
            kinds::serviceaccount::SERVICEACCOUNTS,
            object(json!({"secrets": [{"name": "a"}], "imagePullSecrets": [{"name": "b"}]})),
        ),
        (
            kinds::endpoints::ENDPOINTS,
            object(
                json!({"subsets": [{"addresses": [address], "notReadyAddresses": [address], "ports": [port]}]}),
            ),
        ),
        (
            kinds::endpointslice::ENDPOINTSLICES,
            object(
                json!({"addressType": "IPv4", "ports": [port], "endpoints": [{"addresses": ["10.0.0.1"], "hostname": "a", "nodeName": "n", "hints": {"forZones": [{"name": "a"}]}}]}),
            ),
        ),
        (
            kinds::event::EVENTS,
            object(
                json!({"involvedObject": {"kind": "Pod", "namespace": "shop", "name": "a"}, "eventTime": "2026-11-21T09:00:00Z", "reportingComponent": "a", "reportingInstance": "b", "action": "c", "reason": "d", "message": "e",
            "series": {"count": 1, "lastObservedTime": "2026-11-21T09:00:00Z"}, "source": {"component": "a", "host": "b"}}),
            ),
        ),
        (
            kinds::lease::LEASES,
            object(
                json!({"spec": {"holderIdentity": "a", "leaseDurationSeconds": 5, "leaseTransitions": 1, "strategy": "OldestEmulationVersion", "preferredHolder": "b"}}),
            ),
        ),
        (
            kinds::node::NODES,
            object(
                json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "x", "unschedulable": true, "taints": [{"key": "a", "value": "b", "effect": "NoExecute"}]},
            "status": {"capacity": {"cpu": "1"}, "allocatable": {"cpu": "1"}, "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1"}}}),
            ),
        ),
    ]
}

/// JSON pointers of every part of a value.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => return,
    };
    for (key, child) in children {
        let at = format!("{at}/{key}");
        out.push(at.clone());
        pointers(child, &at, out);
    }
}

fn run(res: Res, mutant: &Value, good: &Value, what: &str) {
    let rules = rules(res);
    let mut once = mutant.clone();
    rules.default(&mut once);
    let mut twice = once.clone();
    rules.default(&mut twice);
    assert_eq!(once, twice, "defaults are not idempotent with {what}");
    rules.prepare(Write::Create, &mut once, None, now());
    let mut errors = Errors::new();
    rules.validate(&once, &mut errors);
    rules.validate_new(&once, &mut errors);
    // What a pod may not change is told at length, which takes its time: one direction is enough.
    let (writes, back) = match res == PODS {
        true => (&["", "status", "resize", "ephemeralcontainers"][..], false),
        false => (&["", "status"][..], true),
    };
    for write in writes.iter().map(|name| match *name {
        "" => Write::Update,
        "status" => Write::Status,
        other => Write::Other(other),
    }) {
        rules.validate_update(write, &once, good, &mut errors);
        if back {
            rules.validate_update(write, good, &once, &mut errors);
        }
    }
    for write in [Write::Update, Write::Status, Write::Other("finalize")] {
        let mut changed = mutant.clone();
        rules.prepare(write, &mut changed, Some(good), now());
        rules.begin(write, &mut changed, Some(good), &cluster(&[])).err();
        rules.admit(write, &mut changed, Some(good), &cluster(&[])).err();
        rules.holds(&changed);
        rules.mark_deleted(&mut changed);
    }
    for path in kinds::Registry::builtin().by_res(res).expect("row").selectable {
        rules.field(&once, path);
    }
    rules.begin(Write::Create, &mut once, None, &cluster(&[])).err();
    rules.admit(Write::Create, &mut once, None, &cluster(&[])).err();
    rules.warnings(&once, None);
    rules.deletion_grace(&once, None);
    let row = kinds::Registry::builtin().by_res(res).cloned().expect("row");
    assert_eq!(rules.cells(&once, now()).len(), row.columns.len(), "{what}");
    pod::template_hash(&once, None);
    pod::requests(&once["spec"]);
}

#[test]
fn any_part_may_be_anything() {
    let strange = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(i64::MAX),
        json!(1.5),
        json!(""),
        json!("-../ü%{}"),
        json!("99999999999999999999%"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": {}}),
    ];
    let mut tried = 0;
    let workloads = [PODS, STATEFULSETS, DEPLOYMENTS, REPLICASETS, CONTROLLERREVISIONS];
    let all = workloads.map(|res| (res, rich(res)));
    for (res, good) in all.into_iter().chain(rich_others()) {
        let mut all = Vec::new();
        pointers(&good, "", &mut all);
        for pointer in all.iter().filter(|p| !p.starts_with("/metadata/n")) {
            for value in &strange {
                let mut mutant = good.clone();
                *mutant.pointer_mut(pointer).expect("it is there") = value.clone();
                run(res, &mutant, &good, &format!("{value} at {pointer}"));
                tried += 1;
            }
        }
    }
    assert!(tried > 4_000, "only {tried} mutants");
}

#[test]
fn a_rich_pod_is_nearly_valid() {
    let errors = crate::errors(PODS, rich(PODS));
    assert_eq!(
        errors,
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"
    );
}
