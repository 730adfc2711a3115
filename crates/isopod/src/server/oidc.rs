//! The keys of an OpenID Connect issuer: fetched when the server starts, and again when a token comes whose key is not
//! known. A failed try waits for the next such token.

use anyhow::{Context, Result, anyhow};
use apiserver::oidc::Oidc;
use jsonwebtoken::jwk::JwkSet;
use reqwest::Client;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(30);
/// Between two fetches, however many tokens with unknown keys come.
const PAUSE: Duration = Duration::from_secs(1);
/// Discovery documents and key sets are small.
const MAX_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

pub async fn keep_keys(oidc: Arc<Oidc>, stop: CancellationToken) {
    let wanted = oidc.wants_keys();
    loop {
        let issuer = &oidc.settings().issuer_url;
        match fetch(&oidc).await {
            Ok(keys) => oidc.set_keys(keys),
            Err(error) => tracing::warn!("the keys of {issuer} could not be fetched: {error:#}"),
        }
        let again = async {
            // pause: an issuer is not to be asked at the pace at which strangers send tokens
            tokio::time::sleep(PAUSE).await;
            wanted.notified().await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = again => {}
        }
    }
}

async fn fetch(oidc: &Oidc) -> Result<JwkSet> {
    let settings = oidc.settings();
    let ca = settings.ca_file.clone();
    let tls = tokio::task::spawn_blocking(move || node::images::trust_with(ca.as_deref())).await?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls.map_err(|why| anyhow!(why))?)
        .timeout(LIMIT)
        .https_only(true)
        .user_agent(concat!("isopod/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let root = settings.issuer_url.trim_end_matches('/');
    let url = format!("{root}/.well-known/openid-configuration");
    let found: Discovery = json(&client, &url).await?;
    if found.issuer != settings.issuer_url {
        return Err(anyhow!("{url} is about another issuer: {}", found.issuer));
    }
    json(&client, &found.jwks_uri).await
}

async fn json<T: serde::de::DeserializeOwned>(client: &Client, url: &str) -> Result<T> {
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > MAX_BYTES {
            return Err(anyhow!("{url} answers with more than {MAX_BYTES} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body).with_context(|| format!("{url} is not what it should be"))
}
