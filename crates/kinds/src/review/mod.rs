//! Questions to the server: who am I, who holds this token, who may do what. A create asks one and gets it back with
//! the answer in its status; nothing is stored. Source: authentication.k8s.io/v1 and authorization.k8s.io/v1 API
//! references.

mod access;
mod identity;
mod selector;

use crate::rbac::Held;
use crate::{Column, Row, Rules};
use meta::Res;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is impersonated. These stand in rules of access alone; there are no such objects.
pub const USERS: Res = Res::new("", "users");
pub const GROUPS: Res = Res::new("", "groups");
pub const UIDS: Res = Res::new("authentication.k8s.io", "uids");
pub const USER_EXTRAS: Res = Res::new("authentication.k8s.io", "userextras");

/// What the server knows of callers and their rights.
pub trait Asks {
    /// Who asks.
    fn caller(&self) -> User;

    /// The resource of a kind that is served.
    fn resource_of(&self, api_version: &str, kind: &str) -> Option<Res>;

    /// Who holds a token that is meant for one of these audiences (none: the server's own), and for which of them; or
    /// why nobody does.
    fn holder(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String>;

    fn verdict(&self, user: &User, asked: &Attributes) -> Verdict;

    /// All rules that hold for a user in a namespace (empty: in the cluster as a whole).
    fn held(&self, user: &User, namespace: &str) -> Held;
}

/// What an authorizer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// For people: which binding allowed it, or what was not found while looking for one.
    pub reason: String,
}

/// What else is known of somebody: pod and node of a service account's token, which credential it was.
pub type Extra = BTreeMap<String, Vec<String>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: Extra,
}

/// What is to be done to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a word of its own.
    pub verb: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// The text of the field selector of a list, a watch or a deletion of many.
    pub field_selector: &'a str,
    /// A path that is no resource: `/metrics`, `/openapi/v3`. The rest is empty then, but for the verb.
    pub path: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    pub fn of_path(verb: &'a str, path: &'a str) -> Self {
        Self {
            verb,
            path: Some(path),
            ..Self::default()
        }
    }
}

impl User {
    /// As Go prints it, which some refusals do.
    pub(crate) fn as_go(&self) -> String {
        let extra = self
            .extra
            .iter()
            .map(|(key, values)| format!("{key}:[{}]", values.join(" ")));
        let extra = extra.collect::<Vec<_>>().join(" ");
        let groups = self.groups.join(" ");
        format!("&{{{} {} [{groups}] map[{extra}]}}", self.name, self.uid)
    }

    /// As `UserInfo`.
    fn to_value(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

pub fn rows() -> Vec<Row> {
    let who = |plural, kind, singular, rules| row("authentication.k8s.io", plural, kind, singular, rules);
    let may = |plural, kind, singular, rules| row("authorization.k8s.io", plural, kind, singular, rules);
    vec![
        who(
            "selfsubjectreviews",
            "SelfSubjectReview",
            "selfsubjectreview",
            Arc::new(identity::SelfSubject),
        ),
        who(
            "tokenreviews",
            "TokenReview",
            "tokenreview",
            Arc::new(identity::Token),
        ),
        Row {
            namespaced: true,
            ..may(
                "localsubjectaccessreviews",
                "LocalSubjectAccessReview",
                "localsubjectaccessreview",
                Arc::new(access::Access::Local),
            )
        },
        may(
            "selfsubjectaccessreviews",
            "SelfSubjectAccessReview",
            "selfsubjectaccessreview",
            Arc::new(access::Access::Own),
        ),
        may(
            "selfsubjectrulesreviews",
            "SelfSubjectRulesReview",
            "selfsubjectrulesreview",
            Arc::new(access::OwnRules),
        ),
        may(
            "subjectaccessreviews",
            "SubjectAccessReview",
            "subjectaccessreview",
            Arc::new(access::Access::Any),
        ),
    ]
}

fn row(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    singular: &'static str,
    rules: Arc<dyn Rules>,
) -> Row {
    let package = group.split('.').next().unwrap_or(group);
    Row {
        res: Res::new(group, plural),
        version: "v1",
        kind,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: meta::res::intern(&format!("io.k8s.api.{package}.v1.{kind}")),
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const { &[Column::NAME, Column::AGE] },
        rules,
    }
}
