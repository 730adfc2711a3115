//! RoleBinding and ClusterRoleBinding: to whom a role is given. Which role that is never changes.

use super::{
    BindingView, CLUSTERROLEBINDINGS, GROUP, ROLEBINDINGS, changes_only_references, confirm_no_escalation,
    is_master,
};
use crate::json::{child_mut, get, items_mut, list, put, string};
use crate::review::{Asks, Attributes};
use crate::row::{age, text};
use crate::{Check, Column, Rules, Write};
use meta::field::Shown;
use meta::{Errors, Path, Res, Snapshot, Status, Timestamp};
use serde::Deserialize;
use serde_json::Value;

pub(super) struct Binding {
    pub cluster: bool,
}

pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Role", "string").shows("rbac.v1.RoleBinding", "roleRef"),
    Column::AGE,
    Column::wide("Users", "string").says("Users in the roleBinding"),
    Column::wide("Groups", "string").says("Groups in the roleBinding"),
    Column::wide("ServiceAccounts", "string").says("ServiceAccounts in the roleBinding"),
];

pub(super) const CLUSTER_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Role", "string").shows("rbac.v1.ClusterRoleBinding", "roleRef"),
    Column::AGE,
    Column::wide("Users", "string").says("Users in the clusterRoleBinding"),
    Column::wide("Groups", "string").says("Groups in the clusterRoleBinding"),
    Column::wide("ServiceAccounts", "string").says("ServiceAccounts in the clusterRoleBinding"),
];

impl Rules for Binding {
    fn default(&self, object: &mut Value) {
        let set = |holder: &mut Value| {
            if string(holder, "apiGroup").is_empty() {
                put(holder, "apiGroup", GROUP);
            }
        };
        if let Some(role) = child_mut(object, "roleRef") {
            set(role);
        }
        for subject in items_mut(object, "subjects") {
            if matches!(string(subject, "kind"), "User" | "Group") {
                set(subject);
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (role, path) = (get(object, "roleRef"), Path::new("roleRef"));
        let (group, kind, name) = (
            string(role, "apiGroup"),
            string(role, "kind"),
            string(role, "name"),
        );
        if group != GROUP {
            errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
        }
        let kinds: &[&str] = match self.cluster {
            true => &["ClusterRole"],
            false => &["Role", "ClusterRole"],
        };
        if !kinds.contains(&kind) {
            errors.not_supported(&path.child("kind"), kind, kinds);
        }
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        for message in meta::name::check_path_segment(name) {
            errors.invalid(&path.child("name"), name, &message);
        }
        for (i, subject) in list(object, "subjects").iter().enumerate() {
            self.subject(subject, &Path::new("subjects").index(i), errors);
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[
                Check::Metadata,
                Check::Object,
                Check::MetadataChange,
                Check::Change,
            ],
        }
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let (role, was) = (get(object, "roleRef"), get(old, "roleRef"));
        let fields = [("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name")];
        if fields
            .iter()
            .any(|(_, field)| string(role, field) != string(was, field))
        {
            let shown = fields.map(|(shown, field)| (shown, Some(string(role, field).into())));
            errors.invalid(
                &Path::new("roleRef"),
                Shown::members(shown),
                "cannot change roleRef",
            );
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
        seen: &Snapshot,
    ) -> Result<(), Status> {
        let user = asks.caller();
        if is_master(&user) || old.is_some_and(|old| changes_only_references(object, old)) {
            return Ok(());
        }
        let (name, namespace) = (
            text(object, "/metadata/name"),
            text(object, "/metadata/namespace"),
        );
        let view = BindingView::deserialize(object).map_err(|e| Status::bad_request(e.to_string()))?;
        if let Some((res, _)) = view.role_ref.role() {
            let bind = Attributes {
                verb: "bind",
                group: string(get(object, "roleRef"), "apiGroup"),
                version: "*",
                resource: res.plural,
                name: &view.role_ref.name,
                namespace,
                ..Attributes::default()
            };
            if asks.verdict(&user, &bind).allowed {
                return Ok(());
            }
        }
        let role = view.role_ref.rules(namespace, seen)?;
        confirm_no_escalation(asks, &user, namespace, &role.rules)
            .map_err(|why| Status::forbidden(self.res(), name, &why))
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let role = get(object, "roleRef");
        let of = |kind: &str| {
            let subjects = list(object, "subjects").iter();
            let named = subjects.filter(|subject| string(subject, "kind") == kind);
            let names: Vec<String> = named
                .map(|subject| match kind {
                    "ServiceAccount" => {
                        format!("{}/{}", string(subject, "namespace"), string(subject, "name"))
                    }
                    _ => string(subject, "name").to_string(),
                })
                .collect();
            Value::from(names.join(", "))
        };
        vec![
            text(object, "/metadata/name").into(),
            format!("{}/{}", string(role, "kind"), string(role, "name")).into(),
            age(object, now).into(),
            of("User"),
            of("Group"),
            of("ServiceAccount"),
        ]
    }
}

impl Binding {
    fn res(&self) -> Res {
        match self.cluster {
            true => CLUSTERROLEBINDINGS,
            false => ROLEBINDINGS,
        }
    }

    fn subject(&self, subject: &Value, path: &Path, errors: &mut Errors) {
        let text = |field: &str| string(subject, field);
        let group = path.child("apiGroup");
        if text("name").is_empty() {
            errors.required(&path.child("name"), "");
        }
        match text("kind") {
            "ServiceAccount" => {
                if !text("name").is_empty() {
                    crate::check::dns_subdomain(&path.child("name"), text("name"), errors);
                }
                if !text("apiGroup").is_empty() {
                    errors.not_supported(&group, text("apiGroup"), &[""]);
                }
                if self.cluster && text("namespace").is_empty() {
                    errors.required(&path.child("namespace"), "");
                }
            }
            "User" | "Group" if text("apiGroup") != GROUP => {
                errors.not_supported(&group, text("apiGroup"), &[GROUP]);
            }
            "User" | "Group" => {}
            other => {
                let kinds = ["ServiceAccount", "User", "Group"];
                errors.not_supported(&path.child("kind"), other, &kinds);
            }
        }
    }
}
