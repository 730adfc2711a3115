//! Calls, outcomes and objects in a few words, for the story.

use crate::podworker::Errand;
use meta::{Call, Reply, Status, Verb};

/// What the node wants of the API.
pub fn errand(call: &Call, errand: &Errand) -> String {
    match errand {
        Errand::Delete => format!("reports pod {} gone", call.name),
        Errand::Status(status) => {
            let phase = status["phase"].as_str().unwrap_or_default();
            let state = &status["containerStatuses"][0];
            let ready = if state["ready"] == true {
                "ready"
            } else {
                "not ready"
            };
            let reason = ["waiting", "terminated"]
                .iter()
                .find_map(|kind| state["state"][kind]["reason"].as_str());
            let reason = reason.map(|r| format!(" ({r})")).unwrap_or_default();
            format!("reports pod {} {phase}, {ready}{reason}", call.name)
        }
    }
}

pub fn call(call: &Call) -> String {
    let name = match &call.body {
        Some(body) if call.name.is_empty() => {
            let metadata = &body["metadata"];
            let name = metadata["name"].as_str().or(metadata["generateName"].as_str());
            name.unwrap_or_default()
        }
        _ => &call.name,
    };
    let verb = match call.verb {
        Verb::Create => "creates",
        Verb::Update => "updates",
        Verb::Delete => "deletes",
        Verb::Get | Verb::List => "reads",
        _ => "patches",
    };
    let mut text = format!("{verb} {} {name}", call.res.plural);
    if !call.subresource.is_empty() {
        text = format!("{text} ({})", call.subresource);
    }
    match (&call.body, call.verb) {
        (Some(body), Verb::PatchMerge) => text = format!("{text} {body}"),
        (Some(body), _) if call.subresource == "status" => text = format!("{text} {}", body["status"]),
        _ => {}
    }
    if let Some(propagation) = call.options.propagation {
        text = format!("{text} {propagation:?}");
    }
    if let Some(grace) = call.options.grace_seconds {
        text = format!("{text} grace {grace}");
    }
    text
}

pub fn outcome(result: &Result<Reply, Status>) -> String {
    match result {
        Ok(Reply::Object { object, .. }) => format!(" -> revision {}", object.revision()),
        Ok(_) => " -> done".into(),
        Err(status) => format!(" -> {} {}", status.code, status.message),
    }
}
