//! Job: pods that run until enough of them have succeeded. Source: batch/v1 API reference.

mod indexes;
mod policies;
mod status;
mod update;
pub(crate) mod validate;

use crate::json::{
    at, ensure_object, get, has, int, is_true, items_mut, list, number, put, put_default, string,
};
use crate::row::{age, ago, duration, text};
use crate::{Check, Column, Row, Rules, Write, pod};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const JOBS: Res = Res::new("batch", "jobs");

/// Labels of a job's pods, in the form of today and in that of the past.
pub const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
pub const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

pub fn row() -> Row {
    Row {
        res: JOBS,
        version: "v1",
        kind: "Job",
        singular: "job",
        short_names: &[],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.batch.v1.Job",
        generation: true,
        status: true,
        scale: None,
        selectable: &["status.successful"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Status", "string").says("Status of the job."),
                Column::new("Completions", "string").shows("batch.v1.JobStatus", "succeeded"),
                Column::new("Duration", "string").says("Time required to complete the job."),
                Column::AGE,
                Column::wide("Containers", "string").says("Names of each container in the template."),
                Column::wide("Images", "string").says("Images referenced by each container in the template."),
                Column::wide("Selector", "string").shows("batch.v1.JobSpec", "selector"),
            ]
        },
        rules: Arc::new(Job),
    }
}

struct Job;

impl Rules for Job {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = ensure_object(object, "spec") {
            default_counts(spec);
            default_policies(spec);
            pod::default_template(spec);
        }
        ensure_object(object, "status");
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write == Write::Create && !is_true(get(object, "spec"), "manualSelector") {
            // Where the name is made up, too, upstream works on a copy, to which the job's own labels do not belong.
            if !text(object, "/metadata/generateName").is_empty() {
                default_labels(object);
            }
            generate_selector(object);
        }
        default_labels(object);
        if write != Write::Status {
            pod::drop_in_template(object, old);
        }
        ensure_object(object, "status");
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::job(object, true, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        // Jobs that are older than the labels do without them.
        let labels = at(old, "/spec/template/metadata/labels");
        let prefixed = has(labels, NAME_LABELS[1]) && has(labels, UID_LABELS[1]);
        validate::job(object, prefixed, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => Check::OBJECT_FIRST,
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        match write {
            Write::Status => status::update(object, old, errors),
            _ => update::spec(object, old, errors),
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if !pod::warnings::is_respecified(object, old) {
            return Vec::new();
        }
        let mut out = match old {
            None => pod::warnings::of_name(object),
            Some(_) => Vec::new(),
        };
        out.extend(warnings(get(object, "spec"), &Path::new("spec")));
        out
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn field(&self, object: &Value, path: &str) -> String {
        match path {
            "status.successful" => number(get(object, "status"), "succeeded").to_string(),
            _ => crate::row::plain_field(object, path),
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let [containers, images] = pod::cells::containers_and_images(object);
        vec![
            text(object, "/metadata/name").into(),
            state(object).into(),
            completions(object).into(),
            lasted(object, now).into(),
            age(object, now).into(),
            containers,
            images,
            pod::cells::selector(self.scale_selector(object)),
        ]
    }
}

/// A job without labels has those of its template, with those that were generated.
fn default_labels(object: &mut Value) {
    let labels = at(object, "/spec/template/metadata/labels").clone();
    if labels.is_object()
        && let Some(metadata) = ensure_object(object, "metadata")
        && get(metadata, "labels").as_object().is_none_or(|l| l.is_empty())
    {
        put(metadata, "labels", labels);
    }
}

fn default_counts(spec: &mut Value) {
    if !has(spec, "parallelism") && !has(spec, "completions") {
        put(spec, "completions", 1);
    }
    put_default(spec, "parallelism", 1);
    let retries = match has(spec, "backoffLimitPerIndex") {
        true => i32::MAX,
        false => 6,
    };
    put_default(spec, "backoffLimit", retries);
    put_default(spec, "completionMode", "NonIndexed");
    put_default(spec, "suspend", false);
    put_default(spec, "manualSelector", false);
    let replaced = match has(spec, "podFailurePolicy") {
        true => "Failed",
        false => "TerminatingOrFailed",
    };
    put_default(spec, "podReplacementPolicy", replaced);
}

/// Also those of a CronJob's template, which gets no other defaults.
pub(crate) fn default_policies(spec: &mut Value) {
    let Some(policy) = crate::json::child_mut(spec, "podFailurePolicy") else {
        return;
    };
    for pattern in items_mut(policy, "rules").flat_map(|rule| items_mut(rule, "onPodConditions")) {
        if string(pattern, "status").is_empty() {
            put(pattern, "status", "True");
        }
    }
}

/// The labels by which a job knows its pods, and a selector for them, so that no two jobs have one pod.
fn generate_selector(object: &mut Value) {
    let name = text(object, "/metadata/name").to_string();
    let uid = text(object, "/metadata/uid").to_string();
    let Some(spec) = ensure_object(object, "spec") else {
        return;
    };
    let metadata = ensure_object(spec, "template").and_then(|t| ensure_object(t, "metadata"));
    if let Some(labels) = metadata.and_then(|m| ensure_object(m, "labels")) {
        NAME_LABELS
            .iter()
            .for_each(|label| put_default(labels, label, &*name));
        UID_LABELS
            .iter()
            .for_each(|label| put_default(labels, label, &*uid));
    }
    let selector = ensure_object(spec, "selector");
    if let Some(labels) = selector.and_then(|s| ensure_object(s, "matchLabels")) {
        put_default(labels, UID_LABELS[1], uid);
    }
}

/// What is hardly meant in the spec of a job, or of the jobs that a CronJob makes.
pub(crate) fn warnings(spec: &Value, path: &Path) -> Vec<String> {
    const COMPLETIONS: i64 = 100_000;
    const PARALLELISM: i64 = 10_000;
    let mut out = Vec::new();
    let many = number(spec, "completions") > COMPLETIONS && number(spec, "parallelism") > PARALLELISM;
    if many && string(spec, "completionMode") == "Indexed" {
        out.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    let template = path.child("template");
    out.extend(pod::warnings::of_template(get(spec, "template"), &template));
    out
}

/// A condition of this type has this status.
fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let mut conditions = list(get(object, "status"), "conditions").iter();
    conditions.any(|c| string(c, "type") == kind && string(c, "status") == status)
}

fn is_so(object: &Value, kind: &str) -> bool {
    has_condition(object, kind, "True")
}

fn state(object: &Value) -> &'static str {
    let of = |kinds: &[&'static str]| kinds.iter().copied().find(|kind| is_so(object, kind));
    if let Some(kind) = of(&["Complete", "Failed"]) {
        return kind;
    }
    if has(get(object, "metadata"), "deletionTimestamp") {
        return "Terminating";
    }
    of(&["Suspended", "FailureTarget", "SuccessCriteriaMet"]).unwrap_or("Running")
}

fn completions(object: &Value) -> String {
    let spec = get(object, "spec");
    let done = number(get(object, "status"), "succeeded");
    match (int(spec, "completions"), number(spec, "parallelism")) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, at_once) if at_once > 1 => format!("{done}/1 of {at_once}"),
        (None, _) => format!("{done}/1"),
    }
}

/// How long it took, or has taken so far.
fn lasted(object: &Value, now: Timestamp) -> String {
    let time = |field: &str| Timestamp::parse(string(get(object, "status"), field));
    match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), None) => ago(start, now),
        (Some(start), Some(end)) => duration(end.since(start)),
    }
}
