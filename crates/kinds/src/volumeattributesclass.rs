//! VolumeAttributesClass: what of a volume may be changed while it is used. Source: storage.k8s.io/v1 API reference.

use crate::json::{get, members, string};
use crate::row::{age, text};
use crate::storageclass::{parameters, provisioner};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const VOLUMEATTRIBUTESCLASSES: Res = Res::new("storage.k8s.io", "volumeattributesclasses");

pub fn row() -> Row {
    Row {
        res: VOLUMEATTRIBUTESCLASSES,
        version: "v1",
        kind: "VolumeAttributesClass",
        singular: "volumeattributesclass",
        short_names: &["vac"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.storage.v1.VolumeAttributesClass",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("DriverName", "string").shows("storage.v1.VolumeAttributesClass", "driverName"),
                Column::AGE,
            ]
        },
        rules: Arc::new(VolumeAttributesClass),
    }
}

struct VolumeAttributesClass;

impl Rules for VolumeAttributesClass {
    fn returns_deleted(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        provisioner(object, "driverName", errors);
        parameters(object, errors);
        if members(object, "parameters").next().is_none() {
            let detail = "must contain at least one key/value pair";
            errors.required(&Path::new("parameters"), detail);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::CHANGES_FIRST
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if string(object, "driverName") != string(old, "driverName") {
            let detail = "updates to driverName are forbidden.";
            errors.forbidden(&Path::new("driverName"), detail);
        }
        if get(object, "parameters") != get(old, "parameters") {
            let detail = "updates to parameters are forbidden.";
            errors.forbidden(&Path::new("parameters"), detail);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            string(object, "driverName").into(),
            age(object, now).into(),
        ]
    }
}
