//! Claims, volumes and classes: defaults, what is refused, and what may change.

use crate::{cluster, errors, lines, now, prepared, rules};
use insta::assert_snapshot;
use kinds::persistentvolume::{self, PERSISTENTVOLUMES as VOLUMES};
use kinds::persistentvolumeclaim::{CONTROLLER, PERSISTENTVOLUMECLAIMS as CLAIMS, PROTECTION};
use kinds::storageclass::STORAGECLASSES as CLASSES;
use kinds::workload::PODS;
use kinds::{Act, Controller, Key, Registry, Seen, Write};
use meta::{Change, ChangeKind, Errors, Res};
use serde_json::{Value, json};

fn claim(spec: Value) -> Value {
    json!({"metadata": {"name": "data-web-0", "namespace": "shop", "uid": "u-1"}, "spec": spec})
}

fn volume(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1", "uid": "u-9", "finalizers": [persistentvolume::VOLUME_FINALIZER]}, "spec": spec})
}

fn class(name: &str, default: bool, grows: bool) -> Value {
    json!({"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default.to_string()}},
        "provisioner": "isopod.dev/folder", "allowVolumeExpansion": grows})
}

/// The errors of a change from `old` to `new`.
fn changed(res: Res, old: &Value, new: &Value) -> String {
    let mut found = Errors::new();
    rules(res).validate_update(Write::Update, new, old, &mut found);
    lines(&found)
}

#[test]
fn a_claim_gets_its_defaults_and_class() {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "256M"}}, "dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}});
    let mut object = prepared(CLAIMS, claim(spec));
    let seen = cluster(&[
        (CLASSES, class("slow", false, false)),
        (CLASSES, class("standard", true, false)),
    ]);
    rules(CLAIMS)
        .admit(Write::Create, &mut object, None, &seen)
        .expect("nothing is against it");
    assert_snapshot!("claim", format!("{}\n{}", object["spec"], object["status"]));
    let mut chosen = prepared(CLAIMS, claim(json!({"storageClassName": ""})));
    rules(CLAIMS)
        .admit(Write::Create, &mut chosen, None, &seen)
        .expect("nothing is against it");
    assert_eq!(chosen["spec"]["storageClassName"], "", "no class is a choice");
    assert_eq!(rules(CLAIMS).finalizers(), ["kubernetes.io/pvc-protection"]);
}

#[test]
fn claims_that_are_wrong() {
    let empty = errors(CLAIMS, claim(json!({})));
    let wrong = json!({"accessModes": ["ReadWriteOncePod", "Write"], "resources": {"requests": {"storage": "0"}}, "storageClassName": "A b",
        "volumeMode": "Tape", "selector": {"matchLabels": {"-": "x"}}, "dataSource": {"kind": "Pod", "name": ""}});
    assert_snapshot!(
        "claim_wrong",
        format!("{empty}\n--\n{}", errors(CLAIMS, claim(wrong)))
    );
}

#[test]
fn a_claim_stays_as_it_is_but_may_grow() {
    let old = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "standard", "volumeName": "pv-1", "volumeMode": "Filesystem"}, "status": {"phase": "Bound", "capacity": {"storage": "2Gi"}}});
    let mut grown = old.clone();
    grown["spec"]["resources"]["requests"]["storage"] = "3Gi".into();
    assert_eq!(changed(CLAIMS, &old, &grown), "");
    let admit = |grows: bool| {
        let seen = cluster(&[(CLASSES, class("standard", true, grows))]);
        let result = rules(CLAIMS).admit(Write::Update, &mut grown.clone(), Some(&old), &seen);
        result.map_err(|status| status.message)
    };
    assert_eq!(admit(true), Ok(()));
    assert_snapshot!(
        "claim_cannot_grow",
        admit(false).expect_err("the class does not allow it")
    );
    let mut other = old.clone();
    other["spec"]["accessModes"] = json!(["ReadWriteMany"]);
    other["spec"]["volumeMode"] = "Block".into();
    other["spec"]["resources"]["requests"]["storage"] = "1Gi".into();
    assert_snapshot!("claim_changed", changed(CLAIMS, &old, &other));
    let mut pending = old.clone();
    pending["status"]["phase"] = "Pending".into();
    pending["spec"]["volumeName"] = "".into();
    pending["spec"]["storageClassName"] = Value::Null;
    let mut bound = pending.clone();
    bound["spec"]["volumeName"] = "pv-1".into();
    bound["spec"]["storageClassName"] = "standard".into();
    assert_eq!(
        changed(CLAIMS, &pending, &bound),
        "",
        "the binder may fill these in"
    );
}

#[test]
fn volumes() {
    let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}});
    let good = prepared(VOLUMES, volume(spec.clone()));
    assert_snapshot!("volume", format!("{}\n{}", good["spec"], good["status"]));
    assert_eq!(errors(VOLUMES, volume(spec)), "");
    let empty = errors(VOLUMES, volume(json!({})));
    let wrong = json!({"capacity": {"storage": "-1", "cpu": "1"}, "accessModes": ["X"], "hostPath": {"path": "/a/../b", "type": "Dir"}, "nfs": {},
        "persistentVolumeReclaimPolicy": "Keep", "nodeAffinity": {}, "storageClassName": "A"});
    let wrong = errors(VOLUMES, volume(wrong));
    let local = json!({"capacity": {"storage": "1"}, "accessModes": ["ReadOnlyMany"], "local": {}});
    let local = errors(VOLUMES, volume(local));
    assert_snapshot!("volume_wrong", [empty, wrong, local].join("\n--\n"));
    let mut moved = good.clone();
    moved["spec"]["hostPath"]["path"] = "/other".into();
    assert_snapshot!("volume_moved", changed(VOLUMES, &good, &moved));
}

#[test]
fn a_deleted_volume_stays_while_it_is_bound() {
    let plan = |phase: &str| {
        let mut object = volume(json!({}));
        object["metadata"]["deletionTimestamp"] = "2026-11-21T09:59:00Z".into();
        object["status"] = json!({"phase": phase});
        let (snapshot, rows) = (cluster(&[(VOLUMES, object)]), Registry::builtin());
        let seen = Seen {
            now: now(),
            snapshot: &snapshot,
            rows: &rows,
        };
        (persistentvolume::PROTECTION.plan)(&seen, &Key::new(VOLUMES, "", "pv-1"))
    };
    assert!(plan("Bound").acts.is_empty());
    assert_snapshot!("volume_released", format!("{:?}", plan("Available").acts));
}

/// What the plan for a key decides in this cluster, in words.
fn planned(controller: Controller, key: &Key, objects: &[(Res, Value)]) -> String {
    let (snapshot, rows) = (cluster(objects), Registry::builtin());
    let seen = Seen {
        now: now(),
        snapshot: &snapshot,
        rows: &rows,
    };
    let plan = (controller.plan)(&seen, key);
    let acts = plan.acts.iter().map(|act| match act {
        Act::Patch {
            subresource, patch, ..
        } => format!("patch {subresource}{patch}"),
        other => format!("{other:?}"),
    });
    acts.chain(plan.why.iter().cloned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn user_of_claim(node: &str, phase: &str) -> Value {
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]);
    json!({"metadata": {"name": "web-0", "namespace": "shop", "uid": "u-5"},
        "spec": {"nodeName": node, "volumes": volumes}, "status": {"phase": phase}})
}

/// "A PVC is in active use by a Pod when a Pod object exists that is using the PVC"; one without a node does not use it.
#[test]
fn a_deleted_claim_is_kept_by_pods_that_have_a_node() {
    let mut going = claim(json!({}));
    going["metadata"]["deletionTimestamp"] = "2026-11-21T09:59:00Z".into();
    going["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    let plan = |node: &str, phase: &str| {
        let objects = [(CLAIMS, going.clone()), (PODS, user_of_claim(node, phase))];
        planned(PROTECTION, &Key::new(CLAIMS, "shop", "data-web-0"), &objects)
    };
    assert_eq!(plan("node-1", "Running"), "is kept while pod web-0 uses it");
    assert_eq!(plan("node-1", "Succeeded"), "is kept while pod web-0 uses it");
    assert_eq!(plan("", "Pending"), r#"patch {"metadata":{"finalizers":null}}"#);
}

/// A volume that was made or chosen for claim `u-1`.
fn reserved(name: &str, annotations: Value) -> Value {
    let claim = json!({"namespace": "shop", "name": "data-web-0", "uid": "u-1"});
    json!({"metadata": {"name": name, "uid": name, "annotations": annotations}, "status": {"phase": "Available"},
        "spec": {"claimRef": claim, "persistentVolumeReclaimPolicy": "Delete"}})
}

#[test]
fn a_volume_hears_of_its_claims_end_although_the_claim_never_named_it() {
    let made = reserved(
        "pvc-u-1",
        json!({"pv.kubernetes.io/provisioned-by": "isopod.dev/folder"}),
    );
    let before = cluster(&[(CLAIMS, claim(json!({}))), (VOLUMES, made.clone())]);
    let going = before
        .get(CLAIMS, "shop", "data-web-0")
        .expect("it is there")
        .clone();
    let (after, rows) = (cluster(&[(VOLUMES, made.clone())]), Registry::builtin());
    let seen = Seen {
        now: now(),
        snapshot: &after,
        rows: &rows,
    };
    let change = Change {
        res: CLAIMS,
        kind: ChangeKind::Deleted,
        previous: Some(going.clone()),
        object: going,
        revision: 9,
    };
    let key = Key::new(VOLUMES, "", "pvc-u-1");
    assert!((CONTROLLER.wakes)(&change, &seen).contains(&key));
    assert_eq!(
        planned(CONTROLLER, &key, &[(VOLUMES, made)]),
        r#"patch status{"status":{"phase":"Released"}}"#
    );
}

#[test]
fn a_volume_is_freed_when_its_claim_has_got_another() {
    let elsewhere = claim(json!({"volumeName": "other"}));
    let plan = |annotations: Value| {
        let objects = [
            (CLAIMS, elsewhere.clone()),
            (VOLUMES, reserved("mine", annotations)),
        ];
        planned(CONTROLLER, &Key::new(VOLUMES, "", "mine"), &objects)
    };
    assert_snapshot!(
        "volume_freed",
        [
            plan(json!({"pv.kubernetes.io/provisioned-by": "isopod.dev/folder"})),
            plan(json!({"pv.kubernetes.io/bound-by-controller": "yes"})),
            plan(json!({})),
        ]
        .join("\n")
    );
}

#[test]
fn classes() {
    let good = prepared(CLASSES, class("standard", true, false));
    assert_eq!(good["reclaimPolicy"], "Delete");
    assert_eq!(good["volumeBindingMode"], "Immediate");
    let wrong = json!({"metadata": {"name": "x"}, "reclaimPolicy": "Recycle", "volumeBindingMode": "Later", "parameters": {"": "x"},
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": []}, {"key": "a", "values": ["b"]}]}]});
    assert_snapshot!("class_wrong", errors(CLASSES, wrong));
    let mut other = good.clone();
    other["parameters"] = json!({"folder": "/x"});
    other["provisioner"] = "x.y/z".into();
    other["reclaimPolicy"] = "Retain".into();
    other["volumeBindingMode"] = "WaitForFirstConsumer".into();
    assert_snapshot!("class_changed", changed(CLASSES, &good, &other));
}

/// What the binder does about a bound claim of 3Gi whose volume has 2Gi.
fn growth(grows: bool, provisioner: &str) -> Vec<String> {
    let mut claim = claim(
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": "standard", "volumeName": "pv-1"}),
    );
    claim["metadata"]["uid"] = "u-claim".into();
    claim["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
    claim["status"] =
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}});
    let key = |name: &str| {
        kinds::Key::new(
            CLAIMS,
            claim["metadata"]["namespace"].as_str().unwrap_or(""),
            name,
        )
    };
    let key = key(claim["metadata"]["name"].as_str().expect("a name"));
    let mut pv = volume(
        json!({"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
        "claimRef": {"namespace": claim["metadata"]["namespace"], "name": claim["metadata"]["name"], "uid": "u-claim"}}),
    );
    pv["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": provisioner});
    let seen = cluster(&[
        (CLASSES, class("standard", true, grows)),
        (CLAIMS, claim),
        (VOLUMES, pv),
    ]);
    let rows = kinds::Registry::builtin();
    let seen = kinds::Seen {
        now: crate::now(),
        snapshot: &seen,
        rows: &rows,
    };
    let plan = (kinds::persistentvolumeclaim::CONTROLLER.plan)(&seen, &key);
    let act = |act: &kinds::Act| match act {
        kinds::Act::Patch { target, patch, .. } => format!("{} {patch}", target.name),
        kinds::Act::Event(event) => format!("{}: {}", event.reason, event.message),
        other => format!("{other:?}"),
    };
    plan.acts.iter().map(act).collect()
}

#[test]
fn a_volume_of_our_own_grows_with_its_claim() {
    assert_eq!(
        growth(true, "isopod.dev/folder"),
        [
            "pv-1 {\"spec\":{\"capacity\":{\"storage\":\"3Gi\"}}}",
            "Resizing: External resizer is resizing volume pv-1",
            "VolumeResizeSuccessful: Resize volume succeeded",
        ]
    );
    assert_eq!(
        growth(false, "isopod.dev/folder"),
        [""; 0],
        "its class does not let it"
    );
    assert_eq!(
        growth(true, "example.com/other"),
        [""; 0],
        "somebody else's to grow"
    );
}
