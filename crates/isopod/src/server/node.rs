//! The node agent's wiring: its containers, images and network, and the API's way to running pods.

use super::caller;
use crate::place::{Place, Settings};
use anyhow::{Context, Result};
use apiserver::Api;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::PodDNSConfig;
use meta::{Client, Env};
use net::ClusterNet;
use net::dns::{DnsPolicy, PodDnsConfig};
use node::agent::{Agent, AgentConfig, NoNetwork, NodeIdentity, Parts, PodNetwork, forget_others};
use node::images::Images;
use node::runtime::fake::Behaviour;
use node::runtime::{FakeRuntime, RuntimeConfig, ShimRuntime};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;

/// From a simulated container's creation to its start, and from there to its first good probe.
const SIMULATED_START_NS: i64 = 20_000_000;
const SIMULATED_READY_NS: i64 = 50_000_000;

/// The agents of this machine: the real node's, and the simulated nodes' if there are any.
pub struct Agents {
    pub real: Agent,
    simulated: Option<Agent>,
}

/// Starts the agents; returns when pods can run.
pub async fn start(
    place: &Place,
    settings: &Settings,
    api: &Api,
    env: &Arc<dyn Env>,
    net: &Arc<ClusterNet>,
) -> Result<Agents> {
    let config = RuntimeConfig {
        node_netns: net.namespace_path(),
        ..RuntimeConfig::new(&place.dir, &place.name)
    };
    let runtime = ShimRuntime::open(config).await;
    let runtime = Arc::new(runtime.context("cannot take over the pods that run")?);
    let images = Images::open(&place.dir, settings.registry_config()).context("cannot open the images")?;
    let identity = NodeIdentity {
        name: place.name.clone(),
        ips: vec![net.config().node_ip.to_string()],
    };
    let config = AgentConfig::new(identity, &place.dir);
    let network = Arc::new(Network { net: net.clone() });
    let real = Agent::start(parts(api, env, config, runtime, network, Some(images))).await?;
    api.set_node(Arc::new(super::sessions::Sessions { agent: real.clone() }));
    let nodes: Vec<NodeIdentity> = (0..settings.simulated_nodes).map(simulated_node).collect();
    let simulated = match settings.simulated_nodes {
        0 => None,
        _ => {
            let config = AgentConfig {
                nodes,
                ..AgentConfig::new(simulated_node(0), &place.dir)
            };
            let runtime = Arc::new(simulated_runtime(env));
            Some(
                Agent::start(parts(
                    api,
                    env,
                    config,
                    runtime,
                    Arc::new(NoNetwork::default()),
                    None,
                ))
                .await?,
            )
        }
    };
    Ok(Agents { real, simulated })
}

fn simulated_node(i: u32) -> NodeIdentity {
    NodeIdentity {
        name: format!("simulated-{i}"),
        ips: vec![format!("198.19.{}.{}", i / 256, i % 256)],
    }
}

/// Forgets the nodes that were here last time and are not now. To be done before anything is scheduled: what is placed on a
/// node in the moment that it goes would wait there until the collector of pods is sure of it.
pub async fn forget_gone(place: &Place, settings: &Settings, client: &dyn Client) {
    let simulated = (0..settings.simulated_nodes).map(|i| simulated_node(i).name);
    let keep: Vec<String> = simulated.chain([place.name.clone()]).collect();
    forget_others(client, &keep).await;
}

/// Containers of simulated nodes: about as quick as real ones with small images, and always well from then on.
fn simulated_runtime(env: &Arc<dyn Env>) -> FakeRuntime {
    let runtime = FakeRuntime::timed(env.clone());
    runtime.set_script(|_| Behaviour {
        start_after_ns: SIMULATED_START_NS,
        ready_after_ns: SIMULATED_READY_NS,
        ..Behaviour::server()
    });
    runtime
}

impl Agents {
    pub fn name(&self) -> &str {
        self.real.name()
    }

    /// Ends all pods' containers; the pods themselves stay as they are.
    pub async fn switch_off(&self) {
        self.real.switch_off().await;
    }

    /// Pods run on.
    pub async fn stop(&self) {
        self.real.stop().await;
        if let Some(simulated) = &self.simulated {
            simulated.stop().await;
        }
    }
}

fn parts(
    api: &Api,
    env: &Arc<dyn Env>,
    config: AgentConfig,
    runtime: Arc<dyn node::runtime::Runtime>,
    network: Arc<dyn PodNetwork>,
    images: Option<Images>,
) -> Parts {
    let name = config.nodes.first().map(|n| n.name.clone()).unwrap_or_default();
    let registry = api.clone();
    Parts {
        client: api.client(caller(&format!("system:node:{name}"), &["system:nodes"])),
        env: env.clone(),
        rows: Arc::new(move || (*registry.registry()).clone()),
        config,
        runtime,
        network,
        images,
    }
}

/// The cluster's network as the agent knows it.
struct Network {
    net: Arc<ClusterNet>,
}

#[async_trait]
impl PodNetwork for Network {
    async fn attach(&self, pod_uid: &str, netns: &Path) -> Result<Vec<IpAddr>, String> {
        let ip = self.net.attach(pod_uid, netns).await.map_err(|e| e.to_string())?;
        Ok(vec![IpAddr::V4(ip)])
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), String> {
        self.net.detach(pod_uid).await.map_err(|e| e.to_string())
    }

    fn resolv_conf(&self, namespace: &str, policy: &str, config: Option<&PodDNSConfig>) -> String {
        let policy = match policy {
            "Default" => DnsPolicy::Default,
            "None" => DnsPolicy::None,
            _ => DnsPolicy::ClusterFirst,
        };
        let own = config.cloned().unwrap_or_default();
        let options = own
            .options
            .unwrap_or_default()
            .into_iter()
            .filter_map(|o| Some((o.name?, o.value)));
        let own = PodDnsConfig {
            nameservers: own.nameservers.unwrap_or_default(),
            searches: own.searches.unwrap_or_default(),
            options: options.collect(),
        };
        // A host without the file has no resolvers to pass on.
        let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        net::resolv_conf(
            policy,
            namespace,
            self.net.config().dns_ip,
            "cluster.local",
            &own,
            &host,
        )
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        match to {
            SocketAddr::V4(to) => self.net.dial(to).await,
            SocketAddr::V6(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the cluster's network is IPv4",
            )),
        }
    }
}
