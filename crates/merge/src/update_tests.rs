//! Ownership after creates, updates and patches.
use super::{timestamps_only, update};
use crate::FieldSet;
use crate::managed::ManagerId;
use crate::testing::{any_config, deployment, web};
use proptest::prelude::*;
use serde_json::{Value, json};

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";

fn id(name: &str) -> ManagerId<'_> {
    ManagerId {
        name,
        api_version: "apps/v1",
        subresource: "",
    }
}

fn updated(live: Option<&Value>, mut new: Value, name: &str, now: &str) -> Value {
    update(
        live,
        &mut new,
        &deployment(),
        &id(name),
        now,
        &FieldSet::of_fields(&[&["status"]]),
    );
    new
}

/// `manager operation[/subresource] time: paths`, one line an entry.
pub(crate) fn owners(object: &Value) -> String {
    let text = |e: &Value, k: &str| e[k].as_str().unwrap_or("-").to_owned();
    let line = |e: &Value| {
        let fields = FieldSet::parse(&e["fieldsV1"])
            .expect("a valid set")
            .paths()
            .join(" ");
        format!(
            "{} {}/{} {}: {fields}",
            text(e, "manager"),
            text(e, "operation"),
            text(e, "subresource"),
            text(e, "time")
        )
    };
    object["metadata"]["managedFields"].as_array().map_or_else(
        || "none".into(),
        |list| list.iter().map(line).collect::<Vec<_>>().join("\n"),
    )
}

#[test]
fn changed_fields_move_to_the_writer() {
    let created = updated(
        None,
        web(&json!({"replicas":1,"paused":true})),
        "kubectl-create",
        T1,
    );
    let mut scaled = created.clone();
    scaled["spec"]["replicas"] = json!(2);
    scaled["metadata"]["labels"] = json!({"a":"1"});
    let scaled = updated(Some(&created), scaled, "kubectl", T2);
    let mut shrunk = scaled.clone();
    shrunk["spec"].as_object_mut().expect("a map").remove("paused");
    shrunk["metadata"]
        .as_object_mut()
        .expect("a map")
        .remove("labels");
    let shrunk = updated(Some(&scaled), shrunk, "third", T2);
    insta::assert_snapshot!([owners(&created), owners(&scaled), owners(&shrunk)].join("\n\n"), @r#"
        kubectl-create Update/- 2026-01-01T00:00:01Z: .spec.paused .spec.replicas

        kubectl-create Update/- 2026-01-01T00:00:01Z: .spec.paused
        kubectl Update/- 2026-01-01T00:00:02Z: .metadata.labels .metadata.labels.a .spec.replicas

        kubectl Update/- 2026-01-01T00:00:02Z: .spec.replicas
        "#);
}

#[test]
fn a_write_that_changes_nothing_keeps_entries_and_times() {
    let created = updated(None, web(&json!({"replicas":1})), "a", T1);
    assert_eq!(updated(Some(&created), created.clone(), "b", T2), created);
    assert_eq!(updated(Some(&created), created.clone(), "a", T2), created);
    // A client that does not know the entries sends none.
    assert_eq!(
        updated(Some(&created), web(&json!({"replicas":1})), "a", T2),
        created
    );
}

#[test]
fn fields_of_other_endpoints_have_no_owner_here() {
    let mut object = web(&json!({"replicas":1}));
    object["status"] = json!({"replicas":1});
    let created = updated(None, object.clone(), "a", T1);
    let mut with_status = created.clone();
    with_status["status"] = json!({"replicas":2});
    let status = ManagerId {
        subresource: "status",
        ..id("controller")
    };
    // A subresource cannot edit the entries.
    with_status["metadata"]["managedFields"] = json!([]);
    update(
        Some(&created),
        &mut with_status,
        &deployment(),
        &status,
        T2,
        &FieldSet::of_fields(&[&["spec"]]),
    );
    insta::assert_snapshot!(owners(&with_status), @r#"
        a Update/- 2026-01-01T00:00:01Z: .spec.replicas
        controller Update/status 2026-01-01T00:00:02Z: .status.replicas
        "#);
}

#[test]
fn clients_may_edit_or_reset_the_entries() {
    let created = updated(None, web(&json!({"replicas":1})), "a", T1);
    let with = |managed: Value| {
        let mut new = created.clone();
        new["metadata"]["managedFields"] = managed;
        owners(&updated(Some(&created), new, "b", T2))
    };
    let edited = json!([{"manager":"kubectl","operation":"Apply","apiVersion":"apps/v1","time":T1,"fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}}}]);
    insta::assert_snapshot!([with(json!([])), with(json!([{}])), with(json!(null)), with(json!([{"manager":"x"}])), with(edited)].join("\n"), @r#"
        none
        none
        a Update/- 2026-01-01T00:00:01Z: .spec.replicas
        a Update/- 2026-01-01T00:00:01Z: .spec.replicas
        kubectl Apply/- 2026-01-01T00:00:01Z: .spec.replicas
        "#);
    // After a reset nothing is tracked until the next apply.
    let mut reset = created.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    let reset = updated(Some(&created), reset, "b", T2);
    let mut scaled = reset.clone();
    scaled["spec"]["replicas"] = json!(5);
    assert_eq!(owners(&updated(Some(&reset), scaled, "b", T2)), "none");
}

#[test]
fn times_alone_are_no_change() {
    let created = updated(None, web(&json!({"replicas":1})), "a", T1);
    let mut later = created.clone();
    later["metadata"]["managedFields"][0]["time"] = json!(T2);
    assert!(timestamps_only(&created, &mut later));
    assert_eq!(later, created);
    later["spec"]["replicas"] = json!(2);
    later["metadata"]["managedFields"][0]["time"] = json!(T2);
    assert!(!timestamps_only(&created, &mut later));
    assert_eq!(later["metadata"]["managedFields"][0]["time"], json!(T2));
}

proptest! {
    #[test]
    fn every_leaf_has_one_updating_owner_and_the_order_of_entries_is_fixed(a in any_config(), b in any_config(), c in any_config()) {
        let one = updated(None, a, "one", T1);
        let two = updated(Some(&one), b, "two", T2);
        let three = updated(Some(&two), c.clone(), "three", T2);
        let sets: Vec<FieldSet> = three["metadata"]["managedFields"].as_array().into_iter().flatten()
            .map(|e| FieldSet::parse(&e["fieldsV1"]).expect("canonical")).collect();
        for (i, x) in sets.iter().enumerate() {
            prop_assert!(!x.is_empty());
            for y in &sets[i + 1..] {
                prop_assert_eq!(x.intersection(y), FieldSet::new());
            }
        }
        // All that the object mentions is owned, and nothing else is.
        let mut expected = updated(None, c, "x", T1);
        let all = expected["metadata"]["managedFields"].take();
        let all = all.as_array().and_then(|l| l.first()).map(|e| FieldSet::parse(&e["fieldsV1"]).expect("canonical")).unwrap_or_default();
        let owned = sets.iter().fold(FieldSet::new(), |all, set| all.union(set));
        prop_assert_eq!(owned, all);
    }
}
