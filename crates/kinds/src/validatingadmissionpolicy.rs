//! ValidatingAdmissionPolicy: rules in expressions that requests must meet.
//! Source: admissionregistration.k8s.io/v1 API reference.

use crate::admission::expressions;
use crate::admission::webhooks::Sort;
use crate::check::conditions;
use crate::json::{ensure_object, get, list, put_default, string};
use crate::row::{Within, age, text};
use crate::{Check, Column, Row, Rules, Write, admission};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const VALIDATINGADMISSIONPOLICIES: Res =
    Res::new("admissionregistration.k8s.io", "validatingadmissionpolicies");

pub fn row() -> Row {
    Row {
        res: VALIDATINGADMISSIONPOLICIES,
        version: "v1",
        kind: "ValidatingAdmissionPolicy",
        singular: "validatingadmissionpolicy",
        short_names: &[],
        categories: &["api-extensions"],
        namespaced: false,
        type_name: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Validations", "integer").says(COUNT),
                Column::new("ParamKind", "string")
                    .says("ParamKind specifies the kind of resources used to parameterize this policy"),
                Column::AGE,
            ]
        },
        rules: Arc::new(ValidatingAdmissionPolicy),
    }
}

const COUNT: &str = "Validations indicates the number of validation rules defined in this configuration";

struct ValidatingAdmissionPolicy;

impl Rules for ValidatingAdmissionPolicy {
    fn needs_revision(&self) -> bool {
        true
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        crate::row::STATUS_KEEPS
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = ensure_object(object, "spec") {
            put_default(spec, "failurePolicy", "Fail");
            admission::default_matches(spec, "matchConstraints");
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        self.validate_replacement(object, &Value::Null, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        admission::policy(spec, get(old, "spec"), Sort::Validating, &path, errors);
        let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
        if validations.is_empty() && annotations.is_empty() {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.required(&path.child("validations"), detail);
            errors.required(&path.child("auditAnnotations"), detail);
        }
        for (i, one) in validations.iter().enumerate() {
            expressions::validation(one, &path.child("validations").index(i), errors);
        }
        expressions::audit_annotations(text(object, "/metadata/name"), spec, &path, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => &[Check::Change],
            _ => &[Check::Metadata, Check::Object],
        }
    }

    fn validate_update(&self, write: Write, object: &Value, _old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            status(get(object, "status"), errors);
        }
    }

    fn authorize(&self, write: Write, object: &Value, within: &Within, errors: &mut Errors) {
        if write != Write::Status {
            admission::may_read_params(object, within, errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            admission::count(object, "validations"),
            admission::param_kind_cell(object).into(),
            age(object, now).into(),
        ]
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        admission::name_warnings(object)
    }
}

fn status(status: &Value, errors: &mut Errors) {
    let path = Path::new("status");
    let warnings = list(get(status, "typeChecking"), "expressionWarnings");
    let of_warnings = path.child("typeChecking").child("expressionWarnings");
    for (i, warning) in warnings.iter().enumerate() {
        let path = of_warnings.index(i);
        for field in ["warning", "fieldRef"] {
            if string(warning, field).trim().is_empty()
                && (field == "fieldRef" || string(warning, field).is_empty())
            {
                errors.required(&path.child(field), "");
            }
        }
    }
    conditions(list(status, "conditions"), &path.child("conditions"), errors);
}
