//! Services as nftables rules: pure. [`Ruleset::build`] says what should be there, [`Ruleset::diff`]
//! what to change, and [`Table::to_text`] prints it as `nft` would read it.
//!
//! There is no chain per Service (the kernel re-validates those in more than linear time). A Service
//! is elements: `services` maps (address, protocol, port) to a chain that is shared by all Services
//! with as many endpoints; that chain draws a number and looks the endpoint up in `backends`.
//! Affinity is one map, `sticky`, which the kernel itself fills, checks against `live` and expires.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::config::{Cidr, GATEWAY, NetConfig};
use crate::services::{Endpoint, Protocol, Service};

/// The one table, inside the cluster's namespace.
pub const TABLE: &str = "isopod";
/// Clients that `sticky` remembers at most; further ones are balanced without affinity.
pub const STICKY_LIMIT: u32 = 65_535;
/// What the relay for the way out listens on, at the node's address inside the namespace.
pub const EGRESS_TCP_PORT: u16 = 15_001;
/// The same for UDP; it takes packets by TPROXY.
pub const EGRESS_UDP_PORT: u16 = 15_002;
/// Packets with this mark are delivered locally whatever their destination (TPROXY).
pub const EGRESS_MARK: u32 = 0x15_0d;

/// What a client connects to: a port of a ClusterIP, or a node port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    pub ip: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} . {} . {}", self.ip, self.protocol, self.port)
    }
}

/// The chain that chooses among `endpoints` endpoints; shared by all Services that need the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pick {
    pub endpoints: u32,
    pub sticky_seconds: Option<u32>,
}

impl Pick {
    pub fn chain(self) -> String {
        match self.sticky_seconds {
            None => format!("pick-{}", self.endpoints),
            Some(seconds) => format!("pick-{}-sticky-{seconds}", self.endpoints),
        }
    }

    /// The inverse of [`Pick::chain`].
    pub fn from_chain(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("pick-")?.split("-sticky-");
        let endpoints = parts.next()?.parse().ok()?;
        let sticky_seconds = parts.next().map(str::parse).transpose().ok()?;
        Some(Self {
            endpoints,
            sticky_seconds,
        })
    }

    /// The rules of the chain.
    pub fn rules(self) -> Vec<Rule> {
        let random = Rule::Random {
            endpoints: self.endpoints,
        };
        match self.sticky_seconds {
            None => vec![random],
            Some(seconds) => vec![
                Rule::StickyKnown { seconds },
                Rule::StickyForget,
                Rule::StickyRandom {
                    endpoints: self.endpoints,
                    seconds,
                },
                // Only reached when `sticky` is full.
                random,
            ],
        }
    }
}

/// The part of the table that changes with the Services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub services: BTreeMap<ServiceKey, Pick>,
    pub backends: BTreeMap<(ServiceKey, u32), Endpoint>,
    /// Endpoints of Services with affinity; a remembered choice counts only while it is in here.
    pub live: BTreeSet<(ServiceKey, Endpoint)>,
    /// Pods that may reach themselves through a Service: their own packets need another source.
    pub hairpin: BTreeSet<Ipv4Addr>,
}

impl Ruleset {
    /// The rules for `services`, whatever their order. A Service port without endpoints has no rule: the
    /// table refuses what goes to the service network and is not balanced. When two Services claim one
    /// key (the API prevents it), the first by namespace and name has it.
    pub fn build(node_ip: Ipv4Addr, services: &[Service]) -> Self {
        let mut sorted: Vec<&Service> = services.iter().collect();
        sorted.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut rules = Self::default();
        for service in sorted {
            let sticky_seconds = service
                .affinity
                .map(|t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX).max(1));
            for port in &service.ports {
                let node = port.node_port.map(|node_port| (node_ip, node_port));
                let addresses = service.cluster_ips.iter().map(|ip| (*ip, port.port)).chain(node);
                for (ip, number) in addresses {
                    let key = ServiceKey {
                        ip,
                        protocol: port.protocol,
                        port: number,
                    };
                    rules.add(key, sticky_seconds, &port.endpoints);
                }
            }
        }
        rules
    }

    fn add(&mut self, key: ServiceKey, sticky_seconds: Option<u32>, endpoints: &[Endpoint]) {
        let endpoints: BTreeSet<Endpoint> = endpoints.iter().copied().collect();
        let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        if count == 0 || self.services.contains_key(&key) {
            return;
        }
        self.services.insert(
            key,
            Pick {
                endpoints: count,
                sticky_seconds,
            },
        );
        for (index, endpoint) in (0..).zip(endpoints) {
            self.backends.insert((key, index), endpoint);
            self.hairpin.insert(endpoint.ip);
            if sticky_seconds.is_some() {
                self.live.insert((key, endpoint));
            }
        }
    }

    /// The chains that the elements of `services` go to.
    pub fn picks(&self) -> BTreeSet<Pick> {
        self.services.values().copied().collect()
    }

    /// What turns `self` into `new`.
    pub fn diff(&self, new: &Self) -> Change {
        let (old_picks, new_picks) = (self.picks(), new.picks());
        Change {
            add_chains: new_picks.difference(&old_picks).copied().collect(),
            services: MapChange::between(&self.services, &new.services),
            backends: MapChange::between(&self.backends, &new.backends),
            live: SetChange::between(&self.live, &new.live),
            hairpin: SetChange::between(&self.hairpin, &new.hairpin),
        }
    }

    /// Applies `change` as the kernel does: removals, then additions.
    pub fn apply(&mut self, change: &Change) {
        change.services.apply(&mut self.services);
        change.backends.apply(&mut self.backends);
        change.live.apply(&mut self.live);
        change.hairpin.apply(&mut self.hairpin);
    }

    /// UDP keys whose endpoints are others in `new`, with those. The kernel's memory of flows to anything else must
    /// go, for a UDP client never opens a new connection by itself.
    pub fn changed_udp(&self, new: &Self) -> BTreeMap<ServiceKey, BTreeSet<Endpoint>> {
        let udp = |rules: &Self| {
            let mut keys: BTreeMap<ServiceKey, BTreeSet<Endpoint>> = BTreeMap::new();
            for ((key, _), endpoint) in &rules.backends {
                if key.protocol == Protocol::Udp {
                    keys.entry(*key).or_default().insert(*endpoint);
                }
            }
            keys
        };
        let (old, mut changed) = (udp(self), udp(new));
        for key in old.keys() {
            changed.entry(*key).or_default();
        }
        changed.retain(|key, endpoints| old.get(key) != Some(endpoints));
        changed
    }
}

/// The difference between two rulesets; empty when there is none. Chains that are not needed any more are not in it:
/// the kernel empties a chain a moment before it takes the elements away that lead there, so a chain may go only
/// after they are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub add_chains: Vec<Pick>,
    pub services: MapChange<ServiceKey, Pick>,
    pub backends: MapChange<(ServiceKey, u32), Endpoint>,
    pub live: SetChange<(ServiceKey, Endpoint)>,
    pub hairpin: SetChange<Ipv4Addr>,
}

impl Change {
    /// The change as two transactions. A packet looks at `services` and then at `backends`, and a transaction may come
    /// in between: so the first step leaves each number in place that such a packet may have drawn.
    pub fn in_two_steps(mut self) -> [Self; 2] {
        let replaced: BTreeSet<_> = self.backends.add.iter().map(|(key, _)| *key).collect();
        let (now, later) = self
            .backends
            .remove
            .iter()
            .partition(|key| replaced.contains(*key));
        self.backends.remove = now;
        let backends = MapChange {
            remove: later,
            add: Vec::new(),
        };
        [
            self,
            Self {
                backends,
                ..Self::default()
            },
        ]
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A changed value is a removal and an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapChange<K, V> {
    pub remove: Vec<K>,
    pub add: Vec<(K, V)>,
}

impl<K, V> Default for MapChange<K, V> {
    fn default() -> Self {
        Self {
            remove: Vec::new(),
            add: Vec::new(),
        }
    }
}

impl<K: Ord + Copy, V: PartialEq + Copy> MapChange<K, V> {
    fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let differs = |other: &BTreeMap<K, V>, key: &K, value: &V| other.get(key) != Some(value);
        Self {
            remove: old
                .iter()
                .filter(|(k, v)| differs(new, k, v))
                .map(|(k, _)| *k)
                .collect(),
            add: new
                .iter()
                .filter(|(k, v)| differs(old, k, v))
                .map(|(k, v)| (*k, *v))
                .collect(),
        }
    }

    fn apply(&self, map: &mut BTreeMap<K, V>) {
        for key in &self.remove {
            map.remove(key);
        }
        map.extend(self.add.iter().copied());
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetChange<K> {
    pub remove: Vec<K>,
    pub add: Vec<K>,
}

impl<K> Default for SetChange<K> {
    fn default() -> Self {
        Self {
            remove: Vec::new(),
            add: Vec::new(),
        }
    }
}

impl<K: Ord + Copy> SetChange<K> {
    fn between(old: &BTreeSet<K>, new: &BTreeSet<K>) -> Self {
        Self {
            remove: old.difference(new).copied().collect(),
            add: new.difference(old).copied().collect(),
        }
    }

    fn apply(&self, set: &mut BTreeSet<K>) {
        for key in &self.remove {
            set.remove(key);
        }
        set.extend(self.add.iter().copied());
    }
}

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
    EgressTcp {
        inside: Vec<Cidr>,
        node_ip: Ipv4Addr,
    },
    EgressUdp {
        inside: Vec<Cidr>,
    },
    Refuse {
        services: Cidr,
        except: Ipv4Addr,
        reset: bool,
    },
}

impl Rule {
    pub fn to_text(&self) -> String {
        let from_pods = |inside: &[Cidr]| {
            let list: Vec<String> = inside.iter().map(|cidr| format!("ip daddr != {cidr}")).collect();
            format!("iifname \"{}*\" {}", crate::pods::LINK_PREFIX, list.join(" "))
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
            Self::EgressTcp { inside, node_ip } => {
                format!(
                    "{} meta l4proto tcp dnat ip to {node_ip}:{EGRESS_TCP_PORT}",
                    from_pods(inside)
                )
            }
            Self::EgressUdp { inside } => format!(
                "{} meta l4proto udp tproxy ip to :{EGRESS_UDP_PORT} meta mark set {EGRESS_MARK:#x} accept",
                from_pods(inside)
            ),
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
        let mut nat = vec![Rule::Dispatch];
        let mut chains = Vec::new();
        if config.egress.is_some() {
            chains.push((
                "egress",
                Hook::FilterPrerouting,
                vec![Rule::EgressUdp {
                    inside: inside.clone(),
                }],
            ));
            nat.push(Rule::EgressTcp {
                inside,
                node_ip: config.node_ip,
            });
        }
        let refuse = |reset| Rule::Refuse {
            services: config.service_cidr,
            except: config.dns_ip,
            reset,
        };
        chains.extend([
            ("prerouting", Hook::NatPrerouting, nat),
            ("output", Hook::NatOutput, vec![Rule::Dispatch]),
            ("postrouting", Hook::NatPostrouting, vec![Rule::Hairpin]),
            (
                "refuse-forward",
                Hook::FilterForward,
                vec![refuse(true), refuse(false)],
            ),
            (
                "refuse-output",
                Hook::FilterOutput,
                vec![refuse(true), refuse(false)],
            ),
        ]);
        Self { chains }
    }

    /// The same for a kernel that has no TPROXY: no way out for UDP.
    pub fn without_tproxy(mut self) -> Self {
        self.chains
            .retain(|(_, _, rules)| !rules.iter().any(|rule| matches!(rule, Rule::EgressUdp { .. })));
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

#[cfg(test)]
#[path = "ruleset_tests.rs"]
mod tests;
