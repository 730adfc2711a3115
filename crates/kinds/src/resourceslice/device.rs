//! One device of a slice: what it is, what it has, where it can be used.

use super::{capacity, counters};
use crate::check::dns_subdomain;
use crate::devices::{attribute_name, attribute_path, binding_conditions, each, each_once, label, taint};
use crate::internal;
use crate::json::{child_mut, flag, get, has, is_true, items_mut, list, members, some, string, take};
use crate::pod::validate::node_selector;
use meta::{Errors, Path};
use regex_lite::Regex;
use serde_json::Value;
use std::sync::OnceLock;

/// Devices of a slice; of one that uses newer features, half as many.
const DEVICES_MAX: usize = 128;
const ADVANCED_MAX: usize = 64;
const NAMED_MAX: usize = 32;
const VALUES_MAX: usize = 48;
const TAINTS_MAX: usize = 16;
const COUNTERS_MAX: usize = 2;
/// Bytes of an attribute's text.
const TEXT_MAX: usize = 64;
/// Lists as attributes, which are behind a feature that is off.
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
const MAPPINGS: &str = "nodeAllocatableResourceMappings";

/// Fields of features that are off stay where they were in use.
pub(super) fn drop_disabled(object: &mut Value, old: Option<&Value>) {
    let before = old.map_or(&Value::Null, |old| get(old, "spec"));
    let used = |is: &dyn Fn(&Value) -> bool| list(before, "devices").iter().any(is);
    let mappings = used(&|device| members(device, MAPPINGS).next().is_some());
    let lists = used(&|device| members(device, "attributes").any(|(_, a)| LISTS.iter().any(|l| has(a, l))));
    let Some(spec) = object.get_mut("spec") else {
        return;
    };
    for device in items_mut(spec, "devices") {
        if !mappings {
            take(device, MAPPINGS);
        }
        let attributes = child_mut(device, "attributes").and_then(Value::as_object_mut);
        for attribute in attributes
            .into_iter()
            .flat_map(|a| a.values_mut())
            .filter(|_| !lists)
        {
            LISTS.iter().for_each(|list| {
                take(attribute, list);
            });
        }
    }
}

pub(super) fn devices(spec: &Value, before: &Value, path: &Path, errors: &mut Errors) {
    let all = list(spec, "devices");
    let advanced = |device: &Value| {
        let any = |field: &str| !list(device, field).is_empty();
        let lists = members(device, "attributes").any(|(_, a)| LISTS.iter().any(|l| has(a, l)));
        any("taints") || any("consumesCounters") || lists
    };
    let most = if all.iter().any(advanced) {
        ADVANCED_MAX
    } else {
        DEVICES_MAX
    };
    let name = |device: &Value| string(device, "name").to_string();
    each_once(
        all,
        Some(most),
        name,
        &path.child("devices"),
        errors,
        &mut |device, path, errors| {
            let old = list(before, "devices")
                .iter()
                .find(|old| name(old) == name(device));
            one(device, old, is_true(spec, "perDeviceNodeSelection"), path, errors);
        },
    );
}

fn one(device: &Value, old: Option<&Value>, by_device: bool, path: &Path, errors: &mut Errors) {
    label(device, "name", path, errors);
    let named = members(device, "attributes").count() + members(device, "capacity").count();
    if named > NAMED_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {NAMED_MAX}");
        errors.invalid(path, named, &detail);
    }
    let values: usize = members(device, "attributes").map(|(_, a)| values_of(a)).sum();
    if values > VALUES_MAX {
        let detail = format!("the total number of attribute values must not exceed {VALUES_MAX}");
        errors.invalid(path, values, &detail);
    }
    let of_attributes = path.child("attributes");
    for (key, value) in members(device, "attributes") {
        attribute_name(key, &of_attributes, errors);
        attribute(value, &attribute_path(&of_attributes, key), errors);
    }
    let (shared, of_capacity) = (
        is_true(device, "allowMultipleAllocations"),
        path.child("capacity"),
    );
    for (key, value) in members(device, "capacity") {
        attribute_name(key, &of_capacity, errors);
        capacity::check(value, shared, &attribute_path(&of_capacity, key), errors);
    }
    // What is as it was is not looked at again.
    let taints = list(device, "taints");
    if old.is_none_or(|old| list(old, "taints") != taints) {
        each(
            taints,
            Some(TAINTS_MAX),
            &path.child("taints"),
            errors,
            &mut taint,
        );
    }
    let set = |taken: &Value| string(taken, "counterSet").to_string();
    let taken = list(device, "consumesCounters");
    let of_counters = path.child("consumesCounters");
    each_once(
        taken,
        Some(COUNTERS_MAX),
        set,
        &of_counters,
        errors,
        &mut |taken, path, errors| {
            counters(taken, "counterSet", path, errors);
        },
    );
    place(device, by_device, path, errors);
    binding_conditions(device, path, errors);
    mappings(device, &path.child(MAPPINGS), errors);
}

fn values_of(attribute: &Value) -> usize {
    let listed: usize = LISTS.iter().map(|field| list(attribute, field).len()).sum();
    listed.max(usize::from(listed == 0))
}

/// Exactly one value.
fn attribute(attribute: &Value, path: &Path, errors: &mut Errors) {
    let value = |text: &Value, is_version: bool, path: &Path, errors: &mut Errors| {
        let text = text.as_str().unwrap_or_default();
        if is_version && !is_semantic_version(text) {
            let detail = "must be a string compatible with semver.org spec 2.0.0";
            errors.invalid(path, text, detail);
        }
        if text.len() > TEXT_MAX {
            errors.too_long(path, TEXT_MAX);
        }
    };
    for field in ["string", "version"] {
        if let Some(text) = some(attribute, field) {
            value(text, field == "version", &path.child(field), errors);
        }
    }
    for field in LISTS.into_iter().filter(|field| has(attribute, field)) {
        let (items, path) = (list(attribute, field), path.child(field));
        if items.is_empty() {
            errors.invalid(&path, Vec::<Value>::new(), "must not be empty if specified");
        }
        for (i, item) in items.iter().enumerate().filter(|(_, item)| item.is_string()) {
            value(item, field == "versions", &path.index(i), errors);
        }
    }
    let single = ["bool", "int", "string", "version"];
    let given = single.iter().chain(&LISTS).filter(|field| has(attribute, field));
    let detail = "exactly one value must be specified";
    match given.count() {
        0 => errors.invalid(path, "", detail),
        1 => {}
        _ => errors.invalid(path, internal::shown("DeviceAttribute", attribute), detail),
    }
}

/// Source: semver.org 2.0.0.
fn is_semantic_version(text: &str) -> bool {
    static FORM: OnceLock<Option<Regex>> = OnceLock::new();
    const NUMBER: &str = r"(0|[1-9][0-9]*)";
    const PRE: &str = r"(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)";
    const BUILD: &str = r"[0-9a-zA-Z-]+";
    let form = FORM.get_or_init(|| {
        let form = format!(r"^{NUMBER}\.{NUMBER}\.{NUMBER}(-{PRE}(\.{PRE})*)?(\+{BUILD}(\.{BUILD})*)?$");
        Regex::new(&form).ok()
    });
    form.as_ref().is_some_and(|form| form.is_match(text))
}

/// Where the device is, if each says it for itself.
fn place(device: &Value, by_device: bool, path: &Path, errors: &mut Errors) {
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    if !by_device {
        if fields.iter().any(|field| has(device, field)) {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, Value::Null, detail);
        }
        return;
    }
    let mut given = Vec::new();
    match get(device, "nodeName").as_str() {
        None => {}
        Some("") => errors.invalid(&path.child("nodeName"), "", "must not be empty"),
        Some(name) => {
            given.push("`nodeName`");
            dns_subdomain(&path.child("nodeName"), name, errors);
        }
    }
    if let Some(selector) = some(device, "nodeSelector") {
        given.push("`nodeSelector`");
        node_selector(selector, &path.child("nodeSelector"), errors);
    }
    match flag(device, "allNodes") {
        None => {}
        Some(true) => given.push("`allNodes`"),
        Some(false) => {
            let detail = "must be either unset or set to true";
            errors.invalid(&path.child("allNodes"), false, detail);
        }
    }
    let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match given.len() {
        0 => errors.required(path, detail),
        1 => {}
        _ => errors.invalid(path, format!("{{{}}}", given.join(", ")), detail),
    }
}

/// What of a node's own resources a device takes.
fn mappings(device: &Value, path: &Path, errors: &mut Errors) {
    for (resource, mapping) in members(device, MAPPINGS) {
        let path = super::key_path(path, resource);
        if !crate::check::is_native(resource) {
            let detail = "must be a node allocatable resource name";
            errors.invalid(&path, resource.as_str(), detail);
        }
        let (factor, key) = (
            some(mapping, "allocationMultiplier"),
            get(mapping, "capacityKey").as_str(),
        );
        if factor.is_none() && key.is_none() {
            let detail = "at least one of allocationMultiplier or capacityKey must be set";
            errors.invalid(&path, "", detail);
            continue;
        }
        if let Some(factor) = factor {
            capacity::positive(factor, &path.child("allocationMultiplier"), errors);
        }
        let path = path.child("capacityKey");
        match key {
            None => {}
            Some("") => errors.invalid(&path, "", "capacityKey must not be an empty string"),
            Some(key) if has(get(device, "capacity"), key) => {}
            Some(key) => errors.not_found(&path, key),
        }
    }
}
