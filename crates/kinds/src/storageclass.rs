//! StorageClass: how claims get their volumes. Source: storage.k8s.io/v1 API reference.

use crate::check::{one_of, one_of_given, qualified_name};
use crate::json::{flag, get, list, members, put_default, string, texts};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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
                Column::new("Provisioner", "string").shows("storage.v1.StorageClass", "provisioner"),
                Column::new("ReclaimPolicy", "string").shows("storage.v1.StorageClass", "reclaimPolicy"),
                Column::new("VolumeBindingMode", "string")
                    .shows("storage.v1.StorageClass", "volumeBindingMode"),
                Column::new("AllowVolumeExpansion", "string")
                    .shows("storage.v1.StorageClass", "allowVolumeExpansion"),
                Column::AGE,
            ]
        },
        rules: Arc::new(StorageClass),
    }
}

struct StorageClass;

impl Rules for StorageClass {
    fn default(&self, object: &mut Value) {
        put_default(object, "reclaimPolicy", "Delete");
        put_default(object, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let root = Path::root();
        provisioner(object, "provisioner", errors);
        parameters(object, errors);
        one_of(object, "reclaimPolicy", &POLICIES, false, &root, errors);
        one_of_given(object, "volumeBindingMode", &MODES, &root, errors);
        topologies(object, errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::OBJECT_FIRST
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            let check = match field {
                "provisioner" => crate::check::immutable_text,
                _ => crate::check::immutable,
            };
            let (now, was) = (get(object, field), get(old, field));
            let nothing = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
            if field != "parameters" || !(nothing(now) && nothing(was)) {
                check(now, was, &Path::new(field), errors);
            }
        }
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = text(object, "/metadata/name");
        let marked = texts(get(object, "metadata"), "annotations")
            .any(|(key, value)| DEFAULT_KEYS.contains(&key) && value == "true");
        let name = if marked {
            format!("{name} (default)")
        } else {
            name.to_string()
        };
        vec![
            name.into(),
            string(object, "provisioner").into(),
            string(object, "reclaimPolicy").into(),
            string(object, "volumeBindingMode").into(),
            (flag(object, "allowVolumeExpansion") == Some(true)).into(),
            age(object, now).into(),
        ]
    }
}

const POLICIES: [&str; 2] = ["Delete", "Retain"];
const MODES: [&str; 2] = ["Immediate", "WaitForFirstConsumer"];
/// Parameters at most, and their size in bytes.
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_SIZE_MAX: usize = 256 * 1024;

/// Who makes the volumes of a class.
pub(crate) fn provisioner(object: &Value, field: &str, errors: &mut Errors) {
    let (given, path) = (string(object, field), Path::new(field));
    if given.is_empty() {
        errors.required(&path, "");
    } else {
        qualified_name(&path, &given.to_lowercase(), errors);
    }
}

/// What a class tells who makes its volumes.
pub(crate) fn parameters(object: &Value, errors: &mut Errors) {
    let path = Path::new("parameters");
    let count = members(object, "parameters").count();
    if count > PARAMETERS_MAX {
        errors.too_long(&path, PARAMETERS_MAX);
        return;
    }
    let mut size = 0;
    for (key, value) in texts(object, "parameters") {
        if key.is_empty() {
            errors.invalid(&path, key, "field can not be empty.");
        }
        size += key.len() + value.len();
    }
    if size > PARAMETERS_SIZE_MAX {
        errors.too_long(&path, PARAMETERS_SIZE_MAX);
    }
}

/// Each term names every key once and at least one value for it, and no term is there twice.
fn topologies(object: &Value, errors: &mut Errors) {
    let (all, path) = (list(object, "allowedTopologies"), Path::new("allowedTopologies"));
    let mut terms: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (i, term) in all.iter().enumerate() {
        let path = path.index(i).child("matchLabelExpressions");
        let mut own = BTreeMap::new();
        for (i, e) in list(term, "matchLabelExpressions").iter().enumerate() {
            let (key, path) = (string(e, "key"), path.index(i));
            let values = topology_values(e, &path, errors);
            qualified_name(&path.child("key"), key, errors);
            if own.insert(key, values).is_some() {
                errors.duplicate(&path.child("key"), key);
            }
        }
        // An empty term counts as a repetition of as many as there are: upstream compares it with those to come.
        let empty = if own.is_empty() { all.len() } else { 0 };
        for _ in 0..terms.iter().filter(|t| **t == own).count() + empty {
            errors.duplicate(&path, "");
        }
        terms.push(own);
    }
}

fn topology_values<'a>(e: &'a Value, path: &Path, errors: &mut Errors) -> BTreeSet<&'a str> {
    let path = path.child("values");
    let mut seen = BTreeSet::new();
    if list(e, "values").is_empty() {
        errors.required(&path, "");
    }
    for (i, value) in list(e, "values").iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        if !seen.insert(value) {
            errors.duplicate(&path.index(i), value);
        }
    }
    seen
}

/// Our own provisioner: one folder of the node a claim.
pub const PROVISIONER: &str = "isopod.dev/folder";
/// The provisioner of classes whose volumes somebody makes by hand.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// Parameter that names the folder under which claims get theirs; without it that is the node's own.
pub const FOLDER: &str = "folder";
/// Annotation of a node: the folder under which it keeps the volumes of claims.
pub const NODE_FOLDER: &str = "isopod.dev/volumes";
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
/// The mark and its older form; only `kubectl get` looks at the latter.
const DEFAULT_KEYS: [&str; 2] = [DEFAULT, "storageclass.beta.kubernetes.io/is-default-class"];

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
