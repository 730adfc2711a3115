//! Service account tokens: signed with the cluster's own key, and believed while the account (and the pod that they are
//! bound to) is there.

use crate::core::Caller;
use crate::core::access::{Authenticator, Signer};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use meta::{Res, Snapshot, Status, Timestamp};
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

    /// The claims of a token that is ours, for us, and within its time.
    fn claims(&self, token: &str, now: Timestamp) -> Option<Value> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&self.audiences);
        // The clock is an argument here: both times are checked below.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        let claims = decode::<Value>(token, &self.check, &rules).ok()?.claims;
        let time = |name: &str| claims.get(name).and_then(Value::as_i64);
        let now = now.unix_seconds();
        let fits = time("exp")? > now && time("nbf").is_none_or(|t| t <= now);
        fits.then_some(claims)
    }
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
    fn authenticate(&self, token: &str, seen: &Snapshot, now: Timestamp) -> Option<Caller> {
        let claims = self.claims(token, now)?;
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
        Some(Caller {
            name: format!("system:serviceaccount:{namespace}:{}", account.name()),
            uid: account.uid().to_string(),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            agent: String::new(),
        })
    }
}
