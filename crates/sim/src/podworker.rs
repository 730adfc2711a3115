//! One pod's worker on the simulated node. The real machine decides what is due and what is reported; here its steps
//! take virtual time and turn out as the simulated containers are.

use crate::containers::Containers;
use crate::node::{BAD_IMAGE, SICK_IMAGE};
use crate::rng::Rng;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use kinds::row::text;
use meta::{Call, Object, Reply, Snapshot, Status, Timestamp};
use node::machine::{
    Due, Ended, Observed, Outcome, PodView, ProbeKind, Report, StartFailure, Step, report, sync,
};
use node::runtime::{ContainerId, ContainerState, PodState};
use serde_json::Value;
use std::time::Duration;

const HOST_IP: &str = "192.0.2.1";
const POD_IP: &str = "100.64.0.9";
/// A probe of a container that stays as it is tells nothing new: the world does not wait for it.
const FAR: Duration = Duration::from_secs(50 * 365 * 86_400);
/// Steps that go wrong during the storm, in percent.
const FAILURES: u64 = 2;

/// What a turn of a worker may use and change.
pub struct Around<'a> {
    pub now: Timestamp,
    pub rng: &'a mut Rng,
    pub containers: &'a mut Containers,
    pub view: &'a Snapshot,
    pub stormy: bool,
}

struct UnderWay {
    step: Step,
    until: Timestamp,
    fails: bool,
}

pub struct Worker {
    pod: PodView,
    seen: Observed,
    report: Report,
    steps: Vec<UnderWay>,
    /// Starts that an earlier agent began: when they are through, container and attempt.
    inherited: Vec<(Timestamp, String, u32)>,
    /// Something happened since its last turn.
    woken: bool,
    wake: Option<Timestamp>,
    /// The status to be written.
    wanted: Option<Value>,
    /// The API object is to be deleted.
    deletes: bool,
    /// Nothing is left of the pod.
    pub over: bool,
}

/// A call of the worker, and what it was for.
pub enum Errand {
    Status(Value),
    Delete,
}

impl Worker {
    /// Takes a pod on, with what the runtime has of it.
    pub fn adopt(
        object: &Object,
        left: Option<&PodState>,
        containers: &Containers,
        now: Timestamp,
    ) -> Result<Self, String> {
        let pod = PodView::of(object).map_err(|e| e.to_string())?;
        let left_containers = left.into_iter().flat_map(|pod| &pod.containers);
        let creating = left_containers.filter(|c| c.state == ContainerState::Creating);
        let inherited = creating.filter_map(|c| {
            let started = containers.get(&c.id)?.started;
            Some((started, c.id.name.clone(), c.id.attempt))
        });
        Ok(Self {
            inherited: inherited.collect(),
            seen: Observed::adopt(&pod, left, now),
            pod,
            report: Report::default(),
            steps: Vec::new(),
            woken: true,
            wake: None,
            wanted: None,
            deletes: false,
            over: false,
        })
    }

    pub fn look_at(&mut self, object: &Object) {
        if object.revision() <= self.pod.revision {
            return;
        }
        // Stored objects passed validation, so that they can be read.
        if let Ok(mut view) = PodView::of(object) {
            view.gone = self.pod.gone;
            let (old, new) = (&self.pod.pod.metadata, &view.pod.metadata);
            self.seen.sources_dirty |= old.labels != new.labels || old.annotations != new.annotations;
            self.pod = view;
            self.woken = true;
        }
    }

    pub fn gone(&mut self) {
        self.woken |= !self.pod.gone;
        self.pod.gone = true;
    }

    /// Claims or volumes have changed: what failed for want of them is tried again.
    pub fn claims_changed(&mut self, now: Timestamp) {
        self.seen.claims_changed(now);
        self.woken = true;
    }

    /// The containers' health has changed: the next probe is due.
    pub fn probe_now(&mut self, now: Timestamp) {
        let probes = self
            .seen
            .containers
            .values_mut()
            .flat_map(|c| c.probes.values_mut());
        probes.for_each(|probe| probe.next = now);
        self.woken = true;
    }

    pub fn has_turn(&self, containers: &Containers, now: Timestamp) -> bool {
        self.woken || self.next_timer(containers).is_some_and(|at| at <= now)
    }

    pub fn has_errand(&self) -> bool {
        self.wanted.is_some() || self.deletes
    }

    pub fn next_timer(&self, containers: &Containers) -> Option<Timestamp> {
        let steps = self.steps.iter().map(|s| s.until).min();
        let starts = self.inherited.iter().map(|(at, ..)| *at).min();
        let news = containers.next_news(&self.pod.uid);
        [steps, starts, news, self.wake].into_iter().flatten().min()
    }

    /// Hears what happened, decides, and begins what is due. Says what it began.
    pub fn turn(&mut self, around: &mut Around) -> Vec<String> {
        let now = around.now;
        self.woken = false;
        if around.rng.percent(50) {
            self.hear(around);
            self.finish_steps(around);
        } else {
            self.finish_steps(around);
            self.hear(around);
        }
        self.seen.notice(&self.pod, now);
        let decision = sync(now, &self.pod, &self.seen);
        (self.wake, self.wanted) = (None, None);
        if decision.over {
            self.over = true;
            return Vec::new();
        }
        let wake = decision.wake.filter(|at| at.since(now) < FAR / 2);
        let told = decision
            .steps
            .into_iter()
            .filter_map(|step| self.begin(step, around));
        let told = told.collect();
        let retry = match self.report.due(now, &self.pod, &self.seen, &[HOST_IP.to_owned()]) {
            Due::Nothing => None,
            Due::At(at) => Some(at),
            Due::Now(wanted) => {
                self.wanted = Some(wanted);
                None
            }
        };
        self.wake = [wake, retry].into_iter().flatten().min();
        told
    }

    fn hear(&mut self, around: &mut Around) {
        let now = around.now;
        let (heard, later) = std::mem::take(&mut self.inherited)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.inherited = later;
        let heard: Vec<(Timestamp, String, u32)> = heard;
        for (at, name, attempt) in heard {
            self.seen.started(&self.pod, &name, attempt, at, now);
        }
        for (name, attempt, exit) in around.containers.news(&self.pod.uid, around.now) {
            self.seen.exited(&name, Ended::of(attempt, &exit, String::new()));
        }
    }

    fn id(&self, container: &str, attempt: u32) -> ContainerId {
        ContainerId::new(&self.pod.uid, container, attempt)
    }

    /// Begins a step. What it is in words, if it is worth telling.
    fn begin(&mut self, step: Step, around: &mut Around) -> Option<String> {
        let now = around.now;
        self.seen.begin(&self.pod, &step, now);
        let fails = around.stormy && around.rng.percent(FAILURES);
        let mut soon = |within_ms: u64| now.plus(Duration::from_millis(1 + around.rng.below(within_ms)));
        let mut told = None;
        let until = match &step {
            Step::SetUpVolumes | Step::CreateSandbox | Step::Release | Step::TearDown => soon(20),
            Step::PullImage { .. } => soon(200),
            Step::PostStart { .. } | Step::Probe { .. } => soon(1),
            Step::StartContainer { container, attempt } => {
                let started = soon(30);
                let sick = self
                    .pod
                    .container(container)
                    .is_some_and(|c| c.image == SICK_IMAGE);
                let ready_at = started.plus(Duration::from_millis(around.rng.below(1500)));
                if !fails {
                    let id = self.id(container, *attempt);
                    around
                        .containers
                        .create(&id, started, (!sick).then_some(ready_at));
                    told = Some(format!("starts {container}, attempt {attempt}"));
                }
                started
            }
            Step::StopContainer {
                container,
                attempt,
                deadline,
                ..
            } => {
                told = Some(format!("tells {container} to end"));
                let id = self.id(container, *attempt);
                around.containers.stop(&id, now, *deadline, around.rng)
            }
            Step::DeletePod => {
                self.deletes = true;
                return None;
            }
        };
        self.steps.push(UnderWay { step, until, fails });
        told
    }

    fn finish_steps(&mut self, around: &mut Around) {
        let due = |s: &UnderWay| s.until <= around.now;
        let (done, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.steps).into_iter().partition(due);
        self.steps = left;
        for UnderWay { step, fails, .. } in done {
            let outcome = self.outcome(&step, fails, around);
            self.seen.finish(&self.pod, &step, outcome, around.now);
            if let Step::Probe {
                container,
                attempt,
                kind,
            } = &step
            {
                self.skip_probes(container, *attempt, *kind, around);
            }
        }
    }

    fn outcome(&self, step: &Step, fails: bool, around: &mut Around) -> Outcome {
        let failed = |what: &str| Outcome::Failed(format!("simulated: {what}"));
        let spec = step.container().and_then(|name| self.pod.container(name));
        let image = spec.map_or("", |spec| spec.image.as_str());
        match step {
            Step::SetUpVolumes if fails => failed("no mount"),
            Step::SetUpVolumes => match self.missing_volume(around.view) {
                Some(claim) => failed(&claim),
                None => Outcome::Volumes { refresh_at: None },
            },
            Step::CreateSandbox if fails => failed("no sandbox"),
            Step::CreateSandbox => {
                let key = format!("{}/{}", self.pod.namespace, self.pod.name);
                around.containers.raise(&self.pod.uid, &key);
                Outcome::Sandbox {
                    ips: vec![POD_IP.into()],
                }
            }
            Step::PullImage { .. } if image == BAD_IMAGE => Outcome::NoImage {
                reason: "ErrImagePull",
                message: format!("{image}: not found"),
            },
            Step::PullImage { .. } => Outcome::Image {
                name: image.into(),
                id: format!("sha256:{image}"),
                message: String::new(),
            },
            Step::StartContainer { .. } if fails => Outcome::NotStarted(StartFailure::Create {
                reason: "CreateContainerError",
                message: "simulated".into(),
            }),
            Step::StartContainer { container, attempt } => {
                match around.containers.get(&self.id(container, *attempt)) {
                    Some(started) => Outcome::Started {
                        at: started.started,
                        user: None,
                    },
                    None => Outcome::NotStarted(StartFailure::NoSandbox),
                }
            }
            Step::PostStart { .. } => Outcome::Hook(Ok(())),
            Step::StopContainer {
                container, attempt, ..
            } => Outcome::Stopped(Some(self.ended(container, *attempt, around))),
            Step::Probe {
                container, attempt, ..
            } => {
                let found = around.containers.get(&self.id(container, *attempt));
                let ready = found.is_some_and(|a| a.is_ready(around.now));
                Outcome::Probed(if ready { Ok(()) } else { Err("not ready".into()) })
            }
            Step::Release if fails => failed("the sandbox stays"),
            Step::Release => {
                around.containers.release(&self.pod.uid, around.now);
                Outcome::Done
            }
            Step::TearDown if fails => failed("the sandbox stays"),
            Step::TearDown | Step::DeletePod => {
                around.containers.remove(&self.pod.uid);
                Outcome::Done
            }
        }
    }

    /// How an attempt ended; one that the runtime does not know counts as killed.
    fn ended(&self, container: &str, attempt: u32, around: &Around) -> Ended {
        let found = around.containers.get(&self.id(container, attempt));
        match found.and_then(|a| a.exit()) {
            Some(exit) => Ended::of(attempt, &exit, String::new()),
            None => Ended {
                attempt,
                code: 137,
                reason: "ContainerStatusUnknown".into(),
                finished: Some(around.now),
                ..Ended::default()
            },
        }
    }

    /// A claim of the pod that cannot be mounted, as the agent sees it.
    fn missing_volume(&self, view: &Snapshot) -> Option<String> {
        let spec = self.pod.pod.spec.as_ref()?;
        let claims = spec.volumes.iter().flatten();
        let mut claims = claims.filter_map(|v| v.persistent_volume_claim.as_ref());
        let missing = |name: &str| {
            let claim = view.get(PERSISTENTVOLUMECLAIMS, &self.pod.namespace, name);
            let volume = claim.map(|c| text(&c.value(), "/spec/volumeName").to_string());
            volume.is_none_or(|volume| view.get(PERSISTENTVOLUMES, "", &volume).is_none())
        };
        let claim = claims.find(|claim| missing(&claim.claim_name))?;
        Some(format!("claim {} is not bound", claim.claim_name))
    }

    /// What a probe found holds until the container changes: it is tried again then.
    fn skip_probes(&mut self, container: &str, attempt: u32, kind: ProbeKind, around: &Around) {
        let Some(found) = around.containers.get(&self.id(container, attempt)) else {
            return;
        };
        let probe = self
            .seen
            .containers
            .get_mut(container)
            .and_then(|c| c.probes.get_mut(&kind));
        if let Some(probe) = probe.filter(|p| p.result == Some(found.is_ready(around.now))) {
            let changes = found.ready_at.filter(|at| *at > around.now);
            probe.next = changes.unwrap_or_else(|| around.now.plus(FAR));
        }
    }

    /// The call that it wants to make.
    pub fn errand(&mut self) -> Option<(Call, Errand)> {
        if std::mem::take(&mut self.deletes) {
            return Some((report::delete(&self.pod), Errand::Delete));
        }
        let wanted = self.wanted.take()?;
        self.report.begin();
        Some((report::write(&self.pod, &wanted), Errand::Status(wanted)))
    }

    /// How that went.
    pub fn settle(&mut self, errand: Errand, result: &Result<Reply, Status>, now: Timestamp) {
        self.woken = true;
        match errand {
            Errand::Delete => {
                let outcome = match result {
                    Err(status) if !matches!(status.code, 404 | 409) => {
                        Outcome::Failed(status.message.clone())
                    }
                    _ => Outcome::Done,
                };
                self.seen.finish(&self.pod, &Step::DeletePod, outcome, now);
            }
            Errand::Status(wanted) => {
                let result = match result {
                    Ok(Reply::Object { object, .. }) => Ok(object.clone()),
                    Ok(_) => Err(Status::internal("no object")),
                    Err(status) => Err(status.clone()),
                };
                self.report.finish(now, &self.pod, wanted, &result);
                if let Ok(object) = result {
                    self.look_at(&object);
                }
            }
        }
    }
}
