//! The garbage collector over small families of ConfigMaps. Source: "Garbage Collection" in the Kubernetes documentation.

use super::text::{Case, NAMESPACE};
use kinds::collector::CONTROLLER;
use kinds::configmap::CONFIGMAPS;
use kinds::namespace::NAMESPACES;
use kinds::plan::Act;
use kinds::{Key, Registry, Seen};
use meta::Draft;
use serde_json::{Value, json};

/// One object: its name, its owners (`!` before those that it blocks), and the finalizer with which it is deleted.
type Member<'a> = (&'a str, &'a str, Option<&'a str>);

fn family(members: &[Member]) -> Case {
    let mut case = Case::empty();
    for (name, owners, deleted) in members {
        let owners: Vec<Value> = owners
            .split_whitespace()
            .map(|owner| {
                let owned = owner.trim_start_matches('!');
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owned, "uid": format!("{owned}-uid"),
                    "blockOwnerDeletion": owner.starts_with('!')})
            })
            .collect();
        let mut metadata = json!({"name": name, "namespace": NAMESPACE, "uid": format!("{name}-uid"), "ownerReferences": owners});
        if let Some(finalizer) = deleted {
            metadata["finalizers"] = json!([finalizer]);
            metadata["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        }
        case.put(CONFIGMAPS, json!({"metadata": metadata}));
    }
    case
}

/// What the plan for one of them does, in words.
fn acts(case: &Case, name: &str) -> Vec<String> {
    let rows = Registry::builtin();
    let seen = Seen {
        now: case.now,
        snapshot: &case.snapshot,
        rows: &rows,
    };
    let plan = (CONTROLLER.plan)(&seen, &Key::new(CONFIGMAPS, NAMESPACE, name));
    let word = |act: &Act| match act {
        Act::Delete {
            target, propagation, ..
        } => format!("delete {} {propagation:?}", target.name),
        Act::Patch { target, patch, .. } => format!("patch {} {}", target.name, patch["metadata"]),
        other => format!("{other:?}"),
    };
    plan.acts.iter().map(word).collect()
}

const WAITING: Option<&str> = Some("foregroundDeletion");

#[test]
fn an_owner_goes_in_the_foreground_after_those_that_block_it() {
    let case = family(&[
        ("top", "", WAITING),
        ("a", "!top", None),
        ("b", "top", None),
        ("below", "!a", None),
    ]);
    let told = acts(&case, "top");
    assert_eq!(told, ["delete a Some(Foreground)", "delete b Some(Background)"]);
    let case = family(&[("top", "", WAITING), ("b", "top", None)]);
    assert_eq!(
        acts(&case, "top"),
        ["delete b Some(Background)", r#"patch top {"finalizers":null}"#]
    );
}

/// Each of the three would wait for the next one for ever.
#[test]
fn a_circle_goes_as_well() {
    let case = family(&[("a", "!c", WAITING), ("b", "!a", WAITING), ("c", "!b", WAITING)]);
    for name in ["a", "b", "c"] {
        assert_eq!(
            acts(&case, name),
            [format!(r#"patch {name} {{"finalizers":null}}"#)]
        );
    }
    let alone = family(&[("self", "!self", WAITING)]);
    assert_eq!(acts(&alone, "self"), [r#"patch self {"finalizers":null}"#]);
}

#[test]
fn what_another_owner_still_needs_stays() {
    let case = family(&[
        ("top", "", WAITING),
        ("other", "", None),
        ("a", "!top other", None),
    ]);
    let told = acts(&case, "top");
    assert!(
        told[0].starts_with("patch a {") && told[0].contains("other") && !told[0].contains("top-uid"),
        "{told:?}"
    );
    let case = family(&[("other", "", None), ("a", "gone other", None)]);
    assert!(
        !acts(&case, "a")[0].contains("gone"),
        "a reference to nobody is dropped"
    );
}

#[test]
fn orphans_lose_their_owner_and_stay() {
    let case = family(&[("top", "", Some("orphan")), ("a", "!top", None)]);
    assert_eq!(acts(&case, "top"), [r#"patch a {"ownerReferences":null}"#]);
    let case = family(&[("top", "", Some("orphan"))]);
    assert_eq!(acts(&case, "top"), [r#"patch top {"finalizers":null}"#]);
}

#[test]
fn what_has_lost_all_owners_goes() {
    let case = family(&[("a", "gone", None)]);
    assert_eq!(acts(&case, "a"), ["delete a Some(Background)"]);
    let case = family(&[("top", "", None), ("a", "top", None)]);
    assert_eq!(acts(&case, "a"), [""; 0]);
}

#[test]
fn what_is_the_whole_clusters_has_no_owner_in_a_namespace() {
    let mut case = family(&[("owner", "", None)]);
    for uid in ["owner-uid", "gone-uid"] {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid});
        let metadata = json!({"name": "precious", "uid": "n", "ownerReferences": [owner]});
        let precious = Draft::new(json!({"metadata": metadata})).expect("an object");
        case.snapshot.put(NAMESPACES, precious.seal(9));
        let rows = Registry::builtin();
        let seen = Seen {
            now: case.now,
            snapshot: &case.snapshot,
            rows: &rows,
        };
        let plan = (CONTROLLER.plan)(&seen, &Key::new(NAMESPACES, "", "precious"));
        assert!(case.snapshot.get(NAMESPACES, "", "precious").is_some());
        assert!(plan.acts.is_empty(), "{:?}", plan.acts);
    }
}
