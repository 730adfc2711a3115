//! IPAddress: that an address of the service ranges is taken, and by whom. Source: networking.k8s.io/v1 API reference.

use crate::json::{get, string};
use crate::row::text;
use crate::{Check, Column, Row, Rules, Write, address, check, internal};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const IPADDRESSES: Res = Res::new("networking.k8s.io", "ipaddresses");

pub fn row() -> Row {
    Row {
        res: IPADDRESSES,
        version: "v1",
        kind: "IPAddress",
        singular: "ipaddress",
        short_names: &["ip"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.networking.v1.IPAddress",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("ParentRef", "string").shows("networking.v1.IPAddressSpec", "parentRef"),
            ]
        },
        rules: Arc::new(IpAddress),
    }
}

struct IpAddress;

impl Rules for IpAddress {
    /// The name is the address.
    fn check_name(&self, name: &str) -> Vec<String> {
        address::canonical_ip_message(name).into_iter().collect()
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let path = Path::new("spec").child("parentRef");
        let parent = get(get(object, "spec"), "parentRef");
        if parent.is_null() {
            errors.required(&path, "");
            return;
        }
        let given = |field: &str| string(parent, field);
        if !given("group").is_empty() {
            check::dns_subdomain(&path.child("group"), given("group"), errors);
        }
        for field in ["resource", "name", "namespace"] {
            match given(field) {
                "" if field == "namespace" => {}
                "" => errors.required(&path.child(field), ""),
                value => check::path_segment(&path.child(field), value, errors),
            }
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::OBJECT_FIRST
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let parent = |object| get(get(object, "spec"), "parentRef");
        let (now, was) = (parent(object), parent(old));
        let path = Path::new("spec").child("parentRef");
        match now.is_null() {
            _ if internal::same("ParentReference", was, now) => {}
            true => errors.invalid(&path, Value::Null, check::IMMUTABLE),
            false => errors.invalid(&path, internal::shown("ParentReference", now), check::IMMUTABLE),
        }
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let parent = get(get(object, "spec"), "parentRef");
        let shown = match parent.is_null() {
            true => "<none>".to_string(),
            false => parent_text(parent),
        };
        vec![text(object, "/metadata/name").into(), shown.into()]
    }
}

/// `services/default/kubernetes`
fn parent_text(parent: &Value) -> String {
    let mut out = string(parent, "resource").to_string();
    let group = string(parent, "group");
    if !group.is_empty() {
        out = format!("{out}.{group}");
    }
    out = out.to_lowercase();
    for field in ["namespace", "name"] {
        let part = string(parent, field);
        if !(field == "namespace" && part.is_empty()) {
            out = format!("{out}/{part}");
        }
    }
    out
}
