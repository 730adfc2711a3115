//! Kinds that are questions: what the answer may draw on, and the reply to the create that asks.

use super::access::Ask;
use super::{Caller, Cx, Decision};
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

pub struct Known<'a, 'b>(pub &'a Cx<'b>);

impl Asks for Known<'_, '_> {
    fn caller(&self) -> User {
        user(self.0.caller)
    }

    fn resource_of(&self, api_version: &str, kind: &str) -> Option<meta::Res> {
        let row = self.0.seen.registry.by_kind(api_version, kind)?;
        Some(row.res)
    }

    fn holder(&self, token: &str, audiences: &[String]) -> Option<(User, Vec<String>)> {
        let seen = self.0.seen;
        let holder = seen
            .authenticator?
            .authenticate(token, audiences, seen.snapshot, self.0.now)?;
        Some((user(&holder.caller), holder.audiences))
    }

    fn allows(&self, user: &User, attributes: &Attributes) -> bool {
        let ask = Ask {
            verb: &attributes.verb,
            group: &attributes.group,
            resource: &attributes.resource,
            subresource: &attributes.subresource,
            namespace: &attributes.namespace,
            name: &attributes.name,
        };
        let seen = self.0.seen;
        seen.authorizer.allows(&caller(user), &ask, seen.snapshot)
    }

    fn allows_path(&self, user: &User, verb: &str, path: &str) -> bool {
        self.0.seen.authorizer.allows_path(&caller(user), verb, path)
    }

    fn rules(&self, user: &User, namespace: &str) -> (Value, Value) {
        let seen = self.0.seen;
        seen.authorizer.rules(&caller(user), namespace, seen.snapshot)
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

fn caller(user: &User) -> Caller {
    Caller {
        name: user.name.clone(),
        uid: user.uid.clone(),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
        agent: String::new(),
    }
}
