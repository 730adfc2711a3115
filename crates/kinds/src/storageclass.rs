//! StorageClass: how claims get their volumes. Source: storage.k8s.io/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const STORAGECLASSES: Res = Res::new("storage.k8s.io", "storageclasses");

pub fn row() -> Row {
    Row {
        res: STORAGECLASSES,
        version: "v1",
        kind: "StorageClass",
        singular: "storageclass",
        short_names: &["sc"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.storage.v1.StorageClass",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Provisioner", "string"),
                Column::new("ReclaimPolicy", "string"),
                Column::new("VolumeBindingMode", "string"),
                Column::new("AllowVolumeExpansion", "string"),
                Column::AGE,
            ]
        },
        rules: Arc::new(StorageClass),
    }
}

struct StorageClass;

impl Rules for StorageClass {
    fn returns_deleted(&self) -> bool {
        true
    }
}
