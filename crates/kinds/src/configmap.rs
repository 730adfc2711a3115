//! ConfigMap: text and bytes for pods to read. Source: core/v1 API reference.

use crate::json::{get, has, texts};
use crate::row::{age, text};
use crate::secret::decoded_len;
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp, name};
use serde_json::Value;
use std::sync::Arc;

pub const CONFIGMAPS: Res = Res::new("", "configmaps");

/// All values together, in bytes.
const MAX_SIZE: usize = 1 << 20;

pub fn row() -> Row {
    Row {
        res: CONFIGMAPS,
        version: "v1",
        kind: "ConfigMap",
        singular: "configmap",
        short_names: &["cm"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.ConfigMap",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Data", "string").shows("core.v1.ConfigMap", "data"),
                Column::AGE,
            ]
        },
        rules: Arc::new(ConfigMap),
    }
}

struct ConfigMap;

impl Rules for ConfigMap {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        let bytes = get(object, "binaryData");
        let mut size = 0;
        for (key, value) in texts(object, "data") {
            let path = Path::new("data").key(key);
            check_key(key, &path, errors);
            if has(bytes, key) {
                errors.invalid(&path, key, "duplicate of key present in binaryData");
            }
            size += value.len();
        }
        for (key, value) in texts(object, "binaryData") {
            check_key(key, &Path::new("binaryData").key(key), errors);
            size += decoded_len(value);
        }
        if size > MAX_SIZE {
            // How upstream writes the whole object here.
            errors.too_long(&Path::new("[]"), MAX_SIZE);
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => Check::CHANGES_FIRST,
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if old.get("immutable") != Some(&Value::Bool(true)) {
            return;
        }
        if object.get("immutable") != Some(&Value::Bool(true)) {
            errors.forbidden(
                &Path::new("immutable"),
                "field is immutable when `immutable` is set",
            );
        }
        for field in ["data", "binaryData"] {
            if object.get(field) != old.get(field) {
                errors.forbidden(&Path::new(field), "field is immutable when `immutable` is set");
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = |field: &str| {
            object
                .get(field)
                .and_then(Value::as_object)
                .map_or(0, serde_json::Map::len)
        };
        let data = count("data") + count("binaryData");
        vec![
            text(object, "/metadata/name").into(),
            data.into(),
            age(object, now).into(),
        ]
    }
}

/// Keys of ConfigMaps and Secrets become file names.
pub(crate) fn check_key(key: &str, path: &Path, errors: &mut Errors) {
    if key.len() > name::SUBDOMAIN_MAX {
        errors.invalid(path, key, &name::max_len_error(name::SUBDOMAIN_MAX));
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if key.is_empty() || !key.bytes().all(allowed) {
        let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
        errors.invalid(path, key, detail);
    }
    if key == "." || key == ".." {
        errors.invalid(path, key, &format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        errors.invalid(path, key, "must not start with '..'");
    }
}
