//! Puts a [`Ruleset`] into the kernel, over netlink, in atomic transactions. What is in the kernel is
//! the truth: it is read back when the server starts, so that a restart changes nothing for anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use nlink::Connection;
use nlink::netlink::netfilter::{ConntrackEntry, ConntrackFilter, ConntrackTuple, IpProtocol};
use nlink::netlink::nftables::{
    BaseChain, Chain, ChainName, Family, FilterHook, NatHook, Priority, Rule as NftRule, Set, SetDataType,
    SetElement, SetElementData, SetKeyType, Transaction, Verdict,
};
use nlink::netlink::{Netfilter, Nftables};

use crate::lower::lower;
use crate::ruleset::{Change, Pick, Ruleset, ServiceKey};
use crate::services::{Endpoint, Protocol};
use crate::table::{Hook, Rule, STICKY_LIMIT, TABLE, Table};

/// Elements in one netlink message, whose nested attribute holds 64 KiB.
const ELEMENTS_CHUNK: usize = 400;
/// A batch is one datagram: room for about 20,000 Services.
const SEND_BUFFER_BYTES: usize = 32 << 20;

/// Unused chains that are kept: Services often come back to the same number of endpoints.
const SPARE_CHAINS: usize = 64;

type Result<T> = std::result::Result<T, nlink::Error>;

/// The connection to the kernel, with what is known to be in the table.
pub struct Backend {
    nft: Connection<Nftables>,
    conntrack: Connection<Netfilter>,
    table: Table,
    applied: Ruleset,
    /// The `pick` chains that there are: those in use and up to [`SPARE_CHAINS`] that were once.
    chains: BTreeSet<Pick>,
}

impl Backend {
    /// Finds the table that an earlier server left, or makes it.
    pub async fn open(namespace: &File, table: Table) -> Result<Self> {
        let nft = Connection::<Nftables>::new_in(namespace.as_fd())?;
        let conntrack = Connection::<Netfilter>::new_in(namespace.as_fd())?;
        if let Err(e) = setsockopt(nft.socket(), sockopt::SndBufForce, &SEND_BUFFER_BYTES) {
            tracing::warn!(
                "cannot raise the send buffer for firewall changes: {e}; thousands of Services may not fit"
            );
        }
        let mut backend = Self {
            nft,
            conntrack,
            table,
            applied: Ruleset::default(),
            chains: BTreeSet::new(),
        };
        if !backend.read().await? {
            backend.create().await?;
        }
        Ok(backend)
    }

    async fn create(&mut self) -> Result<()> {
        let none = Ruleset::default();
        let Err(e) = self.replace(&none).await else {
            return Ok(());
        };
        self.table = self.table.clone().without_tproxy();
        self.replace(&none).await?;
        // Only now it is known that TPROXY was the reason.
        tracing::warn!(
            "this kernel has no TPROXY for nftables ({e}): pods cannot send UDP out of the cluster"
        );
        Ok(())
    }

    pub fn applied(&self) -> &Ruleset {
        &self.applied
    }

    /// Makes the kernel's rules equal to `new`, all at once. On an error the table is read back and the
    /// rest is tried once more; then the whole table is replaced; only that error is returned.
    pub async fn apply(&mut self, new: &Ruleset) -> Result<()> {
        let changed_udp = self.applied.changed_udp(new);
        let before = self.applied.picks();
        if let Err(e) = self.commit(new).await {
            tracing::warn!("changing the service rules failed: {e}; reading them back");
            self.recover(new).await?;
        }
        self.drop_spare_chains(&before).await;
        self.forget_udp(&changed_udp).await
    }

    async fn recover(&mut self, new: &Ruleset) -> Result<()> {
        if self.read().await? {
            match self.commit(new).await {
                Ok(()) => return Ok(()),
                Err(e) => tracing::warn!("changing the service rules failed again: {e}; replacing the table"),
            }
        }
        self.replace(new).await
    }

    async fn commit(&mut self, new: &Ruleset) -> Result<()> {
        for mut step in self.applied.diff(new).in_two_steps() {
            if step.is_empty() {
                continue;
            }
            step.add_chains.retain(|pick| !self.chains.contains(pick));
            change_transaction(self.nft.transaction(), &step)?
                .commit(&self.nft)
                .await?;
            self.applied.apply(&step);
            self.chains.extend(step.add_chains);
        }
        Ok(())
    }

    /// Chains that neither the rules of now nor those of just before use, when there are many. Not in the same
    /// transaction as the elements that led there: the kernel would empty them a moment too early.
    async fn drop_spare_chains(&mut self, before: &BTreeSet<Pick>) {
        let used = self.applied.picks();
        let spare: Vec<Pick> = self
            .chains
            .iter()
            .filter(|pick| !used.contains(pick) && !before.contains(pick))
            .copied()
            .collect();
        if spare.len() <= SPARE_CHAINS {
            return;
        }
        let chains = spare.iter().map(|pick| pick.chain());
        let tx = chains.fold(self.nft.transaction(), |tx, chain| {
            tx.del_chain(TABLE, &chain, Family::Ip)
        });
        match tx.commit(&self.nft).await {
            Ok(()) => self.chains.retain(|pick| !spare.contains(pick)),
            Err(e) => tracing::warn!("removing {} unused chains failed: {e}", spare.len()),
        }
    }

    /// The table from nothing, in one transaction.
    async fn replace(&mut self, rules: &Ruleset) -> Result<()> {
        // Not `destroy`: kernels before 6.3 have none. Without flags this makes the table or leaves it.
        let mut tx = self
            .nft
            .transaction()
            .update_table(TABLE, Family::Ip, 0)
            .del_table(TABLE, Family::Ip);
        tx = tx.add_table_with_comment(TABLE, Family::Ip, 0, Some(&self.table.version()));
        for set in sets() {
            tx = tx.add_set(set);
        }
        for (name, hook, rules) in &self.table.chains {
            tx = tx.add_chain(
                Chain::new(TABLE, *name)?
                    .family(Family::Ip)
                    .base(base_chain(*hook)),
            );
            tx = add_rules(tx, name, rules);
        }
        change_transaction(tx, &Ruleset::default().diff(rules))?
            .commit(&self.nft)
            .await?;
        self.applied = rules.clone();
        self.chains = rules.picks();
        Ok(())
    }

    /// Learns what is in the kernel. False when there is no table, or one of another version.
    async fn read(&mut self) -> Result<bool> {
        let Some(rules) = self.read_elements().await? else {
            return Ok(false);
        };
        let chains = self.nft.list_chains_in(TABLE, Family::Ip).await?;
        self.chains = chains
            .iter()
            .filter_map(|chain| Pick::from_chain(&chain.name))
            .collect();
        self.applied = rules;
        Ok(true)
    }

    async fn read_elements(&self) -> Result<Option<Ruleset>> {
        let tables = self.nft.list_tables_in(Family::Ip).await?;
        let Some(table) = tables.iter().find(|t| t.name == TABLE) else {
            return Ok(None);
        };
        if table.comment.as_deref() != Some(&self.table.version()) {
            return Ok(None);
        }
        let mut rules = Ruleset::default();
        for element in self.nft.list_set_elements(TABLE, "services", Family::Ip).await? {
            let chain = match element.data() {
                Some(SetElementData::Verdict(Verdict::GotoTo(chain))) => chain.as_str().to_owned(),
                _ => return Ok(None),
            };
            let (Some(key), Some(pick)) = (read_key(element.key()), Pick::from_chain(&chain)) else {
                return Ok(None);
            };
            rules.services.insert(key, pick);
        }
        for element in self.nft.list_set_elements(TABLE, "backends", Family::Ip).await? {
            let Some(SetElementData::Value(value)) = element.data() else {
                return Ok(None);
            };
            let index = element
                .key()
                .get(12..16)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_ne_bytes);
            match (read_key(element.key()), index, read_endpoint(value)) {
                (Some(key), Some(index), Some(endpoint)) => rules.backends.insert((key, index), endpoint),
                _ => return Ok(None),
            };
        }
        for element in self.nft.list_set_elements(TABLE, "live", Family::Ip).await? {
            match (
                read_key(element.key()),
                element.key().get(12..).and_then(read_endpoint),
            ) {
                (Some(key), Some(endpoint)) => rules.live.insert((key, endpoint)),
                _ => return Ok(None),
            };
        }
        for element in self.nft.list_set_elements(TABLE, "hairpin", Family::Ip).await? {
            let Some(ip) = read_ip(element.key()) else {
                return Ok(None);
            };
            rules.hairpin.insert(ip);
        }
        Ok(Some(rules))
    }

    /// Removes the kernel's memory of UDP "connections" that lead elsewhere than to `changed`'s endpoints: one
    /// look through the UDP entries, whatever the number of changes.
    async fn forget_udp(&self, changed: &BTreeMap<ServiceKey, BTreeSet<Endpoint>>) -> Result<()> {
        if changed.is_empty() {
            return Ok(());
        }
        let udp = ConntrackFilter::new().proto(IpProtocol::Udp);
        let entries = self.conntrack.get_conntrack_matching(&udp).await?;
        for entry in entries.iter().filter(|entry| is_stale(entry, changed)) {
            match self.conntrack.del_conntrack_entry(entry).await {
                Err(e) if e.is_not_found() => {}
                other => other?,
            }
        }
        Ok(())
    }
}

fn is_stale(entry: &ConntrackEntry, changed: &BTreeMap<ServiceKey, BTreeSet<Endpoint>>) -> bool {
    let v4 = |ip: Option<IpAddr>| match ip {
        Some(IpAddr::V4(ip)) => Some(ip),
        _ => None,
    };
    let asked = |tuple: &ConntrackTuple| {
        Some(ServiceKey {
            ip: v4(tuple.dst_ip)?,
            protocol: Protocol::Udp,
            port: tuple.dst_port?,
        })
    };
    let answering = |tuple: &ConntrackTuple| {
        Some(Endpoint {
            ip: v4(tuple.src_ip)?,
            port: tuple.src_port?,
        })
    };
    match (
        asked(&entry.orig).and_then(|key| changed.get(&key)),
        answering(&entry.reply),
    ) {
        (Some(endpoints), Some(endpoint)) => !endpoints.contains(&endpoint),
        _ => false,
    }
}

fn base_chain(hook: Hook) -> BaseChain {
    match hook {
        Hook::FilterPrerouting => BaseChain::filter(FilterHook::Prerouting, Priority::Mangle),
        Hook::RouteOutput => BaseChain::route(Priority::Mangle),
        Hook::NatPrerouting => BaseChain::nat(NatHook::Prerouting, Priority::DstNat),
        Hook::NatOutput => BaseChain::nat(NatHook::Output, Priority::DstNat),
        Hook::NatPostrouting => BaseChain::nat(NatHook::Postrouting, Priority::SrcNat),
        Hook::FilterForward => BaseChain::filter(FilterHook::Forward, Priority::Filter),
        Hook::FilterOutput => BaseChain::filter(FilterHook::Output, Priority::Filter),
    }
}

fn new_set(name: &str, key: &[SetKeyType]) -> Set {
    Set::new(TABLE, name)
        .family(Family::Ip)
        .key_type(SetKeyType::Concat(key.to_vec()))
}

fn set_named(name: &str) -> Set {
    use SetKeyType::{InetProto, InetService, Ipv4Addr as Ip, Mark};
    let endpoint = || SetDataType::Value(SetKeyType::Concat(vec![Ip, InetService]));
    match name {
        "services" => new_set(name, &[Ip, InetProto, InetService]).vmap(),
        "backends" => new_set(name, &[Ip, InetProto, InetService, Mark]).map(endpoint()),
        "sticky" => new_set(name, &[Ip, Ip, InetProto, InetService])
            .map(endpoint())
            .dynamic()
            .per_element_timeouts()
            .size(STICKY_LIMIT),
        "live" => new_set(name, &[Ip, InetProto, InetService, Ip, InetService]),
        _ => new_set("hairpin", &[Ip, Ip]),
    }
}

fn sets() -> impl Iterator<Item = Set> {
    ["services", "backends", "sticky", "live", "hairpin"]
        .into_iter()
        .map(set_named)
}

fn change_transaction(mut tx: Transaction, change: &Change) -> Result<Transaction> {
    let remove = |tx, set: &str, keys: Vec<Vec<u8>>| {
        let elements: Vec<_> = keys.into_iter().map(SetElement::new).collect();
        elements.chunks(ELEMENTS_CHUNK).fold(tx, |tx: Transaction, part| {
            tx.del_set_elements(&set_named(set), part)
        })
    };
    let add = |tx, set: &str, elements: Vec<SetElement>| {
        elements.chunks(ELEMENTS_CHUNK).fold(tx, |tx: Transaction, part| {
            tx.add_set_elements(&set_named(set), part)
        })
    };
    tx = remove(
        tx,
        "services",
        change.services.remove.iter().map(key_bytes).collect(),
    );
    tx = remove(
        tx,
        "backends",
        change.backends.remove.iter().map(backend_key).collect(),
    );
    tx = remove(tx, "live", change.live.remove.iter().map(live_key).collect());
    tx = remove(
        tx,
        "hairpin",
        change.hairpin.remove.iter().map(hairpin_key).collect(),
    );
    for pick in &change.add_chains {
        tx = tx.add_chain(Chain::new(TABLE, pick.chain())?.family(Family::Ip));
        tx = add_rules(tx, &pick.chain(), &pick.rules());
    }
    let mut services = Vec::with_capacity(change.services.add.len());
    for (key, pick) in &change.services.add {
        let verdict = Verdict::GotoTo(ChainName::new(pick.chain())?);
        services.push(SetElement::new(key_bytes(key)).verdict(verdict));
    }
    let backends = change.backends.add.iter();
    let backends =
        backends.map(|(k, e)| SetElement::new(backend_key(k)).value(SetElement::new(endpoint_bytes(e))));
    tx = add(tx, "backends", backends.collect());
    tx = add(
        tx,
        "live",
        change
            .live
            .add
            .iter()
            .map(|k| SetElement::new(live_key(k)))
            .collect(),
    );
    tx = add(
        tx,
        "hairpin",
        change
            .hairpin
            .add
            .iter()
            .map(|ip| SetElement::new(hairpin_key(ip)))
            .collect(),
    );
    tx = add(tx, "services", services);
    Ok(tx)
}

fn add_rules(tx: Transaction, chain: &str, rules: &[Rule]) -> Transaction {
    rules.iter().fold(tx, |tx, rule| {
        let rule = NftRule::new(TABLE, chain)
            .family(Family::Ip)
            .expressions(lower(rule));
        tx.add_rule(rule)
    })
}

// ---- elements as the kernel stores them: each field padded to four bytes ----

fn key_bytes(key: &ServiceKey) -> Vec<u8> {
    let mut bytes = key.ip.octets().to_vec();
    bytes.extend([key.protocol.number(), 0, 0, 0]);
    bytes.extend(key.port.to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn endpoint_bytes(endpoint: &Endpoint) -> Vec<u8> {
    let mut bytes = endpoint.ip.octets().to_vec();
    bytes.extend(endpoint.port.to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn backend_key((key, index): &(ServiceKey, u32)) -> Vec<u8> {
    let mut bytes = key_bytes(key);
    // `numgen` writes its number in the machine's own byte order.
    bytes.extend(index.to_ne_bytes());
    bytes
}

fn live_key((key, endpoint): &(ServiceKey, Endpoint)) -> Vec<u8> {
    let mut bytes = key_bytes(key);
    bytes.extend(endpoint_bytes(endpoint));
    bytes
}

fn hairpin_key(ip: &Ipv4Addr) -> Vec<u8> {
    [ip.octets(), ip.octets()].concat()
}

fn read_ip(bytes: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

fn read_port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

fn read_key(bytes: &[u8]) -> Option<ServiceKey> {
    let protocol = Protocol::from_number(*bytes.get(4)?)?;
    Some(ServiceKey {
        ip: read_ip(bytes)?,
        protocol,
        port: read_port(bytes.get(8..)?)?,
    })
}

fn read_endpoint(bytes: &[u8]) -> Option<Endpoint> {
    Some(Endpoint {
        ip: read_ip(bytes)?,
        port: read_port(bytes.get(4..)?)?,
    })
}
