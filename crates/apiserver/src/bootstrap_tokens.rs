//! Tokens of those who are about to join: Secrets `bootstrap-token-ID` in kube-system say who holds `ID.SECRET`.
//! Source: Kubernetes' documentation, "Authenticating with Bootstrap Tokens".

use crate::core::Caller;
use crate::core::access::{Authenticator, Holder, Unknown};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kinds::row::text;
use kinds::secret::SECRETS;
use meta::{Snapshot, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// `audiences`: the server's own; such tokens are for nobody else.
pub struct BootstrapTokens {
    pub audiences: Vec<String>,
}

impl Authenticator for BootstrapTokens {
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        seen: &Snapshot,
        now: Timestamp,
    ) -> Result<Holder, Unknown> {
        let wanted = match audiences {
            [] => &self.audiences,
            asked => asked,
        };
        let common = wanted.iter().filter(|a| self.audiences.contains(a));
        let audiences: Vec<String> = common.cloned().collect();
        let holder = caller(token, seen, now).filter(|_| !audiences.is_empty());
        let caller = holder.ok_or(Unknown::Foreign)?;
        Ok(Holder { caller, audiences })
    }
}

fn caller(token: &str, seen: &Snapshot, now: Timestamp) -> Option<Caller> {
    let (id, secret) = token.split_once('.')?;
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if id.len() != 6 || secret.len() != 16 || !plain(id) || !plain(secret) {
        return None;
    }
    let stored = seen.get(SECRETS, "kube-system", &format!("bootstrap-token-{id}"))?;
    let value = stored.value();
    let data = |key: &str| -> String {
        let bytes = value
            .get("data")
            .and_then(|data| data.get(key))
            .and_then(Value::as_str);
        let bytes = bytes.and_then(|text| STANDARD.decode(text).ok());
        bytes.and_then(|b| String::from_utf8(b).ok()).unwrap_or_default()
    };
    // Digests take the same time to compare, however much of the secret was guessed.
    let same = Sha256::digest(data("token-secret")) == Sha256::digest(secret);
    let lives = match data("expiration").as_str() {
        "" => true,
        at => Timestamp::parse(at).is_some_and(|at| at > now),
    };
    let usable = text(&value, "/type") == TYPE && data("usage-bootstrap-authentication") == "true";
    if !same || data("token-id") != id || !lives || !usable || stored.meta().is_deleting() {
        return None;
    }
    Some(Caller {
        name: format!("system:bootstrap:{id}"),
        groups: groups(&data("auth-extra-groups"))?,
        ..Caller::default()
    })
}

/// The group of all of them and those that the secret adds, which are below it.
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut groups = BTreeSet::from([GROUP.to_string()]);
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        let name = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ':' | '-');
        if name.len() > 255 || !name.chars().all(inner) || !ends(name.chars().next_back()) {
            return None;
        }
        groups.insert(group.to_string());
    }
    Some(groups.into_iter().collect())
}
