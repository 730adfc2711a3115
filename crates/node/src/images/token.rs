//! Tokens of registries: from the token server that a registry names, by user and password, by an identity token,
//! or for anybody. Source: the distribution project's specifications of token and OAuth2 authentication.

use super::auth::Login;
use super::hosts::is_loopback;
use super::registry::{Trouble, body_up_to, no_answer, trouble, unexpected, words};
use reqwest::{Client, Method, Response};
use serde::Deserialize;
use std::time::Duration;

const CLIENT_ID: &str = "isopod";
/// Of the whole answer; tokens have a few kB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a token is asked for.
pub(super) struct Wanted<'a> {
    pub realm: &'a str,
    pub service: Option<&'a str>,
    pub scopes: Vec<String>,
    pub login: Option<&'a Login>,
    /// The registry itself is reached over https.
    pub from_https: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// To pull from the repository, and whatever else the registry asked for.
pub(super) fn scopes(repository: &str, asked: &[String]) -> Vec<String> {
    let mut scopes = vec![format!("repository:{repository}:pull")];
    for scope in asked {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    scopes
}

pub(super) async fn fetch(http: &Client, wanted: &Wanted<'_>) -> Result<String, Trouble> {
    let named = |trouble: Trouble| Trouble::Token(Box::new(trouble));
    let fixed = |why: String| {
        named(Trouble::Status {
            why,
            passing: false,
            retry_after: None,
        })
    };
    let realm = url::Url::parse(wanted.realm)
        .ok()
        .filter(|realm| matches!(realm.scheme(), "http" | "https") && realm.host_str().is_some());
    let Some(realm) = realm else {
        return Err(fixed(format!(
            "the registry's token server {:?} is no http(s) URL",
            wanted.realm
        )));
    };
    let host = realm.host_str().unwrap_or_default().to_owned();
    if wanted.login.is_some() && wanted.from_https && realm.scheme() == "http" && !is_loopback(&host) {
        return Err(fixed(format!(
            "the registry's token server {realm} is plain http, where credentials could be read on the way"
        )));
    }
    let (method, url, answer) = ask(http, wanted, realm).await;
    let answer = answer.map_err(|error| named(no_answer(&method, &url, &host, &error)))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    if !status.is_success() {
        let why = unexpected(&method, &url, status, &words(answer).await);
        return Err(named(trouble(status, &headers, why)));
    }
    let body = read(answer)
        .await
        .map_err(|error| named(no_answer(&method, &url, &host, &error)))?;
    let token = serde_json::from_slice::<Answer>(&body).ok().and_then(|answer| {
        let filled = |token: Option<String>| token.filter(|token| !token.is_empty());
        filled(answer.token).or(filled(answer.access_token))
    });
    match token {
        Some(token) if token.bytes().all(|b| (b' '..=b'~').contains(&b)) => Ok(token),
        _ => Err(fixed(format!("the answer of {url} has no token"))),
    }
}

/// The URL is as messages show it: with what was asked, without secrets.
async fn ask(
    http: &Client,
    wanted: &Wanted<'_>,
    mut realm: url::Url,
) -> (Method, String, reqwest::Result<Response>) {
    let service = wanted.service.map(|service| ("service", service));
    if let Some(Login::Identity(identity)) = wanted.login {
        let scopes = wanted.scopes.join(" ");
        let form: Vec<(&str, &str)> = [
            ("grant_type", "refresh_token"),
            ("refresh_token", identity),
            ("scope", &scopes),
            ("client_id", CLIENT_ID),
        ]
        .into_iter()
        .chain(service)
        .collect();
        let request = http.post(realm.clone()).form(&form).timeout(TIMEOUT);
        return (Method::POST, realm.to_string(), request.send().await);
    }
    realm
        .query_pairs_mut()
        .extend_pairs(service)
        .extend_pairs(wanted.scopes.iter().map(|scope| ("scope", scope)));
    let mut request = match wanted.login {
        Some(Login::Basic { username, password }) => {
            realm.query_pairs_mut().append_pair("account", username);
            http.get(realm.clone()).basic_auth(username, Some(password))
        }
        _ => http.get(realm.clone()),
    };
    request = request.timeout(TIMEOUT);
    (Method::GET, realm.to_string(), request.send().await)
}

async fn read(mut answer: Response) -> reqwest::Result<Vec<u8>> {
    let (body, end) = body_up_to(&mut answer, MAX_ANSWER_BYTES).await;
    end?;
    Ok(body)
}
