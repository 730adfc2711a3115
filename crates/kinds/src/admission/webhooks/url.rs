//! URLs of webhooks, and what Go's parser says of those that are none.

use meta::{Errors, Path};

const FORM: &str = "; desired format: https://host[/path]";

/// The parts of a URL that a webhook's is asked about.
#[derive(Default)]
struct Parts<'a> {
    scheme: String,
    host: &'a str,
    user: Option<&'a str>,
    fragment: &'a str,
    query: &'a str,
}

pub(super) fn check(text: &str, path: &Path, errors: &mut Errors) {
    let parts = match parts(text) {
        Ok(parts) => parts,
        Err(why) => {
            errors.required(
                path,
                &format!("url must be a valid URL: parse {text:?}: {why}{FORM}"),
            );
            return;
        }
    };
    if parts.scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.invalid(path, parts.scheme.as_str(), &detail);
    }
    if parts.host.is_empty() {
        errors.invalid(path, "", &format!("host must be specified{FORM}"));
    }
    if let Some(user) = parts.user {
        errors.invalid(path, user, "user information is not permitted in the URL");
    }
    if !parts.fragment.is_empty() {
        errors.invalid(path, parts.fragment, "fragments are not permitted in the URL");
    }
    if !parts.query.is_empty() {
        errors.invalid(path, parts.query, "query parameters are not permitted in the URL");
    }
}

fn parts(text: &str) -> Result<Parts<'_>, String> {
    let mut parts = Parts::default();
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    parts.fragment = fragment;
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (scheme, rest) = scheme(text)?;
    parts.scheme = scheme.to_ascii_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    parts.query = query;
    if !rest.starts_with('/') && !parts.scheme.is_empty() {
        // An opaque one, without a host.
        return Ok(parts);
    }
    let first = rest.split('/').next().unwrap_or_default();
    if !rest.starts_with('/') && first.contains(':') {
        return Err("first path segment in URL cannot contain colon".into());
    }
    let mut of_path = rest;
    if let Some(authority) = rest.strip_prefix("//").filter(|rest| !rest.starts_with("//")) {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, path) = authority.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        check_host(host)?;
        (parts.user, parts.host, of_path) = (user, host, path);
    }
    escapes(of_path)?;
    escapes(fragment)?;
    Ok(parts)
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, c) in text.bytes().enumerate() {
        match c {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((&text[..i], &text[i + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.rfind(']').ok_or("missing ']' in host")?;
            &rest[end + 1..]
        }
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let number = port.strip_prefix(':').unwrap_or(port);
    let fine = number.bytes().all(|b| b.is_ascii_digit());
    if !fine || (!port.is_empty() && !port.starts_with(':')) {
        return Err(format!("invalid port {port:?} after host"));
    }
    let odd = |b: &u8| matches!(b, b' ' | b'^' | b'`' | b'{' | b'}' | b'|' | b'\\');
    if let Some(odd) = host.bytes().find(|b| odd(b)) {
        let shown = char::from(odd).to_string();
        return Err(format!("invalid character {shown:?} in host name"));
    }
    escapes(host)
}

/// `%` and two digits.
fn escapes(text: &str) -> Result<(), String> {
    for (i, _) in text.match_indices('%') {
        let bytes = &text.as_bytes()[i..text.len().min(i + 3)];
        if bytes.len() < 3 || !bytes[1..].iter().all(u8::is_ascii_hexdigit) {
            let shown = String::from_utf8_lossy(bytes);
            return Err(format!("invalid URL escape {shown:?}"));
        }
    }
    Ok(())
}
