//! DeviceClass: kinds of devices that claims ask for. Source: resource.k8s.io/v1 API reference.

use crate::check::is_extended;
use crate::devices::{CONFIG_MAX, configuration, each, selectors};
use crate::json::{get, list};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const DEVICECLASSES: Res = Res::new("resource.k8s.io", "deviceclasses");

pub fn row() -> Row {
    Row {
        res: DEVICECLASSES,
        version: "v1",
        kind: "DeviceClass",
        singular: "deviceclass",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.resource.v1.DeviceClass",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const { &[Column::NAME, Column::AGE] },
        rules: Arc::new(DeviceClass),
    }
}

struct DeviceClass;

impl Rules for DeviceClass {
    fn returns_deleted(&self) -> bool {
        true
    }

    /// Names are counted in bytes here.
    fn check_name(&self, name: &str) -> Vec<String> {
        let wrong = meta::name::check_dns1123_subdomain(name);
        wrong
            .into_iter()
            .map(|why| why.replace("253 characters", "253 bytes"))
            .collect()
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        self.validate_replacement(object, &Value::Null, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        let (spec, before, path) = (get(object, "spec"), get(old, "spec"), Path::new("spec"));
        selectors(spec, &path, errors);
        let stored = !before.is_null() && list(spec, "config") == list(before, "config");
        each(
            list(spec, "config"),
            Some(CONFIG_MAX),
            &path.child("config"),
            errors,
            &mut |one, path, errors| {
                configuration(one, stored, path, errors);
            },
        );
        let field = "extendedResourceName";
        if let Some(name) = get(spec, field).as_str().filter(|name| !is_extended(name)) {
            let detail = "must be a valid extended resource name";
            errors.invalid(&path.child(field), name, detail);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::MetadataChange, Check::Object]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![text(object, "/metadata/name").into(), age(object, now).into()]
    }
}
