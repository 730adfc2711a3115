//! MutatingWebhookConfiguration: whom to ask about requests, which may be changed.
//! Source: admissionregistration.k8s.io/v1 API reference.

use crate::admission::webhooks::{self, Sort};
use crate::json::list;
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write, admission};
use meta::{Errors, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const MUTATINGWEBHOOKCONFIGURATIONS: Res =
    Res::new("admissionregistration.k8s.io", "mutatingwebhookconfigurations");

pub fn row() -> Row {
    Row {
        res: MUTATINGWEBHOOKCONFIGURATIONS,
        version: "v1",
        kind: "MutatingWebhookConfiguration",
        singular: "mutatingwebhookconfiguration",
        short_names: &[],
        categories: &["api-extensions"],
        namespaced: false,
        type_name: "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Webhooks", "integer")
                    .says("Webhooks indicates the number of webhooks registered in this configuration"),
                Column::AGE,
            ]
        },
        rules: Arc::new(MutatingWebhookConfiguration),
    }
}

struct MutatingWebhookConfiguration;

impl Rules for MutatingWebhookConfiguration {
    fn needs_revision(&self) -> bool {
        true
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        webhooks::default(object, Sort::Mutating);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        webhooks::check(object, None, Sort::Mutating, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        webhooks::check(object, Some(old), Sort::Mutating, errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            list(object, "webhooks").len().into(),
            age(object, now).into(),
        ]
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        admission::name_warnings(object)
    }
}
