//! ServiceAccount: the identity of pods. Source: core/v1 API reference.

mod plan;

pub use plan::{ACCOUNTS, ROOT_CA, ROOT_CA_NAME, ROOT_CA_SOURCE};

use crate::json::{items_mut, take};
use crate::{Column, Row, Rules, Write};
use meta::{Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const SERVICEACCOUNTS: Res = Res::new("", "serviceaccounts");

/// What a token can be bound to: its kind (of the core group), where it is, and the claim that names it.
pub const BINDABLE: [(&str, Res, &str); 3] = [
    ("Pod", crate::pod::PODS, "pod"),
    ("Node", crate::node::NODES, "node"),
    ("Secret", crate::secret::SECRETS, "secret"),
];

pub fn row() -> Row {
    Row {
        res: SERVICEACCOUNTS,
        version: "v1",
        kind: "ServiceAccount",
        singular: "serviceaccount",
        short_names: &["sa"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.ServiceAccount",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const { &[Column::NAME, Column::AGE] },
        rules: Arc::new(ServiceAccount),
    }
}

struct ServiceAccount;

impl Rules for ServiceAccount {
    fn prepare(&self, _write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        // Of these references only the name counts.
        for secret in items_mut(object, "secrets") {
            for field in [
                "apiVersion",
                "kind",
                "namespace",
                "uid",
                "resourceVersion",
                "fieldPath",
            ] {
                take(secret, field);
            }
        }
    }

    fn subresources(&self) -> &'static [&'static str] {
        &["token"]
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
