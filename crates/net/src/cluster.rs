//! One cluster's network, opened: its namespace, the sockets made in there, its pods and its Services.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nlink::netlink::Route;
use nlink::netlink::types::route::{RouteScope, RouteType};
use nlink::{Connection, Ipv4Address, Ipv4Route, RuleBuilder};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Mutex;

use crate::config::{ConfigError, NetConfig, run_dir};
use crate::namespace::{self, NamespaceError};
use crate::nft::Backend;
use crate::pods::{PodError, Pods, set_sysctl, set_sysctl_or_warn};
use crate::ruleset::Ruleset;
use crate::services::Service;
use crate::sockets::Sockets;
use crate::table::{EGRESS_MARK, Table};

/// The routing table for packets that TPROXY marked.
const EGRESS_TABLE: u32 = 100;
/// The routing table for the outside, as the node itself sees it; pods have no route there.
const OUTSIDE_TABLE: u32 = 101;
/// Behind the main table, which the kernel has at 32766.
const OUTSIDE_PRIORITY: u32 = 33_000;

/// Why the network cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Pod(#[from] PodError),
    #[error("cannot set {name} in the network namespace of cluster {cluster}: {source}")]
    Sysctl {
        cluster: String,
        name: &'static str,
        source: io::Error,
    },
    #[error("cannot {what} in the network namespace of cluster {cluster}: {source}")]
    Setup {
        cluster: String,
        what: &'static str,
        source: nlink::Error,
    },
    #[error(
        "cannot change the service rules of cluster {cluster}: {source}; isopod needs nftables in the kernel"
    )]
    Rules { cluster: String, source: nlink::Error },
}

/// The network of one cluster. Dropping it leaves everything as it is; [`ClusterNet::remove`] takes it away.
pub struct ClusterNet {
    config: NetConfig,
    namespace: File,
    sockets: Sockets,
    pods: Pods,
    rules: Mutex<Backend>,
}

impl ClusterNet {
    /// Creates the network, or finds it again after a restart of the server. Idempotent; the
    /// caller makes sure that one process has it open. Needs root and a tokio runtime with IO.
    pub async fn open(config: NetConfig) -> Result<Self, NetError> {
        config.validate()?;
        let (namespace, new) = namespace::open_or_create(&config.run_dir())?;
        tracing::debug!(cluster = %config.cluster, new, "network namespace is there");
        let clone = |file: &File| file.try_clone().map_err(NamespaceError::Thread);
        let sockets = Sockets::start(clone(&namespace)?).await?;
        set_up(&config, &namespace, &sockets).await?;
        let pods = Pods::open(&config, &namespace).await?;
        let rules = Backend::open(&namespace, Table::new(&config)).await;
        let rules = rules.map_err(|source| NetError::Rules {
            cluster: config.cluster.clone(),
            source,
        })?;
        Ok(Self {
            config,
            namespace,
            sockets,
            pods,
            rules: Mutex::new(rules),
        })
    }

    /// Removes the network of the cluster in `data_dir`, also one that was left half-made. Idempotent.
    /// The caller ends the cluster's processes first: a process inside keeps its namespace alive.
    pub fn remove(data_dir: &Path) -> Result<(), NamespaceError> {
        namespace::remove(&run_dir(data_dir))
    }

    pub fn config(&self) -> &NetConfig {
        &self.config
    }

    /// The cluster's namespace, for those who want to enter it.
    pub fn namespace(&self) -> &File {
        &self.namespace
    }

    pub fn namespace_path(&self) -> PathBuf {
        self.config.run_dir().join("netns")
    }

    /// Makes sockets inside the cluster's namespace.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Gives the pod an address and connects the namespace at `netns` (a bind-mounted file). Idempotent: the
    /// same pod keeps its address, also over a restart of the server, and gets a new link when its
    /// namespace is another one. `pod` is unique in the cluster and at most 255 bytes: the uid.
    pub async fn attach(&self, pod: &str, netns: &Path) -> Result<Ipv4Addr, PodError> {
        self.pods.attach(pod, netns).await
    }

    /// Takes the pod's link away and frees its address, which rests before it is used again. Idempotent.
    pub async fn detach(&self, pod: &str) -> Result<(), PodError> {
        self.pods.detach(pod).await
    }

    /// Pods that are attached, with their addresses; after a restart, what the kernel says.
    pub async fn pods(&self) -> Vec<(String, Ipv4Addr)> {
        self.pods.list().await
    }

    /// Balances for exactly these Services from now on. Open connections go on, and no new one fails meanwhile
    /// (before Linux 6.17 the kernel itself has a moment of nanoseconds). Nothing happens when nothing changed.
    pub async fn set_services(&self, services: &[Service]) -> Result<(), NetError> {
        let rules = Ruleset::build(self.config.node_ip, services);
        let applied = self.rules.lock().await.apply(&rules).await;
        applied.map_err(|source| NetError::Rules {
            cluster: self.config.cluster.clone(),
            source,
        })
    }

    /// The service rules as text, for people.
    pub async fn rules_text(&self) -> String {
        Table::new(&self.config).to_text(self.rules.lock().await.applied())
    }

    /// Connects from inside the cluster: to a pod, a Service, the node.
    pub async fn dial(&self, addr: SocketAddrV4) -> io::Result<TcpStream> {
        self.sockets.dial(addr).await
    }

    /// Listens inside the cluster, e.g. at the node's address, where Services and pods can reach it.
    pub async fn listen(&self, addr: SocketAddrV4) -> io::Result<TcpListener> {
        self.sockets.listen(addr).await
    }

    pub async fn udp_bind(&self, addr: SocketAddrV4) -> io::Result<UdpSocket> {
        self.sockets.udp_bind(addr).await
    }

    pub async fn udp_connect(&self, addr: SocketAddrV4) -> io::Result<UdpSocket> {
        self.sockets.udp_connect(addr).await
    }
}

/// Addresses, routes and sysctls of the namespace. Each step is idempotent, so it also repairs.
async fn set_up(config: &NetConfig, namespace: &File, sockets: &Sockets) -> Result<(), NetError> {
    let sysctl = |source| NetError::Sysctl {
        cluster: config.cluster.clone(),
        name: "net.ipv4.ip_forward",
        source,
    };
    sockets
        .run(cluster_sysctls)
        .await
        .and_then(|r| r)
        .map_err(sysctl)?;
    let err = |what| {
        move |source| NetError::Setup {
            cluster: config.cluster.clone(),
            what,
            source,
        }
    };
    let route = Connection::<Route>::new_in(namespace.as_fd()).map_err(err("open a netlink socket"))?;
    route.set_link_up("lo").await.map_err(err("start lo"))?;
    for ip in [config.node_ip, config.dns_ip] {
        route
            .replace_address(Ipv4Address::new("lo", ip, 32))
            .await
            .map_err(err("add an address to lo"))?;
    }
    // Only so that the kernel has a route when it asks for one, before the rules give the real destination.
    let services = Ipv4Route::from_addr(config.service_cidr.base(), config.service_cidr.prefix());
    let services = services.dev("lo").scope(RouteScope::Link).prefsrc(config.node_ip);
    route
        .replace_route(services)
        .await
        .map_err(err("add the service route"))?;
    if config.egress.is_some() {
        set_up_egress(config, &route).await?;
    }
    Ok(())
}

/// What the kernel needs to hand over what goes to the outside.
async fn set_up_egress(config: &NetConfig, route: &Connection<Route>) -> Result<(), NetError> {
    let err = |what| {
        move |source| NetError::Setup {
            cluster: config.cluster.clone(),
            what,
            source,
        }
    };
    let known = route.get_rules_v4().await.map_err(err("read routing rules"))?;
    let rules = [
        RuleBuilder::v4().fwmark(EGRESS_MARK).table(EGRESS_TABLE),
        // `lo` as the link of arrival stands for the node's own sockets.
        RuleBuilder::v4()
            .iif("lo")
            .table(OUTSIDE_TABLE)
            .priority(OUTSIDE_PRIORITY),
    ];
    for (rule, table) in rules.into_iter().zip([EGRESS_TABLE, OUTSIDE_TABLE]) {
        if known.iter().any(|rule| rule.table_id() == table) {
            continue;
        }
        route
            .add_rule(rule)
            .await
            .map_err(err("add the relay's routing rule"))?;
    }
    let to_lo = |table| Ipv4Route::default_route().dev("lo").table(table);
    let turned = to_lo(EGRESS_TABLE).scope(RouteScope::Host);
    let outside = to_lo(OUTSIDE_TABLE).scope(RouteScope::Link);
    // An address that no pod has is nowhere.
    let pods = Ipv4Route::from_addr(config.pod_cidr.base(), config.pod_cidr.prefix());
    let routes = [
        turned.route_type(RouteType::Local),
        outside.prefsrc(config.node_ip),
        pods.table(OUTSIDE_TABLE).route_type(RouteType::Unreachable),
    ];
    for new in routes {
        route
            .replace_route(new)
            .await
            .map_err(err("add the relay's route"))?;
    }
    Ok(())
}

fn cluster_sysctls() -> io::Result<()> {
    for (name, value) in [
        ("net/ipv6/conf/default/disable_ipv6", "1"),
        // A pod that reaches itself through a Service leaves by the link it came from; do not comment on it.
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        // A pod sends with its own address only.
        ("net/ipv4/conf/all/rp_filter", "1"),
        ("net/ipv4/conf/default/rp_filter", "1"),
        // For ports of the node at 127.0.0.1 that are a pod's; the rules keep pods from it.
        ("net/ipv4/conf/all/route_localnet", "1"),
    ] {
        set_sysctl_or_warn(name, value);
    }
    set_sysctl("net/ipv4/ip_forward", "1")
}
