//! IngressClass: whose business an Ingress is. Source: networking.k8s.io/v1 API reference.

use crate::json::{ensure_object, get, has, put_default, string};
use crate::row::{age, annotation, text};
use crate::{Check, Column, Row, Rules, Write, check};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const INGRESSCLASSES: Res = Res::new("networking.k8s.io", "ingressclasses");

const CONTROLLER_MAX: usize = 250;
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

pub fn row() -> Row {
    Row {
        res: INGRESSCLASSES,
        version: "v1",
        kind: "IngressClass",
        singular: "ingressclass",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.networking.v1.IngressClass",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Controller", "string")
                    .says("Controller that is responsible for handling this class"),
                Column::new("Parameters", "string")
                    .says("A reference to a resource with additional parameters"),
                Column::AGE,
            ]
        },
        rules: Arc::new(IngressClass),
    }
}

struct IngressClass;

impl Rules for IngressClass {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = ensure_object(object, "spec")
            && has(spec, "parameters")
            && let Some(parameters) = ensure_object(spec, "parameters")
        {
            put_default(parameters, "scope", "Cluster");
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        let (controller, controller_path) = (string(spec, "controller"), path.child("controller"));
        if controller.len() > CONTROLLER_MAX {
            errors.too_long(&controller_path, CONTROLLER_MAX);
        }
        check::domain_prefixed_path(&controller_path, controller, errors);
        if has(spec, "parameters") {
            parameters(get(spec, "parameters"), &path.child("parameters"), errors);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::CHANGES_FIRST
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let controller = |object| get(get(object, "spec"), "controller");
        let path = Path::new("spec").child("controller");
        check::immutable_text(controller(object), controller(old), &path, errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, name) = (get(object, "spec"), text(object, "/metadata/name"));
        let name = match annotation(object, DEFAULT) {
            Some("true") => format!("{name} (default)"),
            _ => name.to_string(),
        };
        let parameters = get(spec, "parameters");
        let shown = match (parameters.is_null(), get(parameters, "apiGroup").as_str()) {
            (true, _) => "<none>".to_string(),
            (false, group) => {
                let group = group.map_or(String::new(), |group| format!(".{group}"));
                format!(
                    "{}{group}/{}",
                    string(parameters, "kind"),
                    string(parameters, "name")
                )
            }
        };
        vec![
            name.into(),
            string(spec, "controller").into(),
            shown.into(),
            age(object, now).into(),
        ]
    }
}

/// An object of some kind: of which group, kind and name.
pub(crate) fn reference(target: &Value, path: &Path, errors: &mut Errors) {
    if let Some(group) = get(target, "apiGroup").as_str() {
        check::dns_subdomain(&path.child("apiGroup"), group, errors);
    }
    for field in ["kind", "name"] {
        match string(target, field) {
            "" => errors.required(&path.child(field), ""),
            value => check::path_segment(&path.child(field), value, errors),
        }
    }
}

fn parameters(parameters: &Value, path: &Path, errors: &mut Errors) {
    reference(parameters, path, errors);
    let namespace = get(parameters, "namespace").as_str();
    let (scope_path, namespace_path) = (path.child("scope"), path.child("namespace"));
    match get(parameters, "scope").as_str() {
        None => errors.required(&scope_path, ""),
        Some("Namespace") => match namespace {
            None => errors.required(&namespace_path, "`parameters.scope` is set to 'Namespace'"),
            Some(namespace) => check::dns_label(&namespace_path, namespace, errors),
        },
        Some("Cluster") => {
            if namespace.is_some() {
                errors.forbidden(&namespace_path, "`parameters.scope` is set to 'Cluster'");
            }
        }
        Some(other) => errors.not_supported(&scope_path, other, &["Cluster", "Namespace"]),
    }
}
