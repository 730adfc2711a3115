//! Values of the right type that mean nothing: (resource, where, value).

use serde_json::{Value, json};

type Wrong = (&'static str, &'static str, Value);

pub fn all() -> Vec<Wrong> {
    [quantities(), containers(), pods(), sets(), services(), others()].concat()
}

fn quantities() -> Vec<Wrong> {
    let texts = [
        "", "a", "1GiB", "1 Gi", "Gi", "-1", "1e", "1e1e1", "0x10", "1,5", "1.5.5", "++1", "1K", "1mi",
        "NaN", "inf", "1Gi1", "１Gi",
    ];
    let mut wrong: Vec<Wrong> = Vec::new();
    for text in texts {
        wrong.push(("pods", "/spec/containers/0/resources/limits/memory", json!(text)));
        wrong.push((
            "persistentvolumeclaims",
            "/spec/resources/requests/storage",
            json!(text),
        ));
    }
    wrong.push((
        "persistentvolumeclaims",
        "/spec/resources/requests/storage",
        json!("0"),
    ));
    wrong.push(("persistentvolumes", "/spec/capacity/storage", json!("-5Gi")));
    wrong.push((
        "pods",
        "/spec/containers/0/resources/requests/memory",
        json!("128Mi"),
    ));
    wrong.push(("pods", "/spec/containers/0/resources/limits/cpu", json!("-100m")));
    wrong.push(("pods", "/spec/volumes/0/emptyDir/sizeLimit", json!("-1Mi")));
    wrong
}

// LONG: one table of cases, which reads best in one piece.
fn containers() -> Vec<Wrong> {
    let at = |pointer, value| ("pods", pointer, value);
    let probe = "/spec/containers/0/readinessProbe";
    vec![
        at("/spec/containers", json!([])),
        at("/spec/containers/0/name", json!("Main")),
        at("/spec/containers/0/name", json!("")),
        at("/spec/containers/0/name", json!("first")),
        at("/spec/containers/0/name", json!("a".repeat(64))),
        at("/spec/containers/0/image", json!("")),
        at("/spec/containers/0/image", json!(" x")),
        at("/spec/containers/0/imagePullPolicy", json!("Sometimes")),
        at("/spec/containers/0/terminationMessagePolicy", json!("Never")),
        at("/spec/containers/0/ports/0/containerPort", json!(0)),
        at("/spec/containers/0/ports/0/containerPort", json!(65536)),
        at("/spec/containers/0/ports/0/containerPort", json!(-1)),
        at("/spec/containers/0/ports/0/protocol", json!("HTTP")),
        at(
            "/spec/containers/0/ports/0/name",
            json!("a-name-that-is-too-long"),
        ),
        at("/spec/containers/0/ports/0/name", json!("80")),
        at("/spec/containers/0/env/0/name", json!("")),
        at("/spec/containers/0/env/0/name", json!("A=B")),
        at("/spec/containers/0/env/1/valueFrom", json!({})),
        at(
            "/spec/containers/0/env/1/valueFrom/fieldRef/fieldPath",
            json!("metadata.none"),
        ),
        at("/spec/containers/0/env/1/value", json!("both")),
        at("/spec/containers/0/volumeMounts/0/name", json!("none")),
        at("/spec/containers/0/volumeMounts/0/mountPath", json!("")),
        at("/spec/containers/0/volumeMounts/0/subPath", json!("../up")),
        at("/spec/containers/0/volumeMounts/0/subPath", json!("/abs")),
        at(
            "/spec/containers/0/volumeMounts/0/mountPropagation",
            json!("Upwards"),
        ),
        at(probe, json!({})),
        at(
            probe,
            json!({"httpGet": {"port": 80}, "exec": {"command": ["a"]}}),
        ),
        at(probe, json!({"httpGet": {"port": 0}})),
        at(probe, json!({"httpGet": {"port": 70000}})),
        at(probe, json!({"httpGet": {"port": 80, "scheme": "GOPHER"}})),
        at(
            probe,
            json!({"httpGet": {"port": 80, "httpHeaders": [{"name": "a b", "value": "x"}]}}),
        ),
        at(probe, json!({"tcpSocket": {"port": "NAME"}})),
        at(probe, json!({"exec": {"command": []}})),
        at(probe, json!({"grpc": {"port": 0}})),
        at(probe, json!({"httpGet": {"port": 80}, "periodSeconds": -1})),
        at(probe, json!({"httpGet": {"port": 80}, "timeoutSeconds": -1})),
        at(probe, json!({"httpGet": {"port": 80}, "initialDelaySeconds": -1})),
        at(probe, json!({"httpGet": {"port": 80}, "failureThreshold": -1})),
        at("/spec/containers/0/livenessProbe/successThreshold", json!(2)),
        at("/spec/containers/0/lifecycle", json!({"preStop": {}})),
        at(
            "/spec/containers/0/lifecycle",
            json!({"postStart": {"exec": {"command": ["a"]}, "httpGet": {"port": 1}}}),
        ),
        at("/spec/containers/0/securityContext", json!({"runAsUser": -1})),
        at(
            "/spec/containers/0/securityContext",
            json!({"privileged": true, "allowPrivilegeEscalation": false}),
        ),
        at(
            "/spec/containers/0/securityContext",
            json!({"procMount": "Sometimes"}),
        ),
        at(
            "/spec/containers/0/securityContext",
            json!({"seccompProfile": {"type": "Magic"}}),
        ),
        at("/spec/initContainers/0/restartPolicy", json!("Never again")),
        at(
            "/spec/initContainers/0/readinessProbe",
            json!({"exec": {"command": ["a"]}}),
        ),
        at(
            "/spec/initContainers/0/lifecycle",
            json!({"preStop": {"exec": {"command": ["a"]}}}),
        ),
    ]
}

// LONG: one table of cases, which reads best in one piece.
fn pods() -> Vec<Wrong> {
    let at = |pointer, value| ("pods", pointer, value);
    vec![
        at("/spec/restartPolicy", json!("Often")),
        at("/spec/dnsPolicy", json!("Guess")),
        at("/spec/dnsPolicy", json!("None")),
        at("/spec/activeDeadlineSeconds", json!(0)),
        at("/spec/hostname", json!("A_B")),
        at("/spec/subdomain", json!("-x")),
        at("/spec/serviceAccountName", json!("A B")),
        at("/spec/serviceAccountName", json!("nobody-knows")),
        at("/spec/nodeSelector", json!({"a b": "c"})),
        at("/spec/tolerations/0/operator", json!("Like")),
        at("/spec/tolerations/0/effect", json!("Hug")),
        at(
            "/spec/tolerations/0",
            json!({"operator": "Exists", "key": "k", "value": "v"}),
        ),
        at("/spec/securityContext", json!({"fsGroup": -1})),
        at("/spec/securityContext", json!({"supplementalGroups": [-1]})),
        at(
            "/spec/securityContext",
            json!({"sysctls": [{"name": "bad name", "value": "1"}]}),
        ),
        at("/spec/securityContext", json!({"fsGroupChangePolicy": "Perhaps"})),
        at("/spec/volumes/0/name", json!("E")),
        at("/spec/volumes/0/name", json!("c")),
        at(
            "/spec/volumes/0",
            json!({"name": "e", "emptyDir": {}, "hostPath": {"path": "/"}}),
        ),
        at("/spec/volumes/0", json!({"name": "e", "hostPath": {"path": ""}})),
        at(
            "/spec/volumes/0",
            json!({"name": "e", "hostPath": {"path": "/a/../b"}}),
        ),
        at(
            "/spec/volumes/0",
            json!({"name": "e", "hostPath": {"path": "/a", "type": "Door"}}),
        ),
        at(
            "/spec/volumes/0",
            json!({"name": "e", "persistentVolumeClaim": {"claimName": ""}}),
        ),
        at(
            "/spec/volumes/0",
            json!({"name": "e", "downwardAPI": {"items": [{"path": "../x", "fieldRef": {"fieldPath": "metadata.name"}}]}}),
        ),
        at(
            "/spec/volumes/0",
            json!({"name": "e", "projected": {"sources": [{"secret": {"name": ""}}]}}),
        ),
        at("/spec/volumes/1/configMap/defaultMode", json!(512)),
        at("/spec/volumes/1/configMap/name", json!("")),
        at("/spec/volumes/2/secret/items/0/path", json!("../p")),
        at("/spec/volumes/2/secret/items/0/key", json!("")),
        at("/spec/volumes/2/secret/items/0/mode", json!(-1)),
        at("/spec/hostAliases", json!([{"ip": "none", "hostnames": ["a"]}])),
        at(
            "/spec/topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Cry"}]),
        ),
        at(
            "/spec/affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
        ),
        at("/spec/priorityClassName", json!("nobody-knows")),
        at("/spec/readinessGates", json!([{"conditionType": "a b"}])),
        at("/spec/dnsConfig", json!({"nameservers": ["not-an-ip"]})),
    ]
}

// LONG: one table of cases, which reads best in one piece.
fn sets() -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for plural in ["statefulsets", "deployments", "replicasets"] {
        let mut at = |pointer, value| wrong.push((plural, pointer, value));
        at("/spec/replicas", json!(-1));
        at("/spec/selector", json!({}));
        at("/spec/selector", json!({"matchLabels": {"app": "y"}}));
        at("/spec/selector", json!({"matchLabels": {"a b": "y"}}));
        at(
            "/spec/selector",
            json!({"matchExpressions": [{"key": "app", "operator": "Like", "values": ["x"]}]}),
        );
        at(
            "/spec/selector",
            json!({"matchExpressions": [{"key": "app", "operator": "In"}]}),
        );
        at(
            "/spec/selector",
            json!({"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}),
        );
        at("/spec/template/metadata/labels", json!({"app": "y"}));
        at("/spec/template/metadata/labels", json!({"app": "a b"}));
        at("/spec/template/spec/restartPolicy", json!("Never"));
        at("/spec/template/spec/restartPolicy", json!("OnFailure"));
        at("/spec/template/spec/containers", json!([]));
        at("/spec/template/spec/containers/0/image", json!(""));
        at("/spec/template/spec/activeDeadlineSeconds", json!(5));
        at("/spec/minReadySeconds", json!(-1));
    }
    let set = |pointer, value| ("statefulsets", pointer, value);
    let deployment = |pointer, value| ("deployments", pointer, value);
    wrong.extend([
        set("/spec/podManagementPolicy", json!("Chaotic")),
        set("/spec/updateStrategy", json!({"type": "Recreate"})),
        set(
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": -1}}),
        ),
        set(
            "/spec/updateStrategy",
            json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
        ),
        set(
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}),
        ),
        set(
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "110%"}}),
        ),
        set(
            "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
            json!("Burn"),
        ),
        set(
            "/spec/persistentVolumeClaimRetentionPolicy/whenScaled",
            json!("Burn"),
        ),
        set("/spec/ordinals/start", json!(-1)),
        deployment("/spec/strategy", json!({"type": "BigBang"})),
        deployment(
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        ),
        deployment(
            "/spec/strategy/rollingUpdate",
            json!({"maxSurge": 0, "maxUnavailable": 0}),
        ),
        deployment("/spec/strategy/rollingUpdate", json!({"maxSurge": -1})),
        deployment("/spec/strategy/rollingUpdate", json!({"maxSurge": "1"})),
        deployment("/spec/strategy/rollingUpdate", json!({"maxUnavailable": "101%"})),
        deployment("/spec/progressDeadlineSeconds", json!(-1)),
        deployment("/spec/minReadySeconds", json!(1000)),
        deployment("/spec/revisionHistoryLimit", json!(-1)),
    ]);
    wrong
}

fn services() -> Vec<Wrong> {
    let at = |pointer, value| ("services", pointer, value);
    vec![
        at("/spec/ports", json!([])),
        at("/spec/ports/0/port", json!(0)),
        at("/spec/ports/0/port", json!(65536)),
        at("/spec/ports/0/protocol", json!("ICMP")),
        at("/spec/ports/0/name", json!("A")),
        at("/spec/ports/0/targetPort", json!("a_b")),
        at("/spec/ports/0/nodePort", json!(80)),
        at("/spec/ports/0/nodePort", json!(70000)),
        at("/spec/ports", json!([{"port": 80}, {"port": 81}])),
        at(
            "/spec/ports",
            json!([{"name": "a", "port": 80}, {"name": "a", "port": 81}]),
        ),
        at(
            "/spec/ports",
            json!([{"name": "a", "port": 80}, {"name": "b", "port": 80}]),
        ),
        at("/spec/type", json!("Carrier")),
        at("/spec/type", json!("ExternalName")),
        at("/spec/sessionAffinity", json!("Cookie")),
        at(
            "/spec/sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 0}}),
        ),
        at(
            "/spec/sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 86401}}),
        ),
        at("/spec/clusterIP", json!("not an address")),
        at("/spec/clusterIP", json!("8.8.8.8")),
        at("/spec/clusterIP", json!("None")),
        at("/spec/externalIPs", json!(["127.0.0.1"])),
        at("/spec/externalTrafficPolicy", json!("Sideways")),
        at("/spec/internalTrafficPolicy", json!("Sideways")),
        at("/spec/ipFamilies", json!(["IPv5"])),
        at("/spec/ipFamilyPolicy", json!("Both")),
        at("/spec/selector", json!({"a b": "c"})),
        at("/spec/loadBalancerSourceRanges", json!(["1.2.3.4/99"])),
    ]
}

fn others() -> Vec<Wrong> {
    vec![
        ("secrets", "/data/k", json!("not base64!")),
        ("secrets", "/type", json!("kubernetes.io/tls")),
        ("secrets", "/type", json!("kubernetes.io/dockerconfigjson")),
        ("persistentvolumeclaims", "/spec/accessModes", json!([])),
        (
            "persistentvolumeclaims",
            "/spec/accessModes",
            json!(["ReadTwice"]),
        ),
        ("persistentvolumeclaims", "/spec/volumeMode", json!("Tape")),
        ("persistentvolumeclaims", "/spec/storageClassName", json!("A B")),
        ("persistentvolumes", "/spec/accessModes", json!([])),
        (
            "persistentvolumes",
            "/spec/persistentVolumeReclaimPolicy",
            json!("Burn"),
        ),
        ("persistentvolumes", "/spec/hostPath/path", json!("/a/../b")),
        ("leases", "/spec/leaseDurationSeconds", json!(0)),
        ("leases", "/spec/leaseDurationSeconds", json!(-5)),
        (
            "configmaps",
            "/metadata/ownerReferences",
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}]),
        ),
        (
            "configmaps",
            "/metadata/ownerReferences",
            json!([{"apiVersion": "v1", "kind": "", "name": "", "uid": "u"}]),
        ),
        ("configmaps", "/metadata/finalizers", json!(["not qualified"])),
        ("configmaps", "/metadata/deletionTimestamp", json!("yesterday")),
        ("configmaps", "/metadata/namespace", json!("A_B")),
    ]
}
