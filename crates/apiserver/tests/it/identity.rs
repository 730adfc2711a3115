//! Who somebody is: service account tokens and what they die with, bootstrap tokens, ID tokens of an issuer, and the keys
//! that others check our tokens with.

use crate::world::World;
use apiserver::http::Peer;
use apiserver::oidc::{Oidc, Settings};
use apiserver::{BootstrapTokens, Signer, Tokens};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;

const OURS: &str = "https://kubernetes.default.svc";
const THEIRS: &str = "https://id.example";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// 2026-01-02T03:04:05Z, which it is in these worlds.
const NOW: i64 = 1_767_323_045;

fn tokens(issuer: &str) -> Arc<Tokens> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let audiences = vec!["api".to_string()];
    Arc::new(Tokens::new(
        &key.serialize_der(),
        key.public_key_raw(),
        issuer,
        audiences,
    ))
}

/// Our own tokens, bootstrap tokens, and those of another issuer that signs with `theirs`.
async fn world(ours: &Arc<Tokens>, theirs: &Tokens) -> World {
    let settings = json!({
        "issuer-url": THEIRS, "client-id": "isopod", "groups-claim": "groups", "groups-prefix": "id:",
        "signing-algs": ["ES256"], "required-claims": {"tenant": "a"},
    });
    let settings: Settings = serde_json::from_value(settings).expect("settings");
    let oidc = Oidc::new(settings, ours.audiences()).expect("good settings");
    oidc.set_keys(serde_json::from_value(theirs.public_keys()).expect("a key set"));
    let bootstrap = BootstrapTokens {
        audiences: ours.audiences(),
    };
    World::with_authenticators(
        ours.clone(),
        vec![ours.clone(), Arc::new(bootstrap), Arc::new(oidc)],
    )
    .await
}

/// What a review says of a token.
async fn review(world: &World, token: &str) -> String {
    let (code, answer) = world
        .json("POST", REVIEWS, &json!({"spec": {"token": token}}))
        .await;
    assert_eq!(code, 201, "{answer}");
    match answer["status"]["error"].as_str() {
        Some(why) => why.to_string(),
        None => answer["status"]["user"].to_string(),
    }
}

#[tokio::test]
async fn bound_tokens_die_with_what_they_are_bound_to() {
    let (ours, theirs) = (tokens(OURS), tokens(THEIRS));
    let world = world(&ours, &theirs).await;
    let space = "/api/v1/namespaces/default";
    let made = async |kind: &str, object: Value| {
        let (code, answer) = world.json("POST", &format!("{space}/{kind}"), &object).await;
        assert_eq!(code, 201, "{answer}");
        answer
    };
    made("serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    made("serviceaccounts", json!({"metadata": {"name": "other"}})).await;
    made("secrets", json!({"metadata": {"name": "s"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "robot", "containers": [{"name": "a", "image": "a"}]}});
    made("pods", pod).await;
    let asked = async |account: &str, spec: Value| {
        let path = format!("{space}/serviceaccounts/{account}/token");
        let (code, answer) = world.json("POST", &path, &json!({"spec": spec})).await;
        match code {
            201 => answer["status"]["token"].as_str().unwrap_or_default().to_string(),
            _ => answer["message"].as_str().unwrap_or_default().to_string(),
        }
    };
    let bound =
        |kind: &str, name: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}});
    let mut lines = Vec::new();
    lines.push(asked("other", bound("Pod", "p")).await);
    lines.push(asked("robot", bound("ConfigMap", "p")).await);
    lines.push(asked("robot", bound("Secret", "gone")).await);
    lines.push(asked("robot", json!({"expirationSeconds": 9})).await);
    let (of_pod, of_secret) = (
        asked("robot", bound("Pod", "p")).await,
        asked("robot", bound("Secret", "s")).await,
    );
    let elsewhere = asked("robot", json!({"audiences": ["vault"]})).await;
    let uids = |text: String| {
        let (_, claims) = text.split_once("JTI=").unwrap_or(("", ""));
        let jti = claims.split('"').next().unwrap_or_default().to_string();
        match jti.is_empty() {
            true => text,
            false => text.replace(&jti, "(id)"),
        }
    };
    lines.push(uids(review(&world, &of_pod).await));
    lines.push(review(&world, &elsewhere).await);
    for path in ["pods/p?gracePeriodSeconds=0", "secrets/s"] {
        world
            .json("DELETE", &format!("{space}/{path}"), &Value::Null)
            .await;
    }
    lines.push(review(&world, &of_pod).await);
    lines.push(review(&world, &of_secret).await);
    let account = json!({"namespace": "default", "serviceaccount": {"name": "robot", "uid": "x"}});
    for (exp, nbf) in [(NOW - 61, 0), (NOW + 60, NOW + 61), (NOW + 60, NOW)] {
        let claims = json!({"iss": OURS, "aud": ["api"], "exp": exp, "nbf": nbf, "kubernetes.io": account});
        let token = ours.sign(&claims).expect("a token");
        let said = review(&world, &token).await;
        let said = said.split("UID (").next().unwrap_or_default().to_string();
        lines.push(said);
    }
    lines.push(review(&world, &format!("{of_secret}x")).await);
    lines.push(review(&world, "nonsense").await);
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn a_volumes_token_lives_longer_than_it_says() {
    let (ours, theirs) = (tokens(OURS), tokens(THEIRS));
    let world = world(&ours, &theirs).await;
    let space = "/api/v1/namespaces/default";
    world
        .json(
            "POST",
            &format!("{space}/serviceaccounts"),
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    world.json("POST", &format!("{space}/pods"), &pod).await;
    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}});
    let path = format!("{space}/serviceaccounts/default/token");
    let (code, answer) = world.json("POST", &path, &json!({"spec": spec})).await;
    assert_eq!(code, 201, "{answer}");
    let token = answer["status"]["token"].as_str().expect("a token");
    let payload = token.split('.').nth(1).expect("claims");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    let claims: Value = serde_json::from_slice(&bytes.expect("base64")).expect("JSON");
    assert_eq!(claims["exp"], NOW + 365 * 24 * 3600);
    assert_eq!(claims["kubernetes.io"]["warnafter"], NOW + 3607);
    assert_eq!(answer["status"]["expirationTimestamp"], "2026-01-02T04:04:12Z");
}

#[tokio::test]
async fn bootstrap_tokens_are_secrets_of_the_system() {
    let (ours, theirs) = (tokens(OURS), tokens(THEIRS));
    let world = world(&ours, &theirs).await;
    let secret = |name: &str, more: Value| {
        let mut data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"});
        for (key, value) in more.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        for value in data.as_object_mut().into_iter().flatten().map(|(_, value)| value) {
            *value = STANDARD.encode(value.as_str().unwrap_or_default()).into();
        }
        json!({"metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token", "data": data})
    };
    let path = "/api/v1/namespaces/kube-system/secrets";
    let token = "abcdef.0123456789abcdef";
    let mut lines = vec![review(&world, token).await];
    for more in [
        json!({"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token"}),
        json!({"auth-extra-groups": "system:masters"}),
        json!({"expiration": "2026-01-02T03:04:04Z"}),
        json!({"expiration": "2026-01-02T03:04:06Z"}),
        json!({"usage-bootstrap-authentication": "false"}),
        json!({"token-secret": "0123456789abcdee"}),
    ] {
        let object = secret("bootstrap-token-abcdef", more.clone());
        let (code, answer) = world.json("POST", path, &object).await;
        assert_eq!(code, 201, "{answer}");
        lines.push(format!("{more}: {}", review(&world, token).await));
        world
            .json("DELETE", &format!("{path}/bootstrap-token-abcdef"), &Value::Null)
            .await;
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn id_tokens_of_the_issuer_are_believed() {
    let (ours, theirs) = (tokens(OURS), tokens(THEIRS));
    let world = world(&ours, &theirs).await;
    let good = json!({"iss": THEIRS, "aud": "isopod", "sub": "jane", "exp": NOW + 60, "tenant": "a", "groups": ["devs"]});
    let mut lines = Vec::new();
    for change in [
        json!({}),
        json!({"aud": ["other"]}),
        json!({"exp": NOW - 1}),
        json!({"tenant": "b"}),
        json!({"tenant": null}),
        json!({"sub": 7}),
        json!({"iss": "https://elsewhere.example"}),
    ] {
        let mut claims = good.clone();
        for (key, value) in change.as_object().into_iter().flatten() {
            claims[key] = value.clone();
        }
        let token = theirs.sign(&claims).expect("a token");
        lines.push(format!("{change}: {}", review(&world, &token).await));
    }
    let stranger = tokens(THEIRS).sign(&good).expect("a token");
    lines.push(format!("another key: {}", review(&world, &stranger).await));
    insta::assert_snapshot!(
        lines
            .join("\n")
            .replace(&NOW.to_string(), "now")
            .replace(&(NOW - 1).to_string(), "past")
    );
    assert!(Oidc::new(bad("issuer-url", "http://id.example"), vec![]).is_err());
    assert!(Oidc::new(bad("signing-algs", "HS256"), vec![]).is_err());
}

fn bad(key: &str, value: &str) -> Settings {
    let mut settings = json!({"issuer-url": THEIRS, "client-id": "isopod"});
    settings[key] = match key {
        "signing-algs" => json!([value]),
        _ => json!(value),
    };
    serde_json::from_value(settings).expect("settings")
}

#[tokio::test]
async fn others_can_check_our_tokens() {
    let (ours, theirs) = (tokens(OURS), tokens(THEIRS));
    let world = world(&ours, &theirs).await;
    let (code, found) = world
        .json("GET", "/.well-known/openid-configuration", &Value::Null)
        .await;
    assert_eq!(code, 200);
    insta::assert_snapshot!(found.to_string());
    let (_, keys) = world.json("GET", "/openid/v1/jwks", &Value::Null).await;
    assert_eq!(keys, ours.public_keys());
    let token = ours.sign(&json!({"iss": OURS})).expect("a token");
    let header = jsonwebtoken::decode_header(&token).expect("a header");
    assert_eq!(keys["keys"][0]["kid"].as_str(), header.kid.as_deref());
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys).expect("a key set");
    let key = jsonwebtoken::DecodingKey::from_jwk(&set.keys[0]).expect("a key");
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    rules.set_required_spec_claims(&["iss"]);
    jsonwebtoken::decode::<Value>(&token, &key, &rules).expect("a good signature");
    // A service account may read them; a stranger may not.
    let request = http::Request::get("/openid/v1/jwks").body(bytes::Bytes::new());
    let stranger = Arc::new(Peer::default());
    let response = world
        .server
        .clone()
        .respond_to(stranger, request.expect("a request"))
        .await;
    assert_eq!(response.status(), 403);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("cannot get path \\\"/openid/v1/jwks\\\""));
}
