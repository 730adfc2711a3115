//! Taking a pod on: a new one, or one that an earlier server ran.

use super::super::probe::{Probe, ProbeKind};
use super::super::spec::{ContainerView, PodView};
use super::super::step::Step;
use super::{Container, Ended, Hook, Image, Life, LifeState, Observed};
use crate::runtime::{ContainerState, PodState, User};
use meta::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

impl Observed {
    /// A pod that this node has not seen before, or that an earlier server ran: `left` is what the runtime has of it.
    pub fn adopt(pod: &PodView, left: Option<&PodState>, now: Timestamp) -> Self {
        let started = pod
            .stored
            .get("startTime")
            .and_then(Value::as_str)
            .and_then(Timestamp::parse);
        let mut seen = Self {
            started_at: Some(started.unwrap_or(now.truncated())),
            ..Self::default()
        };
        let stored_ips = pod
            .stored
            .get("podIPs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        seen.ips = stored_ips
            .filter_map(|ip| Some(ip.get("ip")?.as_str()?.to_owned()))
            .collect();
        for spec in &pod.containers {
            let mut container = Container::default();
            let stored = pod.stored_container(&spec.name);
            let restarts = stored
                .and_then(|s| s.get("restartCount"))
                .and_then(Value::as_u64)
                .unwrap_or(0);
            // One that waits for its next attempt shows the number of the last, and its id.
            let has_run = restarts > 0
                || stored.is_some_and(|s| {
                    let facts = [
                        "/state/running",
                        "/state/terminated",
                        "/lastState/terminated",
                        "/containerID",
                    ];
                    facts.iter().any(|fact| s.pointer(fact).is_some())
                });
            let known = u32::try_from(restarts).unwrap_or(u32::MAX - 1);
            container.next_attempt = known + u32::from(has_run);
            if let Some(stored) = stored {
                container.last = stored_end(stored, "/lastState/terminated", known.saturating_sub(1));
            }
            seen.containers.insert(spec.name.clone(), container);
        }
        if let Some(left) = left {
            seen.take_over(pod, left, now);
        }
        if pod.is_finished() {
            seen.recall_ends(pod);
        }
        seen
    }

    /// An attempt of this number has run, whatever is known of it: no other gets its number.
    pub fn has_run(&mut self, container: &str, attempt: u32) {
        if let Some(container) = self.containers.get_mut(container) {
            container.next_attempt = container.next_attempt.max(attempt.saturating_add(1));
        }
    }

    /// A finished pod's containers are gone after a reboot and never run again: how they ended stands in the status
    /// alone, and is kept from there.
    fn recall_ends(&mut self, pod: &PodView) {
        for (name, container) in &mut self.containers {
            let Some(stored) = pod.stored_container(name).filter(|_| container.life.is_none()) else {
                continue;
            };
            let attempt = container.next_attempt.saturating_sub(1);
            // One that never ran has no id; nothing but the status knows of it.
            let ran = stored.pointer("/state/terminated/containerID").is_some();
            let Some(ended) = stored_end(stored, "/state/terminated", attempt).filter(|_| ran) else {
                continue;
            };
            let text = |key: &str| {
                stored
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            container.life = Some(Life {
                attempt,
                state: LifeState::Ended(ended),
                image: (text("image"), text("imageID")),
                user: stored_user(stored),
                stale: false,
                interrupted: false,
            });
        }
    }

    fn take_over(&mut self, pod: &PodView, left: &PodState, now: Timestamp) {
        self.stands = left.ready;
        let mut attempts: Vec<_> = left.containers.iter().collect();
        attempts.sort_by(|a, b| a.id.cmp(&b.id));
        for status in attempts {
            let Some(spec) = pod.container(&status.id.name) else {
                continue;
            };
            let Some(container) = self.containers.get_mut(&status.id.name) else {
                continue;
            };
            let stored = pod.stored_container(&spec.name);
            let text = |key: &str| {
                let value = stored.and_then(|s| s.get(key)).and_then(Value::as_str);
                value.unwrap_or_default().to_owned()
            };
            container.previous();
            let attempt = status.id.attempt;
            container.next_attempt = container.next_attempt.max(attempt + 1);
            let image = (text("image"), text("imageID"));
            let state = match &status.state {
                // The runtime finishes what it was told; an event tells how.
                ContainerState::Creating => {
                    let name = if image.0.is_empty() {
                        spec.image.clone()
                    } else {
                        image.0
                    };
                    container.image = Image::Present { name, id: image.1 };
                    container.inherited = Some(attempt);
                    self.running.push(start_of(&spec.name, attempt));
                    continue;
                }
                ContainerState::Running { started_at_ns, .. } => {
                    let at = jiff::Timestamp::from_nanosecond(i128::from(*started_at_ns));
                    let at = at.map_or(now, Timestamp::new);
                    container.probes = adopted_probes(spec, stored, attempt, at, now);
                    LifeState::Running {
                        at,
                        hook: Hook::Done,
                        stopping: None,
                    }
                }
                ContainerState::Exited(exit) => {
                    let message = told(stored, attempt).unwrap_or_default();
                    LifeState::Ended(Ended::of(attempt, exit, message))
                }
            };
            let id = super::super::status::container_id(&pod.uid, &spec.name, attempt);
            let of_attempt = stored.filter(|s| s.get("containerID").and_then(Value::as_str) == Some(&id));
            let stale = !left.ready;
            let interrupted = matches!(&status.state, ContainerState::Exited(exit) if exit.interrupted);
            container.life = Some(Life {
                attempt,
                state,
                image,
                user: of_attempt.and_then(stored_user),
                stale,
                interrupted,
            });
        }
    }
}

/// Whose process a container is, as its stored status says.
fn stored_user(stored: &Value) -> Option<User> {
    let user = stored.pointer("/user/linux")?;
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let groups = user.get("supplementalGroups").and_then(Value::as_array);
    Some(User {
        uid: id(user.get("uid")?)?,
        gid: id(user.get("gid")?)?,
        supplementary_groups: groups.into_iter().flatten().filter_map(id).collect(),
    })
}

fn start_of(name: &str, attempt: u32) -> Step {
    Step::StartContainer {
        container: name.to_owned(),
        attempt,
    }
}

impl Observed {
    /// A container has started. News only if an earlier agent began that: a step tells of its own.
    pub fn started(&mut self, pod: &PodView, name: &str, attempt: u32, at: Timestamp, now: Timestamp) {
        let (Some(spec), true) = (pod.container(name), self.inherit(name, attempt)) else {
            return;
        };
        if let Some(container) = self.containers.get_mut(name) {
            container.begin_life(spec, attempt, at, None, now);
        }
    }

    /// A container ended by itself.
    pub fn exited(&mut self, name: &str, ended: Ended) {
        let inherited = self.inherit(name, ended.attempt);
        let Some(container) = self.containers.get_mut(name) else {
            return;
        };
        if let (true, Image::Present { name, id }) = (inherited, &container.image) {
            // It could not be created: that is its whole life.
            container.life = Some(Life {
                attempt: ended.attempt,
                image: (name.clone(), id.clone()),
                user: None,
                state: LifeState::Ended(ended),
                stale: false,
                interrupted: false,
            });
            container.image = Image::Todo;
            return;
        }
        container.end(ended);
    }

    /// The start that an earlier agent began is over. False when this is none.
    fn inherit(&mut self, name: &str, attempt: u32) -> bool {
        let container = self.containers.get_mut(name);
        let known = container.and_then(|c| c.inherited.take_if(|inherited| *inherited == attempt));
        if known.is_some() {
            self.running.retain(|step| *step != start_of(name, attempt));
        }
        known.is_some()
    }
}

/// The termination message of this attempt, as it is stored.
fn told(stored: Option<&Value>, attempt: u32) -> Option<String> {
    let stored = stored.filter(|s| s["restartCount"] == attempt)?;
    let message = stored.pointer("/state/terminated/message")?;
    message.as_str().map(str::to_owned)
}

/// Probes of a container that has run on without us: what held is taken to hold.
fn adopted_probes(
    spec: &ContainerView,
    stored: Option<&Value>,
    attempt: u32,
    at: Timestamp,
    now: Timestamp,
) -> BTreeMap<ProbeKind, Probe> {
    let same = stored.and_then(|s| s.get("restartCount")).and_then(Value::as_u64) == Some(u64::from(attempt));
    let was = |key: &str| same && stored.and_then(|s| s.get(key)).and_then(Value::as_bool) == Some(true);
    let probes = spec.probes.iter().map(|(kind, probe)| {
        let holds = match kind {
            ProbeKind::Startup => was("started"),
            ProbeKind::Readiness => was("ready"),
            ProbeKind::Liveness => false,
        };
        (
            *kind,
            if holds {
                Probe::known(probe, now)
            } else {
                Probe::new(probe, at, now)
            },
        )
    });
    probes.collect()
}

fn stored_end(stored: &Value, pointer: &str, attempt: u32) -> Option<Ended> {
    let ended = stored.pointer(pointer)?;
    let text = |key: &str| ended.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| {
        ended
            .get(key)
            .and_then(Value::as_i64)
            .and_then(|n| i32::try_from(n).ok())
    };
    Some(Ended {
        attempt,
        code: number("exitCode").unwrap_or(0),
        signal: number("signal").unwrap_or(0),
        reason: text("reason").to_owned(),
        message: text("message").to_owned(),
        started: Timestamp::parse(text("startedAt")),
        finished: Timestamp::parse(text("finishedAt")),
    })
}
