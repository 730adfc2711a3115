//! The pod network as the agent needs it; the binary implements it with the network room.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PodDNSConfig;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;

#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Connects the network namespace at `netns` and gives the pod's addresses; the same ones when called again.
    async fn attach(&self, pod_uid: &str, netns: &Path) -> Result<Vec<IpAddr>, String>;

    /// Takes the pod off the network. Idempotent.
    async fn detach(&self, pod_uid: &str) -> Result<(), String>;

    /// The pod's /etc/resolv.conf. `policy` is `spec.dnsPolicy`; a pod on the host's network that says
    /// `ClusterFirst` comes as `Default`.
    fn resolv_conf(&self, namespace: &str, policy: &str, config: Option<&PodDNSConfig>) -> String;

    /// Connects from inside the cluster's network: probes and hooks.
    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream>;
}

/// A network for simulated nodes: addresses, and nothing behind them.
#[derive(Default)]
pub struct NoNetwork {
    addresses: Mutex<(u32, HashMap<String, Ipv4Addr>)>,
}

#[async_trait]
impl PodNetwork for NoNetwork {
    async fn attach(&self, pod_uid: &str, _: &Path) -> Result<Vec<IpAddr>, String> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = addresses.1.get(pod_uid) {
            return Ok(vec![IpAddr::V4(*known)]);
        }
        addresses.0 += 1;
        // From the block for benchmarks (RFC 2544), which nobody routes; it wraps after 131,072 pods.
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + addresses.0 % (1 << 17));
        addresses.1.insert(pod_uid.to_owned(), ip);
        Ok(vec![IpAddr::V4(ip)])
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), String> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .remove(pod_uid);
        Ok(())
    }

    fn resolv_conf(&self, _: &str, _: &str, _: Option<&PodDNSConfig>) -> String {
        String::new()
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            format!("{to} is simulated"),
        ))
    }
}
