//! ValidatingAdmissionPolicyBinding: where a policy holds, and with which parameters.
//! Source: admissionregistration.k8s.io/v1 API reference.

use crate::json::{child_mut, get, list};
use crate::row::{Within, age, text};
use crate::validatingadmissionpolicy::VALIDATINGADMISSIONPOLICIES;
use crate::{Check, Column, Row, Rules, Write, admission};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const VALIDATINGADMISSIONPOLICYBINDINGS: Res = Res::new(
    "admissionregistration.k8s.io",
    "validatingadmissionpolicybindings",
);

pub fn row() -> Row {
    Row {
        res: VALIDATINGADMISSIONPOLICYBINDINGS,
        version: "v1",
        kind: "ValidatingAdmissionPolicyBinding",
        singular: "validatingadmissionpolicybinding",
        short_names: &[],
        categories: &["api-extensions"],
        namespaced: false,
        type_name: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
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
        rules: Arc::new(ValidatingAdmissionPolicyBinding),
    }
}

struct ValidatingAdmissionPolicyBinding;

impl Rules for ValidatingAdmissionPolicyBinding {
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
        actions(spec, &path.child("validationActions"), errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::Metadata, Check::Object]
    }

    fn authorize(&self, _write: Write, object: &Value, within: &Within, errors: &mut Errors) {
        admission::may_read_bound(object, VALIDATINGADMISSIONPOLICIES, within, errors);
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

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

/// What follows when a validation fails: at least one thing, each once, and not the same told twice.
fn actions(spec: &Value, path: &Path, errors: &mut Errors) {
    let all = list(spec, "validationActions");
    let mut seen = BTreeSet::new();
    for (i, action) in all.iter().enumerate() {
        let (action, path) = (action.as_str().unwrap_or_default(), path.index(i));
        if !ACTIONS.contains(&action) {
            errors.not_supported(&path, action, &ACTIONS);
        }
        if !seen.insert(action) {
            errors.duplicate(&path, action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(path, all.to_vec(), detail);
    }
    if seen.is_empty() {
        errors.required(path, "at least one validation action is required");
    }
}
