//! Properties of the StatefulSet plan over random sets and pods: it does not depend on the order in which things came,
//! carried out again and again it reaches a fixed point, and there it is as wanted and has nothing to do.

use super::text::{Case, NAMESPACE, told};
use kinds::Key;
use kinds::plan::{Act, Plan};
use kinds::statefulset::{CONTROLLER, STATEFULSETS};
use kinds::workload::PODS;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Plans in which a set of at most six pods must come to rest.
const MAX_PLANS: usize = 120;

fn key() -> Key {
    Key::new(STATEFULSETS, NAMESPACE, "web")
}

fn set_line() -> impl Strategy<Value = String> {
    let policy = prop_oneof![Just("OrderedReady"), Just("Parallel")];
    let unavailable = prop_oneof![
        Just(""),
        Just("maxUnavailable=1"),
        Just("maxUnavailable=2"),
        Just("maxUnavailable=50%")
    ];
    let keep = prop_oneof![Just(""), Just("whenScaled=Delete"), Just("whenDeleted=Delete")];
    let image = prop_oneof![Just("a"), Just("b")];
    (0..5i64, policy, unavailable, keep, image, 0..2i64, any::<bool>()).prop_map(
        |(replicas, policy, unavailable, keep, image, start, claims)| {
            let claims = if claims { "claims" } else { "" };
            format!("set replicas={replicas} policy={policy} image={image} current=a start={start} {unavailable} {keep} {claims}")
        },
    )
}

fn pod_lines() -> impl Strategy<Value = Vec<String>> {
    let state = prop_oneof![
        4 => Just("ready"), 1 => Just("running"), 1 => Just("pending"), 1 => Just("failed"), 1 => Just("ready deleting"),
        1 => Just("ready orphan"),
    ];
    let image = prop_oneof![Just("a"), Just("b")];
    proptest::collection::btree_map(0..6i64, (state, image), 0..6).prop_map(|pods| {
        let line = |(n, (state, image)): (i64, (&str, &str))| format!("pod web-{n} image={image} {state}");
        pods.into_iter().map(line).collect()
    })
}

fn case(lines: &[String]) -> Case {
    Case::of(&lines.join("\n"))
}

fn with_history(set: String, pods: Vec<String>) -> Vec<String> {
    let mut lines = vec![set, "revision a 1".into(), "revision b 2".into()];
    lines.extend(pods);
    lines
}

fn merge(into: &mut Value, patch: &Value) {
    match (into.as_object_mut(), patch.as_object()) {
        (Some(into), Some(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(into.remove(key)),
                    value => merge(into.entry(key.as_str()).or_insert(Value::Null), value),
                }
            }
        }
        _ => *into = patch.clone(),
    }
}

/// Carries a plan out, as an ideal world would: what is created is ready at once, what is deleted is gone at once.
fn carry_out(case: &mut Case, plan: &Plan, born: &mut usize) {
    for act in &plan.acts {
        match act {
            Act::Create { res, object, .. } => {
                let mut object = object.clone();
                *born += 1;
                object["metadata"]["uid"] = format!("new-{born}").into();
                if *res == PODS {
                    let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": case.now.rfc3339()}]);
                    object["status"] = json!({"phase": "Running", "conditions": ready});
                }
                case.put(*res, object);
            }
            Act::Update { target, object, .. } => case.put(target.res, object.clone()),
            Act::Patch { target, patch, .. } => {
                let stored = case
                    .snapshot
                    .get(target.res, NAMESPACE, &target.name)
                    .expect("it is there");
                let mut value = stored.value();
                merge(&mut value, patch);
                case.put(target.res, value);
            }
            Act::Delete { target, .. } => {
                let stored = case.snapshot.get(target.res, NAMESPACE, &target.name);
                let key = stored.expect("it is there").meta().key();
                let revision = case.snapshot.revision() + 1;
                case.snapshot.remove(target.res, &key, revision);
            }
            Act::Post { .. } | Act::Event(_) => {}
        }
    }
}

/// Time does what it does: whoever ends is gone, whoever starts is ready.
fn settle(case: &mut Case) {
    let pods: Vec<_> = case.snapshot.list(PODS, NAMESPACE).cloned().collect();
    for pod in pods {
        if pod.meta().is_deleting() {
            let revision = case.snapshot.revision() + 1;
            case.snapshot.remove(PODS, &pod.meta().key(), revision);
            continue;
        }
        let mut value = pod.value();
        if value["status"]["phase"] == "Pending" || value["status"]["conditions"][0]["status"] == "False" {
            let ready =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": case.now.rfc3339()}]);
            if value["status"]["phase"] != "Failed" {
                value["status"] = json!({"phase": "Running", "conditions": ready});
                case.put(PODS, value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_order_of_the_inputs_does_not_matter(
        (lines, shuffled) in (set_line(), pod_lines())
            .prop_map(|(set, pods)| with_history(set, pods))
            .prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle()))
    ) {
        let plan = |lines: &[String]| told(&case(lines).plan(CONTROLLER, &key()));
        prop_assert_eq!(plan(&lines), plan(&shuffled));
    }

    #[test]
    fn it_reaches_a_fixed_point_and_rests_there(set in set_line(), pods in pod_lines()) {
        let lines = with_history(set, pods);
        let (mut case, mut born) = (case(&lines), 0);
        let mut plans = Vec::new();
        for _ in 0..MAX_PLANS {
            let plan = case.plan(CONTROLLER, &key());
            let quiet = plan.acts.is_empty();
            let before = case.snapshot.revision();
            plans.push(told(&plan));
            carry_out(&mut case, &plan, &mut born);
            settle(&mut case);
            if quiet && case.snapshot.revision() == before {
                break;
            }
        }
        let last = case.plan(CONTROLLER, &key());
        prop_assert!(last.acts.is_empty(), "it does not come to rest:\n{}", plans.join("\n--\n"));
        let set = case.snapshot.get(STATEFULSETS, NAMESPACE, "web").expect("the set").value();
        let replicas = set["spec"]["replicas"].as_i64().unwrap_or(0);
        let start = set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
        let mut names: Vec<String> = case.snapshot.list(PODS, NAMESPACE).map(|p| p.name().to_string()).collect();
        names.sort();
        let wanted: Vec<String> = (start..start + replicas).map(|n| format!("web-{n}")).collect();
        prop_assert_eq!(names, wanted, "{}", plans.join("\n--\n"));
        prop_assert_eq!(&set["status"]["currentRevision"], &set["status"]["updateRevision"]);
        let updated = set["status"]["updatedReplicas"].as_i64().unwrap_or(0);
        prop_assert_eq!(updated, replicas, "{}", plans.join("\n--\n"));
    }
}
