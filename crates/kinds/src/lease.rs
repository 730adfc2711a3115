//! Lease: who leads, and which nodes are alive. Source: coordination.k8s.io/v1 API reference.

use crate::check::{NOT_NEGATIVE, qualified_name};
use crate::json::{get, has, int, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const LEASES: Res = Res::new("coordination.k8s.io", "leases");

pub fn row() -> Row {
    Row {
        res: LEASES,
        version: "v1",
        kind: "Lease",
        singular: "lease",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.coordination.v1.Lease",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Holder", "string").shows("coordination.v1.LeaseSpec", "holderIdentity"),
                Column::AGE,
            ]
        },
        rules: Arc::new(Lease),
    }
}

struct Lease;

impl Rules for Lease {
    fn creates_on_update(&self) -> bool {
        true
    }

    fn needs_revision(&self) -> bool {
        true
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::MetadataChange, Check::Object]
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    /// The fields of coordinated leader election are behind a feature that is off by default in v1.36; who has them keeps
    /// them.
    fn prepare(&self, _write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        let before = old.map_or(&Value::Null, |old| get(old, "spec"));
        if let Some(spec) = crate::json::child_mut(object, "spec") {
            for field in ["strategy", "preferredHolder"] {
                if !has(before, field) {
                    crate::json::take(spec, field);
                }
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        if let Some(seconds) = int(spec, "leaseDurationSeconds")
            && seconds <= 0
        {
            let path = path.child("leaseDurationSeconds");
            errors.invalid(&path, seconds, "must be greater than 0");
        }
        if let Some(count) = int(spec, "leaseTransitions")
            && count < 0
        {
            errors.invalid(&path.child("leaseTransitions"), count, NOT_NEGATIVE);
        }
        let (strategy, holder) = (string(spec, "strategy"), string(spec, "preferredHolder"));
        if has(spec, "strategy") {
            qualified_name(&path.child("strategy"), strategy, errors);
        }
        if !holder.is_empty() && strategy.is_empty() {
            let detail = "may only be specified if `strategy` is defined";
            errors.forbidden(&path.child("preferredHolder"), detail);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            text(object, "/spec/holderIdentity").into(),
            age(object, now).into(),
        ]
    }
}
