//! The formats of texts that schemas may name. Formats that nobody knows are let pass. Source: the list in the API reference
//! of `JSONSchemaProps.format`.

use base64::Engine;
use regex_lite::Regex;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

/// Those for texts, without dashes.
const TEXTS: [&str; 27] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
    "date-time",
];

/// The format as far as it counts for values of this type; empty when it does not.
pub fn supported<'a>(kind: &str, format: &'a str) -> &'a str {
    let counts = match kind {
        "" | "string" => TEXTS.contains(&&*normal(format)),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    };
    if counts { format } else { "" }
}

/// Whether texts are held against this format.
pub fn is_known(format: &str) -> bool {
    !format.is_empty() && TEXTS.contains(&&*normal(format))
}

fn normal(format: &str) -> String {
    format.replace('-', "")
}

/// Whether a text has a format that is known.
pub fn fits(format: &str, text: &str) -> bool {
    match &*normal(format) {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => is_request_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => matches(&SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$", text),
        "hexcolor" => matches(&HEX, "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", text),
        "rgbcolor" => is_rgb(text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "date" => text.len() == 10 && jiff::civil::Date::strptime("%Y-%m-%d", text).is_ok(),
        "datetime" => is_date_time(text),
        "duration" => is_duration(text),
        "k8sshortname" => meta::name::check_dns1123_label(text).is_empty(),
        "k8slongname" => meta::name::check_dns1123_subdomain(text).is_empty(),
        // A password is any text.
        _ => true,
    }
}

static SSN: OnceLock<Option<Regex>> = OnceLock::new();
static HEX: OnceLock<Option<Regex>> = OnceLock::new();
static RGB: OnceLock<Option<Regex>> = OnceLock::new();
static CARD: OnceLock<Option<Regex>> = OnceLock::new();
static TIME: OnceLock<Option<Regex>> = OnceLock::new();
static SCALA: OnceLock<Option<Regex>> = OnceLock::new();
static GO: OnceLock<Option<Regex>> = OnceLock::new();

/// A pattern of this file, which is compiled once. One that does not compile would fail the tests.
fn matches(once: &OnceLock<Option<Regex>>, pattern: &str, text: &str) -> bool {
    let compiled = once.get_or_init(|| Regex::new(pattern).ok());
    compiled.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// An absolute URI or an absolute path, as a request line has it.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    if text.starts_with('/') {
        return has_good_escapes(text);
    }
    match text.split_once(':') {
        Some((scheme, rest)) => {
            let mut letters = scheme.chars();
            let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
            let goes_on = letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
            starts && goes_on && !rest.is_empty() && has_good_escapes(rest) && has_good_port(rest)
        }
        None => false,
    }
}

fn has_good_escapes(text: &str) -> bool {
    let hex = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    text.split('%').skip(1).all(hex)
}

fn has_good_port(rest: &str) -> bool {
    let Some(authority) = rest.strip_prefix("//") else {
        return true;
    };
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match (host.rsplit_once(':'), host.ends_with(']')) {
        (Some((_, port)), false) => port.bytes().all(|b| b.is_ascii_digit()),
        _ => true,
    }
}

/// `name@host`, or with a display name in front as mail has it.
fn is_email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.ends_with('>')) {
        (Some(from), true) => &text[from + 1..text.len() - 1],
        _ => text.trim(),
    };
    let Some((local, host)) = address.rsplit_once('@') else {
        return false;
    };
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c) || !c.is_ascii();
    let dotted = |part: &str| {
        part.split('.')
            .all(|word| !word.is_empty() && word.chars().all(atom))
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || dotted(local)) && (dotted(host) || (host.starts_with('[') && host.ends_with(']')))
}

fn is_hostname(text: &str) -> bool {
    let label = |part: &str| {
        let inner = |c: char| c.is_alphanumeric() || c == '-' || (!c.is_ascii() && !c.is_whitespace());
        let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
        !part.is_empty()
            && part.len() <= 63
            && part.chars().all(inner)
            && edge(part.chars().next())
            && edge(part.chars().next_back())
    };
    if text.is_empty() || text.len() > 255 || !text.split('.').all(label) {
        return false;
    }
    match text.rsplit_once('.') {
        Some((_, top)) => top.chars().count() >= 2 && top.chars().all(char::is_alphabetic),
        None => true,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(_), _) => 32,
        (_, Ok(_)) => 128,
        _ => return false,
    };
    bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Six, eight or twenty bytes with colons or dashes between, or groups of four digits with dots.
fn is_mac(text: &str) -> bool {
    let (by, width) = match text {
        t if t.contains(':') => (':', 2),
        t if t.contains('-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(by).collect();
    let good = |group: &&str| group.len() == width && group.bytes().all(|b| b.is_ascii_hexdigit());
    matches!(groups.len() * width / 2, 6 | 8 | 20) && groups.iter().all(good)
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let hyphens_where_allowed = {
        let mut seen = 0;
        text.chars().all(|c| {
            let dash = c == '-';
            seen += usize::from(!dash);
            !dash || matches!(seen, 8 | 12 | 16 | 20)
        }) && !text.contains("--")
    };
    let version_fits = version.is_none_or(|v| digits.chars().nth(12) == Some(v));
    let strict = matches!(version, Some('4' | '5'));
    let variant = digits.chars().nth(16).is_some_and(|c| "89abAB".contains(c));
    digits.len() == 32
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && hyphens_where_allowed
        && version_fits
        && (!strict || variant)
}

fn digits_of(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits_of(text);
    let value = |(i, c): (usize, char)| match c {
        'X' | 'x' if i == 9 => Some(10),
        c => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.chars().enumerate().map(value).collect();
    let sum = |v: Vec<u32>| v.iter().zip(1_u32..).map(|(d, i)| d * i).sum::<u32>();
    digits.len() == 10 && values.is_some_and(|v| sum(v).is_multiple_of(11))
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits_of(text);
    let values: Option<Vec<u32>> = digits.chars().map(|c| c.to_digit(10)).collect();
    let sum = |v: Vec<u32>| {
        v.iter()
            .zip([1, 3].iter().cycle())
            .map(|(d, w)| d * w)
            .sum::<u32>()
    };
    digits.len() == 13 && values.is_some_and(|v| sum(v).is_multiple_of(10))
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    const ISSUERS: &str = r"^(4[0-9]{12}([0-9]{3})?|5[1-5][0-9]{14}|6(011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(0[0-5]|[68][0-9])[0-9]{11}|(2131|1800|35[0-9]{3})[0-9]{11})$";
    if !matches(&CARD, ISSUERS, &digits) {
        return false;
    }
    let luhn = digits.chars().rev().filter_map(|c| c.to_digit(10)).enumerate();
    let sum: u32 = luhn
        .map(|(i, d)| match i % 2 {
            0 => d,
            _ => d * 2 / 10 + d * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn is_rgb(text: &str) -> bool {
    const PART: &str = "(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    let pattern = format!(r"^rgb\(\s*{PART}\s*,\s*{PART}\s*,\s*{PART}\s*\)$");
    matches(&RGB, &pattern, text)
}

fn is_date_time(text: &str) -> bool {
    const SHAPE: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?$";
    if !matches(&TIME, SHAPE, text) {
        return false;
    }
    let fields = |from: usize, to: usize| text[from..to].parse::<u32>().unwrap_or(u32::MAX);
    fields(11, 13) < 24
        && fields(14, 16) < 60
        && fields(17, 19) <= 60
        && jiff::civil::Date::strptime("%Y-%m-%d", &text[..10]).is_ok()
}

/// As Go writes durations, or as Scala does.
fn is_duration(text: &str) -> bool {
    const OF_GO: &str = r"^[+-]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";
    const OF_SCALA: &str = r"^\s*[0-9]+([.][0-9]+)?\s*(nanoseconds?|nanos?|ns|microseconds?|micros?|us|µs|milliseconds?|millis?|ms|seconds?|sec|s|minutes?|min|m|hours?|hr|h|days?|d|weeks?|w)\s*$";
    matches(&GO, OF_GO, text) || matches(&SCALA, OF_SCALA, text)
}
