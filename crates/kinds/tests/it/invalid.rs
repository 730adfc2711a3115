//! Bad objects in, the whole list of errors out.

use crate::{errors, pod};
use insta::assert_snapshot;
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::pod::PODS;
use kinds::replicaset::REPLICASETS;
use kinds::statefulset::STATEFULSETS;
use serde_json::{Value, json};

/// Errors of a pod with this one container, and more in its spec.
fn of_container(container: Value, more: Value) -> String {
    let mut c = json!({"name": "web", "image": "a:1"});
    extend(&mut c, container);
    of_spec(json!({"containers": [c]}), more)
}

fn of_spec(mut spec: Value, more: Value) -> String {
    extend(&mut spec, more);
    errors(PODS, pod(spec))
}

fn extend(to: &mut Value, more: Value) {
    for (key, value) in more.as_object().expect("fields") {
        to[key] = value.clone();
    }
}

fn plain() -> Value {
    json!({"containers": [{"name": "web", "image": "a:1"}]})
}

#[test]
fn a_good_pod_has_no_errors() {
    let container = json!({"ports": [{"name": "http", "containerPort": 80}], "env": [{"name": "my.var", "value": "x"}], "livenessProbe": {"httpGet": {"port": "http"}},
        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "a/b"}]});
    let more = json!({"volumes": [{"name": "data"}], "hostname": "web-0", "subdomain": "web", "securityContext": {"runAsUser": 1000, "fsGroup": 0}, "tolerations": [{"key": "a/b", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]}}});
    assert_eq!(of_container(container, more), "");
}

#[test]
fn names_images_and_policies() {
    assert_snapshot!(of_spec(
        json!({"restartPolicy": "Sometimes", "dnsPolicy": "Never", "containers": [
        {"name": "Web", "image": "a"}, {"name": "a.b", "image": ""}, {"image": "x"}, {"name": "web", "image": " a", "imagePullPolicy": "Maybe", "terminationMessagePolicy": "Log"}, {"name": "web", "image": "b"}],
        "initContainers": [{"name": "web", "image": "a", "livenessProbe": {"exec": {"command": ["x"]}}, "lifecycle": {}}, {"name": "i", "image": "a", "restartPolicy": "Now"}]}),
        json!({"serviceAccountName": "Bad_Name", "nodeName": "-", "hostname": "a.b", "subdomain": "UP", "activeDeadlineSeconds": 0, "preemptionPolicy": "Maybe", "imagePullSecrets": [{}], "nodeSelector": {"a b": "c d"}, "os": {"name": "beos"}})
    ));
    assert_snapshot!("no_containers", of_spec(json!({}), json!({})));
}

#[test]
fn ports() {
    assert_snapshot!(of_container(
        json!({"ports": [{"containerPort": 0}, {"containerPort": 70000, "hostPort": -1}, {"name": "Web--", "containerPort": 80, "protocol": "ICMP"},
        {"name": "http", "containerPort": 80, "hostPort": 8080}, {"name": "http", "containerPort": 81, "hostPort": 8080}, {"name": "way-too-long-name", "containerPort": 1, "hostIP": "here"}]}),
        json!({})
    ));
    assert_snapshot!(
        "host_network",
        of_container(
            json!({"ports": [{"containerPort": 80, "hostPort": 81}]}),
            json!({"hostNetwork": true})
        )
    );
}

#[test]
fn environment() {
    assert_snapshot!(of_container(
        json!({
        "env": [{"value": "x"}, {"name": "a=b"}, {"name": "a", "valueFrom": {}}, {"name": "b", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "c", "valueFrom": {"secretKeyRef": {"key": "a b"}, "configMapKeyRef": {"name": "c"}}}, {"name": "d", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}, {"name": "e", "valueFrom": {"fieldRef": {"fieldPath": "spec.color"}}},
            {"name": "f", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a b']"}}}, {"name": "g", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName['x']"}}}, {"name": "h", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}},
            {"name": "i", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}}}, {"name": "ok", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['X.io/Y']"}}}],
        "envFrom": [{}, {"prefix": "ü", "configMapRef": {}}, {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}]}),
        json!({})
    ));
}

#[test]
fn probes_and_hooks() {
    assert_snapshot!(of_container(
        json!({
        "livenessProbe": {"httpGet": {"port": 0, "scheme": "FTP", "httpHeaders": [{"name": "a b"}]}, "successThreshold": 2, "timeoutSeconds": -1},
        "readinessProbe": {"exec": {}, "tcpSocket": {"port": "UP"}, "terminationGracePeriodSeconds": 3}, "startupProbe": {"terminationGracePeriodSeconds": 0},
        "lifecycle": {"postStart": {}, "preStop": {"sleep": {"seconds": 31}}}}),
        json!({})
    ));
}

#[test]
fn volumes_and_mounts() {
    assert_snapshot!(of_container(
        json!({"volumeMounts": [{"name": "ghost", "mountPath": "/a"}, {"name": "data", "mountPath": "/a", "subPath": "../up"}, {"name": "data"}, {"name": "data", "mountPath": "/b", "subPath": "/abs", "subPathExpr": "x", "mountPropagation": "Bidirectional"},
            {"name": "data", "mountPath": "/c", "recursiveReadOnly": "Enabled"}],
        "volumeDevices": [{"name": "data", "devicePath": "/a"}]}),
        json!({"volumes": [{"name": "data"}, {"name": "data", "emptyDir": {}}, {"emptyDir": {}}, {"name": "UP"}, {"name": "two", "emptyDir": {}, "secret": {"secretName": "x"}}, {"name": "s", "secret": {"defaultMode": 512, "items": [{"key": "k", "path": "/p"}, {"path": "..p"}]}},
            {"name": "c", "configMap": {}}, {"name": "h", "hostPath": {"path": "/a/../b", "type": "Thing"}}, {"name": "pvc", "persistentVolumeClaim": {}}, {"name": "e", "emptyDir": {"sizeLimit": "-1"}}, {"name": "d", "downwardAPI": {"items": [{"path": "a"}, {"path": "b", "fieldRef": {"fieldPath": "spec.nodeName"}}, {"path": "c", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
            {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 5}}, {"secret": {}, "configMap": {"name": "x"}}, {"secret": {"name": "a", "items": [{"key": "k", "path": "same"}]}}, {"secret": {"name": "b", "items": [{"key": "k", "path": "same"}]}}]}},
            {"name": "eph", "ephemeral": {}}, {"name": "n", "nfs": {"server": "x", "path": "rel"}}, {"name": "i", "image": {}}, {"name": "csi", "csi": {}}]})
    ));
}

#[test]
fn resources() {
    assert_snapshot!(of_container(
        json!({"resources": {"limits": {"cpu": "1", "memory": "-1", "disk": "1", "example.com/gpu": "2", "pods": 1, "hugepages-2Mi": "3Mi"}, "requests": {"cpu": "1500m", "example.com/gpu": "1", "example.com/fpga": "0.5", "a b": "1"}}}),
        json!({})
    ));
    assert_snapshot!(
        "huge_pages_alone",
        of_container(
            json!({"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}),
            json!({})
        )
    );
}

#[test]
fn security() {
    assert_snapshot!(of_container(
        json!({"securityContext": {"runAsUser": -1, "allowPrivilegeEscalation": false, "privileged": true, "capabilities": {"add": ["CAP_SYS_ADMIN"]}, "seccompProfile": {"type": "Localhost"}, "procMount": "Some", "appArmorProfile": {"type": "Localhost"}}}),
        json!({"hostPID": true, "shareProcessNamespace": true, "securityContext": {"runAsGroup": 3_000_000_000_i64, "supplementalGroups": [-5], "fsGroupChangePolicy": "Never", "seccompProfile": {"type": "Mine", "localhostProfile": "/x"}, "sysctls": [{}, {"name": "A"}, {"name": "kernel.shm_rmid_forced", "value": "1"}, {"name": "kernel.shm_rmid_forced", "value": "0"}]}})
    ));
}

#[test]
fn scheduling_and_dns() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    assert_snapshot!(of_spec(
        plain(),
        json!({
        "affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": []}, preferred: [{"weight": 0, "preference": {"matchExpressions": [{"key": "a", "operator": "Is"}, {"key": "a", "operator": "In"}, {"key": "a", "operator": "Gt", "values": ["1", "2"]}], "matchFields": [{"key": "spec.x", "operator": "In", "values": ["y"]}]}}]},
            "podAffinity": {required: [{"labelSelector": {"matchExpressions": [{"key": "", "operator": "Exists", "values": ["x"]}]}, "namespaces": ["A"]}], preferred: [{"weight": 101, "podAffinityTerm": {"topologyKey": "a b"}}]}},
        "tolerations": [{}, {"key": "a", "operator": "Like"}, {"key": "a", "operator": "Exists", "value": "x"}, {"key": "a", "tolerationSeconds": 3, "effect": "NoSchedule"}, {"key": "a", "value": "a b", "effect": "Some"}],
        "topologySpreadConstraints": [{"maxSkew": 0}, {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Maybe", "minDomains": 0, "nodeTaintsPolicy": "x", "matchLabelKeys": ["a"]}, {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Maybe"}],
        "readinessGates": [{"conditionType": ""}], "schedulingGates": [{"name": "a/b"}, {"name": "a/b"}], "nodeName": "n",
        "dnsPolicy": "None", "dnsConfig": {"searches": ["_ldap.example.com", ".", "a b"], "options": [{}]}, "hostAliases": [{"ip": "x", "hostnames": ["UP"]}]})
    ));
    assert_snapshot!("no_dns_config", of_spec(plain(), json!({"dnsPolicy": "None"})));
    assert_snapshot!(
        "name_servers",
        of_spec(
            plain(),
            json!({"dnsConfig": {"nameservers": ["1.1.1.1", "x", "::1", "2.2.2.2"]}})
        )
    );
}

fn workload(kind: &str, spec: Value) -> Value {
    let mut full = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": plain()}});
    extend(&mut full, spec);
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": full})
}

#[test]
fn statefulsets() {
    let of = |spec: Value| errors(STATEFULSETS, workload("StatefulSet", spec));
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let mut mounting = plain();
    mounting["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": mounting});
    assert_eq!(
        of(json!({"template": template, "volumeClaimTemplates": [claim]})),
        ""
    );
    assert_snapshot!(of(
        json!({"replicas": -1, "minReadySeconds": -1, "ordinals": {"start": -1}, "podManagementPolicy": "Random", "serviceName": "A", "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Burn"},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": -1, "maxUnavailable": "0%"}}, "selector": {"matchLabels": {"app": "other"}},
        "volumeClaimTemplates": [{}, {"metadata": {"name": "A"}, "spec": {"accessModes": ["Always"], "resources": {"requests": {"storage": "0"}}}}],
        "template": {"metadata": {"labels": {"app": "web", "bad key": "x"}, "annotations": {"a b": ""}}, "spec": {"restartPolicy": "OnFailure", "activeDeadlineSeconds": 5, "containers": [], "ephemeralContainers": [{"name": "e", "image": "e"}]}}})
    ));
    assert_snapshot!(
        "statefulset_strategy",
        [
            of(json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}})),
            of(json!({"updateStrategy": {"type": "Later"}})),
            of(json!({"selector": {}})),
            of(json!({"selector": null}))
        ]
        .join("\n")
    );
    assert_eq!(
        crate::rules(STATEFULSETS).check_name("a.b"),
        ["must not contain dots"]
    );
}

#[test]
fn deployments_and_replicasets() {
    let of = |spec: Value| errors(DEPLOYMENTS, workload("Deployment", spec));
    assert_eq!(of(json!({})), "");
    assert_snapshot!([
        of(json!({"replicas": -1, "minReadySeconds": 700, "revisionHistoryLimit": -1, "strategy": {"type": "Slow"}})),
        of(json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}})),
        of(json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}})),
        of(json!({"strategy": {"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "101%"}}})),
        of(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}})),
        of(json!({"selector": {}})),
    ].join("\n"));
    assert_snapshot!(
        "replicaset",
        errors(
            REPLICASETS,
            workload(
                "ReplicaSet",
                json!({"replicas": -1, "minReadySeconds": -1, "selector": {"matchLabels": {"a": "b"}}})
            )
        )
    );
}

#[test]
fn controller_revisions() {
    assert_snapshot!(errors(
        CONTROLLERREVISIONS,
        json!({"metadata": {"name": "a"}, "revision": -1})
    ));
}
