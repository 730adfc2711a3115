//! What was seen of a pod on this node, and how each thing that happens changes it. Everything that `sync` and `status`
//! decide from is in here or in the pod's own object.

mod adopt;
mod changed;
mod outcome;

use super::backoff::{Backoff, retry_seconds};
use super::probe::{Probe, ProbeKind};
use super::spec::{ContainerView, PodView};
use super::step::{Outcome, PodEvent, StartFailure, Step, StopReason};
use crate::runtime::{Exit, User};
use meta::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// First and longest wait between tries, in seconds: setting up, creating, pulling.
const SET_UP: (u64, u64) = (1, 120);
const CREATE: (u64, u64) = (1, 15);
const PULL: (u64, u64) = (10, 300);

/// Reason and message of a pod that is not admitted.
pub type Refusal = (&'static str, String);

#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Steps under way.
    pub running: Vec<Step>,
    pub volumes: Task,
    pub sandbox: Task,
    /// It stood when this agent took the pod on, and what may be missing of it is being looked for.
    pub stands: bool,
    pub ips: Vec<String>,
    pub containers: BTreeMap<String, Container>,
    /// When this node took the pod on.
    pub started_at: Option<Timestamp>,
    pub ending: Option<Ending>,
    /// The node is being switched off: containers end, all else stays as it is.
    pub switching_off: bool,
    /// Why the node does not take it beside those that it has: reason and message.
    pub refused: Option<Refusal>,
    pub released: Task,
    pub torn_down: Task,
    pub deleted: Task,
    /// What the volumes are made of has changed since they were begun.
    pub sources_dirty: bool,
    /// When a service account token in a volume must be renewed.
    pub refresh_at: Option<Timestamp>,
}

/// Something that is done once, and tried again until it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Task {
    #[default]
    Todo,
    Done,
    Failed {
        message: String,
        failures: u32,
        retry_at: Timestamp,
    },
}

#[derive(Clone, Debug, Default)]
pub struct Container {
    pub image: Image,
    /// The newest attempt.
    pub life: Option<Life>,
    /// How the attempt before it ended.
    pub last: Option<Ended>,
    /// The attempt could not be created.
    pub trouble: Option<Trouble>,
    pub backoff: Backoff,
    pub next_attempt: u32,
    pub probes: BTreeMap<ProbeKind, Probe>,
    /// The attempt that an earlier agent had begun to start.
    pub inherited: Option<u32>,
    /// An end that was heard of before the start was.
    early_end: Option<(u32, Ended)>,
    /// What the pod says now.
    wanted: String,
    /// It runs, or starts, with another image than the pod says now.
    pub(super) outdated: bool,
    /// The pull that is under way is of another image.
    pulls_another: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub reason: &'static str,
    pub message: String,
    pub failures: u32,
    pub retry_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Image {
    #[default]
    Todo,
    Present {
        name: String,
        id: String,
    },
    Failed {
        reason: &'static str,
        message: String,
        failures: u32,
        since: Timestamp,
        retry_at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    pub attempt: u32,
    pub state: LifeState,
    pub image: (String, String),
    /// Whose process it is, where that is known.
    pub user: Option<User>,
    /// It belongs to a sandbox that is gone.
    pub stale: bool,
    /// It was ended with the node, or for another image, so its end says nothing about its work.
    pub interrupted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LifeState {
    Running {
        at: Timestamp,
        hook: Hook,
        stopping: Option<Timestamp>,
    },
    Ended(Ended),
}

/// The postStart hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Todo,
    Done,
    Failed,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub attempt: u32,
    pub code: i32,
    pub signal: i32,
    pub reason: String,
    pub message: String,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub cause: EndingCause,
    pub since: Timestamp,
    pub deadline: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndingCause {
    /// The API object is being deleted, or is gone.
    Deleted,
    /// `activeDeadlineSeconds` has passed.
    Deadline,
    /// The node is being switched off.
    SwitchedOff,
}

impl Ended {
    pub fn of(attempt: u32, exit: &Exit, message: String) -> Self {
        let time = |ns: i64| {
            let at = jiff::Timestamp::from_nanosecond(i128::from(ns)).ok()?;
            (ns > 0).then(|| Timestamp::new(at))
        };
        Self {
            attempt,
            code: exit.code,
            // Upstream leaves `signal` unset: the code says it.
            signal: 0,
            reason: exit.reason.as_str().to_owned(),
            message: if message.is_empty() {
                exit.message.clone()
            } else {
                message
            },
            started: time(exit.started_at_ns),
            finished: time(exit.finished_at_ns),
        }
    }
}

impl Task {
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }

    fn failed(&mut self, message: String, now: Timestamp) {
        let failures = match self {
            Self::Failed { failures, .. } => *failures + 1,
            _ => 1,
        };
        let wait = Duration::from_secs(retry_seconds(failures, SET_UP.0, SET_UP.1));
        *self = Self::Failed {
            message,
            failures,
            retry_at: now.plus(wait),
        };
    }

    /// Try again at once.
    fn hurry(&mut self, now: Timestamp) {
        if let Self::Failed { retry_at, .. } = self {
            *retry_at = now.min(*retry_at);
        }
    }
}

impl Container {
    pub fn is_alive(&self) -> bool {
        matches!(
            &self.life,
            Some(Life {
                state: LifeState::Running { .. },
                ..
            })
        )
    }

    /// In its first life, with its postStart hook still under way.
    pub fn is_first_starting(&self) -> bool {
        let state = self.life.as_ref().map(|life| &life.state);
        self.last.is_none() && matches!(state, Some(LifeState::Running { hook: Hook::Todo, .. }))
    }

    /// The newest attempt's end, if it has ended.
    pub fn ended(&self) -> Option<&Ended> {
        match self.life.as_ref().map(|life| &life.state) {
            Some(LifeState::Ended(ended)) => Some(ended),
            _ => None,
        }
    }

    /// Runs, and its postStart hook and startup probe are through.
    pub fn is_started(&self) -> bool {
        let hooked = matches!(
            &self.life,
            Some(Life {
                state: LifeState::Running { hook: Hook::Done, .. },
                ..
            })
        );
        hooked
            && self
                .probes
                .get(&ProbeKind::Startup)
                .is_none_or(|probe| probe.result == Some(true))
    }

    pub fn is_ready(&self) -> bool {
        let readiness = self.probes.get(&ProbeKind::Readiness);
        self.is_started() && readiness.is_none_or(|probe| probe.result == Some(true))
    }

    /// Its newest attempt was ended with the node.
    pub(super) fn is_interrupted(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.interrupted)
    }

    /// Whether its newest attempt is followed by another one after this code.
    pub(super) fn restarts_after(&self, spec: &ContainerView, code: i32) -> bool {
        spec.restarts_after(code) || self.is_interrupted()
    }

    pub fn stopping(&self) -> Option<Timestamp> {
        match self.life.as_ref().map(|life| &life.state) {
            Some(LifeState::Running { stopping, .. }) => *stopping,
            _ => None,
        }
    }

    fn end(&mut self, ended: Ended) {
        if let Some(life) = &mut self.life
            && life.attempt == ended.attempt
        {
            if matches!(life.state, LifeState::Running { .. }) {
                life.state = LifeState::Ended(ended);
                self.probes.clear();
            }
        } else if self.life.as_ref().is_none_or(|life| life.attempt < ended.attempt) {
            self.early_end = Some((ended.attempt, ended));
        }
    }

    fn begin_life(
        &mut self,
        spec: &ContainerView,
        attempt: u32,
        at: Timestamp,
        user: Option<User>,
        now: Timestamp,
    ) {
        self.previous();
        let image = match &self.image {
            Image::Present { name, id } => (name.clone(), id.clone()),
            _ => (spec.image.clone(), String::new()),
        };
        let hook = if spec.has_post_start {
            Hook::Todo
        } else {
            Hook::Done
        };
        let state = LifeState::Running {
            at,
            hook,
            stopping: None,
        };
        self.life = Some(Life {
            attempt,
            state,
            image,
            user,
            stale: false,
            interrupted: false,
        });
        self.trouble = None;
        self.image = Image::Todo;
        self.next_attempt = attempt + 1;
        self.probes = spec
            .probes
            .iter()
            .map(|(kind, p)| (*kind, Probe::new(p, at, now)))
            .collect();
        if let Some((_, ended)) = self.early_end.take_if(|(early, _)| *early == attempt) {
            self.end(ended);
        }
    }

    fn previous(&mut self) {
        if let Some(Life {
            state: LifeState::Ended(ended),
            ..
        }) = self.life.take()
        {
            self.last = Some(ended);
        }
    }
}

impl Observed {
    pub fn is_running(&self, step: &Step) -> bool {
        self.running.contains(step)
    }

    /// Something like this is under way.
    pub(super) fn does(&self, what: fn(&Step) -> bool) -> bool {
        self.running.iter().any(what)
    }

    /// Something is done to this container now.
    pub(super) fn is_busy(&self, name: &str, what: fn(&Step) -> bool) -> bool {
        self.running
            .iter()
            .any(|step| step.container() == Some(name) && what(step))
    }

    /// Takes notice of the pod's object: how it ends, if it does.
    pub fn notice(&mut self, pod: &PodView, now: Timestamp) {
        self.started_at.get_or_insert(now.truncated());
        self.notice_images(pod);
        let grace = match (pod.gone, pod.deletion) {
            // Deleted without grace: it is told to end, and killed a second later.
            (true, _) => Some(1),
            (false, deletion) => deletion.map(|seconds| seconds.max(1)),
        };
        let deadline_over = self.deadline(pod).is_some_and(|at| at <= now);
        let wanted = match grace {
            Some(grace) => (EndingCause::Deleted, grace),
            None if deadline_over => (EndingCause::Deadline, pod.grace_seconds.max(1)),
            None => return,
        };
        let deadline = now.plus_seconds(wanted.1);
        match &mut self.ending {
            Some(ending) => {
                let from_start = ending.since.plus_seconds(wanted.1).max(now);
                ending.deadline = ending.deadline.min(if pod.gone { deadline } else { from_start });
                if wanted.0 == EndingCause::Deleted {
                    ending.cause = EndingCause::Deleted;
                }
            }
            None => {
                self.ending = Some(Ending {
                    cause: wanted.0,
                    since: now,
                    deadline,
                })
            }
        }
    }

    /// The node is being switched off: containers end as when their pod is deleted, and the pod itself stays.
    pub fn switch_off(&mut self, pod: &PodView, now: Timestamp) {
        self.switching_off = true;
        self.ending.get_or_insert_with(|| Ending {
            cause: EndingCause::SwitchedOff,
            since: now,
            deadline: now.plus_seconds(pod.grace_seconds.max(1)),
        });
    }

    /// When `activeDeadlineSeconds` runs out.
    pub(super) fn deadline(&self, pod: &PodView) -> Option<Timestamp> {
        if pod.is_finished() {
            return None;
        }
        Some(self.started_at?.plus_seconds(pod.active_deadline_seconds?))
    }

    /// A claim of the pod has changed, or the volume of one. What is mounted already stays.
    pub fn claims_changed(&mut self, now: Timestamp) {
        if !self.volumes.is_done() {
            self.sources_changed(now);
        }
    }

    /// What a pod refers to has changed: what failed for want of it is tried again now.
    pub fn sources_changed(&mut self, now: Timestamp) {
        self.sources_dirty = true;
        self.volumes.hurry(now);
        for trouble in self.containers.values_mut().filter_map(|c| c.trouble.as_mut()) {
            trouble.retry_at = trouble.retry_at.min(now);
        }
    }

    /// The sandbox is gone with all containers in it (their ends were told before).
    pub fn sandbox_lost(&mut self) {
        let meant = |done: &Task, step: &Step| done.is_done() || self.running.contains(step);
        if meant(&self.torn_down, &Step::TearDown) || meant(&self.released, &Step::Release) {
            return;
        }
        (self.sandbox, self.stands) = (Task::Todo, false);
        for life in self.containers.values_mut().filter_map(|c| c.life.as_mut()) {
            life.stale = true;
        }
    }

    /// A step begins. What is told about it is told now.
    pub fn begin(&mut self, pod: &PodView, step: &Step, now: Timestamp) -> Vec<PodEvent> {
        self.running.push(step.clone());
        if *step == Step::SetUpVolumes {
            (self.sources_dirty, self.refresh_at) = (false, None);
        }
        let Some(container) = step.container().and_then(|name| self.containers.get_mut(name)) else {
            return Vec::new();
        };
        match step {
            Step::StartContainer { .. } => {
                let finished = container.ended().map(|ended| ended.finished.unwrap_or(now));
                container.outdated = false;
                if let Some(finished) = finished.filter(|_| container.trouble.is_none()) {
                    container.backoff.restart(finished, now);
                }
                Vec::new()
            }
            Step::StopContainer {
                container: name,
                deadline,
                reason,
                ..
            } => {
                let first = container.stopping().is_none();
                if let Some(Life {
                    state: LifeState::Running { stopping, .. },
                    interrupted,
                    ..
                }) = &mut container.life
                {
                    *stopping = Some(*deadline);
                    *interrupted |= *reason == StopReason::Changed;
                }
                let message = match reason {
                    StopReason::PodEnds => format!("Stopping container {name}"),
                    StopReason::Liveness => {
                        format!("Container {name} failed liveness probe, will be restarted")
                    }
                    StopReason::Startup => {
                        format!("Container {name} failed startup probe, will be restarted")
                    }
                    StopReason::Changed => {
                        format!("Container {name} definition changed, will be restarted")
                    }
                    StopReason::PostStartFailed => "FailedPostStartHook".to_owned(),
                };
                first
                    .then(|| about(pod, name, false, "Killing", message))
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn volumes_finished(&mut self, outcome: Outcome, now: Timestamp) -> Vec<PodEvent> {
        let were_done = self.volumes.is_done();
        let events = settle(&mut self.volumes, outcome, "FailedMount", now);
        if let (true, Task::Failed { retry_at, .. }) = (were_done, &self.volumes) {
            // What is there stays as it is until the update works.
            self.refresh_at = Some(*retry_at);
            self.volumes = Task::Done;
        }
        if self.sources_dirty {
            // What it failed for may have come while it was under way.
            self.volumes.hurry(now);
        }
        events
    }

    /// A step is over.
    pub fn finish(&mut self, pod: &PodView, step: &Step, outcome: Outcome, now: Timestamp) -> Vec<PodEvent> {
        if let Some(place) = self.running.iter().position(|running| running == step) {
            self.running.remove(place);
        }
        match step {
            Step::SetUpVolumes => {
                if let Outcome::Volumes { refresh_at } = outcome {
                    self.refresh_at = refresh_at;
                }
                self.volumes_finished(outcome, now)
            }
            Step::Release => settle(&mut self.released, outcome, "FailedKillPod", now),
            Step::TearDown => settle(&mut self.torn_down, outcome, "FailedKillPod", now),
            Step::DeletePod => settle(&mut self.deleted, outcome, "FailedDelete", now),
            Step::CreateSandbox => {
                self.stands = false;
                match outcome {
                    Outcome::Sandbox { ips } => {
                        self.ips = ips;
                        self.sandbox = Task::Done;
                        Vec::new()
                    }
                    outcome => settle(&mut self.sandbox, outcome, "FailedCreatePodSandBox", now),
                }
            }
            Step::PullImage { container }
            | Step::StartContainer { container, .. }
            | Step::PostStart { container, .. }
            | Step::StopContainer { container, .. }
            | Step::Probe { container, .. } => {
                let (Some(spec), Some(seen)) = (pod.container(container), self.containers.get_mut(container))
                else {
                    return Vec::new();
                };
                if matches!(outcome, Outcome::NotStarted(StartFailure::NoSandbox)) {
                    self.sandbox_lost();
                    return Vec::new();
                }
                let events = seen.finish(spec, step, outcome, now);
                events
                    .into_iter()
                    .map(|(warning, reason, message)| about(pod, container, warning, reason, message))
                    .collect()
            }
        }
    }
}

fn settle(task: &mut Task, outcome: Outcome, reason: &'static str, now: Timestamp) -> Vec<PodEvent> {
    match outcome {
        Outcome::Failed(message) => {
            task.failed(message.clone(), now);
            vec![PodEvent {
                warning: true,
                reason,
                message,
                field_path: None,
            }]
        }
        _ => {
            *task = Task::Done;
            Vec::new()
        }
    }
}

fn about(pod: &PodView, container: &str, warning: bool, reason: &'static str, message: String) -> PodEvent {
    let field_path = pod
        .container(container)
        .map(|container| container.field_path.clone());
    PodEvent {
        warning,
        reason,
        message,
        field_path,
    }
}
