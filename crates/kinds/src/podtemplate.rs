//! PodTemplate: a pod that somebody may make. Source: core/v1 API reference.

use crate::json::get;
use crate::row::text;
use crate::{Check, Column, Row, Rules, Write, pod};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const PODTEMPLATES: Res = Res::new("", "podtemplates");

pub fn row() -> Row {
    Row {
        res: PODTEMPLATES,
        version: "v1",
        kind: "PodTemplate",
        singular: "podtemplate",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.PodTemplate",
        generation: true,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Containers", "string").says("Names of each container in the template."),
                Column::new("Images", "string").says("Images referenced by each container in the template."),
                Column::new("Pod Labels", "string").says("The labels for the pod template."),
            ]
        },
        rules: Arc::new(PodTemplate),
    }
}

struct PodTemplate;

impl Rules for PodTemplate {
    fn default(&self, object: &mut Value) {
        pod::default_template(object);
    }

    fn prepare(&self, _write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        pod::drop_at("/template/spec", object, old);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        pod::validate::template(get(object, "template"), &Path::new("template"), errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::MetadataChange, Check::Object]
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if !pod::warnings::is_respecified(object, old) {
            return Vec::new();
        }
        pod::warnings::of_template(get(object, "template"), &Path::new("template"))
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let template = get(object, "template");
        let [containers, images] = pod::cells::containers_and_images_of(template);
        vec![
            text(object, "/metadata/name").into(),
            containers,
            images,
            pod::cells::labels(get(template, "metadata"), "labels"),
        ]
    }
}
