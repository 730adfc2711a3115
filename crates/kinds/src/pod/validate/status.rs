//! What a pod's status may say. Source: core/v1 API reference.

use crate::check;
use crate::json::{get, list, number, string};
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::Value;

/// Conditions of Kubernetes' own.
const SYSTEM: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];
const NOT_NEGATIVE: &str = "must be a non-negative integer";

pub(super) fn status(pod: &Value, old: &Value, errors: &mut Errors) {
    let (now, was, path) = (get(pod, "status"), get(old, "status"), Path::new("status"));
    conditions(now, &path.child("conditions"), errors);
    let field = "nominatedNodeName";
    let nominated = string(now, field);
    if nominated != string(was, field) && !nominated.is_empty() {
        check::dns_subdomain(&path.child(field), nominated, errors);
        if crate::pod::is_scheduled(old) {
            let detail = "may not be set on pods that are already bound to a node";
            errors.forbidden(&path.child(field), detail);
        }
    }
    let generation = number(now, "observedGeneration");
    if generation < 0 {
        errors.invalid(&path.child("observedGeneration"), generation, NOT_NEGATIVE);
    }
    let class = get(now, "qosClass");
    if string(now, "qosClass") != string(was, "qosClass") {
        errors.invalid(&path.child("qosClass"), class.clone(), check::IMMUTABLE);
    }
    super::states::transitions(now, was, get(old, "spec"), &path, errors);
    super::states::claims(now, get(pod, "spec"), &path, errors);
    addresses(now, was, "podIPs", &path, errors);
    if let Some(first) = list(now, "hostIPs").first().map(|ip| string(ip, "ip"))
        && first != string(now, "hostIP")
    {
        let path = path.child("hostIPs").index(0).child("ip");
        errors.invalid(&path, first, "must be equal to `hostIP`");
    }
    addresses(now, was, "hostIPs", &path, errors);
    super::states::users(now, get(pod, "spec"), &path, errors);
    super::states::devices(now, get(pod, "spec"), &path, errors);
}

fn conditions(status: &Value, path: &Path, errors: &mut Errors) {
    for (i, condition) in list(status, "conditions").iter().enumerate() {
        let (kind, path) = (string(condition, "type"), path.index(i));
        let generation = number(condition, "observedGeneration");
        if generation < 0 {
            errors.invalid(&path.child("observedGeneration"), generation, NOT_NEGATIVE);
        }
        if !SYSTEM.contains(&kind) {
            // Upstream writes this path with a capital.
            check::qualified_name(&path.child("Type"), kind, errors);
        }
    }
}

/// One address a family; those that were there before may stay as they are.
fn addresses(status: &Value, was: &Value, field: &str, path: &Path, errors: &mut Errors) {
    let path = path.child(field);
    let all: Vec<&str> = list(status, field).iter().map(|ip| string(ip, "ip")).collect();
    let known: Vec<&str> = list(was, field).iter().map(|ip| string(ip, "ip")).collect();
    for (i, ip) in all.iter().enumerate().filter(|(_, ip)| !known.contains(ip)) {
        check::ip(ip, &path.index(i), errors);
    }
    let of_6 = all.iter().filter(|ip| ip.contains(':')).count();
    let no_ip = |ip: &&str| check::ip_message(ip) == Some(check::NOT_AN_IP);
    let mut broken = all
        .iter()
        .enumerate()
        .filter(|(_, ip)| all.len() > 1 && no_ip(ip));
    let broken = broken.next();
    if let Some((i, ip)) = broken {
        let detail = format!("failed to check for dual stack with error:invalid IP[{i}]: {ip}");
        errors.internal(&path, &detail);
    }
    if all.len() > 2 || (all.len() == 2 && of_6 != 1) || broken.is_some() {
        let shown = all.iter().map(|ip| Shown::members([("IP", Some((*ip).into()))]));
        let detail = "may specify no more than one IP for each IP family";
        errors.invalid(&path, Shown::list(shown), detail);
    }
}
