//! The pod's phase, from the states of its containers. Source: kubelet's `getPhase`.

use super::observed::{Container, EndingCause, Observed};
use super::spec::{ContainerKind, PodView, Restart};
use super::step::Step;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

/// What `getPhase` sees in a container.
pub(super) enum Shown {
    /// Never ran (in what is known).
    Waiting,
    Running,
    Ended(i32),
}

/// Waiting after an end counts as that end.
pub(super) fn shown(container: Option<&Container>) -> Shown {
    let Some(container) = container else {
        return Shown::Waiting;
    };
    match (container.is_alive(), container.ended(), &container.last) {
        (true, ..) => Shown::Running,
        (false, Some(ended), _) => Shown::Ended(ended.code),
        (false, None, Some(last)) => Shown::Ended(last.code),
        (false, None, None) => Shown::Waiting,
    }
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub fn of(pod: &PodView, seen: &Observed) -> Self {
        if pod.is_finished() {
            let failed = pod.stored.get("phase").and_then(serde_json::Value::as_str) == Some("Failed");
            return if failed { Self::Failed } else { Self::Succeeded };
        }
        let counts = Counts::of(pod, seen);
        let deadline = seen
            .ending
            .as_ref()
            .is_some_and(|ending| ending.cause == EndingCause::Deadline);
        // Whatever never came to run: nothing is left that could still use the pod's resources.
        if deadline && counts.running == 0 && !seen.running.iter().any(Step::is_start) {
            return Self::Failed;
        }
        if counts.init_failed && pod.restart == Restart::Never {
            return if counts.running > 0 {
                Self::Pending
            } else {
                Self::Failed
            };
        }
        if counts.init_pending && !counts.app_started {
            return Self::Pending;
        }
        if counts.waiting > 0 {
            return Self::Pending;
        }
        if counts.running > 0 {
            return Self::Running;
        }
        let ended_by_us = seen.ending.is_some();
        let good = counts.app_ended == counts.app_succeeded;
        match (counts.may_restart && !ended_by_us, good) {
            (true, _) => Self::Running,
            (false, true) => Self::Succeeded,
            (false, false) => Self::Failed,
        }
    }
}

#[derive(Default)]
struct Counts {
    init_failed: bool,
    init_pending: bool,
    app_started: bool,
    running: usize,
    waiting: usize,
    app_ended: usize,
    app_succeeded: usize,
    may_restart: bool,
}

impl Counts {
    fn of(pod: &PodView, seen: &Observed) -> Self {
        let mut counts = Self::default();
        for spec in &pod.containers {
            let container = seen.containers.get(&spec.name);
            let shown = shown(container);
            match (spec.kind, shown) {
                (ContainerKind::Init, Shown::Ended(0)) => {}
                (ContainerKind::Init, Shown::Ended(_))
                    if !container.is_some_and(Container::is_interrupted) =>
                {
                    counts.init_failed = true;
                }
                (ContainerKind::Init, _) => counts.init_pending = true,
                (ContainerKind::Sidecar, Shown::Running) => {
                    counts.running += 1;
                    counts.init_pending |= !container.is_some_and(Container::is_started);
                }
                (ContainerKind::Sidecar, Shown::Waiting) => {
                    counts.init_pending = true;
                    counts.waiting += 1;
                }
                (ContainerKind::Sidecar, Shown::Ended(_)) => {}
                (ContainerKind::App, Shown::Running) => {
                    counts.app_started = true;
                    counts.running += 1;
                    // Its state is still `waiting`, and before its first life there is no other.
                    counts.waiting += usize::from(container.is_some_and(Container::is_first_starting));
                }
                (ContainerKind::App, Shown::Waiting) => counts.waiting += 1,
                (ContainerKind::App, Shown::Ended(code)) => {
                    counts.app_started = true;
                    counts.app_ended += 1;
                    counts.app_succeeded += usize::from(code == 0);
                    counts.may_restart |= container.is_some_and(|c| c.restarts_after(spec, code));
                }
            }
        }
        // An init container that failed is tried again: not through yet.
        counts.init_pending |= counts.init_failed;
        counts
    }
}
