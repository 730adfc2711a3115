//! Who may do what: the traits that the server is given, and the built-in table that serves until RBAC's kinds do.

use super::{Caller, Seen};
use meta::{Res, Snapshot, Status, Timestamp, Verb};
use serde_json::{Value, json};

/// One question to an authorizer about a resource.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    fn allows(&self, caller: &Caller, ask: &Ask, seen: &Snapshot) -> bool;

    /// Paths that are no resource: `/metrics`, `/openapi/v3`, …
    fn allows_path(&self, caller: &Caller, verb: &str, path: &str) -> bool;

    /// All that a caller may do in a namespace, as the `resourceRules` and `nonResourceRules` of a
    /// SelfSubjectRulesReview.
    fn rules(&self, caller: &Caller, namespace: &str, seen: &Snapshot) -> (Value, Value);
}

/// Finds out who holds a bearer token. `None`: nobody that we know.
pub trait Authenticator: Send + Sync {
    /// `audiences`: one of these must be meant; none are the server's own.
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        seen: &Snapshot,
        now: Timestamp,
    ) -> Option<Holder>;
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
}

/// Groups whose members may do everything: administrators, the server's own controllers, and nodes.
const ALL_POWERFUL: [&str; 3] = [
    "system:masters",
    "system:nodes",
    "system:serviceaccounts:kube-system",
];

/// Paths that every authenticated caller may read (upstream's `system:discovery`).
const DISCOVERY: [&str; 8] = [
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/readyz",
    "/version",
    "/openapi",
    "/.well-known",
];

/// Questions that every authenticated caller may ask (upstream's `system:basic-user`).
const REVIEWS: [(&str, &str); 3] = [
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];

/// The built-in authorizer: a table of groups.
pub struct Groups;

impl Authorizer for Groups {
    fn allows(&self, caller: &Caller, ask: &Ask, _seen: &Snapshot) -> bool {
        let reviews_itself = ask.verb == "create"
            && REVIEWS
                .iter()
                .any(|(group, resource)| ask.group == *group && ask.resource == *resource);
        is_powerful(caller) || reviews_itself
    }

    fn allows_path(&self, caller: &Caller, verb: &str, path: &str) -> bool {
        let within = |root: &str| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_powerful(caller) || (verb == "get" && DISCOVERY.iter().any(|root| within(root)))
    }

    fn rules(&self, caller: &Caller, _namespace: &str, _seen: &Snapshot) -> (Value, Value) {
        if is_powerful(caller) {
            return (
                json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]),
                json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]),
            );
        }
        let reviews = REVIEWS.iter().map(
            |(group, resource)| json!({"verbs": ["create"], "apiGroups": [group], "resources": [resource]}),
        );
        let paths = DISCOVERY
            .iter()
            .flat_map(|root| [(*root).to_string(), format!("{root}/*")]);
        (
            reviews.collect(),
            json!([{"verbs": ["get"], "nonResourceURLs": paths.collect::<Vec<String>>()}]),
        )
    }
}

fn is_powerful(caller: &Caller) -> bool {
    caller.groups.iter().any(|g| ALL_POWERFUL.contains(&g.as_str()))
}

pub fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::List => "list",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::PatchJson | Verb::PatchMerge | Verb::PatchStrategic | Verb::Apply => "patch",
        Verb::Delete => "delete",
        Verb::DeleteCollection => "deletecollection",
    }
}

/// 403 in upstream's words unless the caller may.
pub fn require(seen: &Seen, caller: &Caller, res: Res, ask: &Ask) -> Result<(), Status> {
    if seen.authorizer.allows(caller, ask, seen.snapshot) {
        return Ok(());
    }
    let resource = if ask.subresource.is_empty() {
        ask.resource.to_string()
    } else {
        format!("{}/{}", ask.resource, ask.subresource)
    };
    let scope = if ask.namespace.is_empty() {
        "at the cluster scope".to_string()
    } else {
        format!("in the namespace {:?}", ask.namespace)
    };
    let why = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {scope}",
        caller.name, ask.verb, ask.group
    );
    Err(Status::forbidden(res, ask.name, &why))
}
