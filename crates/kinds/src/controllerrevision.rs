//! ControllerRevision: one kept state of a workload, for rollbacks. Source: apps/v1 API reference.

use crate::json::{get, list, number, put_default, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const CONTROLLERREVISIONS: Res = Res::new("apps", "controllerrevisions");

pub fn row() -> Row {
    Row {
        res: CONTROLLERREVISIONS,
        version: "v1",
        kind: "ControllerRevision",
        singular: "controllerrevision",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.apps.v1.ControllerRevision",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Controller", "string").says("Controller of the object"),
                Column::new("Revision", "string").shows("apps.v1.ControllerRevision", "revision"),
                Column::AGE,
            ]
        },
        rules: Arc::new(ControllerRevision),
    }
}

struct ControllerRevision;

impl Rules for ControllerRevision {
    fn default(&self, object: &mut Value) {
        put_default(object, "revision", 0);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let revision = number(object, "revision");
        if revision < 0 {
            let detail = "must be greater than or equal to 0";
            errors.invalid(&Path::new("revision"), revision, detail);
        }
    }

    fn validate_new(&self, object: &Value, errors: &mut Errors) {
        let data = get(object, "data");
        if data.is_null() {
            errors.required(&Path::new("data"), "data is mandatory");
        } else if !data.is_object() {
            errors.required(&Path::new("data"), "data must be a valid JSON object");
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[
            Check::MetadataChange,
            Check::Metadata,
            Check::Object,
            Check::Change,
        ]
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let data = get(object, "data");
        if data != get(old, "data") {
            errors.invalid(&Path::new("data"), data.clone(), "field is immutable");
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            controller(object).into(),
            number(object, "revision").into(),
            age(object, now).into(),
        ]
    }
}

/// `statefulset.apps/web`, or `<none>`.
fn controller(object: &Value) -> String {
    let owners = list(get(object, "metadata"), "ownerReferences");
    let Some(owner) = owners.iter().find(|o| get(o, "controller") == &Value::Bool(true)) else {
        return "<none>".to_string();
    };
    let group = string(owner, "apiVersion")
        .split_once('/')
        .map_or(String::new(), |(group, _)| format!(".{group}"));
    let kind = string(owner, "kind").to_lowercase();
    format!("{kind}{group}/{}", string(owner, "name"))
}
