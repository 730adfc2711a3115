//! Gives Services their addresses and node ports, out of what no other Service has.
//! The choice starts at a place that the Service's uid says, so that it needs no randomness and rarely collides.

use super::{
    NONE, SERVICES, families, is_headless, kind, needs_cluster_ip, needs_health_check, needs_node_ports,
};
use crate::endpointslice::ServiceFacts;
use crate::json::{get, is_true, list, number, put, string};
use crate::row::text;
use meta::{Errors, Path, Snapshot, Status};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The addresses of Services: 10.96.0.0/16, network and broadcast address excluded.
pub const CLUSTER_IPS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);
pub const NODE_PORTS: RangeInclusive<i64> = 30_000..=32_767;
/// Addresses at the start of the range that are chosen by hand; the server chooses there only when the rest is full.
/// Source: "Service ClusterIP allocation" in the Kubernetes documentation.
const STATIC_BAND: u32 = 256;

/// What other Services hold.
struct Taken {
    services: Vec<Arc<ServiceFacts>>,
}

impl Taken {
    fn by_others(seen: &Snapshot, uid: &str) -> Self {
        let others = seen.list(SERVICES, "").filter(|s| s.uid() != uid);
        // One that cannot be read holds nothing that could be told.
        Self {
            services: others.filter_map(|s| s.typed::<ServiceFacts>().ok()).collect(),
        }
    }

    fn has_ip(&self, ip: &str) -> bool {
        let holds = |s: &Arc<ServiceFacts>| {
            s.spec.cluster_ip.as_deref() == Some(ip) || s.spec.cluster_ips.iter().flatten().any(|i| i == ip)
        };
        self.services.iter().any(holds)
    }

    fn node_ports(&self) -> BTreeSet<i64> {
        let of = |s: &Arc<ServiceFacts>| {
            let mut ports: Vec<i64> = s.spec.ports.iter().map(|p| number(p, "nodePort")).collect();
            ports.extend(s.spec.health_check_node_port);
            ports
        };
        self.services.iter().flat_map(of).filter(|p| *p != 0).collect()
    }
}

pub(super) fn allocate(object: &mut Value, old: Option<&Value>, seen: &Snapshot) -> Result<(), Status> {
    let (uid, name) = (
        text(object, "/metadata/uid").to_string(),
        text(object, "/metadata/name").to_string(),
    );
    let before = old.map_or(&Value::Null, |old| get(old, "spec"));
    let Some(spec) = object.get_mut("spec") else {
        return Ok(());
    };
    if old.is_some() && is_settled(spec, before) {
        return Ok(());
    }
    let taken = Taken::by_others(seen, &uid);
    let told = |errors: Errors| match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid("", "Service", &name, &errors)),
    };
    if kind(spec) != "ExternalName" {
        let mut errors = Errors::new();
        families::choose(spec, before, &mut errors);
        told(errors)?;
        // An address that is there stays, whatever is asked for: validation tells of it.
        if string(before, "clusterIP").is_empty() {
            let mut errors = Errors::new();
            cluster_ip(spec, &uid, &taken, &mut errors)?;
            told(errors)?;
        }
    }
    let mut errors = Errors::new();
    node_ports(spec, before, &uid, &taken, &mut errors)?;
    told(errors)
}

/// Nothing is asked for that the object did not have before.
fn is_settled(spec: &Value, before: &Value) -> bool {
    let same = |field: &str| get(spec, field) == get(before, field);
    let fields = [
        "type",
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "ports",
        "healthCheckNodePort",
        "externalTrafficPolicy",
        "allocateLoadBalancerNodePorts",
    ];
    let detached = families::is_detached;
    fields.iter().all(|f| same(f))
        && detached(spec) == detached(before)
        && (!needs_cluster_ip(spec) || !string(spec, "clusterIP").is_empty())
}

fn cluster_ip(spec: &mut Value, uid: &str, taken: &Taken, errors: &mut Errors) -> Result<(), Status> {
    if is_headless(spec) {
        put(spec, "clusterIP", NONE);
        put(spec, "clusterIPs", json!([NONE]));
        return Ok(());
    }
    let asked = string(spec, "clusterIP").to_string();
    if asked.is_empty() {
        let ip = free_ip(uid, taken)
            .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?
            .to_string();
        put(spec, "clusterIP", ip.as_str());
        put(spec, "clusterIPs", json!([ip]));
        return Ok(());
    }
    let why = match asked.parse() {
        Ok(ip) if !in_range(ip) => {
            let (start, bits) = CLUSTER_IPS;
            format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {start}/{bits}"
            )
        }
        _ if taken.has_ip(&asked) => "provided IP is already allocated".to_string(),
        _ => return Ok(()),
    };
    let path = Path::new("spec").child("clusterIPs");
    let detail = format!("failed to allocate IP {asked}: {why}");
    errors.invalid(&path, get(spec, "clusterIPs").clone(), &detail);
    Ok(())
}

/// Addresses in the range, both ends included.
fn size() -> u32 {
    1 << (32 - CLUSTER_IPS.1)
}

fn in_range(ip: Ipv4Addr) -> bool {
    let offset = u32::from(ip).wrapping_sub(u32::from(CLUSTER_IPS.0));
    offset > 0 && offset < size() - 1
}

fn free_ip(uid: &str, taken: &Taken) -> Option<Ipv4Addr> {
    let used: BTreeSet<&str> = taken
        .services
        .iter()
        .filter_map(|s| s.spec.cluster_ip.as_deref())
        .collect();
    let free = |offset: u32| {
        let ip = Ipv4Addr::from(u32::from(CLUSTER_IPS.0) + offset);
        (!used.contains(ip.to_string().as_str())).then_some(ip)
    };
    let upper = size() - 1 - STATIC_BAND;
    let start = (hash(uid) % u64::from(upper)) as u32;
    (0..upper)
        .find_map(|i| free(STATIC_BAND + (start + i) % upper))
        .or_else(|| (1..STATIC_BAND).find_map(free))
}

/// FNV-1a: spreads uids evenly, the same on every machine.
fn hash(text: &str) -> u64 {
    let step = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn node_ports(
    spec: &mut Value,
    before: &Value,
    uid: &str,
    taken: &Taken,
    errors: &mut Errors,
) -> Result<(), Status> {
    if !needs_node_ports(spec) {
        return Ok(());
    }
    let mut used = taken.node_ports();
    let mine: Vec<i64> = list(before, "ports")
        .iter()
        .map(|p| number(p, "nodePort"))
        .collect();
    let automatic = kind(spec) == "NodePort" || is_true(spec, "allocateLoadBalancerNodePorts");
    let path = Path::new("spec").child("ports");
    let asked: Vec<(i64, i64)> = list(spec, "ports")
        .iter()
        .map(|p| (number(p, "port"), number(p, "nodePort")))
        .collect();
    // Ports that the server chooses are none that stand further below.
    let by_hand: BTreeSet<i64> = asked.iter().map(|(_, node)| *node).filter(|p| *p != 0).collect();
    // Ports with the number they have on the node. In a new Service one number serves a port under all of its protocols;
    // an update takes each as it comes, and one number as often as it is asked for.
    let mut chosen: Vec<(i64, i64)> = Vec::new();
    let is_new = before.is_null();
    for (i, (port, own)) in asked.iter().copied().enumerate() {
        if own == 0 && !automatic {
            continue;
        }
        let twin = chosen.iter().find(|(p, _)| *p == port).map(|(_, node)| *node);
        let wanted = match own {
            0 if is_new => twin.unwrap_or_else(|| requested(&asked, port)),
            own => own,
        };
        let node = match wanted {
            0 => free_port(uid, &used.union(&by_hand).copied().collect())?,
            node => node,
        };
        let again = match is_new {
            true => twin == Some(node),
            false => chosen.iter().any(|(_, n)| *n == node),
        };
        if wanted != 0 && !again {
            let known = mine.contains(&node);
            check_node_port(node, known, &used, &path.index(i).child("nodePort"), errors);
            if !errors.is_empty() {
                return Ok(());
            }
        }
        used.insert(node);
        chosen.push((port, node));
        put(&mut spec["ports"][i], "nodePort", node);
    }
    health_check(spec, before, uid, &mut used, errors)
}

/// What the first port of this number asks for.
fn requested(asked: &[(i64, i64)], port: i64) -> i64 {
    let mut same = asked.iter().filter(|(p, node)| *p == port && *node != 0);
    same.next().map_or(0, |(_, node)| *node)
}

fn health_check(
    spec: &mut Value,
    before: &Value,
    uid: &str,
    used: &mut BTreeSet<i64>,
    errors: &mut Errors,
) -> Result<(), Status> {
    if !needs_health_check(spec) {
        return Ok(());
    }
    let field = "healthCheckNodePort";
    match number(spec, field) {
        0 => {
            let port = free_port(uid, used)?;
            put(spec, field, port);
        }
        // One that is there stays: validation tells of a change.
        _ if needs_health_check(before) => {}
        port => {
            check_node_port(port, false, used, &Path::new("spec").child(field), errors);
        }
    }
    Ok(())
}

fn check_node_port(port: i64, known: bool, used: &BTreeSet<i64>, path: &Path, errors: &mut Errors) {
    if known {
        return;
    }
    if !NODE_PORTS.contains(&port) {
        let (first, last) = (NODE_PORTS.start(), NODE_PORTS.end());
        let detail =
            format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
        errors.invalid(path, port, &detail);
    } else if used.contains(&port) {
        errors.invalid(path, port, "provided port is already allocated");
    }
}

fn free_port(uid: &str, used: &BTreeSet<i64>) -> Result<i64, Status> {
    let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    let start = (hash(uid) % count as u64) as i64;
    (0..count)
        .map(|i| NODE_PORTS.start() + (start + i) % count)
        .find(|port| !used.contains(port))
        .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))
}
