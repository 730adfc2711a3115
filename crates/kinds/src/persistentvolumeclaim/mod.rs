//! PersistentVolumeClaim: a request for storage. Source: core/v1 API reference.

mod plan;

pub use plan::{CLAIM_FINALIZER, CONTROLLER, PROTECTION, PROVISIONED_BY};

use crate::{Column, Row, Rules};
use meta::Res;
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
                Column::new("Status", "string"),
                Column::new("Volume", "string"),
                Column::new("Capacity", "string"),
                Column::new("Access Modes", "string"),
                Column::new("StorageClass", "string"),
                Column::new("VolumeAttributesClass", "string"),
                Column::AGE,
                Column::wide("VolumeMode", "string"),
            ]
        },
        rules: Arc::new(PersistentVolumeClaim),
    }
}

struct PersistentVolumeClaim;

impl Rules for PersistentVolumeClaim {
    fn returns_deleted(&self) -> bool {
        true
    }
}
