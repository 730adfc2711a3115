//! DaemonSet: a pod on every node that fits. Source: apps/v1 API reference.

mod validate;

use crate::json::{at, ensure_object, get, number, put, put_default, string};
use crate::row::{age, annotation, text};
use crate::{Check, Column, Row, Rules, Write, internal, pod};
use meta::{Errors, Path, Res, Snapshot, Status, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const DAEMONSETS: Res = Res::new("apps", "daemonsets");

/// Counts changes of the template; a field in versions that are gone.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub fn row() -> Row {
    Row {
        res: DAEMONSETS,
        version: "v1",
        kind: "DaemonSet",
        singular: "daemonset",
        short_names: &["ds"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.apps.v1.DaemonSet",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Desired", "integer").shows("apps.v1.DaemonSetStatus", "desiredNumberScheduled"),
                Column::new("Current", "integer").shows("apps.v1.DaemonSetStatus", "currentNumberScheduled"),
                Column::new("Ready", "integer").shows("apps.v1.DaemonSetStatus", "numberReady"),
                Column::new("Up-to-date", "integer")
                    .shows("apps.v1.DaemonSetStatus", "updatedNumberScheduled"),
                Column::new("Available", "integer").shows("apps.v1.DaemonSetStatus", "numberAvailable"),
                Column::new("Node Selector", "string").shows("core.v1.PodSpec", "nodeSelector"),
                Column::AGE,
                Column::wide("Containers", "string").says("Names of each container in the template."),
                Column::wide("Images", "string").says("Images referenced by each container in the template."),
                Column::wide("Selector", "string").shows("apps.v1.DaemonSetSpec", "selector"),
            ]
        },
        rules: Arc::new(DaemonSet),
    }
}

struct DaemonSet;

impl Rules for DaemonSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        if let Some(strategy) = ensure_object(spec, "updateStrategy") {
            put_default(strategy, "type", "RollingUpdate");
            if string(strategy, "type") == "RollingUpdate"
                && let Some(rolling) = ensure_object(strategy, "rollingUpdate")
            {
                put_default(rolling, "maxUnavailable", 1);
                put_default(rolling, "maxSurge", 0);
            }
        }
        let rolling = spec.pointer_mut("/updateStrategy/rollingUpdate");
        if let Some(rolling) = rolling.filter(|rolling| !rolling.is_null()) {
            put_default(rolling, "maxUnavailable", 0);
            put_default(rolling, "maxSurge", 0);
        }
        put_default(spec, "revisionHistoryLimit", 10);
        pod::default_template(spec);
        status(object);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write != Write::Status {
            pod::drop_in_template(object, old);
        }
        status(object);
        // One that is no number is told of before anything else.
        if let Ok(given) = template_generation(object) {
            let count = match old {
                None => given.max(1),
                Some(old) => counted(write, object, old),
            };
            let metadata = ensure_object(object, "metadata");
            if let Some(annotations) = metadata.and_then(|m| ensure_object(m, "annotations")) {
                put(annotations, TEMPLATE_GENERATION, count.to_string());
            }
        }
    }

    fn begin(
        &self,
        _write: Write,
        object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        let kind = "DaemonSet in version \"v1\" cannot be handled as a DaemonSet";
        template_generation(object)
            .map(|_| ())
            .map_err(|why| Status::bad_request(format!("{kind}: {why}")))
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::object(object, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Change, Check::Object],
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        validate::update(write, object, old, errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let count = |object| annotation(object, TEMPLATE_GENERATION);
        if old.is_some_and(|old| count(old) == count(object)) {
            return Vec::new();
        }
        let path = Path::new("spec").child("template");
        pod::warnings::of_template(at(object, "/spec/template"), &path)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let [containers, images] = pod::cells::containers_and_images(object);
        let count = |field: &str| Value::from(number(get(object, "status"), field));
        vec![
            text(object, "/metadata/name").into(),
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberReady"),
            count("updatedNumberScheduled"),
            count("numberAvailable"),
            pod::cells::labels(at(object, "/spec/template/spec"), "nodeSelector"),
            age(object, now).into(),
            containers,
            images,
            pod::cells::selector(self.scale_selector(object)),
        ]
    }
}

/// Counters that are shown even when they are 0.
fn status(object: &mut Value) {
    if let Some(status) = ensure_object(object, "status") {
        for field in [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
        ] {
            put_default(status, field, 0);
        }
    }
}

/// What the annotation says; 0 where there is none.
fn template_generation(object: &Value) -> Result<i64, String> {
    let Some(text) = annotation(object, TEMPLATE_GENERATION) else {
        return Ok(0);
    };
    text.parse::<i64>().map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {text:?}: {why}")
    })
}

/// Clients do not set it: it is what it was, and one more with every new template.
fn counted(write: Write, object: &Value, old: &Value) -> i64 {
    let was = template_generation(old).unwrap_or(0);
    let template = |object| internal::pod_template(at(object, "/spec/template"));
    let same = write == Write::Status || internal::same("PodTemplateSpec", &template(old), &template(object));
    if same { was } else { was + 1 }
}
