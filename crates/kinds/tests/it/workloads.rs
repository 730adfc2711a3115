//! Workloads that nothing reconciles yet: PodTemplate, ReplicationController, DaemonSet, Job, CronJob.

use crate::cases::{changed, patched, refused, table};
use crate::{prepared, rules};
use insta::{assert_json_snapshot, assert_snapshot};
use kinds::Write;
use kinds::cronjob::CRONJOBS;
use kinds::daemonset::DAEMONSETS;
use kinds::job::JOBS;
use kinds::podtemplate::PODTEMPLATES;
use kinds::replicationcontroller::REPLICATIONCONTROLLERS;
use serde_json::{Value, json};

fn template(restart: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "a:1"}]}})
}

fn metadata() -> Value {
    json!({"name": "web", "namespace": "shop", "uid": "u-1", "creationTimestamp": "2026-11-21T09:59:00Z"})
}

fn podtemplate() -> Value {
    json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata(), "template": template("Always")})
}

fn controller() -> Value {
    json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": metadata(), "spec": {"template": template("Always")}})
}

fn daemonset() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata(),
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template("Always")}})
}

fn job() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(), "spec": {"template": template("Never")}})
}

fn cronjob() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata(),
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": template("OnFailure")}}}})
}

#[test]
fn minimal_objects() {
    assert_json_snapshot!("podtemplate", prepared(PODTEMPLATES, podtemplate()));
    assert_json_snapshot!(
        "replicationcontroller",
        prepared(REPLICATIONCONTROLLERS, controller())
    );
    assert_json_snapshot!("daemonset", prepared(DAEMONSETS, daemonset()));
    assert_json_snapshot!("job", prepared(JOBS, job()));
    assert_json_snapshot!("cronjob", prepared(CRONJOBS, cronjob()));
}

#[test]
fn pod_templates_and_controllers_that_are_wrong() {
    let of_template = [
        json!({"template": {"spec": {"containers": []}}}),
        json!({"template": null}),
        json!({"template": {"metadata": {"labels": {"a b": "c d"}, "annotations": {"x y": ""}}}}),
        json!({"template": {"spec": {"restartPolicy": "Maybe"}}}),
        json!({"template": {"spec": {"containers": [{"name": "C", "image": ""}]}}}),
        json!({"template": {"spec": {"nodeName": "-", "hostname": "a.b"}}}),
        json!({"template": {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}}}),
        json!({"template": {"spec": {"dnsPolicy": "None", "activeDeadlineSeconds": 0}}}),
    ];
    assert_snapshot!(
        "podtemplates",
        refused(PODTEMPLATES, &podtemplate(), &of_template)
    );
    let of_controller = [
        json!({"spec": {"template": null}}),
        json!({"spec": {"template": {"metadata": {"labels": null}}}}),
        json!({"spec": {"selector": {"other": "one"}}}),
        json!({"spec": {"replicas": -1, "minReadySeconds": -2}}),
        json!({"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}),
        json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}),
        json!({"spec": {"template": {"spec": {"containers": []}}}}),
        json!({"spec": {"selector": {"app": "web", "b": "c"}, "template": {"metadata": {"labels": {"app": "x y"}}}}}),
    ];
    assert_snapshot!(
        "controllers",
        refused(REPLICATIONCONTROLLERS, &controller(), &of_controller)
    );
    let statuses = [
        json!({"status": {"replicas": -1, "observedGeneration": -1}}),
        json!({"status": {"replicas": 1, "readyReplicas": 2, "fullyLabeledReplicas": 3, "availableReplicas": 4}}),
        json!({"status": {"replicas": 3, "readyReplicas": 1, "availableReplicas": 2}}),
    ];
    assert_snapshot!(
        "controller_status",
        changed(REPLICATIONCONTROLLERS, Write::Status, &controller(), &statuses)
    );
}

#[test]
fn daemon_sets_that_are_wrong() {
    let patches = [
        json!({"spec": {"selector": null}}),
        json!({"spec": {"selector": {"matchLabels": null}}}),
        json!({"spec": {"selector": {"matchLabels": {"b": "c"}}}}),
        json!({"spec": {"selector": {"matchExpressions": [{"key": "a b", "operator": "Like"}]}}}),
        json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 1}}}}),
        json!({"spec": {"minReadySeconds": -1, "revisionHistoryLimit": -1}}),
        json!({"spec": {"updateStrategy": {"type": "Sometimes"}}}),
        json!({"spec": {"updateStrategy": {"type": "Sometimes", "rollingUpdate": {"maxSurge": "1%"}}}}),
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}}),
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "101%", "maxSurge": "x"}}}}),
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": -1, "maxSurge": 1}}}}),
    ];
    assert_snapshot!("daemonsets", refused(DAEMONSETS, &daemonset(), &patches));
    let counts = json!({"status": {"currentNumberScheduled": -1, "numberMisscheduled": -1, "desiredNumberScheduled": -1, "numberReady": -1,
        "observedGeneration": -1, "updatedNumberScheduled": -1, "numberAvailable": -1, "numberUnavailable": -1, "collisionCount": -1}});
    assert_snapshot!(
        "daemonset_status",
        changed(DAEMONSETS, Write::Status, &daemonset(), &[counts])
    );
    let selector = json!({"spec": {"selector": {"matchLabels": {"app": null, "b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}});
    assert_snapshot!(
        "daemonset_selector",
        changed(DAEMONSETS, Write::Update, &daemonset(), &[selector])
    );
}

/// The annotation that counts templates is the server's.
#[test]
fn a_daemon_set_counts_its_templates() {
    let count = |object: &Value| {
        let text = kinds::row::annotation(object, kinds::daemonset::TEMPLATE_GENERATION);
        text.map(String::from)
    };
    let annotated =
        |n: &str| json!({"metadata": {"annotations": {kinds::daemonset::TEMPLATE_GENERATION: n}}});
    let made = prepared(DAEMONSETS, patched(&daemonset(), &annotated("7")));
    assert_eq!(count(&made).as_deref(), Some("7"));
    let update = |write, patch: &Value| {
        let mut new = patched(&made, patch);
        rules(DAEMONSETS).prepare(write, &mut new, Some(&made), crate::now());
        count(&new)
    };
    let image = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}});
    assert_eq!(update(Write::Update, &annotated("1")).as_deref(), Some("7"));
    assert_eq!(update(Write::Update, &image).as_deref(), Some("8"));
    assert_eq!(update(Write::Status, &image).as_deref(), Some("7"));
    let mut wrong = patched(&daemonset(), &annotated("x"));
    let begun = rules(DAEMONSETS).begin(Write::Create, &mut wrong, None, &crate::cluster(&[]));
    assert_snapshot!(begun.expect_err("no number").message, @r#"DaemonSet in version "v1" cannot be handled as a DaemonSet: strconv.ParseInt: parsing "x": invalid syntax"#);
}

#[test]
fn jobs_that_are_wrong() {
    let rules_of = |rules: Value| json!({"spec": {"podFailurePolicy": {"rules": rules}}});
    let indexed = |more: Value| {
        let base = json!({"spec": {"completionMode": "Indexed", "completions": 5, "parallelism": 2}});
        patched(&base, &json!({"spec": more}))
    };
    let patches = [
        json!({"spec": {"parallelism": -1, "completions": -1, "activeDeadlineSeconds": -1, "backoffLimit": -1, "ttlSecondsAfterFinished": -1}}),
        json!({"spec": {"manualSelector": true}}),
        json!({"spec": {"selector": {"matchLabels": {"other": "one"}}}}),
        json!({"spec": {"template": {"metadata": {"labels": {"job-name": "other", "controller-uid": "x"}}}}}),
        json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}),
        json!({"spec": {"template": {"spec": {"restartPolicy": "Maybe"}}}}),
        json!({"spec": {"completionMode": "Random"}}),
        json!({"spec": {"backoffLimitPerIndex": 1, "maxFailedIndexes": 2}}),
        json!({"spec": {"maxFailedIndexes": -1, "managedBy": "me"}}),
        json!({"spec": {"managedBy": "A/b"}}),
        json!({"spec": {"podReplacementPolicy": "Never"}}),
        json!({"spec": {"completionMode": "Indexed", "completions": null, "parallelism": 100_001}}),
        json!({"metadata": {"name": "a.b"}, "spec": {"completionMode": "Indexed"}}),
        indexed(json!({"maxFailedIndexes": 6, "backoffLimitPerIndex": 1})),
        indexed(json!({"completions": 100_001, "parallelism": 10_001, "backoffLimitPerIndex": 1})),
        indexed(json!({"successPolicy": {"rules": []}})),
        indexed(
            json!({"successPolicy": {"rules": [{}, {"succeededIndexes": "0-9"}, {"succeededIndexes": "1,1"}, {"succeededIndexes": "2-1,x"}, {"succeededCount": 9}, {"succeededIndexes": "0-1", "succeededCount": 3}]}}),
        ),
        json!({"spec": {"successPolicy": {"rules": [{"succeededCount": 1}]}}}),
        rules_of(
            json!([{}, {"action": "Explode", "onPodConditions": [{"type": "a b", "status": "Perhaps"}]}, {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [0]}}]),
        ),
        rules_of(
            json!([{"action": "FailJob", "onExitCodes": {"containerName": "x", "operator": "Over", "values": [2, 1, 1]}, "onPodConditions": [{"type": "X"}]}]),
        ),
        rules_of(json!([{"action": "FailJob", "onExitCodes": {"values": []}}])),
        json!({"spec": {"podFailurePolicy": {"rules": []}, "template": {"spec": {"restartPolicy": "OnFailure"}}, "podReplacementPolicy": "TerminatingOrFailed"}}),
    ];
    assert_snapshot!("jobs", refused(JOBS, &job(), &patches));
}

#[test]
fn jobs_that_change() {
    let patches = [
        json!({"spec": {"parallelism": 3, "suspend": true, "activeDeadlineSeconds": 5}}),
        json!({"spec": {"completions": 3, "completionMode": "Indexed", "managedBy": "a.b/c", "backoffLimitPerIndex": 1}}),
        json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}}),
        json!({"spec": {"podFailurePolicy": {"rules": []}, "podReplacementPolicy": "Failed"}}),
    ];
    assert_snapshot!("jobs_changed", changed(JOBS, Write::Update, &job(), &patches));
    // One that is suspended and has no pods may go elsewhere and ask for more, and no more than that.
    let suspended = patched(&job(), &json!({"spec": {"suspend": true}}));
    let resources = json!([{"name": "c", "image": "a:1", "resources": {"limits": {"cpu": "1"}}}]);
    let free = [
        json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}], "containers": resources}}}}),
        json!({"spec": {"template": {"spec": {"affinity": {"nodeAffinity": {}}}}}}),
    ];
    assert_eq!(
        changed(JOBS, Write::Update, &suspended, &free)
            .matches("good")
            .count(),
        2
    );
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b:1"}]}}}});
    let said = changed(JOBS, Write::Update, &suspended, std::slice::from_ref(&image));
    assert!(
        said.contains("spec.template.spec: Invalid value: {\"Volumes\":null"),
        "{said}"
    );
    let said = changed(JOBS, Write::Update, &job(), &[image]);
    assert!(
        said.contains("spec.template: Invalid value: {\"labels\":{\"app\":\"web\""),
        "{said}"
    );
}

#[test]
fn what_the_status_of_a_job_may_become() {
    let conditions = |kinds: &[&str]| -> Value {
        let one = |kind: &&str| json!({"type": kind, "status": "True"});
        kinds.iter().map(one).collect()
    };
    let start = "2026-01-01T00:00:00Z";
    let patches = [
        json!({"status": {"active": -1, "ready": -1, "terminating": -1, "succeeded": -1, "failed": -1}}),
        json!({"status": {"uncountedTerminatedPods": {"succeeded": ["", "a"], "failed": ["a"]}}}),
        json!({"status": {"conditions": conditions(&["Complete"])}}),
        json!({"status": {"conditions": conditions(&["Complete", "Failed", "FailureTarget"])}}),
        json!({"status": {"conditions": conditions(&["Failed"]), "active": 1, "terminating": 1, "ready": 2, "uncountedTerminatedPods": {"failed": ["a"]}}}),
        json!({"status": {"conditions": conditions(&["SuccessCriteriaMet", "Failed", "FailureTarget"]), "startTime": start}}),
        json!({"status": {"startTime": start, "completionTime": "2025-01-01T00:00:00Z"}}),
        json!({"status": {"completedIndexes": "0-1", "failedIndexes": "1"}}),
        json!({"status": {"startTime": start, "completionTime": start, "succeeded": 1, "conditions": conditions(&["SuccessCriteriaMet", "Complete"])}}),
    ];
    assert_snapshot!("job_status", changed(JOBS, Write::Status, &job(), &patches));
    let indexed = json!({"spec": {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 1}});
    let indexed = patched(&job(), &indexed);
    let patches = [
        json!({"status": {"completedIndexes": "3", "failedIndexes": "x"}}),
        json!({"status": {"completedIndexes": "0,2", "failedIndexes": "1-2"}}),
        json!({"status": {"completedIndexes": "2,1"}}),
    ];
    assert_snapshot!("job_indexes", changed(JOBS, Write::Status, &indexed, &patches));
    let over = json!({"status": {"startTime": start, "completionTime": start, "succeeded": 2, "failed": 1, "conditions": conditions(&["SuccessCriteriaMet", "Complete"])}});
    let over = patched(&job(), &over);
    let back = [
        json!({"status": {"succeeded": 1, "failed": null, "conditions": []}}),
        json!({"status": {"startTime": "2026-01-02T00:00:00Z", "completionTime": "2026-01-03T00:00:00Z"}}),
    ];
    assert_snapshot!("job_steps_back", changed(JOBS, Write::Status, &over, &back));
}

#[test]
fn cron_jobs_that_are_wrong() {
    let scheduled = |schedule: &str| json!({"spec": {"schedule": schedule}});
    let zoned = |zone: &str| json!({"spec": {"timeZone": zone}});
    let patches = [
        scheduled(""),
        scheduled("* * * *"),
        scheduled("60 * * * *"),
        scheduled("* * 0 * *"),
        scheduled("* * * foo *"),
        scheduled("5-1 * * * *"),
        scheduled("1-2-3 * * * *"),
        scheduled("*/0 * * * *"),
        scheduled("1/2/3 * * * *"),
        scheduled("@fortnightly"),
        scheduled("@every 1x"),
        scheduled("@every 1.5"),
        scheduled("TZ=0"),
        scheduled("TZ=UTC * * * * *"),
        zoned(""),
        zoned("Europe/Atlantis"),
        zoned("../x"),
        zoned("Local"),
        json!({"spec": {"concurrencyPolicy": "Maybe", "startingDeadlineSeconds": -1, "successfulJobsHistoryLimit": -1, "failedJobsHistoryLimit": -1}}),
        json!({"spec": {"jobTemplate": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true}}}}),
        json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}}}),
        json!({"spec": {"jobTemplate": {"spec": {"completionMode": "Indexed"}}}}),
        json!({"metadata": {"name": "a".repeat(53)}}),
    ];
    assert_snapshot!("cronjobs", refused(CRONJOBS, &cronjob(), &patches));
    let fine = [
        scheduled("0 0 1-31/2 JAN-dec MON,TUE"),
        scheduled("@hourly"),
        scheduled("@every -1h30m"),
        zoned("Europe/Berlin"),
        zoned("Etc/GMT+5"),
    ];
    assert_eq!(refused(CRONJOBS, &cronjob(), &fine).matches("good").count(), 5);
}

#[test]
fn warnings() {
    let warned = |res, object: Value, patch: Value| {
        let object = prepared(res, patched(&object, &patch));
        rules(res).warnings(&object, None).join("\n")
    };
    let many = json!({"spec": {"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001}});
    let lines = [
        warned(JOBS, job(), many.clone()),
        warned(JOBS, job(), json!({"metadata": {"name": "a.b"}})),
        warned(CRONJOBS, cronjob(), json!({"spec": {"jobTemplate": many}})),
        warned(
            REPLICATIONCONTROLLERS,
            controller(),
            json!({"metadata": {"name": "a.b"}}),
        ),
    ];
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn tables() {
    let controllers = [
        json!({"spec": {"replicas": 3, "selector": {"app": "web"}}, "status": {"replicas": 2, "readyReplicas": 1}}),
        json!({"spec": {"template": null}}),
    ];
    let sets = [
        json!({"status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3, "updatedNumberScheduled": 2, "numberAvailable": 1},
            "spec": {"template": {"spec": {"nodeSelector": {"b": "2", "a": "1"}}}}}),
        json!({}),
    ];
    let state = |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
    let jobs = [
        json!({"spec": {"completions": 3}, "status": {"succeeded": 1, "startTime": "2026-11-21T09:58:00Z"}}),
        json!({"spec": {"parallelism": 2}, "status": {"startTime": "2026-11-21T08:00:00Z", "completionTime": "2026-11-21T09:30:00Z", "conditions": [{"type": "Complete", "status": "True"}]}}),
        json!({"metadata": {"deletionTimestamp": "2026-11-21T09:59:59Z"}}),
        state("Failed"),
        state("Suspended"),
        state("FailureTarget"),
        state("SuccessCriteriaMet"),
        json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}}),
    ];
    let crons = [
        json!({"spec": {"suspend": false}}),
        json!({"spec": {"timeZone": "Europe/Berlin", "suspend": true}, "status": {"active": [{}, {}], "lastScheduleTime": "2026-11-21T09:55:00Z"}}),
    ];
    let all = [
        table(
            PODTEMPLATES,
            &podtemplate(),
            &[json!({}), json!({"template": {"metadata": null}})],
        ),
        table(REPLICATIONCONTROLLERS, &controller(), &controllers),
        table(DAEMONSETS, &daemonset(), &sets),
        table(JOBS, &job(), &jobs),
        table(CRONJOBS, &cronjob(), &crons),
    ];
    assert_snapshot!(all.join("\n"));
    let field = |object: &Value| rules(JOBS).field(object, "status.successful");
    assert_eq!([field(&job()), field(&jobs[0])], ["0", "1"]);
}
