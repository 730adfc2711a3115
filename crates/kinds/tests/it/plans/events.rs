//! How events are counted, combined and named. Expectations follow client-go's event recorder.

use super::text::{Case, NAMESPACE};
use kinds::event::{EVENTS, record, told_at};
use kinds::plan::EventAct;
use kinds::pod::PODS;
use kinds::{Registry, Seen, Target};
use meta::{Timestamp, Verb};
use serde_json::Value;

fn event(message: &str, container: &str) -> EventAct {
    EventAct {
        about: Target {
            res: PODS,
            namespace: NAMESPACE.into(),
            name: "web-0".into(),
            uid: "web-0-uid".into(),
            revision: None,
        },
        api_version: "v1".into(),
        kind: "Pod".into(),
        warning: false,
        reason: "Pulled",
        message: message.into(),
        field_path: Some(format!("spec.containers{{{container}}}")),
    }
}

/// Records an event: its name where it is a new one, or else what is changed in a known one.
fn told(case: &mut Case, event: &EventAct, now: Timestamp) -> Result<String, Value> {
    let rows = Registry::builtin();
    let seen = Seen {
        now,
        snapshot: &case.snapshot,
        rows: &rows,
    };
    let call = record("kubelet", event, &seen);
    let body = call.body.expect("a body");
    if call.verb != Verb::Create {
        return Err(body);
    }
    let name = kinds::row::text(&body, "/metadata/name").to_string();
    case.put(EVENTS, body);
    Ok(name)
}

#[test]
fn repeats_are_counted_for_each_container() {
    let mut case = Case::empty();
    let now = case.now;
    let pulled = |container| event("Container image \"app:1\" already present on machine", container);
    let names = ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(i, container)| told(&mut case, &pulled(container), told_at(now, i)).expect("a new event"));
    let names: Vec<String> = names.collect();
    assert!(
        names.is_sorted(),
        "listed by name they are in the order of their times: {names:?}"
    );
    let again = told(&mut case, &pulled("b"), now).expect_err("a known event");
    assert_eq!(again["count"], 2);
}

#[test]
fn ever_new_words_are_combined() {
    let mut case = Case::empty();
    let now = case.now;
    for i in 0..10 {
        told(
            &mut case,
            &event(&format!("failed for the time {i}"), "a"),
            told_at(now, i),
        )
        .expect("a new event");
    }
    told(&mut case, &event("failed for the time 10", "a"), now).expect("the combined event is new");
    let more = told(&mut case, &event("failed for the time 11", "a"), now).expect_err("it is counted up");
    assert_eq!(
        more["message"],
        "(combined from similar events): failed for the time 11"
    );
    // After ten minutes the old ones count no more.
    told(
        &mut case,
        &event("failed for the time 12", "a"),
        now.plus_seconds(601),
    )
    .expect("a new event");
}
