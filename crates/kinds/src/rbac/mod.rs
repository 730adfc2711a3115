//! Role-based access: roles are lists of rules, bindings give them to users, groups and service accounts. Rows, what
//! may be in them, who may write them, the roles that every cluster has, and those that gather others.
//! Source: rbac.authorization.k8s.io/v1 API reference.

mod aggregate;
mod binding;
pub mod policy;
mod role;
pub mod rule;

pub use aggregate::CONTROLLER;
pub use rule::PolicyRule;

use crate::json::get;
use crate::review::{Asks, User};
use crate::{Column, Row, Rules};
use meta::{Res, Status};
use rule::nullable;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

pub const GROUP: &str = "rbac.authorization.k8s.io";
pub const ROLES: Res = Res::new(GROUP, "roles");
pub const CLUSTERROLES: Res = Res::new(GROUP, "clusterroles");
pub const ROLEBINDINGS: Res = Res::new(GROUP, "rolebindings");
pub const CLUSTERROLEBINDINGS: Res = Res::new(GROUP, "clusterrolebindings");

/// Whose members may do everything, whatever roles there are.
pub const MASTERS: &str = "system:masters";

/// The part of a role that decisions look at.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleView {
    #[serde(deserialize_with = "nullable")]
    pub rules: Vec<PolicyRule>,
    pub aggregation_rule: Option<Value>,
}

/// … and of a binding.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BindingView {
    pub role_ref: RoleRef,
    #[serde(deserialize_with = "nullable")]
    pub subjects: Vec<Subject>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    pub kind: Box<str>,
    pub name: Box<str>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subject {
    pub kind: Box<str>,
    pub name: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub namespace: Box<str>,
}

impl RoleRef {
    /// The role that is meant by a binding in this namespace (or of the cluster), and how messages name its kind.
    pub fn role(&self) -> Option<(Res, &'static str)> {
        match &*self.kind {
            "ClusterRole" => Some((CLUSTERROLES, "clusterrole")),
            "Role" => Some((ROLES, "role")),
            _ => None,
        }
    }

    /// The rules of the role that a binding in `namespace` (empty: of the cluster) names, or why there are none.
    pub fn rules(&self, namespace: &str, seen: &meta::Snapshot) -> Result<Arc<RoleView>, Status> {
        let Some((res, singular)) = self.role() else {
            let why = format!("unsupported role reference kind: {:?}", self.kind);
            return Err(Status::internal(why));
        };
        let namespace = if res == ROLES { namespace } else { "" };
        let role = match namespace {
            "" => seen.by_key(res, &self.name),
            namespace => seen.get(res, namespace, &self.name),
        };
        let role = role.ok_or_else(|| Status::not_found(Res::new(GROUP, singular), &self.name))?;
        role.typed::<RoleView>().map_err(Status::internal)
    }
}

impl Subject {
    /// Whether it is this user; `namespace` is that of the binding.
    pub fn is(&self, user: &str, groups: &[String], namespace: &str) -> bool {
        match &*self.kind {
            "User" => *self.name == *user,
            "Group" => groups.iter().any(|group| **group == *self.name),
            "ServiceAccount" => self.account(namespace).is_some_and(|account| account == user),
            _ => false,
        }
    }

    /// The user's name of a service account.
    pub fn account(&self, namespace: &str) -> Option<String> {
        let namespace = match &*self.namespace {
            "" => namespace,
            own => own,
        };
        let named = !namespace.is_empty() && &*self.kind == "ServiceAccount";
        named.then(|| format!("system:serviceaccount:{namespace}:{}", self.name))
    }

    /// As reasons name it.
    pub fn described(&self, namespace: &str) -> String {
        let namespace = match &*self.namespace {
            "" => namespace,
            own => own,
        };
        match &*self.kind {
            "ServiceAccount" => format!("{} {:?}", self.kind, format!("{}/{namespace}", self.name)),
            kind => format!("{kind} {:?}", self.name),
        }
    }
}

/// All that somebody holds in a namespace, and what could not be found out.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub rules: Vec<PolicyRule>,
    pub errors: Vec<String>,
}

/// Nobody gives away what they do not hold themselves.
fn confirm_no_escalation(
    asks: &dyn Asks,
    user: &User,
    namespace: &str,
    wanted: &[PolicyRule],
) -> Result<(), String> {
    let held = asks.held(user, namespace);
    let missing = rule::missing(&held.rules, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        rule::quoted(&user.groups),
        rule::described(&missing).join("\n")
    );
    if !held.errors.is_empty() {
        why.push_str(&format!(
            "; resolution errors: [{}]",
            aggregate_errors(&held.errors)
        ));
    }
    Err(why)
}

/// Several errors as one text, each once.
pub fn aggregate_errors(errors: &[String]) -> String {
    let mut each: Vec<&str> = Vec::new();
    for error in errors {
        if !each.contains(&error.as_str()) {
            each.push(error);
        }
    }
    match each.as_slice() {
        [one] => (*one).to_string(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn is_master(user: &User) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}

/// Only what the garbage collector needs to write is different: owners and finalizers.
fn changes_only_references(object: &Value, old: &Value) -> bool {
    let kept = |value: &Value| {
        let mut value = value.clone();
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in [
                "ownerReferences",
                "finalizers",
                "selfLink",
                "managedFields",
                "resourceVersion",
            ] {
                meta.remove(field);
            }
        }
        value
    };
    kept(object) == kept(old)
}

/// The rules that an object has or is to have, as decisions read them.
fn rules_of(object: &Value) -> Result<Vec<PolicyRule>, Status> {
    match get(object, "rules") {
        Value::Null => Ok(Vec::new()),
        rules => Vec::deserialize(rules).map_err(|e| Status::bad_request(format!("rules: {e}"))),
    }
}

fn row(
    res: Res,
    kind: &'static str,
    singular: &'static str,
    columns: &'static [Column],
    rules: Arc<dyn Rules>,
) -> Row {
    Row {
        res,
        version: "v1",
        kind,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: matches!(res, ROLES | ROLEBINDINGS),
        type_name: meta::res::intern(&format!("io.k8s.api.rbac.v1.{kind}")),
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns,
        rules,
    }
}

pub fn rows() -> Vec<Row> {
    let role = const {
        &[
            Column::NAME,
            Column::new("Created At", "date").shows("meta.v1.ObjectMeta", "creationTimestamp"),
        ]
    };
    let (cluster, own) = (role::Role { cluster: true }, role::Role { cluster: false });
    vec![
        row(
            CLUSTERROLES,
            "ClusterRole",
            "clusterrole",
            role,
            Arc::new(cluster),
        ),
        row(
            CLUSTERROLEBINDINGS,
            "ClusterRoleBinding",
            "clusterrolebinding",
            binding::CLUSTER_COLUMNS,
            Arc::new(binding::Binding { cluster: true }),
        ),
        row(ROLES, "Role", "role", role, Arc::new(own)),
        row(
            ROLEBINDINGS,
            "RoleBinding",
            "rolebinding",
            binding::COLUMNS,
            Arc::new(binding::Binding { cluster: false }),
        ),
    ]
}
