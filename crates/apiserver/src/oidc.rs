//! ID tokens of one issuer (OpenID Connect): who signs them, which claims name the user and the groups. The issuer's keys
//! are fetched elsewhere; this asks for them when a token comes whose key is not known.
//! Source: Kubernetes' documentation, "OpenID Connect Tokens".

use crate::core::Caller;
use crate::core::access::{Authenticator, Holder, Unknown};
use crate::tokens::{claimed_issuer, texts};
use arc_swap::ArcSwap;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use meta::{Snapshot, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::Notify;

/// Upstream's `--oidc-…` options, by their names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    pub issuer_url: String,
    pub client_id: String,
    #[serde(default = "sub")]
    pub username_claim: String,
    /// By default the issuer and `#`, unless the claim is `email`; `-` is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    #[serde(default)]
    pub groups_prefix: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub required_claims: BTreeMap<String, String>,
    #[serde(default = "rs256")]
    pub signing_algs: Vec<String>,
    /// PEM, trusted as well as the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

fn sub() -> String {
    "sub".into()
}

fn rs256() -> Vec<String> {
    vec!["RS256".into()]
}

/// Clocks may differ by nothing, as upstream has it, but for `nbf`.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 300;

pub struct Oidc {
    settings: Settings,
    algorithms: Vec<Algorithm>,
    /// The server's own audiences: such tokens are for nobody else.
    audiences: Vec<String>,
    keys: ArcSwap<Option<JwkSet>>,
    /// A token came whose key is not known.
    wants_keys: Arc<Notify>,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    #[error("oidc: issuer-url must be an https URL, not {0:?}")]
    Issuer(String),
    #[error(
        "oidc: {0:?} is not a signing algorithm; one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384"
    )]
    Algorithm(String),
}

impl Oidc {
    pub fn new(settings: Settings, audiences: Vec<String>) -> Result<Self, BadSettings> {
        if !settings.issuer_url.starts_with("https://") {
            return Err(BadSettings::Issuer(settings.issuer_url));
        }
        let mut algorithms = Vec::new();
        for name in &settings.signing_algs {
            match Algorithm::from_str(name) {
                // A shared secret signs no ID tokens.
                Ok(algorithm) if !name.starts_with("HS") => algorithms.push(algorithm),
                _ => return Err(BadSettings::Algorithm(name.clone())),
            }
        }
        Ok(Self {
            settings,
            algorithms,
            audiences,
            keys: ArcSwap::default(),
            wants_keys: Arc::new(Notify::new()),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The issuer's keys, as they are now.
    pub fn set_keys(&self, keys: JwkSet) {
        self.keys.store(Arc::new(Some(keys)));
    }

    /// Resolves when keys are missing.
    pub fn wants_keys(&self) -> Arc<Notify> {
        self.wants_keys.clone()
    }

    fn claims(&self, token: &str) -> Result<Value, String> {
        let header = decode_header(token).map_err(|e| format!("oidc: malformed jwt: {e}"))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(format!(
                "oidc: verify token: oidc: id token signed with unsupported algorithm, expected {} got {:?}",
                kinds::rbac::rule::quoted(&self.settings.signing_algs),
                header.alg
            ));
        }
        let keys = self.keys.load();
        let Some(keys) = &**keys else {
            self.wants_keys.notify_one();
            return Err("oidc: authenticator not initialized".into());
        };
        let named = |kid: &str| keys.find(kid);
        let key = match &header.kid {
            Some(kid) => named(kid),
            None => keys.keys.first(),
        };
        let Some(key) = key else {
            self.wants_keys.notify_one();
            return Err(
                "oidc: verify token: failed to verify signature: failed to verify id token signature".into(),
            );
        };
        let failed =
            |e: jsonwebtoken::errors::Error| format!("oidc: verify token: failed to verify signature: {e}");
        let mut rules = Validation::new(header.alg);
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        rules.set_required_spec_claims(&["iss"]);
        let key = DecodingKey::from_jwk(key).map_err(failed)?;
        Ok(decode::<Value>(token, &key, &rules).map_err(failed)?.claims)
    }

    fn check(&self, claims: &Value, now: Timestamp) -> Result<(), String> {
        let meant = claims.get("aud").map(texts).unwrap_or_default();
        if !meant.contains(&self.settings.client_id) {
            return Err(format!(
                "oidc: verify token: oidc: expected audience {:?} got {}",
                self.settings.client_id,
                kinds::rbac::rule::quoted(&meant)
            ));
        }
        let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|t| t as i64);
        let now = now.unix_seconds();
        if time("exp").is_none_or(|t| now > t) {
            return Err("oidc: verify token: oidc: token is expired".into());
        }
        if time("nbf").is_some_and(|t| now + NOT_BEFORE_LEEWAY_SECONDS < t) {
            return Err("oidc: verify token: oidc: current time before the nbf (not before) time".into());
        }
        for (claim, wanted) in &self.settings.required_claims {
            match claims.get(claim) {
                None => return Err(format!("oidc: required claim {claim} not present in ID token")),
                Some(Value::String(given)) if given == wanted => {}
                Some(Value::String(given)) => {
                    return Err(format!(
                        "oidc: required claim {claim} value does not match. Got = {given}, want = {wanted}"
                    ));
                }
                Some(_) => return Err(format!("oidc: parse claim {claim}: it is not a text")),
            }
        }
        Ok(())
    }

    fn caller(&self, claims: &Value) -> Result<Caller, String> {
        let settings = &self.settings;
        let claim = &settings.username_claim;
        let missing = || format!("oidc: parse username claims {claim:?}: claim not present");
        let name = claims.get(claim).ok_or_else(missing)?;
        let name = name
            .as_str()
            .ok_or_else(|| format!("oidc: parse username claims {claim:?}: it is not a text"))?;
        if claim == "email"
            && claims
                .get("email_verified")
                .is_some_and(|v| v != &Value::Bool(true))
        {
            return Err("oidc: email not verified".into());
        }
        let prefix = match (&settings.username_prefix, claim.as_str()) {
            (Some(none), _) if none == "-" => String::new(),
            (Some(prefix), _) => prefix.clone(),
            (None, "email") => String::new(),
            (None, _) => format!("{}#", settings.issuer_url),
        };
        let groups = settings.groups_claim.as_ref().and_then(|claim| claims.get(claim));
        let groups = groups.map(texts).unwrap_or_default().into_iter();
        Ok(Caller {
            name: format!("{prefix}{name}"),
            groups: groups.map(|g| format!("{}{g}", settings.groups_prefix)).collect(),
            ..Caller::default()
        })
    }
}

impl Authenticator for Oidc {
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        _seen: &Snapshot,
        now: Timestamp,
    ) -> Result<Holder, Unknown> {
        if claimed_issuer(token).as_deref() != Some(&*self.settings.issuer_url) {
            return Err(Unknown::Foreign);
        }
        let claims = self.claims(token).map_err(Unknown::Invalid)?;
        self.check(&claims, now).map_err(Unknown::Invalid)?;
        let caller = self.caller(&claims).map_err(Unknown::Invalid)?;
        let wanted = match audiences {
            [] => &self.audiences,
            asked => asked,
        };
        let common = wanted.iter().filter(|a| self.audiences.contains(a));
        match common.cloned().collect::<Vec<String>>() {
            none if none.is_empty() => Err(Unknown::Foreign),
            audiences => Ok(Holder { caller, audiences }),
        }
    }
}
