//! MutatingAdmissionPolicyBinding: where a policy holds, and with which parameters.
//! Source: admissionregistration.k8s.io/v1 API reference.

use crate::json::{child_mut, get};
use crate::mutatingadmissionpolicy::MUTATINGADMISSIONPOLICIES;
use crate::row::{Within, age, text};
use crate::{Check, Column, Row, Rules, Write, admission};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const MUTATINGADMISSIONPOLICYBINDINGS: Res =
    Res::new("admissionregistration.k8s.io", "mutatingadmissionpolicybindings");

pub fn row() -> Row {
    Row {
        res: MUTATINGADMISSIONPOLICYBINDINGS,
        version: "v1",
        kind: "MutatingAdmissionPolicyBinding",
        singular: "mutatingadmissionpolicybinding",
        short_names: &[],
        categories: &["api-extensions"],
        namespaced: false,
        type_name: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("PolicyName", "string")
                    .says("PolicyName indicates the policy definition which the policy binding binded to"),
                Column::new("ParamRef", "string")
                    .says("ParamRef indicates the param resource which sets the configuration param"),
                Column::AGE,
            ]
        },
        rules: Arc::new(MutatingAdmissionPolicyBinding),
    }
}

struct MutatingAdmissionPolicyBinding;

impl Rules for MutatingAdmissionPolicyBinding {
    fn needs_revision(&self) -> bool {
        true
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = child_mut(object, "spec") {
            admission::default_matches(spec, "matchResources");
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        admission::binding(spec, &path, errors);
        admission::only_mutating(get(spec, "matchResources"), &path.child("matchResources"), errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object]
    }

    fn authorize(&self, _write: Write, object: &Value, within: &Within, errors: &mut Errors) {
        admission::may_read_bound(object, MUTATINGADMISSIONPOLICIES, within, errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            text(object, "/spec/policyName").into(),
            admission::param_ref_cell(object).into(),
            age(object, now).into(),
        ]
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        admission::name_warnings(object)
    }
}
