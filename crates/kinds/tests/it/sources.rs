//! What is wrong with where storage comes from, with addresses, and with what only some pods have.

use crate::{defaulted, errors, lines, pod, prepared, rules};
use insta::assert_snapshot;
use kinds::Write;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::pod::PODS;
use kinds::service::SERVICES;
use meta::Errors;
use serde_json::{Value, json};

/// One bad source of each kind that a pod and a PersistentVolume have alike.
fn bad_sources() -> Value {
    json!({
        "gcePersistentDisk": {"partition": 256}, "awsElasticBlockStore": {}, "iscsi": {"iqn": "iqn.2001-4.a:b", "lun": 256, "chapAuthSession": true, "initiatorName": "me"},
        "glusterfs": {}, "rbd": {}, "flexVolume": {"options": {"x.kubernetes.io/y": "z"}}, "cinder": {"secretRef": {}}, "cephfs": {},
        "flocker": {"datasetName": "a/b", "datasetUUID": "u"}, "fc": {"targetWWNs": ["a"], "wwids": ["b"]}, "azureFile": {}, "vsphereVolume": {},
        "quobyte": {"registry": "a:1,b"}, "azureDisk": {"kind": "Managed", "diskURI": "https://x", "cachingMode": "All"}, "photonPersistentDisk": {}, "portworxVolume": {},
        "scaleIO": {}, "storageos": {"volumeName": "A", "secretRef": {}}, "csi": {"driver": "a_b", "nodePublishSecretRef": {}}, "nfs": {"path": "x"},
    })
}

#[test]
fn sources_of_pods() {
    let volume = |(kind, source): (&String, &Value)| json!({"name": kind.to_lowercase(), kind: source});
    let volumes: Vec<Value> = bad_sources()
        .as_object()
        .expect("sources")
        .iter()
        .map(volume)
        .collect();
    let containers = json!([{"name": "a", "image": "a:1"}]);
    assert_snapshot!(errors(
        PODS,
        pod(json!({"containers": containers, "volumes": volumes}))
    ));
}

#[test]
fn sources_of_volumes() {
    let mut all = Vec::new();
    for (kind, source) in bad_sources().as_object().expect("sources") {
        let spec =
            json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, kind: source.clone()});
        let volume = json!({"metadata": {"name": "v"}, "spec": spec});
        all.push(errors(PERSISTENTVOLUMES, volume));
    }
    assert_snapshot!(all.join("\n"));
}

#[test]
fn addresses_are_strict() {
    let of = |ip: &str, range: &str| {
        let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}], "externalIPs": [ip], "loadBalancerSourceRanges": [range]});
        errors(SERVICES, json!({"metadata": {"name": "1a"}, "spec": spec}))
    };
    assert_eq!(of("1.2.3.4", " 10.1.0.0/16 "), "");
    assert_snapshot!(
        [
            of("01.2.3.4", "10.1.0.0/08"),
            of("::ffff:1.2.3.4", "10.1.2.3/16"),
            of("0.0.0.0", "::ffff:10.0.0.0/104"),
            of("fe80::1", "10.0.0.0/33"),
            of("x", "10.0.0.0/+8"),
        ]
        .join("\n")
    );
    assert!(rules(SERVICES).check_name("1a").is_empty());
}

#[test]
fn what_only_some_pods_have() {
    let container = json!({"name": "a", "image": "a:1", "securityContext": {"windowsOptions": {"runAsUserName": "..\\u\\v", "hostProcess": true}, "procMount": "Unmasked"},
        "resources": {"claims": [{"name": "gpu"}, {"name": "x"}, {"name": "gpu"}], "limits": {"cpu": "3"}, "requests": {"cpu": "3"}},
        "env": [{"name": "F", "valueFrom": {"fileKeyRef": {"volumeName": "gone", "path": "../f", "key": "a=b"}}}]});
    let more = json!({"containers": [container], "os": {"name": "linux"}, "hostnameOverride": "A", "setHostnameAsFQDN": true, "resources": {"limits": {"cpu": "2", "pods": "1"}, "requests": {"cpu": "1"}},
        "resourceClaims": [{"name": "gpu"}, {"name": "gpu", "resourceClaimName": "A"}], "securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}, "hostNetwork": true});
    assert_snapshot!(errors(PODS, pod(more)));
}

#[test]
fn projected_sources() {
    let source = |kind: &str, source: Value| json!({kind: source});
    let sources = [
        source(
            "clusterTrustBundle",
            json!({"name": "a", "signerName": "b.c/d", "path": "x"}),
        ),
        source("clusterTrustBundle", json!({"signerName": "b", "path": "x"})),
        source(
            "podCertificate",
            json!({"signerName": "A.b/C", "keyType": "RSA", "maxExpirationSeconds": 60}),
        ),
    ];
    let volume = json!({"name": "v", "projected": {"sources": sources}});
    let containers = json!([{"name": "a", "image": "a:1"}]);
    // A new pod loses them; this one had them before.
    let spec = json!({"containers": containers, "volumes": [volume]});
    let mut found = Errors::new();
    rules(PODS).validate(&defaulted(PODS, pod(spec)), &mut found);
    assert_snapshot!(lines(&found));
}

/// Errors of a change from one spec to another.
fn changed(old: Value, new: Value) -> String {
    let mut errors = Errors::new();
    let (old, new) = (prepared(PODS, pod(old)), prepared(PODS, pod(new)));
    rules(PODS).validate_update(Write::Update, &new, &old, &mut errors);
    lines(&errors)
}

#[test]
fn a_gated_pod_may_ask_for_more_of_its_nodes() {
    let with = |keys: &[&str], more: Value| {
        let exists: Vec<Value> = keys
            .iter()
            .map(|k| json!({"key": k, "operator": "Exists"}))
            .collect();
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": exists}]});
        let mut spec = json!({"containers": [{"name": "a", "image": "a:1"}], "schedulingGates": [{"name": "g"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}});
        for (key, value) in more.as_object().expect("fields") {
            spec[key] = value.clone();
        }
        spec
    };
    let none = json!({});
    assert_eq!(
        changed(with(&["a"], none.clone()), with(&["a", "b"], none.clone())),
        ""
    );
    // What stands for nothing is no change.
    assert_eq!(
        changed(
            with(&["a"], none.clone()),
            with(&["a"], json!({"hostNetwork": false, "hostname": ""}))
        ),
        ""
    );
    assert_snapshot!(changed(with(&["a"], none.clone()), with(&["b"], none)));
}

#[test]
fn what_a_pods_status_may_say() {
    let mut errors = Errors::new();
    let old = pod(json!({"nodeName": "n"}));
    let mut new = old.clone();
    new["status"] = json!({"conditions": [{"type": "Ready"}, {"type": "a b", "observedGeneration": -1}], "nominatedNodeName": "m", "hostIP": "1.2.3.4",
        "hostIPs": [{"ip": "1.2.3.5"}], "podIPs": [{"ip": "1.2.3.4"}, {"ip": "01.2.3.4"}], "observedGeneration": -1});
    rules(PODS).validate_update(Write::Status, &new, &old, &mut errors);
    assert_snapshot!(lines(&errors));
}
