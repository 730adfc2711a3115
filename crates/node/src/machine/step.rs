//! The closed list of what a node does for a pod, how each can turn out, and what is told about it.

use super::observed::Ended;
use super::probe::ProbeKind;
use crate::runtime::User;
use meta::Timestamp;

/// One thing to do. Steps of one decision are independent of each other and may run at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All volumes, from newest sources; idempotent.
    SetUpVolumes,
    /// Namespaces, shim and network of the pod, or what is missing of them; idempotent.
    CreateSandbox,
    PullImage {
        container: String,
    },
    /// Makes the root file system, environment and mounts, and starts this attempt.
    StartContainer {
        container: String,
        attempt: u32,
    },
    PostStart {
        container: String,
        attempt: u32,
    },
    /// preStop hook, stop signal, and SIGKILL at the deadline.
    StopContainer {
        container: String,
        attempt: u32,
        deadline: Timestamp,
        reason: StopReason,
    },
    Probe {
        container: String,
        attempt: u32,
        kind: ProbeKind,
    },
    /// The pod's work is done for good: its processes, sandbox, network and volumes go; logs and exit statuses stay.
    Release,
    /// Takes away everything that the pod has on this node.
    TearDown,
    /// Deletes the API object, for good.
    DeletePod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    PodEnds,
    Liveness,
    Startup,
    PostStartFailed,
    /// The pod says another image now.
    Changed,
}

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// There is no container: `CreateContainerConfigError` or `CreateContainerError`.
    Create { reason: &'static str, message: String },
    /// It counts as ended: `RunContainerError`, exit code 128.
    Run { message: String },
    /// The sandbox is not there (any more).
    NoSandbox,
}

/// How a step turned out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; for steps that have nothing to tell.
    Done,
    /// It failed and will be tried again. The message is the event's.
    Failed(String),
    Volumes {
        /// When a token in them must be renewed.
        refresh_at: Option<Timestamp>,
    },
    Sandbox {
        ips: Vec<String>,
    },
    Image {
        name: String,
        id: String,
        /// The `Pulled` event's text.
        message: String,
    },
    /// Reason (`ErrImagePull`, `InvalidImageName`, `ImageInspectError`, `ErrImageNeverPull`) and text.
    NoImage {
        reason: &'static str,
        message: String,
    },
    Started {
        at: Timestamp,
        /// Whose process it is; a simulated one is nobody's.
        user: Option<User>,
    },
    NotStarted(StartFailure),
    Stopped(Option<Ended>),
    Probed(Result<(), String>),
    Hook(Result<(), String>),
}

/// A core/v1 Event about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
    /// `spec.containers{name}`
    pub field_path: Option<String>,
}

impl Step {
    pub fn is_start(&self) -> bool {
        matches!(self, Self::StartContainer { .. })
    }

    pub fn container(&self) -> Option<&str> {
        match self {
            Self::PullImage { container }
            | Self::StartContainer { container, .. }
            | Self::PostStart { container, .. }
            | Self::StopContainer { container, .. }
            | Self::Probe { container, .. } => Some(container),
            Self::SetUpVolumes | Self::CreateSandbox | Self::Release | Self::TearDown | Self::DeletePod => {
                None
            }
        }
    }
}
