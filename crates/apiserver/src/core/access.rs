//! Who may do what: the traits that the server is given, what a request asks for, and the words of a refusal.

use super::{Caller, Cx};
use kinds::rbac::Held;
use meta::{Snapshot, Status, Timestamp};
use serde_json::{Value, json};

pub use kinds::review::{Attributes as Ask, Verdict};

/// Who asks, as far as decisions look at it.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    pub name: &'a str,
    pub groups: &'a [String],
}

impl<'a> From<&'a Caller> for Who<'a> {
    fn from(caller: &'a Caller) -> Self {
        Self {
            name: &caller.name,
            groups: &caller.groups,
        }
    }
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    /// Asked on every request, so without a reason.
    fn allows(&self, who: Who, ask: &Ask, seen: &Snapshot) -> bool;

    /// The same with its reason.
    fn verdict(&self, who: Who, ask: &Ask, seen: &Snapshot) -> Verdict;

    /// All rules that hold for somebody in a namespace (empty: in the cluster as a whole).
    fn held(&self, who: Who, namespace: &str, seen: &Snapshot) -> Held;
}

/// Finds out who holds a bearer token.
pub trait Authenticator: Send + Sync {
    /// `audiences`: one of these must be meant; none are the server's own.
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        seen: &Snapshot,
        now: Timestamp,
    ) -> Result<Holder, Unknown>;
}

/// Why nobody was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The token is not of a kind that this authenticator knows: others may.
    Foreign,
    /// It is, but is not valid, in words.
    Invalid(String),
}

/// Whom a token names.
pub struct Holder {
    pub caller: Caller,
    /// Those audiences that were asked for and are meant.
    pub audiences: Vec<String>,
}

/// Signs the claims of a service account token.
pub trait Signer: Send + Sync {
    fn sign(&self, claims: &Value) -> Result<String, Status>;
    fn issuer(&self) -> &str;
    /// Audiences of tokens that ask for none.
    fn audiences(&self) -> Vec<String>;
    /// What others check its tokens with (a JWKS).
    fn public_keys(&self) -> Value;
}

/// 403 in upstream's words unless the caller may.
pub fn require(
    authorizer: &dyn Authorizer,
    snapshot: &Snapshot,
    caller: &Caller,
    ask: &Ask,
) -> Result<(), Status> {
    if authorizer.allows(caller.into(), ask, snapshot) {
        return Ok(());
    }
    let verdict = authorizer.verdict(caller.into(), ask, snapshot);
    Err(refusal(&caller.name, ask, &verdict.reason))
}

/// A write that makes what it was to change needs the right to make it.
pub fn require_create(cx: &Cx, namespace: &str, name: &str) -> Result<(), Status> {
    let (seen, row) = (cx.seen, cx.row);
    if seen.trusted {
        return Ok(());
    }
    let ask = Ask {
        verb: "create",
        group: row.res.group,
        version: row.version,
        resource: row.res.plural,
        namespace,
        name,
        ..Ask::default()
    };
    require(seen.authorizer, seen.snapshot, cx.caller, &ask)
}

/// What is told to those who may not.
pub fn refusal(user: &str, ask: &Ask, reason: &str) -> Status {
    let told = |what: String| {
        // Nothing in it may look like HTML.
        let what = what
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        match reason {
            "" => what,
            reason => format!("{what}: {reason}"),
        }
    };
    if let Some(path) = ask.path {
        let why = told(format!("User {user:?} cannot {} path {path:?}", ask.verb));
        return Status {
            details: json!({}),
            ..Status::new(403, "Forbidden", format!("forbidden: {why}"))
        };
    }
    let resource = match ask.subresource {
        "" => ask.resource.to_string(),
        subresource => format!("{}/{subresource}", ask.resource),
    };
    let scope = match ask.namespace {
        "" => "at the cluster scope".to_string(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = told(format!(
        "User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}",
        ask.verb, ask.group
    ));
    Status::forbidden_there(ask.group, ask.resource, ask.name, &why)
}
