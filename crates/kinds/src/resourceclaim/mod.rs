//! ResourceClaim: devices that pods need. Source: resource.k8s.io/v1 API reference.

mod status;

use crate::check::IMMUTABLE;
use crate::devices::{claim, device_id};
use crate::internal;
use crate::json::{at, child_mut, get, items_mut, list, put, put_default, take};
use crate::row::{Within, age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const RESOURCECLAIMS: Res = Res::new("resource.k8s.io", "resourceclaims");

pub fn row() -> Row {
    Row {
        res: RESOURCECLAIMS,
        version: "v1",
        kind: "ResourceClaim",
        singular: "resourceclaim",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.resource.v1.ResourceClaim",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("State", "string")
                    .says("A summary of the current state (allocated, pending, reserved, etc.)."),
                Column::AGE,
            ]
        },
        rules: Arc::new(ResourceClaim),
    }
}

struct ResourceClaim;

const SPEC: &str = "ResourceClaimSpec";

impl Rules for ResourceClaim {
    fn returns_deleted(&self) -> bool {
        true
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        crate::row::STATUS_KEEPS
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = child_mut(object, "spec") {
            claim::default(spec);
        }
        let results = object.pointer_mut("/status/allocation/devices");
        for result in results
            .into_iter()
            .flat_map(|devices| items_mut(devices, "results"))
        {
            for toleration in items_mut(result, "tolerations") {
                put_default(toleration, "operator", "Equal");
            }
        }
    }

    /// What is no longer allocated has nothing to tell.
    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        let Some(old) = old.filter(|_| write == Write::Status) else {
            return;
        };
        let allocated = |claim: &Value| -> BTreeSet<String> {
            let devices = at(claim, "/status/allocation/devices");
            list(devices, "results").iter().map(device_id).collect()
        };
        let gone: BTreeSet<String> = allocated(old).difference(&allocated(object)).cloned().collect();
        let Some(status) = child_mut(object, "status") else {
            return;
        };
        let told = list(status, "devices").iter();
        let kept: Vec<Value> = told.filter(|d| !gone.contains(&device_id(d))).cloned().collect();
        if kept.is_empty() {
            take(status, "devices");
        } else {
            put(status, "devices", kept);
        }
    }

    fn validate_within(&self, write: Write, object: &Value, within: &Within, errors: &mut Errors) {
        let namespace = text(object, "/metadata/namespace");
        match write {
            Write::Create => {
                claim::admin_access(at(object, "/spec/devices"), namespace, within.seen, errors);
            }
            Write::Status => {
                let old = within.old.map_or(&Value::Null, |old| get(old, "status"));
                claim::admin_results(get(object, "status"), old, namespace, within.seen, errors);
            }
            _ => {}
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        claim::spec(get(object, "spec"), &Path::new("spec"), errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::Metadata, Check::MetadataChange, Check::Change],
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            status::update(object, old, errors);
            return;
        }
        let (now, was) = (get(object, "spec"), get(old, "spec"));
        if !internal::same(SPEC, now, was) {
            errors.invalid(&Path::new("spec"), internal::shown(SPEC, now), IMMUTABLE);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            state(object).into(),
            age(object, now).into(),
        ]
    }
}

fn state(claim: &Value) -> String {
    let deleted = !at(claim, "/metadata/deletionTimestamp").is_null();
    let allocated = claim::is_allocated(claim);
    let reserved = allocated && !list(get(claim, "status"), "reservedFor").is_empty();
    let all = [
        (deleted, "deleted"),
        (!allocated && !deleted, "pending"),
        (allocated, "allocated"),
        (reserved, "reserved"),
    ];
    let told = all.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
    told.collect::<Vec<_>>().join(",")
}
