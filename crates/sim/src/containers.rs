//! The simulated runtime: sandboxes and attempts of containers, which start, get ready, crash and take their time to
//! end. It lives on when the agent restarts, and only results are left of it when the machine does.

use crate::rng::Rng;
use meta::Timestamp;
use node::runtime::{
    ContainerId, ContainerState, ContainerStatus, Exit, ExitReason, PodSandboxSpec, PodState,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Exit codes: asked to end, killed, crashed, and lost in a restart of the machine.
const ENDED: i32 = 0;
const KILLED: i32 = 137;
const CRASHED: i32 = 1;
const LOST: i32 = 255;

/// What the runtime has, by pod uid.
#[derive(Default)]
pub struct Containers(BTreeMap<String, SimPod>);

struct SimPod {
    /// `namespace/name`
    key: String,
    /// The sandbox stands.
    standing: bool,
    /// By container and number.
    attempts: BTreeMap<(String, u32), Attempt>,
}

/// One attempt of a container. It is created before it starts, and known to end when it was told to.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub started: Timestamp,
    /// `None`: never.
    pub ready_at: Option<Timestamp>,
    end: Option<(Timestamp, i32)>,
    /// The agent has heard of its end.
    told: bool,
}

impl SimPod {
    fn fall(&mut self, now: Timestamp) {
        self.standing = false;
        self.attempts.values_mut().for_each(|a| a.end_at(now, LOST));
    }
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.jiff().as_nanosecond()).unwrap_or(i64::MAX)
}

impl Attempt {
    /// Has a process, or is about to.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.end.is_none_or(|(at, _)| at > now)
    }

    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.started <= now && self.is_alive(now) && self.ready_at.is_some_and(|at| at <= now)
    }

    pub fn exit(&self) -> Option<Exit> {
        let (at, code) = self.end?;
        let reason = match code {
            ENDED => ExitReason::Completed,
            LOST => ExitReason::ContainerStatusUnknown,
            _ => ExitReason::Error,
        };
        Some(Exit {
            code,
            signal: if code == KILLED { 9 } else { 0 },
            oom_killed: false,
            reason,
            started_at_ns: nanoseconds(self.started),
            finished_at_ns: nanoseconds(at),
            ..Exit::default()
        })
    }

    fn end_at(&mut self, at: Timestamp, code: i32) {
        if self.end.is_none_or(|(earlier, _)| at < earlier) {
            self.end = Some((at, code));
        }
    }

    fn state(&self, now: Timestamp) -> ContainerState {
        match self.exit().filter(|_| !self.is_alive(now)) {
            Some(exit) => ContainerState::Exited(exit),
            None if self.started > now => ContainerState::Creating,
            None => ContainerState::Running {
                pid: 1,
                started_at_ns: nanoseconds(self.started),
            },
        }
    }
}

impl Containers {
    pub fn raise(&mut self, uid: &str, key: &str) {
        let pod = self.0.entry(uid.into()).or_insert_with(|| SimPod {
            key: key.into(),
            standing: false,
            attempts: BTreeMap::new(),
        });
        pod.standing = true;
    }

    /// Begins an attempt, if the sandbox stands.
    pub fn create(&mut self, id: &ContainerId, started: Timestamp, ready_at: Option<Timestamp>) -> bool {
        let Some(pod) = self.0.get_mut(&id.pod_uid).filter(|pod| pod.standing) else {
            return false;
        };
        let attempt = Attempt {
            started,
            ready_at,
            end: None,
            told: false,
        };
        pod.attempts.insert((id.name.clone(), id.attempt), attempt);
        true
    }

    pub fn get(&self, id: &ContainerId) -> Option<&Attempt> {
        self.0
            .get(&id.pod_uid)?
            .attempts
            .get(&(id.name.clone(), id.attempt))
    }

    /// Asks an attempt to end, which most do quickly and some not before they are killed. Says when it will have ended.
    pub fn stop(
        &mut self,
        id: &ContainerId,
        now: Timestamp,
        deadline: Timestamp,
        rng: &mut Rng,
    ) -> Timestamp {
        let pod = self.0.get_mut(&id.pod_uid);
        let Some(attempt) = pod.and_then(|p| p.attempts.get_mut(&(id.name.clone(), id.attempt))) else {
            return now;
        };
        let left = u64::try_from(deadline.since(now).as_millis()).unwrap_or(u64::MAX);
        let takes = if rng.percent(80) {
            rng.below(300)
        } else {
            left + rng.below(20)
        };
        let at = now
            .plus(Duration::from_millis(1 + takes.min(left)))
            .max(attempt.started);
        attempt.end_at(at, if takes < left { ENDED } else { KILLED });
        attempt.end.map_or(at, |(at, _)| at)
    }

    /// All containers of a pod end by themselves, now.
    pub fn crash(&mut self, uid: &str, now: Timestamp) {
        for attempt in self
            .0
            .get_mut(uid)
            .into_iter()
            .flat_map(|p| p.attempts.values_mut())
        {
            attempt.end_at(now, CRASHED);
        }
    }

    /// Those that would be ready some time are not before `until`.
    pub fn falter(&mut self, uid: &str, until: Timestamp) {
        for attempt in self
            .0
            .get_mut(uid)
            .into_iter()
            .flat_map(|p| p.attempts.values_mut())
        {
            attempt.ready_at = attempt.ready_at.map(|_| until);
        }
    }

    /// Nothing is left of the pod.
    pub fn remove(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    pub fn retain(&mut self, known: impl Fn(&str) -> bool) {
        self.0.retain(|uid, _| known(uid));
    }

    /// The machine restarts: no process is left, the results are.
    pub fn reboot(&mut self, now: Timestamp) {
        self.0.values_mut().for_each(|pod| pod.fall(now));
    }

    /// The sandbox goes, the results stay.
    pub fn release(&mut self, uid: &str, now: Timestamp) {
        self.0.get_mut(uid).into_iter().for_each(|pod| pod.fall(now));
    }

    /// Ends that the agent has not heard of, each told once.
    pub fn news(&mut self, uid: &str, now: Timestamp) -> Vec<(String, u32, Exit)> {
        let attempts = self
            .0
            .get_mut(uid)
            .into_iter()
            .flat_map(|p| p.attempts.iter_mut());
        let ended = attempts.filter(|(_, a)| !a.told && !a.is_alive(now));
        let told = ended.filter_map(|((name, number), attempt)| {
            attempt.told = true;
            Some((name.clone(), *number, attempt.exit()?))
        });
        told.collect()
    }

    /// When the agent hears of the next end.
    pub fn next_news(&self, uid: &str) -> Option<Timestamp> {
        let attempts = self.0.get(uid)?.attempts.values();
        attempts.filter(|a| !a.told).filter_map(|a| Some(a.end?.0)).min()
    }

    /// As a new agent finds it.
    pub fn state(&mut self, uid: &str, now: Timestamp) -> Option<PodState> {
        let pod = self.0.get_mut(uid)?;
        let status = |((name, number), attempt): (&(String, u32), &mut Attempt)| {
            let state = attempt.state(now);
            attempt.told |= matches!(state, ContainerState::Exited(_));
            ContainerStatus {
                id: ContainerId::new(uid, name, *number),
                state,
            }
        };
        Some(PodState {
            uid: uid.into(),
            sandbox: PodSandboxSpec::default(),
            ready: pod.standing,
            containers: pod.attempts.iter_mut().map(status).collect(),
        })
    }

    /// Uid and key of every pod with live processes.
    pub fn alive(&self, now: Timestamp) -> impl Iterator<Item = (&str, &str)> {
        let pods = self
            .0
            .iter()
            .filter(move |(_, pod)| pod.attempts.values().any(|a| a.is_alive(now)));
        pods.map(|(uid, pod)| (uid.as_str(), pod.key.as_str()))
    }

    /// A container of which two attempts are alive: pod and container.
    pub fn doubled(&self, now: Timestamp) -> Option<(&str, &str)> {
        self.0.values().find_map(|pod| {
            let alive = pod.attempts.iter().filter(|(_, a)| a.is_alive(now));
            let names: Vec<&str> = alive.map(|((name, _), _)| name.as_str()).collect();
            let twice = names.windows(2).find(|two| two[0] == two[1])?;
            Some((pod.key.as_str(), twice[0]))
        })
    }
}
