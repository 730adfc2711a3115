//! MutatingAdmissionPolicy: rules in expressions that change objects on their way in.
//! Source: admissionregistration.k8s.io/v1 API reference.

use crate::admission::expressions;
use crate::admission::webhooks::Sort;
use crate::check::one_of;
use crate::json::{ensure_object, get, list, put_default};
use crate::row::{Within, age, text};
use crate::{Check, Column, Row, Rules, Write, admission};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const MUTATINGADMISSIONPOLICIES: Res =
    Res::new("admissionregistration.k8s.io", "mutatingadmissionpolicies");

pub fn row() -> Row {
    Row {
        res: MUTATINGADMISSIONPOLICIES,
        version: "v1",
        kind: "MutatingAdmissionPolicy",
        singular: "mutatingadmissionpolicy",
        short_names: &[],
        categories: &["api-extensions"],
        namespaced: false,
        type_name: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Mutations", "integer").says(COUNT),
                Column::new("ParamKind", "string")
                    .says("ParamKind specifies the kind of resources used to parameterize this policy"),
                Column::AGE,
            ]
        },
        rules: Arc::new(MutatingAdmissionPolicy),
    }
}

const COUNT: &str = "Mutation indicates the number of mutations rules defined in this configuration";

struct MutatingAdmissionPolicy;

impl Rules for MutatingAdmissionPolicy {
    fn needs_revision(&self) -> bool {
        true
    }

    fn checks_finalizer_names(&self) -> bool {
        false
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
        admission::policy(spec, get(old, "spec"), Sort::Mutating, &path, errors);
        let mutations = list(spec, "mutations");
        if mutations.is_empty() {
            let detail = "mutations must contain at least one item";
            errors.required(&path.child("mutations"), detail);
        }
        for (i, one) in mutations.iter().enumerate() {
            expressions::mutation(one, &path.child("mutations").index(i), errors);
        }
        let policies = ["IfNeeded", "Never"];
        one_of(spec, "reinvocationPolicy", &policies, true, &path, errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object]
    }

    fn authorize(&self, write: Write, object: &Value, within: &Within, errors: &mut Errors) {
        if write != Write::Status {
            admission::may_read_params(object, within, errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            admission::count(object, "mutations"),
            admission::param_kind_cell(object).into(),
            age(object, now).into(),
        ]
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        admission::name_warnings(object)
    }
}
