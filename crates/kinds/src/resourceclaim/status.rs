//! What a claim's status may say: who uses it, what it got, how its devices are.

use crate::check::{IMMUTABLE, conditions, interface_address, required};
use crate::devices::claim::Names;
use crate::devices::{
    CONFIG_MAX, PARAMETERS_MAX, REQUESTS_MAX, binding_conditions, configuration, device_id, each, each_once,
    label, pool_name, raw, text_of, uid,
};
use crate::internal;
use crate::json::{at, get, has, list, some, string};
use crate::pod::validate::node_selector;
use crate::volumes::check_driver;
use meta::field::Shown;
use meta::{Errors, Path};
use serde_json::Value;
use std::collections::BTreeSet;

const USERS_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 16;
/// Bytes of what a network device is called.
const INTERFACE_MAX: usize = 256;
const HARDWARE_MAX: usize = 128;

pub(super) fn update(claim: &Value, old: &Value, errors: &mut Errors) {
    let (status, before, path) = (get(claim, "status"), get(old, "status"), Path::new("status"));
    users(status, &path, errors);
    let allocation = some(status, "allocation");
    let results = list(at(status, "/allocation/devices"), "results").iter();
    let allocated: BTreeSet<String> = results.map(device_id).collect();
    devices(status, &allocated, &path, errors);
    let used = list(status, "reservedFor");
    if !used.is_empty() && allocation.is_none() {
        let detail = "may not be specified when `allocated` is not set";
        errors.forbidden(&path.child("reservedFor"), detail);
    } else if !at(claim, "/metadata/deletionTimestamp").is_null() {
        let was = list(before, "reservedFor");
        if used.iter().any(|user| !was.contains(user)) {
            let detail =
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&path.child("reservedFor"), detail);
        }
    }
    let path = path.child("allocation");
    match (allocation, some(before, "allocation")) {
        (Some(now), Some(was)) => {
            if !internal::same("AllocationResult", now, was) {
                errors.invalid(&path, internal::shown("AllocationResult", now), IMMUTABLE);
            }
        }
        (Some(now), None) => {
            let names = Names::of(at(claim, "/spec/devices"));
            allocation_result(now, &names, &path, errors);
        }
        (None, _) => {}
    }
}

fn users(status: &Value, path: &Path, errors: &mut Errors) {
    let uid = |user: &Value| string(user, "uid").to_string();
    let (all, path) = (list(status, "reservedFor"), path.child("reservedFor"));
    each_once(
        all,
        Some(USERS_MAX),
        uid,
        &path,
        errors,
        &mut |user, path, errors| {
            for field in ["resource", "name", "uid"] {
                required(user, field, path, errors);
            }
        },
    );
}

fn devices(status: &Value, allocated: &BTreeSet<String>, path: &Path, errors: &mut Errors) {
    let (all, path) = (list(status, "devices"), path.child("devices"));
    each(all, None, &path, errors, &mut |device, path, errors| {
        device_names(device, path, errors);
        if let Some(share) = get(device, "shareID").as_str() {
            uid(share, &path.child("shareID"), errors);
        }
        if !allocated.contains(&device_id(device)) {
            let detail = "must be an allocated device in the claim";
            errors.invalid(path, shown_id(device), detail);
        }
        let told = list(device, "conditions");
        if told.len() > CONDITIONS_MAX {
            errors.too_many(&path.child("conditions"), told.len(), CONDITIONS_MAX);
        }
        conditions(told, &path.child("conditions"), errors);
        if let Some(data) = device.get("data") {
            raw(data, Some(PARAMETERS_MAX), &path.child("data"), errors);
        }
        network(get(device, "networkData"), &path.child("networkData"), errors);
    });
    let mut seen = BTreeSet::new();
    for (i, device) in all.iter().enumerate() {
        if !seen.insert(device_id(device)) {
            errors.duplicate(&path.index(i), shown_id(device));
        }
    }
}

fn shown_id(device: &Value) -> Shown {
    let parts = [
        ("Driver", "driver"),
        ("Pool", "pool"),
        ("Device", "device"),
        ("ShareID", "shareID"),
    ];
    Shown::members(parts.map(|(shown, field)| (shown, Some(string(device, field).into()))))
}

fn device_names(device: &Value, path: &Path, errors: &mut Errors) {
    check_driver(string(device, "driver"), &path.child("driver"), errors);
    pool_name(string(device, "pool"), &path.child("pool"), errors);
    label(device, "device", path, errors);
}

fn network(data: &Value, path: &Path, errors: &mut Errors) {
    for (field, most) in [
        ("interfaceName", INTERFACE_MAX),
        ("hardwareAddress", HARDWARE_MAX),
    ] {
        if string(data, field).len() > most {
            errors.too_long(&path.child(field), most);
        }
    }
    let path = path.child("ips");
    each_once(
        list(data, "ips"),
        Some(ADDRESSES_MAX),
        text_of,
        &path,
        errors,
        &mut |ip, path, errors| {
            interface_address(ip.as_str().unwrap_or_default(), path, errors);
        },
    );
}

fn allocation_result(allocation: &Value, names: &Names, path: &Path, errors: &mut Errors) {
    let (devices, of_devices) = (get(allocation, "devices"), path.child("devices"));
    let results = list(devices, "results");
    each(
        results,
        Some(REQUESTS_MAX),
        &of_devices.child("results"),
        errors,
        &mut |result, path, errors| {
            names.check(string(result, "request"), &path.child("request"), errors);
            device_names(result, path, errors);
            binding_conditions(result, path, errors);
            if let Some(share) = get(result, "shareID").as_str() {
                uid(share, &path.child("shareID"), errors);
            }
        },
    );
    // Those of the class and those of the claim.
    let (configs, most) = (list(devices, "config"), Some(2 * CONFIG_MAX));
    each(
        configs,
        most,
        &of_devices.child("config"),
        errors,
        &mut |config, path, errors| {
            crate::check::one_of(config, "source", &["FromClaim", "FromClass"], true, path, errors);
            names.check_list(config, path, errors);
            configuration(config, false, path, errors);
        },
    );
    if has(allocation, "nodeSelector") {
        node_selector(
            get(allocation, "nodeSelector"),
            &path.child("nodeSelector"),
            errors,
        );
    }
}
