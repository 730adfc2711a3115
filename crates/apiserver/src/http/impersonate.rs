//! Impersonation (`kubectl --as`): one caller acts as another, if it may. Source: the API's "User impersonation".

use crate::core::access::{Ask, require};
use crate::core::{Caller, Seen};
use http::HeaderMap;
use kinds::review::{GROUPS, UIDS, USERS};
use kinds::serviceaccount::SERVICEACCOUNTS;
use meta::{Res, Status};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const AUTHENTICATED: &str = "system:authenticated";
const ANONYMOUS: &str = "system:anonymous";
const ACCOUNT: &str = "system:serviceaccount:";

/// Whom the headers name in the caller's stead; `None` when they name nobody.
pub fn asked_for(caller: &Caller, headers: &HeaderMap) -> Result<Option<Caller>, Status> {
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        values.map(str::to_string).collect()
    };
    let (users, mut groups, uids) = (texts(USER), texts(GROUP), texts(UID));
    let Some(name) = users.into_iter().next().filter(|name| !name.is_empty()) else {
        if groups.is_empty() && uids.is_empty() {
            return Ok(None);
        }
        return Err(Status::bad_request(
            "requested a group or uid without impersonating a user",
        ));
    };
    if let Some((namespace, _)) = account(&name).filter(|_| groups.is_empty()) {
        groups.push("system:serviceaccounts".into());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    if name != ANONYMOUS && !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.into());
    }
    Ok(Some(Caller {
        name,
        uid: uids.into_iter().next().unwrap_or_default(),
        groups,
        agent: caller.agent.clone(),
    }))
}

/// Whether `caller` may act as `other`: as the user, and as each group that the user does not bring along.
pub fn check(seen: &Seen, caller: &Caller, other: &Caller, headers: &HeaderMap) -> Result<(), Status> {
    let ask = |res: Res, namespace: &str, name: &str| {
        let ask = Ask {
            verb: "impersonate",
            group: res.group,
            resource: res.plural,
            subresource: "",
            namespace,
            name,
        };
        require(seen, caller, res, &ask)
    };
    match account(&other.name) {
        Some((namespace, name)) => ask(SERVICEACCOUNTS, namespace, name)?,
        None => ask(USERS, "", &other.name)?,
    }
    for group in headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()) {
        ask(GROUPS, "", group)?;
    }
    if other.uid.is_empty() {
        return Ok(());
    }
    ask(UIDS, "", &other.uid)
}

/// Namespace and name of a service account's user name.
fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(ACCOUNT)?.split_once(':')
}
