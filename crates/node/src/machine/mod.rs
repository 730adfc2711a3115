//! The pod machine: what a node does for one pod, decided from what was seen. Pure: no clock, no IO, no tokio.
//!
//! The shell keeps an `Observed`, tells it what happened (`Observed::begin`, `finish`, `exited`, …), asks `sync` for
//! the steps that are due and `Report` (`status`) for what the API should know. `sync` never repeats a step that is under way,
//! and gives nothing when there is nothing to do: then only an event or `Decision::wake` can change that.

mod admit;
mod backoff;
mod conditions;
mod observed;
mod phase;
mod probe;
pub mod report;
mod spec;
mod status;
mod step;
mod sync;

pub use admit::rejection;
pub use backoff::Backoff;
pub use conditions::DEADLINE_EXCEEDED;
pub use observed::{
    Container, Ended, Ending, EndingCause, Hook, Image, Life, LifeState, Observed, Refusal, Task,
};
pub use phase::Phase;
pub use probe::{Probe, ProbeKind, ProbeSpec};
pub use report::{Due, Report};
pub use spec::{ContainerKind, ContainerView, PodView, Restart, is_sidecar};
pub use status::status;
pub use step::{Outcome, PodEvent, StartFailure, Step, StopReason};
pub use sync::{Decision, sync};

#[cfg(test)]
mod tests;
