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

/// Our own provisioner: one folder of the node a claim.
pub const PROVISIONER: &str = "isopod.dev/folder";
/// Parameter that names the folder under which claims get theirs.
pub const FOLDER: &str = "folder";
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The class that claims without one get: the newest of those that are marked, as upstream.
pub fn default_class(seen: &meta::Snapshot) -> Option<&meta::Object> {
    let marked = |class: &&meta::Object| {
        let value = class.value();
        value
            .pointer("/metadata/annotations")
            .and_then(|a| a.get(DEFAULT))
            .and_then(|v| v.as_str())
            == Some("true")
    };
    seen.list(STORAGECLASSES, "")
        .filter(marked)
        .max_by_key(|class| class.meta().created)
}
