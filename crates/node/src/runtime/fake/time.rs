//! The fake runtime's clock: one that a test moves, or the surroundings' own with a timer for each thing that falls due.

use super::{FakeRuntime, RuntimeError};
use meta::{Env, Timestamp};
use std::sync::Arc;

impl FakeRuntime {
    /// One whose time passes by itself.
    pub fn timed(env: Arc<dyn Env>) -> Self {
        let now_ns = nanoseconds(env.now());
        Self::with(Some(env), now_ns)
    }

    /// Sees to it that what falls due then happens then.
    pub(super) fn set_timer(&self, at_ns: i64) {
        let Some(env) = &self.0.env else {
            return;
        };
        let (sleep, runtime) = (env.sleep_until(timestamp(at_ns)), Arc::downgrade(&self.0));
        env.spawn(Box::pin(async move {
            sleep.await;
            if let Some(runtime) = runtime.upgrade() {
                Self(runtime).advance(at_ns);
            }
        }));
    }

    pub(super) async fn wait_until(&self, time_ns: i64) -> Result<(), RuntimeError> {
        if let Some(env) = &self.0.env {
            env.sleep_until(timestamp(time_ns)).await;
            return Ok(());
        }
        let mut clock = self.0.clock.subscribe();
        clock
            .wait_for(|now| *now >= time_ns)
            .await
            .map(drop)
            .map_err(|_| RuntimeError::Internal("the clock is gone".to_owned()))
    }
}

pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    at.jiff().as_nanosecond() as i64
}

/// Rounded up to where nothing can be early.
fn timestamp(ns: i64) -> Timestamp {
    let at = jiff::Timestamp::from_nanosecond(i128::from(ns));
    at.map_or(Timestamp::EPOCH, Timestamp::new)
}
