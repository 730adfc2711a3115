//! CSIStorageCapacity: how much room a class has in one part of the cluster. Source: storage.k8s.io/v1 API reference.

use crate::check::{self, IMMUTABLE, dns_subdomain, selector_shown};
use crate::json::{get, quantity_text, some, string};
use crate::row::text;
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const CSISTORAGECAPACITIES: Res = Res::new("storage.k8s.io", "csistoragecapacities");

pub fn row() -> Row {
    Row {
        res: CSISTORAGECAPACITIES,
        version: "v1",
        kind: "CSIStorageCapacity",
        singular: "csistoragecapacity",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.storage.v1.CSIStorageCapacity",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("StorageClassName", "string").shows(TYPE, CLASS),
                Column::new("Capacity", "string").shows(TYPE, "capacity"),
            ]
        },
        rules: Arc::new(CsiStorageCapacity),
    }
}

const TYPE: &str = "storage.v1.CSIStorageCapacity";
const CLASS: &str = "storageClassName";
const TOPOLOGY: &str = "nodeTopology";

struct CsiStorageCapacity;

impl Rules for CsiStorageCapacity {
    fn needs_revision(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        self.validate_replacement(object, &Value::Null, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        let (selector, before) = (get(object, TOPOLOGY), get(old, TOPOLOGY));
        check::label_selector_over(selector, before, &Path::new(TOPOLOGY), errors);
        dns_subdomain(&Path::new(CLASS), string(object, CLASS), errors);
        if let Some(capacity) = some(object, "capacity") {
            check::quantity(capacity, &Path::new("capacity"), errors);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::OBJECT_FIRST
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let (now, was) = (get(object, TOPOLOGY), get(old, TOPOLOGY));
        if now.is_null() != was.is_null() || selector_shown(now).0 != selector_shown(was).0 {
            let path = Path::new(TOPOLOGY);
            match now.is_null() {
                true => errors.invalid(&path, Value::Null, IMMUTABLE),
                false => errors.invalid(&path, selector_shown(now), IMMUTABLE),
            }
        }
        check::immutable_text(get(object, CLASS), get(old, CLASS), &Path::new(CLASS), errors);
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        crate::node::labels::selector_warnings(get(object, TOPOLOGY), &Path::new(TOPOLOGY))
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            string(object, CLASS).into(),
            some(object, "capacity").map_or("<unset>".into(), |size| quantity_text(size).into()),
        ]
    }
}
