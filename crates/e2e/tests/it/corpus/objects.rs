//! Right objects, of each kind one that sets many fields: what is made wrong in the corpus starts from them.

use serde_json::{Value, json};

pub const NAMESPACE: &str = "corpus";

/// A kind's collection in the corpus' namespace, and a right object of it.
pub struct Sample {
    pub path: String,
    pub object: Value,
}

fn core(plural: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{plural}")
}

pub fn apps(plural: &str) -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/{plural}")
}

pub fn pods() -> String {
    core("pods")
}

fn pod_spec() -> Value {
    json!({
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 5, "serviceAccountName": "default",
        "hostname": "h", "subdomain": "s", "nodeSelector": {"a": "b"},
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000, "runAsNonRoot": true},
        "tolerations": [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}],
        "initContainers": [{"name": "first", "image": "busybox:1", "command": ["true"]}],
        "containers": [{
            "name": "main", "image": "busybox:1", "imagePullPolicy": "IfNotPresent",
            "command": ["sleep"], "args": ["1"], "workingDir": "/tmp",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "env": [{"name": "A", "value": "b"},
                    {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "kept", "key": "k", "optional": true}}}],
            "resources": {"limits": {"memory": "64Mi", "cpu": "100m"}, "requests": {"memory": "32Mi"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "periodSeconds": 1, "timeoutSeconds": 1},
            "livenessProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "failureThreshold": 2},
            "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
            "securityContext": {"capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
            "volumeMounts": [{"name": "e", "mountPath": "/e", "readOnly": false}],
        }],
        "volumes": [
            {"name": "e", "emptyDir": {"sizeLimit": "1Mi"}},
            {"name": "c", "configMap": {"name": "kept", "optional": true, "defaultMode": 420}},
            {"name": "s", "secret": {"secretName": "kept", "items": [{"key": "k", "path": "p"}]}},
        ],
    })
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": pod_spec()})
}

fn claim_spec() -> Value {
    json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "volumeMode": "Filesystem",
           "resources": {"requests": {"storage": "1Mi"}}})
}

/// One right object a kind. Their names are not those that are stored.
// LONG: one table of cases, which reads best in one piece.
pub fn samples() -> Vec<Sample> {
    let meta = json!({"name": "fresh", "labels": {"app": "x"}, "annotations": {"note": "y"}});
    let object = |version: &str, kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": meta});
        for (field, value) in rest.as_object().expect("an object") {
            object[field] = value.clone();
        }
        object
    };
    let selector = json!({"matchLabels": {"app": "x"}});
    vec![
        Sample {
            path: core("pods"),
            object: object("v1", "Pod", json!({"spec": pod_spec()})),
        },
        Sample {
            path: apps("statefulsets"),
            object: object(
                "apps/v1",
                "StatefulSet",
                json!({"spec": {
                "replicas": 3, "serviceName": "s", "selector": selector, "template": template(), "podManagementPolicy": "Parallel",
                "minReadySeconds": 1, "revisionHistoryLimit": 3, "ordinals": {"start": 2},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
                "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": claim_spec()}]}}),
            ),
        },
        Sample {
            path: apps("deployments"),
            object: object(
                "apps/v1",
                "Deployment",
                json!({"spec": {
                "replicas": 2, "selector": selector, "template": template(), "paused": false, "progressDeadlineSeconds": 60,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}}}),
            ),
        },
        Sample {
            path: apps("replicasets"),
            object: object(
                "apps/v1",
                "ReplicaSet",
                json!({"spec": {"replicas": 2, "selector": selector, "template": template()}}),
            ),
        },
        Sample {
            path: core("services"),
            object: object(
                "v1",
                "Service",
                json!({"spec": {
                "type": "NodePort", "selector": {"app": "x"}, "sessionAffinity": "ClientIP", "publishNotReadyAddresses": false,
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 100}},
                "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]}}),
            ),
        },
        Sample {
            path: core("configmaps"),
            object: object("v1", "ConfigMap", json!({"data": {"k": "v"}, "immutable": false})),
        },
        Sample {
            path: core("secrets"),
            object: object("v1", "Secret", json!({"data": {"k": "dg=="}, "type": "Opaque"})),
        },
        Sample {
            path: core("serviceaccounts"),
            object: object(
                "v1",
                "ServiceAccount",
                json!({"automountServiceAccountToken": true}),
            ),
        },
        Sample {
            path: core("persistentvolumeclaims"),
            object: object("v1", "PersistentVolumeClaim", json!({"spec": claim_spec()})),
        },
        Sample {
            path: "/api/v1/persistentvolumes".to_owned(),
            object: object(
                "v1",
                "PersistentVolume",
                json!({"spec": {
                "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": "/tmp/none", "type": "DirectoryOrCreate"}}}),
            ),
        },
        Sample {
            path: "/api/v1/namespaces".to_owned(),
            object: object("v1", "Namespace", json!({"spec": {"finalizers": ["kubernetes"]}})),
        },
        Sample {
            path: "/apis/coordination.k8s.io/v1/namespaces/corpus/leases".to_owned(),
            object: object(
                "coordination.k8s.io/v1",
                "Lease",
                json!({"spec": {"holderIdentity": "me", "leaseDurationSeconds": 10}}),
            ),
        },
    ]
}

/// What is there before the corpus runs: nothing that runs, and nothing may change it.
pub fn stored() -> String {
    let meta = |kind: &str, version: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind,
            "metadata": {"name": "kept", "namespace": NAMESPACE}});
        for (field, value) in rest.as_object().expect("an object") {
            object[field] = value.clone();
        }
        object
    };
    let selector = json!({"matchLabels": {"app": "kept"}});
    let template = json!({"metadata": {"labels": {"app": "kept"}},
        "spec": {"containers": [{"name": "main", "image": "none.invalid/none:1"}]}});
    let items = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        meta("ConfigMap", "v1", json!({"data": {"k": "v"}, "immutable": true})),
        meta(
            "Secret",
            "v1",
            json!({"stringData": {"k": "v"}, "type": "Opaque"}),
        ),
        meta(
            "Service",
            "v1",
            json!({"spec": {"selector": {"app": "kept"}, "ports": [{"port": 80}]}}),
        ),
        meta(
            "StatefulSet",
            "apps/v1",
            json!({"spec": {"replicas": 0, "serviceName": "kept", "selector": selector, "template": template}}),
        ),
        meta(
            "Deployment",
            "apps/v1",
            json!({"spec": {"replicas": 0, "selector": selector, "template": template}}),
        ),
        meta(
            "PersistentVolumeClaim",
            "v1",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none",
            "resources": {"requests": {"storage": "2Mi"}}}}),
        ),
    ];
    items.map(|item| item.to_string()).join("\n---\n")
}
