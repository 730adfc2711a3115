//! Entries: reading what clients send, order, and the cap.
use super::{Managed, ManagerId, UPDATE, is_reset};
use crate::FieldSet;
use serde_json::{Value, json};

#[test]
fn what_a_client_sends_is_checked_and_made_canonical() {
    let error = |list: Value| Managed::decode(list.as_array().expect("a list")).expect_err("must be refused");
    insta::assert_snapshot!(
        [
            error(json!([1])),
            error(json!([{"manager":"a","apiVersion":"v1"}])),
            error(json!([{"manager":"a","operation":"Apply"}])),
            error(json!([{"manager":"a","operation":"Apply","apiVersion":"v1"}])),
            error(json!([{"manager":"a","operation":"Apply","apiVersion":"v1","fieldsType":"V2"}])),
            error(json!([{"manager":"a","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"x":{}}}])),
        ]
        .join("\n"),
        @r#"
        managed fields entry 0 is not an object
        operation must be `Apply` or `Update`
        apiVersion must not be empty
        missing fieldsType in managed fields entry 0
        invalid fieldsType "V2" in managed fields entry 0
        managed fields entry 0: error decoding set: parsing key as path element: key must be 2 characters long:
        "#
    );
    let good = json!([
        {"manager":"b","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:a":{".":{}}},"subresource":"","junk":1},
        {"manager":"a","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:a":{}},"time":"2026-01-01T00:00:00Z"},
        {"manager":"z","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:a":{}},"time":"2026-01-02T00:00:00Z"},
    ]);
    let managed = Managed::decode(good.as_array().expect("a list"))
        .expect("valid")
        .encode()
        .expect("not empty");
    insta::assert_json_snapshot!(managed, @r#"
        [
          {
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
              "f:a": {}
            },
            "manager": "z",
            "operation": "Apply",
            "time": "2026-01-02T00:00:00Z"
          },
          {
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
              "f:a": {}
            },
            "manager": "b",
            "operation": "Update"
          },
          {
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
              "f:a": {}
            },
            "manager": "a",
            "operation": "Update",
            "time": "2026-01-01T00:00:00Z"
          }
        ]
        "#);
}

#[test]
fn resets_are_recognised() {
    assert!(is_reset(&[]) && is_reset(&[json!({})]) && is_reset(&[json!({"manager":"","time":null})]));
    assert!(!is_reset(&[json!({"manager":"a"})]) && !is_reset(&[json!({}), json!({})]));
}

#[test]
fn old_update_entries_are_united_above_ten() {
    let mut managed = Managed::default();
    for i in 0..14 {
        let (name, field) = (format!("m{i:02}"), format!("f{i:02}"));
        let id = ManagerId {
            name: &name,
            api_version: if i == 1 { "v1beta1" } else { "v1" },
            subresource: if i == 0 { "status" } else { "" },
        };
        let entry = managed.find_or_add(&id, UPDATE);
        entry.put_fields(FieldSet::of_fields(&[&[&field]]));
        entry.set_time(&format!("2026-01-01T00:00:{i:02}Z"));
    }
    managed.cap_updates();
    let left: Vec<String> = managed
        .entries()
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                e.manager(),
                e.api_version(),
                e.time(),
                e.fields().paths().join(" ")
            )
        })
        .collect();
    insta::assert_snapshot!(left.join("\n"), @r#"
        ancient-changes v1 2026-01-01T00:00:05Z .f00 .f02 .f03 .f04 .f05
        m01 v1beta1 2026-01-01T00:00:01Z .f01
        m06 v1 2026-01-01T00:00:06Z .f06
        m07 v1 2026-01-01T00:00:07Z .f07
        m08 v1 2026-01-01T00:00:08Z .f08
        m09 v1 2026-01-01T00:00:09Z .f09
        m10 v1 2026-01-01T00:00:10Z .f10
        m11 v1 2026-01-01T00:00:11Z .f11
        m12 v1 2026-01-01T00:00:12Z .f12
        m13 v1 2026-01-01T00:00:13Z .f13
        "#);
}
