//! What the network must know of the cluster's Services, as plain values that the caller derives
//! from Services and EndpointSlices.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Transport protocols that Services balance. SCTP is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One address that may serve a port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub ip: Ipv4Addr,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} . {}", self.ip, self.port)
    }
}

/// One port of a Service, with the endpoints that take traffic now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty when the Service has one unnamed port.
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    /// Present for NodePort and LoadBalancer Services.
    pub node_port: Option<u16>,
    /// Endpoints that are ready (or, when none is, those serving while terminating: the caller's
    /// choice, as for `publishNotReadyAddresses`). Empty: connections are refused.
    pub endpoints: Vec<Endpoint>,
}

/// A Service with at least one ClusterIP. Headless and ExternalName Services are DNS's business only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub cluster_ips: Vec<Ipv4Addr>,
    pub ports: Vec<ServicePort>,
    /// `sessionAffinity: ClientIP` with its timeout; `None` for no affinity.
    pub affinity: Option<Duration>,
}
