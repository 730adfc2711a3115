//! What an agent is made of: who it is, and the parts of the machine that it uses.

use super::network::PodNetwork;
use crate::images::Images;
use crate::runtime::Runtime;
use kinds::Registry;
use meta::{Client, Env};
use std::path::PathBuf;
use std::sync::Arc;

/// A node as the cluster sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeIdentity {
    pub name: String,
    /// `InternalIP` addresses; the first is the `hostIP` of its pods.
    pub ips: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// One real node, or any number of simulated ones; at least one.
    pub nodes: Vec<NodeIdentity>,
    /// Absolute; pods lie in `pods/` below it, claims in `volumes/`.
    pub data_dir: PathBuf,
    pub cluster_domain: String,
    /// isopod's own version, shown as `isopod://<version>`.
    pub version: String,
    pub max_pods: u32,
}

/// The agent's surroundings. Without `images` there are no files at all: the nodes are simulated.
#[derive(Clone)]
pub struct Parts {
    pub config: AgentConfig,
    pub client: Arc<dyn Client>,
    pub env: Arc<dyn Env>,
    pub rows: Arc<dyn Fn() -> Registry + Send + Sync>,
    pub runtime: Arc<dyn Runtime>,
    pub network: Arc<dyn PodNetwork>,
    pub images: Option<Images>,
}

impl AgentConfig {
    pub fn new(node: NodeIdentity, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            nodes: vec![node],
            data_dir: data_dir.into(),
            cluster_domain: "cluster.local".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            max_pods: 110,
        }
    }
}
