//! The cluster's DNS: the table of names (pure), answers to messages (pure), the server, and pods' resolv.conf.
//! What the names mean: Kubernetes' DNS specification 1.1.0 and CoreDNS' kubernetes plugin.

pub mod answer;
pub mod resolv;
pub mod server;
pub mod table;

mod forward;

pub use forward::Upstreams;
pub use resolv::{DnsPolicy, PodDnsConfig, resolv_conf};
pub use server::DnsServer;
pub use table::{DnsEndpoint, DnsKind, DnsPort, DnsService, DnsTable, DnsZone};
