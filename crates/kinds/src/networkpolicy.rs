//! NetworkPolicy: who may talk to whom. Source: networking.k8s.io/v1 API reference.

use crate::json::{ensure_object, get, has, int, items_mut, list, put, put_default, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write, address, check, pod};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const NETWORKPOLICIES: Res = Res::new("networking.k8s.io", "networkpolicies");

/// Rules of a direction, and who is at the other end of it.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

pub fn row() -> Row {
    Row {
        res: NETWORKPOLICIES,
        version: "v1",
        kind: "NetworkPolicy",
        singular: "networkpolicy",
        short_names: &["netpol"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.networking.v1.NetworkPolicy",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Pod-Selector", "string").shows("networking.v1.NetworkPolicySpec", "podSelector"),
                Column::AGE,
            ]
        },
        rules: Arc::new(NetworkPolicy),
    }
}

struct NetworkPolicy;

impl Rules for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        for (direction, _) in DIRECTIONS {
            for port in items_mut(spec, direction).flat_map(|rule| items_mut(rule, "ports")) {
                put_default(port, "protocol", "TCP");
            }
        }
        if list(spec, "policyTypes").is_empty() {
            let types: &[&str] = match list(spec, "egress").is_empty() {
                true => &["Ingress"],
                false => &["Ingress", "Egress"],
            };
            put(spec, "policyTypes", types);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate(object, &[], errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        let known: Vec<&str> = blocks(old)
            .into_iter()
            .flat_map(|(block, _)| ranges(block))
            .collect();
        validate(object, &known, errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::MetadataChange, Check::Object]
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        for (block, path) in blocks(object) {
            out.extend(address::cidr_warning(&path.child("cidr"), string(block, "cidr")));
            for (i, except) in list(block, "except").iter().enumerate() {
                let except = except.as_str().unwrap_or_default();
                out.extend(address::cidr_warning(&path.child("except").index(i), except));
            }
        }
        out
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let selector = crate::workload::label_selector(get(get(object, "spec"), "podSelector"));
        vec![
            text(object, "/metadata/name").into(),
            pod::cells::selector(selector.to_string()),
            age(object, now).into(),
        ]
    }
}

/// All blocks of addresses that a policy names, with their paths.
fn blocks(object: &Value) -> Vec<(&Value, Path)> {
    let mut out = Vec::new();
    for (direction, peers) in DIRECTIONS {
        let rules = list(get(object, "spec"), direction).iter().enumerate();
        for (i, rule) in rules {
            let path = Path::new("spec").child(direction).index(i).child(peers);
            for (i, peer) in list(rule, peers).iter().enumerate() {
                if has(peer, "ipBlock") {
                    out.push((get(peer, "ipBlock"), path.index(i).child("ipBlock")));
                }
            }
        }
    }
    out
}

fn ranges(block: &Value) -> impl Iterator<Item = &str> {
    let excepted = list(block, "except").iter().filter_map(Value::as_str);
    std::iter::once(string(block, "cidr")).chain(excepted)
}

/// Ranges that the policy had before are let pass.
fn validate(object: &Value, known: &[&str], errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    check::label_selector(get(spec, "podSelector"), &path.child("podSelector"), errors);
    for (direction, peers) in DIRECTIONS {
        for (i, rule) in list(spec, direction).iter().enumerate() {
            let path = path.child(direction).index(i);
            for (i, given) in list(rule, "ports").iter().enumerate() {
                port(given, &path.child("ports").index(i), errors);
            }
            for (i, given) in list(rule, peers).iter().enumerate() {
                peer(given, known, &path.child(peers).index(i), errors);
            }
        }
    }
    let (types, path) = (list(spec, "policyTypes"), path.child("policyTypes"));
    if types.len() > DIRECTIONS.len() {
        errors.invalid(&path, types.to_vec(), "may not specify more than two policyTypes");
        return;
    }
    for (i, kind) in types.iter().enumerate() {
        let kind = kind.as_str().unwrap_or_default();
        if !matches!(kind, "Ingress" | "Egress") {
            errors.not_supported(&path.index(i), kind, &["Ingress", "Egress"]);
        }
    }
}

fn port(port: &Value, path: &Path, errors: &mut Errors) {
    check::one_of_given(port, "protocol", &["TCP", "UDP", "SCTP"], path, errors);
    let (given, end, end_path) = (get(port, "port"), int(port, "endPort"), path.child("endPort"));
    match given {
        Value::Null => {
            if let Some(end) = end {
                errors.invalid(
                    &end_path,
                    end,
                    "may not be specified when `port` is not specified",
                );
            }
        }
        Value::String(name) => {
            if let Some(end) = end {
                errors.invalid(&end_path, end, "may not be specified when `port` is non-numeric");
            }
            check::messages(&path.child("port"), name, check::port_name_messages(name), errors);
        }
        number => {
            let first = number.as_i64().unwrap_or(0);
            check::port_number(first, &path.child("port"), errors);
            if let Some(end) = end {
                if end < first {
                    errors.invalid(&end_path, first, "must be greater than or equal to `port`");
                }
                check::port_number(end, &end_path, errors);
            }
        }
    }
}

fn peer(peer: &Value, known: &[&str], path: &Path, errors: &mut Errors) {
    let mut count = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if has(peer, field) {
            count += 1;
            check::label_selector(get(peer, field), &path.child(field), errors);
        }
    }
    if has(peer, "ipBlock") {
        block(get(peer, "ipBlock"), known, &path.child("ipBlock"), errors);
        if count > 0 {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
    } else if count == 0 {
        errors.required(path, "must specify a peer");
    }
}

fn block(block: &Value, known: &[&str], path: &Path, errors: &mut Errors) {
    let check_range = |text: &str, path: &Path, errors: &mut Errors| {
        if let Some(message) = check::cidr_message(text).filter(|_| !known.contains(&text)) {
            errors.invalid(path, text, message);
        }
    };
    let (cidr, cidr_path) = (string(block, "cidr"), path.child("cidr"));
    if cidr.is_empty() {
        errors.required(&cidr_path, "");
        return;
    }
    check_range(cidr, &cidr_path, errors);
    let Some(whole) = address::Range::parse(cidr) else {
        return;
    };
    for (i, except) in list(block, "except").iter().enumerate() {
        let (except, path) = (except.as_str().unwrap_or_default(), path.child("except").index(i));
        check_range(except, &path, errors);
        if address::Range::parse(except).is_some_and(|part| !whole.is_wider_than(part)) {
            errors.invalid(&path, except, "must be a strict subset of `cidr`");
        }
    }
}
