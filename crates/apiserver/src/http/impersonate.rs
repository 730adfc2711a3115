//! Impersonation: a caller who may acts as somebody else for one request. Source: Kubernetes' documentation,
//! "User impersonation"; apiserver's impersonation filter.

use super::request::{ANONYMOUS, UNAUTHENTICATED};
use crate::Api;
use crate::authenticators::AUTHENTICATED;
use crate::core::Caller;
use crate::core::access::{self, Ask};
use http::{HeaderMap, HeaderName};
use kinds::node::NODES;
use kinds::rbac::MASTERS;
use kinds::review::{Extra, GROUPS, UIDS, USER_EXTRAS, USERS};
use kinds::serviceaccount::SERVICEACCOUNTS;
use meta::Status;

const PREFIX: &str = "impersonate-";
const EXTRA: &str = "impersonate-extra-";
/// What the token of a pod says of its node.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Who the request asks to be.
#[derive(Default)]
struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    /// Keys and values in the order of the headers.
    extra: Vec<(String, String)>,
}

/// The caller that the request runs as: the one who sent it, unless its headers ask for another. The headers are
/// taken out, so that nothing behind this reads them.
pub fn acting_as(api: &Api, caller: Caller, asked: &Ask, headers: &mut HeaderMap) -> Result<Caller, Status> {
    let names = headers.keys().filter(|name| name.as_str().starts_with(PREFIX));
    let names: Vec<HeaderName> = names.cloned().collect();
    if names.is_empty() {
        return Ok(caller);
    }
    let wanted = read(headers, &names)?;
    names.iter().for_each(|name| drop(headers.remove(name)));
    let attempt = Attempt {
        api,
        caller: &caller,
        wanted: &wanted,
        asked,
    };
    let groups = attempt.authorized_groups()?;
    Ok(Caller {
        groups,
        name: wanted.user,
        uid: wanted.uid,
        extra: wanted
            .extra
            .into_iter()
            .fold(Extra::new(), |mut all, (key, value)| {
                all.entry(key).or_default().push(value);
                all
            }),
        agent: caller.agent,
    })
}

fn read(headers: &HeaderMap, names: &[HeaderName]) -> Result<Wanted, Status> {
    let mut wanted = Wanted::default();
    for name in names {
        for value in headers.get_all(name) {
            let value = value.to_str().map_err(|_| {
                Status::bad_request(format!(
                    "the header {name} has characters that are not printable ASCII"
                ))
            })?;
            match name.as_str() {
                "impersonate-user" => wanted.user = value.to_string(),
                "impersonate-uid" => wanted.uid = value.to_string(),
                "impersonate-group" => wanted.groups.push(value.to_string()),
                other => {
                    // A header that is not understood must not be passed over: less would be taken away than meant.
                    let key = other.strip_prefix(EXTRA).filter(|key| !key.is_empty());
                    let key = key.ok_or_else(|| {
                        Status::bad_request(format!("the header {name} is not one of impersonation"))
                    })?;
                    wanted.extra.push((unescaped(key), value.to_string()));
                }
            }
        }
    }
    if wanted.user.is_empty() {
        return Err(Status::bad_request(
            "requested a group, a uid or extra fields without impersonating a user",
        ));
    }
    Ok(wanted)
}

/// Keys of extra fields are percent-encoded, and in lower case as all header names.
fn unescaped(key: &str) -> String {
    percent_encoding::percent_decode_str(key)
        .decode_utf8_lossy()
        .into_owned()
}

/// Namespace and name of a service account's user.
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty()).then_some((namespace, name))
}

/// The name of a node's user.
fn node(user: &str) -> Option<&str> {
    let name = user.strip_prefix("system:node:")?;
    meta::name::check_dns1123_subdomain(name)
        .is_empty()
        .then_some(name)
}

/// Ways to be allowed, from the narrowest on. All but the last ask for the right to be somebody of that sort, and for the
/// right to do so for this very request. Source: KEP-5284.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A pod's service account as the node that the pod runs on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    /// The verb `impersonate` alone.
    Unconstrained,
}

const MODES: [Mode; 5] = [
    Mode::AssociatedNode,
    Mode::ArbitraryNode,
    Mode::ServiceAccount,
    Mode::UserInfo,
    Mode::Unconstrained,
];

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Unconstrained => "",
        }
    }

    fn verb(self) -> String {
        match self {
            Self::Unconstrained => "impersonate".to_string(),
            constrained => format!("impersonate:{}", constrained.word()),
        }
    }

    fn fits(self, caller: &Caller, wanted: &Wanted) -> bool {
        let (node, account_wanted) = (node(&wanted.user), account(&wanted.user));
        let only_user = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        match self {
            Self::AssociatedNode => {
                let runs_on = caller.extra.get(NODE_NAME).map_or(&[][..], Vec::as_slice);
                let here = node.is_some_and(|node| matches!(runs_on, [one] if one == node));
                only_user && here && account(&caller.name).is_some()
            }
            Self::ArbitraryNode => only_user && node.is_some(),
            Self::ServiceAccount => only_user && account_wanted.is_some(),
            Self::UserInfo => node.is_none() && account_wanted.is_none(),
            Self::Unconstrained => true,
        }
    }
}

/// Somebody who wants to be somebody else.
struct Attempt<'a> {
    api: &'a Api,
    caller: &'a Caller,
    wanted: &'a Wanted,
    /// What they want to do then.
    asked: &'a Ask<'a>,
}

impl Attempt<'_> {
    /// The groups of whom they become, if any way allows it; else what the first had to say.
    fn authorized_groups(&self) -> Result<Vec<String>, Status> {
        let mut first = None;
        for mode in MODES
            .into_iter()
            .filter(|mode| mode.fits(self.caller, self.wanted))
        {
            match self.by(mode) {
                Ok(()) => return Ok(groups(self.wanted, mode)),
                Err(refused) => first = first.or(Some(refused)),
            }
        }
        Err(first.unwrap_or_else(Status::unauthorized))
    }

    fn by(&self, mode: Mode) -> Result<(), Status> {
        let wanted = self.wanted;
        let verb = mode.verb();
        let constrained = mode != Mode::Unconstrained;
        if constrained {
            let on = format!("impersonate-on:{}:{}", mode.word(), self.asked.verb);
            let asked = Ask {
                verb: &on,
                ..*self.asked
            };
            self.api.require(self.caller, &asked)?;
        }
        let ask = |group, resource, namespace, name| Ask {
            verb: &verb,
            group,
            version: "v1",
            resource,
            namespace,
            name,
            ..Ask::default()
        };
        let may = |ask: Ask| self.api.require(self.caller, &ask);
        let group = if constrained { UIDS.group } else { USERS.group };
        may(match (account(&wanted.user), node(&wanted.user)) {
            (Some((namespace, name)), _) => ask(group, SERVICEACCOUNTS.plural, namespace, name),
            (None, Some(_)) if mode == Mode::AssociatedNode => ask(group, NODES.plural, "", "*"),
            (None, Some(name)) if constrained => ask(group, NODES.plural, "", name),
            (None, _) => ask(group, USERS.plural, "", &wanted.user),
        })?;
        if !wanted.uid.is_empty() {
            may(ask(UIDS.group, UIDS.plural, "", &wanted.uid))?;
        }
        for name in &wanted.groups {
            let ask = ask(group, GROUPS.plural, "", name);
            if constrained && (name.is_empty() || name == MASTERS) {
                let what = if name.is_empty() { "empty string" } else { MASTERS };
                let why = format!("impersonating the {what} group is not allowed");
                return Err(access::refusal(&self.caller.name, &ask, &why));
            }
            may(ask)?;
        }
        for (key, value) in &wanted.extra {
            let ask = Ask {
                subresource: key,
                ..ask(USER_EXTRAS.group, USER_EXTRAS.plural, "", value)
            };
            if constrained && value.is_empty() {
                let why = "impersonating the empty string value in extra is not allowed";
                return Err(access::refusal(&self.caller.name, &ask, why));
            }
            may(ask)?;
        }
        Ok(())
    }
}

/// The groups asked for, those of a service account or node where none are, and the one of all who are known (or not).
fn groups(wanted: &Wanted, mode: Mode) -> Vec<String> {
    let mut groups = wanted.groups.clone();
    if let Some((namespace, _)) = account(&wanted.user)
        && groups.is_empty()
    {
        let all = "system:serviceaccounts";
        groups.extend([all.to_string(), format!("{all}:{namespace}")]);
    }
    if matches!(mode, Mode::AssociatedNode | Mode::ArbitraryNode) {
        groups = vec!["system:nodes".to_string()];
    }
    let ours = if wanted.user == ANONYMOUS {
        UNAUTHENTICATED
    } else {
        AUTHENTICATED
    };
    let known = [ours, UNAUTHENTICATED];
    if !groups.iter().any(|group| known.contains(&group.as_str())) {
        groups.push(ours.to_string());
    }
    groups
}
