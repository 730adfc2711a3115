//! Registries with tokens, as Docker Hub, GitHub, Quay and the clouds have them: a real registry that believes a token
//! server of the test, both over TLS.

use super::nothing;
use super::registry::{Guard, Registry};
use super::stub::{Answer, Asked, Stub, answer};
use super::tls::{Authority, Identity, trusting};
use crate::images::Scratch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use node::images::auth::Credentials;
use node::images::{Error, Images, PullError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// Gives tokens for `public/…` to anybody, and for all to `team` with `secret` or an identity token.
struct Tokens {
    stub: Stub,
    /// What the registry is told, under `auth: token:`.
    config: String,
    _scratch: Scratch,
}

fn tls_server(identity: &Identity) -> Arc<rustls::ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth();
    Arc::new(
        config
            .with_single_cert(vec![certificate], key)
            .expect("an identity"),
    )
}

/// Signs as the registry wants it: the certificate of the key goes along.
fn sign(signer: &Identity, access: serde_json::Value) -> String {
    let certificate = CertificateDer::from_pem_slice(signer.certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(signer.key.as_bytes()).expect("a key");
    let header = Header {
        x5c: Some(vec![STANDARD.encode(&certificate)]),
        ..Header::new(Algorithm::ES256)
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let claims = json!({"iss": "test issuer", "sub": "someone", "aud": "test registry", "exp": now + 300, "nbf": now - 10,
        "iat": now, "jti": "1", "access": access});
    encode(&header, &claims, &EncodingKey::from_ec_der(key.secret_der())).expect("a token")
}

fn grant(signer: &Identity, asked: &Asked) -> Answer {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    assert_eq!(path, "/token");
    let fields = if asked.method == "POST" {
        &asked.body
    } else {
        query
    };
    let fields: HashMap<String, String> = url::form_urlencoded::parse(fields.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(fields["service"], "test registry");
    let known = match (asked.method.as_str(), asked.authorization()) {
        ("POST", None) => fields["grant_type"] == "refresh_token" && fields["refresh_token"] == "identity",
        ("GET", Some(basic)) => {
            basic == format!("Basic {}", STANDARD.encode("team:secret")) && fields["account"] == "team"
        }
        _ => false,
    };
    if !known && (asked.method == "POST" || asked.authorization().is_some()) {
        return answer(401, r#"{"details":"incorrect username or password"}"#);
    }
    let parts: Vec<&str> = fields["scope"].split(':').collect();
    let repository = parts[1];
    let access = match known || repository.starts_with("public/") {
        true => json!([{"type": "repository", "name": repository, "actions": ["pull"]}]),
        false => json!([]),
    };
    let key = if asked.method == "POST" {
        "access_token"
    } else {
        "token"
    };
    answer(
        200,
        json!({key: sign(signer, access), "expires_in": 300}).to_string(),
    )
}

impl Tokens {
    async fn start(tls: &Identity) -> Tokens {
        let scratch = Scratch::new();
        let signer = Authority::new();
        let bundle = scratch.path().join("signers.pem");
        std::fs::write(&bundle, &signer.pem).expect("write");
        let signer = signer.identity(&["token server"], |_| {});
        let stub = Stub::start(Some(tls_server(tls)), move |asked, _| Some(grant(&signer, asked))).await;
        let config = format!(
            "    realm: https://{}/token\n    service: test registry\n    issuer: test issuer\n    rootcertbundle: {}\n",
            stub.host,
            bundle.display()
        );
        Tokens {
            stub,
            config,
            _scratch: scratch,
        }
    }
}

struct World {
    registry: Registry,
    tokens: Tokens,
    images: Images,
    _scratch: Scratch,
}

async fn world() -> Option<World> {
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1"], |_| {});
    let tokens = Tokens::start(&identity).await;
    let registry = Registry::guarded(&Guard {
        tls: Some((&identity.certificate, &identity.key)),
        token: Some(tokens.config.clone()),
        ..Guard::default()
    })?;
    for name in ["public/app:1", "private/app:1"] {
        registry.push(name, name).await;
    }
    let scratch = Scratch::new();
    let images = trusting(scratch.path(), &registry.host, &authority.pem);
    Some(World {
        registry,
        tokens,
        images,
        _scratch: scratch,
    })
}

impl World {
    async fn pull(&self, repository: &str, login: serde_json::Value) -> Result<node::images::Image, Error> {
        let login = json!({"auths": {self.registry.host.clone(): login}});
        let login = Credentials::parse(login.to_string().as_bytes()).expect("parse");
        let name = format!("{}/{repository}:1", self.registry.host);
        self.images.pull(&name, &login, &nothing).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_gets_what_is_public_and_nothing_else() {
    let Some(world) = world().await else {
        return;
    };
    world.pull("public/app", json!({})).await.expect("public");
    let asked = world.tokens.stub.asked();
    assert_eq!(asked.len(), 1, "one token for manifest and blobs");
    assert_eq!(
        asked[0].path,
        "/token?service=test+registry&scope=repository%3Apublic%2Fapp%3Apull"
    );
    let error = world.pull("private/app", json!({})).await.expect_err("private");
    let name = format!("{}/private/app:1", world.registry.host);
    assert_eq!(
        error.to_string(),
        format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": pull access denied, repository does \
             not exist or may require authorization: server message: insufficient_scope: authorization failed"
        )
    );
    assert!(matches!(error, Error::Pull(PullError::Denied { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_become_tokens() {
    let Some(world) = world().await else {
        return;
    };
    for login in [
        json!({"username": "team", "password": "secret"}),
        json!({"auth": STANDARD.encode("team:secret")}),
        json!({"username": "00000000-0000-0000-0000-000000000000", "identitytoken": "identity"}),
    ] {
        world.pull("private/app", login).await.expect("pull");
    }
    let methods: Vec<String> = world
        .tokens
        .stub
        .asked()
        .iter()
        .map(|asked| asked.method.clone())
        .collect();
    assert_eq!(methods, ["GET", "GET", "POST"], "one token each");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_named_and_never_shown() {
    let Some(world) = world().await else {
        return;
    };
    let server = world.tokens.stub.host.clone();
    for (repository, login, asked) in [
        // A public repository as well: kubelet does not fall back to nobody either.
        (
            "public/app",
            json!({"username": "team", "password": "guess-1"}),
            "GET",
        ),
        ("private/app", json!({"identitytoken": "guess-2"}), "POST"),
    ] {
        let text = world
            .pull(repository, login)
            .await
            .expect_err("refused")
            .to_string();
        let start = format!(
            "failed to authorize: failed to fetch oauth token: unexpected status from {asked} request to https://{server}/token"
        );
        assert!(text.contains(&start), "{text}");
        assert!(
            text.ends_with(": 401 Unauthorized - Server message: incorrect username or password"),
            "{text}"
        );
        assert!(!text.contains("guess"), "{text}");
    }
}
