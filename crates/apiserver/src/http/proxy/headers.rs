//! Headers on their way through the proxy: what belongs to one connection stays on it, and credentials stay here.

use super::links::Links;
use crate::http::Peer;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONNECTION, COOKIE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TE, UPGRADE,
};
use http::request::Parts;
use meta::Status;

/// Headers of one connection, besides those that `Connection` names. Source: RFC 9110, 7.6.1.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Who may read the API's answers from other sites is not for a pod to say.
const CROSS_ORIGIN: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];
/// A token for a browser's WebSocket, which cannot send headers.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
/// How proxies in front of the API name the user.
const REMOTE: &str = "x-remote-";
const IMPERSONATE: &str = "impersonate-";

pub fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && words(headers, &CONNECTION).any(|w| w.eq_ignore_ascii_case("upgrade"))
}

/// The host that the client asked for.
pub fn host(parts: &Parts) -> String {
    let header = parts.headers.get(HOST).and_then(|v| v.to_str().ok());
    let host = header.or(parts.uri.authority().map(|a| a.as_str()));
    host.unwrap_or_default().to_string()
}

/// Makes a client's headers those of the request to the pod.
pub fn forward(
    parts: &mut Parts,
    peer: &Peer,
    links: &Links,
    tail: &str,
    upgrades: bool,
) -> Result<(), Status> {
    let headers = &mut parts.headers;
    let upgrade = headers.get(UPGRADE).cloned().filter(|_| upgrades);
    let trailers = words(headers, &TE).any(|w| w.eq_ignore_ascii_case("trailers"));
    hop_ends(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // It was answered here.
    headers.remove(EXPECT);
    without_credentials(headers);
    let value = |text: &str| HeaderValue::from_str(text).map_err(|e| Status::bad_request(e.to_string()));
    if !links.asked.is_empty() {
        headers.insert(HOST, value(&links.asked)?);
    }
    let path = if tail.is_empty() { "/" } else { tail };
    headers.insert("x-forwarded-uri", value(&format!("{}{path}", links.base))?);
    if let Some(address) = peer.address {
        let known: Vec<&str> = words(headers, &HeaderName::from_static("x-forwarded-for")).collect();
        let all = known.into_iter().map(str::to_string).chain([address.to_string()]);
        let all = value(&all.collect::<Vec<_>>().join(", "))?;
        headers.insert("x-forwarded-for", all);
    }
    one_cookie_line(headers)?;
    // Links can only be kept in what is not compressed, and over loopback that costs nothing.
    if words(headers, &ACCEPT).any(|w| w.starts_with("text/html")) {
        headers.remove(ACCEPT_ENCODING);
    }
    Ok(())
}

/// Makes a pod's headers those of the answer.
pub fn back(headers: &mut HeaderMap) {
    hop_ends(headers);
    CROSS_ORIGIN.iter().for_each(|name| drop(headers.remove(*name)));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    lines
        .flat_map(|line| line.split(',').map(str::trim))
        .filter(|w| !w.is_empty())
}

fn hop_ends(headers: &mut HeaderMap) {
    let named: Vec<String> = words(headers, &CONNECTION).map(str::to_ascii_lowercase).collect();
    let fixed = HOP_BY_HOP.iter().copied();
    for name in named.iter().map(String::as_str).chain(fixed) {
        headers.remove(name);
    }
}

fn without_credentials(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    let told =
        |name: &&HeaderName| name.as_str().starts_with(REMOTE) || name.as_str().starts_with(IMPERSONATE);
    let told: Vec<HeaderName> = headers.keys().filter(told).cloned().collect();
    told.iter().for_each(|name| drop(headers.remove(name)));
    let offered: Vec<&str> = words(headers, &SEC_WEBSOCKET_PROTOCOL).collect();
    if offered.iter().any(|p| p.starts_with(TOKEN_PROTOCOL)) {
        let rest: Vec<&str> = offered
            .into_iter()
            .filter(|p| !p.starts_with(TOKEN_PROTOCOL))
            .collect();
        match HeaderValue::from_str(&rest.join(", ")) {
            Ok(rest) if !rest.is_empty() => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, rest)),
            _ => drop(headers.remove(SEC_WEBSOCKET_PROTOCOL)),
        }
    }
}

/// HTTP/2 may send a line a cookie, HTTP/1.1 must not. Source: RFC 9113, 8.2.3.
fn one_cookie_line(headers: &mut HeaderMap) -> Result<(), Status> {
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1 {
        let one = HeaderValue::from_bytes(&lines.join(&b"; "[..]));
        headers.insert(COOKIE, one.map_err(|e| Status::bad_request(e.to_string()))?);
    }
    Ok(())
}
