//! What a runtime is told of the machine and the cluster.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Shims answer in milliseconds; a machine that is at its limits gets time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Absolute; pods lie in `pods/` below it.
    pub data_dir: PathBuf,
    /// The cluster's name: its cgroups are `/isopod/<cluster>/…`.
    pub cluster: String,
    /// The network namespace that `hostNetwork` pods share; this process's until somebody says otherwise.
    pub node_netns: PathBuf,
    /// Program and first arguments of a shim: usually `/proc/self/exe shim`.
    pub shim_command: Vec<OsString>,
    /// How many containers are made at the same time; 0: four times the processors.
    pub parallel_starts: usize,
    /// A shim that says nothing for so long (it is stopped, or hangs) counts as lost, and is killed.
    pub answer_limit: Duration,
}

impl RuntimeConfig {
    pub fn new(data_dir: impl Into<PathBuf>, cluster: &str) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster: cluster.to_owned(),
            node_netns: "/proc/self/ns/net".into(),
            shim_command: vec!["/proc/self/exe".into(), "shim".into()],
            parallel_starts: 0,
            answer_limit: ANSWER_LIMIT,
        }
    }

    pub(super) fn pod_cgroup(&self, uid: &str) -> String {
        format!("/isopod/{}/{uid}", self.cluster)
    }

    /// One for all shims: it only keeps them apart from the server's.
    pub(super) fn shims_cgroup(&self) -> String {
        format!("/isopod/{}/shims", self.cluster)
    }
}
