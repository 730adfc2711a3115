//! Service account tokens: signed with the cluster's own key, believed while their account (and pod) exists.

use anyhow::{Context, Result};
use apiserver::core::Caller;
use apiserver::core::access::{Authenticator, Signer};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kinds::pod::PODS;
use kinds::serviceaccount::SERVICEACCOUNTS;
use meta::{Snapshot, Status, Timestamp};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::Value;

pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Signs and checks. ES256.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Tokens {
    pub fn new(key_pem: &str) -> Result<Self> {
        let pair = KeyPair::from_pem(key_pem).context("pki/sa.key is damaged")?;
        Ok(Self {
            encoding: EncodingKey::from_ec_der(&pair.serialize_der()),
            decoding: DecodingKey::from_ec_der(pair.der_bytes()),
        })
    }
}

impl Signer for Tokens {
    fn sign(&self, claims: &Value) -> Result<String, Status> {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &self.encoding).map_err(Status::internal)
    }

    fn issuer(&self) -> &str {
        ISSUER
    }

    fn audiences(&self) -> Vec<String> {
        vec![ISSUER.to_string()]
    }
}

impl Authenticator for Tokens {
    fn authenticate(&self, token: &str, seen: &Snapshot, now: Timestamp) -> Option<Caller> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&[ISSUER]);
        rules.set_issuer(&[ISSUER]);
        // Expiry is checked against our own clock below.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Value>(token, &self.decoding, &rules)
            .ok()?
            .claims;
        if claims.get("exp")?.as_i64()? <= now.unix_seconds() {
            return None;
        }
        let own = claims.get("kubernetes.io")?;
        let text = |pointer: &str| own.pointer(pointer).and_then(Value::as_str);
        let (namespace, name) = (text("/namespace")?, text("/serviceaccount/name")?);
        let account = seen.get(SERVICEACCOUNTS, namespace, name)?;
        if Some(account.uid()) != text("/serviceaccount/uid") {
            return None;
        }
        if let Some(pod) = text("/pod/name") {
            let live = seen.get(PODS, namespace, pod)?;
            if Some(live.uid()) != text("/pod/uid") {
                return None;
            }
        }
        Some(Caller {
            name: format!("system:serviceaccount:{namespace}:{name}"),
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
