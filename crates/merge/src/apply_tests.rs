//! Server-side apply: merging, ownership, conflicts, removal, and migration from client-side apply.
use super::{ApplyError, LAST_APPLIED, apply};
use crate::FieldSet;
use crate::managed::ManagerId;
use crate::testing::{any_config, any_json, deployment, web};
use crate::update::{tests::owners, update};
use proptest::prelude::*;
use serde_json::{Value, json};

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";
const T3: &str = "2026-01-01T00:00:03Z";

fn id(name: &str) -> ManagerId<'_> {
    ManagerId {
        name,
        api_version: "apps/v1",
        subresource: "",
    }
}

fn reset() -> FieldSet {
    FieldSet::of_fields(&[&["status"]])
}

fn applied(
    live: Option<&Value>,
    config: &Value,
    name: &str,
    now: &str,
    force: bool,
) -> Result<Value, ApplyError> {
    apply(live, config, &deployment(), &id(name), now, force, &reset())
}

fn ok(live: Option<&Value>, config: &Value, name: &str, now: &str) -> Value {
    applied(live, config, name, now, false).expect("applies")
}

fn updated(live: &Value, name: &str, now: &str, change: impl Fn(&mut Value)) -> Value {
    let mut new = live.clone();
    change(&mut new);
    update(Some(live), &mut new, &deployment(), &id(name), now, &reset());
    new
}

/// As a plain client made it.
fn created(object: &Value) -> Value {
    let mut object = object.clone();
    update(None, &mut object, &deployment(), &id("U"), T1, &reset());
    object
}

fn containers(items: &Value) -> Value {
    web(&json!({"template":{"spec":{"containers":items}}}))
}

#[test]
fn an_applier_owns_what_it_mentions() {
    let object = ok(
        None,
        &containers(&json!([{"name":"a","image":"1","ports":[{"containerPort":80}],"command":["x","y"]}])),
        "me",
        T1,
    );
    insta::assert_json_snapshot!(object, @r#"
        {
          "apiVersion": "apps/v1",
          "kind": "Deployment",
          "metadata": {
            "managedFields": [
              {
                "apiVersion": "apps/v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                  "f:spec": {
                    "f:template": {
                      "f:spec": {
                        "f:containers": {
                          "k:{\"name\":\"a\"}": {
                            ".": {},
                            "f:command": {},
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {
                              "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                                ".": {},
                                "f:containerPort": {}
                              }
                            }
                          }
                        }
                      }
                    }
                  }
                },
                "manager": "me",
                "operation": "Apply",
                "time": "2026-01-01T00:00:01Z"
              }
            ],
            "name": "web",
            "namespace": "default"
          },
          "spec": {
            "template": {
              "spec": {
                "containers": [
                  {
                    "command": [
                      "x",
                      "y"
                    ],
                    "image": "1",
                    "name": "a",
                    "ports": [
                      {
                        "containerPort": 80
                      }
                    ]
                  }
                ]
              }
            }
          }
        }
        "#);
}

#[test]
fn two_appliers_share_an_object_and_each_removes_its_own() {
    let a = ok(
        None,
        &containers(&json!([{"name":"a","image":"1"},{"name":"b","image":"1"}])),
        "A",
        T1,
    );
    let both = ok(
        Some(&a),
        &containers(&json!([{"name":"c","image":"1"},{"name":"a","env":[{"name":"X","value":"1"}]}])),
        "B",
        T2,
    );
    let less = ok(Some(&both), &web(&json!({"replicas":1})), "A", T3);
    let names = |o: &Value| o["spec"]["template"]["spec"]["containers"].to_string();
    insta::assert_snapshot!([names(&both), owners(&both), names(&less), owners(&less)].join("\n"), @r#"
        [{"image":"1","name":"c"},{"env":[{"name":"X","value":"1"}],"image":"1","name":"a"},{"image":"1","name":"b"}]
        A Apply/- 2026-01-01T00:00:01Z: .spec.template.spec.containers[name="a"] .spec.template.spec.containers[name="b"] .spec.template.spec.containers[name="a"].image .spec.template.spec.containers[name="a"].name .spec.template.spec.containers[name="b"].image .spec.template.spec.containers[name="b"].name
        B Apply/- 2026-01-01T00:00:02Z: .spec.template.spec.containers[name="a"] .spec.template.spec.containers[name="c"] .spec.template.spec.containers[name="a"].name .spec.template.spec.containers[name="a"].env[name="X"] .spec.template.spec.containers[name="a"].env[name="X"].name .spec.template.spec.containers[name="a"].env[name="X"].value .spec.template.spec.containers[name="c"].image .spec.template.spec.containers[name="c"].name
        [{"image":"1","name":"c"},{"env":[{"name":"X","value":"1"}],"name":"a"}]
        B Apply/- 2026-01-01T00:00:02Z: .spec.template.spec.containers[name="a"] .spec.template.spec.containers[name="c"] .spec.template.spec.containers[name="a"].name .spec.template.spec.containers[name="a"].env[name="X"] .spec.template.spec.containers[name="a"].env[name="X"].name .spec.template.spec.containers[name="a"].env[name="X"].value .spec.template.spec.containers[name="c"].image .spec.template.spec.containers[name="c"].name
        A Apply/- 2026-01-01T00:00:03Z: .spec.replicas
        "#);
}

#[test]
fn conflicts_name_managers_and_fields() {
    let live = ok(None, &web(&json!({"replicas":1,"paused":true})), "A", T1);
    let live = updated(&live, "kubectl-client-side-apply", T2, |o| {
        o["spec"]["replicas"] = json!(2)
    });
    let one = applied(Some(&live), &web(&json!({"replicas":3})), "B", T3, false).expect_err("conflicts");
    let many = applied(
        Some(&live),
        &web(&json!({"replicas":3,"paused":false})),
        "B",
        T3,
        false,
    )
    .expect_err("conflicts");
    insta::assert_snapshot!(format!("{one}\n{many}"), @r#"
        Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas
        Apply failed with 2 conflicts: conflicts with "A":
        - .spec.paused
        conflicts with "kubectl-client-side-apply" using apps/v1:
        - .spec.replicas
        "#);
    let ApplyError::Conflict(conflicts) = many else {
        panic!("a conflict")
    };
    assert_eq!(conflicts.0.len(), 2);
    let forced = applied(
        Some(&live),
        &web(&json!({"replicas":3,"paused":false})),
        "B",
        T3,
        true,
    )
    .expect("forced");
    insta::assert_snapshot!(owners(&forced), @r#"B Apply/- 2026-01-01T00:00:03Z: .spec.paused .spec.replicas"#);
    // The same value is shared, not fought over.
    insta::assert_snapshot!(owners(&ok(Some(&live), &web(&json!({"replicas":2})), "B", T3)), @r#"
        B Apply/- -: .spec.replicas
        A Apply/- 2026-01-01T00:00:01Z: .spec.paused
        kubectl-client-side-apply Update/- 2026-01-01T00:00:02Z: .spec.replicas
        "#);
}

#[test]
fn conflicts_tell_the_subresource_of_an_owner() {
    let live = ok(None, &web(&json!({"replicas":1})), "A", T1);
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(7);
    update(
        Some(&live),
        &mut scaled,
        &deployment(),
        &ManagerId {
            subresource: "scale",
            ..id("hpa")
        },
        T2,
        &reset(),
    );
    let error = applied(Some(&scaled), &web(&json!({"replicas":1})), "A", T3, false).expect_err("conflicts");
    insta::assert_snapshot!(error, @r#"Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas"#);
}

#[test]
fn giving_a_field_up_leaves_it_to_its_other_owner_or_removes_it() {
    let live = ok(None, &web(&json!({"replicas":1,"paused":true})), "A", T1);
    let shared = ok(Some(&live), &web(&json!({"replicas":1})), "B", T2);
    let given_up = ok(Some(&shared), &web(&json!({})), "A", T3);
    assert_eq!(given_up["spec"], json!({"replicas":1}));
    let gone = ok(Some(&given_up), &web(&json!({})), "B", T3);
    assert_eq!(gone.get("spec"), None);
}

#[test]
fn defaults_inside_a_struct_go_with_it_but_values_of_others_stay() {
    let live = ok(
        None,
        &web(&json!({"replicas":1,"strategy":{"rollingUpdate":{"maxSurge":1}}})),
        "A",
        T1,
    );
    let mut defaulted = live.clone();
    defaulted["spec"]["strategy"]["type"] = json!("RollingUpdate");
    defaulted["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(0);
    assert_eq!(
        ok(Some(&defaulted), &web(&json!({"replicas":1})), "A", T2)["spec"],
        json!({"replicas":1})
    );
    let touched = updated(&defaulted, "U", T2, |o| {
        o["spec"]["strategy"]["type"] = json!("Recreate")
    });
    assert_eq!(
        ok(Some(&touched), &web(&json!({"replicas":1})), "A", T3)["spec"],
        json!({"replicas":1,"strategy":{"type":"Recreate"}})
    );
}

#[test]
fn applying_to_an_object_without_entries_records_who_was_before() {
    let live = web(&json!({"replicas":1}));
    let error = applied(Some(&live), &web(&json!({"replicas":2})), "A", T1, false).expect_err("conflicts");
    insta::assert_snapshot!(error, @r#"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas"#);
    insta::assert_snapshot!(owners(&applied(Some(&live), &web(&json!({"replicas":2})), "A", T1, true).expect("forced")), @r#"A Apply/- 2026-01-01T00:00:01Z: .spec.replicas"#);
}

#[test]
fn type_errors_come_all_at_once_in_upstreams_words() {
    let error = |config: &Value| {
        applied(None, config, "A", T1, false)
            .expect_err("must be refused")
            .to_string()
    };
    let mut many =
        containers(&json!([{"name":1,"image":true},{"name":"b","foo":1},{"name":"b"},{"image":"x"},"str"]));
    many["spec"]["replicas"] = json!("x");
    many["spec"]["paused"] = json!("yes");
    many["spec"]["strategy"] = json!([1]);
    many["metadata"]["labels"] = json!({"a":{"b":"c"}});
    many["metadata"]["finalizers"] = json!(["x", "x"]);
    insta::assert_snapshot!(
        [
            error(&web(&json!({"foo":1}))),
            error(&many),
            error(&json!({"apiVersion":"apps/v1beta1","kind":"Deployment"})),
            error(&json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"managedFields":[]}})),
            error(&json!([])),
        ]
        .join("\n"),
        @r#"
        failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema
        failed to create typed patch object (default/web; apps/v1, Kind=Deployment): errors:
          .metadata.finalizers: duplicate entries for key [="x"]
          .metadata.labels.a: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"b":"c"}}
          .spec.paused: expected boolean, got &{yes}
          .spec.replicas: expected numeric (int or float), got string
          .spec.strategy: expected map, got &{[1]}
          .spec.template.spec.containers[name=1].image: expected string, got &value.valueUnstructured{Value:true}
          .spec.template.spec.containers[name=1].name: expected string, got &value.valueUnstructured{Value:1}
          .spec.template.spec.containers[name="b"].foo: field not declared in schema
          .spec.template.spec.containers: duplicate entries for key [name="b"]
          .spec.template.spec.containers: element 3: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)
        Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1
        metadata.managedFields must be nil
        Incorrect version specified in apply patch. Specified patch version: , expected: apps/v1
        "#
    );
}

#[test]
fn list_items_keep_live_order_around_the_applied_order() {
    let names =
        |names: &[&str]| containers(&Value::Array(names.iter().map(|n| json!({"name": n})).collect()));
    let order = |live: &[&str], config: &[&str]| {
        let live = created(&names(live));
        let merged = applied(Some(&live), &names(config), "A", T2, true).expect("applies");
        let items = merged["spec"]["template"]["spec"]["containers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        items
            .iter()
            .map(|c| c["name"].as_str().unwrap_or_default().to_owned())
            .collect::<String>()
    };
    for (live, config, want) in [
        (&["a", "b", "c"][..], &["c", "a"][..], "bca"),
        (&["a", "b", "c"], &["x", "b"], "axbc"),
        (&["a", "b"], &["a", "x", "b"], "axb"),
        (&["a", "b"], &["b", "a"], "ba"),
        (&[], &["b", "a"], "ba"),
        (&["a", "b", "c", "d"], &["d", "b"], "acdb"),
    ] {
        assert_eq!(order(live, config), want, "{live:?} + {config:?}");
    }
}

#[test]
fn a_port_without_protocol_is_the_tcp_port() {
    let live = ok(
        None,
        &containers(
            &json!([{"name":"a","ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":80,"protocol":"UDP"}]}]),
        ),
        "A",
        T1,
    );
    let merged = ok(
        Some(&live),
        &containers(&json!([{"name":"a","ports":[{"containerPort":80,"name":"http"}]}])),
        "B",
        T2,
    );
    assert_eq!(
        merged["spec"]["template"]["spec"]["containers"][0]["ports"],
        json!([{"containerPort":80,"protocol":"TCP","name":"http"},{"containerPort":80,"protocol":"UDP"}])
    );
}

#[test]
fn a_null_timestamp_from_a_tool_removes_nothing() {
    let mut live = ok(None, &web(&json!({"paused":true})), "A", T1);
    live["metadata"]["creationTimestamp"] = json!(T1);
    let mut config = web(&json!({"paused":true}));
    config["metadata"]["creationTimestamp"] = json!(null);
    assert_eq!(ok(Some(&live), &config, "A", T2), live);
}

#[test]
fn nulls_mean_not_set() {
    let mut config = web(&json!({"replicas":null,"paused":true}));
    config["metadata"]["labels"] = json!({});
    let live = ok(None, &config, "A", T1);
    assert_eq!(live["spec"], json!({"paused":true}));
    assert_eq!(ok(Some(&live), &config, "A", T2), live);
}

#[test]
fn kubectl_takes_over_what_its_annotation_says_it_applied() {
    let config = |replicas: u8| web(&json!({"replicas":replicas}));
    let mut live = config(1);
    live["metadata"]["annotations"] = json!({LAST_APPLIED: config(1).to_string()});
    update(
        None,
        &mut live,
        &deployment(),
        &id("kubectl-client-side-apply"),
        T1,
        &reset(),
    );
    assert!(applied(Some(&live), &config(2), "other", T2, false).is_err());
    let mine = ok(Some(&live), &config(2), "kubectl", T2);
    assert_eq!(
        mine["metadata"]["annotations"][LAST_APPLIED],
        json!(format!("{}\n", config(2)))
    );
    insta::assert_snapshot!(owners(&mine), @r#"
        kubectl Apply/- 2026-01-01T00:00:02Z: .spec.replicas
        kubectl-client-side-apply Update/- 2026-01-01T00:00:01Z: .metadata.annotations .metadata.annotations.kubectl.kubernetes.io/last-applied-configuration
        "#);
    // A field that someone changed since is not taken.
    let changed = updated(&live, "U", T2, |o| o["spec"]["replicas"] = json!(9));
    assert!(applied(Some(&changed), &config(2), "kubectl", T2, false).is_err());
}

#[test]
fn sets_follow_a_schema_that_became_atomic() {
    let mut live = web(&json!({"template":{"spec":{"nodeSelector":{"a":"1"}}}}));
    live["metadata"]["managedFields"] = json!([{"manager":"A","operation":"Apply","apiVersion":"apps/v1","fieldsType":"FieldsV1",
        "fieldsV1":{"f:spec":{"f:template":{"f:spec":{"f:nodeSelector":{"f:a":{}}}}}}}]);
    let error = applied(
        Some(&live),
        &web(&json!({"template":{"spec":{"nodeSelector":{"a":"2"}}}})),
        "B",
        T1,
        false,
    )
    .expect_err("conflicts");
    insta::assert_snapshot!(error, @r#"Apply failed with 1 conflict: conflict with "A": .spec.template.spec.nodeSelector"#);
}

#[test]
fn the_deepest_objects_fit_on_a_small_stack() {
    let deep = |leaf: Value| {
        let spec = (0..125).fold(leaf, |inner, _| json!({"a": inner}));
        json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":spec})
    };
    let all_of_them = move || {
        let (schema, one, two) = (meta::schema::Schema::any(), deep(json!(1)), deep(json!(2)));
        let live = apply(None, &one, &schema, &id("A"), T1, false, &reset()).expect("applies");
        let forced = apply(Some(&live), &two, &schema, &id("B"), T2, true, &reset()).expect("applies");
        let mut patched = live.clone();
        crate::merge_patch::apply(&mut patched, two.clone());
        update(Some(&live), &mut patched, &schema, &id("C"), T3, &reset());
        crate::strategic::apply(&mut patched, one, &schema).expect("merges");
        let text = forced.to_string();
        assert_eq!(
            serde_json::from_str::<Value>(&text).expect("can be read back"),
            forced
        );
    };
    let thread = std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(all_of_them)
        .expect("a thread");
    thread.join().expect("no overflow");
}

/// An object without its entries.
fn bare(object: &Value) -> Value {
    super::without_entries(object)
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing_not_even_a_time(live in any_config(), config in any_config()) {
        let live = created(&live);
        let once = applied(Some(&live), &config, "A", T2, true).expect("applies");
        prop_assert_eq!(applied(Some(&once), &config, "A", T3, false), Ok(once.clone()));
        let created = ok(None, &config, "A", T1);
        prop_assert_eq!(applied(Some(&created), &config, "A", T2, false), Ok(created));
    }

    #[test]
    fn applying_nothing_undoes_exactly_ones_own_part(a in any_config(), b in any_config()) {
        let alone = ok(None, &a, "A", T1);
        let both = applied(Some(&alone), &b, "B", T2, true).expect("applies");
        let after = ok(Some(&both), &web(&json!({})), "B", T3);
        // Whatever A still owns (B was not forced over it) has A's value.
        let schema = deployment();
        let place = crate::shape::Place::root(&schema);
        let lost = crate::diff::diff(Some(&bare(&alone)), &bare(&after), place);
        let kept = after["metadata"]["managedFields"].as_array().into_iter().flatten().find(|e| e["manager"] == "A")
            .map(|e| FieldSet::parse(&e["fieldsV1"]).expect("canonical")).unwrap_or_default();
        prop_assert_eq!(lost.removed.intersection(&kept), FieldSet::new());
        prop_assert_eq!(lost.modified.intersection(&kept), FieldSet::new());
        // Nothing that only B brought is left.
        let extra = lost.added;
        prop_assert!(extra.is_empty(), "left: {}", extra.to_value());
    }

    #[test]
    fn a_lone_applier_gets_exactly_its_last_configuration(a in any_config(), b in any_config()) {
        let first = ok(None, &a, "A", T1);
        let second = ok(Some(&first), &b, "A", T2);
        let fresh = ok(None, &b, "A", T2);
        let schema = deployment();
        let place = crate::shape::Place::root(&schema);
        let changes = crate::diff::diff(Some(&bare(&fresh)), &bare(&second), place);
        prop_assert!(changes.modified.is_empty() && changes.added.is_empty(), "{:?}", changes);
    }

    #[test]
    fn forcing_never_conflicts_and_the_applied_values_win(live in any_config(), config in any_config()) {
        let live = created(&live);
        let result = applied(Some(&live), &config, "A", T2, true).expect("applies");
        let again = crate::testing::lookup_all(&config, &result);
        prop_assert!(again.is_ok(), "{:?}", again);
    }

    #[test]
    fn junk_is_refused_or_applied_but_never_panics(live in any_json(), config in any_json()) {
        let live = web(&live);
        let _refused = applied(Some(&live), &web(&config), "A", T1, false).is_err();
        let _refused = apply(Some(&live), &web(&config), &meta::schema::Schema::any(), &id("A"), T1, true, &reset()).is_err();
    }
}
