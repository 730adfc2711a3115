//! What of the table never changes while the cluster has the same configuration: base chains, their rules and the sets,
//! as plain values with a text each. `lower.rs` has the kernel's form of the rules.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::config::{Cidr, GATEWAY, NetConfig};
use crate::ruleset::Ruleset;
use crate::services::Protocol;

/// The one table, inside the cluster's namespace.
pub const TABLE: &str = "isopod";
/// Clients that `sticky` remembers at most; further ones are balanced without affinity.
pub const STICKY_LIMIT: u32 = 65_535;
/// What the relay for the way out listens on, at the node's address inside the namespace.
pub const EGRESS_TCP_PORT: u16 = 15_001;
/// The same for UDP; it takes packets by TPROXY.
pub const EGRESS_UDP_PORT: u16 = 15_002;
/// What DNS listens on, at its Service's address: pods on the host's network may listen on all addresses at port 53.
pub const DNS_INNER_PORT: u16 = 15_053;
/// What DNS is asked at.
pub(crate) const DNS_PORT: u16 = 53;
/// Packets with this mark are delivered locally whatever their destination (TPROXY).
pub const EGRESS_MARK: u32 = 0x15_0d;

/// The node's loopback, which pods on the host's network share.
pub const LOOPBACK: Cidr = match Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8) {
    Some(cidr) => cidr,
    None => unreachable!(),
};

/// One rule. What it means is its text; `nft.rs` lowers it to expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    Dispatch,
    Random {
        endpoints: u32,
    },
    StickyKnown {
        seconds: u32,
    },
    StickyForget,
    StickyRandom {
        endpoints: u32,
        seconds: u32,
    },
    Hairpin,
    /// From the port that all ask at to the one where DNS listens.
    Dns {
        dns_ip: Ipv4Addr,
        protocol: Protocol,
    },
    /// What the node's loopback address led to a pod comes from the node.
    FromLoopback {
        node_ip: Ipv4Addr,
    },
    /// The node's loopback is the node's, whatever a pod's routes say.
    GuardLoopback,
    EgressTcp {
        from: Source,
        inside: Vec<Cidr>,
        node_ip: Ipv4Addr,
    },
    EgressUdp {
        inside: Vec<Cidr>,
    },
    /// Turns the node's own datagrams to the outside round, to where TPROXY sees them.
    EgressMark {
        inside: Vec<Cidr>,
    },
    EgressMarked,
    /// What the relay does not take.
    RefuseOutside {
        inside: Vec<Cidr>,
        reset: bool,
    },
    Refuse {
        services: Cidr,
        except: Ipv4Addr,
        reset: bool,
    },
}

/// Whose packets a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Pods,
    /// The server's sockets in the namespace, and pods on the host's network.
    Node,
}

impl Rule {
    // LONG: one line a rule, each the other side of `lower`.
    pub fn to_text(&self) -> String {
        let pods = format!("\"{}*\"", crate::pods::LINK_PREFIX);
        let outside = |from: Source, inside: &[Cidr]| {
            let list: Vec<String> = inside.iter().map(|cidr| format!("ip daddr != {cidr}")).collect();
            match from {
                Source::Pods => format!("iifname {pods} {}", list.join(" ")),
                Source::Node => list.join(" "),
            }
        };
        let draw = |n: &u32| {
            format!("dnat ip to ip daddr . meta l4proto . th dport . numgen random mod {n} map @backends")
        };
        match self {
            Self::Dispatch => "ip daddr . meta l4proto . th dport vmap @services".to_owned(),
            Self::Random { endpoints } => draw(endpoints),
            Self::StickyKnown { seconds } => format!(
                "update @sticky {{ client . service timeout {seconds}s : @sticky's if in @live }} dnat ip to it"
            ),
            Self::StickyForget => "delete @sticky { client . service }".to_owned(),
            Self::StickyRandom { endpoints, seconds } => {
                format!(
                    "update @sticky {{ client . service timeout {seconds}s : drawn }} {}",
                    draw(endpoints)
                )
            }
            Self::Hairpin => "ip saddr . ip daddr @hairpin masquerade".to_owned(),
            Self::Dns { dns_ip, protocol } => format!(
                "ip daddr {dns_ip} meta l4proto {protocol} th dport {DNS_PORT} dnat ip to {dns_ip}:{DNS_INNER_PORT}"
            ),
            Self::FromLoopback { node_ip } => {
                format!("ip saddr {LOOPBACK} oifname {pods} snat ip to {node_ip}")
            }
            Self::GuardLoopback => format!("iifname {pods} ip daddr {LOOPBACK} drop"),
            Self::EgressTcp {
                from,
                inside,
                node_ip,
            } => format!(
                "{} meta l4proto tcp dnat ip to {node_ip}:{EGRESS_TCP_PORT}",
                outside(*from, inside)
            ),
            Self::EgressUdp { inside } => format!(
                "{} meta l4proto udp tproxy ip to :{EGRESS_UDP_PORT} meta mark set {EGRESS_MARK:#x} accept",
                outside(Source::Pods, inside)
            ),
            Self::EgressMark { inside } => format!(
                "{} meta l4proto udp meta mark set {EGRESS_MARK:#x}",
                outside(Source::Node, inside)
            ),
            Self::EgressMarked => format!(
                "iifname \"lo\" meta mark {EGRESS_MARK:#x} meta l4proto udp tproxy ip to :{EGRESS_UDP_PORT} accept"
            ),
            Self::RefuseOutside { inside, reset } => {
                let how = match reset {
                    true => "meta l4proto tcp reject with tcp reset",
                    false => "reject with icmp net-unreachable",
                };
                let outside = outside(Source::Node, inside);
                format!("{outside} meta mark != {EGRESS_MARK:#x} {how}")
            }
            Self::Refuse {
                services,
                except,
                reset: true,
            } => {
                format!("ip daddr {services} ip daddr != {except} meta l4proto tcp reject with tcp reset")
            }
            Self::Refuse {
                services,
                except,
                reset: false,
            } => {
                format!("ip daddr {services} ip daddr != {except} reject with icmp port-unreachable")
            }
        }
    }
}

/// Where a base chain hooks into the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    FilterPrerouting,
    RouteOutput,
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    FilterForward,
    FilterOutput,
}

impl Hook {
    const fn to_text(self) -> &'static str {
        match self {
            Self::FilterPrerouting => "type filter hook prerouting priority mangle; policy accept;",
            Self::RouteOutput => "type route hook output priority mangle; policy accept;",
            Self::NatPrerouting => "type nat hook prerouting priority dstnat; policy accept;",
            Self::NatOutput => "type nat hook output priority -100; policy accept;",
            Self::NatPostrouting => "type nat hook postrouting priority srcnat; policy accept;",
            Self::FilterForward => "type filter hook forward priority filter; policy accept;",
            Self::FilterOutput => "type filter hook output priority filter; policy accept;",
        }
    }
}

/// The part of the table that never changes while the cluster has the same configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub chains: Vec<(&'static str, Hook, Vec<Rule>)>,
}

/// The sets and maps, as `nft` would declare them.
const SETS: &str = "\
\tmap services { type ipv4_addr . inet_proto . inet_service : verdict; }
\tmap backends { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }
\tmap sticky { type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; size 65535; flags dynamic,timeout; }
\tset live { type ipv4_addr . inet_proto . inet_service . ipv4_addr . inet_service; }
\tset hairpin { type ipv4_addr . ipv4_addr; }
";

impl Table {
    pub fn new(config: &NetConfig) -> Self {
        let mut inside = vec![config.pod_cidr, config.service_cidr];
        let single = [GATEWAY, config.node_ip]
            .into_iter()
            .filter_map(|ip| Cidr::new(ip, 32));
        for cidr in single {
            if !inside.iter().any(|net| net.contains(cidr.base())) {
                inside.push(cidr);
            }
        }
        let inside_node: Vec<Cidr> = inside.iter().copied().chain([LOOPBACK]).collect();
        let refuse = |reset| Rule::Refuse {
            services: config.service_cidr,
            except: config.dns_ip,
            reset,
        };
        let to_relay = |from, inside: &[Cidr]| Rule::EgressTcp {
            from,
            inside: inside.to_vec(),
            node_ip: config.node_ip,
        };
        let dns = |protocol| Rule::Dns {
            dns_ip: config.dns_ip,
            protocol,
        };
        let mut prerouting = vec![Rule::Dispatch, dns(Protocol::Udp), dns(Protocol::Tcp)];
        let mut output = prerouting.clone();
        let mut refuse_output = vec![refuse(true), refuse(false)];
        let from_node = Rule::FromLoopback {
            node_ip: config.node_ip,
        };
        let mut chains = vec![("guard", Hook::FilterPrerouting, vec![Rule::GuardLoopback])];
        if config.egress.is_some() {
            prerouting.push(to_relay(Source::Pods, &inside));
            output.push(to_relay(Source::Node, &inside_node));
            // What a Service led to the outside cannot be led on to the relay. The kernel's word to a client that was
            // led elsewhere must be a reset: it does not match an ICMP error with the address that the client asked for.
            refuse_output.extend([true, false].map(|reset| Rule::RefuseOutside {
                inside: inside_node.clone(),
                reset,
            }));
            let datagrams = vec![Rule::EgressUdp { inside }, Rule::EgressMarked];
            let turned = vec![Rule::EgressMark { inside: inside_node }];
            chains.push(("egress", Hook::FilterPrerouting, datagrams));
            chains.push(("egress-node", Hook::RouteOutput, turned));
        }
        chains.extend([
            ("prerouting", Hook::NatPrerouting, prerouting),
            ("output", Hook::NatOutput, output),
            (
                "postrouting",
                Hook::NatPostrouting,
                vec![from_node, Rule::Hairpin],
            ),
            (
                "refuse-forward",
                Hook::FilterForward,
                vec![refuse(true), refuse(false)],
            ),
            ("refuse-output", Hook::FilterOutput, refuse_output),
        ]);
        Self { chains }
    }

    /// The same for a kernel that has no TPROXY: no way out for UDP.
    pub fn without_tproxy(mut self) -> Self {
        let needs_it = |rule: &Rule| matches!(rule, Rule::EgressUdp { .. } | Rule::EgressMark { .. });
        self.chains.retain(|(_, _, rules)| !rules.iter().any(needs_it));
        self
    }

    /// A digest of the static part; a table with another one was made by another configuration or version.
    pub fn version(&self) -> String {
        format!(
            "isopod {:016x}",
            crate::pods::fnv64(self.to_text(&Ruleset::default()).as_bytes())
        )
    }

    /// The whole table in the syntax of `nft` (where `nft` has none, in words): for people and goldens.
    pub fn to_text(&self, rules: &Ruleset) -> String {
        let mut text = format!("table ip {TABLE} {{\n{SETS}");
        let mut chain = |head: String, rules: &[Rule]| {
            text.push_str(&head);
            for rule in rules {
                text.push_str("\t\t");
                text.push_str(&rule.to_text());
                text.push('\n');
            }
            text.push_str("\t}\n");
        };
        for pick in rules.picks() {
            chain(format!("\tchain {} {{\n", pick.chain()), &pick.rules());
        }
        for (name, hook, rules) in &self.chains {
            chain(format!("\tchain {name} {{\n\t\t{}\n", hook.to_text()), rules);
        }
        let mut element = |set: &str, what: String| {
            // Writing to a String cannot fail.
            writeln!(text, "\telement {set} {{ {what} }}").unwrap_or_default();
        };
        for (key, pick) in &rules.services {
            element("services", format!("{key} : goto {}", pick.chain()));
        }
        for ((key, index), endpoint) in &rules.backends {
            element("backends", format!("{key} . {index} : {endpoint}"));
        }
        for (key, endpoint) in &rules.live {
            element("live", format!("{key} . {endpoint}"));
        }
        for ip in &rules.hairpin {
            element("hairpin", format!("{ip} . {ip}"));
        }
        text.push_str("}\n");
        text
    }
}
