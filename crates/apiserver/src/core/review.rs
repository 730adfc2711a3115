//! Kinds that are questions: what the answer may draw on, and the reply to the create that asks.

use super::access::{Unknown, Verdict, Who};
use super::{Caller, Cx, Decision};
use kinds::rbac::Held;
use kinds::review::{Asks, Attributes, User};
use meta::{Reply, Status};
use serde_json::Value;

/// The reply to a checked question; nothing is written.
pub fn answer(cx: &mut Cx, mut question: Value) -> Result<Decision, Status> {
    let row = cx.row.clone();
    row.rules.default(&mut question);
    let mut errors = meta::Errors::new();
    row.rules.validate(&question, &mut errors);
    if !errors.is_empty() {
        return Err(cx.invalid("", &errors));
    }
    row.rules.answer(&mut question, &Known(cx))?;
    let reply = Reply::Value {
        value: question,
        created: true,
    };
    Ok(Decision::Answer(reply, cx.warnings()))
}

/// What the server knows of callers, for rules that ask.
pub struct Known<'a, 'b>(pub &'a Cx<'b>);

fn who(user: &User) -> Who<'_> {
    Who {
        name: &user.name,
        groups: &user.groups,
    }
}

impl Asks for Known<'_, '_> {
    fn caller(&self) -> User {
        user(self.0.caller)
    }

    fn resource_of(&self, api_version: &str, kind: &str) -> Option<meta::Res> {
        let row = self.0.seen.registry.by_kind(api_version, kind)?;
        Some(row.res)
    }

    fn holder(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), String> {
        let seen = self.0.seen;
        let invalid = || "[invalid bearer token]".to_string();
        let authenticator = seen.authenticator.ok_or_else(invalid)?;
        match authenticator.authenticate(token, audiences, seen.snapshot, self.0.now) {
            Ok(holder) => Ok((user(&holder.caller), holder.audiences)),
            Err(Unknown::Foreign) => Err(invalid()),
            Err(Unknown::Invalid(why)) => Err(format!("[invalid bearer token, {why}]")),
        }
    }

    fn verdict(&self, user: &User, asked: &Attributes) -> Verdict {
        let seen = self.0.seen;
        seen.authorizer.verdict(who(user), asked, seen.snapshot)
    }

    fn held(&self, user: &User, namespace: &str) -> Held {
        let seen = self.0.seen;
        seen.authorizer.held(who(user), namespace, seen.snapshot)
    }
}

pub fn user(caller: &Caller) -> User {
    User {
        name: caller.name.clone(),
        uid: caller.uid.clone(),
        groups: caller.groups.clone(),
        extra: caller.extra.clone(),
    }
}
