//! CronJob: jobs at the times of a schedule. Source: batch/v1 API reference.

mod schedule;

use crate::json::{at, ensure_object, flag, get, has, list, put_default, string};
use crate::row::{age, ago, text};
use crate::{Check, Column, Row, Rules, Write, check, job, pod};
use meta::field::Shown;
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const CRONJOBS: Res = Res::new("batch", "cronjobs");

/// Jobs get eleven more characters, and no name of a job is longer than 63.
const NAME_MAX: usize = 52;

pub fn row() -> Row {
    Row {
        res: CRONJOBS,
        version: "v1",
        kind: "CronJob",
        singular: "cronjob",
        short_names: &["cj"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.batch.v1.CronJob",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Schedule", "string").shows("batch.v1.CronJobSpec", "schedule"),
                Column::new("Timezone", "string").shows("batch.v1.CronJobSpec", "timeZone"),
                Column::new("Suspend", "boolean").shows("batch.v1.CronJobSpec", "suspend"),
                Column::new("Active", "integer").shows("batch.v1.CronJobStatus", "active"),
                Column::new("Last Schedule", "string").shows("batch.v1.CronJobStatus", "lastScheduleTime"),
                Column::AGE,
                Column::wide("Containers", "string").says("Names of each container in the template."),
                Column::wide("Images", "string").says("Images referenced by each container in the template."),
                Column::wide("Selector", "string").shows("batch.v1.JobSpec", "selector"),
            ]
        },
        rules: Arc::new(CronJob),
    }
}

struct CronJob;

impl Rules for CronJob {
    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        if string(spec, "concurrencyPolicy").is_empty() {
            crate::json::put(spec, "concurrencyPolicy", "Allow");
        }
        put_default(spec, "suspend", false);
        put_default(spec, "successfulJobsHistoryLimit", 3);
        put_default(spec, "failedJobsHistoryLimit", 1);
        if let Some(template) = ensure_object(spec, "jobTemplate") {
            ensure_object(template, "metadata");
            if let Some(spec) = ensure_object(template, "spec") {
                job::default_policies(spec);
                pod::default_template(spec);
            }
        }
        ensure_object(object, "status");
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        if write != Write::Status {
            pod::drop_at("/spec/jobTemplate/spec/template/spec", object, old);
        }
        ensure_object(object, "status");
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        spec(object, None, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        spec(object, Some(old), errors);
    }

    fn validate_new(&self, object: &Value, errors: &mut Errors) {
        let name = text(object, "/metadata/name");
        if name.len() > NAME_MAX {
            let path = Path::new("metadata").child("name");
            errors.invalid(
                &path,
                name,
                &format!("must be no more than {NAME_MAX} characters"),
            );
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => &[],
            _ => &[Check::MetadataChange, Check::Object],
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = match old {
            None => pod::warnings::of_name(object),
            Some(_) => Vec::new(),
        };
        if pod::warnings::is_respecified(object, old) {
            let path = Path::new("spec").child("jobTemplate").child("spec");
            out.extend(job::warnings(at(object, "/spec/jobTemplate/spec"), &path));
        }
        if old.is_some() && text(object, "/spec/schedule").contains("TZ") {
            out.push(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                    .into(),
            );
        }
        out
    }

    fn scale_selector(&self, object: &Value) -> String {
        crate::workload::label_selector(at(object, "/spec/jobTemplate/spec/selector")).to_string()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (get(object, "spec"), get(object, "status"));
        let [containers, images] =
            pod::cells::containers_and_images_of(at(spec, "/jobTemplate/spec/template"));
        let last = Timestamp::parse(string(status, "lastScheduleTime"));
        let suspended = match flag(spec, "suspend") {
            None => "<unset>",
            Some(true) => "True",
            Some(false) => "False",
        };
        vec![
            text(object, "/metadata/name").into(),
            string(spec, "schedule").into(),
            get(spec, "timeZone").as_str().unwrap_or("<none>").into(),
            suspended.into(),
            list(status, "active").len().into(),
            last.map_or("<none>".into(), |last| ago(last, now)).into(),
            age(object, now).into(),
            containers,
            images,
            pod::cells::selector(self.scale_selector(object)),
        ]
    }
}

fn spec(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    let was = old.map(|old| get(old, "spec"));
    schedule(spec, was, &path.child("schedule"), errors);
    check::not_negative(spec, "startingDeadlineSeconds", &path, errors);
    let zone = get(spec, "timeZone");
    if was.is_none_or(|was| get(was, "timeZone") != zone)
        && let Some(zone) = zone.as_str()
    {
        time_zone(zone, &path.child("timeZone"), errors);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    check::one_of(spec, "concurrencyPolicy", &policies, true, &path, errors);
    job_template(get(get(spec, "jobTemplate"), "spec"), &path, errors);
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        check::not_negative(spec, field, &path, errors);
    }
}

fn job_template(spec: &Value, path: &Path, errors: &mut Errors) {
    let path = path.child("jobTemplate").child("spec");
    job::validate::spec(spec, &path, errors);
    let selector = get(spec, "selector");
    if !selector.is_null() {
        let shown = check::selector_shown(selector);
        errors.invalid(
            &path.child("selector"),
            shown,
            "`selector` will be auto-generated",
        );
    }
    if crate::json::is_true(spec, "manualSelector") {
        let shown = Shown("true".into());
        errors.not_supported(&path.child("manualSelector"), shown, &["nil", "false"]);
    }
}

/// A zone within the schedule may stay where it was before there was a field for it.
fn schedule(spec: &Value, was: Option<&Value>, path: &Path, errors: &mut Errors) {
    let schedule = string(spec, "schedule");
    if schedule.is_empty() {
        errors.required(path, "");
        return;
    }
    if let Some(why) = schedule::wrong(schedule) {
        errors.invalid(path, schedule, &why);
    }
    if !schedule.contains("TZ") {
        return;
    }
    let had = was.is_some_and(|was| string(was, "schedule").contains("TZ"));
    if !had {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(path, schedule, detail);
    } else if has(spec, "timeZone") {
        let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
        errors.invalid(path, schedule, detail);
    }
}

/// A name of the IANA's database.
fn time_zone(zone: &str, path: &Path, errors: &mut Errors) {
    const PART_MAX: usize = 14;
    if zone.is_empty() {
        errors.invalid(path, zone, "timeZone must be nil or non-empty string");
        return;
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+');
    let is_name = |part: &str| {
        let fits = (1..=PART_MAX).contains(&part.len());
        fits && !matches!(part, "." | "..") && !part.starts_with('-') && part.bytes().all(allowed)
    };
    if !zone.split('/').all(is_name) {
        errors.invalid(path, zone, &format!("unknown time zone {zone}"));
        return;
    }
    if zone.eq_ignore_ascii_case("Local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(path, zone, detail);
    }
    if !schedule::is_zone(zone) {
        errors.invalid(path, zone, &format!("unknown time zone {zone}"));
    }
}
