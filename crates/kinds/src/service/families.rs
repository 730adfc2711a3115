//! Addresses and IP families of a Service: they fit each other, and do not change once set.
//! A cluster has IPv4 addresses only; the rules are those of a single-stack cluster.

use super::{NONE, is_alias, is_headless, needs_cluster_ip};
use crate::check::{ip_message, one_of_given};
use crate::json::{get, list, put, string};
use meta::{Errors, Path};
use serde_json::{Value, json};

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

/// `before` is null for a new Service.
pub(super) fn validate(spec: &Value, before: &Value, errors: &mut Errors) {
    if is_alias(spec) {
        return;
    }
    let path = Path::new("spec");
    first_address(spec, errors);
    let families = list(spec, "ipFamilies");
    for (i, family) in families.iter().enumerate() {
        let (text, path) = (
            family.as_str().unwrap_or_default(),
            path.child("ipFamilies").index(i),
        );
        if !FAMILIES.contains(&text) {
            errors.not_supported(&path, text, &FAMILIES);
        }
        if families[..i].contains(family) {
            errors.duplicate(&path, text);
        }
    }
    one_of_given(spec, "ipFamilyPolicy", &POLICIES, &path, errors);
    if addresses(spec, before, errors) {
        match_families(spec, errors);
    }
}

/// The list of addresses begins with the one address.
fn first_address(spec: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("clusterIPs");
    let (ip, ips) = (string(spec, "clusterIP"), list(spec, "clusterIPs"));
    match ips.first() {
        Some(_) if ip.is_empty() => {
            let detail = "must be empty when `clusterIP` is not specified";
            errors.invalid(&path, ips.to_vec(), detail);
        }
        None if !ip.is_empty() => errors.required(&path, ""),
        Some(first) if first != ip => {
            errors.invalid(&path, ips.to_vec(), "first value must match `clusterIP`");
        }
        _ => {}
    }
}

/// The lists of addresses alone. True when every one is an address, or was good enough before.
fn addresses(spec: &Value, before: &Value, errors: &mut Errors) -> bool {
    let path = Path::new("spec").child("clusterIPs");
    let ips = list(spec, "clusterIPs");
    let all = || ips.to_vec();
    let mut valid = true;
    for (i, ip) in ips.iter().enumerate() {
        let text = ip.as_str().unwrap_or_default();
        if i == 0 && text == NONE {
            if ips.len() > 1 {
                valid = false;
                errors.invalid(&path, all(), "'None' must be the first and only value");
            }
        } else if let Some(message) = ip_message(text)
            && !list(before, "clusterIPs").contains(ip)
        {
            valid = false;
            errors.invalid(&path.index(i), text, message);
        }
    }
    if ips.len() > 2 {
        errors.invalid(&path, all(), "may only hold up to 2 values");
    }
    let of = |family_name: &str| {
        ips.iter()
            .any(|ip| family(ip.as_str().unwrap_or_default()) == family_name)
    };
    if valid && ips.len() > 1 && !(of("IPv4") && of("IPv6")) {
        errors.invalid(&path, all(), "may specify no more than one IP for each IP family");
    }
    valid
}

fn family(ip: &str) -> &'static str {
    if ip.contains(':') { "IPv6" } else { "IPv4" }
}

fn match_families(spec: &Value, errors: &mut Errors) {
    if is_headless(spec) {
        return;
    }
    let path = Path::new("spec").child("clusterIPs");
    let pairs = list(spec, "clusterIPs").iter().zip(list(spec, "ipFamilies"));
    for (i, (ip, wanted)) in pairs.enumerate() {
        let (ip, wanted) = (
            ip.as_str().unwrap_or_default(),
            wanted.as_str().unwrap_or_default(),
        );
        if FAMILIES.contains(&wanted) && family(ip) != wanted {
            let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&path.index(i), ip, &detail);
        }
    }
}

/// Neither addresses nor families change, but from and to `ExternalName`; a second one may come and go.
pub(super) fn update(spec: &Value, before: &Value, errors: &mut Errors) {
    if is_alias(spec) || is_alias(before) {
        return;
    }
    let (now, was) = (is_headless(spec), is_headless(before));
    if now && was {
        return;
    }
    kept(spec, before, ("clusterIPs", "clusterIP"), errors);
    if !now && !was {
        kept(spec, before, ("ipFamilies", "ipFamily"), errors);
    }
}

fn kept(spec: &Value, before: &Value, (field, word): (&str, &str), errors: &mut Errors) {
    const CHANGED: &str = "may not change once set";
    let (now, was) = (list(spec, field), list(before, field));
    let (root, shown) = (Path::new("spec"), get(spec, field).clone());
    let path = root.child(field);
    if now.len() == was.len() {
        for (i, _) in was.iter().enumerate().filter(|(i, old)| **old != now[*i]) {
            // Of families, upstream always names the first one.
            let i = if field == "ipFamilies" { 0 } else { i };
            errors.invalid(&path.index(i), shown.clone(), CHANGED);
        }
        return;
    }
    let fewer = now.len() < was.len();
    if fewer && list(spec, "clusterIPs").is_empty() {
        let detail = format!("primary {word} can not be unset");
        errors.invalid(&path.index(0), shown.clone(), &detail);
    }
    if let (Some(now), Some(was)) = (now.first(), was.first())
        && now != was
    {
        // Upstream shows the addresses in both cases.
        errors.invalid(&path.index(0), get(spec, "clusterIPs").clone(), CHANGED);
    }
    let policy = get(spec, "ipFamilyPolicy");
    if fewer && now.len() == 1 && policy != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {word}");
        errors.invalid(&root.child("ipFamilyPolicy"), policy.clone(), &detail);
    }
}

/// Chooses families and policy; the errors of what this cluster does not have, or else of what makes no sense.
pub(super) fn choose(spec: &mut Value, before: &Value, errors: &mut Errors) {
    let same = |field: &str| get(spec, field) == get(before, field);
    let prefers = get(before, "ipFamilyPolicy") == "PreferDualStack" && needs_cluster_ip(spec);
    let fields = ["type", "ipFamilyPolicy", "clusterIPs", "ipFamilies"];
    if prefers && fields.iter().all(|f| same(f)) {
        return;
    }
    let path = Path::new("spec");
    let detached = is_detached(spec);
    if get(spec, "ipFamilyPolicy").is_null() {
        let policy = match get(before, "ipFamilyPolicy").as_str() {
            Some(policy) => policy,
            None if detached => "RequireDualStack",
            None => "SingleStack",
        };
        put(spec, "ipFamilyPolicy", policy);
    }
    validate(spec, before, errors);
    if !errors.is_empty() {
        return;
    }
    fits_policy(spec, before, errors);
    infer_families(spec, errors);
    if !errors.is_empty() {
        return;
    }
    if detached {
        return choose_detached(spec);
    }
    let policy = string(spec, "ipFamilyPolicy");
    if policy == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.invalid(&path.child("ipFamilyPolicy"), policy, detail);
    }
    for (i, family) in list(spec, "ipFamilies").iter().enumerate() {
        if family == "IPv6" {
            let detail = "not configured on this cluster";
            errors.invalid(&path.child("ipFamilies").index(i), "IPv6", detail);
        }
    }
    if errors.is_empty() && list(spec, "ipFamilies").is_empty() {
        put(spec, "ipFamilies", json!(["IPv4"]));
    }
}

/// One family has one address, and a second one goes only with the policy that asks for it.
fn fits_policy(spec: &mut Value, before: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("ipFamilyPolicy");
    let policy = string(spec, "ipFamilyPolicy").to_string();
    let fields = [
        ("clusterIPs", "cluster IP", "cluster IPs"),
        ("ipFamilies", "IP family", "IP families"),
    ];
    let single = policy == "SingleStack";
    for (field, one, _) in fields.iter().filter(|_| !before.is_null()) {
        let (now, was) = (list(spec, field).to_vec(), list(before, field));
        if single && now == was && now.len() > 1 {
            put(spec, field, now[..1].to_vec());
        } else if !single && !now.is_empty() && now.len() < was.len() {
            let detail = format!("must be 'SingleStack' to release the secondary {one}");
            errors.invalid(&path, policy.as_str(), &detail);
        }
    }
    for (field, _, many) in fields.iter().filter(|_| single) {
        if list(spec, field).len() == 2 {
            let detail =
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {many} are specified");
            errors.invalid(&path, policy.as_str(), &detail);
        }
    }
}

/// Addresses say of which family they are.
fn infer_families(spec: &mut Value, errors: &mut Errors) {
    let ips = list(spec, "clusterIPs").to_vec();
    let mut families = list(spec, "ipFamilies").to_vec();
    let known = families.len();
    for (i, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if ip == NONE {
            break;
        }
        if i < known {
            continue;
        }
        match family(ip) {
            "IPv4" => families.push("IPv4".into()),
            other => {
                let path = Path::new("spec").child("clusterIPs").index(i);
                let detail = format!("{other} is not configured on this cluster");
                errors.invalid(&path, ips.clone(), &detail);
            }
        }
    }
    if families.len() > known {
        put(spec, "ipFamilies", families);
    }
}

/// Headless and without a selector: someone else makes its endpoints, of whatever family.
pub(super) fn is_detached(spec: &Value) -> bool {
    get(spec, "clusterIP") == NONE && crate::json::members(spec, "selector").next().is_none()
}

fn choose_detached(spec: &mut Value) {
    let dual = string(spec, "ipFamilyPolicy") != "SingleStack";
    let mut families = list(spec, "ipFamilies").to_vec();
    if families.is_empty() {
        families.push("IPv4".into());
    }
    if dual && families.len() == 1 {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.into());
    }
    put(spec, "ipFamilies", families);
}
