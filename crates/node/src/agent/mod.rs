//! The node agent: the pod machine's shell. It watches the pods of its node (or of many simulated ones), runs what the
//! machine decides, and tells the API what came of it. Every wake is an event or a time that the machine asked for.

mod apparmor;
mod config;
mod container;
mod dispatch;
mod events;
mod files;
mod hooks;
mod images;
mod mailbox;
mod network;
mod node;
mod perform;
mod reclaim;
mod resources;
mod sessions;
mod shell;
mod sources;
mod worker;

pub use config::{AgentConfig, NodeIdentity, Parts};
pub use network::{NoNetwork, PodNetwork};
pub use node::forget_others;
pub use sessions::{LogStream, SessionError};

use crate::images::Images;
use meta::Status;
use shell::Shell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A running agent. Dropping it leaves it running; `stop` ends it and leaves the pods running.
#[derive(Clone)]
pub struct Agent {
    shell: Arc<Shell>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot read what the container runtime has: {0}")]
    Runtime(#[from] crate::runtime::RuntimeError),
    #[error("cannot watch the images: {0}")]
    Images(#[from] crate::images::Error),
    #[error("cannot register node {node}: {status}")]
    Register { node: String, status: Status },
}

impl Agent {
    /// Registers the node, adopts what runs already, removes what nobody knows, and goes to work. Needs tokio.
    pub async fn start(parts: Parts) -> Result<Self, AgentError> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shell = Arc::new(Shell::new(parts, tasks.clone()));
        // Before the first report, so that nothing is missed between the two.
        let images = shell.images.as_ref().map(Images::watch).transpose()?;
        node::register(&shell).await?;
        dispatch::start(&shell, &stop, &tasks).await?;
        tasks.spawn(node::keep_alive(shell.clone(), stop.clone()));
        if let Some(watch) = images {
            tasks.spawn(node::follow_images(shell.clone(), watch, stop.clone()));
            tasks.spawn(reclaim::run(shell.clone(), stop.clone()));
        }
        Ok(Self { shell, stop, tasks })
    }

    /// The (first) node's name.
    pub fn name(&self) -> &str {
        &self.shell.config.nodes[0].name
    }

    /// Ends the agent's tasks. Pods run on.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends the containers of all pods as their deletion would (preStop, stop signal, grace period), and returns when
    /// none runs any more. The pods stay as they are in the API, and no further ones are taken on.
    pub async fn switch_off(&self) {
        let pods: Vec<_> = {
            let pods = self.shell.pods();
            self.shell.switching_off.store(true, Ordering::Release);
            pods.values().cloned().collect()
        };
        for pod in &pods {
            pod.mailbox.put(|mail| mail.switch_off = true);
        }
        for pod in pods {
            pod.over.cancelled().await;
        }
    }

    /// Takes away everything that a pod has on this node, whatever the API says of it: for the removal of a cluster.
    /// Only when the agent has stopped.
    pub async fn remove_pod(&self, uid: &str) -> Result<(), String> {
        self.shell.remove_pod(uid).await
    }

    pub(super) fn shell(&self) -> &Shell {
        &self.shell
    }
}
