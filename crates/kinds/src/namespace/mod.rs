//! Namespace: a scope for names. Source: core/v1 API reference.

mod conditions;
mod plan;

pub use plan::CONTROLLER;

use crate::check::{messages, qualified_name};
use crate::json::{ensure_object, list, put, take};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Snapshot, Status, Timestamp, name};
use serde_json::{Value, json};
use std::sync::Arc;

pub const NAMESPACES: Res = Res::new("", "namespaces");

pub fn row() -> Row {
    Row {
        res: NAMESPACES,
        version: "v1",
        kind: "Namespace",
        singular: "namespace",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.core.v1.Namespace",
        generation: false,
        status: true,
        scale: None,
        selectable: &["status.phase"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Status", "string").says("The status of the namespace"),
                Column::AGE,
            ]
        },
        rules: Arc::new(Namespace),
    }
}

/// Our own finalizer in `spec.finalizers`: taken off when the namespace is empty.
const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// These may not be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Finalizers without a domain.
const STANDARD_FINALIZERS: [&str; 3] = [FINALIZER, "orphan", "foregroundDeletion"];

struct Namespace;

impl Rules for Namespace {
    // All namespaces at once is never what anyone meant; upstream does not serve it either.
    fn deletes_collections(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        // Without a name it is yet to be generated; `admit` sees it.
        label(object);
        if let Some(status) = ensure_object(object, "status") {
            crate::json::put_default(status, "phase", "Active");
        }
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write == Write::Other("finalize") {
            return;
        }
        // Only the subresource `finalize` changes the finalizers of an existing namespace.
        let finalizers = match old {
            Some(old) => list(crate::json::get(old, "spec"), "finalizers").to_vec(),
            None => with_own(list(crate::json::get(object, "spec"), "finalizers")),
        };
        if let Some(spec) = ensure_object(object, "spec") {
            match finalizers.is_empty() {
                true => {
                    take(spec, "finalizers");
                }
                false => put(spec, "finalizers", finalizers),
            }
        }
        if write == Write::Create {
            put(object, "status", json!({"phase": "Active"}));
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let path = Path::new("spec").child("finalizers");
        for finalizer in list(crate::json::get(object, "spec"), "finalizers") {
            check_finalizer(finalizer, &path, errors);
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Update => Check::OBJECT_FIRST,
            _ => Check::CHANGES,
        }
    }

    fn validate_update(&self, write: Write, object: &Value, _old: &Value, errors: &mut Errors) {
        if write == Write::Other("finalize") {
            // Only here upstream says which one it is.
            let path = Path::new("spec").child("finalizers");
            let finalizers = list(crate::json::get(object, "spec"), "finalizers").iter();
            for (i, finalizer) in finalizers.enumerate() {
                check_finalizer(finalizer, &path.index(i), errors);
            }
        }
        if write != Write::Status {
            return;
        }
        let (phase, path) = (text(object, "/status/phase"), Path::new("status").child("Phase"));
        let deleting = !text(object, "/metadata/deletionTimestamp").is_empty();
        if deleting && phase != "Terminating" {
            let detail = "may only be 'Terminating' if `deletionTimestamp` is not empty";
            errors.invalid(&path, phase, detail);
        } else if !deleting && phase != "Active" {
            errors.invalid(
                &path,
                phase,
                "may only be 'Active' if `deletionTimestamp` is empty",
            );
        }
    }

    fn admit(
        &self,
        _write: Write,
        object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        label(object);
        Ok(())
    }

    fn admit_delete(&self, object: &Value, _seen: &Snapshot) -> Result<(), Status> {
        let name = text(object, "/metadata/name");
        if IMMORTAL.contains(&name) {
            return Err(Status::forbidden(
                NAMESPACES,
                name,
                "this namespace may not be deleted",
            ));
        }
        Ok(())
    }

    fn holds(&self, object: &Value) -> bool {
        !list(crate::json::get(object, "spec"), "finalizers").is_empty()
    }

    fn mark_deleted(&self, object: &mut Value) {
        if let Some(status) = ensure_object(object, "status") {
            put(status, "phase", "Terminating");
        }
    }

    fn subresources(&self) -> &'static [&'static str] {
        &["finalize"]
    }

    fn check_name(&self, name: &str) -> Vec<String> {
        name::check_dns1123_label(name)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            text(object, "/status/phase").into(),
            age(object, now).into(),
        ]
    }
}

fn check_finalizer(finalizer: &Value, path: &Path, errors: &mut Errors) {
    let finalizer = finalizer.as_str().unwrap_or_default();
    qualified_name(path, finalizer, errors);
    if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        messages(path, finalizer, vec![detail.into()], errors);
    }
}

/// Its name as a label, if it has one yet.
fn label(object: &mut Value) {
    let name = text(object, "/metadata/name").to_string();
    let labels = ensure_object(object, "metadata").and_then(|meta| ensure_object(meta, "labels"));
    if let Some(labels) = labels.filter(|_| !name.is_empty()) {
        put(labels, NAME_LABEL, name);
    }
}

fn with_own(given: &[Value]) -> Vec<Value> {
    let mut all = given.to_vec();
    if !all.iter().any(|f| f == FINALIZER) {
        all.push(FINALIZER.into());
    }
    all
}
