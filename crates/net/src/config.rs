//! What a cluster's network is made of: plain values, no clock, no IO.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// The gateway that every pod sees; it sits on the cluster's side of each pod's veth.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// An IPv4 network in CIDR form, e.g. `10.244.0.0/16`. The host bits are always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    base: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// `None` when the prefix is longer than 32 bits. Host bits of `addr` are cleared.
    pub const fn new(addr: Ipv4Addr, prefix: u8) -> Option<Self> {
        if prefix > 32 {
            return None;
        }
        let base = Ipv4Addr::from_bits(addr.to_bits() & mask_of(prefix));
        Some(Self { base, prefix })
    }

    pub const fn base(self) -> Ipv4Addr {
        self.base
    }

    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    pub const fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask_of(self.prefix))
    }

    pub const fn contains(self, addr: Ipv4Addr) -> bool {
        addr.to_bits() & mask_of(self.prefix) == self.base.to_bits()
    }

    /// How many addresses the network has, the first and the last included.
    pub const fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }

    /// The address at `index`, counted from the network's own; `None` beyond its end.
    pub fn nth(self, index: u32) -> Option<Ipv4Addr> {
        (u64::from(index) < self.size()).then(|| Ipv4Addr::from_bits(self.base.to_bits() + index))
    }

    /// The inverse of [`Cidr::nth`].
    pub const fn index_of(self, addr: Ipv4Addr) -> Option<u32> {
        if self.contains(addr) {
            Some(addr.to_bits() - self.base.to_bits())
        } else {
            None
        }
    }

    pub const fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

const fn mask_of(prefix: u8) -> u32 {
    if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::Cidr(text.to_owned());
        let (addr, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let addr: Ipv4Addr = addr.parse().map_err(|_| invalid())?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        let cidr = Self::new(addr, prefix).ok_or_else(invalid)?;
        if cidr.base == addr {
            Ok(cidr)
        } else {
            Err(invalid())
        }
    }
}

/// Why a [`NetConfig`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0:?} is not an IPv4 network; write it as 10.244.0.0/16, with the bits after the prefix zero")]
    Cidr(String),
    #[error("pod network {pods} and service network {services} overlap; choose two that do not")]
    Overlap { pods: Cidr, services: Cidr },
    #[error("DNS service address {dns} is not inside the service network {services}; choose one that is")]
    DnsOutside { dns: Ipv4Addr, services: Cidr },
    #[error("pod network {0} is too small or too large; use a prefix from /8 to /28")]
    PodNetworkSize(Cidr),
}

/// The way out of the cluster for pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressConfig {
    /// A virtual address that stands for the host's 127.0.0.1, so that pods can reach what
    /// the user runs there. It must lie outside the cluster's networks. Off by default,
    /// because it opens the host's loopback services to every pod.
    pub host_alias: Option<Ipv4Addr>,
    /// Never dialled for a pod, besides loopback, link-local, multicast and unspecified addresses.
    pub denied: Vec<Cidr>,
}

/// One cluster's network. Clusters may share networks: each has a namespace of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetConfig {
    /// The cluster's name, for messages only.
    pub cluster: String,
    /// The cluster's data directory. The network keeps what it needs in `<data_dir>/run/net`.
    pub data_dir: PathBuf,
    pub pod_cidr: Cidr,
    pub service_cidr: Cidr,
    /// ClusterIP of the DNS service; an address on lo inside the namespace.
    pub dns_ip: Ipv4Addr,
    /// The node's InternalIP; an address on lo inside the namespace.
    pub node_ip: Ipv4Addr,
    /// `None`: pods reach nothing outside the cluster ("network is unreachable").
    pub egress: Option<EgressConfig>,
}

impl NetConfig {
    /// The defaults: pods 10.244.0.0/16 with the node at .0.1, services 10.96.0.0/16 with DNS at .0.10.
    pub fn new(cluster: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            cluster: cluster.into(),
            data_dir: data_dir.into(),
            pod_cidr: Cidr {
                base: Ipv4Addr::new(10, 244, 0, 0),
                prefix: 16,
            },
            service_cidr: Cidr {
                base: Ipv4Addr::new(10, 96, 0, 0),
                prefix: 16,
            },
            dns_ip: Ipv4Addr::new(10, 96, 0, 10),
            node_ip: Ipv4Addr::new(10, 244, 0, 1),
            egress: Some(EgressConfig::default()),
        }
    }

    /// Checks what the rest of the crate takes for granted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.pod_cidr.overlaps(self.service_cidr) {
            return Err(ConfigError::Overlap {
                pods: self.pod_cidr,
                services: self.service_cidr,
            });
        }
        if !self.service_cidr.contains(self.dns_ip) {
            return Err(ConfigError::DnsOutside {
                dns: self.dns_ip,
                services: self.service_cidr,
            });
        }
        if !(8..=28).contains(&self.pod_cidr.prefix) {
            return Err(ConfigError::PodNetworkSize(self.pod_cidr));
        }
        Ok(())
    }

    /// Where the namespace and its state are mounted.
    pub fn run_dir(&self) -> PathBuf {
        run_dir(&self.data_dir)
    }
}

/// `<data_dir>/run/net`: a mount of its own, so that one unmount takes everything with it.
pub fn run_dir(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("run").join("net")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cidr_reads_and_prints_what_it_was_given() {
        for text in ["10.244.0.0/16", "0.0.0.0/0", "169.254.1.1/32"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for text in ["10.244.0.1/16", "10.0.0.0", "10.0.0.0/33", "x/8", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn cidr_knows_its_addresses() {
        let cidr: Cidr = "10.244.4.0/24".parse().unwrap();
        assert!(cidr.contains(Ipv4Addr::new(10, 244, 4, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 244, 5, 0)));
        assert_eq!(cidr.nth(7), Some(Ipv4Addr::new(10, 244, 4, 7)));
        assert_eq!(cidr.nth(256), None);
        assert_eq!(cidr.index_of(Ipv4Addr::new(10, 244, 4, 9)), Some(9));
    }

    #[test]
    fn config_refuses_networks_that_collide() {
        let mut config = NetConfig::new("a", "/data");
        assert!(config.validate().is_ok());
        config.service_cidr = "10.244.8.0/24".parse().unwrap();
        assert!(matches!(config.validate(), Err(ConfigError::Overlap { .. })));
        config.service_cidr = "10.97.0.0/16".parse().unwrap();
        assert!(matches!(config.validate(), Err(ConfigError::DnsOutside { .. })));
    }
}
