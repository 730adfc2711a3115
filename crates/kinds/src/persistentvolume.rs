//! PersistentVolume: a piece of storage. Source: core/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
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
                Column::new("Capacity", "string"),
                Column::new("Access Modes", "string"),
                Column::new("Reclaim Policy", "string"),
                Column::new("Status", "string"),
                Column::new("Claim", "string"),
                Column::new("StorageClass", "string"),
                Column::new("VolumeAttributesClass", "string"),
                Column::new("Reason", "string"),
                Column::AGE,
                Column::wide("VolumeMode", "string"),
            ]
        },
        rules: Arc::new(PersistentVolume),
    }
}

struct PersistentVolume;

impl Rules for PersistentVolume {
    fn returns_deleted(&self) -> bool {
        true
    }
}
