//! CSINode: which storage drivers a node has. Source: storage.k8s.io/v1 API reference.

use crate::check::{IMMUTABLE, not_negative, qualified_name};
use crate::internal;
use crate::json::{get, list, string, take};
use crate::row::{age, text};
use crate::volumes::check_driver;
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const CSINODES: Res = Res::new("storage.k8s.io", "csinodes");

pub fn row() -> Row {
    Row {
        res: CSINODES,
        version: "v1",
        kind: "CSINode",
        singular: "csinode",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.storage.v1.CSINode",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Drivers", "integer")
                    .says("Drivers indicates the number of CSI drivers registered on the node"),
                Column::AGE,
            ]
        },
        rules: Arc::new(CsiNode),
    }
}

struct CsiNode;

impl Rules for CsiNode {
    fn needs_revision(&self) -> bool {
        true
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let path = Path::new("spec").child("drivers");
        let mut names = BTreeSet::new();
        for (i, driver) in list(get(object, "spec"), "drivers").iter().enumerate() {
            check_one(driver, &path.index(i), &mut names, errors);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object, Check::Change]
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    /// A driver may come and go, and how many volumes it takes may change.
    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let path = Path::new("spec").child("drivers");
        let fixed = |driver: &Value| {
            let mut driver = driver.clone();
            take(&mut driver, "allocatable");
            driver
        };
        for was in list(get(old, "spec"), "drivers") {
            for now in list(get(object, "spec"), "drivers") {
                let same_name = string(now, "name") == string(was, "name");
                let (now, was) = (fixed(now), fixed(was));
                if same_name && !internal::same("CSINodeDriver", &now, &was) {
                    errors.invalid(&path, internal::shown("CSINodeDriver", &now), IMMUTABLE);
                }
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            list(get(object, "spec"), "drivers").len().into(),
            age(object, now).into(),
        ]
    }
}

/// Bytes of the name that a driver has for its node.
const NODE_ID_MAX: usize = 256;

fn check_one<'a>(driver: &'a Value, path: &Path, names: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let (name, id) = (string(driver, "name"), string(driver, "nodeID"));
    check_driver(name, &path.child("name"), errors);
    if id.is_empty() {
        errors.required(&path.child("nodeID"), "");
    }
    if id.len() > NODE_ID_MAX {
        let detail = format!("must be {NODE_ID_MAX} characters or less");
        errors.invalid(&path.child("nodeID"), id, &detail);
    }
    let allocatable = get(driver, "allocatable");
    not_negative(allocatable, "count", &path.child("allocatable"), errors);
    if !names.insert(name) {
        errors.duplicate(&path.child("name"), name);
    }
    let mut keys = BTreeSet::new();
    for key in list(driver, "topologyKeys") {
        let key = key.as_str().unwrap_or_default();
        if key.is_empty() {
            errors.required(path, "");
        }
        if !keys.insert(key) {
            errors.duplicate(path, key);
        }
        qualified_name(path, key, errors);
    }
}
