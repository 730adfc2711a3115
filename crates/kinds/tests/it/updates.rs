//! What may change, and what is said of the rest.

use crate::{lines, prepared, rules};
use insta::assert_snapshot;
use kinds::Write;
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::pod::PODS;
use kinds::statefulset::STATEFULSETS;
use meta::{Errors, Res};
use serde_json::{Value, json};

/// Errors of setting `changes` (JSON pointers and values) on an object.
fn update(res: Res, write: Write, object: &Value, changes: &[(&str, Value)]) -> String {
    let mut new = object.clone();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = new.pointer_mut(parent).expect("the parent exists");
        match parent.as_array_mut() {
            Some(list) => list.push(value.clone()),
            None => parent[key] = value.clone(),
        }
    }
    let mut errors = Errors::new();
    rules(res).validate_update(write, &new, object, &mut errors);
    lines(&errors)
}

fn pod(more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "web", "image": "a:1"}]});
    for (key, value) in more.as_object().expect("fields") {
        spec[key] = value.clone();
    }
    prepared(PODS, crate::pod(spec))
}

#[test]
fn a_pod_changes_little() {
    let of = |more: Value, changes: &[(&str, Value)]| update(PODS, Write::Update, &pod(more), changes);
    let plain = || json!({});
    assert_eq!(of(plain(), &[("/spec/containers/0/image", "a:2".into())]), "");
    assert_eq!(of(plain(), &[("/spec/activeDeadlineSeconds", 5.into())]), "");
    assert_eq!(
        of(
            plain(),
            &[("/spec/tolerations/-", json!({"key": "x", "operator": "Exists"}))]
        ),
        ""
    );
    assert_eq!(
        of(
            json!({"terminationGracePeriodSeconds": -3}),
            &[("/spec/terminationGracePeriodSeconds", 1.into())]
        ),
        ""
    );
    assert_eq!(
        of(
            json!({"schedulingGates": [{"name": "a"}]}),
            &[
                ("/spec/schedulingGates", json!([])),
                ("/spec/nodeSelector", json!({"a": "b"}))
            ]
        ),
        ""
    );
    assert_snapshot!(
        [
            of(
                plain(),
                &[
                    ("/spec/hostname", "x".into()),
                    ("/spec/containers/0/command", json!(["a"]))
                ]
            ),
            of(
                plain(),
                &[("/spec/containers/-", json!({"name": "b", "image": "b"}))]
            ),
            of(
                json!({"activeDeadlineSeconds": 5}),
                &[("/spec/activeDeadlineSeconds", 6.into())]
            ),
            of(
                json!({"activeDeadlineSeconds": 5}),
                &[("/spec/activeDeadlineSeconds", Value::Null)]
            ),
            of(plain(), &[("/spec/tolerations", json!([]))]),
            of(plain(), &[("/spec/schedulingGates", json!([{"name": "a"}]))]),
            of(
                json!({"schedulingGates": [{"name": "a"}], "nodeSelector": {"a": "b"}}),
                &[("/spec/nodeSelector", json!({"a": "c"}))]
            ),
        ]
        .join("\n")
    );
}

#[test]
fn a_binding_and_ephemeral_containers_have_their_own_way() {
    let plain = pod(json!({}));
    assert_eq!(
        update(
            PODS,
            Write::Other("binding"),
            &plain,
            &[("/spec/nodeName", "n".into())]
        ),
        ""
    );
    let debug = ("/spec/ephemeralContainers", json!([{"name": "d", "image": "d"}]));
    assert_eq!(
        update(PODS, Write::Other("ephemeralcontainers"), &plain, &[debug]),
        ""
    );
    let cpu = |n: &str| ("/spec/containers/0/resources", json!({"requests": {"cpu": n}}));
    let asking = pod(
        json!({"containers": [{"name": "web", "image": "a:1", "resources": {"requests": {"cpu": "1"}}}]}),
    );
    assert_eq!(update(PODS, Write::Other("resize"), &asking, &[cpu("2")]), "");
    assert_eq!(
        update(PODS, Write::Other("resize"), &plain, &[cpu("2")]),
        "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"
    );
}

fn workload(res: Res) -> Value {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    prepared(
        res,
        json!({"metadata": {"name": "web"}, "spec": {"serviceName": "web", "volumeClaimTemplates": [claim], "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}}}),
    )
}

#[test]
fn a_statefulset_keeps_its_identity() {
    let of =
        |changes: &[(&str, Value)]| update(STATEFULSETS, Write::Update, &workload(STATEFULSETS), changes);
    assert_eq!(
        of(&[
            ("/spec/replicas", 5.into()),
            ("/spec/ordinals", json!({"start": 3})),
            ("/spec/minReadySeconds", 3.into()),
            ("/spec/template/spec/containers/0/image", "a:2".into()),
            ("/spec/updateStrategy", json!({"type": "OnDelete"}))
        ]),
        ""
    );
    let sentence = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    for change in [
        ("/spec/serviceName", "x".into()),
        ("/spec/podManagementPolicy", "Parallel".into()),
        (
            "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
            "2Gi".into(),
        ),
        ("/spec/selector/matchLabels", json!({"a": "b"})),
    ] {
        assert!(of(&[change]).ends_with(sentence));
    }
}

#[test]
fn selectors_and_kept_states_are_immutable() {
    let selector = ("/spec/selector/matchLabels", json!({"a": "b"}));
    assert_eq!(
        update(DEPLOYMENTS, Write::Update, &workload(DEPLOYMENTS), &[selector]),
        "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable"
    );
    let revision = json!({"data": {"spec": 1}, "revision": 1});
    assert_eq!(
        update(
            CONTROLLERREVISIONS,
            Write::Update,
            &revision,
            &[("/revision", 2.into())]
        ),
        ""
    );
    assert_eq!(
        update(
            CONTROLLERREVISIONS,
            Write::Update,
            &revision,
            &[("/data", json!({}))]
        ),
        "data: Invalid value: {}: field is immutable"
    );
}

#[test]
fn status_counters_make_sense() {
    let mut object = workload(DEPLOYMENTS);
    object["status"]["collisionCount"] = 3.into();
    let status = json!({"replicas": 2, "readyReplicas": 3, "availableReplicas": 4, "unavailableReplicas": -1, "collisionCount": 1});
    assert_snapshot!(
        [
            update(
                DEPLOYMENTS,
                Write::Status,
                &object,
                &[("/status", status.clone())]
            ),
            update(
                STATEFULSETS,
                Write::Status,
                &workload(STATEFULSETS),
                &[("/status", status)]
            ),
        ]
        .join("\n")
    );
}

/// What a status says of containers is held against the spec, and containers that are through do not run again.
#[test]
fn a_status_fits_its_pod() {
    let spec = json!({"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "a:1", "resources": {"requests": {"cpu": "1"}}}]});
    let status = |state: Value| {
        let mut object = pod(spec.clone());
        object["status"]["containerStatuses"] = json!([{"name": "c", "state": state}]);
        object
    };
    let ended = |code: i64| status(json!({"terminated": {"exitCode": code}}));
    let running = status(json!({"running": {}}));
    let change = |new: &Value, old: &Value| {
        let mut errors = Errors::new();
        rules(PODS).validate_update(Write::Status, new, old, &mut errors);
        lines(&errors)
    };
    assert_eq!(change(&running, &ended(1)), "");
    let mut wrong = running.clone();
    wrong["status"]["qosClass"] = "Guaranteed".into();
    wrong["status"]["resourceClaimStatuses"] = json!([{"name": "x"}]);
    wrong["status"]["containerStatuses"][0]["allocatedResourcesStatus"] = json!([{"name": "example.com/d", "resources": [{"resourceID": "a", "health": "Well"}, {"resourceID": "a", "health": "Healthy"}]}]);
    wrong["status"]["containerStatuses"][0]["user"] = json!({"linux": {"uid": -1, "gid": 1}});
    assert_snapshot!(change(&wrong, &ended(0)));
}
