//! A runtime without containers, for simulated nodes and tests: behaviour by script. In tests time is an explicit clock:
//! nothing sleeps, `advance` moves it, ends what is due and publishes the events, in order of their time. With `timed`
//! the clock is the surroundings' own, and each thing that falls due has a timer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, oneshot, watch};

use super::spec::{ContainerState, ContainerStatus, Exit, ExitReason};
use super::stream::{AttachGuard, ExecEnd};
use super::*;
use meta::Env;
use time::nanoseconds;

const EVENTS_LIMIT: usize = 4096;

/// What one container does in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// From the call to the start.
    pub start_after_ns: i64,
    /// Ends by itself this long after its start, with this code.
    pub exit_after_ns: Option<(i64, i32)>,
    /// Probes succeed from this long after its start on (`FakeRuntime::is_ready`).
    pub ready_after_ns: i64,
    /// From the stop signal to the end (code 0); `None`: it ignores the signal.
    pub stop_after_ns: Option<i64>,
    /// The start fails.
    pub start_error: Option<FakeError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FakeError {
    Create(String),
    Start(String),
}

impl Behaviour {
    /// Starts at once, runs until it is stopped, and then ends at once.
    pub fn server() -> Self {
        Self {
            stop_after_ns: Some(0),
            ..Self::default()
        }
    }
}

/// Decides on a container's behaviour by its spec.
pub type Script = Box<dyn FnMut(&ContainerSpec) -> Behaviour + Send>;
/// Answers an exec: exit code and stdout.
pub type ExecScript = Box<dyn FnMut(&ContainerId, &ExecSpec) -> (i32, Vec<u8>) + Send>;

struct Life {
    behaviour: Behaviour,
    state: watch::Sender<ContainerState>,
    /// When it will end, and how.
    due: Option<(i64, i32, i32)>,
}

struct World {
    now_ns: i64,
    next_pid: i32,
    script: Script,
    exec: ExecScript,
    sandboxes: BTreeMap<String, PodSandboxSpec>,
    containers: BTreeMap<ContainerId, Life>,
    messages: BTreeMap<ContainerId, String>,
}

struct Shared {
    /// Moves the clock by itself.
    env: Option<Arc<dyn Env>>,
    world: Mutex<World>,
    clock: watch::Sender<i64>,
    events: broadcast::Sender<RuntimeEvent>,
}

#[derive(Clone)]
pub struct FakeRuntime(Arc<Shared>);

impl FakeRuntime {
    /// All containers are servers, all commands succeed, until scripts say otherwise.
    pub fn new(now_ns: i64) -> Self {
        Self::with(None, now_ns)
    }

    fn with(env: Option<Arc<dyn Env>>, now_ns: i64) -> Self {
        Self(Arc::new(Shared {
            env,
            world: Mutex::new(World {
                now_ns,
                next_pid: 1000,
                script: Box::new(|_| Behaviour::server()),
                exec: Box::new(|_, _| (0, Vec::new())),
                sandboxes: BTreeMap::new(),
                containers: BTreeMap::new(),
                messages: BTreeMap::new(),
            }),
            clock: watch::Sender::new(now_ns),
            events: broadcast::channel(EVENTS_LIMIT).0,
        }))
    }

    pub fn set_script(&self, script: impl FnMut(&ContainerSpec) -> Behaviour + Send + 'static) {
        self.world().script = Box::new(script);
    }

    pub fn set_exec(&self, exec: impl FnMut(&ContainerId, &ExecSpec) -> (i32, Vec<u8>) + Send + 'static) {
        self.world().exec = Box::new(exec);
    }

    pub fn set_termination_message(&self, id: &ContainerId, message: &str) {
        self.world().messages.insert(id.clone(), message.to_owned());
    }

    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(env) = &self.0.env {
            world.now_ns = world.now_ns.max(nanoseconds(env.now()));
        }
        world
    }

    pub fn now_ns(&self) -> i64 {
        self.world().now_ns
    }

    /// Moves the clock forward; ends what is due by then. The clock never goes back.
    pub fn advance(&self, now_ns: i64) {
        let mut world = self.world();
        let mut due: Vec<(i64, ContainerId, i32, i32)> = world
            .containers
            .iter()
            .filter_map(|(id, life)| life.due.map(|(at, code, signal)| (at, id.clone(), code, signal)))
            .filter(|(at, ..)| *at <= now_ns)
            .collect();
        due.sort();
        for (at, id, code, signal) in due {
            world.now_ns = world.now_ns.max(at);
            self.end(&mut world, &id, code, signal);
        }
        world.now_ns = world.now_ns.max(now_ns);
        let now = world.now_ns;
        drop(world);
        self.0.clock.send_replace(now);
    }

    /// When the next container ends by itself or by a signal, for whoever drives the clock.
    pub fn next_wake_ns(&self) -> Option<i64> {
        self.world()
            .containers
            .values()
            .filter_map(|life| life.due.map(|(at, ..)| at))
            .min()
    }

    /// Ends a container now, as a fault would.
    pub fn end_container(&self, id: &ContainerId, code: i32, signal: i32) {
        self.end(&mut self.world(), id, code, signal);
    }

    /// Kills a pod's shim: all its containers end with 137.
    pub fn kill_shim(&self, uid: &str) {
        let mut world = self.world();
        let running: Vec<ContainerId> = world.running(uid);
        running
            .iter()
            .for_each(|id| self.end(&mut world, id, 137, libc::SIGKILL));
        world.sandboxes.remove(uid);
        drop(world);
        self.publish(RuntimeEvent::ShimGone {
            pod_uid: uid.to_owned(),
        });
    }

    /// A restart of the machine: containers have ended with 255, sandboxes are gone, nobody is told.
    pub fn reboot(&self) {
        let mut world = self.world();
        let now = world.now_ns;
        world.sandboxes.clear();
        for life in world.containers.values_mut() {
            if let ContainerState::Running { started_at_ns, .. } = *life.state.borrow() {
                life.due = Some((started_at_ns, 255, 0));
            }
            if let Some((started_at_ns, code, _)) = life.due.take()
                && code == 255
            {
                let exit = Exit {
                    code,
                    reason: ExitReason::ContainerStatusUnknown,
                    started_at_ns,
                    finished_at_ns: now,
                    ..Exit::default()
                };
                life.state.send_replace(ContainerState::Exited(exit));
            }
        }
    }

    /// The container runs and its `ready_after_ns` has passed.
    pub fn is_ready(&self, id: &ContainerId) -> bool {
        let world = self.world();
        world
            .containers
            .get(id)
            .is_some_and(|life| match *life.state.borrow() {
                ContainerState::Running { started_at_ns, .. } => {
                    started_at_ns + life.behaviour.ready_after_ns <= world.now_ns
                }
                _ => false,
            })
    }

    fn end(&self, world: &mut World, id: &ContainerId, code: i32, signal: i32) {
        let now = world.now_ns;
        let Some(life) = world.containers.get_mut(id) else {
            return;
        };
        let ContainerState::Running { started_at_ns, .. } = *life.state.borrow() else {
            return;
        };
        life.due = None;
        let reason = if code == 0 {
            ExitReason::Completed
        } else {
            ExitReason::Error
        };
        let exit = Exit {
            code,
            signal,
            reason,
            started_at_ns,
            finished_at_ns: now,
            ..Exit::default()
        };
        life.state.send_replace(ContainerState::Exited(exit.clone()));
        self.publish(RuntimeEvent::Exited { id: id.clone(), exit });
    }

    fn publish(&self, event: RuntimeEvent) {
        if self.0.events.send(event).is_err() {
            tracing::trace!("nobody listens to the fake runtime's events");
        }
    }
}

async fn wait_exit(state: &mut watch::Receiver<ContainerState>) -> Result<Exit, RuntimeError> {
    let ended = state
        .wait_for(|s| matches!(s, ContainerState::Exited(_)))
        .await
        .map(|s| s.clone());
    match ended {
        Ok(ContainerState::Exited(exit)) => Ok(exit),
        _ => Err(RuntimeError::NotFound("the container was removed".to_owned())),
    }
}

impl World {
    fn running(&self, uid: &str) -> Vec<ContainerId> {
        let runs = |life: &Life| matches!(*life.state.borrow(), ContainerState::Running { .. });
        self.containers
            .iter()
            .filter(|(id, life)| id.pod_uid == uid && runs(life))
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn pod(&self, uid: &str) -> Option<PodState> {
        let containers: Vec<ContainerStatus> = self
            .containers
            .iter()
            .filter(|(id, _)| id.pod_uid == uid)
            .map(|(id, life)| ContainerStatus {
                id: id.clone(),
                state: life.state.borrow().clone(),
            })
            .collect();
        let sandbox = self.sandboxes.get(uid);
        if sandbox.is_none() && containers.is_empty() {
            return None;
        }
        Some(PodState {
            uid: uid.to_owned(),
            ready: sandbox.is_some(),
            sandbox: sandbox.cloned().unwrap_or_default(),
            containers,
        })
    }

    fn life(&mut self, id: &ContainerId) -> Result<&mut Life, RuntimeError> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| RuntimeError::NotFound(format!("container {id} not found")))
    }

    fn running_life(&mut self, id: &ContainerId) -> Result<&mut Life, RuntimeError> {
        let life = self.life(id)?;
        if matches!(*life.state.borrow(), ContainerState::Running { .. }) {
            return Ok(life);
        }
        Err(RuntimeError::Conflict(format!("container {id} is not running")))
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn create_sandbox(&self, spec: &PodSandboxSpec) -> Result<Sandbox, RuntimeError> {
        self.world().sandboxes.insert(spec.uid.clone(), spec.clone());
        Ok(Sandbox {
            network_namespace: PathBuf::new(),
        })
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<Started, RuntimeError> {
        let (behaviour, begun) = {
            let mut world = self.world();
            if !world.sandboxes.contains_key(&spec.id.pod_uid) {
                return Err(RuntimeError::NotFound(format!(
                    "pod {} not found",
                    spec.id.pod_uid
                )));
            }
            if world.containers.contains_key(&spec.id) {
                return Err(RuntimeError::Conflict(format!("container {} exists", spec.id)));
            }
            ((world.script)(spec), world.now_ns)
        };
        self.wait_until(begun + behaviour.start_after_ns).await?;
        let mut world = self.world();
        let now = world.now_ns;
        world.next_pid += 1;
        let pid = world.next_pid;
        let (state, error) = match &behaviour.start_error {
            Some(FakeError::Create(message)) => return Err(RuntimeError::Create(message.clone())),
            Some(FakeError::Start(message)) => {
                let exit = Exit::start_error(message, now);
                (
                    ContainerState::Exited(exit),
                    Some(RuntimeError::Start {
                        message: message.clone(),
                    }),
                )
            }
            None => (
                ContainerState::Running {
                    pid,
                    started_at_ns: now,
                },
                None,
            ),
        };
        let due = behaviour
            .exit_after_ns
            .filter(|_| error.is_none())
            .map(|(after, code)| (now + after, code, 0));
        world.containers.insert(
            spec.id.clone(),
            Life {
                behaviour,
                state: watch::Sender::new(state),
                due,
            },
        );
        drop(world);
        if let Some(error) = error {
            return Err(error);
        }
        if let Some((at, ..)) = due {
            self.set_timer(at);
        }
        self.publish(RuntimeEvent::Started {
            id: spec.id.clone(),
            pid,
            started_at_ns: now,
        });
        Ok(Started {
            pid,
            started_at_ns: now,
            warnings: Vec::new(),
        })
    }

    async fn signal_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let mut world = self.world();
        let now = world.now_ns;
        let life = world.running_life(id)?;
        let after = if signal == libc::SIGKILL {
            Some(0)
        } else {
            life.behaviour.stop_after_ns
        };
        let code = if signal == libc::SIGKILL {
            (137, signal)
        } else {
            (0, 0)
        };
        match after {
            Some(0) => self.end(&mut world, id, code.0, code.1),
            Some(after) => {
                let at = life.due.map_or(now + after, |(due, ..)| due.min(now + after));
                life.due = Some((at, code.0, code.1));
                self.set_timer(at);
            }
            None => {}
        }
        Ok(())
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        stop_signal: i32,
        grace: Duration,
    ) -> Result<Exit, RuntimeError> {
        let (mut state, until) = {
            let mut world = self.world();
            let now = world.now_ns;
            (world.life(id)?.state.subscribe(), now + grace.as_nanos() as i64)
        };
        if !grace.is_zero() {
            match self
                .signal_container(
                    id,
                    if stop_signal == 0 {
                        libc::SIGTERM
                    } else {
                        stop_signal
                    },
                )
                .await
            {
                Ok(()) | Err(RuntimeError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        {
            // Ends at the latest when the grace period does.
            let mut world = self.world();
            let now = world.now_ns;
            if let Ok(life) = world.running_life(id) {
                let own = life.due.filter(|(at, ..)| *at <= until);
                let due = own.unwrap_or((until, 137, libc::SIGKILL));
                life.due = Some(due);
                self.set_timer(due.0);
                if until <= now {
                    self.end(&mut world, id, 137, libc::SIGKILL);
                }
            }
        }
        wait_exit(&mut state).await
    }

    async fn wait_container(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let mut state = self.world().life(id)?.state.subscribe();
        wait_exit(&mut state).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let mut world = self.world();
        if world.running_life(id).is_ok() {
            return Err(RuntimeError::Conflict(format!("container {id} is running")));
        }
        world.containers.remove(id);
        Ok(())
    }

    async fn remove_log(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn release_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        let mut world = self.world();
        let running = world.running(uid);
        running
            .iter()
            .for_each(|id| self.end(&mut world, id, 137, libc::SIGKILL));
        world.sandboxes.remove(uid);
        Ok(())
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        self.release_pod(uid).await?;
        let mut world = self.world();
        world.containers.retain(|id, _| id.pod_uid != uid);
        world.messages.retain(|id, _| id.pod_uid != uid);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<PodState>, RuntimeError> {
        let world = self.world();
        let mut uids: Vec<&String> = world
            .sandboxes
            .keys()
            .chain(world.containers.keys().map(|id| &id.pod_uid))
            .collect();
        uids.sort();
        uids.dedup();
        Ok(uids.into_iter().filter_map(|uid| world.pod(uid)).collect())
    }

    async fn pod(&self, uid: &str) -> Result<Option<PodState>, RuntimeError> {
        Ok(self.world().pod(uid))
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        let mut world = self.world();
        world.running_life(id)?;
        let (code, stdout) = (world.exec)(id, spec);
        drop(world);
        let (sender, receiver) = oneshot::channel();
        if sender.send(ExecExit { code, signal: 0 }).is_err() {
            tracing::trace!("nobody waits for a fake exec");
        }
        Ok(ExecSession {
            stdin: spec.stdin.then(|| Box::new(tokio::io::sink()) as stream::Writer),
            stdout: spec
                .stdout
                .then(|| Box::new(std::io::Cursor::new(stdout)) as stream::Reader),
            stderr: spec
                .stderr
                .then(|| Box::new(tokio::io::empty()) as stream::Reader),
            resize: None,
            exit: ExecEnd::new(receiver),
        })
    }

    async fn attach(&self, id: &ContainerId, streams: AttachStreams) -> Result<AttachSession, RuntimeError> {
        self.world().running_life(id)?;
        Ok(AttachSession {
            stdin: streams
                .stdin
                .then(|| Box::new(tokio::io::sink()) as stream::Writer),
            stdout: streams
                .stdout
                .then(|| Box::new(tokio::io::empty()) as stream::Reader),
            stderr: streams
                .stderr
                .then(|| Box::new(tokio::io::empty()) as stream::Reader),
            resize: None,
            guard: AttachGuard::none(),
        })
    }

    async fn dial(&self, uid: &str, _: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        Err(RuntimeError::NotFound(format!(
            "simulated pod {uid} has no ports"
        )))
    }

    async fn usage(&self, uid: &str) -> Result<PodUsage, RuntimeError> {
        let names = self
            .world()
            .running(uid)
            .into_iter()
            .map(|id| (id.name, Usage::default()));
        Ok(PodUsage {
            containers: names.collect(),
            total: Usage::default(),
        })
    }

    fn log_path(&self, id: &ContainerId) -> PathBuf {
        PathBuf::from(format!(
            "/nonexistent/{}/{}/{}.log",
            id.pod_uid, id.name, id.attempt
        ))
    }

    fn is_well(&self, id: &ContainerId) -> bool {
        self.is_ready(id)
    }

    async fn termination_message(&self, id: &ContainerId) -> Result<String, RuntimeError> {
        Ok(self.world().messages.get(id).cloned().unwrap_or_default())
    }

    fn subscribe(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.0.events.subscribe()
    }
}

mod time;

#[cfg(test)]
mod tests;
