//! PersistentVolume: a piece of storage. Source: core/v1 API reference.

mod plan;
mod validate;

pub use plan::{PROTECTION, VOLUME_FINALIZER};
pub(crate) use validate::inline_spec;

use crate::json::{child_mut, ensure_object, get, list, put, put_default, string};
use crate::row::{age, text};
use crate::volumes::{class_of, or_unset, phase, short_modes, storage_size};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Res, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

pub const PERSISTENTVOLUMES: Res = Res::new("", "persistentvolumes");

pub fn row() -> Row {
    Row {
        res: PERSISTENTVOLUMES,
        version: "v1",
        kind: "PersistentVolume",
        singular: "persistentvolume",
        short_names: &["pv"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.core.v1.PersistentVolume",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Capacity", "string").shows("core.v1.PersistentVolumeSpec", "capacity"),
                Column::new("Access Modes", "string").shows("core.v1.PersistentVolumeSpec", "accessModes"),
                Column::new("Reclaim Policy", "string")
                    .shows("core.v1.PersistentVolumeSpec", "persistentVolumeReclaimPolicy"),
                Column::new("Status", "string").shows("core.v1.PersistentVolumeStatus", "phase"),
                Column::new("Claim", "string").shows("core.v1.PersistentVolumeSpec", "claimRef"),
                Column::new("StorageClass", "string").says("StorageClass of the pv"),
                Column::new("VolumeAttributesClass", "string").says("VolumeAttributesClass of the pv"),
                Column::new("Reason", "string").shows("core.v1.PersistentVolumeStatus", "reason"),
                Column::AGE,
                Column::wide("VolumeMode", "string").shows("core.v1.PersistentVolumeSpec", "volumeMode"),
            ]
        },
        rules: Arc::new(PersistentVolume),
    }
}

struct PersistentVolume;

/// Defaults of where the storage is, wherever a volume's spec stands.
pub(crate) fn default_source(spec: &mut Value) {
    if let Some(path) = child_mut(spec, "hostPath") {
        put_default(path, "type", "");
    }
    crate::pod::defaults::disks(spec);
}

impl Rules for PersistentVolume {
    fn default(&self, object: &mut Value) {
        if let Some(status) = ensure_object(object, "status") {
            put_default(status, "phase", "Pending");
        }
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        put_default(spec, "persistentVolumeReclaimPolicy", "Retain");
        put_default(spec, "volumeMode", "Filesystem");
        default_source(spec);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, now: Timestamp) {
        let at = now.rfc3339();
        if write == Write::Create {
            let status = json!({"phase": "Pending", "lastPhaseTransitionTime": at});
            put(object, "status", status);
        }
        let Some(old) = old.filter(|_| write == Write::Status) else {
            return;
        };
        // The time is the client's if it says a new one, else that of the phase.
        const SINCE: &str = "/status/lastPhaseTransitionTime";
        let (given, before) = (text(object, SINCE).to_string(), text(old, SINCE).to_string());
        let moved = text(object, "/status/phase") != text(old, "/status/phase");
        let since = match moved {
            true if given.is_empty() || given == before => at,
            false if given.is_empty() => before,
            _ => given,
        };
        if let Some(status) = ensure_object(object, "status").filter(|_| !since.is_empty()) {
            put(status, "lastPhaseTransitionTime", since);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::volume(object, errors);
    }

    /// Upstream looks at the whole volume twice.
    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => &[Check::MetadataChange],
            _ => &[
                Check::Metadata,
                Check::Object,
                Check::Metadata,
                Check::Object,
                Check::Change,
            ],
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write != Write::Status {
            validate::update(object, old, errors);
        }
    }

    fn finalizers(&self) -> &'static [&'static str] {
        &[VOLUME_FINALIZER]
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let spec = get(object, "spec");
        let mut out = Vec::new();
        if string(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
            out.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_string());
        }
        let size = text(spec, "/capacity/storage");
        out.extend(crate::volumes::fraction_warning("spec.capacity[storage]", size));
        out
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let claim = match get(spec, "claimRef") {
            Value::Object(_) => format!(
                "{}/{}",
                text(spec, "/claimRef/namespace"),
                text(spec, "/claimRef/name")
            ),
            _ => String::new(),
        };
        vec![
            text(object, "/metadata/name").into(),
            storage_size(spec).into(),
            short_modes(list(spec, "accessModes")).into(),
            string(spec, "persistentVolumeReclaimPolicy").into(),
            phase(object).into(),
            claim.into(),
            class_of(object).unwrap_or_default().into(),
            or_unset(spec, "volumeAttributesClassName").into(),
            text(object, "/status/reason").into(),
            age(object, now).into(),
            or_unset(spec, "volumeMode").into(),
        ]
    }
}
