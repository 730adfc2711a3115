//! CSIDriver: what a storage driver needs of the cluster. Source: storage.k8s.io/v1 API reference.

use crate::check::{immutable, one_of_given};
use crate::json::{at, ensure_object, flag, get, has, int, is_true, list, put, put_default, string, take};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

pub const CSIDRIVERS: Res = Res::new("storage.k8s.io", "csidrivers");

pub fn row() -> Row {
    Row {
        res: CSIDRIVERS,
        version: "v1",
        kind: "CSIDriver",
        singular: "csidriver",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.storage.v1.CSIDriver",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("AttachRequired", "boolean").shows(SPEC, "attachRequired"),
                Column::new("PodInfoOnMount", "boolean").shows(SPEC, "podInfoOnMount"),
                Column::new("StorageCapacity", "boolean").shows(SPEC, "storageCapacity"),
                Column::new("TokenRequests", "string").shows(SPEC, "tokenRequests"),
                Column::new("RequiresRepublish", "boolean").shows(SPEC, "requiresRepublish"),
                Column::new("Modes", "string").shows(SPEC, "volumeLifecycleModes"),
                Column::AGE,
            ]
        },
        rules: Arc::new(CsiDriver),
    }
}

const SPEC: &str = "storage.v1.CSIDriverSpec";

struct CsiDriver;

impl Rules for CsiDriver {
    fn needs_revision(&self) -> bool {
        true
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = ensure_object(object, "spec") else {
            return;
        };
        put_default(spec, "attachRequired", true);
        for field in [
            "podInfoOnMount",
            "storageCapacity",
            "requiresRepublish",
            "seLinuxMount",
        ] {
            put_default(spec, field, false);
        }
        put_default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if list(spec, MODES).is_empty() {
            put(spec, MODES, json!(["Persistent"]));
        }
    }

    /// One field is behind a feature that is off. A new one has no generation: upstream counts changes only.
    fn prepare(&self, _write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        let had = old.is_some_and(|old| has(get(old, "spec"), PREVENT));
        if !had && let Some(spec) = object.get_mut("spec") {
            take(spec, PREVENT);
        }
        if let Some(old) = old
            && !crate::schema::same("storage.v1.CSIDriverSpec", get(object, "spec"), get(old, "spec"))
        {
            let counted = at(old, "/metadata/generation").as_i64().unwrap_or(0);
            if let Some(metadata) = object.get_mut("metadata") {
                put(metadata, "generation", counted + 1);
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        one_of_given(spec, "fsGroupPolicy", &policies, &path, errors);
        token_requests(spec, &path.child("tokenRequests"), errors);
        for mode in list(spec, MODES).iter().filter_map(Value::as_str) {
            if !matches!(mode, "Persistent" | "Ephemeral") {
                errors.not_supported(&path.child(MODES), mode, &["Persistent", "Ephemeral"]);
            }
        }
        let period = "nodeAllocatableUpdatePeriodSeconds";
        if let Some(seconds) = int(spec, period)
            && seconds < PERIOD_MIN
        {
            let detail = format!("must be greater than or equal to {PERIOD_MIN} seconds");
            errors.invalid(&path.child(period), seconds, &detail);
        }
        if let Some(given) = flag(spec, IN_SECRETS)
            && list(spec, "tokenRequests").is_empty()
        {
            let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.invalid(&path.child(IN_SECRETS), given, detail);
        }
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[Check::MetadataChange, Check::Object, Check::Change]
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let (spec, was, path) = (get(object, "spec"), get(old, "spec"), Path::new("spec"));
        // Upstream's path, not the field's name.
        let attach = path.child("attachedRequired");
        let field = "attachRequired";
        immutable(get(spec, field), get(was, field), &attach, errors);
        immutable(get(spec, MODES), get(was, MODES), &path.child(MODES), errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let (spec, field) = (get(object, "spec"), "tokenRequests");
        let is_new = old.is_none_or(|old| get(get(old, "spec"), field) != get(spec, field));
        if !is_new || list(spec, field).is_empty() || has(spec, IN_SECRETS) {
            return Vec::new();
        }
        vec![
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".into(),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let joined = |values: Vec<&str>| values.join(",");
        let modes = joined(list(spec, MODES).iter().filter_map(Value::as_str).collect());
        let requests = list(spec, "tokenRequests");
        let audiences = joined(requests.iter().map(|r| string(r, "audience")).collect());
        vec![
            text(object, "/metadata/name").into(),
            flag(spec, "attachRequired").unwrap_or(true).into(),
            is_true(spec, "podInfoOnMount").into(),
            is_true(spec, "storageCapacity").into(),
            if requests.is_empty() {
                "<unset>".into()
            } else {
                audiences.into()
            },
            is_true(spec, "requiresRepublish").into(),
            if modes.is_empty() {
                "<none>".into()
            } else {
                modes.into()
            },
            age(object, now).into(),
        ]
    }
}

const MODES: &str = "volumeLifecycleModes";
const PREVENT: &str = "preventPodSchedulingIfMissing";
const IN_SECRETS: &str = "serviceAccountTokenInSecrets";
/// Seconds between two looks at what a node can take, at least.
const PERIOD_MIN: i64 = 10;
/// Seconds that a token lives, at least and at most.
const TOKEN_MIN: i64 = 600;
const TOKEN_MAX: i64 = 1 << 32;

/// Each audience once.
fn token_requests(spec: &Value, path: &Path, errors: &mut Errors) {
    let mut audiences = BTreeSet::new();
    for (i, request) in list(spec, "tokenRequests").iter().enumerate() {
        let (audience, path) = (string(request, "audience"), path.index(i));
        if !audiences.insert(audience) {
            errors.duplicate(&path.child("audience"), audience);
            continue;
        }
        let (seconds, path) = (int(request, "expirationSeconds"), path.child("expirationSeconds"));
        let Some(seconds) = seconds else { continue };
        if seconds < TOKEN_MIN {
            errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > TOKEN_MAX {
            let detail = "may not specify a duration larger than 2^32 seconds";
            errors.invalid(&path, seconds, detail);
        }
    }
}
