//! Impersonation: a caller who may acts as somebody else for one request. Source: Kubernetes' documentation,
//! "User impersonation"; apiserver's impersonation filter.

use super::request::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use crate::Api;
use crate::core::Caller;
use crate::core::access::Ask;
use http::{HeaderMap, HeaderName};
use kinds::review::{Extra, GROUPS, UIDS, USER_EXTRAS, USERS};
use kinds::serviceaccount::SERVICEACCOUNTS;
use meta::{Res, Status};

const PREFIX: &str = "impersonate-";
const EXTRA: &str = "impersonate-extra-";

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
pub fn acting_as(api: &Api, caller: Caller, headers: &mut HeaderMap) -> Result<Caller, Status> {
    let names = headers.keys().filter(|name| name.as_str().starts_with(PREFIX));
    let names: Vec<HeaderName> = names.cloned().collect();
    if names.is_empty() {
        return Ok(caller);
    }
    let wanted = read(headers, &names)?;
    names.iter().for_each(|name| drop(headers.remove(name)));
    authorize(api, &caller, &wanted)?;
    Ok(Caller {
        groups: groups(&wanted),
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

fn authorize(api: &Api, caller: &Caller, wanted: &Wanted) -> Result<(), Status> {
    let may = |res: Res, subresource: &str, namespace: &str, name: &str| {
        let ask = Ask {
            verb: "impersonate",
            group: res.group,
            version: "v1",
            resource: res.plural,
            subresource,
            namespace,
            name,
            ..Ask::default()
        };
        api.require(caller, &ask)
    };
    match account(&wanted.user) {
        Some((namespace, name)) => may(SERVICEACCOUNTS, "", namespace, name)?,
        None => may(USERS, "", "", &wanted.user)?,
    }
    for group in &wanted.groups {
        may(GROUPS, "", "", group)?;
    }
    for (key, value) in &wanted.extra {
        may(USER_EXTRAS, key, "", value)?;
    }
    match wanted.uid.as_str() {
        "" => Ok(()),
        uid => may(UIDS, "", "", uid),
    }
}

/// The groups asked for, those of a service account where none are, and the one of all who are known (or not).
fn groups(wanted: &Wanted) -> Vec<String> {
    let mut groups = wanted.groups.clone();
    if let Some((namespace, _)) = account(&wanted.user)
        && groups.is_empty()
    {
        let all = "system:serviceaccounts";
        groups.extend([all.to_string(), format!("{all}:{namespace}")]);
    }
    let known = [AUTHENTICATED, UNAUTHENTICATED];
    if !groups.iter().any(|group| known.contains(&group.as_str())) {
        let ours = if wanted.user == ANONYMOUS {
            UNAUTHENTICATED
        } else {
            AUTHENTICATED
        };
        groups.push(ours.to_string());
    }
    groups
}
