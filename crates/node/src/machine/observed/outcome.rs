//! How the outcome of a step changes what is seen of its container, and what is told about it.

use super::super::backoff::retry_seconds;
use super::super::probe::{Probe, ProbeKind};
use super::super::spec::ContainerView;
use super::super::step::{Outcome, StartFailure, Step};
use super::{CREATE, Container, Ended, Hook, Image, Life, LifeState, PULL, Trouble};
use meta::Timestamp;
use std::time::Duration;

/// Warning or not, reason, message.
pub(super) type Told = (bool, &'static str, String);

impl Container {
    pub(super) fn finish(
        &mut self,
        spec: &ContainerView,
        step: &Step,
        outcome: Outcome,
        now: Timestamp,
    ) -> Vec<Told> {
        match (step, outcome) {
            (Step::PullImage { .. }, _) if std::mem::take(&mut self.pulls_another) => Vec::new(),
            (Step::PullImage { .. }, Outcome::Image { name, id, message }) => {
                self.image = Image::Present { name, id };
                vec![(false, "Pulled", message)]
            }
            (Step::PullImage { .. }, Outcome::NoImage { reason, message }) => {
                self.no_image(spec, reason, message, now)
            }
            (Step::StartContainer { attempt, .. }, Outcome::Started { at, user }) => {
                self.begin_life(spec, *attempt, at, user, now);
                let name = &spec.name;
                vec![
                    (false, "Created", format!("Container created: {name}")),
                    (false, "Started", format!("Container started: {name}")),
                ]
            }
            (Step::StartContainer { attempt, .. }, Outcome::NotStarted(failure)) => {
                self.not_started(spec, *attempt, failure, now)
            }
            (Step::PostStart { attempt, .. }, Outcome::Hook(result)) => self.hooked(*attempt, result),
            (Step::StopContainer { attempt, .. }, Outcome::Stopped(ended)) => {
                if let Some(ended) = ended {
                    self.end(ended);
                } else if let Some(Life {
                    attempt: a,
                    state: LifeState::Running { stopping, .. },
                    ..
                }) = &mut self.life
                    && a == attempt
                {
                    // It could not be stopped; it is tried again.
                    *stopping = None;
                }
                Vec::new()
            }
            (Step::StopContainer { .. }, Outcome::Hook(Err(message))) => {
                vec![(true, "FailedPreStopHook", message)]
            }
            (Step::Probe { attempt, kind, .. }, Outcome::Probed(result)) => {
                self.probed(spec, *attempt, *kind, result, now)
            }
            _ => Vec::new(),
        }
    }

    /// The events have kubelet's reasons; the message is that of the waiting state.
    fn no_image(
        &mut self,
        spec: &ContainerView,
        reason: &'static str,
        message: String,
        now: Timestamp,
    ) -> Vec<Told> {
        let failures = match &self.image {
            Image::Failed { failures, .. } => failures + 1,
            _ => 1,
        };
        let wait = Duration::from_secs(retry_seconds(failures, PULL.0, PULL.1));
        let first = match reason {
            "ErrImagePull" => (
                true,
                "Failed",
                format!("Failed to pull image \"{}\": {message}", spec.image),
            ),
            "ErrImageNeverPull" => (true, "ErrImageNeverPull", message.clone()),
            _ => (true, "InspectFailed", message.clone()),
        };
        let told = vec![first, (true, "Failed", format!("Error: {reason}"))];
        self.image = Image::Failed {
            reason,
            message,
            failures,
            since: now,
            retry_at: now.plus(wait),
        };
        told
    }

    fn not_started(
        &mut self,
        spec: &ContainerView,
        attempt: u32,
        failure: StartFailure,
        now: Timestamp,
    ) -> Vec<Told> {
        match failure {
            StartFailure::Create { reason, message } => {
                let failures = self.trouble.as_ref().map_or(1, |trouble| trouble.failures + 1);
                let wait = Duration::from_secs(retry_seconds(failures, CREATE.0, CREATE.1));
                let told = vec![(true, "Failed", format!("Error: {message}"))];
                self.trouble = Some(Trouble {
                    reason,
                    message,
                    failures,
                    retry_at: now.plus(wait),
                });
                told
            }
            StartFailure::Run { message } => {
                self.begin_life(spec, attempt, now, None, now);
                self.end(Ended {
                    attempt,
                    code: 128,
                    reason: "StartError".to_owned(),
                    message: message.clone(),
                    started: Some(Timestamp::EPOCH),
                    finished: Some(now),
                    ..Ended::default()
                });
                vec![
                    (false, "Created", format!("Container created: {}", spec.name)),
                    (true, "Failed", format!("Error: {message}")),
                ]
            }
            StartFailure::NoSandbox => Vec::new(),
        }
    }

    fn hooked(&mut self, of: u32, result: Result<(), String>) -> Vec<Told> {
        let Some(Life {
            attempt,
            state: LifeState::Running { hook, .. },
            ..
        }) = &mut self.life
        else {
            return Vec::new();
        };
        if *attempt != of {
            return Vec::new();
        }
        *hook = if result.is_ok() { Hook::Done } else { Hook::Failed };
        result
            .err()
            .map(|message| (true, "FailedPostStartHook", message))
            .into_iter()
            .collect()
    }

    fn probed(
        &mut self,
        spec: &ContainerView,
        attempt: u32,
        kind: ProbeKind,
        result: Result<(), String>,
        now: Timestamp,
    ) -> Vec<Told> {
        let current = self.life.as_ref().is_some_and(|life| life.attempt == attempt) && self.is_alive();
        let (Some(probe), Some(probe_spec), true) = (self.probes.get_mut(&kind), spec.probe(kind), current)
        else {
            return Vec::new();
        };
        let counts = probe.finish(kind, probe_spec, result.is_ok(), now);
        if kind == ProbeKind::Startup && probe.result == Some(true) {
            // The others have waited for this.
            for (kind, spec) in spec.probes.iter().filter(|(kind, _)| *kind != ProbeKind::Startup) {
                self.probes.insert(*kind, Probe::new(spec, now, now));
            }
        }
        match result {
            Err(why) if counts => vec![(true, "Unhealthy", format!("{} probe failed: {why}", kind.name()))],
            _ => Vec::new(),
        }
    }
}
