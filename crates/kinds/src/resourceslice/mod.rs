//! ResourceSlice: the devices that a driver has, at one node or more. Source: resource.k8s.io/v1 API reference.

mod capacity;
mod device;

use crate::check::{IMMUTABLE, dns_subdomain, immutable, immutable_text};
use crate::devices::{each_once, label, pool_name, shortened};
use crate::internal;
use crate::json::{at, flag, get, has, items_mut, list, members, number, put, put_default, string};
use crate::pod::validate::node_selector;
use crate::row::{age, text};
use crate::volumes::check_driver;
use crate::{Check, Column, Row, Rules, Write};
use meta::field::Shown;
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const RESOURCESLICES: Res = Res::new("resource.k8s.io", "resourceslices");

pub fn row() -> Row {
    Row {
        res: RESOURCESLICES,
        version: "v1",
        kind: "ResourceSlice",
        singular: "resourceslice",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.resource.v1.ResourceSlice",
        generation: false,
        status: false,
        scale: None,
        selectable: &["spec.nodeName", "spec.driver"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Node", "string").shows("resource.v1.ResourceSliceSpec", "nodeName"),
                Column::new("Driver", "string").shows("resource.v1.ResourceSliceSpec", "driver"),
                Column::new("Pool", "string").shows("resource.v1.ResourcePool", "name"),
                Column::AGE,
            ]
        },
        rules: Arc::new(ResourceSlice),
    }
}

struct ResourceSlice;

impl Rules for ResourceSlice {
    fn returns_deleted(&self) -> bool {
        true
    }

    /// What is dropped later counts as a change.
    fn prepare(&self, _write: Write, object: &mut Value, old: Option<&Value>, now: Timestamp) {
        let counted = old.map_or(0, |old| at(old, "/metadata/generation").as_i64().unwrap_or(0));
        let before = old.map_or(&Value::Null, |old| get(old, "spec"));
        let changed = !crate::schema::same("resource.v1.ResourceSliceSpec", get(object, "spec"), before);
        if let Some(metadata) = object.get_mut("metadata").filter(|_| changed || old.is_none()) {
            put(metadata, "generation", counted + 1);
        }
        device::drop_disabled(object, old);
        let Some(spec) = object.get_mut("spec") else {
            return;
        };
        for device in items_mut(spec, "devices") {
            for taint in items_mut(device, "taints") {
                put_default(taint, "timeAdded", now.rfc3339());
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        self.validate_replacement(object, &Value::Null, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        let (spec, before, path) = (get(object, "spec"), get(old, "spec"), Path::new("spec"));
        check_driver(string(spec, "driver"), &path.child("driver"), errors);
        pool(get(spec, "pool"), &path.child("pool"), errors);
        if !old.is_null() {
            unmoved(spec, before, &path, errors);
        }
        place(spec, &path, errors);
        if has(spec, "sharedCounters") && has(spec, "devices") {
            let detail = "only one of `sharedCounters` or `devices` is allowed";
            errors.invalid(&path, "", detail);
        }
        device::devices(spec, before, &path, errors);
        counter_sets(spec, &path, errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::MetadataChange, Check::Object]
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let driver = text(object, "/spec/driver");
        if driver == driver.to_lowercase() {
            return Vec::new();
        }
        vec![format!(
            "spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters"
        )]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            text(object, "/spec/nodeName").into(),
            text(object, "/spec/driver").into(),
            text(object, "/spec/pool/name").into(),
            age(object, now).into(),
        ]
    }
}

const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
/// Bytes of a DNS label.
const LABEL_MAX: usize = 63;

fn pool(pool: &Value, path: &Path, errors: &mut Errors) {
    pool_name(string(pool, "name"), &path.child("name"), errors);
    let (count, generation) = (number(pool, "resourceSliceCount"), number(pool, "generation"));
    if count <= 0 {
        errors.invalid(
            &path.child("resourceSliceCount"),
            count,
            "must be greater than zero",
        );
    }
    if generation < 0 {
        let detail = "must be greater than or equal to zero";
        errors.invalid(&path.child("generation"), generation, detail);
    }
}

fn unmoved(spec: &Value, before: &Value, path: &Path, errors: &mut Errors) {
    let name = |spec: &Value| text(spec, "/pool/name").to_string();
    if name(spec) != name(before) {
        let path = path.child("pool").child("name");
        errors.invalid(&path, name(spec), IMMUTABLE);
    }
    let field = "driver";
    immutable_text(get(spec, field), get(before, field), &path.child(field), errors);
    let field = "nodeName";
    immutable(get(spec, field), get(before, field), &path.child(field), errors);
}

/// Which nodes: exactly one way to say it.
fn place(spec: &Value, path: &Path, errors: &mut Errors) {
    let mut given = Vec::new();
    match get(spec, "nodeName").as_str() {
        None => {}
        Some("") => {
            let detail = "must be either unset or set to a non-empty string";
            errors.invalid(&path.child("nodeName"), "", detail);
        }
        Some(name) => {
            given.push("`nodeName`");
            dns_subdomain(&path.child("nodeName"), name, errors);
        }
    }
    let selector = get(spec, "nodeSelector");
    if !selector.is_null() {
        given.push("`nodeSelector`");
        let path = path.child("nodeSelector");
        node_selector(selector, &path, errors);
        let terms = list(selector, "nodeSelectorTerms");
        if terms.len() != 1 {
            let shown = terms.iter().map(|term| internal::shown("NodeSelectorTerm", term));
            let shown = match get(selector, "nodeSelectorTerms") {
                Value::Null => Shown("null".into()),
                _ => Shown::list(shown),
            };
            let detail = "must have exactly one node selector term";
            errors.invalid(&path.child("nodeSelectorTerms"), shown, detail);
        }
    }
    for (field, name) in [
        ("allNodes", "`allNodes`"),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ] {
        match flag(spec, field) {
            None => {}
            Some(true) => given.push(name),
            Some(false) => {
                errors.invalid(&path.child(field), false, "must be either unset or set to true");
            }
        }
    }
    let detail =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given.len() {
        0 => errors.required(path, detail),
        1 => {}
        _ => {
            let detail = format!("{detail}, but multiple fields are set");
            errors.invalid(path, format!("{{{}}}", given.join(", ")), &detail);
        }
    }
}

fn counter_sets(spec: &Value, path: &Path, errors: &mut Errors) {
    let (sets, path) = (list(spec, "sharedCounters"), path.child("sharedCounters"));
    let name = |set: &Value| string(set, "name").to_string();
    each_once(
        sets,
        Some(COUNTER_SETS_MAX),
        name,
        &path,
        errors,
        &mut |set, path, errors| {
            counters(set, "name", path, errors);
        },
    );
}

/// A set of counters, here or as a device takes of it: its name and what is counted.
fn counters(set: &Value, name_field: &str, path: &Path, errors: &mut Errors) {
    match string(set, name_field) {
        "" => errors.required(&path.child(name_field), ""),
        _ => label(set, name_field, path, errors),
    }
    let (count, path) = (members(set, "counters").count(), path.child("counters"));
    if count == 0 {
        errors.required(&path, "");
    } else if count > COUNTERS_MAX {
        errors.too_many(&path, count, COUNTERS_MAX);
    } else {
        for (name, _) in members(set, "counters") {
            crate::check::dns_label(&path, name, errors);
        }
    }
}

/// A map of things by a name: what is wrong with a key stands at the map.
fn key_path(path: &Path, key: &str) -> Path {
    path.key(&shortened(key, LABEL_MAX))
}
