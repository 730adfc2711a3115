//! URLs as Go's `net/url` reads them, with its complaints.

use super::shown::quoted;
use std::net::Ipv6Addr;

/// The parts that somebody asks for.
#[derive(Default)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// User and password, escaped again.
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) query: String,
    pub(super) fragment: String,
}

/// Reads a URL, relative ones too.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    let told = |text: &str, why: String| format!("parse {}: {why}", quoted(text).0);
    let mut url = parts(before, false).map_err(|why| told(before, why))?;
    if !fragment.is_empty() {
        url.fragment = unescaped(fragment, Part::Other).map_err(|why| told(text, why))?;
    }
    Ok(url)
}

/// Whether a text is a URL with a scheme and a host, as an HTTP request could name it.
pub(super) fn is_absolute(text: &str) -> bool {
    parts(text, true).is_ok_and(|url| !url.host.is_empty() && !url.scheme.is_empty())
}

fn parts(text: &str, in_request: bool) -> Result<Url, String> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    if text.is_empty() && in_request {
        return Err("empty url".into());
    }
    let mut url = Url::default();
    if text == "*" {
        return Ok(url);
    }
    let (scheme, rest) = scheme(text)?;
    url.scheme = scheme.to_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.to_string();
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            return Ok(url);
        }
        if in_request {
            return Err("invalid URI for request".into());
        }
        if rest
            .split('/')
            .next()
            .is_some_and(|segment| segment.contains(':'))
        {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let with_host = !url.scheme.is_empty() || !in_request && !rest.starts_with("///");
    let mut path = rest;
    if let Some(authority) = rest.strip_prefix("//").filter(|_| with_host) {
        let end = authority.find('/').unwrap_or(authority.len());
        path = &authority[end..];
        (url.user, url.host) = self::authority(&url.scheme, &authority[..end])?;
    }
    unescaped(path, Part::Other)?;
    Ok(url)
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

fn authority(scheme: &str, text: &str) -> Result<(Option<String>, String), String> {
    let Some((user, host)) = text.rsplit_once('@') else {
        return Ok((None, self::host(scheme, text)?));
    };
    let host = self::host(scheme, host)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(allowed) {
        return Err("net/url: invalid userinfo".into());
    }
    let user = match user.split_once(':') {
        None => escaped(&unescaped(user, Part::Other)?),
        Some((name, password)) => {
            let name = unescaped(name, Part::Other)?;
            let password = unescaped(password, Part::Other)?;
            format!("{}:{}", escaped(&name), escaped(&password))
        }
    };
    Ok((Some(user), host))
}

fn host(scheme: &str, text: &str) -> Result<String, String> {
    let port = |port: &str| {
        let digits = port
            .strip_prefix(':')
            .map(|d| d.bytes().all(|b| b.is_ascii_digit()));
        match port.is_empty() || digits == Some(true) {
            true => Ok(()),
            false => Err(format!("invalid port {} after host", quoted(port).0)),
        }
    };
    match text.rfind('[') {
        Some(0) => {
            let Some(close) = text.rfind(']') else {
                return Err("missing ']' in host".into());
            };
            port(&text[close + 1..])?;
            return literal(&text[1..close]).map(|host| format!("[{host}]{}", &text[close + 1..]));
        }
        Some(_) => return Err("invalid IP-literal".into()),
        None => {}
    }
    let web = scheme == "http" || scheme == "https";
    let colon = if web { text.find(':') } else { text.rfind(':') };
    if let Some(colon) = colon {
        port(&text[colon..])?;
    }
    unescaped(text, Part::Host)
}

/// An IPv6 address in brackets.
fn literal(text: &str) -> Result<String, String> {
    let (address, zone) = text.split_at(text.find("%25").unwrap_or(text.len()));
    let address = unescaped(address, Part::Host)?;
    let zone = unescaped(zone, Part::Zone)?;
    if !zone.is_empty() && zone.len() == 1 {
        let shown = quoted(&format!("{address}{zone}")).0;
        return Err(format!(
            "invalid host: ParseAddr({shown}): zone must be a non-empty string"
        ));
    }
    if address.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("{address}{zone}"));
    }
    if address.parse::<std::net::Ipv4Addr>().is_ok() && zone.is_empty() {
        return Err("invalid IP-literal".into());
    }
    let shown = quoted(&format!("{address}{zone}")).0;
    Err(format!("invalid host: ParseAddr({shown}): unable to parse IP"))
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Host,
    Zone,
    /// Path, user, fragment.
    Other,
}

/// `%41` as `A`. Bytes that make no text stand as the sign for that.
fn unescaped(text: &str, part: Part) -> Result<String, String> {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    let in_host = |b: u8| b.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~".contains(&b);
    while let Some(&b) = bytes.get(i) {
        if b != b'%' {
            if part != Part::Other && b < 0x80 && !in_host(b) {
                let shown = quoted(&char::from(b).to_string()).0;
                return Err(format!("invalid character {shown} in host name"));
            }
            out.push(b);
            i += 1;
            continue;
        }
        let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        let bad = || {
            let mut end = (i + 3).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            Err(format!("invalid URL escape {}", quoted(&text[i..end]).0))
        };
        let (Some(high), Some(low)) = (digit(i + 1), digit(i + 2)) else {
            return bad();
        };
        // Two hexadecimal digits are one byte.
        let byte = (high * 16 + low) as u8;
        let refused = match part {
            Part::Host => high < 8 && byte != b'%',
            Part::Zone => byte != b'%' && byte != b' ' && !in_host(byte),
            Part::Other => false,
        };
        if refused {
            return bad();
        }
        out.push(byte);
        i += 3;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// User or password as a URL writes it.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        match b {
            b if b.is_ascii_alphanumeric() || b"$&+,-.;=_~".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
