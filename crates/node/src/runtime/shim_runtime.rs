//! The real runtime: finds or starts a shim for each pod, passes calls on, and cleans up after dead ones.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

use super::cgroup::Cgroup;
use super::client::{ShimClient, StreamConnection, with_socket_path};
use super::spec::*;
use super::stream::{AttachGuard, ExecEnd, FdStream, Reader, Writer};
use super::*;
use crate::shim::fds;
use crate::shim::protocol::{Message, Request};
use crate::shim::state::{
    SANDBOX_FILE, STATE_FILE, SandboxRecord, ShimState, boot_id, read, write_atomically,
};

const EVENTS_LIMIT: usize = 4096;
/// kubelet reads no more of a termination message.
const TERMINATION_MESSAGE_LIMIT: u64 = 4096;
/// How long a shim may take to end all its containers and itself.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// How long processes that got SIGKILL may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Absolute; pods lie in `pods/` below it.
    pub data_dir: PathBuf,
    /// The cluster's name: its cgroups are `/isopod/<cluster>/…`.
    pub cluster: String,
    /// Program and first arguments of a shim: usually `/proc/self/exe shim`.
    pub shim_command: Vec<OsString>,
    /// How many containers are made at the same time; 0: twice the processors.
    pub parallel_starts: usize,
}

impl RuntimeConfig {
    pub fn new(data_dir: impl Into<PathBuf>, cluster: &str) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster: cluster.to_owned(),
            shim_command: vec!["/proc/self/exe".into(), "shim".into()],
            parallel_starts: 0,
        }
    }

    fn pod_cgroup(&self, uid: &str) -> String {
        format!("/isopod/{}/{uid}", self.cluster)
    }

    /// One for all shims: it only keeps them apart from the server's.
    fn shims_cgroup(&self) -> String {
        format!("/isopod/{}/shims", self.cluster)
    }
}

/// What is known of a pod here.
struct Pod {
    uid: String,
    dir: PathBuf,
    sandbox: Mutex<PodSandboxSpec>,
    containers: Mutex<HashMap<ContainerId, watch::Sender<ContainerState>>>,
    /// Held while a shim is looked for or started.
    client: tokio::sync::Mutex<Option<Arc<ShimClient>>>,
    removing: AtomicBool,
}

struct Inner {
    config: RuntimeConfig,
    boot_id: String,
    pods: Mutex<HashMap<String, Arc<Pod>>>,
    events: broadcast::Sender<RuntimeEvent>,
    starts: Semaphore,
}

#[derive(Clone)]
pub struct ShimRuntime(Arc<Inner>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ShimRuntime {
    /// Finds the pods that are there, and connects to their shims.
    pub async fn open(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let pods_dir = paths::pods_dir(&config.data_dir);
        std::fs::create_dir_all(&pods_dir).map_err(RuntimeError::path("make", &pods_dir))?;
        let permits = match config.parallel_starts {
            0 => 2 * std::thread::available_parallelism().map_or(2, usize::from),
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
        for entry in entries {
            let entry = entry.map_err(RuntimeError::path("read", &pods_dir))?;
            if let Ok(uid) = entry.file_name().into_string() {
                runtime.recover(&uid).await?;
            }
        }
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

    fn pod_entry(&self, uid: &str) -> Arc<Pod> {
        let dir = paths::pod_dir(&self.0.config.data_dir, uid);
        let mut pods = lock(&self.0.pods);
        let entry = pods.entry(uid.to_owned()).or_insert_with(|| {
            Arc::new(Pod {
                uid: uid.to_owned(),
                dir,
                sandbox: Mutex::default(),
                containers: Mutex::default(),
                client: tokio::sync::Mutex::default(),
                removing: AtomicBool::new(false),
            })
        });
        Arc::clone(entry)
    }

    fn known_pod(&self, uid: &str) -> Result<Arc<Pod>, RuntimeError> {
        lock(&self.0.pods)
            .get(uid)
            .cloned()
            .ok_or_else(|| RuntimeError::NotFound(format!("pod {uid} not found")))
    }

    /// The shim that answers now; where none does, what ran is settled as lost and `ShimGone` returned.
    async fn connect(&self, pod: &Arc<Pod>) -> Result<Arc<ShimClient>, RuntimeError> {
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

    async fn say_hello(&self, pod: &Arc<Pod>) -> Result<Arc<ShimClient>, RuntimeError> {
        let (runtime, weak) = (Arc::downgrade(&self.0), Arc::downgrade(pod));
        let (client, hello) = ShimClient::connect(&pod.uid, &pod.dir, move |message| {
            if let (Some(runtime), Some(pod)) = (Weak::upgrade(&runtime), Weak::upgrade(&weak)) {
                Self(runtime).observe(&pod, message);
            }
        })
        .await?;
        for status in hello.containers {
            pod.note(status.id, status.state);
        }
        Ok(client)
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
    async fn settle_lost(&self, pod: &Arc<Pod>) -> Result<(), RuntimeError> {
        let path = pod.dir.join(STATE_FILE);
        let Some(mut state) = read::<ShimState>(&path).map_err(RuntimeError::path("read", &path))? else {
            return Ok(());
        };
        let rebooted = state.boot_id != self.0.boot_id;
        if !rebooted {
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
    async fn shim(&self, pod: &Arc<Pod>) -> Result<Arc<ShimClient>, RuntimeError> {
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

    async fn kill_cgroup(&self, pod: &Pod) -> Result<(), RuntimeError> {
        let cgroup = Cgroup::new(self.0.config.pod_cgroup(&pod.uid));
        tokio::task::spawn_blocking(move || cgroup.kill_and_wait(KILL_LIMIT))
            .await
            .map_err(|e| RuntimeError::Internal(e.to_string()))?
            .map_err(RuntimeError::io("kill what is left of a pod"))
    }

    /// The part of `remove_pod` that is done when no process is left.
    async fn remove_files(&self, pod: &Pod) -> Result<(), RuntimeError> {
        let (dir, config, uid) = (pod.dir.clone(), self.0.config.clone(), pod.uid.clone());
        let remove = move || -> std::io::Result<()> {
            Cgroup::new(config.pod_cgroup(&uid)).remove()?;
            sandbox::unmount(&dir)?;
            for name in paths::OWNED {
                let path = dir.join(name);
                let removed = if path.is_dir() {
                    std::fs::remove_dir_all(&path)
                } else {
                    std::fs::remove_file(&path)
                };
                match removed {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error);
                    }
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

    fn state_of(&self, pod: &Pod) -> PodState {
        let sandbox = lock(&pod.sandbox).clone();
        let answers = pod
            .client
            .try_lock()
            .is_ok_and(|slot| slot.as_ref().is_some_and(|client| !client.is_gone()));
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
            ready: answers && sandbox::is_there(&pod.dir, &sandbox),
            sandbox,
            containers,
        }
    }

    /// The wire spec: what only the runtime knows is filled in.
    fn complete(&self, pod: &Pod, spec: &ContainerSpec) -> Result<ContainerSpec, RuntimeError> {
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

    async fn wait_exit(mut state: watch::Receiver<ContainerState>) -> Result<Exit, RuntimeError> {
        let ended = state.wait_for(|s| matches!(s, ContainerState::Exited(_))).await;
        match ended.map(|state| state.clone()) {
            Ok(ContainerState::Exited(exit)) => Ok(exit),
            _ => Err(RuntimeError::NotFound("the container was removed".to_owned())),
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
    }
}

impl Pod {
    fn note(&self, id: ContainerId, state: ContainerState) {
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

    fn watch(&self, id: &ContainerId) -> Result<watch::Receiver<ContainerState>, RuntimeError> {
        let containers = lock(&self.containers);
        containers
            .get(id)
            .map(watch::Sender::subscribe)
            .ok_or_else(|| RuntimeError::NotFound(format!("container {id} not found")))
    }
}

#[async_trait]
impl Runtime for ShimRuntime {
    async fn create_sandbox(&self, spec: &PodSandboxSpec) -> Result<Sandbox, RuntimeError> {
        let pod = self.pod_entry(&spec.uid);
        let failed = |error: std::io::Error| RuntimeError::Sandbox(error.to_string());
        std::fs::create_dir_all(&pod.dir).map_err(failed)?;
        *lock(&pod.sandbox) = spec.clone();
        let record = SandboxRecord {
            boot_id: self.0.boot_id.clone(),
            sandbox: spec.clone(),
        };
        write_atomically(&pod.dir.join(SANDBOX_FILE), &record).map_err(failed)?;
        let (made, shim) = tokio::join!(sandbox::create(&pod.dir, spec), self.shim(&pod));
        made.map_err(failed)?;
        shim?;
        Ok(Sandbox {
            network_namespace: (!spec.host_network).then(|| pod.dir.join("ns/net")),
        })
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<Started, RuntimeError> {
        let pod = self.known_pod(&spec.id.pod_uid)?;
        let spec = self.complete(&pod, spec)?;
        let id = spec.id.clone();
        let shim = self.shim(&pod).await?;
        let _permit = self
            .0
            .starts
            .acquire()
            .await
            .map_err(|e| RuntimeError::Internal(e.to_string()))?;
        match shim.call(Request::Start { spec: Box::new(spec) }).await? {
            Ok(reply) => {
                pod.note(
                    id,
                    ContainerState::Running {
                        pid: reply.pid,
                        started_at_ns: reply.started_at_ns,
                    },
                );
                Ok(Started {
                    pid: reply.pid,
                    started_at_ns: reply.started_at_ns,
                    warnings: reply.warnings,
                })
            }
            Err(error) => {
                let error = RuntimeError::from_start(error);
                if let RuntimeError::Start { message } = &error {
                    let now = jiff::Timestamp::now().as_nanosecond() as i64;
                    let exit = Exit {
                        code: 128,
                        reason: ExitReason::StartError,
                        finished_at_ns: now,
                        message: message.clone(),
                        ..Exit::default()
                    };
                    pod.note(id, ContainerState::Exited(exit));
                }
                Err(error)
            }
        }
    }

    async fn signal_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let request = Request::Kill {
            container: id.clone(),
            signal,
            all: false,
        };
        self.connect(&pod)
            .await?
            .call(request)
            .await?
            .map(drop)
            .map_err(RuntimeError::from)
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        stop_signal: i32,
        grace: Duration,
    ) -> Result<Exit, RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let state = pod.watch(id)?;
        let signal = if stop_signal == 0 {
            libc::SIGTERM
        } else {
            stop_signal
        };
        let ending = Self::wait_exit(state);
        tokio::pin!(ending);
        if !grace.is_zero() {
            match self.signal_container(id, signal).await {
                // It ended, or was lost, just now: the state says so.
                Ok(()) | Err(RuntimeError::Conflict(_) | RuntimeError::ShimGone(_)) => {}
                Err(error) => return Err(error),
            }
            if let Ok(exit) = tokio::time::timeout(grace, &mut ending).await {
                return exit;
            }
        }
        let kill = Request::Kill {
            container: id.clone(),
            signal: libc::SIGKILL,
            all: true,
        };
        match self.connect(&pod).await {
            Ok(shim) => match shim.call(kill).await? {
                Ok(_) => {}
                Err(error) => match RuntimeError::from(error) {
                    RuntimeError::Conflict(_) => {}
                    error => return Err(error),
                },
            },
            Err(RuntimeError::ShimGone(_)) => {}
            Err(error) => return Err(error),
        }
        ending.await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Ok(pod) = self.known_pod(&id.pod_uid) else {
            return Ok(());
        };
        match self
            .shim(&pod)
            .await?
            .call(Request::Remove {
                container: id.clone(),
            })
            .await?
            .map_err(RuntimeError::from)
        {
            Ok(_) | Err(RuntimeError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        lock(&pod.containers).remove(id);
        Ok(())
    }

    async fn remove_log(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let path = self.log_path(id);
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
            return Ok(());
        };
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(RuntimeError::path("read", directory))?,
        };
        for entry in entries.filter_map(Result::ok) {
            let file = entry.file_name();
            let older = file.to_str().and_then(|f| f.strip_prefix(name));
            if older.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                std::fs::remove_file(entry.path()).map_err(RuntimeError::path("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        let pod = self.pod_entry(uid);
        pod.removing.store(true, Ordering::Release);
        let client = pod.client.lock().await.take().filter(|client| !client.is_gone());
        if let Some(client) = client {
            match tokio::time::timeout(SHUTDOWN_LIMIT, client.call(Request::Shutdown)).await {
                Ok(Ok(Ok(_)) | Err(RuntimeError::ShimGone(_))) => {}
                Ok(other) => tracing::warn!(pod = uid, ?other, "a shim does not end as it should"),
                Err(_) => tracing::warn!(pod = uid, "a shim did not end in time"),
            }
        }
        self.kill_cgroup(&pod).await?;
        self.remove_files(&pod).await?;
        lock(&self.0.pods).remove(uid);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<PodState>, RuntimeError> {
        let mut pods: Vec<Arc<Pod>> = lock(&self.0.pods).values().cloned().collect();
        pods.sort_by(|a, b| a.uid.cmp(&b.uid));
        Ok(pods.iter().map(|pod| self.state_of(pod)).collect())
    }

    async fn pod(&self, uid: &str) -> Result<Option<PodState>, RuntimeError> {
        let pod = lock(&self.0.pods).get(uid).cloned();
        Ok(pod.map(|pod| self.state_of(&pod)))
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let io = |error: std::io::Error| RuntimeError::io("make a stream")(error);
        let (mut theirs, mut stdin, mut stdout, mut stderr) = (Vec::new(), None, None, None);
        if !spec.tty {
            if spec.stdin {
                let (reader, writer) = fds::pipe().map_err(io)?;
                theirs.push(reader);
                stdin = Some(Box::new(FdStream::new(writer).map_err(io)?) as Writer);
            }
            for (wanted, slot) in [(spec.stdout, &mut stdout), (spec.stderr, &mut stderr)] {
                if wanted {
                    let (reader, writer) = fds::pipe().map_err(io)?;
                    theirs.push(writer);
                    *slot = Some(Box::new(FdStream::new(reader).map_err(io)?) as Reader);
                }
            }
        }
        let request = Request::Exec {
            container: id.clone(),
            spec: Box::new(spec.clone()),
        };
        let (connection, answer) = StreamConnection::open(&pod.uid, &pod.dir, request, &theirs).await?;
        drop(theirs);
        let terminal = answer.map_err(RuntimeError::from_exec)?;
        let mut resize = None;
        if let Some(master) = terminal.filter(|_| spec.tty) {
            let clone = |fd: &OwnedFd| fd.try_clone().map_err(io);
            stdin = spec
                .stdin
                .then(|| FdStream::new(clone(&master)?).map_err(io))
                .transpose()?
                .map(|s| Box::new(s) as Writer);
            stdout = Some(Box::new(FdStream::new(clone(&master)?).map_err(io)?) as Reader);
            resize = Some(Box::new(move |size| fds::resize(master.as_raw_fd(), size)) as stream::Resizer);
        }
        let (mut sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // Whoever drops the session drops the connection, and the shim kills the process.
            let ended = tokio::select! {
                ended = connection.exec_exit() => ended,
                () = sender.closed() => None,
            };
            if let Some((code, signal)) = ended
                && sender.send(ExecExit { code, signal }).is_err()
            {
                tracing::debug!("nobody waits for an exec's end");
            }
        });
        Ok(ExecSession {
            stdin,
            stdout,
            stderr,
            resize,
            exit: ExecEnd::new(receiver),
        })
    }

    async fn attach(&self, id: &ContainerId, streams: AttachStreams) -> Result<AttachSession, RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let io = |error: std::io::Error| RuntimeError::io("make a stream")(error);
        let (mut theirs, mut stdout, mut stderr) = (Vec::new(), None, None);
        for (wanted, slot) in [(streams.stdout, &mut stdout), (streams.stderr, &mut stderr)] {
            if wanted {
                let (reader, writer) = fds::pipe().map_err(io)?;
                theirs.push(writer);
                *slot = Some(Box::new(FdStream::new(reader).map_err(io)?) as Reader);
            }
        }
        let AttachStreams {
            stdin,
            stdout: out,
            stderr: err,
        } = streams;
        let request = Request::Attach {
            container: id.clone(),
            stdin,
            stdout: out,
            stderr: err,
        };
        let (connection, answer) = StreamConnection::open(&pod.uid, &pod.dir, request, &theirs).await?;
        drop(theirs);
        let input = answer.map_err(RuntimeError::from)?;
        let mut resize = None;
        if let Some(input) = &input {
            let terminal = input.try_clone().map_err(io)?;
            if nix::unistd::isatty(&terminal).unwrap_or(false) {
                resize =
                    Some(Box::new(move |size| fds::resize(terminal.as_raw_fd(), size)) as stream::Resizer);
            }
        }
        let stdin = input
            .map(FdStream::new)
            .transpose()
            .map_err(io)?
            .map(|s| Box::new(s) as Writer);
        Ok(AttachSession {
            stdin,
            stdout,
            stderr,
            resize,
            guard: AttachGuard::new(connection.into_socket()),
        })
    }

    async fn dial(&self, uid: &str, port: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        let pod = self.known_pod(uid)?;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let host_network = lock(&pod.sandbox).host_network;
        let failed = || RuntimeError::io(format!("connect to port {port} of pod {uid}"));
        if host_network {
            return tokio::net::TcpStream::connect(address).await.map_err(failed());
        }
        let socket = sandbox::socket_in(&pod.dir.join("ns/net"))
            .await
            .map_err(failed())?;
        socket.connect(address).await.map_err(failed())
    }

    async fn usage(&self, uid: &str) -> Result<PodUsage, RuntimeError> {
        let pod = self.known_pod(uid)?;
        let running: Vec<String> = lock(&pod.containers)
            .iter()
            .filter(|(_, state)| matches!(*state.borrow(), ContainerState::Running { .. }))
            .map(|(id, _)| id.name.clone())
            .collect();
        let mut usage = PodUsage::default();
        for name in running {
            let cgroup = Cgroup::new(format!("{}/{name}", self.0.config.pod_cgroup(uid)));
            if let Some(used) = cgroup.usage() {
                usage.total += used;
                usage.containers.push((name, used));
            }
        }
        usage.containers.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(usage)
    }

    fn log_path(&self, id: &ContainerId) -> PathBuf {
        paths::log_path(
            &paths::pod_dir(&self.0.config.data_dir, &id.pod_uid),
            &id.name,
            id.attempt,
        )
    }

    async fn termination_message(&self, id: &ContainerId) -> Result<String, RuntimeError> {
        use std::io::Read;
        let path = paths::termination_path(
            &paths::pod_dir(&self.0.config.data_dir, &id.pod_uid),
            &id.name,
            id.attempt,
        );
        let mut text = Vec::new();
        let file = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
            other => other.map_err(RuntimeError::path("open", &path))?,
        };
        file.take(TERMINATION_MESSAGE_LIMIT)
            .read_to_end(&mut text)
            .map_err(RuntimeError::path("read", &path))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn subscribe(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.0.events.subscribe()
    }
}
