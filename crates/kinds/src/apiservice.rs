//! APIService: who serves a version of a group. Source: apiregistration.k8s.io/v1 API reference.

use crate::check::{dns_subdomain, messages, port_number};
use crate::json::{child_mut, get, is_true, list, number, put, put_default, some, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{Errors, Path, Res, Timestamp, name};
use serde_json::{Value, json};
use std::sync::Arc;

pub const APISERVICES: Res = Res::new("apiregistration.k8s.io", "apiservices");

pub fn row() -> Row {
    Row {
        res: APISERVICES,
        version: "v1",
        kind: "APIService",
        singular: "apiservice",
        short_names: &[],
        categories: &["api-extensions"],
        namespaced: false,
        type_name: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Service", "string")
                    .says("The reference to the service that hosts this API endpoint."),
                Column::new("Available", "string").says("Whether this service is available."),
                Column::AGE,
            ]
        },
        rules: Arc::new(ApiService),
    }
}

struct ApiService;

impl Rules for ApiService {
    fn needs_revision(&self) -> bool {
        true
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        crate::row::STATUS_KEEPS
    }

    fn default(&self, object: &mut Value) {
        let service = child_mut(object, "spec").and_then(|spec| child_mut(spec, "service"));
        if let Some(service) = service {
            put_default(service, "port", 443);
        }
    }

    /// What the server has itself is there.
    fn prepare(&self, write: Write, object: &mut Value, _old: Option<&Value>, now: Timestamp) {
        if write == Write::Create && some(get(object, "spec"), "service").is_none() {
            let available = json!({
                "type": AVAILABLE, "status": "True", "lastTransitionTime": now.rfc3339(), "reason": "Local",
                "message": "Local APIServices are always available",
            });
            put(object, "status", json!({"conditions": [available]}));
        }
    }

    fn check_name_of(&self, object: &Value, name: &str) -> Vec<String> {
        let wrong = name::check_path_segment(name);
        let wanted = name_of(text(object, "/spec/group"), text(object, "/spec/version"));
        match wrong.is_empty() && name != wanted {
            true => vec![format!("must be `spec.version+\".\"+spec.group`: {wanted:?}")],
            false => wrong,
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        let (group, version) = (string(spec, "group"), string(spec, "version"));
        if !group.is_empty() {
            dns_subdomain(&path.child("group"), group, errors);
        } else if version != "v1" {
            let detail = "only v1 may have an empty group and it better be legacy kube";
            errors.required(&path.child("group"), detail);
        }
        messages(
            &path.child("version"),
            version,
            name::check_dns1035_label(version),
            errors,
        );
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
            let given = number(spec, field);
            if given <= 0 || given > most {
                let detail = format!("must be positive and less than {most}");
                errors.invalid(&path.child(field), given, &detail);
            }
        }
        match some(spec, "service") {
            None => local(spec, &path, errors),
            Some(given) => {
                service(given, &path.child("service"), errors);
                if is_true(spec, INSECURE) && !string(spec, CA).is_empty() {
                    let detail = "may not be true if caBundle is present";
                    errors.invalid(&path.child(INSECURE), true, detail);
                }
            }
        }
    }

    fn validate_update(&self, write: Write, object: &Value, _old: &Value, errors: &mut Errors) {
        if write != Write::Status {
            return;
        }
        let path = Path::new("status").child("conditions");
        let known = ["True", "False", "Unknown"];
        for (i, condition) in list(get(object, "status"), "conditions").iter().enumerate() {
            let status = string(condition, "status");
            if !known.contains(&status) {
                errors.not_supported(&path.index(i).child("status"), status, &known);
            }
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Metadata, Check::Object],
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let service = some(get(object, "spec"), "service");
        let place = |service: &Value| format!("{}/{}", string(service, "namespace"), string(service, "name"));
        let conditions = list(get(object, "status"), "conditions");
        let available = conditions.iter().find(|c| string(c, "type") == AVAILABLE);
        let available = match available.map(|c| (string(c, "status"), string(c, "reason"))) {
            None => "Unknown".to_string(),
            Some((status @ "True", _) | (status, "")) => status.to_string(),
            Some((status, reason)) => format!("{status} ({reason})"),
        };
        vec![
            text(object, "/metadata/name").into(),
            service.map_or_else(|| "Local".into(), place).into(),
            available.into(),
            age(object, now).into(),
        ]
    }
}

const AVAILABLE: &str = "Available";
const INSECURE: &str = "insecureSkipTLSVerify";
const CA: &str = "caBundle";

/// What the server itself has needs nothing that a call would.
fn local(spec: &Value, path: &Path, errors: &mut Errors) {
    let bundle = STANDARD.decode(string(spec, CA)).unwrap_or_default();
    if !bundle.is_empty() {
        let size = format!("{} bytes", bundle.len());
        errors.invalid(&path.child(CA), size, "local APIServices may not have a caBundle");
    }
    if is_true(spec, INSECURE) {
        let detail = "local APIServices may not have insecureSkipTLSVerify";
        errors.invalid(&path.child(INSECURE), true, detail);
    }
}

fn service(service: &Value, path: &Path, errors: &mut Errors) {
    for field in ["namespace", "name"] {
        crate::check::required(service, field, path, errors);
    }
    let (port, mut wrong) = (number(service, "port"), Errors::new());
    port_number(port, path, &mut wrong);
    if !wrong.is_empty() {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.invalid(&path.child("port"), port, detail);
    }
}

fn name_of(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

/// Groups in the order in which clients look through them, with what upstream gives them.
const PRIORITIES: [(&str, i64); 20] = [
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("resource.k8s.io", 16_200),
];

/// The objects that stand for (but for the group of these objects, as upstream) the groups and versions that the server itself has.
pub fn of_own_groups<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Value> {
    let mut seen: Vec<(&str, &str)> = rows.map(|row| (row.res.group, row.version)).collect();
    seen.sort_unstable();
    seen.dedup();
    let objects = seen.into_iter().filter_map(|(group, version)| {
        let (_, minimum) = PRIORITIES.iter().find(|(known, _)| *known == group)?;
        let priority = match (group, version) {
            ("", _) => 1,
            ("autoscaling", "v2") => 30,
            ("flowcontrol.apiserver.k8s.io" | "resource.k8s.io", _) => 21,
            _ => 15,
        };
        Some(json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {
                "name": name_of(group, version),
                "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
            },
            "spec": {
                "group": group, "version": version,
                "groupPriorityMinimum": minimum, "versionPriority": priority,
            },
        }))
    });
    objects.collect()
}
