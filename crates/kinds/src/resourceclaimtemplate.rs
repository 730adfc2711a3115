//! ResourceClaimTemplate: what claims a pod gets of its own. Source: resource.k8s.io/v1 API reference.

use crate::check::{self, IMMUTABLE};
use crate::devices::claim;
use crate::internal;
use crate::json::{get, has};
use crate::row::{Within, age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const RESOURCECLAIMTEMPLATES: Res = Res::new("resource.k8s.io", "resourceclaimtemplates");

pub fn row() -> Row {
    Row {
        res: RESOURCECLAIMTEMPLATES,
        version: "v1",
        kind: "ResourceClaimTemplate",
        singular: "resourceclaimtemplate",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.resource.v1.ResourceClaimTemplate",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const { &[Column::NAME, Column::AGE] },
        rules: Arc::new(ResourceClaimTemplate),
    }
}

struct ResourceClaimTemplate;

const SPEC: &str = "ResourceClaimTemplateSpec";

impl Rules for ResourceClaimTemplate {
    fn returns_deleted(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.pointer_mut("/spec/spec") {
            claim::default(spec);
        }
    }

    fn validate_within(&self, write: Write, object: &Value, within: &Within, errors: &mut Errors) {
        if write == Write::Create {
            let devices = crate::json::at(object, "/spec/spec/devices");
            let namespace = text(object, "/metadata/namespace");
            claim::admin_access(devices, namespace, within.seen, errors);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        template_metadata(spec, &path.child("metadata"), errors);
        claim::spec(get(spec, "spec"), &path.child("spec"), errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::OBJECT_FIRST
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let (now, was) = (get(object, "spec"), get(old, "spec"));
        if !internal::same(SPEC, now, was) {
            errors.invalid(&Path::new("spec"), internal::shown(SPEC, now), IMMUTABLE);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![text(object, "/metadata/name").into(), age(object, now).into()]
    }
}

const NOT_OF_TEMPLATES: [&str; 13] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Labels and annotations are all that claims take from their template.
fn template_metadata(spec: &Value, path: &Path, errors: &mut Errors) {
    let metadata = get(spec, "metadata");
    check::annotations(metadata, &path.child("annotations"), errors);
    check::labels(metadata, "labels", &path.child("labels"), errors);
    for field in NOT_OF_TEMPLATES.iter().filter(|field| has(metadata, field)) {
        // Upstream makes the path from its own name of the field.
        let shown = if *field == "uid" { "uID" } else { field };
        errors.forbidden(&path.child(shown), "cannot be set");
    }
}
