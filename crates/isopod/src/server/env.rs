//! The real surroundings: the machine's clock and randomness, tokio's tasks.

use futures::future::{BoxFuture, FutureExt};
use meta::{Env, Timestamp};

pub struct RealEnv;

impl Env for RealEnv {
    fn now(&self) -> Timestamp {
        Timestamp::new(jiff::Timestamp::now())
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // The kernel's generator cannot fail once the machine has booted; a weak value would only cost a retry
        // of a name that is taken.
        if rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut bytes)
            .is_err()
        {
            tracing::error!("the machine gives no random numbers");
        }
        u64::from_ne_bytes(bytes)
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let left = until.since(self.now());
        tokio::time::sleep(left).boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}
