//! Role and ClusterRole: what may be in them, and who may write them.

use super::{CLUSTERROLES, GROUP, PolicyRule, ROLES, confirm_no_escalation, is_master, rules_of};
use crate::check::label_selector;
use crate::json::{get, has, list};
use crate::review::{Asks, Attributes};
use crate::row::text;
use crate::{Check, Rules, Write};
use meta::{Errors, Path, Res, Snapshot, Status, Timestamp};
use serde_json::Value;

pub(super) struct Role {
    pub cluster: bool,
}

const AGGREGATION_RIGHTS: &str = "must have cluster-admin privileges to use the aggregationRule";

impl Role {
    fn res(&self) -> Res {
        if self.cluster { CLUSTERROLES } else { ROLES }
    }
}

impl Rules for Role {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        for (i, rule) in list(object, "rules").iter().enumerate() {
            policy_rule(rule, !self.cluster, &Path::new("rules").index(i), errors);
        }
        if self.cluster && has(object, "aggregationRule") {
            let path = Path::new("aggregationRule").child("clusterRoleSelectors");
            let selectors = list(get(object, "aggregationRule"), "clusterRoleSelectors");
            if selectors.is_empty() {
                errors.required(
                    &path,
                    "at least one clusterRoleSelector required if aggregationRule is non-nil",
                );
            }
            for (i, selector) in selectors.iter().enumerate() {
                let mut own = Errors::new();
                label_selector(selector, &path.index(i), &mut own);
                let broken = !own.is_empty();
                errors.append(own);
                if broken {
                    errors.invalid(&path.index(i), Value::Null, "invalid label selector.");
                }
            }
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::Metadata, Check::Object, Check::MetadataChange],
        }
    }

    fn check_name(&self, name: &str) -> Vec<String> {
        meta::name::check_path_segment(name)
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn admit_caller(
        &self,
        object: &Value,
        old: Option<&Value>,
        asks: &dyn Asks,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        let user = asks.caller();
        if is_master(&user) || old.is_some_and(|old| super::changes_only_references(object, old)) {
            return Ok(());
        }
        let (name, namespace) = (
            text(object, "/metadata/name"),
            text(object, "/metadata/namespace"),
        );
        let escalate = Attributes {
            verb: "escalate",
            group: GROUP,
            version: "*",
            resource: self.res().plural,
            // The name of an object that is being made is not part of its request.
            name: old.map_or("", |_| name),
            namespace,
            ..Attributes::default()
        };
        if asks.verdict(&user, &escalate).allowed {
            return Ok(());
        }
        let refused = |why: &str| Status::forbidden(self.res(), name, why);
        confirm_no_escalation(asks, &user, namespace, &rules_of(object)?).map_err(|why| refused(&why))?;
        if aggregates(object) || old.is_some_and(aggregates) {
            let everything = [everything(false), everything(true)];
            confirm_no_escalation(asks, &user, namespace, &everything)
                .map_err(|_| refused(AGGREGATION_RIGHTS))?;
        }
        Ok(())
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            text(object, "/metadata/creationTimestamp").into(),
        ]
    }
}

fn aggregates(object: &Value) -> bool {
    !list(get(object, "aggregationRule"), "clusterRoleSelectors").is_empty()
}

/// All rights there are: on resources, or on paths.
fn everything(paths: bool) -> PolicyRule {
    let all = || vec![Box::from("*")];
    match paths {
        true => PolicyRule {
            verbs: all(),
            non_resource_urls: all(),
            ..PolicyRule::default()
        },
        false => PolicyRule {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..PolicyRule::default()
        },
    }
}

fn policy_rule(rule: &Value, namespaced: bool, path: &Path, errors: &mut Errors) {
    let empty = |field: &str| list(rule, field).is_empty();
    if empty("verbs") {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    if !empty("nonResourceURLs") {
        let (urls, path) = (get(rule, "nonResourceURLs"), path.child("nonResourceURLs"));
        if namespaced {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            errors.invalid(&path, urls.clone(), detail);
        }
        if !(empty("apiGroups") && empty("resources") && empty("resourceNames")) {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(&path, urls.clone(), detail);
        }
        return;
    }
    if empty("apiGroups") {
        let detail = "resource rules must supply at least one api group";
        errors.required(&path.child("apiGroups"), detail);
    }
    if empty("resources") {
        let detail = "resource rules must supply at least one resource";
        errors.required(&path.child("resources"), detail);
    }
}
