//! Services as nftables rules: pure. [`Ruleset::build`] says what should be there, [`Ruleset::diff`]
//! what to change, and [`crate::table::Table::to_text`] prints it as `nft` would read it.
//!
//! There is no chain per Service (the kernel re-validates those in more than linear time). A Service
//! is elements: `services` maps (address, protocol, port) to a chain that is shared by all Services
//! with as many endpoints; that chain draws a number and looks the endpoint up in `backends`.
//! Affinity is one map, `sticky`, which the kernel itself fills, checks against `live` and expires.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::services::{Endpoint, Protocol, Service};
use crate::table::Rule;

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
                // Of the node's addresses loopback is one for those who share it.
                let node = [node_ip, Ipv4Addr::LOCALHOST].into_iter();
                let node = node.filter_map(|ip| Some((ip, port.node_port?)));
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

#[cfg(test)]
#[path = "ruleset_tests.rs"]
mod tests;
