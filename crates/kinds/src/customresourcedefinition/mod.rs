//! CustomResourceDefinition: a kind that somebody adds. Source: apiextensions.k8s.io/v1 API reference.

mod defaults;
mod prepare;
mod validate;

use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const CUSTOMRESOURCEDEFINITIONS: Res = Res::new("apiextensions.k8s.io", "customresourcedefinitions");

pub fn row() -> Row {
    Row {
        res: CUSTOMRESOURCEDEFINITIONS,
        version: "v1",
        kind: "CustomResourceDefinition",
        singular: "customresourcedefinition",
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        type_name: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Created At", "date").shows("meta.v1.ObjectMeta", "creationTimestamp"),
            ]
        },
        rules: Arc::new(CustomResourceDefinition),
    }
}

struct CustomResourceDefinition;

impl Rules for CustomResourceDefinition {
    fn default(&self, object: &mut Value) {
        defaults::default(object);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        prepare::prepare(write, object, old);
    }

    fn validate_new(&self, object: &Value, errors: &mut Errors) {
        validate::validate_new(object, errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::CHANGES
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        match write {
            Write::Status => validate::validate_status(object, old, errors),
            _ => validate::validate_update(object, old, errors),
        }
    }

    fn needs_revision(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        validate::warnings(object, old)
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let text = |pointer| crate::row::text(object, pointer).into();
        vec![text("/metadata/name"), text("/metadata/creationTimestamp")]
    }
}
