//! PriorityClass: how much a pod counts against others. Source: scheduling.k8s.io/v1 API reference.

use crate::check::{immutable, one_of_given};
use crate::json::{get, is_true, number, put, put_default, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Snapshot, Status, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

pub const PRIORITYCLASSES: Res = Res::new("scheduling.k8s.io", "priorityclasses");

pub fn row() -> Row {
    Row {
        res: PRIORITYCLASSES,
        version: "v1",
        kind: "PriorityClass",
        singular: "priorityclass",
        short_names: &["pc"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.scheduling.v1.PriorityClass",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Value", "integer").shows(TYPE, "value"),
                Column::new("Global-Default", "boolean").shows(TYPE, "globalDefault"),
                Column::AGE,
                Column::new("PreemptionPolicy", "string").shows(TYPE, "preemptionPolicy"),
            ]
        },
        rules: Arc::new(PriorityClass),
    }
}

const TYPE: &str = "scheduling.v1.PriorityClass";

struct PriorityClass;

impl Rules for PriorityClass {
    fn default(&self, object: &mut Value) {
        put_default(object, "preemptionPolicy", "PreemptLowerPriority");
    }

    /// It has a generation that never grows.
    fn prepare(&self, write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        if write == Write::Create
            && let Some(metadata) = object.get_mut("metadata")
        {
            put(metadata, "generation", 1);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (name, value) = (text(object, "/metadata/name"), number(object, "value"));
        if name.starts_with(SYSTEM) {
            if let Some(why) = unlike_system(object) {
                let why = format!(
                    "priority class names with '{SYSTEM}' prefix are reserved for system use only. error: {why}"
                );
                errors.forbidden(&Path::new("metadata").child("name"), &why);
            }
        } else if value > USERS_MAX {
            let why = format!("maximum allowed value of a user defined priority is {USERS_MAX}");
            errors.forbidden(&Path::new("value"), &why);
        }
        let policies = ["PreemptLowerPriority", "Never"];
        match get(object, POLICY).as_str() {
            Some("") => errors.required(&Path::new(POLICY), ""),
            _ => one_of_given(object, POLICY, &policies, &Path::root(), errors),
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::CHANGES
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if number(object, "value") != number(old, "value") {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        immutable(get(object, POLICY), get(old, POLICY), &Path::new(POLICY), errors);
    }

    /// The cluster has one default. Source: the admission plugin Priority.
    fn admit(
        &self,
        _write: Write,
        object: &mut Value,
        old: Option<&Value>,
        seen: &Snapshot,
    ) -> Result<(), Status> {
        let name = text(object, "/metadata/name");
        let default = default_class(seen).filter(|_| is_true(object, "globalDefault"));
        match default.as_ref().map(|class| text(class, "/metadata/name")) {
            Some(other) if old.is_none() || other != name => {
                let why =
                    format!("PriorityClass {other} is already marked as default. Only one default can exist");
                Err(Status::forbidden(PRIORITYCLASSES, name, &why))
            }
            _ => Ok(()),
        }
    }

    fn admit_delete(&self, object: &Value, _seen: &Snapshot) -> Result<(), Status> {
        let name = text(object, "/metadata/name");
        if SYSTEM_CLASSES.iter().all(|class| class.0 != name) {
            return Ok(());
        }
        let why = "this is a system priority class and cannot be deleted";
        Err(Status::forbidden(PRIORITYCLASSES, name, why))
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            number(object, "value").into(),
            is_true(object, "globalDefault").into(),
            age(object, now).into(),
            string(object, POLICY).into(),
        ]
    }
}

const POLICY: &str = "preemptionPolicy";
/// The highest priority that users may give.
const USERS_MAX: i64 = 1_000_000_000;
const SYSTEM: &str = "system-";
/// Classes that every cluster has: name, value, description.
const SYSTEM_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// The classes that are made when a cluster starts and lacks them.
pub fn system_classes() -> impl Iterator<Item = Value> {
    SYSTEM_CLASSES.iter().map(|(name, value, description)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value, "description": description,
        })
    })
}

/// Why an object with a name of the system's is none of its classes.
fn unlike_system(object: &Value) -> Option<String> {
    let name = text(object, "/metadata/name");
    let Some((_, value, _)) = SYSTEM_CLASSES.iter().find(|class| class.0 == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if number(object, "value") != *value {
        return Some(format!("value of {name} PriorityClass must be {value}"));
    }
    is_true(object, "globalDefault").then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

/// The class of pods that name none: the lowest of those that are marked so.
pub fn default_class(seen: &Snapshot) -> Option<Value> {
    seen.list(PRIORITYCLASSES, "")
        .map(|class| class.value())
        .filter(|class| is_true(class, "globalDefault"))
        .min_by_key(|class| number(class, "value"))
}
