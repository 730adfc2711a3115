//! Containers for the pod machine: the `Runtime` trait, the real one (`ShimRuntime`: a shim a pod) and a scriptable
//! one (`FakeRuntime`) for simulated nodes and tests.

pub mod cgroup;
mod client;
mod config;
mod error;
pub mod fake;
pub mod logs;
pub mod paths;
mod pods;
mod sandbox;
mod sessions;
mod shim_runtime;
pub mod spec;
pub mod stream;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub use cgroup::Usage;
pub use config::RuntimeConfig;
pub use error::RuntimeError;
pub use fake::FakeRuntime;
pub use pods::ShimRuntime;
pub use spec::{
    ContainerId, ContainerSpec, ContainerState, ContainerStatus, ExecSpec, Exit, ExitReason, LogRotation,
    Mount, PodSandboxSpec, PodState, Propagation, Resources, Seccomp, TerminalSize, User,
};
pub use stream::{AttachSession, ExecExit, ExecSession};

/// What happened without being asked for, in order for each container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    Started {
        id: ContainerId,
        pid: i32,
        started_at_ns: i64,
    },
    Exited {
        id: ContainerId,
        exit: Exit,
    },
    /// The pod's shim died; `Exited` of what it held came before this.
    ShimGone {
        pod_uid: String,
    },
}

/// A started container. `warnings` are worth an event, no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    pub pid: i32,
    pub started_at_ns: i64,
    pub warnings: Vec<String>,
}

/// A pod's surroundings, ready for the network room and for containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// A path to join; with `hostNetwork` it leads to the node's.
    pub network_namespace: PathBuf,
}

/// What a pod uses, by container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    pub containers: Vec<(String, Usage)>,
    pub total: Usage,
}

/// Which of a container's streams an attachment takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachStreams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// The machine's containers. All calls may be repeated: a repeated one finds its work done or says `Conflict`.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Makes the pod's namespaces and its shim, or what is missing of them.
    async fn create_sandbox(&self, spec: &PodSandboxSpec) -> Result<Sandbox, RuntimeError>;

    /// Creates and starts; returns when the command has been executed. `RuntimeError::Start` counts as an end of
    /// the container (StartError, 128), `RuntimeError::Create` as none.
    async fn start_container(&self, spec: &ContainerSpec) -> Result<Started, RuntimeError>;

    /// Sends a signal to the container's first process.
    async fn signal_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError>;

    /// The stop signal (0: SIGTERM), then SIGKILL to all of it after the grace period. Returns when it has ended.
    async fn stop_container(
        &self,
        id: &ContainerId,
        stop_signal: i32,
        grace: Duration,
    ) -> Result<Exit, RuntimeError>;

    /// Waits for the container's end.
    async fn wait_container(&self, id: &ContainerId) -> Result<Exit, RuntimeError>;

    /// Forgets an ended container; its log stays for `--previous` until `remove_log`.
    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Deletes an attempt's log.
    async fn remove_log(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Ends all of a pod and gives back what it takes of the machine: processes, cgroups, mounts, namespaces. Logs and
    /// how its containers ended stay until `remove_pod`.
    async fn release_pod(&self, uid: &str) -> Result<(), RuntimeError>;

    /// Ends and removes all of a pod: processes, cgroups, mounts, namespaces, files. Half-made, unknown and
    /// half-removed pods are fine.
    async fn remove_pod(&self, uid: &str) -> Result<(), RuntimeError>;

    /// All pods that have something here, after a restart of the server or the machine too.
    async fn list(&self) -> Result<Vec<PodState>, RuntimeError>;

    async fn pod(&self, uid: &str) -> Result<Option<PodState>, RuntimeError>;

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError>;

    async fn attach(&self, id: &ContainerId, streams: AttachStreams) -> Result<AttachSession, RuntimeError>;

    /// A TCP connection to a port on the pod's own loopback (port-forward).
    async fn dial(&self, uid: &str, port: u16) -> Result<tokio::net::TcpStream, RuntimeError>;

    async fn usage(&self, uid: &str) -> Result<PodUsage, RuntimeError>;

    /// Where the container's log is (`logs::read`).
    fn log_path(&self, id: &ContainerId) -> PathBuf;

    /// What the container wrote to its termination message file, at most 4096 bytes.
    async fn termination_message(&self, id: &ContainerId) -> Result<String, RuntimeError>;

    /// How a simulated container answers its probes; real ones are asked themselves.
    fn is_well(&self, _: &ContainerId) -> bool {
        true
    }

    /// Events from now on. A receiver that lags by more than 4096 is told so and must `list`.
    fn subscribe(&self) -> tokio::sync::broadcast::Receiver<RuntimeEvent>;
}
