//! VolumeAttachment: a volume that is to be at a node. Source: storage.k8s.io/v1 API reference.

use crate::check::{IMMUTABLE, dns_subdomain};
use crate::internal;
use crate::json::{flag, get, has, int, some, string, texts};
use crate::row::{age, text};
use crate::volumes::check_driver;
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const VOLUMEATTACHMENTS: Res = Res::new("storage.k8s.io", "volumeattachments");

pub fn row() -> Row {
    Row {
        res: VOLUMEATTACHMENTS,
        version: "v1",
        kind: "VolumeAttachment",
        singular: "volumeattachment",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.storage.v1.VolumeAttachment",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Attacher", "string")
                    .shows("storage.v1.VolumeAttachmentSpec", "attacher")
                    .as_name(),
                Column::new("PV", "string").shows("storage.v1.VolumeAttachmentSource", VOLUME),
                Column::new("Node", "string").shows("storage.v1.VolumeAttachmentSpec", "nodeName"),
                Column::new("Attached", "boolean").shows("storage.v1.VolumeAttachmentStatus", "attached"),
                Column::AGE,
            ]
        },
        rules: Arc::new(VolumeAttachment),
    }
}

struct VolumeAttachment;

impl Rules for VolumeAttachment {
    fn needs_revision(&self) -> bool {
        true
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        crate::row::STATUS_KEEPS
    }

    fn default(&self, object: &mut Value) {
        let source = object.pointer_mut("/spec/source");
        if let Some(spec) = source.and_then(|source| crate::json::child_mut(source, INLINE)) {
            crate::persistentvolume::default_source(spec);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        check_driver(string(spec, "attacher"), &path.child("attacher"), errors);
        let (source, source_path) = (get(spec, "source"), path.child("source"));
        check_source(source, &source_path, errors);
        dns_subdomain(&path.child("nodeName"), string(spec, "nodeName"), errors);
        check_status(get(object, "status"), errors);
        if has(source, VOLUME) {
            dns_subdomain(&source_path.child(VOLUME), string(source, VOLUME), errors);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object, Check::Change]
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let (now, was) = (get(object, "spec"), get(old, "spec"));
        if !internal::same(SPEC, now, was) {
            errors.invalid(&Path::new("spec"), internal::shown(SPEC, now), IMMUTABLE);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            text(object, "/spec/attacher").into(),
            text(object, "/spec/source/persistentVolumeName").into(),
            text(object, "/spec/nodeName").into(),
            flag(get(object, "status"), "attached").unwrap_or(false).into(),
            age(object, now).into(),
        ]
    }
}

const SPEC: &str = "VolumeAttachmentSpec";
const VOLUME: &str = "persistentVolumeName";
const INLINE: &str = "inlineVolumeSpec";
/// Bytes of what a driver says of an attachment, and of why it failed.
const METADATA_MAX: usize = 256 * 1024;
const MESSAGE_MAX: usize = 1024;

/// A volume by its name or, of pods that name none, by its spec.
fn check_source(source: &Value, path: &Path, errors: &mut Errors) {
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (some(source, INLINE), get(source, VOLUME).as_str()) {
        (None, None) => errors.required(path, detail),
        (Some(_), Some(_)) => errors.forbidden(path, detail),
        (None, Some("")) => {
            let detail = "must specify non empty persistentVolumeName";
            errors.required(&path.child(VOLUME), detail);
        }
        (None, Some(_)) => {}
        (Some(spec), None) => {
            crate::persistentvolume::inline_spec(spec, &path.child(INLINE), errors);
        }
    }
}

fn check_status(status: &Value, errors: &mut Errors) {
    let path = Path::new("status");
    let metadata = texts(status, "attachmentMetadata").map(|(key, value)| key.len() + value.len());
    if metadata.sum::<usize>() > METADATA_MAX {
        errors.too_long(&path.child("attachmentMetadata"), METADATA_MAX);
    }
    for field in ["attachError", "detachError"] {
        let (error, path) = (get(status, field), path.child(field));
        // The limit that upstream names is not the one that it holds.
        if string(error, "message").len() > MESSAGE_MAX {
            errors.too_long(&path.child("message"), METADATA_MAX);
        }
        if let Some(code) = int(error, "errorCode")
            && code < 0
        {
            let detail = format!("must be between 0 and {}, inclusive", i32::MAX);
            errors.invalid(&path.child("errorCode"), code, &detail);
        }
    }
}
