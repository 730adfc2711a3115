//! What all of an agent's tasks share: the parts, the pods with their mailboxes, and the recorder of events.

use super::config::{AgentConfig, NodeIdentity, Parts};
use super::events::Recorder;
use super::mailbox::Mailbox;
use super::network::PodNetwork;
use crate::images::Images;
use crate::machine::{PodView, Refusal};
use crate::runtime::Runtime;
use crate::volumes::{Facts, Needed, TokenRequest, Volumes};
use meta::{Client, Env, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pods whose disk work (layers, mounts, volumes) is done at the same time.
const DISK_WORK_AT_ONCE: usize = 16;

pub struct Shell {
    pub config: AgentConfig,
    pub client: Arc<dyn Client>,
    pub env: Arc<dyn Env>,
    pub runtime: Arc<dyn Runtime>,
    pub network: Arc<dyn PodNetwork>,
    pub images: Option<Images>,
    pub volumes: Volumes,
    pub recorder: Recorder,
    pub tasks: TaskTracker,
    /// By uid.
    pods: Mutex<HashMap<String, PodHandle>>,
    disk: Semaphore,
    /// No pod is taken on any more.
    pub switching_off: AtomicBool,
    /// What the node offers, once it is known.
    pub allocatable: BTreeMap<String, String>,
}

/// A pod's service account tokens, and when each is to be renewed.
pub type Tokens = Mutex<BTreeMap<TokenRequest, (String, Timestamp)>>;

/// A pod that has a worker.
#[derive(Clone)]
pub struct PodHandle {
    pub namespace: String,
    pub name: String,
    pub mailbox: Arc<Mailbox>,
    pub needed: Arc<Needed>,
    pub tokens: Arc<Tokens>,
    /// Why there is no room for it here: reason and message.
    pub refused: Option<Refusal>,
    /// Cancelled when nothing of the pod is left here.
    pub over: CancellationToken,
}

impl Shell {
    pub fn new(parts: Parts, tasks: TaskTracker) -> Self {
        let Parts {
            config,
            client,
            env,
            rows,
            runtime,
            network,
            images,
        } = parts;
        let (recorder, writing) = Recorder::new(client.clone(), env.clone(), rows);
        // It ends with the last recorder, so nobody waits for it.
        tokio::spawn(writing);
        Self {
            volumes: Volumes::new(&config.data_dir),
            allocatable: super::node::allocatable(&config),
            config,
            client,
            env,
            runtime,
            network,
            images,
            recorder,
            tasks,
            pods: Mutex::default(),
            disk: Semaphore::new(DISK_WORK_AT_ONCE),
            switching_off: AtomicBool::new(false),
        }
    }

    pub fn is_simulated(&self) -> bool {
        self.images.is_none()
    }

    pub fn pods(&self) -> MutexGuard<'_, HashMap<String, PodHandle>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn node(&self, name: &str) -> Option<&NodeIdentity> {
        // Real agents have one; simulated ones ask rarely enough.
        self.config.nodes.iter().find(|node| node.name == name)
    }

    /// Where the volumes of claims lie, unless their class says otherwise.
    pub fn volumes_folder(&self) -> PathBuf {
        self.config.data_dir.join("volumes")
    }

    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        crate::runtime::paths::pod_dir(&self.config.data_dir, uid)
    }

    pub fn facts(&self, pod: &PodView, ips: &[String]) -> Facts {
        let host_ips = self
            .node(&pod.node)
            .map(|node| node.ips.clone())
            .unwrap_or_default();
        Facts {
            pod_ips: if pod.host_network {
                host_ips.clone()
            } else {
                ips.to_vec()
            },
            host_ips,
            node_name: pod.node.clone(),
            allocatable: self.allocatable.clone(),
        }
    }

    /// Runs blocking work off the async threads, a bounded number at a time.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let _permit = self.disk.acquire().await.map_err(|e| e.to_string())?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| format!("a task of the node ended early: {e}"))
    }
}
