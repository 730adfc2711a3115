//! Minimal objects in, complete ones out.

use crate::{cluster, defaulted, pod, prepared, rules};
use insta::{assert_json_snapshot, assert_snapshot};
use kinds::Write;
use kinds::deployment::DEPLOYMENTS;
use kinds::pod::PODS;
use kinds::replicaset::REPLICASETS;
use kinds::serviceaccount::SERVICEACCOUNTS;
use kinds::statefulset::STATEFULSETS;
use meta::Res;
use serde_json::{Value, json};

fn workload(kind: &str, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "visits:1"}]}}});
    for (key, value) in more.as_object().expect("fields") {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

#[test]
fn a_minimal_pod() {
    let spec = json!({"containers": [{"name": "web", "image": "nginx"}]});
    assert_json_snapshot!(prepared(PODS, pod(spec)));
}

#[test]
fn a_pod_with_one_of_everything() {
    let spec = json!({
        "serviceAccount": "robot", "hostNetwork": true, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
        "initContainers": [{"name": "first", "image": "registry.local:5000/a/b", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}],
        "containers": [{
            "name": "web", "image": "registry.local:5000/web:2@sha256:0", "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
            "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "0.1"}},
            "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"grpc": {"port": 9}, "periodSeconds": 1},
            "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/bye"}}},
        }],
        "volumes": [
            {"name": "empty"}, {"name": "sized", "emptyDir": {"sizeLimit": "1000M"}}, {"name": "s", "secret": {"secretName": "s"}}, {"name": "c", "configMap": {"name": "c", "defaultMode": 256}},
            {"name": "h", "hostPath": {"path": "/x"}}, {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, {"name": "claim", "persistentVolumeClaim": {"claimName": "x"}},
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}}},
        ],
    });
    assert_json_snapshot!(prepared(PODS, pod(spec)));
}

#[test]
fn minimal_workloads() {
    let claim = json!({"metadata": {"name": "visits"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "256M"}}}});
    assert_json_snapshot!(
        "statefulset",
        defaulted(
            STATEFULSETS,
            workload(
                "StatefulSet",
                json!({"serviceName": "web", "volumeClaimTemplates": [claim]})
            )
        )
    );
    assert_json_snapshot!(
        "deployment",
        defaulted(DEPLOYMENTS, workload("Deployment", json!({})))
    );
    assert_json_snapshot!(
        "replicaset",
        defaulted(REPLICASETS, workload("ReplicaSet", json!({})))
    );
}

#[test]
fn strategies_without_a_rolling_update_get_none() {
    let recreate = defaulted(
        DEPLOYMENTS,
        workload("Deployment", json!({"strategy": {"type": "Recreate"}})),
    );
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    let on_delete = defaulted(
        STATEFULSETS,
        workload(
            "StatefulSet",
            json!({"updateStrategy": {"type": "OnDelete"}, "replicas": 0}),
        ),
    );
    assert_eq!(on_delete["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    assert_eq!(on_delete["spec"]["replicas"], 0);
}

/// Objects are defaulted at every write, so a second time must change nothing; and whatever a client sends must not
/// make defaults or checks panic.
#[test]
fn defaults_are_idempotent_and_never_panic() {
    let strange = [
        json!({}),
        json!({"spec": null}),
        json!({"spec": {"template": null}}),
        json!({"spec": {"containers": [null, 3, {}], "volumes": [{}]}}),
        json!({"spec": {"template": {"spec": {"containers": [{}]}}, "volumeClaimTemplates": [{}]}, "metadata": {"name": "x"}}),
    ];
    for res in [PODS, STATEFULSETS, DEPLOYMENTS, REPLICASETS] {
        for object in strange.iter().chain([
            &workload("X", json!({})),
            &pod(json!({"containers": [{"name": "a", "image": "b"}]})),
        ]) {
            let once = defaulted(res, object.clone());
            assert_eq!(defaulted(res, once.clone()), once, "{res:?}");
            let mut errors = meta::Errors::new();
            rules(res).validate(&once, &mut errors);
            rules(res).validate_update(Write::Update, &once, object, &mut errors);
            rules(res).validate_update(Write::Status, &once, object, &mut errors);
            let row = kinds::Registry::builtin().by_res(res).cloned().expect("row");
            assert_eq!(rules(res).cells(&once, crate::now()).len(), row.columns.len());
        }
    }
}

fn admitted(spec: Value, more: &[(Res, Value)]) -> Result<Value, String> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}, "imagePullSecrets": [{"name": "registry"}]});
    let mut objects = vec![(SERVICEACCOUNTS, account)];
    objects.extend_from_slice(more);
    let mut object = prepared(PODS, pod(spec));
    let result = rules(PODS).admit(Write::Create, &mut object, None, &cluster(&objects));
    result
        .map(|()| object)
        .map_err(|status| format!("{} {}", status.code, status.message))
}

#[test]
fn a_pod_gets_its_identity_tolerations_and_priority() {
    let spec = json!({"containers": [{"name": "web", "image": "a:1"}], "initContainers": [{"name": "own", "image": "a:1", "volumeMounts": [{"name": "x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}], "volumes": [{"name": "x"}]});
    assert_json_snapshot!(admitted(spec, &[]).expect("admitted"));
}

#[test]
fn a_pod_without_token_keeps_its_volumes() {
    let spec = json!({"containers": [{"name": "web", "image": "a:1"}], "automountServiceAccountToken": false, "tolerations": [{"operator": "Exists"}], "priorityClassName": "system-node-critical"});
    let classes = kinds::priorityclass::system_classes();
    let classes: Vec<(Res, Value)> = classes
        .map(|class| (kinds::priorityclass::PRIORITYCLASSES, class))
        .collect();
    let pod = admitted(spec, &classes).expect("admitted");
    assert_eq!(pod["spec"].get("volumes"), None);
    assert_eq!(pod["spec"]["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["spec"]["priority"], 2_000_001_000);
}

#[test]
fn pods_that_are_refused() {
    let containers = json!([{"name": "web", "image": "a:1"}]);
    let refused = |more: Value| {
        let mut spec = json!({"containers": containers});
        for (key, value) in more.as_object().expect("fields") {
            spec[key] = value.clone();
        }
        admitted(spec, &[]).expect_err("refused")
    };
    assert_eq!(
        refused(json!({"serviceAccountName": "ghost"})),
        "403 pods \"web-0\" is forbidden: error looking up service account shop/ghost: serviceaccount \"ghost\" not found"
    );
    assert_eq!(
        refused(json!({"priorityClassName": "gold"})),
        "403 pods \"web-0\" is forbidden: no PriorityClass with name gold was found"
    );
    assert_eq!(
        refused(json!({"priority": 7})),
        "403 pods \"web-0\" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name"
    );
    let spec = json!({"containers": containers, "ephemeralContainers": [{"name": "d", "image": "d"}]});
    assert_eq!(
        crate::errors(PODS, pod(spec)),
        "spec.ephemeralContainers: Forbidden: cannot be set on create"
    );
}

#[test]
fn a_pod_is_bound_once() {
    let bound = pod(json!({"nodeName": "a"}));
    let bind = |old: &Value| {
        let mut new = pod(json!({"nodeName": "b"}));
        let seen = cluster(&[]);
        rules(PODS)
            .admit(Write::Other("binding"), &mut new, Some(old), &seen)
            .map_err(|status| format!("{} {}", status.code, status.message))
    };
    assert_eq!(bind(&pod(json!({}))), Ok(()));
    assert_eq!(
        bind(&bound).expect_err("bound before"),
        "409 Operation cannot be fulfilled on pods/binding \"web-0\": pod web-0 is already assigned to node \"a\""
    );
}

#[test]
fn what_is_left_out_on_purpose_stays_out() {
    let set = |strategy: Value| {
        let set = json!({"metadata": {"name": "web"}, "spec": {"updateStrategy": strategy, "template": {}}});
        defaulted(STATEFULSETS, set)["spec"]["updateStrategy"].clone()
    };
    assert_eq!(
        set(json!({"type": "RollingUpdate"})),
        json!({"type": "RollingUpdate"})
    );
    assert_eq!(set(json!({"type": "OnDelete"})), json!({"type": "OnDelete"}));
    let both = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    assert_eq!(set(json!({})), both);
    assert_eq!(set(json!({"type": "RollingUpdate", "rollingUpdate": {}})), both);
    let two = json!({"rollingUpdate": {"partition": 0, "maxUnavailable": 2}, "type": "RollingUpdate"});
    assert_eq!(set(json!({"rollingUpdate": {"maxUnavailable": 2}})), two);
}

#[test]
fn rare_volumes_and_sources() {
    let spec = json!({
        "containers": [{"name": "a", "image": "a:1", "env": [{"name": "K", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}]}],
        "volumes": [{"name": "d", "azureDisk": {"diskName": "d", "diskURI": "u"}}, {"name": "s", "scaleIO": {"gateway": "g"}}],
    });
    let pod = defaulted(PODS, json!({"metadata": {"name": "p"}, "spec": spec}));
    let spec = &pod["spec"];
    assert_eq!(
        spec["containers"][0]["env"][0]["valueFrom"]["fileKeyRef"]["optional"],
        false
    );
    assert_eq!(
        spec["volumes"][0]["azureDisk"],
        json!({"diskName": "d", "diskURI": "u", "cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": false})
    );
    assert_eq!(
        spec["volumes"][1]["scaleIO"],
        json!({"gateway": "g", "storageMode": "ThinProvisioned", "fsType": "xfs"})
    );
}

#[test]
fn a_pod_with_resources_of_its_own() {
    let resources = |value: Value| {
        let mut spec = value;
        for container in spec["containers"].as_array_mut().expect("containers") {
            container["name"] = "c".into();
            container["image"] = "c".into();
        }
        prepared(PODS, pod(spec))["spec"]["resources"].clone()
    };
    let all = json!([
        resources(json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}, "containers": [{}]})),
        resources(
            json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"memory": "64Mi"}}, "containers": [
            {"resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}, {"resources": {"limits": {"cpu": "0.25"}}}]})
        ),
        resources(json!({"resources": {"requests": {"cpu": "1"}}, "containers": [
            {"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}, {"resources": {"limits": {"hugepages-2Mi": "2Mi"}}}]})),
        resources(json!({"resources": {}, "containers": [{"resources": {"limits": {"cpu": "1"}}}]})),
    ]);
    assert_json_snapshot!(all);
}

#[test]
fn label_keys_become_requirements_of_the_selector() {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash", "none"], "mismatchLabelKeys": ["tenant"]});
    let mut object = pod(json!({
        "containers": [{"name": "c", "image": "c"}],
        "affinity": {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "matchLabelKeys": ["hash"]}}]},
        },
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "matchLabelKeys": ["hash"]}],
    }));
    object["metadata"]["labels"] = json!({"hash": "5f", "tenant": "a"});
    let spec = prepared(PODS, object)["spec"].clone();
    assert_json_snapshot!(json!([spec["affinity"], spec["topologySpreadConstraints"]]));
}

#[test]
fn images_whose_names_are_none_are_not_looked_at() {
    let policy = |image: &str| {
        let spec = json!({"containers": [{"name": "c", "image": image}]});
        prepared(PODS, pod(spec))["spec"]["containers"][0]["imagePullPolicy"].clone()
    };
    for image in ["a", "a:latest", "Registry/a", "r.io:5000/b/a"] {
        assert_eq!(policy(image), "Always", "{image}");
    }
    for image in ["A", "a/B", "", "a:1", "r.io:5000/a:1", "a@sha256:0"] {
        assert_eq!(policy(image), "IfNotPresent", "{image}");
    }
}

#[test]
fn a_gated_pod_says_since_when_it_waits() {
    let spec = json!({"containers": [{"name": "c", "image": "c"}], "schedulingGates": [{"name": "x"}]});
    let conditions = prepared(PODS, pod(spec))["status"]["conditions"].clone();
    let wanted = json!([{
        "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
        "lastProbeTime": null, "lastTransitionTime": "2026-11-21T10:00:00Z",
    }]);
    assert_eq!(conditions, wanted);
}

#[test]
fn observed_generations_stay_when_a_client_leaves_them_out() {
    let with = |status: Value| {
        let mut pod = pod(json!({"containers": [{"name": "c", "image": "c"}]}));
        pod["status"] = status;
        pod
    };
    let old = with(json!({"observedGeneration": 2, "conditions": [
        {"type": "Ready", "status": "True", "observedGeneration": 2}, {"type": "x", "status": "True", "observedGeneration": 1}]}));
    let mut new = with(json!({"conditions": [
        {"type": "x", "status": "False"}, {"type": "y", "status": "True"}, {"type": "Ready", "status": "True", "observedGeneration": 3}]}));
    rules(PODS).prepare(Write::Status, &mut new, Some(&old), crate::now());
    assert_eq!(new["status"]["observedGeneration"], 2);
    let generations = |i: usize| new["status"]["conditions"][i]["observedGeneration"].clone();
    assert_eq!(
        [generations(0), generations(1), generations(2)],
        [json!(1), Value::Null, json!(3)]
    );
}

#[test]
fn a_bound_pod_carries_the_zone_of_its_node_and_waits_for_no_other() {
    use kinds::node::NODES;
    let labels =
        json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "other": "x"});
    let node = json!({"metadata": {"name": "n1", "labels": labels}});
    let old = pod(json!({}));
    let mut new = pod(json!({"nodeName": "n1"}));
    new["metadata"]["labels"] = json!({"app": "web"});
    new["status"] = json!({"nominatedNodeName": "n2"});
    let seen = cluster(&[(NODES, node)]);
    let bound = rules(PODS).admit(Write::Other("binding"), &mut new, Some(&old), &seen);
    assert!(bound.is_ok());
    let wanted =
        json!({"app": "web", "topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"});
    assert_eq!(new["metadata"]["labels"], wanted);
    assert_eq!(new["status"], json!({}));
}

#[test]
fn a_negative_grace_period_is_one_second() {
    let mut object = pod(
        serde_json::json!({"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": -1}),
    );
    object = prepared(PODS, object);
    assert_eq!(object["spec"]["terminationGracePeriodSeconds"], 1);
}

/// Whoever replaces a pod's tolerations leaves out those that the cluster added; they come again.
#[test]
fn tolerations_for_failing_nodes_come_again_with_an_update() {
    let spec = serde_json::json!({"containers": [{"name": "c", "image": "i"}]});
    let old = prepared(PODS, pod(spec));
    let mut new = old.clone();
    new["spec"]["tolerations"] = serde_json::json!([{"key": "gpu", "operator": "Exists"}]);
    rules(PODS).prepare(kinds::Write::Update, &mut new, Some(&old), crate::now());
    let keys: Vec<&str> = new["spec"]["tolerations"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|toleration| toleration["key"].as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "gpu",
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable"
        ]
    );
}

/// Features that are off by default in v1.36: who does not have their fields does not get them.
#[test]
fn fields_of_disabled_features_go_unless_they_were_there() {
    let spec = json!({
        "containers": [{"name": "c", "image": "a", "lifecycle": {"stopSignal": "SIGUSR1"}}],
        "volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "a", "path": "a"}}]}}],
        "schedulingGroup": {"podGroupName": "g"},
    });
    let mut old = defaulted(PODS, pod(spec.clone()));
    let made = prepared(PODS, pod(spec));
    let shown = |object: &Value| {
        let spec = &object["spec"];
        let parts = [
            &spec["containers"][0]["lifecycle"],
            &spec["volumes"][0]["projected"]["sources"],
        ];
        json!([parts, spec["schedulingGroup"]])
    };
    assert_eq!(shown(&made), json!([[null, [{}]], null]));
    old["status"] = made["status"].clone();
    let mut changed = old.clone();
    rules(PODS).prepare(Write::Update, &mut changed, Some(&old), crate::now());
    assert_eq!(shown(&changed), shown(&old));
}

#[test]
fn annotations_of_old_become_fields_or_are_refused() {
    let apparmor = "container.apparmor.security.beta.kubernetes.io/c";
    let mut object = pod(json!({"containers": [{"name": "c", "image": "a"}]}));
    object["metadata"]["annotations"] = json!({apparmor: "localhost/p"});
    let made = prepared(PODS, object.clone());
    assert_eq!(
        made["spec"]["containers"][0]["securityContext"]["appArmorProfile"],
        json!({"type": "Localhost", "localhostProfile": "p"})
    );
    object["metadata"]["annotations"] = json!({
        apparmor: "x", "kubernetes.io/config.mirror": "m", "controller.kubernetes.io/pod-deletion-cost": "+1",
        "seccomp.security.alpha.kubernetes.io/pod": "y",
    });
    assert_snapshot!(crate::errors(PODS, object));
}
