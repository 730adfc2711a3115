//! Node: a machine that runs pods. Source: core/v1 API reference.

pub mod access;
pub mod cordon;
pub(crate) mod labels;
pub mod restriction;

use crate::check::{cidr_message, qualified_name};
use crate::json::{at, child_mut, ensure_object, get, list, members, put, string, take, texts};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::field::Shown;
use meta::{Errors, Path, Res, Snapshot, Status, Timestamp, name};
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
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

struct Node;

/// A node that does not say what it keeps for itself keeps nothing.
fn all_is_allocatable(object: &mut Value) {
    let capacity = get(get(object, "status"), "capacity").clone();
    if capacity.is_object()
        && let Some(status) = ensure_object(object, "status")
    {
        put(status, "allocatable", capacity);
    }
}

impl Rules for Node {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = crate::json::child_mut(object, "spec") {
            same_ranges(spec);
        }
        if get(get(object, "status"), "allocatable").is_null() {
            all_is_allocatable(object);
        }
    }

    /// An empty `allocatable` is checked as it is, and is none once it is stored.
    fn admit(
        &self,
        _write: Write,
        object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        if members(get(object, "status"), "allocatable").next().is_none() {
            all_is_allocatable(object);
        }
        Ok(())
    }

    /// Configuration of kubelets by the API is no more (KEP-281); who has it keeps it.
    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        let was = |pointer: &str| old.is_some_and(|old| !at(old, pointer).is_null());
        if write != Write::Status && !was("/spec/configSource") {
            child_mut(object, "spec").map(|spec| take(spec, "configSource"));
        }
        if write != Write::Update && !was("/status/config") {
            child_mut(object, "status").map(|status| take(status, "config"));
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = get(object, "spec");
        taints(list(spec, "taints"), errors);
        resources(object, errors);
        swap(object, errors);
        features(list(get(object, "status"), "declaredFeatures"), errors);
        pod_ranges(spec, errors);
    }

    fn creates_with_status(&self) -> bool {
        true
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => Check::OBJECT_FIRST,
        }
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let (spec, before) = (get(object, "spec"), get(old, "spec"));
        let path = Path::new("spec");
        resources(object, errors);
        features(list(get(object, "status"), "declaredFeatures"), errors);
        addresses(object, errors);
        for _ in 0..changed_ranges(list(spec, "podCIDRs"), list(before, "podCIDRs")) {
            let detail = "node updates may not change podCIDR except from \"\" to valid";
            errors.forbidden(&path.child("podCIDRs"), detail);
        }
        let (id, known) = (string(spec, "providerID"), string(before, "providerID"));
        if !known.is_empty() && id != known {
            let detail = "node updates may not change providerID except from \"\" to valid";
            errors.forbidden(&path.child("providerID"), detail);
        }
        taints(list(spec, "taints"), errors);
        if string(spec, "externalID") != string(before, "externalID") {
            errors.forbidden(&path.child("externalID"), "may not be updated");
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
/// The list of ranges begins with the one range; where they differ, the one is what counts, as older clients know only
/// that.
fn same_ranges(spec: &mut Value) {
    let range = string(spec, "podCIDR").to_string();
    let first = list(spec, "podCIDRs").first().cloned();
    match first {
        Some(first) if range.is_empty() => put(spec, "podCIDR", first),
        Some(first) if first == range.as_str() => {}
        _ if range.is_empty() => {}
        _ => put(spec, "podCIDRs", vec![Value::from(range)]),
    }
}

/// How often upstream says that they may not.
fn changed_ranges(now: &[Value], was: &[Value]) -> usize {
    match was.len() {
        0 => 0,
        n if n != now.len() => 1,
        _ => now.iter().zip(was).filter(|(now, was)| now != was).count(),
    }
}

/// Upstream writes these names as fields, not as keys.
fn resources(object: &Value, errors: &mut Errors) {
    for field in ["capacity", "allocatable"] {
        for (name, size) in members(get(object, "status"), field) {
            let path = Path::new("status").child(field).child(name);
            crate::check::amount(name, size, &path, errors);
        }
    }
}

/// Upstream looks for it in the metadata.
fn swap(object: &Value, errors: &mut Errors) {
    let capacity = crate::json::int(at(object, "/status/nodeInfo/swap"), "capacity");
    if let Some(capacity) = capacity.filter(|capacity| *capacity <= 0) {
        let path = Path::new("metadata").child("nodeSwapStatus").child("capacity");
        errors.invalid(&path, capacity, "must be greater than 0");
    }
}

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
        let wrong = name::check_label_value(value);
        if !wrong.is_empty() {
            errors.invalid(&path.child("value"), value, &wrong.join(";"));
        }
        if effect.is_empty() {
            errors.required(&path.child("effect"), "");
        } else if !EFFECTS.contains(&effect) {
            errors.not_supported(&path.child("effect"), effect, &EFFECTS);
        }
        let same = |t: &Value| string(t, "key") == string(taint, "key") && string(t, "effect") == effect;
        if taints[..i].iter().any(same) {
            let part = |field: &str| Some(string(taint, field).into());
            let shown = Shown::members([
                ("Key", part("key")),
                ("Value", part("value")),
                ("Effect", part("effect")),
                ("TimeAdded", Some(get(taint, "timeAdded").clone())),
            ]);
            errors.duplicate_because(&path, shown, "taints must be unique by key and effect pair");
        }
    }
}

/// Names of features, in order and each once.
fn features(features: &[Value], errors: &mut Errors) {
    let root = Path::new("status").child("declaredFeatures");
    let camel = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric()) && !part.is_empty();
    let texts: Vec<&str> = features.iter().map(|f| f.as_str().unwrap_or_default()).collect();
    for (i, feature) in texts.iter().enumerate() {
        let upper = feature.starts_with(|c: char| c.is_ascii_uppercase());
        if feature.len() > name::SUBDOMAIN_MAX {
            let detail = format!("invalid feature name {feature:?}: must be no more than 253 characters");
            errors.invalid(&root.index(i), *feature, &detail);
        } else if !upper || !feature.split('/').all(camel) {
            let detail = format!(
                "invalid feature name {feature:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
            );
            errors.invalid(&root.index(i), *feature, &detail);
        }
        match texts.get(i + 1) {
            Some(next) if next == feature => errors.duplicate(&root.index(i + 1), *next),
            Some(next) if next < feature => {
                errors.invalid(&root.index(i + 1), *next, "list must be sorted alphabetically");
            }
            _ => {}
        }
    }
}

fn pod_ranges(spec: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("podCIDRs");
    let all = list(spec, "podCIDRs");
    let texts: Vec<&str> = all.iter().map(|r| r.as_str().unwrap_or_default()).collect();
    for (i, range) in texts.iter().enumerate() {
        if let Some(message) = cidr_message(range) {
            errors.invalid(&path.index(i), *range, message);
        }
    }
    if all.len() > 1
        && let Some((i, range)) = texts.iter().enumerate().find(|(_, range)| is_no_range(range))
    {
        let detail = format!(
            "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{i}]: <nil> (invalid CIDR address: {range})"
        );
        errors.internal(&path, &detail);
    }
    let of_6 = texts.iter().filter(|range| range.contains(':')).count();
    let broken = all.len() == 2 && texts.iter().any(|range| is_no_range(range));
    if all.len() > 2 || (all.len() == 2 && of_6 != 1) || broken {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.invalid(&path, get(spec, "podCIDRs").clone(), detail);
    }
}

/// Not an address and a length, whatever the bits behind it are. Zeros in front of numbers have always been read.
fn is_no_range(text: &str) -> bool {
    cidr_message(text).is_some_and(|message| message.starts_with("must be a valid CIDR"))
}

fn addresses(node: &Value, errors: &mut Errors) {
    let all = list(get(node, "status"), "addresses");
    for (i, address) in all.iter().enumerate() {
        if all[..i].contains(address) {
            let path = Path::new("status").child("addresses").index(i);
            let part = |field: &str| Some(string(address, field).into());
            let shown = Shown::members([("Type", part("type")), ("Address", part("address"))]);
            errors.duplicate(&path, shown);
        }
    }
}
