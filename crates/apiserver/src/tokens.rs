//! Service account tokens: signed with the cluster's own key, and believed while the account (and what they are bound to)
//! is there. Others can check them too: the public key is served. Source: "Managing Service Accounts"; KEP-1393.

use crate::core::Caller;
use crate::core::access::{Authenticator, Holder, Signer, Unknown};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use kinds::rbac::rule::quoted;
use kinds::review::Extra;
use meta::{Object, Res, Snapshot, Status, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ACCOUNTS: Res = kinds::serviceaccount::SERVICEACCOUNTS;
const INVALIDATED: &str = "service account token has been invalidated";
/// Clocks may differ by this.
const LEEWAY_SECONDS: i64 = 60;
/// What stands before the point of a P-256 key in its `SubjectPublicKeyInfo`.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of a coordinate.
const COORDINATE: usize = 32;

/// Signs and checks with one P-256 key (ES256).
pub struct Tokens {
    sign: EncodingKey,
    check: DecodingKey,
    /// The key's name in headers of tokens: a digest, from which the key cannot be told.
    id: String,
    /// The key for others (JWK).
    public: Value,
    issuer: String,
    audiences: Vec<String>,
}

impl Tokens {
    /// The private key in PKCS #8 (DER), the public one as its uncompressed point (`KeyPair::public_key_raw`).
    pub fn new(private_der: &[u8], public_point: &[u8], issuer: &str, audiences: Vec<String>) -> Self {
        let digest = Sha256::digest([&P256_HEAD, public_point].concat());
        let id = URL_SAFE_NO_PAD.encode(digest);
        let (x, y) = public_point
            .get(1..)
            .and_then(|point| point.split_at_checked(COORDINATE))
            .unwrap_or_default();
        let public = json!({
            "use": "sig", "kty": "EC", "kid": id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        Self {
            sign: EncodingKey::from_ec_der(private_der),
            check: DecodingKey::from_ec_der(public_point),
            id,
            public,
            issuer: issuer.to_string(),
            audiences,
        }
    }

    /// The claims of a token that this key signed.
    fn claims(&self, token: &str) -> Result<Value, Unknown> {
        let invalid = |why: &str| Unknown::Invalid(why.to_string());
        let broken = || invalid("go-jose/go-jose: error in cryptographic primitive");
        let header = decode_header(token).map_err(|_| broken())?;
        if header.kid.is_some_and(|id| id != self.id) {
            return Err(invalid("invalid signature, no keys found"));
        }
        let mut rules = Validation::new(Algorithm::ES256);
        // The clock is an argument here, and audiences have words of their own: both are checked by the caller.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        rules.set_required_spec_claims(&["iss"]);
        match decode::<Value>(token, &self.check, &rules) {
            Ok(token) => Ok(token.claims),
            Err(_) => Err(broken()),
        }
    }

    /// Whom a token of a Secret names: one without an end, which lives with its Secret.
    fn of_secret(&self, token: &str, seen: &Snapshot) -> Result<Caller, Unknown> {
        let claims = self.claims(token)?;
        let found = kinds::secret::account_of_token(token, &claims, seen);
        let (namespace, account) =
            found.ok_or_else(|| Unknown::Invalid("Token has been invalidated".into()))?;
        Ok(caller(&namespace, &account, Extra::new()))
    }

    /// Whom the claims of a token of ours name, now.
    fn named(claims: &Value, seen: &Snapshot, now: Timestamp) -> Result<Caller, String> {
        check_times(claims, now)?;
        let bound = &claims["kubernetes.io"];
        let namespace = text(bound, "/namespace");
        let (name, uid) = (
            text(bound, "/serviceaccount/name"),
            text(bound, "/serviceaccount/uid"),
        );
        let account = seen.get(ACCOUNTS, namespace, name);
        let account = account.ok_or_else(|| Status::not_found(ACCOUNTS, name).message)?;
        if account.uid() != uid {
            return Err(format!(
                "service account UID ({}) does not match claim ({uid})",
                account.uid()
            ));
        }
        if is_past(account, now) {
            return Err(format!("service account {namespace}/{name} has been deleted"));
        }
        let lives = |res: Res, namespace: &str, kind: &str| match bound.get(kind) {
            None => Ok(()),
            Some(reference) => alive(seen, res, namespace, kind, reference, now),
        };
        lives(kinds::secret::SECRETS, namespace, "secret")?;
        lives(kinds::pod::PODS, namespace, "pod")?;
        if bound.get("pod").is_none() {
            lives(kinds::node::NODES, "", "node")?;
        }
        Ok(caller(namespace, account, extra(claims)))
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn check_times(claims: &Value, now: Timestamp) -> Result<(), String> {
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    let now = now.unix_seconds();
    if time("nbf").is_some_and(|t| now + LEEWAY_SECONDS < t) {
        return Err("service account token is not valid yet".into());
    }
    if time("exp").is_none_or(|t| now - LEEWAY_SECONDS > t) {
        return Err("service account token has expired".into());
    }
    if time("iat").is_some_and(|t| now + LEEWAY_SECONDS < t) {
        return Err("service account token is issued in the future".into());
    }
    Ok(())
}

/// It was to be gone by now.
fn is_past(object: &Object, now: Timestamp) -> bool {
    let past = now.plus_seconds(-LEEWAY_SECONDS);
    object.meta().deleted.is_some_and(|deleted| deleted < past)
}

/// Whether what a token is bound to is there.
fn alive(
    seen: &Snapshot,
    res: Res,
    namespace: &str,
    kind: &str,
    reference: &Value,
    now: Timestamp,
) -> Result<(), String> {
    let uid = text(reference, "/uid");
    let object = seen.get(res, namespace, text(reference, "/name"));
    let object = object.ok_or_else(|| INVALIDATED.to_string())?;
    if object.uid() != uid {
        return Err(format!(
            "{kind} UID ({}) does not match service account {kind} ref claim ({uid})",
            object.uid()
        ));
    }
    match is_past(object, now) {
        true => Err(INVALIDATED.to_string()),
        false => Ok(()),
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
        let header = Header {
            typ: None,
            kid: Some(self.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        encode(&header, claims, &self.sign).map_err(Status::internal)
    }

    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn audiences(&self) -> Vec<String> {
        self.audiences.clone()
    }

    fn public_keys(&self) -> Value {
        json!({"keys": [self.public]})
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
        let wanted = match audiences {
            [] => &self.audiences,
            asked => asked,
        };
        let common = |meant: &[String]| -> Vec<String> {
            wanted.iter().filter(|a| meant.contains(a)).cloned().collect()
        };
        let misses = |meant: &[String]| {
            Unknown::Invalid(format!(
                "token audiences {} is invalid for the target audiences {}",
                quoted(meant),
                quoted(wanted)
            ))
        };
        match claimed_issuer(token) {
            Some(issuer) if issuer == kinds::secret::TOKEN_ISSUER => {
                let caller = self.of_secret(token, seen)?;
                // Such a token is for the server itself, whatever it is called.
                match common(&self.audiences) {
                    none if none.is_empty() => Err(misses(&self.audiences)),
                    audiences => Ok(Holder { caller, audiences }),
                }
            }
            Some(issuer) if issuer == self.issuer => {
                let claims = self.claims(token)?;
                let meant = claims.get("aud").map(texts).unwrap_or_default();
                let audiences = common(&meant);
                if audiences.is_empty() {
                    return Err(misses(&meant));
                }
                let caller = Self::named(&claims, seen, now).map_err(Unknown::Invalid)?;
                Ok(Holder { caller, audiences })
            }
            _ => Err(Unknown::Foreign),
        }
    }
}

/// Who is said to have issued a token: not checked, and only to find the one who checks it.
pub fn claimed_issuer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(claims.get("iss")?.as_str()?.to_string())
}

/// A text, or a list of them.
pub fn texts(value: &Value) -> Vec<String> {
    let list = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    let texts = list.iter().filter_map(Value::as_str);
    texts.map(str::to_string).collect()
}
