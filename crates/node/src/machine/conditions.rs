//! The pod's conditions, with upstream's reasons and messages.
//! Source: kubelet's `status.GeneratePod*Condition`; "Pod Lifecycle" in the docs.

use super::observed::{Container, EndingCause, Observed};
use super::phase::Phase;
use super::spec::{ContainerKind, PodView};
use meta::Timestamp;
use serde_json::{Value, json};

const UNREADY: &str = "ContainersNotReady";

/// What a condition says: holds, or does not for a reason.
type Verdict = Result<&'static str, (&'static str, String)>;

/// All conditions: those of others stay, ours change their time only with their status.
pub(super) fn conditions(now: Timestamp, pod: &PodView, seen: &Observed, phase: Phase) -> Vec<Value> {
    let ready = containers_ready(pod, seen, phase);
    let stands = seen.sandbox.is_done() || seen.stands;
    let sandbox = match stands && !seen.torn_down.is_done() && !finished(phase) {
        true => Ok(""),
        false => Err(("", String::new())),
    };
    let ours = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(pod, seen, phase)),
        ("Ready", ready.clone().and_then(|_| gates(pod))),
        ("ContainersReady", ready),
        ("PodScheduled", Ok("")),
    ];
    let old = pod
        .stored
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let find = |kind: &str| {
        old.iter()
            .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
    };
    let mut list: Vec<Value> = ours
        .iter()
        .map(|(kind, verdict)| condition(now, pod, kind, verdict, find(kind)))
        .collect();
    let foreign = old.iter().filter(|c| {
        ours.iter()
            .all(|(kind, _)| c.get("type").and_then(Value::as_str) != Some(kind))
    });
    list.extend(foreign.cloned());
    list
}

fn condition(now: Timestamp, pod: &PodView, kind: &str, verdict: &Verdict, old: Option<&Value>) -> Value {
    let holds = if verdict.is_ok() { "True" } else { "False" };
    let same = old.filter(|old| old.get("status").and_then(Value::as_str) == Some(holds));
    let since = same.and_then(|old| old.get("lastTransitionTime")).cloned();
    let mut condition = json!({
        "type": kind, "status": holds, "lastProbeTime": null, "observedGeneration": pod.generation,
        "lastTransitionTime": since.unwrap_or_else(|| now.rfc3339().into()),
    });
    let (reason, message) = match verdict {
        Ok(reason) => (*reason, ""),
        Err((reason, message)) => (*reason, message.as_str()),
    };
    for (key, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[key] = text.into();
        }
    }
    condition
}

fn finished(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Failed)
}

fn initialized(pod: &PodView, seen: &Observed, phase: Phase) -> Verdict {
    if phase == Phase::Succeeded {
        return Ok("PodCompleted");
    }
    let app_runs = pod.of_kind(ContainerKind::App).any(|spec| {
        seen.containers
            .get(&spec.name)
            .is_some_and(|c| c.life.as_ref().is_some_and(|life| !life.stale))
    });
    let pending: Vec<&str> = pod
        .containers
        .iter()
        .filter(|spec| {
            let container = seen.containers.get(&spec.name);
            match spec.kind {
                ContainerKind::App => false,
                ContainerKind::Init => !app_runs && !container.is_some_and(succeeded),
                ContainerKind::Sidecar => !app_runs && !container.is_some_and(Container::is_started),
            }
        })
        .map(|spec| spec.name.as_str())
        .collect();
    match pending.is_empty() {
        true => Ok(""),
        false => Err((
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{}]", pending.join(" ")),
        )),
    }
}

pub(super) fn succeeded(container: &Container) -> bool {
    container.ended().is_some_and(|ended| ended.code == 0)
}

fn containers_ready(pod: &PodView, seen: &Observed, phase: Phase) -> Verdict {
    match phase {
        Phase::Succeeded => return Err(("PodCompleted", String::new())),
        Phase::Failed => return Err(("PodFailed", String::new())),
        Phase::Pending | Phase::Running => {}
    }
    let unready: Vec<&str> = pod
        .containers
        .iter()
        .filter(|spec| spec.kind != ContainerKind::Init)
        .filter(|spec| !seen.containers.get(&spec.name).is_some_and(Container::is_ready))
        .map(|spec| spec.name.as_str())
        .collect();
    match unready.is_empty() {
        true => Ok(""),
        false => Err((
            UNREADY,
            format!("containers with unready status: [{}]", unready.join(" ")),
        )),
    }
}

fn gates(pod: &PodView) -> Verdict {
    let mut messages = Vec::new();
    for gate in &pod.readiness_gates {
        let conditions = pod
            .stored
            .get("conditions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let mut conditions = conditions.filter(|c| c.get("type").and_then(Value::as_str) == Some(gate));
        match conditions.next().and_then(|c| c.get("status")?.as_str()) {
            Some("True") => {}
            Some(status) => messages.push(format!(
                "the status of pod readiness gate \"{gate}\" is not \"True\", but {status}"
            )),
            None => messages.push(format!(
                "corresponding condition of pod readiness gate \"{gate}\" does not exist."
            )),
        }
    }
    match messages.is_empty() {
        true => Ok(""),
        false => Err(("ReadinessGatesNotReady", messages.join(", "))),
    }
}

/// Reason and message of the whole pod, when this node has ended it.
pub(super) fn pod_reason(seen: &Observed, phase: Phase) -> Option<(&'static str, &'static str)> {
    let deadline = seen
        .ending
        .as_ref()
        .is_some_and(|ending| ending.cause == EndingCause::Deadline);
    (deadline && phase == Phase::Failed).then_some(DEADLINE_EXCEEDED)
}

/// Reason and message of a pod whose `activeDeadlineSeconds` have run out, and of its event.
/// Source: kubelet's `activeDeadlineHandler`.
pub const DEADLINE_EXCEEDED: (&str, &str) = (
    "DeadlineExceeded",
    "Pod was active on the node longer than the specified deadline",
);
