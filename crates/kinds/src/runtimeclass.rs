//! RuntimeClass: which runtime a pod's containers get. Source: node.k8s.io/v1 API reference.

use crate::check::{self, dns_label, immutable_text};
use crate::internal;
use crate::json::{get, list, members, some, string};
use crate::node::labels;
use crate::pod::validate::{overhead, toleration_list};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const RUNTIMECLASSES: Res = Res::new("node.k8s.io", "runtimeclasses");

pub fn row() -> Row {
    Row {
        res: RUNTIMECLASSES,
        version: "v1",
        kind: "RuntimeClass",
        singular: "runtimeclass",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.node.v1.RuntimeClass",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        // Upstream looks for the text about the handler in the wrong place and finds none.
        columns: const {
            &[
                Column::NAME,
                Column::new("Handler", "string").shows("node.v1.RuntimeClass", "handler"),
                Column::AGE,
            ]
        },
        rules: Arc::new(RuntimeClass),
    }
}

struct RuntimeClass;

impl Rules for RuntimeClass {
    fn creates_on_update(&self) -> bool {
        true
    }

    fn needs_revision(&self) -> bool {
        true
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let path = Path::new("handler");
        match string(object, "handler") {
            "" => errors.required(&path, ""),
            handler => dns_label(&path, handler, errors),
        }
        if let Some(given) = some(object, "overhead") {
            overhead(get(given, "podFixed"), &Path::new("overhead"), errors);
        }
        if let Some(scheduling) = some(object, "scheduling") {
            let path = Path::new("scheduling");
            check::labels(scheduling, "nodeSelector", &path.child("nodeSelector"), errors);
            tolerations(
                list(scheduling, "tolerations"),
                &path.child("tolerations"),
                errors,
            );
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::OBJECT_FIRST
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let field = "handler";
        immutable_text(get(object, field), get(old, field), &Path::new(field), errors);
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let selector = members(get(object, "scheduling"), "nodeSelector");
        let old = selector.filter_map(|(key, _)| labels::deprecation(key));
        old.map(|why| format!("scheduling.nodeSelector: {why}")).collect()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            string(object, "handler").into(),
            age(object, now).into(),
        ]
    }
}

/// As a pod's, but each only once.
fn tolerations(all: &[Value], path: &Path, errors: &mut Errors) {
    toleration_list(all, path, errors);
    let mut seen = BTreeSet::new();
    for (i, toleration) in all.iter().enumerate() {
        let key = ["key", "operator", "value", "effect"].map(|field| string(toleration, field));
        if !seen.insert(key) {
            errors.duplicate(&path.index(i), internal::shown("Toleration", toleration));
        }
    }
}
