//! ResourceQuota: how much of everything a namespace may hold. Source: core/v1 API reference.

use crate::json::{child_mut, ensure_object, get, has, list, members, quantity_text, string};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write, check, internal, pod};
use meta::{Errors, Path, Quantity, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const RESOURCEQUOTAS: Res = Res::new("", "resourcequotas");

const STANDARD: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const OF_PODS: [&str; 7] = [
    "pods",
    "cpu",
    "memory",
    "limits.cpu",
    "limits.memory",
    "requests.cpu",
    "requests.memory",
];
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// Scopes that a pod is in or not, and that have no values.
const PLAIN_SCOPES: [&str; 5] = [
    "BestEffort",
    "NotBestEffort",
    "Terminating",
    "NotTerminating",
    "CrossNamespacePodAffinity",
];

pub fn row() -> Row {
    Row {
        res: RESOURCEQUOTAS,
        version: "v1",
        kind: "ResourceQuota",
        singular: "resourcequota",
        short_names: &["quota"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.ResourceQuota",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Request", "string")
                    .says("Request represents a minimum amount of cpu/memory that a container may consume."),
                Column::new("Limit", "string").says("Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."),
                Column::AGE,
            ]
        },
        rules: Arc::new(ResourceQuota),
    }
}

struct ResourceQuota;

impl Rules for ResourceQuota {
    fn default(&self, object: &mut Value) {
        for (holder, fields) in [("spec", ["hard"].as_slice()), ("status", &["hard", "used"])] {
            let Some(holder) = ensure_object(object, holder) else {
                continue;
            };
            for field in fields {
                if let Some(amounts) = child_mut(holder, field) {
                    pod::defaults::canonical(amounts);
                }
            }
        }
    }

    fn prepare(&self, _write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        ensure_object(object, "status");
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (get(object, "spec"), Path::new("spec"));
        amounts(spec, "hard", &path, errors);
        scopes(spec, &path, errors);
        if has(spec, "scopeSelector") {
            scope_selector(spec, &path.child("scopeSelector"), errors);
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Object, Check::Change],
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            let (status, path) = (get(object, "status"), Path::new("status"));
            amounts(status, "hard", &path, errors);
            amounts(status, "used", &path, errors);
            return;
        }
        let set = |object| -> BTreeSet<String> {
            let scopes = list(get(object, "spec"), "scopes").iter();
            scopes.filter_map(|s| s.as_str().map(String::from)).collect()
        };
        if set(object) != set(old) {
            let path = Path::new("spec").child("scopes");
            errors.invalid(
                &path,
                get(get(object, "spec"), "scopes").clone(),
                check::IMMUTABLE,
            );
        }
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        match old {
            None => warnings(get(get(object, "spec"), "hard")),
            Some(_) => Vec::new(),
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let status = get(object, "status");
        let used = get(status, "used");
        let part = |of_limits: bool| {
            let chosen = members(status, "hard").filter(|(name, _)| name.starts_with("limits.") == of_limits);
            let parts = chosen.map(|(name, hard)| {
                let used = crate::json::some(used, name).map_or("0".into(), quantity_text);
                format!("{name}: {used}/{}", quantity_text(hard))
            });
            Value::from(parts.collect::<Vec<_>>().join(", "))
        };
        vec![
            text(object, "/metadata/name").into(),
            part(false),
            part(true),
            age(object, now).into(),
        ]
    }
}

/// Amounts of what can be counted.
fn amounts(holder: &Value, field: &str, path: &Path, errors: &mut Errors) {
    for (name, amount) in members(holder, field) {
        let path = path.child(field).key(name);
        pod::validate::resource(name, &path, errors);
        if !name.contains('/') && !is_standard(name) {
            errors.invalid(&path, name.as_str(), "must be a standard resource for quota");
        }
        check::amount(name, amount, &path, errors);
    }
}

fn is_standard(name: &str) -> bool {
    let huge = ["hugepages-", "requests.hugepages-"];
    STANDARD.contains(&name) || huge.iter().any(|prefix| name.starts_with(prefix))
}

fn is_scope(scope: &str) -> bool {
    PLAIN_SCOPES.contains(&scope) || matches!(scope, "PriorityClass" | "VolumeAttributesClass")
}

/// Names of the quota that this scope has nothing to say of.
fn out_of_scope<'a>(spec: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a String> {
    let fits = move |name: &str| match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => OF_CLAIMS.contains(&name),
        scope if is_scope(scope) => OF_PODS.contains(&name),
        _ => true,
    };
    let names = members(spec, "hard").map(|(name, _)| name);
    names.filter(move |name| is_standard(name) && !fits(name))
}

fn conflicts(given: &BTreeSet<&str>) -> usize {
    let pairs = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
    pairs
        .iter()
        .filter(|pair| pair.iter().all(|s| given.contains(s)))
        .count()
}

fn scopes(spec: &Value, path: &Path, errors: &mut Errors) {
    let (path, all) = (path.child("scopes"), list(spec, "scopes"));
    let mut wrong = |detail: &str| errors.invalid(&path, all.to_vec(), detail);
    let mut given = BTreeSet::new();
    for scope in all.iter().map(|scope| scope.as_str().unwrap_or_default()) {
        if !is_scope(scope) {
            wrong("unsupported scope");
        }
        out_of_scope(spec, scope).for_each(|_| wrong("unsupported scope applied to resource"));
        given.insert(scope);
    }
    (0..conflicts(&given)).for_each(|_| wrong("conflicting scopes"));
}

fn scope_selector(spec: &Value, path: &Path, errors: &mut Errors) {
    const ONLY_EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let (selector, path) = (get(spec, "scopeSelector"), path.child("matchExpressions"));
    let mut given = BTreeSet::new();
    for e in list(selector, "matchExpressions") {
        let (scope, operator, values) = (string(e, "scopeName"), string(e, "operator"), list(e, "values"));
        if !is_scope(scope) {
            errors.invalid(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in out_of_scope(spec, scope) {
            let shown = internal::shown("ScopeSelector", selector);
            errors.invalid(&path, shown, "unsupported scope applied to resource");
        }
        let operator_path = path.child("operator");
        if PLAIN_SCOPES.contains(&scope) && operator != "Exists" {
            errors.invalid(&operator_path, operator, ONLY_EXISTS);
        }
        let values_path = path.child("values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail =
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.required(&values_path, detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail =
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&values_path, values.to_vec(), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&operator_path, other, "not a valid selector operator"),
        }
        given.insert(scope);
    }
    for _ in 0..conflicts(&given) {
        // Upstream shows the other list of scopes here.
        errors.invalid(&path, get(spec, "scopes").clone(), "conflicting scopes");
    }
}

/// More may be requested than can be used.
fn warnings(hard: &Value) -> Vec<String> {
    let amount = |name: &str| {
        let text = quantity_text(crate::json::some(hard, name)?);
        Some((Quantity::parse(&text)?, text))
    };
    let mut out = Vec::new();
    for name in ["cpu", "memory", "storage", "ephemeral-storage"] {
        let mut asked = format!("requests.{name}");
        if !has(hard, &asked) && matches!(name, "cpu" | "memory") {
            asked = name.to_string();
        }
        let most = format!("limits.{name}");
        if let (Some((request, request_text)), Some((limit, limit_text))) = (amount(&asked), amount(&most))
            && request > limit
        {
            out.push(format!(
                "ResourceQuota {asked} ({request_text}) should be less than {most} ({limit_text})"
            ));
        }
    }
    out
}
