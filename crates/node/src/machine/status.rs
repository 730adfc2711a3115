//! `status` of a pod as this node sees it, whole: what others wrote into it is kept.

use super::conditions::{conditions, pod_reason};
use super::observed::{Container, Ended, Hook, Image, LifeState, Observed};
use super::phase::Phase;
use super::spec::{ContainerKind, ContainerView, PodView};
use crate::volumes::is_recursively_read_only;
use k8s_openapi::api::core::v1::{ResourceRequirements, VolumeMount};
use meta::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The status that should be stored. Equal to `pod.stored` when nothing is to be written.
pub fn status(now: Timestamp, pod: &PodView, seen: &Observed, host_ips: &[String]) -> Value {
    if let Some(status) = super::admit::rejected_status(pod, seen) {
        return status;
    }
    let phase = Phase::of(pod, seen);
    let mut status = pod.stored.as_object().cloned().unwrap_or_default();
    let mut put = |key: &str, value: Value| match value {
        Value::Null => drop(status.remove(key)),
        value => drop(status.insert(key.to_owned(), value)),
    };
    put("phase", phase.name().into());
    put("observedGeneration", pod.generation.into());
    put("conditions", conditions(now, pod, seen, phase).into());
    if let Some((reason, message)) = pod_reason(seen, phase) {
        put("reason", reason.into());
        put("message", message.into());
    }
    put(
        "startTime",
        seen.started_at.map_or(Value::Null, |at| at.rfc3339().into()),
    );
    let ips = if pod.host_network { host_ips } else { &seen.ips };
    for (one, all, ips) in [("hostIP", "hostIPs", host_ips), ("podIP", "podIPs", ips)] {
        if let Some(first) = ips.first() {
            put(one, first.as_str().into());
            put(
                all,
                ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>().into(),
            );
        }
    }
    let statuses = |wanted: fn(ContainerKind) -> bool| {
        let chosen = pod.containers.iter().filter(|spec| wanted(spec.kind));
        chosen
            .map(|spec| container_status(now, pod, seen, spec, phase))
            .collect::<Vec<_>>()
    };
    put(
        "containerStatuses",
        statuses(|kind| kind == ContainerKind::App).into(),
    );
    let init = statuses(|kind| kind != ContainerKind::App);
    put(
        "initContainerStatuses",
        if init.is_empty() { Value::Null } else { init.into() },
    );
    Value::Object(status)
}

/// `isopod://` and 64 digits that name one attempt of a container.
pub fn container_id(uid: &str, name: &str, attempt: u32) -> String {
    let digest = Sha256::digest(format!("{uid}/{name}/{attempt}"));
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("isopod://{digits}")
}

fn container_status(
    now: Timestamp,
    pod: &PodView,
    seen: &Observed,
    spec: &ContainerView,
    phase: Phase,
) -> Value {
    // How a container of a finished pod ended was said with the phase, and stays.
    let settled = pod.stored_container(&spec.name).filter(|_| pod.is_finished());
    if let Some(settled) = settled.filter(|status| status.pointer("/state/terminated").is_some()) {
        return settled.clone();
    }
    let nothing = Container::default();
    let container = seen.containers.get(&spec.name).unwrap_or(&nothing);
    let mut state = state(now, pod, seen, spec, container);
    if phase == Phase::Failed && state.contains_key("waiting") && is_initialized(pod, seen, spec) {
        state = Map::from_iter([("terminated".to_owned(), never_ran())]);
    }
    let mut last = container.last.as_ref();
    if state.contains_key("waiting") {
        last = container.ended().or(last);
    }
    let life = container.life.as_ref();
    let attempt = life.map(|life| life.attempt);
    let running = state.contains_key("running");
    let ready = match spec.kind {
        ContainerKind::Init => super::conditions::succeeded(container),
        _ => running && container.is_ready(),
    };
    let (image, image_id) = match life {
        Some(life) => life.image.clone(),
        None => (spec.image.clone(), String::new()),
    };
    // Without a life this node (re)starts it: what was counted before holds until then.
    let attempt = attempt.or(container.next_attempt.checked_sub(1));
    let restarts = attempt.unwrap_or(0);
    let mut status = json!({
        "name": spec.name, "image": image, "imageID": image_id, "ready": ready,
        "restartCount": restarts,
        "started": running && container.is_started(),
        "lastState": last.map_or(json!({}), |last| json!({"terminated": terminated(pod, spec, last)})),
    });
    let of_api = pod.container_spec(&spec.name);
    let mounts: Vec<Value> = of_api
        .and_then(|c| c.volume_mounts.as_ref())
        .into_iter()
        .flatten()
        .map(mounted)
        .collect();
    if !mounts.is_empty() {
        status["volumeMounts"] = mounts.into();
    }
    if let Some(attempt) = attempt {
        status["containerID"] = container_id(&pod.uid, &spec.name, attempt).into();
        allocated(&mut status, of_api.and_then(|c| c.resources.as_ref()));
    }
    if let Some(user) = life.and_then(|life| life.user.as_ref()) {
        status["user"] = json!({"linux": {"uid": user.uid, "gid": user.gid}});
        if !user.supplementary_groups.is_empty() {
            status["user"]["linux"]["supplementalGroups"] = user.supplementary_groups.clone().into();
        }
    }
    status["state"] = Value::Object(state);
    status
}

/// A volume as the container has it. Source: `VolumeMountStatus`; KEP-3857 for the recursive part.
fn mounted(mount: &VolumeMount) -> Value {
    let mut status = json!({"name": mount.name, "mountPath": mount.mount_path});
    if mount.read_only == Some(true) {
        let recursive = is_recursively_read_only(mount);
        status["readOnly"] = true.into();
        status["recursiveReadOnly"] = if recursive { "Enabled" } else { "Disabled" }.into();
    }
    status
}

/// What the container was given. Nothing changes it while it lives (there is no resize), so that it is what was asked
/// for. Source: KEP-1287.
fn allocated(status: &mut Value, resources: Option<&ResourceRequirements>) {
    let none = ResourceRequirements::default();
    let resources = json!(resources.unwrap_or(&none));
    if let Some(requests) = resources.get("requests").and_then(Value::as_object)
        && !requests.is_empty()
    {
        status["allocatedResources"] = requests.clone().into();
    }
    status["resources"] = resources;
}

/// Whether a container's turn had come: init containers are in front of all others.
fn is_initialized(pod: &PodView, seen: &Observed, spec: &ContainerView) -> bool {
    spec.kind == ContainerKind::App && !initializing(pod, seen, spec)
}

/// A container of a pod that is over before it could run. Source: kubelet's `status.TerminatePod`.
fn never_ran() -> Value {
    json!({
        "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
        "message": "The container could not be located when the pod was terminated",
    })
}

// LONG: one story from top to bottom; its parts make no sense alone.
fn state(
    now: Timestamp,
    pod: &PodView,
    seen: &Observed,
    spec: &ContainerView,
    container: &Container,
) -> Map<String, Value> {
    let one = |key: &str, value: Value| Map::from_iter([(key.to_owned(), value)]);
    let waiting = |reason: &str, message: &str| {
        let mut value = json!({"reason": reason});
        if !message.is_empty() {
            value["message"] = message.into();
        }
        one("waiting", value)
    };
    if let Some(life) = &container.life
        && let LifeState::Running { at, hook, .. } = &life.state
        && *hook != Hook::Todo
    {
        return one("running", json!({"startedAt": at.rfc3339()}));
    }
    let starting = |seen: &Observed| {
        if initializing(pod, seen, spec) {
            "PodInitializing"
        } else {
            "ContainerCreating"
        }
    };
    if let Some(ended) = container.ended()
        && (seen.ending.is_some() || pod.is_finished() || !container.restarts_after(spec, ended.code))
    {
        return one("terminated", terminated(pod, spec, ended));
    }
    if let Image::Failed {
        reason,
        message,
        since,
        retry_at,
        ..
    } = &container.image
    {
        if now >= back_off_shown(*since, *retry_at) && *reason == "ErrImagePull" {
            let text = format!("Back-off pulling image \"{}\": {reason}: {message}", spec.image);
            return waiting("ImagePullBackOff", &text);
        }
        return waiting(reason, message);
    }
    if let Some(trouble) = &container.trouble {
        return waiting(trouble.reason, &trouble.message);
    }
    if let Some(ended) = container.ended() {
        let until = ended
            .finished
            .and_then(|finished| container.backoff.until(finished));
        // While it is being started the back-off is already the next one's.
        let starts = seen.is_busy(&spec.name, |step| {
            matches!(step, super::Step::StartContainer { .. })
        });
        if !starts && until.is_some_and(|until| until > now) {
            let seconds = container.backoff.seconds();
            let back_off = match seconds {
                0..60 => format!("{seconds}s"),
                _ => format!("{}m{}s", seconds / 60, seconds % 60),
            };
            let text = format!(
                "back-off {back_off} restarting failed container={} pod={}_{}({})",
                spec.name, pod.name, pod.namespace, pod.uid
            );
            return waiting("CrashLoopBackOff", &text);
        }
        if !container.life.as_ref().is_some_and(|life| life.stale) {
            return one("terminated", terminated(pod, spec, ended));
        }
    }
    waiting(starting(seen), "")
}

/// App containers of a pod whose init containers are not through.
fn initializing(pod: &PodView, seen: &Observed, spec: &ContainerView) -> bool {
    let has_init = pod.containers.iter().any(|c| c.kind != ContainerKind::App);
    let runs = seen.containers.get(&spec.name).is_some_and(|c| c.life.is_some());
    has_init && !runs
}

/// From when on a failed pull shows as `ImagePullBackOff`.
pub(super) fn back_off_shown(since: Timestamp, retry_at: Timestamp) -> Timestamp {
    since.plus(retry_at.since(since).min(Duration::from_secs(20)) / 2)
}

fn terminated(pod: &PodView, spec: &ContainerView, ended: &Ended) -> Value {
    let time = |at: Option<Timestamp>| at.unwrap_or(Timestamp::EPOCH).rfc3339();
    let mut value = json!({
        "exitCode": ended.code, "reason": ended.reason,
        "startedAt": time(ended.started), "finishedAt": time(ended.finished),
        "containerID": container_id(&pod.uid, &spec.name, ended.attempt),
    });
    if ended.signal != 0 {
        value["signal"] = ended.signal.into();
    }
    if !ended.message.is_empty() {
        value["message"] = ended.message.as_str().into();
    }
    value
}
