//! Carries out plans: which keys are due, one run a key at a time, acts as calls through the API.
//! `worker` and `run` are pure and are driven by the simulator as well; `shell` drives them in the server.

pub mod run;
pub mod shell;
pub mod worker;

pub use run::Run;
pub use worker::Worker;
