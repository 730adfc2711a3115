//! Service account tokens: signed with the cluster's own key, and believed while the account (and the pod that they are
//! bound to) is there.

use crate::core::Caller;
use crate::core::access::{Authenticator, Holder, Signer, Unknown};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use kinds::review::Extra;
use meta::{Object, Res, Snapshot, Status, Timestamp};
use serde_json::Value;

const ACCOUNTS: Res = kinds::serviceaccount::SERVICEACCOUNTS;

/// Signs and checks with one P-256 key (ES256).
pub struct Tokens {
    sign: EncodingKey,
    check: DecodingKey,
    issuer: String,
    audiences: Vec<String>,
}

impl Tokens {
    /// The private key in PKCS #8 (DER), the public one as its uncompressed point (`KeyPair::public_key_raw`).
    pub fn new(private_der: &[u8], public_point: &[u8], issuer: &str, audiences: Vec<String>) -> Self {
        Self {
            sign: EncodingKey::from_ec_der(private_der),
            check: DecodingKey::from_ec_der(public_point),
            issuer: issuer.to_string(),
            audiences,
        }
    }

    /// The claims of a token that is ours, for one of these, and within its time.
    fn claims(&self, token: &str, audiences: &[String], now: Timestamp) -> Option<Value> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(audiences);
        // The clock is an argument here: both times are checked below.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        let claims = decode::<Value>(token, &self.check, &rules).ok()?.claims;
        let time = |name: &str| claims.get(name).and_then(Value::as_i64);
        let now = now.unix_seconds();
        let fits = time("exp")? > now && time("nbf").is_none_or(|t| t <= now);
        fits.then_some(claims)
    }

    /// Whom a token of a Secret names: one without an end, which lives with its Secret.
    fn of_secret(&self, token: &str, seen: &Snapshot) -> Option<Caller> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[kinds::secret::TOKEN_ISSUER]);
        rules.set_required_spec_claims(&["iss"]);
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        let claims = decode::<Value>(token, &self.check, &rules).ok()?.claims;
        let (namespace, account) = kinds::secret::account_of_token(token, &claims, seen)?;
        Some(caller(&namespace, &account, Extra::new()))
    }
}

fn caller(namespace: &str, account: &Object, extra: Extra) -> Caller {
    Caller {
        name: format!("system:serviceaccount:{namespace}:{}", account.name()),
        uid: account.uid().to_string(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ],
        extra,
        agent: String::new(),
    }
}

/// What the claims of a token say beyond the account: where it is used, and which one it is.
fn extra(claims: &Value) -> Extra {
    let mut extra = Extra::new();
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
        }
    };
    let text = |pointer: &str| {
        claims
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_string)
    };
    add("credential-id", text("/jti").map(|jti| format!("JTI={jti}")));
    for (key, pointer) in [
        ("pod-name", "/kubernetes.io/pod/name"),
        ("pod-uid", "/kubernetes.io/pod/uid"),
        ("node-name", "/kubernetes.io/node/name"),
        ("node-uid", "/kubernetes.io/node/uid"),
    ] {
        add(key, text(pointer));
    }
    extra
}

impl Signer for Tokens {
    fn sign(&self, claims: &Value) -> Result<String, Status> {
        encode(&Header::new(Algorithm::ES256), claims, &self.sign).map_err(Status::internal)
    }

    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn audiences(&self) -> Vec<String> {
        self.audiences.clone()
    }
}

impl Authenticator for Tokens {
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        seen: &Snapshot,
        now: Timestamp,
    ) -> Result<Holder, Unknown> {
        self.holder(token, audiences, seen, now).ok_or(Unknown::Foreign)
    }
}

impl Tokens {
    fn holder(&self, token: &str, audiences: &[String], seen: &Snapshot, now: Timestamp) -> Option<Holder> {
        let wanted = if audiences.is_empty() {
            &self.audiences
        } else {
            audiences
        };
        let Some(claims) = self.claims(token, wanted, now) else {
            // Such a token is for the server itself, whatever it is called.
            let audiences: Vec<String> = wanted
                .iter()
                .filter(|a| self.audiences.contains(a))
                .cloned()
                .collect();
            let caller = self.of_secret(token, seen).filter(|_| !audiences.is_empty())?;
            return Some(Holder { caller, audiences });
        };
        let bound = claims.get("kubernetes.io")?;
        let namespace = bound.get("namespace")?.as_str()?;
        let lives = |res: Res, reference: &Value| {
            let name = reference.get("name").and_then(Value::as_str)?;
            let uid = reference.get("uid").and_then(Value::as_str)?;
            seen.get(res, namespace, name).filter(|o| o.uid() == uid).cloned()
        };
        let account = lives(ACCOUNTS, bound.get("serviceaccount")?)?;
        if let Some(pod) = bound.get("pod") {
            lives(kinds::pod::PODS, pod)?;
        }
        let meant = claims.get("aud").map(texts).unwrap_or_default();
        Some(Holder {
            caller: caller(namespace, &account, extra(&claims)),
            audiences: wanted.iter().filter(|a| meant.contains(a)).cloned().collect(),
        })
    }
}

/// A text, or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let list = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    let texts = list.iter().filter_map(Value::as_str);
    texts.map(str::to_string).collect()
}
