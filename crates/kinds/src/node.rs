//! Node: a machine that runs pods. Source: core/v1 API reference.

use crate::check::{messages, qualified_name};
use crate::json::{ensure_object, get, list, members, put, string, texts};
use crate::row::{age, text};
use crate::{Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp, name};
use serde_json::Value;
use std::sync::Arc;

pub const NODES: Res = Res::new("", "nodes");

pub fn row() -> Row {
    Row {
        res: NODES,
        version: "v1",
        kind: "Node",
        singular: "node",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.core.v1.Node",
        generation: false,
        status: true,
        scale: None,
        selectable: &["spec.unschedulable"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Status", "string").says("The status of the node"),
                Column::new("Roles", "string").says("The roles of the node"),
                Column::AGE,
                Column::new("Version", "string").shows("core.v1.NodeSystemInfo", "kubeletVersion"),
                Column::wide("Internal-IP", "string").shows("core.v1.NodeStatus", "addresses"),
                Column::wide("External-IP", "string").shows("core.v1.NodeStatus", "addresses"),
                Column::wide("OS-Image", "string").shows("core.v1.NodeSystemInfo", "osImage"),
                Column::wide("Kernel-Version", "string").shows("core.v1.NodeSystemInfo", "kernelVersion"),
                Column::wide("Container-Runtime", "string")
                    .shows("core.v1.NodeSystemInfo", "containerRuntimeVersion"),
            ]
        },
        rules: Arc::new(Node),
    }
}

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

struct Node;

impl Rules for Node {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = crate::json::child_mut(object, "spec") {
            let range = string(spec, "podCIDR").to_string();
            if !range.is_empty() && list(spec, "podCIDRs").is_empty() {
                put(spec, "podCIDRs", vec![Value::from(range)]);
            }
        }
        let capacity = get(get(object, "status"), "capacity").clone();
        let empty = members(get(object, "status"), "allocatable").next().is_none();
        if capacity.is_object()
            && empty
            && let Some(status) = ensure_object(object, "status")
        {
            put(status, "allocatable", capacity);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = get(object, "spec");
        taints(list(spec, "taints"), errors);
        pod_ranges(spec, errors);
        let status = Path::new("status");
        for field in ["capacity", "allocatable"] {
            for (name, size) in members(get(object, "status"), field) {
                let path = status.child(field).key(name);
                crate::check::quantity(size, &path, errors);
            }
        }
    }

    fn creates_with_status(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let (spec, before) = (get(object, "spec"), get(old, "spec"));
        let path = Path::new("spec");
        addresses(object, errors);
        if !list(before, "podCIDRs").is_empty() && get(spec, "podCIDRs") != get(before, "podCIDRs") {
            let detail = "node updates may not change podCIDR except from \"\" to valid";
            errors.forbidden(&path.child("podCIDRs"), detail);
        }
        let (id, known) = (string(spec, "providerID"), string(before, "providerID"));
        if !known.is_empty() && id != known {
            let detail = "node updates may not change providerID except from \"\" to valid";
            errors.forbidden(&path.child("providerID"), detail);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let info = get(get(object, "status"), "nodeInfo");
        let known = |field: &str| match string(info, field) {
            "" => "<unknown>".to_string(),
            text => text.to_string(),
        };
        let kernel = match string(info, "architecture") {
            "" => known("kernelVersion"),
            architecture => format!("{} ({architecture})", known("kernelVersion")),
        };
        vec![
            text(object, "/metadata/name").into(),
            state(object).into(),
            roles(object).into(),
            age(object, now).into(),
            string(info, "kubeletVersion").into(),
            address(object, "InternalIP").into(),
            address(object, "ExternalIP").into(),
            known("osImage").into(),
            kernel.into(),
            known("containerRuntimeVersion").into(),
        ]
    }

    fn field(&self, object: &Value, path: &str) -> String {
        match (path, crate::row::plain_field(object, path)) {
            // A node that does not say so takes pods.
            ("spec.unschedulable", text) if text.is_empty() => "false".to_string(),
            (_, text) => text,
        }
    }
}

/// `Ready`, `NotReady` or `Unknown`, and whether it takes pods.
fn state(node: &Value) -> String {
    let conditions = list(get(node, "status"), "conditions");
    let ready = conditions.iter().find(|c| string(c, "type") == "Ready");
    let mut state = match ready.map(|c| string(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_string();
    if get(get(node, "spec"), "unschedulable") == &Value::Bool(true) {
        state.push_str(",SchedulingDisabled");
    }
    state
}

fn roles(node: &Value) -> String {
    let role = |(key, value): (&str, &str)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) if !role.is_empty() => Some(role.to_string()),
        _ if key == ROLE_LABEL && !value.is_empty() => Some(value.to_string()),
        _ => None,
    };
    let mut all: Vec<String> = texts(get(node, "metadata"), "labels").filter_map(role).collect();
    all.sort();
    all.dedup();
    if all.is_empty() {
        "<none>".to_string()
    } else {
        all.join(",")
    }
}

fn address(node: &Value, kind: &str) -> String {
    let all = list(get(node, "status"), "addresses");
    let found = all.iter().find(|a| string(a, "type") == kind);
    found.map_or("<none>", |a| string(a, "address")).to_string()
}

/// Keys and values of labels, known effects, and no effect of one key twice.
fn taints(taints: &[Value], errors: &mut Errors) {
    let root = Path::new("metadata").child("taints");
    for (i, taint) in taints.iter().enumerate() {
        let path = root.index(i);
        let effect = string(taint, "effect");
        qualified_name(&path.child("key"), string(taint, "key"), errors);
        let value = string(taint, "value");
        messages(
            &path.child("value"),
            value,
            name::check_label_value(value),
            errors,
        );
        if effect.is_empty() {
            errors.required(&path.child("effect"), "");
        } else if !EFFECTS.contains(&effect) {
            errors.not_supported(&path.child("effect"), effect, &EFFECTS);
        }
        let same = |t: &Value| get(t, "key") == get(taint, "key") && get(t, "effect") == get(taint, "effect");
        if taints[..i].iter().any(same) {
            errors.duplicate(&path, taint.clone());
        }
    }
}

fn pod_ranges(spec: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("podCIDRs");
    let all = list(spec, "podCIDRs");
    for (i, range) in all.iter().enumerate() {
        let range = range.as_str().unwrap_or_default();
        if !crate::service::is_cidr(range) {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid(&path.index(i), range, detail);
        }
    }
    if all.len() > 2 {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.invalid(&path, get(spec, "podCIDRs").clone(), detail);
    }
}

fn addresses(node: &Value, errors: &mut Errors) {
    let all = list(get(node, "status"), "addresses");
    for (i, address) in all.iter().enumerate() {
        if all[..i].contains(address) {
            let path = Path::new("status").child("addresses").index(i);
            errors.duplicate(&path, address.clone());
        }
    }
}
