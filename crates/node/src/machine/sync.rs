//! The decision: which steps are due for a pod now, and when to look again if nothing happens until then.
//! Source: kubelet's `computePodActions`, `SyncPod`, `killContainersWithSyncResult` (as described in the docs of
//! pod lifecycle, init containers and sidecars).

use super::observed::{Container, Ending, EndingCause, Hook, Image, Life, LifeState, Observed, Task};
use super::probe::ProbeKind;
use super::spec::{ContainerKind, ContainerView, PodView};
use super::step::{Step, StopReason};
use meta::Timestamp;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    pub steps: Vec<Step>,
    /// Decide again then, if nothing happened before.
    pub wake: Option<Timestamp>,
    /// Nothing is left of the pod, here or in the API.
    pub over: bool,
}

impl Decision {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

struct Sync<'a> {
    now: Timestamp,
    pod: &'a PodView,
    seen: &'a Observed,
    out: Decision,
}

/// `seen` has taken notice of `pod` (`Observed::notice`).
pub fn sync(now: Timestamp, pod: &PodView, seen: &Observed) -> Decision {
    let mut sync = Sync {
        now,
        pod,
        seen,
        out: Decision::default(),
    };
    match &seen.ending {
        Some(ending) => sync.end(ending),
        None if pod.is_finished() => sync.release(),
        // Its status is all that is made of it.
        None if super::admit::rejection(pod, seen).is_some() => {}
        None => sync.run(),
    }
    sync.out
}

/// It still makes something that would have to be taken away again.
fn makes(step: &Step) -> bool {
    matches!(step, Step::SetUpVolumes | Step::CreateSandbox) || step.is_start()
}

fn is_pull(step: &Step) -> bool {
    matches!(step, Step::PullImage { .. })
}

impl<'a> Sync<'a> {
    fn container(&self, spec: &ContainerView) -> Option<&'a Container> {
        self.seen.containers.get(&spec.name)
    }

    fn push(&mut self, step: Step) {
        if !self.seen.is_running(&step) && !self.out.steps.contains(&step) {
            self.out.steps.push(step);
        }
    }

    /// True when the task is done; otherwise its step is under way, due now, or waited for.
    fn ensure(&mut self, task: &Task, step: Step) -> bool {
        match task {
            Task::Done => return true,
            Task::Failed { retry_at, .. } if *retry_at > self.now => self.out.wake_at(*retry_at),
            Task::Todo | Task::Failed { .. } => self.push(step),
        }
        false
    }

    fn run(&mut self) {
        if let Some(at) = self.seen.deadline(self.pod) {
            self.out.wake_at(at);
        }
        self.watch_running();
        if self.is_complete() {
            return self.stop_sidecars();
        }
        let volumes = self.ensure(&self.seen.volumes, Step::SetUpVolumes);
        if volumes {
            self.refresh_volumes();
        }
        let sandbox = self.ensure(&self.seen.sandbox, Step::CreateSandbox);
        // A start may mount a single file of a volume, which a swap of all its files would take away meanwhile.
        let refreshes =
            self.seen.is_running(&Step::SetUpVolumes) || self.out.steps.contains(&Step::SetUpVolumes);
        let ready = volumes && sandbox && !refreshes;
        if !self.start_init(ready) {
            return;
        }
        let apps: Vec<&ContainerView> = self.pod.of_kind(ContainerKind::App).collect();
        self.start_in_order(&apps, ready);
    }

    fn refresh_volumes(&mut self) {
        if self.seen.does(Step::is_start) {
            return;
        }
        match self.seen.refresh_at {
            _ if self.seen.sources_dirty => self.push(Step::SetUpVolumes),
            Some(at) if at <= self.now => self.push(Step::SetUpVolumes),
            Some(at) => self.out.wake_at(at),
            None => {}
        }
    }

    /// All app containers have ended and none will be started again.
    fn is_complete(&self) -> bool {
        let pod = self.pod;
        let failed_init = pod
            .of_kind(ContainerKind::Init)
            .any(|spec| self.is_done(spec, |code| code != 0));
        failed_init
            || pod
                .of_kind(ContainerKind::App)
                .all(|spec| self.is_done(spec, |_| true))
    }

    fn is_done(&self, spec: &ContainerView, wanted: fn(i32) -> bool) -> bool {
        let Some(container) = self.container(spec) else {
            return false;
        };
        let ended = container.ended();
        ended.is_some_and(|ended| wanted(ended.code) && !container.restarts_after(spec, ended.code))
    }

    /// Sidecars of a pod whose work is done end in reverse order.
    fn stop_sidecars(&mut self) {
        let deadline = self.now.plus_seconds(self.pod.grace_seconds.max(1));
        let sidecars: Vec<&ContainerView> = self.pod.of_kind(ContainerKind::Sidecar).collect();
        for spec in sidecars.into_iter().rev() {
            let alive = self.container(spec).is_some_and(Container::is_alive);
            if alive || self.seen.is_busy(&spec.name, Step::is_start) {
                return self.stop(spec, deadline, StopReason::PodEnds);
            }
        }
    }

    /// Init containers in order, each to its success; sidecars among them until they have started. True when
    /// app containers may run.
    fn start_init(&mut self, ready: bool) -> bool {
        let current = |container: &Container| container.life.as_ref().is_some_and(|life| !life.stale);
        let mut apps = self.pod.of_kind(ContainerKind::App);
        let initialized = apps.any(|spec| self.container(spec).is_some_and(current));
        let specs: Vec<&ContainerView> = self
            .pod
            .containers
            .iter()
            .filter(|spec| spec.kind != ContainerKind::App)
            .collect();
        for spec in &specs {
            let Some(container) = self.container(spec) else {
                return false;
            };
            let passed = match spec.kind {
                ContainerKind::Sidecar => container.is_started(),
                _ => current(container) && container.ended().is_some_and(|ended| ended.code == 0),
            };
            if passed || (initialized && spec.kind == ContainerKind::Init) {
                continue;
            }
            self.start(spec, container, ready);
            if !initialized {
                return false;
            }
        }
        true
    }

    /// Each after the start and postStart hook of those before it are through; one that cannot start holds up nobody.
    fn start_in_order(&mut self, specs: &[&ContainerView], ready: bool) {
        for spec in specs {
            let Some(container) = self.container(spec) else {
                continue;
            };
            let steps = self.out.steps.len();
            self.start(spec, container, ready);
            let starts = self.out.steps[steps..].iter().any(Step::is_start)
                || self.seen.is_busy(&spec.name, Step::is_start);
            let hooked = !container.is_alive()
                || container.stopping().is_some()
                || hook(container) != Some(Hook::Todo);
            if starts || !hooked {
                // Images of the others may come meanwhile.
                return;
            }
        }
    }

    /// Starts (again) what does not run and should.
    fn start(&mut self, spec: &ContainerView, container: &Container, ready: bool) {
        if container.is_alive() || self.seen.is_busy(&spec.name, Step::is_start) {
            return;
        }
        if let Some(life) = &container.life
            && !may_restart(spec, life)
        {
            return;
        }
        if let Some(at) = wait_until(container).filter(|at| *at > self.now) {
            return self.out.wake_at(at);
        }
        match &container.image {
            Image::Todo => return self.pull(spec),
            Image::Failed { retry_at, .. } if *retry_at <= self.now => return self.pull(spec),
            Image::Failed { since, retry_at, .. } => {
                // ErrImagePull becomes ImagePullBackOff.
                let shown = super::status::back_off_shown(*since, *retry_at);
                return self.out.wake_at(if shown > self.now { shown } else { *retry_at });
            }
            Image::Present { .. } => {}
        }
        if ready {
            self.push(Step::StartContainer {
                container: spec.name.clone(),
                attempt: container.next_attempt,
            });
        }
    }

    fn pull(&mut self, spec: &ContainerView) {
        if !self.seen.is_busy(&spec.name, is_pull) {
            self.push(Step::PullImage {
                container: spec.name.clone(),
            });
        }
    }

    /// Hooks and probes of what runs.
    fn watch_running(&mut self) {
        let pod = self.pod;
        for spec in &pod.containers {
            let Some(container) = self.container(spec) else {
                continue;
            };
            let Some(Life {
                attempt,
                state: LifeState::Running {
                    hook, stopping: None, ..
                },
                ..
            }) = &container.life
            else {
                continue;
            };
            let name = || spec.name.clone();
            if container.outdated && spec.kind != ContainerKind::Init {
                let deadline = self.now.plus_seconds(pod.grace_seconds.max(1));
                self.stop(spec, deadline, StopReason::Changed);
                continue;
            }
            match hook {
                Hook::Todo => self.push(Step::PostStart {
                    container: name(),
                    attempt: *attempt,
                }),
                Hook::Failed => {
                    let deadline = self.now.plus_seconds(pod.grace_seconds.max(1));
                    self.stop(spec, deadline, StopReason::PostStartFailed);
                }
                Hook::Done => self.probe(spec, container, *attempt),
            }
        }
    }

    fn probe(&mut self, spec: &ContainerView, container: &Container, attempt: u32) {
        let started = container.is_started();
        for (kind, probe_spec) in &spec.probes {
            let Some(probe) = container.probes.get(kind) else {
                continue;
            };
            let reason = match kind {
                ProbeKind::Startup => Some(StopReason::Startup),
                ProbeKind::Liveness => Some(StopReason::Liveness),
                ProbeKind::Readiness => None,
            };
            if let (Some(reason), Some(false)) = (reason, probe.result) {
                let grace = probe_spec.grace_seconds.unwrap_or(self.pod.grace_seconds).max(1);
                return self.stop(spec, self.now.plus_seconds(grace), reason);
            }
            if probe.is_due(*kind) && (*kind == ProbeKind::Startup || started) {
                self.ask(spec, attempt, *kind, probe.next);
            }
        }
    }

    fn ask(&mut self, spec: &ContainerView, attempt: u32, kind: ProbeKind, at: Timestamp) {
        let step = Step::Probe {
            container: spec.name.clone(),
            attempt,
            kind,
        };
        match at <= self.now {
            _ if self.seen.is_running(&step) => {}
            true => self.push(step),
            false => self.out.wake_at(at),
        }
    }

    /// Also a container that is being stopped may get requests until it says that it wants no more.
    fn watch_readiness(&mut self, spec: &ContainerView) {
        let Some(container) = self.container(spec).filter(|container| container.is_started()) else {
            return;
        };
        let running = container
            .life
            .as_ref()
            .filter(|life| matches!(life.state, LifeState::Running { .. }));
        let probe = container.probes.get(&ProbeKind::Readiness);
        if let (Some(life), Some(probe)) = (running, probe)
            && probe.is_due(ProbeKind::Readiness)
        {
            self.ask(spec, life.attempt, ProbeKind::Readiness, probe.next);
        }
    }

    /// Stops a container, once for each (earlier) deadline.
    fn stop(&mut self, spec: &ContainerView, deadline: Timestamp, reason: StopReason) {
        let Some(container) = self.container(spec) else {
            return;
        };
        let Some(Life {
            attempt,
            state: LifeState::Running { stopping, .. },
            ..
        }) = &container.life
        else {
            return;
        };
        if stopping.is_none_or(|earlier| deadline < earlier) {
            self.push(Step::StopContainer {
                container: spec.name.clone(),
                attempt: *attempt,
                deadline,
                reason,
            });
        }
    }

    /// The pod has Succeeded or Failed: what it holds of the node is given back. Whatever still runs (somebody else
    /// wrote the phase) is ended first.
    fn release(&mut self) {
        let deadline = self.now.plus_seconds(self.pod.grace_seconds.max(1));
        let mut alive = false;
        for spec in &self.pod.containers {
            let lives = self.container(spec).is_some_and(Container::is_alive);
            alive |= lives || self.seen.is_busy(&spec.name, Step::is_start);
            self.stop(spec, deadline, StopReason::PodEnds);
        }
        if !alive && !self.seen.running.iter().any(makes) {
            self.ensure(&self.seen.released, Step::Release);
        }
    }

    fn end(&mut self, ending: &Ending) {
        let pod = self.pod;
        let over = self.now >= ending.deadline;
        let lives = |sync: &Self, spec: &ContainerView| {
            sync.container(spec).is_some_and(Container::is_alive)
                || sync.seen.is_busy(&spec.name, Step::is_start)
        };
        let mut alive = false;
        for spec in pod
            .containers
            .iter()
            .filter(|spec| spec.kind != ContainerKind::Sidecar)
        {
            alive |= lives(self, spec);
            self.stop(spec, ending.deadline, StopReason::PodEnds);
        }
        for spec in pod.of_kind(ContainerKind::Sidecar).rev() {
            if !alive || over {
                self.stop(spec, ending.deadline, StopReason::PodEnds);
            }
            alive |= lives(self, spec);
        }
        if alive {
            if !over {
                self.out.wake_at(ending.deadline);
            }
            if ending.cause == EndingCause::Deleted {
                pod.containers.iter().for_each(|spec| self.watch_readiness(spec));
            }
            return;
        }
        // What still makes something is waited for; hooks and probes of what has ended are not.
        if self.seen.running.iter().any(makes) {
            return;
        }
        match ending.cause {
            EndingCause::Deleted => {}
            _ if self.seen.switching_off => {
                self.out.over = true;
                return;
            }
            _ if pod.is_finished() => return self.release(),
            _ => return,
        }
        if !self.ensure(&self.seen.torn_down, Step::TearDown) {
            return;
        }
        if pod.gone || self.ensure(&self.seen.deleted, Step::DeletePod) {
            self.out.over = true;
        }
    }
}

fn hook(container: &Container) -> Option<Hook> {
    match container.life.as_ref().map(|life| &life.state) {
        Some(LifeState::Running { hook, .. }) => Some(*hook),
        _ => None,
    }
}

/// Whether an attempt that is over is followed by another one. In a new sandbox what succeeded once is not repeated
/// unless it always is, but init containers are.
fn may_restart(spec: &ContainerView, life: &Life) -> bool {
    let LifeState::Ended(ended) = &life.state else {
        return false;
    };
    match (life.stale, spec.kind) {
        (true, ContainerKind::Init) => true,
        _ if life.interrupted => true,
        _ => spec.restarts_after(ended.code) && !(spec.kind == ContainerKind::Init && ended.code == 0),
    }
}

/// Back-off after an end, or the pause after a failed creation.
fn wait_until(container: &Container) -> Option<Timestamp> {
    match (&container.trouble, container.ended()) {
        (Some(trouble), _) => Some(trouble.retry_at),
        (None, Some(ended)) => container.backoff.until(ended.finished?),
        (None, None) => None,
    }
}
