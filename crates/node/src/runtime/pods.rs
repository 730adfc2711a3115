//! What the real runtime knows of its pods: finding and starting their shims, settling what died, removing what is left.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, watch};

use super::cgroup::{Cgroup, kill_process_and_wait};
use super::client::{ShimClient, with_socket_path};
use super::spec::*;
use super::*;
use crate::shim::protocol::{Message, Reply, Request, WireError};
use crate::shim::state::{
    SANDBOX_FILE, STATE_FILE, SandboxRecord, ShimState, TEMPORARY, boot_id, read, write_atomically,
};

const EVENTS_LIMIT: usize = 4096;
/// How long a shim may take to end all its containers and itself.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// How long processes that got SIGKILL may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What is known of a pod here.
pub(super) struct Pod {
    pub(super) uid: String,
    pub(super) dir: PathBuf,
    pub(super) sandbox: Mutex<PodSandboxSpec>,
    pub(super) containers: Mutex<HashMap<ContainerId, watch::Sender<ContainerState>>>,
    /// Held while a shim is looked for or started.
    pub(super) client: tokio::sync::Mutex<Option<Arc<ShimClient>>>,
    /// The newest client again, for those who only look.
    pub(super) current: Mutex<Weak<ShimClient>>,
    pub(super) removing: AtomicBool,
}

pub(super) struct Inner {
    pub(super) config: RuntimeConfig,
    pub(super) boot_id: String,
    pub(super) pods: Mutex<HashMap<String, Arc<Pod>>>,
    pub(super) events: broadcast::Sender<RuntimeEvent>,
    pub(super) starts: Semaphore,
}

#[derive(Clone)]
pub struct ShimRuntime(pub(super) Arc<Inner>);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ShimRuntime {
    /// Finds the pods that are there, and connects to their shims.
    pub async fn open(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let pods_dir = paths::pods_dir(&config.data_dir);
        std::fs::create_dir_all(&pods_dir).map_err(RuntimeError::path("make", &pods_dir))?;
        let permits = match config.parallel_starts {
            0 => 4 * std::thread::available_parallelism().map_or(2, usize::from),
            set => set,
        };
        let runtime = Self(Arc::new(Inner {
            boot_id: boot_id().map_err(RuntimeError::io("read the boot id"))?,
            config,
            pods: Mutex::new(HashMap::new()),
            events: broadcast::channel(EVENTS_LIMIT).0,
            starts: Semaphore::new(permits),
        }));
        let entries = std::fs::read_dir(&pods_dir).map_err(RuntimeError::path("read", &pods_dir))?;
        let mut uids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(RuntimeError::path("read", &pods_dir))?;
            uids.extend(entry.file_name().into_string());
        }
        // All at once, so that several that do not answer take no longer than one.
        futures::future::try_join_all(uids.iter().map(|uid| runtime.recover(uid))).await?;
        Ok(runtime)
    }

    /// Takes over a pod that an earlier server left.
    async fn recover(&self, uid: &str) -> Result<(), RuntimeError> {
        let pod = self.pod_entry(uid);
        let path = pod.dir.join(SANDBOX_FILE);
        let record = read::<SandboxRecord>(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "a pod's sandbox file cannot be read");
            None
        });
        if let Some(record) = record {
            *lock(&pod.sandbox) = record.sandbox;
        }
        match self.connect(&pod).await {
            Ok(_) | Err(RuntimeError::ShimGone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn pod_entry(&self, uid: &str) -> Arc<Pod> {
        let dir = paths::pod_dir(&self.0.config.data_dir, uid);
        let mut pods = lock(&self.0.pods);
        let entry = pods.entry(uid.to_owned()).or_insert_with(|| {
            Arc::new(Pod {
                uid: uid.to_owned(),
                dir,
                sandbox: Mutex::default(),
                containers: Mutex::default(),
                client: tokio::sync::Mutex::default(),
                current: Mutex::default(),
                removing: AtomicBool::new(false),
            })
        });
        Arc::clone(entry)
    }

    pub(super) fn known_pod(&self, uid: &str) -> Result<Arc<Pod>, RuntimeError> {
        lock(&self.0.pods)
            .get(uid)
            .cloned()
            .ok_or_else(|| RuntimeError::NotFound(format!("pod {uid} not found")))
    }

    /// The shim that answers now; where none does, what ran is settled as lost and `ShimGone` returned.
    pub(super) async fn connect(&self, pod: &Arc<Pod>) -> Result<Arc<ShimClient>, RuntimeError> {
        let mut slot = pod.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_gone()) {
            return Ok(Arc::clone(client));
        }
        match self.say_hello(pod).await {
            Ok(client) => {
                *slot = Some(Arc::clone(&client));
                Ok(client)
            }
            Err(error) => {
                self.settle_lost(pod).await?;
                Err(error)
            }
        }
    }

    pub(super) async fn say_hello(&self, pod: &Arc<Pod>) -> Result<Arc<ShimClient>, RuntimeError> {
        let (runtime, weak) = (Arc::downgrade(&self.0), Arc::downgrade(pod));
        let connected = ShimClient::connect(&pod.uid, &pod.dir, move |message| {
            if let (Some(runtime), Some(pod)) = (Weak::upgrade(&runtime), Weak::upgrade(&weak)) {
                Self(runtime).observe(&pod, message);
            }
        });
        let limit = self.0.config.answer_limit;
        let (client, hello) = tokio::time::timeout(limit, connected).await.map_err(|_| {
            tracing::warn!(pod = pod.uid, "the shim does not answer within {limit:?}");
            RuntimeError::ShimGone(pod.uid.clone())
        })??;
        *lock(&pod.current) = Arc::downgrade(&client);
        for status in hello.containers {
            pod.note(status.id, status.state);
        }
        Ok(client)
    }

    /// What the shim answers. One that does not is killed, and what it held is settled as lost.
    pub(super) async fn ask(
        &self,
        pod: &Arc<Pod>,
        request: Request,
    ) -> Result<Result<Reply, WireError>, RuntimeError> {
        let shim = self.connect(pod).await?;
        let limit = self.0.config.answer_limit;
        if let Ok(answer) = tokio::time::timeout(limit, shim.call(request)).await {
            return answer;
        }
        tracing::warn!(
            pod = pod.uid,
            "the shim does not answer within {limit:?} and is killed"
        );
        let path = pod.dir.join(STATE_FILE);
        if let Some(state) = read::<ShimState>(&path).map_err(RuntimeError::path("read", &path))? {
            self.kill_shim(pod, state.shim_pid).await?;
        }
        Err(RuntimeError::ShimGone(pod.uid.clone()))
    }

    /// An event of a pod's shim, or its end.
    fn observe(&self, pod: &Arc<Pod>, message: Option<Message>) {
        let event = match message {
            Some(Message::Started {
                container,
                pid,
                started_at_ns,
            }) => {
                pod.note(container.clone(), ContainerState::Running { pid, started_at_ns });
                RuntimeEvent::Started {
                    id: container,
                    pid,
                    started_at_ns,
                }
            }
            Some(Message::Exited { container, exit }) => {
                pod.note(container.clone(), ContainerState::Exited(exit.clone()));
                RuntimeEvent::Exited { id: container, exit }
            }
            Some(_) => return,
            None if pod.removing.load(Ordering::Acquire) => return,
            None => {
                let (runtime, pod) = (self.clone(), Arc::clone(pod));
                tokio::spawn(async move {
                    tracing::warn!(pod = pod.uid, "the shim is gone; its containers have been killed");
                    match runtime.connect(&pod).await {
                        Err(RuntimeError::ShimGone(_)) => {}
                        Ok(_) => return, // Another one is there already.
                        Err(error) => {
                            tracing::error!(pod = pod.uid, %error, "cannot settle a lost pod")
                        }
                    }
                    runtime.publish(RuntimeEvent::ShimGone {
                        pod_uid: pod.uid.clone(),
                    });
                });
                return;
            }
        };
        self.publish(event);
    }

    fn publish(&self, event: RuntimeEvent) {
        if self.0.events.send(event).is_err() {
            tracing::debug!("nobody listens to the runtime's events");
        }
    }

    /// No shim answers: kills what may be left and records every unfinished container as ended. The caller holds
    /// the pod's client slot.
    pub(super) async fn settle_lost(&self, pod: &Arc<Pod>) -> Result<(), RuntimeError> {
        let path = pod.dir.join(STATE_FILE);
        let Some(mut state) = read::<ShimState>(&path).map_err(RuntimeError::path("read", &path))? else {
            return Ok(());
        };
        let rebooted = state.boot_id != self.0.boot_id;
        if !rebooted {
            // One that lives but cannot be reached would write its own end of the story.
            self.kill_shim(pod, state.shim_pid).await?;
            self.kill_cgroup(pod).await?;
        }
        let now = jiff::Timestamp::now().as_nanosecond() as i64;
        let mut events = Vec::new();
        for status in &mut state.containers {
            let started_at_ns = match status.state {
                ContainerState::Exited(_) => 0,
                ContainerState::Creating => now,
                ContainerState::Running { started_at_ns, .. } => started_at_ns,
            };
            if !matches!(status.state, ContainerState::Exited(_)) {
                let exit = lost(rebooted, started_at_ns, now);
                status.state = ContainerState::Exited(exit.clone());
                events.push(RuntimeEvent::Exited {
                    id: status.id.clone(),
                    exit,
                });
            }
            pod.note(status.id.clone(), status.state.clone());
        }
        state.boot_id.clone_from(&self.0.boot_id);
        if !events.is_empty() {
            write_atomically(&path, &state).map_err(RuntimeError::path("write", &path))?;
        }
        events.into_iter().for_each(|event| self.publish(event));
        Ok(())
    }

    /// The pod's shim, started where there is none.
    pub(super) async fn shim(&self, pod: &Arc<Pod>) -> Result<Arc<ShimClient>, RuntimeError> {
        match self.connect(pod).await {
            Err(RuntimeError::ShimGone(_)) => {}
            other => return other,
        }
        let mut slot = pod.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_gone()) {
            return Ok(Arc::clone(client));
        }
        self.spawn_shim(pod)?;
        let client = self.say_hello(pod).await?;
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Starts a shim on a socket that listens already, so that it can be talked to at once.
    fn spawn_shim(&self, pod: &Arc<Pod>) -> Result<(), RuntimeError> {
        let failed = |error: std::io::Error| RuntimeError::Sandbox(format!("start the shim: {error}"));
        let socket = pod.dir.join(paths::SOCKET);
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        let listener = with_socket_path(&pod.dir, |path| std::os::unix::net::UnixListener::bind(path))
            .map_err(failed)?;
        std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(failed)?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(pod.dir.join(paths::SHIM_LOG))
            .map_err(failed)?;
        let (program, arguments) = self
            .0
            .config
            .shim_command
            .split_first()
            .ok_or_else(|| RuntimeError::Internal("no shim command".to_owned()))?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .arg("--dir")
            .arg(&pod.dir)
            .args(["--cgroup", &self.0.config.shims_cgroup()])
            .args(["--cgroup-mounts", &super::cgroup::mounts()])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(failed)?;
        let uid = pod.uid.clone();
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) => tracing::debug!(pod = uid, %status, "a shim ended"),
                Err(error) => tracing::warn!(pod = uid, %error, "cannot wait for a shim"),
            }
        });
        Ok(())
    }

    /// Ends the pod's shim with all its containers; by force where it does not answer.
    pub(super) async fn end_shim(&self, pod: &Arc<Pod>) -> Result<(), RuntimeError> {
        let mut slot = pod.client.lock().await;
        let client = match slot.take().filter(|client| !client.is_gone()) {
            Some(client) => Some(client),
            None => self.say_hello(pod).await.ok(),
        };
        if let Some(client) = client {
            let ended = async {
                let answer = client.call(Request::Shutdown).await;
                client.wait_gone().await;
                answer
            };
            match tokio::time::timeout(SHUTDOWN_LIMIT, ended).await {
                Ok(Ok(Ok(_)) | Err(RuntimeError::ShimGone(_))) => return Ok(()),
                other => tracing::warn!(pod = pod.uid, ?other, "a shim does not end and is killed"),
            }
        }
        let path = pod.dir.join(STATE_FILE);
        let Some(state) = read::<ShimState>(&path).map_err(RuntimeError::path("read", &path))? else {
            return Ok(());
        };
        self.kill_shim(pod, state.shim_pid).await
    }

    async fn kill_shim(&self, pod: &Pod, pid: i32) -> Result<(), RuntimeError> {
        let dir = pod.dir.clone();
        tokio::task::spawn_blocking(move || kill_process_and_wait(pid, &dir, KILL_LIMIT))
            .await
            .map_err(|e| RuntimeError::Internal(e.to_string()))?
            .map_err(RuntimeError::io("kill a shim"))
    }

    pub(super) async fn kill_cgroup(&self, pod: &Pod) -> Result<(), RuntimeError> {
        let cgroup = Cgroup::new(self.0.config.pod_cgroup(&pod.uid));
        tokio::task::spawn_blocking(move || cgroup.kill_and_wait(KILL_LIMIT))
            .await
            .map_err(|e| RuntimeError::Internal(e.to_string()))?
            .map_err(RuntimeError::io("kill what is left of a pod"))
    }

    pub(super) async fn end_processes(&self, pod: &Arc<Pod>) -> Result<(), RuntimeError> {
        pod.removing.store(true, Ordering::Release);
        self.end_shim(pod).await?;
        self.kill_cgroup(pod).await
    }

    /// The part of a pod's removal that is done when no process is left. `owned`: names in its directory.
    pub(super) async fn remove_files(
        &self,
        pod: &Pod,
        owned: &'static [&'static str],
    ) -> Result<(), RuntimeError> {
        let (dir, config, uid) = (pod.dir.clone(), self.0.config.clone(), pod.uid.clone());
        let remove = move || -> std::io::Result<()> {
            Cgroup::new(config.pod_cgroup(&uid)).remove()?;
            sandbox::unmount(&dir)?;
            let unfinished = unfinished_files(&dir)?;
            for path in owned.iter().map(|name| dir.join(name)).chain(unfinished) {
                let removed = if path.is_dir() {
                    std::fs::remove_dir_all(&path)
                } else {
                    std::fs::remove_file(&path)
                };
                match removed {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            match std::fs::remove_dir(&dir) {
                // Volumes and root file systems are other rooms' to remove.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTEMPTY)) => {}
                other => other?,
            }
            for parent in [
                config.shims_cgroup(),
                format!("/isopod/{}", config.cluster),
                "/isopod".to_owned(),
            ] {
                Cgroup::new(parent).remove_if_empty();
            }
            Ok(())
        };
        tokio::task::spawn_blocking(remove)
            .await
            .map_err(|e| RuntimeError::Internal(e.to_string()))?
            .map_err(RuntimeError::io(format!("remove pod {}", pod.uid)))
    }

    /// Takes away the cluster's cgroups once its pods have ended; a shim that is just leaving is waited for.
    pub async fn remove_cgroups(&self) -> Result<(), RuntimeError> {
        let own = Cgroup::new(format!("/isopod/{}", self.0.config.cluster));
        let remove = move || own.end().map(|()| Cgroup::new("/isopod").remove_if_empty());
        tokio::task::spawn_blocking(remove)
            .await
            .map_err(|e| RuntimeError::Internal(e.to_string()))?
            .map_err(RuntimeError::io("remove the cluster's cgroups"))
    }

    /// Releases a pod whose node is being switched off: what ended at `since_ns` or later ended for that reason alone,
    /// and runs again when the node is back. Only while no agent is at work on the pod.
    pub async fn switch_off(&self, uid: &str, since_ns: i64) -> Result<(), RuntimeError> {
        self.release_pod(uid).await?;
        let path = paths::pod_dir(&self.0.config.data_dir, uid).join(STATE_FILE);
        let Some(mut state) = read::<ShimState>(&path).map_err(RuntimeError::path("read", &path))? else {
            return Ok(());
        };
        for status in &mut state.containers {
            if let ContainerState::Exited(exit) = &mut status.state {
                exit.interrupted |= exit.finished_at_ns >= since_ns;
            }
        }
        write_atomically(&path, &state).map_err(RuntimeError::path("write", &path))
    }

    pub(super) fn state_of(&self, pod: &Pod) -> PodState {
        let sandbox = lock(&pod.sandbox).clone();
        let answers = lock(&pod.current)
            .upgrade()
            .is_some_and(|client| !client.is_gone());
        let mut containers: Vec<ContainerStatus> = lock(&pod.containers)
            .iter()
            .map(|(id, state)| ContainerStatus {
                id: id.clone(),
                state: state.borrow().clone(),
            })
            .collect();
        containers.sort_by(|a, b| a.id.cmp(&b.id));
        PodState {
            uid: pod.uid.clone(),
            ready: answers && sandbox::is_there(&pod.dir, &sandbox, &self.0.config.node_netns),
            sandbox,
            containers,
        }
    }

    /// The wire spec: what only the runtime knows is filled in.
    pub(super) fn complete(&self, pod: &Pod, spec: &ContainerSpec) -> Result<ContainerSpec, RuntimeError> {
        let mut spec = spec.clone();
        spec.sandbox = lock(&pod.sandbox).clone();
        spec.cgroup_path = format!("{}/{}", self.0.config.pod_cgroup(&pod.uid), spec.id.name);
        if !spec.termination_message_path.is_empty() {
            let path = paths::termination_path(&pod.dir, &spec.id.name, spec.id.attempt);
            make_termination_file(&path).map_err(RuntimeError::path("make", &path))?;
            spec.mounts.push(Mount {
                source: path,
                destination: spec.termination_message_path.clone().into(),
                ..Mount::default()
            });
        }
        Ok(spec)
    }

    pub(super) async fn wait_exit(mut state: watch::Receiver<ContainerState>) -> Result<Exit, RuntimeError> {
        let ended = state.wait_for(|s| matches!(s, ContainerState::Exited(_))).await;
        match ended.map(|state| state.clone()) {
            Ok(ContainerState::Exited(exit)) => Ok(exit),
            _ => Err(RuntimeError::NotFound("the container was removed".to_owned())),
        }
    }
}

/// What a crash left of writing a state file.
fn unfinished_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => {
            let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
            Ok(paths
                .filter(|path| path.extension().is_some_and(|e| e == TEMPORARY))
                .collect())
        }
    }
}

/// Writable by whatever user the container runs as.
fn make_termination_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let file = std::fs::File::create(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o666))
}

/// How a container counts whose shim died: after a reboot as containerd says it (255), else killed (137).
fn lost(rebooted: bool, started_at_ns: i64, now: i64) -> Exit {
    let (code, signal, message) = if rebooted {
        (255, 0, "the machine was restarted")
    } else {
        (
            137,
            libc::SIGKILL,
            "the pod's shim died, and its containers with it",
        )
    };
    Exit {
        code,
        signal,
        oom_killed: false,
        reason: ExitReason::ContainerStatusUnknown,
        started_at_ns,
        finished_at_ns: now,
        message: message.to_owned(),
        interrupted: false,
    }
}

impl Pod {
    pub(super) fn note(&self, id: ContainerId, state: ContainerState) {
        let mut containers = lock(&self.containers);
        match containers.get(&id) {
            // What has ended stays so: a late word about the start changes nothing.
            Some(sender) if !matches!(*sender.borrow(), ContainerState::Exited(_)) => {
                drop(sender.send_replace(state))
            }
            Some(_) => {}
            None => drop(containers.insert(id, watch::Sender::new(state))),
        }
    }

    pub(super) fn watch(&self, id: &ContainerId) -> Result<watch::Receiver<ContainerState>, RuntimeError> {
        let containers = lock(&self.containers);
        containers
            .get(id)
            .map(watch::Sender::subscribe)
            .ok_or_else(|| RuntimeError::NotFound(format!("container {id} not found")))
    }
}
