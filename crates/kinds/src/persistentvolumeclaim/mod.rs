//! PersistentVolumeClaim: a request for storage. Source: core/v1 API reference.

mod matching;
mod plan;
mod provision;
mod validate;

pub use matching::{BIND_COMPLETED, SELECTED_NODE, binds_late, fitting, is_bound, selected_node};
pub use plan::{CLAIM_FINALIZER, CONTROLLER, PROTECTION, PROVISIONED_BY};

use crate::json::{ensure_object, get, has, list, put, put_default, some, string, take};
use crate::row::{age, text};
use crate::volumes::{class_of, or_unset, phase, short_modes, storage_size};
use crate::{Column, Row, Rules, Write};
use meta::{Errors, Quantity, Res, Snapshot, Status, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

pub const PERSISTENTVOLUMECLAIMS: Res = Res::new("", "persistentvolumeclaims");

pub fn row() -> Row {
    Row {
        res: PERSISTENTVOLUMECLAIMS,
        version: "v1",
        kind: "PersistentVolumeClaim",
        singular: "persistentvolumeclaim",
        short_names: &["pvc"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.PersistentVolumeClaim",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Status", "string").shows("core.v1.PersistentVolumeClaimStatus", "phase"),
                Column::new("Volume", "string").shows("core.v1.PersistentVolumeClaimSpec", "volumeName"),
                Column::new("Capacity", "string").shows("core.v1.PersistentVolumeClaimStatus", "capacity"),
                Column::new("Access Modes", "string")
                    .shows("core.v1.PersistentVolumeClaimStatus", "accessModes"),
                Column::new("StorageClass", "string").says("StorageClass of the pvc"),
                Column::new("VolumeAttributesClass", "string").says("VolumeAttributesClass of the pvc"),
                Column::AGE,
                Column::wide("VolumeMode", "string").shows("core.v1.PersistentVolumeClaimSpec", "volumeMode"),
            ]
        },
        rules: Arc::new(PersistentVolumeClaim),
    }
}

struct PersistentVolumeClaim;

impl Rules for PersistentVolumeClaim {
    fn default(&self, object: &mut Value) {
        if let Some(status) = ensure_object(object, "status") {
            put_default(status, "phase", "Pending");
        }
        if let Some(spec) = ensure_object(object, "spec") {
            default_spec(spec);
        }
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write == Write::Create {
            put(object, "status", json!({"phase": "Pending"}));
        }
        if write == Write::Status {
            return;
        }
        let before = old.map_or(&Value::Null, |old| get(old, "spec"));
        if let Some(spec) = ensure_object(object, "spec") {
            drop_sources(spec, before);
            same_sources(spec);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::claim(object, &Value::Null, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        validate::claim(object, old, errors);
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        validate::update(write, object, old, errors);
    }

    fn admit(
        &self,
        write: Write,
        object: &mut Value,
        old: Option<&Value>,
        seen: &Snapshot,
    ) -> Result<(), Status> {
        match (write, old) {
            (Write::Create, _) => set_default_class(object, seen),
            (Write::Update, Some(old)) => return check_expansion(object, old, seen),
            _ => {}
        }
        Ok(())
    }

    fn finalizers(&self) -> &'static [&'static str] {
        &[CLAIM_FINALIZER]
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let size = text(object, "/spec/resources/requests/storage");
        let field = "spec.resources.requests[storage]";
        crate::volumes::fraction_warning(field, size)
            .into_iter()
            .collect()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (get(object, "spec"), get(object, "status"));
        let volume = string(spec, "volumeName");
        let (mut capacity, mut modes) = (String::new(), String::new());
        if !volume.is_empty() {
            modes = short_modes(list(status, "accessModes"));
            capacity = storage_size(status).to_string();
        }
        vec![
            text(object, "/metadata/name").into(),
            phase(object).into(),
            volume.into(),
            capacity.into(),
            modes.into(),
            class_of(object).unwrap_or_default().into(),
            or_unset(spec, "volumeAttributesClassName").into(),
            age(object, now).into(),
            or_unset(spec, "volumeMode").into(),
        ]
    }
}

/// Defaults of the spec; also those of `volumeClaimTemplates` and ephemeral volumes.
pub(crate) fn default_spec(spec: &mut Value) {
    put_default(spec, "volumeMode", "Filesystem");
}

/// Where data comes from has an older and a newer field; the one that is left out follows the other.
/// A source in another namespace is behind a feature that is off by default in v1.36 (KEP-3294). In the older field all
/// but claims and snapshots have always been passed over, unless the claim was made with one.
fn drop_sources(spec: &mut Value, before: &Value) {
    let elsewhere = !string(get(spec, "dataSourceRef"), "namespace").is_empty();
    if elsewhere && !has(before, "dataSourceRef") {
        take(spec, "dataSourceRef");
    }
    let source = get(spec, "dataSource");
    let known = match (string(source, "apiGroup"), string(source, "kind")) {
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot") => true,
        _ => source.is_null(),
    };
    if !known && !has(spec, "dataSourceRef") && !has(before, "dataSource") {
        take(spec, "dataSource");
    }
}

fn same_sources(spec: &mut Value) {
    let (old, new) = (
        some(spec, "dataSource").cloned(),
        some(spec, "dataSourceRef").cloned(),
    );
    match (old, new) {
        (Some(source), None) => put(spec, "dataSourceRef", source),
        (None, Some(mut source)) if string(&source, "namespace").is_empty() => {
            take(&mut source, "namespace");
            put(spec, "dataSource", source);
        }
        _ => {}
    }
}

/// Upstream's admission plug-in DefaultStorageClass.
fn set_default_class(object: &mut Value, seen: &Snapshot) {
    if class_of(object).is_some() {
        return;
    }
    if let (Some(class), Some(spec)) = (
        crate::storageclass::default_class(seen),
        ensure_object(object, "spec"),
    ) {
        put(spec, "storageClassName", class.name());
    }
}

fn asked(claim: &Value) -> Quantity {
    Quantity::parse(text(claim, "/spec/resources/requests/storage")).unwrap_or_default()
}

/// Upstream's admission plug-in PersistentVolumeClaimResize: only a class that says so lets its claims grow.
fn check_expansion(object: &Value, old: &Value, seen: &Snapshot) -> Result<(), Status> {
    if asked(object) <= asked(old) {
        return Ok(());
    }
    let grows = class_of(object)
        .and_then(|class| seen.get(crate::storageclass::STORAGECLASSES, "", &class))
        .is_some_and(|class| get(&class.value(), "allowVolumeExpansion") == &Value::Bool(true));
    if grows {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    let name = text(object, "/metadata/name");
    Err(Status::forbidden(PERSISTENTVOLUMECLAIMS, name, why))
}
