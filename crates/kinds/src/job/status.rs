//! What the status of a Job may become. Most of it is looked at only where it changes: who puts one thing right need not
//! answer for the others.

use super::{has_condition, indexes, is_so};
use crate::json::{get, has, int, is_true, list, number, string};
use crate::{check, internal};
use meta::{Errors, Path, Timestamp};
use serde_json::Value;

/// A change of a status, with what most checks ask of it.
struct Change<'a> {
    new: &'a Value,
    old: &'a Value,
    status: &'a Value,
    was: &'a Value,
    path: Path,
}

pub(super) fn update(object: &Value, old: &Value, errors: &mut Errors) {
    let change = Change {
        new: object,
        old,
        status: get(object, "status"),
        was: get(old, "status"),
        path: Path::new("status"),
    };
    change.counts(errors);
    change.uncounted_pods(errors);
    change.conditions_and_times(errors);
    change.finished(errors);
    change.indexes(errors);
    change.pods(errors);
    change.success(errors);
    change.steps_back(errors);
}

fn is_finished(object: &Value) -> bool {
    is_so(object, "Complete") || is_so(object, "Failed")
}

impl Change<'_> {
    fn field(&self, name: &str) -> Path {
        self.path.child(name)
    }

    fn is(&self, kind: &str) -> bool {
        is_so(self.new, kind)
    }

    fn was(&self, kind: &str) -> bool {
        is_so(self.old, kind)
    }

    fn turned(&self, kind: &str) -> bool {
        self.is(kind) != self.was(kind)
    }

    fn changed(&self, field: &str) -> bool {
        get(self.status, field) != get(self.was, field)
    }

    fn number_changed(&self, field: &str) -> bool {
        number(self.status, field) != number(self.was, field)
    }

    fn finish_turned(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }

    fn conditions(&self, detail: &str, errors: &mut Errors) {
        errors.invalid_as_a_whole(&self.field("conditions"), detail);
    }

    fn counts(&self, errors: &mut Errors) {
        for field in ["active", "succeeded", "failed", "ready", "terminating"] {
            check::not_negative(self.status, field, &self.path, errors);
        }
    }

    fn uncounted_pods(&self, errors: &mut Errors) {
        let (pods, path) = (
            get(self.status, "uncountedTerminatedPods"),
            self.field("uncountedTerminatedPods"),
        );
        let mut seen: Vec<&str> = Vec::new();
        for field in ["succeeded", "failed"] {
            for (i, uid) in list(pods, field).iter().enumerate() {
                let (uid, path) = (uid.as_str().unwrap_or_default(), path.child(field).index(i));
                if uid.is_empty() {
                    errors.invalid(&path, uid, "must not be empty");
                } else if seen.contains(&uid) {
                    errors.duplicate(&path, uid);
                } else {
                    seen.push(uid);
                }
            }
        }
    }

    fn conditions_and_times(&self, errors: &mut Errors) {
        let time = |field: &str| Timestamp::parse(string(self.status, field));
        let shown = get(self.status, "completionTime").clone();
        let (path, complete) = (self.field("completionTime"), self.is("Complete"));
        if (self.turned("Complete") || self.turned("Failed")) && complete && self.is("Failed") {
            self.conditions("cannot set Complete=True and Failed=true conditions", errors);
        }
        if (self.turned("Complete") || self.turned("FailureTarget")) && complete && self.is("FailureTarget") {
            self.conditions(
                "cannot set Complete=True and FailureTarget=true conditions",
                errors,
            );
        }
        if self.turned("Complete") || self.changed("completionTime") {
            match (has(self.status, "completionTime"), complete) {
                (true, false) => {
                    let detail = "cannot set completionTime when there is no Complete=True condition";
                    errors.invalid(&path, shown.clone(), detail);
                }
                (false, true) => {
                    errors.required(&path, "completionTime is required for Complete jobs");
                }
                _ => {}
            }
        }
        if (self.changed("startTime") || self.changed("completionTime"))
            && let (Some(start), Some(end)) = (time("startTime"), time("completionTime"))
            && end < start
        {
            errors.invalid(&path, shown, "must be equal to or after `startTime`");
        }
        let failed = self.turned("Failed") || self.changed("failedIndexes");
        if failed && self.is("Failed") && !self.is("FailureTarget") {
            let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
            self.conditions(detail, errors);
        }
        let completed = self.turned("Complete") || self.turned("SuccessCriteriaMet");
        if completed && complete && !self.is("SuccessCriteriaMet") {
            let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            self.conditions(detail, errors);
        }
    }

    /// A job that is through has no pods any more.
    fn finished(&self, errors: &mut Errors) {
        if !is_finished(self.new) {
            return;
        }
        let (turned, spec) = (self.finish_turned(), get(self.new, "spec"));
        let active = number(self.status, "active");
        if (turned || self.number_changed("active")) && active > 0 {
            let detail = "active>0 is invalid for finished job";
            errors.invalid(&self.field("active"), active, detail);
        }
        let nothing_to_do = is_true(spec, "suspend") && int(spec, "completions") == Some(0);
        let starts = (turned || self.changed("startTime")) && !nothing_to_do;
        if starts && !has(self.status, "startTime") {
            errors.required(&self.field("startTime"), "startTime is required for finished job");
        }
        let field = "uncountedTerminatedPods";
        let pods = get(self.status, field);
        let some = !list(pods, "failed").is_empty() || !list(pods, "succeeded").is_empty();
        if (turned || !internal::same("UncountedTerminatedPods", get(self.was, field), pods)) && some {
            let shown = internal::shown("UncountedTerminatedPods", pods);
            errors.invalid(&self.field(field), shown, "must be empty for finished job");
        }
    }

    fn indexes(&self, errors: &mut Errors) {
        let spec = get(self.new, "spec");
        let completions = int(spec, "completions");
        let completed = string(self.status, "completedIndexes");
        let failed = get(self.status, "failedIndexes").as_str();
        let completed_changed = string(self.was, "completedIndexes") != completed;
        let failed_changed = self.changed("failedIndexes");
        let per_index = has(spec, "backoffLimitPerIndex");
        let parse = |field: &str, text: &str, errors: &mut Errors| {
            if let Some(Err(why)) = completions.map(|n| indexes::count(text, n)) {
                errors.invalid(&self.field(field), text, &format!("error parsing {field}: {why}"));
            }
        };
        if completed_changed {
            parse("completedIndexes", completed, errors);
        }
        if let Some(failed) = failed.filter(|_| failed_changed && per_index) {
            parse("failedIndexes", failed, errors);
        }
        if completed_changed && !completed.is_empty() && string(spec, "completionMode") != "Indexed" {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&self.field("completedIndexes"), completed, detail);
        }
        let Some(failed) = failed else {
            return;
        };
        let path = self.field("failedIndexes");
        if failed_changed && !per_index {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid(&path, failed, detail);
        }
        if (failed_changed || completed_changed)
            && let Some(why) = completions.and_then(|n| indexes::overlap(completed, failed, n))
        {
            errors.invalid(&path, failed, &why);
        }
    }

    fn pods(&self, errors: &mut Errors) {
        let (ending, ready) = (number(self.status, "terminating"), int(self.status, "ready"));
        let turned = self.finish_turned() || self.changed("terminating");
        if turned && is_finished(self.new) && ending > 0 {
            let detail = "terminating>0 is invalid for finished job";
            errors.invalid(&self.field("terminating"), ending, detail);
        }
        let active = number(self.status, "active");
        if (self.changed("ready") || self.number_changed("active"))
            && let Some(ready) = ready.filter(|ready| *ready > active)
        {
            let detail = "cannot set more ready pods than active";
            errors.invalid(&self.field("ready"), ready, detail);
        }
    }

    fn success(&self, errors: &mut Errors) {
        let met = self.is("SuccessCriteriaMet");
        if met && self.is("Failed") {
            let detail = "cannot set SuccessCriteriaMet=True and Failed=true conditions";
            self.conditions(detail, errors);
        }
        if met && self.is("FailureTarget") {
            let detail = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions";
            self.conditions(detail, errors);
        }
        if has(get(self.new, "spec"), "successPolicy") && !met && self.is("Complete") {
            let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            self.conditions(detail, errors);
        }
    }

    /// What has happened has happened.
    fn steps_back(&self, errors: &mut Errors) {
        for kind in ["Failed", "Complete", "FailureTarget"] {
            if self.was(kind) && !self.is(kind) {
                self.conditions(
                    &format!("cannot disable the terminal {kind}=True condition"),
                    errors,
                );
            }
        }
        let spec = get(self.new, "spec");
        // An indexed job may be scaled down.
        let scales = string(spec, "completionMode") == "Indexed"
            && int(spec, "completions") == int(spec, "parallelism");
        for (field, counts) in [("failed", true), ("succeeded", !scales)] {
            let n = number(self.status, field);
            if counts && n < number(self.was, field) {
                let detail = format!("cannot decrease the {field} counter");
                errors.invalid(&self.field(field), n, &detail);
            }
        }
        let both = |field: &str| has(self.status, field) && has(self.was, field);
        if both("completionTime") && self.changed("completionTime") {
            let shown = get(self.status, "completionTime").clone();
            errors.invalid(&self.field("completionTime"), shown, check::IMMUTABLE);
        }
        let resumes = self.was("Suspended") && has_condition(self.new, "Suspended", "False");
        let restarted = has(self.was, "startTime") && self.changed("startTime");
        if restarted && !resumes && !is_true(spec, "suspend") {
            let shown = get(self.status, "startTime").clone();
            let detail = "field is immutable for unsuspended job once set";
            errors.invalid(&self.field("startTime"), shown, detail);
        }
        let (met, was_met) = (self.is("SuccessCriteriaMet"), self.was("SuccessCriteriaMet"));
        if was_met && !met {
            self.conditions("cannot disable the SuccessCriteriaMet=True condition", errors);
        }
        if self.was("Complete") && !was_met && met {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            self.conditions(detail, errors);
        }
    }
}
