//! Classes of priority and of runtimes, storage drivers and what they tell of nodes and volumes.

use crate::printed::line;
use crate::{cluster, decoded, defaulted, pod, prepared, rules, wrong, wrong_update};
use insta::assert_snapshot;
use kinds::Write;
use kinds::csidriver::CSIDRIVERS;
use kinds::csinode::CSINODES;
use kinds::csistoragecapacity::CSISTORAGECAPACITIES;
use kinds::pod::PODS;
use kinds::priorityclass::{PRIORITYCLASSES, system_classes};
use kinds::runtimeclass::RUNTIMECLASSES;
use kinds::serviceaccount::SERVICEACCOUNTS;
use kinds::volumeattachment::VOLUMEATTACHMENTS;
use kinds::volumeattributesclass::VOLUMEATTRIBUTESCLASSES;
use meta::Res;
use serde_json::{Value, json};

const CREATED: &str = "2026-11-21T09:59:00Z";

fn named(name: &str, more: Value) -> Value {
    let mut object = json!({"metadata": {"name": name, "creationTimestamp": CREATED}});
    crate::merge(&mut object, &more);
    object
}

fn attachment() -> Value {
    named(
        "a",
        json!({"spec": {"attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}}),
    )
}

fn driver() -> Value {
    named(
        "d.example.com",
        json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b", "expirationSeconds": 600}]}}),
    )
}

fn csi_node() -> Value {
    let driver =
        json!({"name": "d.example.com", "nodeID": "n", "topologyKeys": ["a"], "allocatable": {"count": 3}});
    named("n", json!({"spec": {"drivers": [driver]}}))
}

fn capacity() -> Value {
    named(
        "c",
        json!({"storageClassName": "fast", "capacity": "1024Mi", "nodeTopology": {"matchLabels": {"a": "b"}}}),
    )
}

fn runtime() -> Value {
    named(
        "gvisor",
        json!({"handler": "runsc", "overhead": {"podFixed": {"cpu": "10m"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists"}]}}),
    )
}

#[test]
fn wrong_priority_classes() {
    let base = named("high", json!({"value": 5}));
    let changes = [
        json!({"value": 1_000_000_001}),
        json!({"preemptionPolicy": "Sometimes"}),
        json!({"preemptionPolicy": ""}),
        json!({"metadata": {"name": "system-mine"}}),
        json!({"metadata": {"name": "system-node-critical"}}),
        json!({"metadata": {"name": "system-cluster-critical"}, "value": 2_000_000_000, "globalDefault": true}),
        json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000, "preemptionPolicy": "x"}),
        json!({"value": 2_000_000_000, "preemptionPolicy": "Maybe"}),
    ];
    assert_snapshot!(wrong(PRIORITYCLASSES, &base, &changes));
    let updates = [json!({"value": 6}), json!({"preemptionPolicy": "Never"})];
    assert_snapshot!(
        "priority_class_changed",
        wrong_update(PRIORITYCLASSES, Write::Status, &base, &updates)
    );
}

#[test]
fn one_priority_class_is_the_default_and_the_systems_stay() {
    let rules = rules(PRIORITYCLASSES);
    let mut second = named("second", json!({"value": 1, "globalDefault": true}));
    let seen = cluster(&[(
        PRIORITYCLASSES,
        named("first", json!({"value": 1, "globalDefault": true})),
    )]);
    let refused = rules
        .admit(Write::Create, &mut second, None, &seen)
        .expect_err("a second default");
    assert_eq!(
        refused.message,
        "priorityclasses.scheduling.k8s.io \"second\" is forbidden: PriorityClass first is already marked as default. Only one default can exist"
    );
    for class in system_classes() {
        let class = defaulted(PRIORITYCLASSES, class);
        assert_eq!(crate::errors(PRIORITYCLASSES, class.clone()), "");
        assert!(rules.admit_delete(&class, &seen).is_err());
    }
}

#[test]
fn wrong_runtime_classes() {
    let changes = [
        json!({"handler": ""}),
        json!({"handler": "Run_SC"}),
        json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
        json!({"overhead": {"podFixed": {"hugepages-2Mi": "2Mi", "cpu": null}}}),
        json!({"overhead": {"podFixed": {"a b": "1"}}}),
        json!({"scheduling": {"nodeSelector": {"a b": "c d"}}}),
        json!({"scheduling": {"tolerations": [{"key": "a"}, {"key": "a"}]}}),
        json!({"scheduling": {"tolerations": [{"operator": "Sometimes", "effect": "Never"}, {"tolerationSeconds": 3}]}}),
    ];
    assert_snapshot!(wrong(RUNTIMECLASSES, &runtime(), &changes));
    let updates = [json!({"handler": "kata"})];
    assert_snapshot!(
        "runtime_class_changed",
        wrong_update(RUNTIMECLASSES, Write::Update, &runtime(), &updates)
    );
    let mut old = runtime();
    crate::merge(
        &mut old,
        &json!({"scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}),
    );
    assert_eq!(
        rules(RUNTIMECLASSES).warnings(&old, None),
        ["scheduling.nodeSelector: deprecated since v1.14; use \"kubernetes.io/os\" instead"]
    );
}

#[test]
fn wrong_storage_drivers() {
    let changes = [
        json!({"spec": {"fsGroupPolicy": "Always"}}),
        json!({"spec": {"volumeLifecycleModes": ["Persistent", "Forever"]}}),
        json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}}),
        json!({"spec": {"tokenRequests": [{"expirationSeconds": 599}]}}),
        json!({"spec": {"tokenRequests": [{"expirationSeconds": 4_294_967_297_i64}]}}),
        json!({"spec": {"nodeAllocatableUpdatePeriodSeconds": 9}}),
        json!({"spec": {"serviceAccountTokenInSecrets": true, "tokenRequests": []}}),
        json!({"spec": {"fsGroupPolicy": "", "nodeAllocatableUpdatePeriodSeconds": -1}}),
    ];
    assert_snapshot!(wrong(CSIDRIVERS, &driver(), &changes));
    let updates = [json!({"spec": {"attachRequired": false, "volumeLifecycleModes": ["Ephemeral"]}})];
    assert_snapshot!(
        "csi_driver_changed",
        wrong_update(CSIDRIVERS, Write::Update, &driver(), &updates)
    );
    assert_eq!(rules(CSIDRIVERS).warnings(&driver(), None).len(), 1);
}

#[test]
fn wrong_csi_nodes() {
    let driver = |more: Value| {
        let mut driver = json!({"name": "d.example.com", "nodeID": "n"});
        crate::merge(&mut driver, &more);
        json!({"spec": {"drivers": [driver]}})
    };
    let twice = json!({"name": "d", "nodeID": "n"});
    let changes = [
        driver(json!({"name": ""})),
        driver(json!({"name": "D_x"})),
        driver(json!({"name": "a".repeat(64)})),
        driver(json!({"nodeID": ""})),
        driver(json!({"nodeID": "n".repeat(257)})),
        driver(json!({"topologyKeys": ["a", "a", "", "a b"]})),
        driver(json!({"allocatable": {"count": -1}})),
        json!({"spec": {"drivers": [twice, twice]}}),
    ];
    assert_snapshot!(wrong(CSINODES, &csi_node(), &changes));
    let updates = [
        driver(json!({"nodeID": "other"})),
        driver(json!({"topologyKeys": ["a"]})),
    ];
    assert_snapshot!(
        "csi_node_changed",
        wrong_update(CSINODES, Write::Update, &csi_node(), &updates)
    );
}

#[test]
fn wrong_storage_capacities() {
    let selector = |more: Value| json!({"nodeTopology": {"matchExpressions": [more]}});
    let changes = [
        json!({"storageClassName": null}),
        json!({"storageClassName": "Fast Class"}),
        json!({"capacity": "-1"}),
        json!({"nodeTopology": {"matchLabels": {"a b": "c d"}}}),
        selector(json!({"key": "a", "operator": "In"})),
        selector(json!({"key": "a", "operator": "Exists", "values": ["x"]})),
        selector(json!({"key": "", "operator": "Near"})),
        selector(json!({"key": "a", "operator": "NotIn", "values": ["-"]})),
    ];
    assert_snapshot!(wrong(CSISTORAGECAPACITIES, &capacity(), &changes));
    let updates = [json!({"storageClassName": "slow"}), json!({"nodeTopology": null})];
    assert_snapshot!(
        "storage_capacity_changed",
        wrong_update(CSISTORAGECAPACITIES, Write::Update, &capacity(), &updates)
    );
}

#[test]
fn wrong_volume_attachments() {
    let inline = |more: Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "h"}});
        crate::merge(&mut spec, &more);
        json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": spec}}})
    };
    let changes = [
        json!({"spec": {"attacher": ""}}),
        json!({"spec": {"nodeName": "A b"}}),
        json!({"spec": {"source": {"persistentVolumeName": null}}}),
        json!({"spec": {"source": {"persistentVolumeName": ""}}}),
        json!({"spec": {"source": {"persistentVolumeName": "No"}}}),
        json!({"spec": {"source": {"inlineVolumeSpec": {}}}}),
        inline(
            json!({"capacity": {"storage": "1Gi"}, "claimRef": {}, "storageClassName": "x", "volumeMode": "Block"}),
        ),
        inline(
            json!({"csi": null, "accessModes": [], "persistentVolumeReclaimPolicy": "Delete", "nodeAffinity": {}}),
        ),
        json!({"status": {"attached": false, "attachError": {"message": "m".repeat(1025), "errorCode": -1}}}),
    ];
    assert_snapshot!(wrong(VOLUMEATTACHMENTS, &attachment(), &changes));
    let updates = [json!({"spec": {"nodeName": "m"}})];
    assert_snapshot!(
        "volume_attachment_changed",
        wrong_update(VOLUMEATTACHMENTS, Write::Update, &attachment(), &updates)
    );
}

#[test]
fn wrong_attributes_classes() {
    let base = named(
        "gold",
        json!({"driverName": "d.example.com", "parameters": {"iops": "1"}}),
    );
    let many: serde_json::Map<String, Value> = (0..513).map(|i| (format!("k{i}"), json!("v"))).collect();
    let changes = [
        json!({"driverName": ""}),
        json!({"driverName": "a b"}),
        json!({"driverName": "a/b/c"}),
        json!({"driverName": "/"}),
        json!({"parameters": null}),
        json!({"parameters": {"": "x"}}),
        json!({"parameters": {"big": "v".repeat(256 * 1024)}}),
        json!({"parameters": many}),
    ];
    let told = wrong(VOLUMEATTRIBUTESCLASSES, &base, &changes);
    let short: Vec<String> = told
        .lines()
        .map(|line| line.chars().take(200).collect())
        .collect();
    assert_snapshot!(short.join("\n"));
    let updates = [
        json!({"driverName": "other"}),
        json!({"parameters": {"iops": "2"}}),
    ];
    assert_snapshot!(
        "attributes_class_changed",
        wrong_update(VOLUMEATTRIBUTESCLASSES, Write::Update, &base, &updates)
    );
}

#[test]
fn what_is_not_said_is_filled_in() {
    let all = [
        (PRIORITYCLASSES, named("p", json!({"value": 1}))),
        (CSIDRIVERS, named("d", json!({}))),
    ];
    let lines = all.map(|(res, object)| prepared(res, object).to_string());
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn printed() {
    let objects: [(Res, Value); 8] = [
        (
            PRIORITYCLASSES,
            named(
                "p",
                json!({"value": 7, "globalDefault": true, "preemptionPolicy": "Never"}),
            ),
        ),
        (RUNTIMECLASSES, runtime()),
        (CSIDRIVERS, prepared(CSIDRIVERS, driver())),
        (CSIDRIVERS, named("bare", json!({"spec": {}}))),
        (CSINODES, csi_node()),
        (CSISTORAGECAPACITIES, decoded(CSISTORAGECAPACITIES, capacity())),
        (VOLUMEATTACHMENTS, attachment()),
        (VOLUMEATTRIBUTESCLASSES, named("gold", json!({"driverName": "d"}))),
    ];
    let lines: Vec<String> = objects.iter().map(|(res, object)| line(*res, object)).collect();
    assert_snapshot!(lines.join("\n"));
}

/// A pod as the cluster takes it, or why it does not.
fn admitted(spec: Value, more: &[(Res, Value)]) -> String {
    let mut objects = vec![(
        SERVICEACCOUNTS,
        json!({"metadata": {"name": "default", "namespace": "shop"}}),
    )];
    objects.extend_from_slice(more);
    let mut whole =
        json!({"containers": [{"name": "web", "image": "a:1"}], "automountServiceAccountToken": false});
    crate::merge(&mut whole, &spec);
    let mut object = prepared(PODS, pod(whole));
    match rules(PODS).admit(Write::Create, &mut object, None, &cluster(&objects)) {
        Err(status) => format!("{} {}", status.code, status.message),
        Ok(()) => {
            let fields = [
                "priorityClassName",
                "priority",
                "preemptionPolicy",
                "overhead",
                "nodeSelector",
                "tolerations",
            ];
            let told = fields.map(|field| format!("{field}={}", object["spec"][field]));
            told.join(" ")
        }
    }
}

#[test]
fn pods_get_the_priority_of_their_class() {
    let class = |name: &str, more: Value| {
        let class = defaulted(PRIORITYCLASSES, named(name, more));
        (PRIORITYCLASSES, class)
    };
    let system = system_classes().map(|class| (PRIORITYCLASSES, defaulted(PRIORITYCLASSES, class)));
    let mut all: Vec<(Res, Value)> = system.collect();
    all.push(class("low", json!({"value": -5, "preemptionPolicy": "Never"})));
    let mut with_default = all.clone();
    with_default.push(class("usual", json!({"value": 10, "globalDefault": true})));
    with_default.push(class("lesser", json!({"value": 3, "globalDefault": true})));
    let told = [
        admitted(json!({}), &all),
        admitted(json!({}), &with_default),
        admitted(json!({"priorityClassName": "low"}), &with_default),
        admitted(json!({"priorityClassName": "system-node-critical"}), &all),
        admitted(json!({"priorityClassName": "system-node-critical"}), &[]),
        admitted(json!({"priorityClassName": "none"}), &all),
        admitted(json!({"priority": 7}), &all),
        admitted(
            json!({"priorityClassName": "low", "preemptionPolicy": "PreemptLowerPriority"}),
            &all,
        ),
    ];
    assert_snapshot!(told.join("\n"));
}

#[test]
fn pods_get_what_their_runtime_class_brings() {
    let all = [
        (RUNTIMECLASSES, runtime()),
        (RUNTIMECLASSES, named("plain", json!({"handler": "h"}))),
    ];
    let told = [
        admitted(json!({"runtimeClassName": "gvisor"}), &all),
        admitted(json!({"runtimeClassName": "plain"}), &all),
        admitted(json!({"runtimeClassName": "none"}), &all),
        admitted(
            json!({"runtimeClassName": "gvisor", "overhead": {"cpu": "0.01"}}),
            &all,
        ),
        admitted(
            json!({"runtimeClassName": "gvisor", "overhead": {"cpu": "1"}}),
            &all,
        ),
        admitted(
            json!({"runtimeClassName": "plain", "overhead": {"cpu": "1"}}),
            &all,
        ),
        admitted(json!({"overhead": {"cpu": "1"}}), &all),
        admitted(
            json!({"runtimeClassName": "gvisor", "nodeSelector": {"a": "x"}}),
            &all,
        ),
        admitted(
            json!({"runtimeClassName": "gvisor", "nodeSelector": {"c": "d"}, "tolerations": [{"operator": "Exists"}]}),
            &all,
        ),
    ];
    assert_snapshot!(told.join("\n"));
}
