//! When a pod's status is written, and as which call. Pure: the shell makes the calls and tells how they went.

use super::observed::Observed;
use super::spec::PodView;
use super::status::status;
use kinds::pod::PODS;
use meta::{Call, Object, Status, Timestamp};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Pause after a status that could not be written for another reason than a newer object.
const WRITE_PAUSE: Duration = Duration::from_millis(500);
/// Pause after a conflict: the newer object is on its way here.
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// What is known of the writes of one pod's status.
#[derive(Clone, Debug, Default)]
pub struct Report {
    writing: bool,
    /// No status is written before.
    after: Option<Timestamp>,
    /// The status of the last write and the revision it gave. What the API stores may read otherwise than what was
    /// sent (defaults, canonical forms); the same is not sent again for that.
    settled: Option<(Value, u64)>,
}

/// Whether there is something to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Due {
    Nothing,
    At(Timestamp),
    /// This status.
    Now(Value),
}

impl Report {
    /// Compares what is stored with what is seen.
    pub fn due(&self, now: Timestamp, pod: &PodView, seen: &Observed, host_ips: &[String]) -> Due {
        // A node that is switched off says nothing more: what the API has is how the pod will be again.
        if self.writing || pod.gone || seen.torn_down.is_done() || seen.switching_off {
            return Due::Nothing;
        }
        let wanted = status(now, pod, seen, host_ips);
        let is_settled = |(sent, revision): &(Value, u64)| *revision == pod.revision && *sent == wanted;
        if wanted == pod.stored || self.settled.as_ref().is_some_and(is_settled) {
            return Due::Nothing;
        }
        match self.after.filter(|after| *after > now) {
            Some(after) => Due::At(after),
            None => Due::Now(wanted),
        }
    }

    /// A write is under way.
    pub fn begin(&mut self) {
        self.writing = true;
    }

    /// How the write of `wanted` went: the object as it is stored now.
    pub fn finish(&mut self, now: Timestamp, pod: &PodView, wanted: Value, result: &Result<Object, Status>) {
        self.writing = false;
        match result {
            Ok(object) => {
                // Kept only where it is needed: thousands of pods may wait here.
                let same = pod.revision == object.revision() && pod.stored == wanted;
                self.settled = (!same).then(|| (wanted, object.revision()));
            }
            // It is gone, which its last change, on its way here, will say as well.
            Err(status) if status.code == 404 => self.settled = Some((wanted, pod.revision)),
            Err(status) => {
                let pause = if status.code == 409 {
                    CONFLICT_PAUSE
                } else {
                    WRITE_PAUSE
                };
                self.after = Some(now.plus(pause));
            }
        }
    }
}

/// The write that makes `wanted` the stored status of this revision. What is stored and not wanted is taken away (null
/// in a merge patch).
pub fn write(pod: &PodView, wanted: &Value) -> Call {
    let mut patch = Map::new();
    let (old, new) = (pod.stored.as_object(), wanted.as_object());
    for (key, value) in new.into_iter().flatten() {
        if pod.stored.get(key) != Some(value) {
            patch.insert(key.clone(), value.clone());
        }
    }
    for key in old.into_iter().flatten().map(|(key, _)| key) {
        if wanted.get(key).is_none() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    Call::merge_patch(PODS, &pod.namespace, &pod.name, json!({"status": patch}))
        .subresource("status")
        .if_uid(&pod.uid)
        .if_revision(pod.revision)
}

/// The end of the API object, for good.
pub fn delete(pod: &PodView) -> Call {
    let mut call = Call::delete(PODS, &pod.namespace, &pod.name).if_uid(&pod.uid);
    call.options.grace_seconds = Some(0);
    call
}
