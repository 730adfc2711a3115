//! The authorizer of admission expressions: `authorizer.group('').resource('pods').check('get').allowed()`.

use crate::declare::{AUTHORIZER, DECISION, GROUP_CHECK, PATH_CHECK, RESOURCE_CHECK};
use crate::functions::Context;
use crate::value::{Outcome, Value, fail, no_overload};
use std::fmt;
use std::sync::Arc;

/// Who answers the questions of expressions.
pub trait Authorizer: Sync + Send {
    /// Whether something may be done. `account` is set when the question is about a service account instead of the user
    /// of the request: its namespace and name.
    fn check(&self, account: Option<(&str, &str)>, verb: &str, what: &Asked) -> Decision;
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Path(String),
    Resource(ResourceAsked),
}

/// A resource; empty fields are not limited. Selectors stand as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceAsked {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// A question as far as it has been put.
#[derive(Clone)]
pub struct Authz<'a> {
    by: &'a dyn Authorizer,
    account: Option<(Arc<str>, Arc<str>)>,
    stage: Stage,
}

#[derive(Clone)]
enum Stage {
    Start,
    Path(String),
    Group(String),
    Resource(ResourceAsked),
    Decided(Decision),
}

impl fmt::Debug for Authz<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

impl<'a> Authz<'a> {
    fn with(&self, stage: Stage) -> Outcome<Value<'a>> {
        Ok(Value::Authz(Arc::new(Self {
            stage,
            ..self.clone()
        })))
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Start => AUTHORIZER,
            Stage::Path(_) => PATH_CHECK,
            Stage::Group(_) => GROUP_CHECK,
            Stage::Resource(_) => RESOURCE_CHECK,
            Stage::Decided(_) => DECISION,
        }
    }

    fn decide(&self, verb: &str, asked: &Asked) -> Outcome<Value<'a>> {
        let account = self
            .account
            .as_ref()
            .map(|(namespace, name)| (&**namespace, &**name));
        self.with(Stage::Decided(self.by.check(account, verb, asked)))
    }
}

impl<'a> Value<'a> {
    /// The variable `authorizer`.
    pub fn authorizer(by: &'a dyn Authorizer) -> Self {
        Self::Authz(Arc::new(Authz {
            by,
            account: None,
            stage: Stage::Start,
        }))
    }

    /// The variable `authorizer.requestResource`.
    pub fn request_resource(by: &'a dyn Authorizer, resource: ResourceAsked) -> Self {
        Self::Authz(Arc::new(Authz {
            by,
            account: None,
            stage: Stage::Resource(resource),
        }))
    }
}

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    let Some(Value::Authz(authz)) = args.first() else {
        return no_overload();
    };
    let mut texts = [""; 2];
    for (text, arg) in texts.iter_mut().zip(&args[1..]) {
        match arg.as_str() {
            Some(given) => *text = given,
            None => return no_overload(),
        }
    }
    let [text, second] = texts;
    match (context.name, &authz.stage) {
        ("path", Stage::Start) if text.trim().is_empty() => fail("path must not be empty"),
        ("path", Stage::Start) => authz.with(Stage::Path(text.to_string())),
        ("group", Stage::Start) => authz.with(Stage::Group(text.to_string())),
        ("serviceAccount", Stage::Start) => {
            if !meta::name::check_dns1123_subdomain(second).is_empty() {
                return fail("Invalid service account name");
            }
            if !meta::name::check_dns1123_label(text).is_empty() {
                return fail("Invalid service account namespace");
            }
            let account = Some((text.into(), second.into()));
            Ok(Value::Authz(Arc::new(Authz {
                account,
                ..(**authz).clone()
            })))
        }
        ("resource", Stage::Group(_)) if text.trim().is_empty() => fail("resource must not be empty"),
        ("resource", Stage::Group(group)) => {
            let asked = ResourceAsked {
                group: group.clone(),
                resource: text.to_string(),
                ..ResourceAsked::default()
            };
            authz.with(Stage::Resource(asked))
        }
        ("check", Stage::Path(path)) => authz.decide(text, &Asked::Path(path.clone())),
        ("check", Stage::Resource(asked)) => authz.decide(text, &Asked::Resource(asked.clone())),
        (name, Stage::Resource(asked)) => {
            let mut asked = asked.clone();
            let field = match name {
                "subresource" => &mut asked.subresource,
                "namespace" => &mut asked.namespace,
                "name" => &mut asked.name,
                "fieldSelector" => &mut asked.field_selector,
                "labelSelector" => &mut asked.label_selector,
                _ => return no_overload(),
            };
            *field = text.to_string();
            authz.with(Stage::Resource(asked))
        }
        ("allowed", Stage::Decided(decision)) => Ok(Value::Bool(decision.allowed)),
        ("reason", Stage::Decided(decision)) => Ok(Value::text(&*decision.reason)),
        ("errored", Stage::Decided(decision)) => Ok(Value::Bool(decision.error.is_some())),
        ("error", Stage::Decided(decision)) => Ok(Value::text(decision.error.as_deref().unwrap_or(""))),
        _ => no_overload(),
    }
}
