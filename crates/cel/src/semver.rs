//! Semantic versions, version 2.0.0 of their specification. Source: blang/semver as Kubernetes uses it.

use crate::functions::Context;
use crate::value::{Outcome, Value, fail, no_overload};
use std::cmp::Ordering;
use std::sync::Arc;

/// A version. What comes after `+` says nothing about the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    pub pre: Vec<Pre>,
}

/// A part of what comes after `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pre {
    Number(u64),
    Text(String),
}

impl Semver {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_string());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("No Major.Minor.Patch elements found".to_string());
        };
        let major = number(major, "major")?;
        let minor = number(minor, "minor")?;
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, Some(build)),
            None => (rest, None),
        };
        let (patch, pre) = match rest.split_once('-') {
            Some((patch, pre)) => (patch, Some(pre)),
            None => (rest, None),
        };
        let patch = number(patch, "patch")?;
        let pre = match pre {
            Some(pre) => pre.split('.').map(pre_release).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        for meta in build.into_iter().flat_map(|build| build.split('.')) {
            if meta.is_empty() {
                return Err("Build meta data is empty".to_string());
            }
            if !meta.chars().all(is_alphanumeric) {
                return Err(format!(
                    "Invalid character(s) found in build meta data {}",
                    crate::strings::quoted(meta)
                ));
            }
        }
        Ok(Self {
            major,
            minor,
            patch,
            pre,
        })
    }

    /// Reads what may begin with `v`, lack minor and patch and have zeros in front.
    fn parse_lenient(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(String::from).collect();
        for part in parts.iter_mut().filter(|part| part.len() > 1) {
            let trimmed = part.trim_start_matches('0');
            let digit = trimmed.starts_with(|c: char| c.is_ascii_digit());
            *part = if digit {
                trimmed.to_string()
            } else {
                format!("0{trimmed}")
            };
        }
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err("short version cannot contain PreRelease/Build meta data".to_string());
            }
            parts.resize(3, "0".to_string());
        }
        Self::parse(&parts.join("."))
    }

    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let numbers = (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch));
        numbers.then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let parts = self.pre.iter().zip(&other.pre).map(|(a, b)| a.order(b));
                let different = parts.into_iter().find(|order| order.is_ne());
                different.unwrap_or(self.pre.len().cmp(&other.pre.len()))
            }
        })
    }
}

impl Pre {
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
        }
    }
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

fn number(text: &str, part: &str) -> Result<u64, String> {
    let quoted = || crate::strings::quoted(text);
    if !text.chars().all(|c| c.is_ascii_digit()) {
        let part = format!("{}{}", part[..1].to_uppercase(), &part[1..]);
        return Err(format!(
            "Invalid character(s) found in {} number {}",
            part.to_lowercase(),
            quoted()
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        let part = format!("{}{}", part[..1].to_uppercase(), &part[1..]);
        return Err(format!(
            "{part} number must not contain leading zeroes {}",
            quoted()
        ));
    }
    text.parse().map_err(|_| {
        let reason = if text.is_empty() {
            "invalid syntax"
        } else {
            "value out of range"
        };
        format!("strconv.ParseUint: parsing {}: {reason}", quoted())
    })
}

fn pre_release(text: &str) -> Result<Pre, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_string());
    }
    if text.chars().all(|c| c.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!(
                "Numeric PreRelease version must not contain leading zeroes {}",
                crate::strings::quoted(text)
            ));
        }
        return text.parse().map(Pre::Number).map_err(|_| {
            format!(
                "strconv.ParseUint: parsing {}: value out of range",
                crate::strings::quoted(text)
            )
        });
    }
    if text.chars().all(is_alphanumeric) {
        Ok(Pre::Text(text.to_string()))
    } else {
        Err(format!(
            "Invalid character(s) found in prerelease {}",
            crate::strings::quoted(text)
        ))
    }
}

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    let int = |value: u64| Ok(Value::Int(value as i64));
    let parsed = match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Semver::parse(text),
        [Value::String(text), Value::Bool(true)] => Semver::parse_lenient(text),
        [Value::Semver(version)] => {
            return match context.name {
                "major" => int(version.major),
                "minor" => int(version.minor),
                "patch" => int(version.patch),
                _ => no_overload(),
            };
        }
        _ => return no_overload(),
    };
    match (context.name, parsed) {
        ("isSemver", parsed) => Ok(Value::Bool(parsed.is_ok())),
        ("semver", Ok(version)) => Ok(Value::Semver(Arc::new(version))),
        ("semver", Err(message)) => fail(message),
        _ => no_overload(),
    }
}
