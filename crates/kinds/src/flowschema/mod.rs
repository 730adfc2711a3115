//! FlowSchema: which requests belong to which priority level. Source: flowcontrol.apiserver.k8s.io/v1 API reference.

mod initial;
mod validate;

pub use initial::initial;

use crate::json::{get, int, list, put_nonzero, some, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const FLOWSCHEMAS: Res = Res::new("flowcontrol.apiserver.k8s.io", "flowschemas");

pub fn row() -> Row {
    Row {
        res: FLOWSCHEMAS,
        version: "v1",
        kind: "FlowSchema",
        singular: "flowschema",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.flowcontrol.v1.FlowSchema",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("PriorityLevel", "string")
                    .shows("flowcontrol.v1.PriorityLevelConfigurationReference", "name"),
                Column::new("MatchingPrecedence", "string").shows(SPEC, "matchingPrecedence"),
                Column::new("DistinguisherMethod", "string").shows(SPEC, "distinguisherMethod"),
                Column::AGE,
                Column::new("MissingPL", "string")
                    .says("references a broken or non-existent PriorityLevelConfiguration"),
            ]
        },
        rules: Arc::new(FlowSchema),
    }
}

const SPEC: &str = "flowcontrol.v1.FlowSchemaSpec";
/// What a schema without a precedence has.
const PRECEDENCE: i64 = 1000;

struct FlowSchema;

impl Rules for FlowSchema {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = crate::json::ensure_object(object, "spec") {
            put_nonzero(spec, "matchingPrecedence", PRECEDENCE);
        }
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        ALL_OF_METADATA
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::schema(object, errors);
        condition_types(get(object, "status"), errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => &[Check::Change],
            _ => &[Check::Metadata, Check::Object],
        }
    }

    fn validate_update(&self, _write: Write, object: &Value, _old: &Value, errors: &mut Errors) {
        condition_types(get(object, "status"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let method = some(spec, "distinguisherMethod");
        let conditions = list(get(object, "status"), "conditions");
        let dangling = conditions.iter().find(|c| string(c, "type") == "Dangling");
        vec![
            text(object, "/metadata/name").into(),
            text(spec, "/priorityLevelConfiguration/name").into(),
            int(spec, "matchingPrecedence").unwrap_or(0).into(),
            method.map_or("<none>", |method| string(method, "type")).into(),
            age(object, now).into(),
            dangling.map_or("?", |c| string(c, "status")).into(),
        ]
    }
}

/// A status write leaves all of the metadata.
pub(crate) const ALL_OF_METADATA: &[&str] = &[
    "generateName",
    "uid",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "deletionGracePeriodSeconds",
];

/// Conditions have a type, each another.
pub(crate) fn condition_types(status: &Value, errors: &mut Errors) {
    let path = Path::new("status").child("conditions");
    let mut seen = BTreeSet::new();
    for (i, condition) in list(status, "conditions").iter().enumerate() {
        let (kind, path) = (string(condition, "type"), path.index(i).child("type"));
        if !seen.insert(kind) {
            errors.duplicate(&path, kind);
        }
        if kind.is_empty() {
            errors.required(&path, "");
        }
    }
}
