//! Pods on the network: one routed veth each, pod address /32, the same gateway for all, no bridge.
//! The kernel's own links and routes say after a restart which pod has which address.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nlink::netlink::Route;
use nlink::netlink::link::VethLink;
use nlink::{Connection, Ipv4Address, Ipv4Route};
use tokio::sync::{Mutex, mpsc};

use crate::config::{GATEWAY, NetConfig};
use crate::ipam::Ipam;
use crate::namespace::{self, NamespaceError};

/// The cluster's side of a pod's veth is called this and twelve hex digits.
pub(crate) const LINK_PREFIX: &str = "pod";
/// The pod's side.
const POD_LINK: &str = "eth0";

/// Why a pod cannot be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    #[error("cannot open the pod's network namespace {}: {source}", path.display())]
    PodNamespace { path: PathBuf, source: io::Error },
    #[error("no free pod address is left in {0}; delete pods or use a larger pod network")]
    AddressesExhausted(crate::config::Cidr),
    #[error("cannot {what} for pod {pod}: {source}")]
    Netlink {
        what: &'static str,
        pod: String,
        source: nlink::Error,
    },
    #[error("the link of pod {pod} vanished while it was set up; was its network namespace removed?")]
    LinkGone { pod: String },
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error("cannot keep the address cursor in {}: {source}", path.display())]
    Cursor { path: PathBuf, source: io::Error },
    #[error("cannot read the pods' links: {0}")]
    Read(nlink::Error),
}

/// Links waiting to be removed; a detach beyond that waits for a place.
const REAPER_LIMIT: usize = 1024;

/// Who is attached. Links go by index, which the kernel does not use twice, unlike names.
struct Book {
    ipam: Ipam,
    links: HashMap<String, u32>,
}

/// The pods of one cluster. One attach at a time: the kernel serialises them anyway.
pub(crate) struct Pods {
    route: Connection<Route>,
    reaper: mpsc::Sender<u32>,
    book: Mutex<Book>,
    cursor: PathBuf,
    pod_cidr: crate::config::Cidr,
    node_ip: Ipv4Addr,
}

impl Pods {
    /// Reads which pods the namespace has; half-attached ones are removed.
    pub async fn open(config: &NetConfig, namespace: &File) -> Result<Self, PodError> {
        let route = Connection::<Route>::new_in(namespace.as_fd()).map_err(PodError::Read)?;
        let cursor = config.run_dir().join("next-address");
        let mut ipam = Ipam::new(config.pod_cidr, &[config.node_ip], read_cursor(&cursor)?);
        let reaper = start_reaper(namespace)?;
        let mut links = HashMap::new();
        let found = route.get_links().await.map_err(PodError::Read)?;
        let routes = route.get_routes().await.map_err(PodError::Read)?;
        for link in found
            .iter()
            .filter(|l| l.name().is_some_and(|n| n.starts_with(LINK_PREFIX)))
        {
            let address = routes.iter().find_map(|r| match r.destination() {
                Some(IpAddr::V4(ip)) if r.oif() == Some(link.ifindex()) && r.dst_len() == 32 => Some(*ip),
                _ => None,
            });
            match (link.alias(), address) {
                (Some(pod), Some(ip)) if ipam.restore(pod, ip) => {
                    links.insert(pod.to_owned(), link.ifindex());
                }
                _ => {
                    tracing::info!(link = link.name_or("?"), "removing a half-made pod link");
                    reaper
                        .send(link.ifindex())
                        .await
                        .map_err(|_| NamespaceError::ThreadDied)?;
                }
            }
        }
        let book = Mutex::new(Book { ipam, links });
        Ok(Self {
            route,
            reaper,
            book,
            cursor,
            pod_cidr: config.pod_cidr,
            node_ip: config.node_ip,
        })
    }

    /// See [`crate::ClusterNet::attach`].
    pub async fn attach(&self, pod: &str, netns: &Path) -> Result<Ipv4Addr, PodError> {
        let open = |source| PodError::PodNamespace {
            path: netns.to_owned(),
            source,
        };
        let file = File::open(netns).map_err(open)?;
        let mut book = self.book.lock().await;
        let ip = book
            .ipam
            .allocate(pod)
            .ok_or(PodError::AddressesExhausted(self.pod_cidr))?;
        if let Some(link) = book.links.get(pod).copied() {
            if self.is_attached(pod, link, &file, ip).await? {
                return Ok(ip);
            }
            // An earlier sandbox of the pod.
            self.delete_link(pod, link).await?;
            book.links.remove(pod);
        }
        match self.connect(pod, ip, file).await {
            Ok(link) => {
                book.links.insert(pod.to_owned(), link);
                write_cursor(&self.cursor, book.ipam.next())?;
                Ok(ip)
            }
            Err(e) => {
                book.ipam.release(pod);
                Err(e)
            }
        }
    }

    /// See [`crate::ClusterNet::detach`].
    pub async fn detach(&self, pod: &str) -> Result<(), PodError> {
        let mut book = self.book.lock().await;
        let ip = book.ipam.get(pod);
        if let (Some(ip), Some(link)) = (ip, book.links.get(pod).copied()) {
            // Without its route the link is nobody's any more, also for a server that starts after this one.
            let route = Ipv4Route::from_addr(ip, 32).dev_index(link);
            let gone = self.route.del_route_if_exists(route).await;
            let err = |source| PodError::Netlink {
                what: "remove the route",
                pod: pod.to_owned(),
                source,
            };
            gone.map(drop).map_err(err)?;
        }
        book.ipam.release(pod);
        let Some(link) = book.links.remove(pod) else {
            return Ok(());
        };
        drop(book);
        match self.reaper.send(link).await {
            Ok(()) => Ok(()),
            // The thread has ended; then it is this task that waits for the kernel.
            Err(_) => self.delete_link(pod, link).await,
        }
    }

    pub async fn list(&self) -> Vec<(String, Ipv4Addr)> {
        self.book
            .lock()
            .await
            .ipam
            .pods()
            .map(|(pod, ip)| (pod.to_owned(), ip))
            .collect()
    }

    async fn delete_link(&self, pod: &str, link: u32) -> Result<(), PodError> {
        let removed = remove_link(&self.route, link).await;
        removed.map_err(|source| PodError::Netlink {
            what: "remove the link",
            pod: pod.to_owned(),
            source,
        })
    }

    /// Whether this very namespace has the pod's address already (the server restarted, the pod did not).
    async fn is_attached(&self, pod: &str, link: u32, netns: &File, ip: Ipv4Addr) -> Result<bool, PodError> {
        let err = |source| PodError::Netlink {
            what: "look into the network namespace",
            pod: pod.to_owned(),
            source,
        };
        if self.route.get_link_by_index(link).await.map_err(err)?.is_none() {
            return Ok(false);
        }
        let inside = Connection::<Route>::new_in(netns.as_fd()).map_err(err)?;
        let addresses = inside.get_addresses().await.map_err(err)?;
        Ok(addresses.iter().any(|a| a.address() == Some(&IpAddr::V4(ip))))
    }

    /// Makes the veth; when something on the way fails, it is taken away again.
    async fn connect(&self, pod: &str, ip: Ipv4Addr, netns: File) -> Result<u32, PodError> {
        let err = |what| {
            move |source| PodError::Netlink {
                what,
                pod: pod.to_owned(),
                source,
            }
        };
        let inside = Connection::<Route>::new_in(netns.as_fd()).map_err(err("open a netlink socket"))?;
        let inode = netns.metadata().map_err(NamespaceError::Thread)?.ino();
        let name = link_name(pod, inode);
        let veth = || VethLink::new(&name, POD_LINK).peer_netns_fd(netns.as_fd());
        let clone = netns.try_clone().map_err(NamespaceError::Thread)?;
        // Before the link exists, so that it never starts to look for IPv6 neighbours. Inline: 50 µs.
        namespace::run_inside(clone, pod_sysctls)?;
        match self.route.add_link(veth()).await {
            Err(e) if e.is_already_exists() => {
                // Detached and attached again before the reaper came to it.
                self.route
                    .del_link_if_exists(name.as_str())
                    .await
                    .map_err(err("remove the link"))?;
                self.route
                    .add_link(veth())
                    .await
                    .map_err(err("create the link"))?;
            }
            other => other.map_err(err("create the link"))?,
        }
        let link = self
            .route
            .get_link_by_name(&name)
            .await
            .map_err(err("find the link"))?;
        let gone = || PodError::LinkGone { pod: pod.to_owned() };
        let index = link.map(|l| l.ifindex()).ok_or_else(gone)?;
        let configured = self.configure(pod, ip, index, &inside).await;
        if configured.is_err()
            && let Err(e) = self.delete_link(pod, index).await
        {
            tracing::warn!("clean-up after a failed attach: {e}");
        }
        configured.map(|()| index)
    }

    async fn configure(
        &self,
        pod: &str,
        ip: Ipv4Addr,
        index: u32,
        inside: &Connection<Route>,
    ) -> Result<(), PodError> {
        let err = |what| {
            move |source| PodError::Netlink {
                what,
                pod: pod.to_owned(),
                source,
            }
        };
        self.route
            .set_link_alias_by_index(index, pod)
            .await
            .map_err(err("name the link"))?;
        self.route
            .set_link_up_by_index(index)
            .await
            .map_err(err("start the link"))?;
        let gateway = Ipv4Address::with_index(index, GATEWAY, 32);
        self.route
            .replace_address(gateway)
            .await
            .map_err(err("set the gateway"))?;

        inside.set_link_up("lo").await.map_err(err("start lo"))?;
        let peer = inside
            .get_link_by_name(POD_LINK)
            .await
            .map_err(err("find eth0"))?;
        let peer = peer
            .map(|l| l.ifindex())
            .ok_or_else(|| PodError::LinkGone { pod: pod.to_owned() })?;
        inside
            .replace_address(Ipv4Address::with_index(peer, ip, 32))
            .await
            .map_err(err("set the address"))?;
        inside
            .set_link_up_by_index(peer)
            .await
            .map_err(err("start eth0"))?;
        let default = Ipv4Route::default_route()
            .gateway(GATEWAY)
            .dev_index(peer)
            .onlink();
        inside
            .replace_route(default)
            .await
            .map_err(err("set the default route"))?;

        // Last, for it is what makes the attachment whole when a restarted server looks.
        let to_pod = Ipv4Route::from_addr(ip, 32)
            .dev_index(index)
            .prefsrc(self.node_ip);
        self.route
            .replace_route(to_pod)
            .await
            .map_err(err("set the route to the pod"))
    }
}

async fn remove_link(route: &Connection<Route>, index: u32) -> Result<(), nlink::Error> {
    match route.del_link_by_index(index).await {
        // It went with the pod's namespace.
        Err(e) if e.is_not_found() || e.is_no_device() => Ok(()),
        other => other,
    }
}

/// The kernel takes up to 30 ms to remove a link and keeps the calling thread for it, so that is a thread of its
/// own; it ends with the last sender. What it has not done when the server is killed, a later detach does.
fn start_reaper(namespace: &File) -> Result<mpsc::Sender<u32>, PodError> {
    let route = Connection::<Route>::new_in(namespace.as_fd()).map_err(PodError::Read)?;
    let (sender, mut links) = mpsc::channel::<u32>(REAPER_LIMIT);
    let runtime = tokio::runtime::Handle::current();
    let reap = async move {
        while let Some(link) = links.recv().await {
            if let Err(e) = remove_link(&route, link).await {
                tracing::warn!(link, "removing a pod's link: {e}");
            }
        }
    };
    let thread = std::thread::Builder::new().name("net-reaper".into());
    thread
        .spawn(move || runtime.block_on(reap))
        .map_err(NamespaceError::Thread)?;
    Ok(sender)
}

/// What container engines set in a pod's namespace, and no IPv6 on links (lo keeps ::1).
fn pod_sysctls() {
    for (name, value) in [
        ("net/ipv6/conf/default/disable_ipv6", "1"),
        ("net/ipv4/ip_unprivileged_port_start", "0"),
        ("net/ipv4/ping_group_range", "0 2147483647"),
    ] {
        set_sysctl_or_warn(name, value);
    }
}

/// For settings that a cluster can do without (a kernel without IPv6, a read-only /proc/sys).
pub(crate) fn set_sysctl_or_warn(name: &str, value: &str) {
    match set_sysctl(name, value) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            tracing::debug!("this kernel has no {name}")
        }
        Err(e) => tracing::warn!("cannot set {name} to {value}: {e}"),
    }
}

/// Of the calling thread's network namespace.
pub(crate) fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/sys").join(name), value)
}

/// Of a pod in one of its sandboxes; the pod itself is the link's alias.
fn link_name(pod: &str, inode: u64) -> String {
    format!(
        "{LINK_PREFIX}{:012x}",
        fnv64(format!("{pod}/{inode}").as_bytes()) & 0xffff_ffff_ffff
    )
}

/// FNV-1a: stable over versions, which `std`'s hashers are not.
pub(crate) fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn read_cursor(path: &Path) -> Result<u32, PodError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().unwrap_or_else(|e| {
            tracing::warn!(
                "{} holds {text:?}: {e}; starting from the first address",
                path.display()
            );
            0
        })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(PodError::Cursor {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write_cursor(path: &Path, next: u32) -> Result<(), PodError> {
    fs::write(path, next.to_string()).map_err(|source| PodError::Cursor {
        path: path.to_owned(),
        source,
    })
}
