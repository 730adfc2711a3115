//! What plans and the scheduler ask of a pod.

use crate::{now, rules};
use kinds::pod::{self, PODS};
use serde_json::{Value, json};

fn resources(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}})
}

#[test]
fn the_largest_init_step_counts_against_the_sum_of_the_app() {
    let spec = json!({
        "containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}, {"resources": {"requests": {"cpu": "500m"}}}],
        "initContainers": [{"resources": {"requests": {"memory": "3Gi"}}}, {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "100m"}}}],
        "overhead": {"cpu": "10m"},
    });
    let totals = pod::requests(&spec);
    assert_eq!(totals["cpu"].millis(), 2510);
    assert_eq!(totals["memory"].value(), 3 << 30);
    assert!(pod::limits(&spec).is_empty());
}

#[test]
fn quality_of_service() {
    let qos = |containers: Value| pod::qos_class(&json!({"containers": containers}));
    assert_eq!(qos(json!([{}])), "BestEffort");
    assert_eq!(
        qos(json!([{"resources": {"limits": {"example.com/gpu": "1"}}}])),
        "BestEffort"
    );
    assert_eq!(qos(json!([{"resources": resources("1", "1Gi")}])), "Guaranteed");
    assert_eq!(
        qos(json!([{"resources": resources("1", "1Gi")}, {}])),
        "Burstable"
    );
    assert_eq!(
        qos(json!([{"resources": {"requests": {"cpu": "1"}}}])),
        "Burstable"
    );
    assert_eq!(
        qos(
            json!([{"resources": {"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "2", "memory": "1"}}}])
        ),
        "Burstable"
    );
}

#[test]
fn grace_depends_on_the_request_the_pod_and_whether_it_runs() {
    let grace = |spec: Value, phase: &str, asked| {
        rules(PODS).deletion_grace(&json!({"spec": spec, "status": {"phase": phase}}), asked)
    };
    let bound = json!({"nodeName": "n", "terminationGracePeriodSeconds": 7});
    assert_eq!(grace(bound.clone(), "Running", None), Some(7));
    assert_eq!(grace(bound.clone(), "Running", Some(3)), Some(3));
    assert_eq!(grace(bound.clone(), "Running", Some(0)), None);
    assert_eq!(grace(bound.clone(), "Running", Some(-5)), Some(1));
    assert_eq!(grace(bound, "Succeeded", Some(3)), None);
    assert_eq!(
        grace(json!({"terminationGracePeriodSeconds": 7}), "Pending", None),
        None
    );
}

#[test]
fn availability_waits_for_the_seconds_of_readiness() {
    let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T09:59:50Z"}]}});
    assert!(pod::is_ready(&pod));
    assert!(pod::is_available(&pod, 0, now()));
    assert!(pod::is_available(&pod, 10, now()));
    assert!(!pod::is_available(&pod, 11, now()));
    assert_eq!(pod::available_at(&pod, 11), Some(now().plus_seconds(1)));
    assert!(!pod::is_ready(&json!({})));
}

#[test]
fn a_templates_hash_is_its_content() {
    let a: Value =
        serde_json::from_str(r#"{"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"x": null}}"#)
            .expect("json");
    let b: Value =
        serde_json::from_str(r#"{"spec": {}, "metadata": {"labels": {"b": "2", "a": "1"}}}"#).expect("json");
    assert_eq!(pod::template_hash(&a, None), pod::template_hash(&b, None));
    assert_ne!(pod::template_hash(&a, None), pod::template_hash(&a, Some(1)));
    assert_ne!(
        pod::template_hash(&a, None),
        pod::template_hash(&json!({"spec": {}}), None)
    );
    assert!(meta::name::check_dns1123_label(&pod::template_hash(&a, None)).is_empty());
}

#[test]
fn a_pod_from_a_template_belongs_to_its_owner() {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web-1", "namespace": "shop", "uid": "u"}});
    let template = json!({"metadata": {"labels": {"a": "b"}, "name": "ignored"}, "spec": {"containers": []}});
    assert_eq!(
        pod::from_template(&template, &owner),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "labels": {"a": "b"}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": true, "blockOwnerDeletion": true}]}, "spec": {"containers": []}})
    );
}

#[test]
fn pods_are_selected_by_fields_that_they_may_not_spell_out() {
    let field = |object: Value, path: &str| rules(PODS).field(&object, path);
    assert_eq!(field(json!({}), "spec.hostNetwork"), "false");
    assert_eq!(
        field(json!({"spec": {"hostNetwork": true}}), "spec.hostNetwork"),
        "true"
    );
    assert_eq!(
        field(
            json!({"status": {"podIPs": [{"ip": "10.0.0.1"}]}}),
            "status.podIP"
        ),
        "10.0.0.1"
    );
    assert_eq!(field(json!({"spec": {"nodeName": "n"}}), "spec.nodeName"), "n");
}

#[test]
fn typed_pods_answer_as_plain_ones_do() {
    let object = json!({"metadata": {"deletionTimestamp": "2026-11-21T09:59:58Z"}, "spec": {"containers": []}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T09:59:50Z"}]}});
    let typed: k8s_openapi::api::core::v1::Pod = serde_json::from_value(object.clone()).expect("a pod");
    assert!(pod::typed::is_ready(&typed) && pod::is_ready(&object));
    assert!(pod::typed::is_terminating(&typed) && pod::is_terminating(&object));
    assert!(!pod::typed::is_active(&typed) && !pod::is_active(&object));
    assert_eq!(pod::typed::phase(&typed), "Running");
    for seconds in [0, 10, 11] {
        assert_eq!(
            pod::typed::is_available(&typed, seconds, now()),
            pod::is_available(&object, seconds, now())
        );
    }
}
