//! URLs as Go's `net/url` reads them.

use crate::functions::Context;
use crate::map::Map;
use crate::strings::quoted;
use crate::value::{Outcome, Value, fail, no_overload};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The parts of a URL.
#[derive(Clone, Debug)]
pub struct Url {
    /// The whole, the scheme in lower case.
    pub text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// Reads an absolute URL or path, as in a request; a fragment is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let failed = |reason: String| format!("parse {}: {reason}", quoted(text));
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(failed("net/url: invalid control character in URL".to_string()));
        }
        if text.is_empty() {
            return Err(failed("empty url".to_string()));
        }
        let (scheme, rest) = scheme(text).map_err(&failed)?;
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let scheme = scheme.to_ascii_lowercase();
        let colon = if scheme.is_empty() { "" } else { ":" };
        let after = &text[text.len() - (text.len() - scheme.len() - colon.len())..];
        let whole = format!("{scheme}{colon}{after}");
        let mut url = Self {
            text: whole,
            scheme,
            host: String::new(),
            path: String::new(),
            query: query.to_string(),
        };
        if !rest.starts_with('/') && text != "*" {
            if url.scheme.is_empty() {
                return Err(failed("invalid URI for request".to_string()));
            }
            return Ok(url);
        }
        let mut path = rest;
        if !url.scheme.is_empty()
            && let Some(authority) = rest.strip_prefix("//")
        {
            let end = authority.find('/').unwrap_or(authority.len());
            path = &authority[end..];
            url.host = host(&authority[..end]).map_err(&failed)?;
        }
        url.path = escaped_path(path).map_err(&failed)?;
        Ok(url)
    }

    fn port(&self) -> &str {
        let end = self.host.rfind(']').map_or(0, |end| end + 1);
        self.host[end..]
            .rfind(':')
            .map_or("", |at| &self.host[end + at + 1..])
    }

    fn hostname(&self) -> &str {
        if let Some(inner) = self.host.strip_prefix('[') {
            return inner.split(']').next().unwrap_or("");
        }
        self.host.rsplit_once(':').map_or(&self.host, |(name, _)| name)
    }

    /// The parameters, in the order in which each name's values stand.
    fn parameters(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(name), Some(value)) = (unescape(name, true), unescape(value, true)) {
                all.entry(name).or_default().push(value);
            }
        }
        all
    }
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_string()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

/// The host and port of an authority, without the user.
fn host(authority: &str) -> Result<String, String> {
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
            if !user.chars().all(allowed) {
                return Err("net/url: invalid userinfo".to_string());
            }
            if unescape(user, false).is_none() {
                return Err(format!("invalid URL escape {}", quoted(bad_escape(user))));
            }
            host
        }
        None => authority,
    };
    let valid_port = |port: &str| port.is_empty() || port[1..].bytes().all(|b| b.is_ascii_digit());
    let port = match host.strip_prefix('[') {
        Some(_) => match host.rfind(']') {
            Some(end) if host[end + 1..].is_empty() || host[end + 1..].starts_with(':') => &host[end + 1..],
            Some(end) => return Err(format!("invalid port {} after host", quoted(&host[end + 1..]))),
            None => return Err("missing ']' in host".to_string()),
        },
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    if !valid_port(port) {
        return Err(format!("invalid port {} after host", quoted(port)));
    }
    let allowed =
        |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c);
    if let Some(c) = host.chars().find(|c| !allowed(*c)) {
        return Err(format!(
            "invalid character {} in host name",
            quoted(c.encode_utf8(&mut [0; 4]))
        ));
    }
    if host.contains('%') && !host.starts_with('[') {
        // Of what could be escaped in a name only bytes beyond ASCII may be.
        let bad = host.match_indices('%').find(|(at, _)| {
            let byte = host
                .get(at + 1..at + 3)
                .and_then(|hex| u8::from_str_radix(hex, 16).ok());
            byte.is_none_or(|byte| byte < 0x80)
        });
        if let Some((at, _)) = bad {
            let end = host.len().min(at + 3);
            return Err(format!(
                "invalid URL escape {}",
                quoted(host.get(at..end).unwrap_or("%"))
            ));
        }
    }
    unescape(host, false).ok_or_else(|| format!("invalid URL escape {}", quoted(bad_escape(host))))
}

/// The path in its escaped form: as it was given where that is a valid one.
fn escaped_path(path: &str) -> Result<String, String> {
    let Some(plain) = unescape(path, false) else {
        return Err(format!("invalid URL escape {}", quoted(bad_escape(path))));
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:@[]%/".contains(c);
    if path.chars().all(valid) {
        return Ok(path.to_string());
    }
    let mut out = String::new();
    for byte in plain.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~$&+,/:;=@".contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(out)
}

/// The first escape that is none.
fn bad_escape(text: &str) -> &str {
    let bad = text.match_indices('%').find(|(at, _)| {
        !text
            .as_bytes()
            .get(at + 1..at + 3)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    let at = bad.map_or(0, |(at, _)| at);
    let end = (at + 3..=text.len())
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(text.len());
    &text[at..end]
}

fn unescape(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push((high * 16 + low) as u8);
            }
            b'+' if query => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    let url = match args {
        [Value::String(text)] => {
            return match (context.name, Url::parse(text)) {
                ("isURL", url) => Ok(Value::Bool(url.is_ok())),
                ("url", Ok(url)) => Ok(Value::Url(Arc::new(url))),
                ("url", Err(error)) => {
                    fail(format!("URL parse error during conversion from string: {error}"))
                }
                _ => no_overload(),
            };
        }
        [Value::Url(url)] => url,
        _ => return no_overload(),
    };
    Ok(match context.name {
        "getScheme" => Value::text(&*url.scheme),
        "getHost" => Value::text(&*url.host),
        "getHostname" => Value::text(url.hostname()),
        "getPort" => Value::text(url.port()),
        "getEscapedPath" => Value::text(&*url.path),
        "getQuery" => {
            let list =
                |values: Vec<String>| crate::compare::shared(values.into_iter().map(Value::text).collect());
            Value::Map(Map::of(
                url.parameters()
                    .into_iter()
                    .map(|(name, values)| (name.into(), list(values))),
            ))
        }
        _ => return no_overload(),
    })
}
