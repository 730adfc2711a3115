//! Several ways to tell whose token it is, tried one after the other.

use crate::core::access::{Authenticator, Holder, Unknown};
use meta::{Snapshot, Timestamp};
use std::sync::Arc;

/// The group of all who are known.
pub const AUTHENTICATED: &str = "system:authenticated";

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
                Ok(mut holder) => {
                    let groups = &mut holder.caller.groups;
                    if !groups.iter().any(|group| group == AUTHENTICATED) {
                        groups.push(AUTHENTICATED.to_string());
                    }
                    return Ok(holder);
                }
            }
        }
        match whys.is_empty() {
            true => Err(Unknown::Foreign),
            false => Err(Unknown::Invalid(whys.join(", "))),
        }
    }
}
