//! The back-off between restarts of a container: the first restart comes at once, then 10 s doubling up to 300 s,
//! forgotten when 10 minutes have passed. Source: kubelet's use of client-go's `flowcontrol.Backoff`.

use meta::Timestamp;
use std::time::Duration;

const FIRST_SECONDS: u64 = 10;
const MOST_SECONDS: u64 = 300;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backoff {
    seconds: u64,
    updated: Option<Timestamp>,
}

impl Backoff {
    /// Until when a restart must wait, for an end at `finished`.
    pub fn until(&self, finished: Timestamp) -> Option<Timestamp> {
        let known = self.seconds > 0 && !self.is_expired(finished);
        known.then(|| finished.plus(Duration::from_secs(self.seconds)))
    }

    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    /// A restart after an end at `finished` begins `now`: the next one waits longer.
    pub fn restart(&mut self, finished: Timestamp, now: Timestamp) {
        self.seconds = if self.seconds == 0 || self.is_expired(finished) {
            FIRST_SECONDS
        } else {
            (self.seconds * 2).min(MOST_SECONDS)
        };
        self.updated = Some(now);
    }

    fn is_expired(&self, finished: Timestamp) -> bool {
        self.updated
            .is_none_or(|updated| finished.since(updated) > Duration::from_secs(2 * MOST_SECONDS))
    }
}

/// The wait after the `failures`-th failure in a row of something else that is tried again.
pub(super) fn retry_seconds(failures: u32, first: u64, most: u64) -> u64 {
    first
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(most)
}
