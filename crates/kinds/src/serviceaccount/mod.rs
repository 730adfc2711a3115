//! ServiceAccount: the identity of pods. Source: core/v1 API reference.

mod plan;

pub use plan::{ACCOUNTS, ROOT_CA, ROOT_CA_NAME, ROOT_CA_SOURCE};

use crate::json::{items_mut, list, take};
use crate::row::{age, text};
use crate::{Column, Row, Rules, Write};
use meta::{Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const SERVICEACCOUNTS: Res = Res::new("", "serviceaccounts");

// No kinds, but what the verb `impersonate` is about besides accounts.
pub const USERS: Res = Res::new("", "users");
pub const GROUPS: Res = Res::new("", "groups");
pub const UIDS: Res = Res::new("authentication.k8s.io", "uids");
pub const USER_EXTRAS: Res = Res::new("authentication.k8s.io", "userextras");

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
        columns: const { &[Column::NAME, Column::new("Secrets", "string"), Column::AGE] },
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

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            list(object, "secrets").len().into(),
            age(object, now).into(),
        ]
    }
}
