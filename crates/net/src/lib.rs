//! The pod network of one cluster, all of it inside a network namespace of its own: pods on routed
//! veths, Services as one nftables table, DNS, publishing on the host's loopback and a relay for the
//! way out. The host's own interfaces, routes and firewall are never touched.
//!
//! It takes plain values and knows neither the API nor the node agent. IPv4 only.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use net::dns::DnsZone;
//! use net::*;
//!
//! let net = ClusterNet::open(NetConfig::new("default", "/var/lib/isopod/default")).await?;
//! let api = net.listen("10.244.0.1:6443".parse()?).await?; // the endpoint of `kubernetes.default`
//! let zone = DnsZone::new("cluster.local", net.config());
//! let dns = DnsServer::start(&net, DnsTable::build(zone.clone(), &[]), Upstreams::default()).await?;
//! let way_out = Egress::start(&net).await?;
//! let publisher = Publisher::new(net.sockets().clone());
//!
//! let ip = net.attach("pod-uid", "/var/lib/isopod/default/run/pods/uid/net".as_ref()).await?;
//! let vip = "10.96.0.20".parse()?;
//! let endpoints = vec![Endpoint { ip, port: 8080 }];
//! let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: Some(30080), endpoints };
//! let (namespace, name, cluster_ips) = ("default".into(), "web".into(), vec![vip]);
//! net.set_services(&[Service { namespace, name, cluster_ips, ports: vec![port], affinity: None }]).await?;
//! let target = std::net::SocketAddrV4::new(vip, 80);
//! let ports = vec![PublishPort { protocol: Protocol::Tcp, port: 8000, target, otherwise: None }];
//! let service = "default/web".to_owned();
//! let published = publisher.set(&[Publication { service, on: PublishOn::AnyLoopback, prefer: None, ports }]).await;
//! assert!(published[0].address().is_some()); // the Service's ingress IP
//!
//! let probe = net.dial(std::net::SocketAddrV4::new(ip, 8080)).await?; // connects from inside
//! net.detach("pod-uid").await?;
//! # drop((api, dns, way_out, probe, net));
//! ClusterNet::remove("/var/lib/isopod/default".as_ref())?;
//! # Ok(())
//! # }
//! ```

pub mod cluster;
pub mod config;
pub mod dns;
pub mod egress;
pub mod ipam;
pub mod namespace;
pub mod publish;
pub mod ruleset;
pub mod services;
pub mod sockets;
pub mod table;

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
