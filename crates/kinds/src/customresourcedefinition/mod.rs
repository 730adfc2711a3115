//! CustomResourceDefinition: a kind that users add to the API. What it describes becomes rows (`crate::custom`) as soon as
//! its names are accepted. Source: apiextensions/v1 API reference.

mod defaults;
mod finish;
mod names;
mod plan;
mod prepare;
mod validate;

pub use plan::CONTROLLER;
pub(crate) use validate::rule_path;

use crate::custom::DEFINITIONS;
use crate::row::text;
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// Keeps a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub fn row() -> Row {
    Row {
        res: DEFINITIONS,
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
        rules: Arc::new(Definition),
    }
}

struct Definition;

impl Rules for Definition {
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

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        match write {
            Write::Status => validate::validate_status(object, old, errors),
            _ => validate::validate_update(object, old, errors),
        }
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn needs_revision(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        validate::warnings(object, old)
    }

    fn holds(&self, object: &Value) -> bool {
        let marked = object
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|t| !t.is_null());
        !marked || finish::is_held(object)
    }

    fn mark_deleted(&self, object: &mut Value) {
        finish::mark(object);
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let created = text(object, "/metadata/creationTimestamp");
        vec![text(object, "/metadata/name").into(), created.into()]
    }
}

/// Sets a condition of a definition; its time moves when its status does. True when anything changed.
fn set_condition(
    object: &mut Value,
    kind: &str,
    status: bool,
    reason: &str,
    message: &str,
    now: &str,
) -> bool {
    let status = if status { "True" } else { "False" };
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(list) = object["status"]["conditions"].as_array_mut() else {
        return false;
    };
    let found = list.iter_mut().find(|c| text(c, "/type") == kind);
    let said = |c: &Value| {
        (text(c, "/status") == status) && (text(c, "/reason") == reason) && (text(c, "/message") == message)
    };
    match found {
        Some(old) if said(old) => false,
        Some(old) => {
            let moved = text(old, "/status") != status;
            if moved {
                old["lastTransitionTime"] = now.into();
            }
            old["status"] = status.into();
            old["reason"] = reason.into();
            old["message"] = message.into();
            true
        }
        None => {
            list.push(
                json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": now}),
            );
            true
        }
    }
}
