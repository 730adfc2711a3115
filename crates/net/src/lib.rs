//! The pod network of one cluster, all of it inside a network namespace of its own: pods on routed
//! veths, Services as one nftables table, DNS, publishing on the host's loopback and a relay for the
//! way out. The host's own interfaces, routes and firewall are never touched.
//!
//! It takes plain values and knows neither the API nor the node agent.

pub mod cluster;
pub mod config;
pub mod dns;
pub mod ipam;
pub mod namespace;
pub mod ruleset;
pub mod services;
pub mod sockets;

pub mod egress;
pub mod publish;

mod lower;
mod nft;
mod pods;
mod relay;

pub use cluster::{ClusterNet, NetError};
pub use config::{Cidr, ConfigError, EgressConfig, GATEWAY, NetConfig};
pub use dns::{DnsServer, DnsTable, Upstreams, resolv_conf};
pub use egress::Egress;
pub use pods::PodError;
pub use publish::{Publication, PublishError, PublishOn, PublishPort, Published, PublishedPort, Publisher};
pub use services::{Endpoint, Protocol, Service, ServicePort};
pub use sockets::{Sockets, dial_pod_loopback};
