//! Several ways to tell whose token it is, tried one after the other.

use crate::core::access::{Authenticator, Holder, Unknown};
use meta::{Snapshot, Timestamp};
use std::sync::Arc;

pub struct Authenticators(pub Vec<Arc<dyn Authenticator>>);

impl Authenticator for Authenticators {
    /// The first who knows the token; else what those have to say who should have known it.
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        seen: &Snapshot,
        now: Timestamp,
    ) -> Result<Holder, Unknown> {
        let mut whys = Vec::new();
        for each in &self.0 {
            match each.authenticate(token, audiences, seen, now) {
                Err(Unknown::Foreign) => {}
                Err(Unknown::Invalid(why)) => whys.push(why),
                found => return found,
            }
        }
        match whys.is_empty() {
            true => Err(Unknown::Foreign),
            false => Err(Unknown::Invalid(whys.join(", "))),
        }
    }
}
