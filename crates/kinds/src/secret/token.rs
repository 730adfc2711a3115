//! Secrets of type `kubernetes.io/service-account-token`: who fills them, what their token says, and while it is believed.
//! The plan says whose token it is and adds what goes with it; the pipeline, which has the key, signs.

use super::{ACCOUNT_NAME, SECRETS};
use crate::configmap::CONFIGMAPS;
use crate::json::{at, ensure_object, get, is_true, put, string};
use crate::plan::{Act, Plan, Target};
use crate::row::text;
use crate::serviceaccount::{ROOT_CA_NAME, ROOT_CA_SOURCE, SERVICEACCOUNTS};
use crate::{Controller, Key, Seen};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{Change, Object, Snapshot};
use serde_json::{Value, json};

pub const TOKENS: Controller = Controller {
    name: "serviceaccount-token-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

/// `iss` of these tokens, as upstream's.
pub const ISSUER: &str = "kubernetes/serviceaccount";
pub const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const CLAIM: &str = "kubernetes.io/serviceaccount/";

fn annotation<'a>(secret: &'a Value, name: &str) -> &'a str {
    string(at(secret, "/metadata/annotations"), name)
}

fn is_token(secret: &Value) -> bool {
    string(secret, "type") == TYPE
}

/// The account that a secret names, if it is the one that is meant.
fn account<'a>(secret: &Value, namespace: &str, seen: &'a Snapshot) -> Option<&'a Object> {
    let uid = annotation(secret, ACCOUNT_UID);
    seen.get(SERVICEACCOUNTS, namespace, annotation(secret, ACCOUNT_NAME))
        .filter(|account| uid.is_empty() || account.uid() == uid)
}

/// Claims for a secret that the plan has given its account, and that has no token yet.
pub fn claims(secret: &Value, seen: &Snapshot) -> Option<Value> {
    let missing = string(get(secret, "data"), "token").is_empty();
    if !is_token(secret) || annotation(secret, ACCOUNT_UID).is_empty() || !missing {
        return None;
    }
    let namespace = text(secret, "/metadata/namespace");
    let account = account(secret, namespace, seen)?;
    let mut claims = json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{}", account.name()),
    });
    for (name, value) in [
        ("namespace", namespace),
        ("secret.name", text(secret, "/metadata/name")),
        ("service-account.name", account.name()),
        ("service-account.uid", account.uid()),
    ] {
        claims[format!("{CLAIM}{name}")] = value.into();
    }
    Some(claims)
}

pub fn put_token(secret: &mut Value, token: &str) {
    if let Some(data) = ensure_object(secret, "data") {
        put(data, "token", STANDARD.encode(token));
    }
}

/// The account and its namespace that a token of a secret stands for, while both are there and the secret holds it.
pub fn account_of(token: &str, claims: &Value, seen: &Snapshot) -> Option<(String, Object)> {
    let claim = |name: &str| string(claims, &format!("{CLAIM}{name}"));
    let namespace = claim("namespace");
    let secret = seen.get(SECRETS, namespace, claim("secret.name"))?;
    let held = secret.value();
    let same = text(&held, "/data/token") == STANDARD.encode(token);
    let account = seen.get(SERVICEACCOUNTS, namespace, claim("service-account.name"))?;
    let lives = is_token(&held) && same && !secret.meta().is_deleting();
    (lives && account.uid() == claim("service-account.uid")).then(|| (namespace.to_string(), account.clone()))
}

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let object = &change.object;
    let tokens = |namespace: &str, of: Option<&str>| {
        let named = |secret: &Value| of.is_none_or(|name| annotation(secret, ACCOUNT_NAME) == name);
        seen.snapshot
            .list(SECRETS, namespace)
            .map(|secret| (secret, secret.value()))
            .filter(|(_, value)| is_token(value) && named(value))
            .map(|(secret, _)| Key::of(SECRETS, secret))
            .collect()
    };
    let is_root = object.name() == ROOT_CA_NAME && object.namespace() == ROOT_CA_SOURCE;
    match change.res {
        SECRETS if is_token(&object.value()) => vec![Key::of(SECRETS, object)],
        SERVICEACCOUNTS => tokens(object.namespace(), Some(object.name())),
        CONFIGMAPS if is_root => tokens("", None),
        _ => Vec::new(),
    }
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(secret) = seen.snapshot.by_key(SECRETS, &key.key) else {
        return plan;
    };
    let value = secret.value();
    if !is_token(&value) || secret.meta().is_deleting() {
        return plan;
    }
    let Some(account) = account(&value, secret.namespace(), seen.snapshot) else {
        plan.acts.push(Act::Delete {
            target: Target::exactly(SECRETS, secret),
            grace_seconds: None,
            propagation: None,
        });
        return plan.why("the service account that it is for is gone");
    };
    if is_true(&value, "immutable") {
        return plan.why("is immutable, so it cannot be filled");
    }
    let root = seen.snapshot.get(CONFIGMAPS, ROOT_CA_SOURCE, ROOT_CA_NAME);
    let root = root.map(Object::value).unwrap_or_default();
    let mut data = json!({"namespace": STANDARD.encode(secret.namespace())});
    if let Some(certificate) = at(&root, "/data").get("ca.crt").and_then(Value::as_str) {
        data["ca.crt"] = STANDARD.encode(certificate).into();
    }
    let held = get(&value, "data");
    let lacks = data
        .as_object()
        .is_some_and(|data| data.iter().any(|(k, v)| get(held, k) != v));
    let lacks = lacks || string(held, "token").is_empty() || annotation(&value, ACCOUNT_UID).is_empty();
    if lacks {
        plan.acts.push(Act::Patch {
            target: Target::exactly(SECRETS, secret),
            subresource: "",
            patch: json!({"metadata": {"annotations": {ACCOUNT_UID: account.uid()}}, "data": data}),
        });
        plan.why.push(format!("is to hold a token of {}", account.name()));
    }
    plan
}
