//! How an event is recorded: what was said before is counted up, what is said in ever new words is combined, and the
//! rest is a new object whose name begins with the time. Source: client-go, tools/record (correlator and names).

use super::EVENTS;
use crate::plan::{EventAct, Seen};
use meta::{Call, Object, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// So many different messages for one reason are kept apart; what follows within the time below is combined.
const MAX_SIMILAR: usize = 10;
const SIMILAR_SECONDS: i64 = 600;
const COMBINED: &str = "(combined from similar events): ";
/// Names of events that are told at the same time differ in these bits of their nanoseconds.
const SPREAD: u64 = 0xfff;

/// What a recorded event says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Facts {
    involved_object: Involved,
    r#type: String,
    reason: String,
    message: String,
    source: Source,
    count: i64,
    last_timestamp: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Involved {
    uid: String,
    kind: String,
    field_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    component: String,
}

/// The call that records an event. A repeat finds its predecessor and counts it up instead of filling the store.
pub fn record(component: &str, event: &EventAct, seen: &Seen) -> Call {
    let namespace = match event.about.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    let similar = similar(component, event, namespace, seen);
    let same = |text: &str| similar.iter().find(|(_, facts)| facts.message == text);
    if let Some((known, facts)) = same(&event.message) {
        return count_up(known, facts, None, seen);
    }
    let recent = |facts: &Facts| {
        let last = facts.last_timestamp.unwrap_or(Timestamp::EPOCH);
        last.plus_seconds(SIMILAR_SECONDS) > seen.now
    };
    if similar.iter().filter(|(_, facts)| recent(facts)).count() < MAX_SIMILAR {
        return Call::create(
            EVENTS,
            namespace,
            object(component, event, namespace, &event.message, seen),
        );
    }
    let message = format!("{COMBINED}{}", event.message);
    match similar
        .iter()
        .find(|(_, facts)| facts.message.starts_with(COMBINED))
    {
        Some((known, facts)) => count_up(known, facts, Some(message), seen),
        None => Call::create(
            EVENTS,
            namespace,
            object(component, event, namespace, &message, seen),
        ),
    }
}

/// Events of the same source about the same thing for the same reason, whatever their words.
fn similar<'a>(
    component: &str,
    event: &EventAct,
    namespace: &str,
    seen: &Seen<'a>,
) -> Vec<(&'a Object, Arc<Facts>)> {
    let prefix = format!("{namespace}/{}.", event.about.name);
    let kind = if event.warning { "Warning" } else { "Normal" };
    let fits = |facts: &Facts| {
        facts.involved_object.uid == event.about.uid
            && facts.involved_object.kind == event.kind
            && facts.involved_object.field_path == event.field_path.as_deref().unwrap_or_default()
            && (facts.reason.as_str(), facts.r#type.as_str()) == (event.reason, kind)
            && facts.source.component == component
    };
    let known = seen.snapshot.after(EVENTS, &prefix, "");
    // An event of somebody else that does not read as one is no predecessor.
    known
        .filter_map(|(_, object)| Some((object, object.typed::<Facts>().ok()?)))
        .filter(|(_, facts)| fits(facts))
        .collect()
}

fn count_up(known: &Object, facts: &Facts, message: Option<String>, seen: &Seen) -> Call {
    let mut patch = json!({"count": facts.count.max(1) + 1, "lastTimestamp": seen.now.rfc3339()});
    if let Some(message) = message {
        patch["message"] = message.into();
    }
    Call::merge_patch(EVENTS, known.namespace(), known.name(), patch)
}

fn object(component: &str, event: &EventAct, namespace: &str, message: &str, seen: &Seen) -> Value {
    let (about, now) = (&event.about, seen.now.rfc3339());
    let mut object = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name(component, event, seen.now), "namespace": namespace},
        "involvedObject": {"apiVersion": event.api_version, "kind": event.kind, "name": about.name, "uid": about.uid},
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason, "message": message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
    });
    if !about.namespace.is_empty() {
        object["involvedObject"]["namespace"] = about.namespace.as_str().into();
    }
    if let Some(revision) = about.revision {
        object["involvedObject"]["resourceVersion"] = revision.to_string().into();
    }
    if let Some(path) = &event.field_path {
        object["involvedObject"]["fieldPath"] = path.as_str().into();
    }
    object
}

/// `web-0.<nanoseconds in hexadecimal>`: listed by name, the events of an object are in the order of their times. The
/// last bits tell apart what is told at one time.
fn name(component: &str, event: &EventAct, now: Timestamp) -> String {
    let path = event.field_path.as_deref().unwrap_or_default();
    let said = [
        component,
        &event.about.uid,
        &event.kind,
        path,
        event.reason,
        &event.message,
    ]
    .join("\0");
    let digest = Sha256::digest(said.as_bytes());
    let bits = u64::from(u16::from_be_bytes([digest[0], digest[1]])) & SPREAD;
    let nanos = now.since(Timestamp::EPOCH).as_nanos() as u64;
    format!("{}.{:016x}", event.about.name, (nanos & !SPREAD) | bits)
}

/// The time of the event number `index` of those that are told together: their names keep their order.
pub fn told_at(now: Timestamp, index: usize) -> Timestamp {
    now.plus(Duration::from_nanos((SPREAD + 1) * index as u64))
}
