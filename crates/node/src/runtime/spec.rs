//! What the pod machine asks a runtime for: a sandbox, containers, processes in them.
//! All types are extensible (`serde(default)`): an older shim ignores what it does not know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A pod's shared surroundings: its namespaces, host name and shared memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandboxSpec {
    pub uid: String,
    /// Host name inside the pod.
    pub hostname: String,
    /// The pod shares the node's network namespace (`RuntimeConfig::node_netns`).
    pub host_network: bool,
    pub host_ipc: bool,
    pub host_pid: bool,
    pub share_process_namespace: bool,
    /// Size of the pod's `/dev/shm`; 0 means 64 MiB, as containerd's default.
    pub shm_size_bytes: u64,
}

/// One container of one pod in one of its lives (`attempt` counts restarts from 0).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerId {
    pub pod_uid: String,
    pub name: String,
    pub attempt: u32,
}

impl ContainerId {
    pub fn new(pod_uid: &str, name: &str, attempt: u32) -> Self {
        Self {
            pod_uid: pod_uid.to_owned(),
            name: name.to_owned(),
            attempt,
        }
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}#{}", self.pod_uid, self.name, self.attempt)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Propagation {
    #[default]
    None,
    HostToContainer,
    Bidirectional,
}

/// A bind mount of a host path (file or directory) into the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub source: PathBuf,
    pub destination: PathBuf,
    pub read_only: bool,
    /// … and all that is mounted below.
    pub recursive_read_only: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub supplementary_groups: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
}

/// Limits; `None` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub cpu_shares: Option<u64>,
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    /// Swap gets the same limit: no swap beyond it.
    pub memory_limit_bytes: Option<i64>,
    pub pids_limit: Option<i64>,
    /// Lowering needs CAP_SYS_RESOURCE; where it is missing the runtime warns and goes on.
    pub oom_score_adj: Option<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    pub id: ContainerId,
    /// The root file system, already mounted. The runtime never unmounts it.
    pub rootfs: PathBuf,
    /// In order: later ones may lie below earlier ones. `/etc/hosts` and the like are ordinary mounts.
    pub mounts: Vec<Mount>,
    pub args: Vec<String>,
    /// In order; the last of a repeated name wins.
    pub env: Vec<(String, String)>,
    /// Made (mode 0755) when the image lacks it; empty means `/`.
    pub cwd: String,
    pub user: User,
    /// Names with or without `CAP_`; `ALL` is understood.
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub privileged: bool,
    pub read_only_root_filesystem: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// `procMount: Unmasked` turns the masked and read-only paths off.
    pub unmasked_proc: bool,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub resources: Resources,
    /// Of all of the pod's containers together.
    pub pod_resources: Resources,
    /// Absolute path inside the container; the file is made by the runtime. Empty: none.
    pub termination_message_path: String,
    pub sysctls: BTreeMap<String, String>,
    /// Filled by the runtime from the sandbox.
    pub sandbox: PodSandboxSpec,
    /// Filled by the runtime: `/isopod/<cluster>/<pod uid>/<container>`.
    pub cgroup_path: String,
    pub log: LogRotation,
}

/// When a container's log rotates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRotation {
    pub max_size_bytes: u64,
    /// The current file counts.
    pub max_files: u32,
}

impl Default for LogRotation {
    fn default() -> Self {
        // kubelet's containerLogMaxSize and containerLogMaxFiles.
        Self {
            max_size_bytes: 10 << 20,
            max_files: 5,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

/// A further process in a running container. What is `None` is as the container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    pub args: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<(String, String)>,
    pub cwd: Option<String>,
    pub user: Option<User>,
    pub tty: bool,
    /// Which streams the caller wants; a tty has no separate stderr.
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub size: Option<TerminalSize>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// As a shell counts: 128 + signal where a signal ended it.
    pub code: i32,
    /// The signal that ended the process, 0 where it exited by itself.
    pub signal: i32,
    pub oom_killed: bool,
    pub reason: ExitReason,
    /// Nanoseconds since the epoch.
    pub started_at_ns: i64,
    pub finished_at_ns: i64,
    /// What went wrong, for `StartError` and the like.
    pub message: String,
    /// It ended because its node was switched off (`ShimRuntime::switch_off`).
    pub interrupted: bool,
}

impl Exit {
    /// A container whose command never ran, as containerd counts it.
    pub fn start_error(message: &str, now_ns: i64) -> Self {
        Self {
            code: 128,
            reason: ExitReason::StartError,
            finished_at_ns: now_ns,
            message: message.to_owned(),
            ..Self::default()
        }
    }
}

/// Kubernetes' `reason` of a terminated container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    Completed,
    #[default]
    Error,
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// It never ran: the command is missing, the working directory is not one, and so on.
    StartError,
    /// Its shim is gone and with it the exit code (a reboot: code 255; a killed shim: 137).
    ContainerStatusUnknown,
}

impl ExitReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::StartError => "StartError",
            Self::ContainerStatusUnknown => "ContainerStatusUnknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ContainerState {
    Creating,
    Running { pid: i32, started_at_ns: i64 },
    Exited(Exit),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub id: ContainerId,
    #[serde(flatten)]
    pub state: ContainerState,
}

/// What the runtime knows of one pod, after a restart of the server or of the machine too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    pub uid: String,
    pub sandbox: PodSandboxSpec,
    /// The sandbox still stands (namespaces mounted and the shim answers); otherwise only results are left.
    pub ready: bool,
    pub containers: Vec<ContainerStatus>,
}
