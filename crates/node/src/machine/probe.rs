//! A probe of a container as a state machine. It differs from kubelet in one point: until a startup or readiness probe
//! has succeeded for the first time it is also tried between the regular ticks (after 10, 20, 40, … ms up to the
//! period). Those tries can only succeed: failures count, and are told, on regular ticks alone. The first tick comes one
//! period after the initial delay: kubelet's comes anywhere within that period, and no program listens when it has
//! barely been started.

use k8s_openapi::api::core::v1 as api;
use meta::Timestamp;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSpec {
    pub initial_delay: Duration,
    pub period: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
    pub grace_seconds: Option<i64>,
    /// The first wait between early tries.
    early: Duration,
}

/// An exec costs some milliseconds of the machine, a connection almost nothing.
const EARLY: Duration = Duration::from_millis(10);
const EARLY_EXEC: Duration = Duration::from_millis(100);

impl ProbeSpec {
    pub(super) fn of(probe: &api::Probe) -> Self {
        let seconds = |value: Option<i32>, default: i32| {
            Duration::from_secs(u64::try_from(value.unwrap_or(default)).unwrap_or(0))
        };
        let count = |value: Option<i32>, default: i32| u32::try_from(value.unwrap_or(default)).unwrap_or(1);
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            success_threshold: count(probe.success_threshold, 1).max(1),
            failure_threshold: count(probe.failure_threshold, 3).max(1),
            grace_seconds: probe.termination_grace_period_seconds,
            early: if probe.exec.is_some() { EARLY_EXEC } else { EARLY },
        }
    }
}

impl ProbeKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// A probe in one life of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The next try.
    pub next: Timestamp,
    /// The next one that counts.
    tick: Timestamp,
    early_tries: u32,
    successes: u32,
    failures: u32,
    succeeded_once: bool,
    /// `None`: not decided yet.
    pub result: Option<bool>,
}

impl Probe {
    /// The first try comes `initialDelaySeconds` after the container's start, or now if that has passed.
    pub fn new(spec: &ProbeSpec, started: Timestamp, now: Timestamp) -> Self {
        let first = started.plus(spec.initial_delay).max(now);
        Self {
            next: first,
            tick: first.plus(spec.period),
            early_tries: 0,
            successes: 0,
            failures: 0,
            succeeded_once: false,
            result: None,
        }
    }

    /// Known to hold from before a restart of the server.
    pub fn known(spec: &ProbeSpec, now: Timestamp) -> Self {
        Self {
            result: Some(true),
            succeeded_once: true,
            ..Self::new(spec, now, now)
        }
    }

    /// Takes in a result; says whether a failure counts (and is worth an event).
    pub fn finish(&mut self, kind: ProbeKind, spec: &ProbeSpec, succeeded: bool, now: Timestamp) -> bool {
        let counts = self.next >= self.tick;
        if counts {
            // Ticks that passed while a try was under way are not made up for.
            self.tick = self.tick.plus(spec.period).max(now);
        }
        if succeeded {
            self.failures = 0;
            self.successes += 1;
            self.succeeded_once = true;
            if self.successes >= spec.success_threshold {
                self.result = Some(true);
            }
            self.tick = self.tick.max(now);
            self.next = self.tick;
            return false;
        }
        self.successes = 0;
        if counts {
            self.failures += 1;
            if self.failures >= spec.failure_threshold {
                self.result = Some(false);
            }
        }
        self.next = self.tick;
        if !self.succeeded_once && kind != ProbeKind::Liveness {
            let wait = spec.early.saturating_mul(1 << self.early_tries.min(20));
            self.early_tries += 1;
            self.next = self.tick.min(now.plus(wait.min(spec.period)));
        }
        counts
    }

    /// A startup probe is done with once it has succeeded.
    pub fn is_due(&self, kind: ProbeKind) -> bool {
        !(kind == ProbeKind::Startup && self.result == Some(true))
    }
}
