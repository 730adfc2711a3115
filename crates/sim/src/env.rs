//! The virtual clock, as the pipeline and the plans see it. Nothing sleeps here: the world moves the clock.

use crate::rng::Rng;
use futures::future::BoxFuture;
use meta::{Env, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// 2026-01-01T00:00:00Z
const START_SECONDS: u64 = 1_767_225_600;

pub struct SimEnv {
    now_ms: AtomicU64,
    rng: Mutex<Rng>,
}

impl SimEnv {
    pub fn new(rng: Rng) -> Self {
        Self {
            now_ms: AtomicU64::new(0),
            rng: Mutex::new(rng),
        }
    }

    /// Since the world began.
    pub fn elapsed_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub fn advance_ms(&self, by: u64) {
        self.now_ms.fetch_add(by, Ordering::Relaxed);
    }

    /// Moves on to `until`, never back.
    pub fn advance_to(&self, until: Timestamp) {
        let left = until.since(self.now()).as_nanos().div_ceil(1_000_000);
        self.advance_ms(u64::try_from(left).unwrap_or(u64::MAX));
    }
}

impl Env for SimEnv {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
            .plus(Duration::from_secs(START_SECONDS))
            .plus(Duration::from_millis(self.elapsed_ms()))
    }

    fn random(&self) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    fn sleep_until(&self, _until: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(futures::future::pending())
    }

    /// Nothing in the simulated rooms spawns; a task that did would never run, and the world would not converge.
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(task);
    }
}
