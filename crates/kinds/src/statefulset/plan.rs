//! How a StatefulSet is carried out: one decision from one snapshot. Source: apps/v1 API reference, KEP-961
//! (maxUnavailable), KEP-1847 (claim retention), KEP-2599 (minReadySeconds), KEP-3335 (ordinals.start).

use super::STATEFULSETS;
use super::claims;
use super::pods::{self, Slot};
use super::revisions::{self, Revisions};
use crate::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS as CLAIMS;
use crate::plan::{Act, EventAct, Failure, Plan, Target};
use crate::row::{int, text};
use crate::workload::{self, Claim, PODS, Pod};
use crate::{Key, Seen};
use meta::selector::LabelSelector;
use meta::{Object, Timestamp, Verb};
use serde_json::{Value, json};

/// The spec as the plan reads it, defaults in place.
pub struct Set<'a> {
    pub object: &'a Object,
    pub value: Value,
    pub selector: LabelSelector,
    pub replicas: i64,
    pub start: i64,
    pub min_ready_seconds: i64,
    pub parallel: bool,
    /// `None` for OnDelete.
    pub partition: Option<i64>,
    /// Pods that a rolling update may take down at once; `None` when the field is not set.
    pub max_unavailable: Option<i64>,
    pub history_limit: usize,
}

impl<'a> Set<'a> {
    pub fn of(object: &'a Object) -> Self {
        let value = object.value();
        let replicas = int(&value, "/spec/replicas").unwrap_or(1).max(0);
        let rolling = text(&value, "/spec/updateStrategy/type") != "OnDelete";
        let unavailable = value.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable");
        Self {
            object,
            selector: workload::selector(&value),
            replicas,
            start: int(&value, "/spec/ordinals/start").unwrap_or(0),
            min_ready_seconds: int(&value, "/spec/minReadySeconds").unwrap_or(0),
            parallel: text(&value, "/spec/podManagementPolicy") == "Parallel",
            partition: rolling
                .then(|| int(&value, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)),
            max_unavailable: workload::int_or_percent(unavailable, replicas, true).map(|n| n.max(1)),
            history_limit: int(&value, "/spec/revisionHistoryLimit").unwrap_or(10).max(0) as usize,
            value,
        }
    }

    pub fn name(&self) -> &str {
        self.object.name()
    }

    pub fn namespace(&self) -> &str {
        self.object.namespace()
    }

    pub fn owner(&self) -> Value {
        workload::owner_reference("apps/v1", "StatefulSet", self.object)
    }

    pub fn is_deleting(&self) -> bool {
        self.object.meta().is_deleting()
    }

    pub fn event(&self, warning: bool, reason: &'static str, message: String) -> Act {
        Act::Event(EventAct {
            about: Target::exactly(STATEFULSETS, self.object),
            api_version: "apps/v1".into(),
            kind: "StatefulSet".into(),
            warning,
            reason,
            message,
            field_path: None,
        })
    }
}

/// Plans one StatefulSet.
pub fn plan(seen: &Seen, key: &Key) -> Plan {
    let Some(object) = seen.snapshot.by_key(STATEFULSETS, &key.key) else {
        return Plan::nothing().why("the StatefulSet is gone");
    };
    let set = Set::of(object);
    let mut plan = Plan::nothing();
    let owned = claim_pods(seen, &set, &mut plan);
    let revisions = revisions::settle(seen, &set, &mut plan);
    if !set.is_deleting() {
        let slots = pods::slots(&set, &owned);
        let condemned = pods::condemned(&set, &owned);
        Step {
            seen,
            set: &set,
            revisions: &revisions,
            slots: &slots,
            condemned: &condemned,
        }
        .decide(&mut plan);
        claims::keep_retention(seen, &set, &slots, &condemned, &mut plan);
    } else {
        plan.why
            .push("the StatefulSet is being deleted; its pods are the garbage collector's".into());
    }
    let all: Vec<&Pod> = owned.iter().collect();
    revisions::truncate(&set, &revisions, &all, &mut plan);
    write_status(seen.now, &set, &revisions, &all, &mut plan);
    plan
}

/// Tells which pod or claim could not be created or deleted, and writes the status.
pub fn failed(seen: &Seen, key: &Key, failure: &Failure) -> Plan {
    let Some(object) = seen.snapshot.by_key(STATEFULSETS, &key.key) else {
        return Plan::nothing();
    };
    let set = Set::of(object);
    let (mut plan, mut aside) = (Plan::nothing(), Plan::nothing());
    let error = &failure.status.message;
    match (failure.res, failure.verb) {
        // A name that is taken is waited for: its holder may be about to go.
        _ if failure.status.is_already_exists() => {}
        // No fault of anybody's, and no event could come into the namespace either.
        _ if failure.status.is_namespace_terminating() => {}
        (PODS, Verb::Create) => tell_failure(&set, "FailedCreate", &failure.name, error, &mut plan),
        (PODS, Verb::Delete) => tell_failure(&set, "FailedDelete", &failure.name, error, &mut plan),
        (CLAIMS, Verb::Create) => {
            let pod = claims::tell_failure(&set, &failure.name, error, &mut plan);
            let error = format!("failed to create PVC {}: {error}", failure.name);
            tell_failure(&set, "FailedCreate", &pod, &error, &mut plan);
        }
        _ => {}
    }
    let owned = claim_pods(seen, &set, &mut aside);
    let revisions = revisions::settle(seen, &set, &mut aside);
    // The status names revisions, so they have to be there.
    if aside.acts.is_empty() {
        let all: Vec<&Pod> = owned.iter().collect();
        write_status(seen.now, &set, &revisions, &all, &mut plan);
    }
    plan
}

fn tell_failure(set: &Set, reason: &'static str, pod: &str, error: &str, plan: &mut Plan) {
    let verb = if reason == "FailedCreate" {
        "create"
    } else {
        "delete"
    };
    let message = format!(
        "{verb} Pod {pod} in StatefulSet {} failed error: {error}",
        set.name()
    );
    plan.acts.push(set.event(true, reason, message));
}

/// The set's pods. Those that fit and have no controller are adopted, those that no longer fit are released.
fn claim_pods(seen: &Seen, set: &Set, plan: &mut Plan) -> Vec<Pod> {
    let prefix = format!("{}/{}-", set.namespace(), set.name());
    let mut owned = Vec::new();
    for (_, object) in seen.snapshot.after(PODS, &prefix, "") {
        let named = pods::ordinal_of(set.name(), object.name()).is_some();
        let fits = named && set.selector.matches(&object.meta().labels);
        match workload::claim(set.object.uid(), set.is_deleting(), object, fits) {
            Claim::Owned => owned.push(Pod::of(object)),
            Claim::Adopt => {
                workload::adopt(plan, PODS, object, set.owner());
                plan.why.push(format!("adopts pod {}", object.name()));
                owned.push(Pod::of(object));
            }
            Claim::Release => {
                workload::release(plan, PODS, object, set.object.uid());
                plan.why.push(format!(
                    "releases pod {}: it no longer fits the selector",
                    object.name()
                ));
            }
            Claim::Foreign => {}
        }
    }
    owned
}

/// One decision about pods.
struct Step<'a> {
    seen: &'a Seen<'a>,
    set: &'a Set<'a>,
    revisions: &'a Revisions,
    /// By ordinal, from `start`.
    slots: &'a [Slot],
    /// Highest ordinal first.
    condemned: &'a [Pod],
}

impl Step<'_> {
    /// Brings up what is missing, then takes down what is too much, then replaces what is old. In an ordered set each
    /// of these waits for the one before it.
    fn decide(&self, plan: &mut Plan) {
        if self.fill_slots(plan) || self.condemn(plan) {
            return;
        }
        self.roll(plan);
    }

    fn is_healthy(&self, pod: &Pod) -> bool {
        pod.is_running() && self.is_available(pod) && !pod.is_deleting()
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod.is_available(self.set.min_ready_seconds, self.seen.now)
    }

    /// Waits for a pod in an ordered set; wakes when it has been ready for long enough.
    fn wait_for(&self, pod: &Pod, plan: &mut Plan) {
        let what = if pod.is_deleting() {
            "to end"
        } else if !pod.is_running() || !pod.is_ready() {
            "to be Running and Ready"
        } else {
            "to be available (minReadySeconds)"
        };
        plan.why.push(format!("waits for pod {} {what}", pod.name()));
        self.wake_when_available(pod, plan);
    }

    fn wake_when_available(&self, pod: &Pod, plan: &mut Plan) {
        if let Some(at) = pod.available_at(self.set.min_ready_seconds)
            && at > self.seen.now
        {
            plan.wake_at(at);
        }
    }

    /// True when an ordered set has to wait before anything else may happen.
    fn fill_slots(&self, plan: &mut Plan) -> bool {
        let ordered = !self.set.parallel;
        for slot in self.slots {
            let Some(pod) = &slot.pod else {
                if self.create(slot.ordinal, plan) && !ordered {
                    continue;
                }
                if ordered {
                    return true;
                }
                continue;
            };
            if pod.is_finished() {
                self.replace_finished(pod, plan);
                // Upstream stops here whatever the policy, so that the name is free before anything else happens.
                return true;
            }
            if !self.is_healthy(pod) {
                self.wake_when_available(pod, plan);
                if ordered {
                    self.wait_for(pod, plan);
                    claims::create_missing(self.seen, self.set, slot.ordinal, plan);
                    return true;
                }
            }
            claims::create_missing(self.seen, self.set, slot.ordinal, plan);
            pods::repair(self.set, slot.ordinal, pod, plan);
        }
        false
    }

    /// Creates the pod of an ordinal, its claims first. False when a claim is still going away.
    fn create(&self, ordinal: i64, plan: &mut Plan) -> bool {
        let name = pods::name(self.set.name(), ordinal);
        if let Some(claim) = claims::going_away(self.seen, self.set, ordinal) {
            plan.why
                .push(format!("pod {name} waits for its claim {claim} to be gone"));
            return false;
        }
        claims::create_missing(self.seen, self.set, ordinal, plan);
        let old = self
            .set
            .partition
            .is_some_and(|partition| ordinal < self.set.start + partition);
        let revision = if old {
            &self.revisions.current
        } else {
            &self.revisions.update
        };
        let pod = pods::make(self.set, ordinal, revision);
        plan.acts.push(Act::Create {
            res: PODS,
            namespace: self.set.namespace().into(),
            object: pod,
        });
        let message = format!("create Pod {name} in StatefulSet {} successful", self.set.name());
        plan.acts.push(self.set.event(false, "SuccessfulCreate", message));
        plan.why.push(format!("creates pod {name}"));
        true
    }

    fn replace_finished(&self, pod: &Pod, plan: &mut Plan) {
        plan.why
            .push(format!("pod {} has ended and is made anew", pod.name()));
        if pod.is_deleting() {
            return;
        }
        let (reason, state) = match pod.is_failed() {
            true => ("RecreatingFailedPod", "failed"),
            false => ("RecreatingTerminatedPod", "terminated"),
        };
        let set = format!("{}/{}", self.set.namespace(), self.set.name());
        let message = format!("StatefulSet {set} is recreating {state} Pod {}", pod.name());
        plan.acts.push(self.set.event(pod.is_failed(), reason, message));
        self.delete(pod, plan);
    }

    fn delete(&self, pod: &Pod, plan: &mut Plan) {
        let target = Target::of(PODS, &pod.object);
        plan.acts.push(Act::Delete {
            target,
            grace_seconds: None,
            propagation: None,
        });
        let message = format!(
            "delete Pod {} in StatefulSet {} successful",
            pod.name(),
            self.set.name()
        );
        plan.acts.push(self.set.event(false, "SuccessfulDelete", message));
        plan.why.push(format!("deletes pod {}", pod.name()));
    }

    /// Takes down pods above the wanted size. True when an ordered set has to wait.
    fn condemn(&self, plan: &mut Plan) -> bool {
        let ordered = !self.set.parallel;
        // The lowest unhealthy pod may go although it is not ready: nothing after it can become ready before.
        let first_unhealthy = self
            .condemned
            .iter()
            .rev()
            .find(|pod| !self.is_healthy(pod))
            .map(Pod::name);
        for pod in self.condemned {
            if pod.is_deleting() {
                if ordered {
                    self.wait_for(pod, plan);
                    return true;
                }
                continue;
            }
            // One that has ended never becomes ready: waiting for it would last for ever.
            let waits = !self.is_healthy(pod) && !pod.is_finished();
            if ordered && waits && first_unhealthy != Some(pod.name()) {
                self.wait_for(pod, plan);
                return true;
            }
            claims::hand_to_pod(self.seen, self.set, pod, plan);
            self.delete(pod, plan);
            if ordered {
                return true;
            }
        }
        false
    }

    /// Replaces pods of older revisions, highest ordinal first.
    fn roll(&self, plan: &mut Plan) {
        let Some(partition) = self.set.partition else {
            return;
        };
        let above = self.slots.iter().skip(partition.max(0) as usize);
        let pods: Vec<&Pod> = above.filter_map(|slot| slot.pod.as_ref()).collect();
        if self.set.is_deleting() || self.slots.iter().any(|slot| slot.pod.is_none()) {
            return;
        }
        let is_old = |pod: &Pod| pods::revision_of(pod) != self.revisions.update.name;
        match self.set.max_unavailable {
            // One at a time; any pod above the partition that is not healthy stops the update.
            None => {
                for pod in pods.iter().rev() {
                    if is_old(pod) && !pod.is_deleting() {
                        return self.delete(pod, plan);
                    }
                    if !self.is_healthy(pod) {
                        return self.wait_for(pod, plan);
                    }
                }
            }
            Some(limit) => {
                // Pods below the partition count too: it is the set that must not lose more.
                let all = self.slots.iter().filter_map(|slot| slot.pod.as_ref());
                let unavailable = all.filter(|pod| !self.is_healthy(pod)).count() as i64;
                let mut budget = limit - unavailable;
                for pod in pods.iter().rev().filter(|pod| is_old(pod) && !pod.is_deleting()) {
                    // What is not ready serves nobody, so that replacing it takes nothing away; waiting for it could
                    // last for ever (upstream's issue 137409). What is ready serves, also before it is available.
                    if pod.is_running() && pod.is_ready() {
                        if budget <= 0 {
                            continue;
                        }
                        budget -= 1;
                    }
                    self.delete(pod, plan);
                }
                if budget <= 0 {
                    for pod in pods.iter().filter(|pod| !self.is_healthy(pod)) {
                        self.wait_for(pod, plan);
                    }
                }
            }
        }
    }
}

/// Counts what is there and writes it when it differs.
fn write_status(now: Timestamp, set: &Set, revisions: &Revisions, pods: &[&Pod], plan: &mut Plan) {
    let created: Vec<&&Pod> = pods.iter().filter(|p| !p.facts.status.phase.is_empty()).collect();
    let count = |test: &dyn Fn(&Pod) -> bool| created.iter().filter(|p| test(p)).count() as i64;
    let of = |name: &str| count(&|p| !p.is_deleting() && pods::revision_of(p) == name);
    let ready = count(&|p| p.is_running() && p.is_ready());
    let available = count(&|p| p.is_running() && p.is_available(set.min_ready_seconds, now));
    for pod in &created {
        let at = pod
            .available_at(set.min_ready_seconds)
            .filter(|at| pod.is_running() && *at > now);
        at.into_iter().for_each(|at| plan.wake_at(at));
    }
    let (mut current, updated) = (of(&revisions.current.name), of(&revisions.update.name));
    let mut current_name = &revisions.current.name;
    let replicas = created.len() as i64;
    let rolled =
        set.partition.is_some() && updated == replicas && ready == replicas && replicas == set.replicas;
    if rolled && current_name != &revisions.update.name {
        current_name = &revisions.update.name;
        current = updated;
    }
    let mut status = json!({
        "observedGeneration": set.object.meta().generation,
        "replicas": replicas,
        "availableReplicas": available,
        "currentRevision": current_name,
        "updateRevision": revisions.update.name,
        "collisionCount": revisions.collisions,
    });
    for (field, n) in [
        ("readyReplicas", ready),
        ("currentReplicas", current),
        ("updatedReplicas", updated),
    ] {
        if n != 0 {
            status[field] = n.into();
        }
    }
    if let Some(conditions) = set.value.pointer("/status/conditions") {
        status["conditions"] = conditions.clone();
    }
    workload::update_status(plan, STATEFULSETS, set.object, &set.value, status);
}
