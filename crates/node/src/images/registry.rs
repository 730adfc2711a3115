//! One registry (or mirror) over HTTP: requests with the authorization that it asks for, and what went wrong in
//! containerd's words. Source: the OCI distribution specification; the Docker token protocol.

use super::auth::Login;
use super::challenge::{Challenge, choose};
use super::hosts::{Endpoint, Scheme, is_loopback};
use super::token::{self, Wanted};
use super::trust;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use reqwest::{Client, Method, RequestBuilder, Response};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of an answer that is an error.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// What is shown of a server's own words.
const MAX_WORDS: usize = 1000;
const MAX_REDIRECTS: usize = 10;

/// Why a request got no usable answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody answered as HTTP wants it; the text is `Get "URL": why`.
    Request {
        why: String,
        passing: bool,
    },
    /// The credentials (or none) are not enough; others may be.
    Denied(String),
    NotFound(String),
    /// Any other status; `retry_after` is what the registry asks for.
    Status {
        why: String,
        passing: bool,
        retry_after: Option<Duration>,
    },
    /// The token server gave none.
    Token(Box<Trouble>),
}

impl Trouble {
    /// May be gone at the next try.
    pub fn is_passing(&self) -> bool {
        match self {
            Trouble::Request { passing, .. } | Trouble::Status { passing, .. } => *passing,
            Trouble::Token(trouble) => trouble.is_passing(),
            Trouble::Denied(_) | Trouble::NotFound(_) => false,
        }
    }

    pub fn why(&self) -> &str {
        match self {
            Trouble::Request { why, .. } | Trouble::Status { why, .. } => why,
            Trouble::Denied(why) | Trouble::NotFound(why) => why,
            Trouble::Token(trouble) => trouble.why(),
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Trouble::Status { retry_after, .. } => *retry_after,
            Trouble::Token(trouble) => trouble.retry_after(),
            _ => None,
        }
    }
}

pub(super) struct Remote {
    http: Client,
    endpoint: Endpoint,
    repository: String,
    login: Option<Login>,
    /// With `Scheme::Either`: the answer over http said that it is https.
    speaks_tls: AtomicBool,
    /// What goes into the header; set once the registry has asked.
    authorization: Mutex<Option<String>>,
    /// One fetches a token, the others wait for it.
    renewing: tokio::sync::Mutex<()>,
}

impl Remote {
    /// Blocks (it reads the trust store). The error is one message for the user.
    pub fn new(
        endpoint: Endpoint,
        repository: &str,
        login: Option<Login>,
        read_timeout: Duration,
    ) -> Result<Remote, String> {
        let tls = trust::client_config(endpoint.ca.as_deref())?;
        let mut http = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(read_timeout)
            .redirect(redirects())
            .user_agent(concat!("isopod/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&endpoint.host) {
            http = http.no_proxy(); // a proxy's loopback is another one
        }
        let http = http
            .build()
            .map_err(|e| format!("cannot set up the registry client: {}", causes(&e)))?;
        Ok(Remote {
            http,
            endpoint,
            repository: repository.to_owned(),
            login,
            speaks_tls: AtomicBool::new(false),
            authorization: Mutex::new(None),
            renewing: tokio::sync::Mutex::new(()),
        })
    }

    /// A manifest by tag or digest; `Method::HEAD` asks for its headers alone.
    pub async fn manifest(
        &self,
        method: Method,
        version: &str,
        accept: &[&str],
    ) -> Result<Response, Trouble> {
        let accept = accept.join(", ");
        let make = |request: RequestBuilder| request.header(header::ACCEPT, &accept);
        self.send(method, &format!("manifests/{version}"), &make).await
    }

    /// A blob from a byte on; 206 says that the answer begins there, 200 that it is the whole.
    pub async fn blob(&self, digest: &str, from: u64) -> Result<Response, Trouble> {
        let make = |request: RequestBuilder| match from {
            0 => request,
            from => request.header(header::RANGE, format!("bytes={from}-")),
        };
        self.send(Method::GET, &format!("blobs/{digest}"), &make).await
    }

    /// containerd's words for what a token server gives.
    pub fn token_kind(&self) -> &'static str {
        match self.login {
            None => "anonymous",
            Some(_) => "oauth",
        }
    }

    fn is_https(&self) -> bool {
        match self.endpoint.scheme {
            Scheme::Https => true,
            Scheme::Http => false,
            Scheme::Either => self.speaks_tls.load(Ordering::Relaxed),
        }
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.is_https() { "https" } else { "http" };
        let (host, repository) = (&self.endpoint.host, &self.repository);
        match &self.endpoint.mirror_of {
            Some(registry) => format!("{scheme}://{host}/v2/{repository}/{path}?ns={registry}"),
            None => format!("{scheme}://{host}/v2/{repository}/{path}"),
        }
    }

    /// Sends; answers one refusal with the authorization that it asks for.
    async fn send(
        &self,
        method: Method,
        path: &str,
        make: &(dyn Fn(RequestBuilder) -> RequestBuilder + Sync),
    ) -> Result<Response, Trouble> {
        let mut refused = false;
        loop {
            let url = self.url(path);
            let sent_with = self.known_authorization();
            let mut request = make(self.http.request(method.clone(), &url));
            if let Some(authorization) = &sent_with {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let answer = match request.send().await {
                Ok(answer) => answer,
                // A server of TLS answers plain http with an alert, which is no HTTP.
                Err(error) if self.may_speak_tls() && is_no_http(&error) => {
                    self.speaks_tls.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(error) => return Err(self.unanswered(&method, &url, &error)),
            };
            if answer.status().is_success() {
                return Ok(answer);
            }
            let (status, headers) = (answer.status(), answer.headers().clone());
            let words = words(answer).await;
            if status == StatusCode::BAD_REQUEST && self.may_speak_tls() && words.contains("HTTPS") {
                self.speaks_tls.store(true, Ordering::Relaxed);
                continue;
            }
            let what = unexpected(&method, &url, status, &words);
            if status != StatusCode::UNAUTHORIZED {
                return Err(trouble(status, &headers, what));
            }
            let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
            let challenge = choose(challenges.filter_map(|value| value.to_str().ok()));
            if refused {
                return Err(Trouble::Denied(denied(challenge.as_ref(), what)));
            }
            refused = true;
            self.authorize(sent_with, challenge, what).await?;
        }
    }

    /// Once only: the answer to the first request decides.
    fn may_speak_tls(&self) -> bool {
        self.endpoint.scheme == Scheme::Either && !self.speaks_tls.load(Ordering::Relaxed)
    }

    fn known_authorization(&self) -> Option<String> {
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Gets what the registry asks for, unless another request did so since this one was sent.
    async fn authorize(
        &self,
        sent_with: Option<String>,
        challenge: Option<Challenge>,
        what: String,
    ) -> Result<(), Trouble> {
        let _one = self.renewing.lock().await;
        if self.known_authorization() != sent_with {
            return Ok(());
        }
        let value = match (&challenge, &self.login) {
            (None, _) => return Err(Trouble::Denied(denied(None, what))),
            (Some(Challenge::Bearer { .. }), Some(Login::Bearer(token))) => format!("Bearer {token}"),
            (Some(Challenge::Basic), Some(Login::Basic { username, password })) => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
            }
            (Some(Challenge::Basic), _) => {
                return Err(Trouble::Denied(denied(
                    challenge.as_ref(),
                    "no basic auth credentials".to_owned(),
                )));
            }
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scopes,
                    ..
                }),
                login,
            ) => {
                let wanted = Wanted {
                    realm,
                    service: service.as_deref(),
                    scopes: token::scopes(&self.repository, scopes),
                    login: login.as_ref(),
                    from_https: self.is_https(),
                };
                format!("Bearer {}", token::fetch(&self.http, &wanted).await?)
            }
        };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    fn unanswered(&self, method: &Method, url: &str, error: &reqwest::Error) -> Trouble {
        no_answer(method, url, &self.endpoint.name, error)
    }
}

/// Within one scheme, or up to https. Authorization goes along only to the same host and port (reqwest sees to it).
fn redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let falls_back = attempt.url().scheme() == "http"
            && attempt
                .previous()
                .last()
                .is_some_and(|from| from.scheme() == "https");
        if falls_back {
            let to = attempt.url().host_str().unwrap_or_default().to_owned();
            return attempt.error(format!(
                "redirected from https to plain http on {to}, which is refused"
            ));
        }
        match attempt.previous().len() > MAX_REDIRECTS {
            true => attempt.error(format!("stopped after {MAX_REDIRECTS} redirects")),
            false => attempt.follow(),
        }
    })
}

/// The end of what failed for want of credentials.
fn denied(challenge: Option<&Challenge>, what: String) -> String {
    const DENIED: &str = "pull access denied, repository does not exist or may require authorization: ";
    match challenge {
        Some(Challenge::Bearer {
            error: Some(error), ..
        }) => format!("{DENIED}server message: {error}: authorization failed"),
        Some(_) => format!("{DENIED}authorization failed: {what}"),
        None => what,
    }
}

/// What an answer's status means.
pub(super) fn trouble(status: StatusCode, headers: &HeaderMap, why: String) -> Trouble {
    match status.as_u16() {
        404 => Trouble::NotFound(why),
        401 | 403 => Trouble::Denied(why),
        code => Trouble::Status {
            why,
            passing: matches!(code, 408 | 429 | 500 | 502..=504),
            retry_after: headers
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs),
        },
    }
}

pub(super) fn unexpected(method: &Method, url: &str, status: StatusCode, words: &str) -> String {
    let text = format!("unexpected status from {method} request to {url}: {status}");
    match words {
        "" => text,
        words => format!("{text} - Server message: {words}"),
    }
}

pub(super) fn no_answer(method: &Method, url: &str, host: &str, error: &reqwest::Error) -> Trouble {
    let verb = match *method {
        Method::HEAD => "Head",
        Method::POST => "Post",
        _ => "Get",
    };
    let tls = tls_error(error);
    let why = match tls {
        Some(tls) => trust::explain(tls, host),
        None if error.is_timeout() && error.is_connect() => {
            format!(
                "no connection within {} s: i/o timeout",
                CONNECT_TIMEOUT.as_secs()
            )
        }
        None if error.is_timeout() => "the registry went silent: i/o timeout".to_owned(),
        None => causes(error),
    };
    Trouble::Request {
        why: format!("{verb} \"{url}\": {why}"),
        passing: tls.is_none() && !error.is_connect() && !error.is_builder() && !error.is_redirect(),
    }
}

fn is_no_http(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// An `io::Error` hides what it wraps from `source`.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// The chain of causes on one line, without the client library's own layers, which say nothing to a user.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let line = error.to_string();
        let is_layer = error.is::<reqwest::Error>() || error.is::<hyper_util::client::legacy::Error>();
        next = error.source();
        if (is_layer && next.is_some()) || text.ends_with(&line) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&line);
    }
    text
}

/// An answer's body, of one that is longer than `limit` bytes a piece that is too; what came of one that was cut short, and
/// the error that did it.
pub(super) async fn body_up_to(answer: &mut Response, limit: usize) -> (Vec<u8>, reqwest::Result<()>) {
    let mut body = Vec::new();
    while body.len() <= limit {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return (body, Err(error)),
        }
    }
    (body, Ok(()))
}

/// What a registry or token server says in an error's body: codes and messages, or its first line of text.
pub(super) async fn words(mut answer: Response) -> String {
    let (body, end) = body_up_to(&mut answer, MAX_ERROR_BYTES).await;
    if let Err(error) = end {
        tracing::debug!(%error, "an error's body was cut short");
    }
    let text = match serde_json::from_slice(&body) {
        Ok(json) => json_words(&json),
        Err(_) => {
            let text = String::from_utf8_lossy(&body);
            match text.trim_start().starts_with('<') {
                true => String::new(), // a page for browsers
                false => text.lines().next().unwrap_or_default().trim().to_owned(),
            }
        }
    };
    text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}

fn json_words(json: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value, key: &str| {
        let text = value.get(key).and_then(serde_json::Value::as_str);
        text.map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    if let Some(errors) = json.get("errors").and_then(serde_json::Value::as_array) {
        let lines = errors.iter().filter_map(|error| {
            let code = text(error, "code").map(|code| code.to_lowercase().replace('_', " "));
            match (code, text(error, "message")) {
                (Some(code), Some(message)) => Some(format!("{code}: {message}")),
                (code, message) => code.or(message),
            }
        });
        return lines.collect::<Vec<_>>().join("; ");
    }
    ["error_description", "details", "message", "detail", "error"]
        .iter()
        .find_map(|key| text(json, key))
        .unwrap_or_default()
}
