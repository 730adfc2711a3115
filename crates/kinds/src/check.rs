//! Checks that several kinds share, in upstream's words. Each adds what is wrong and gives nothing back.

use crate::json::{at, get, list, quantity_text, string, texts};
use meta::field::Shown;
use meta::selector::LabelSelector;
use meta::{Errors, Path, Quantity, name};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub(crate) const IMMUTABLE: &str = "field is immutable";
/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Each message about one value.
pub(crate) fn messages(path: &Path, value: &str, messages: Vec<String>, errors: &mut Errors) {
    for message in messages {
        errors.invalid(path, value, &message);
    }
}

pub(crate) fn dns_label(path: &Path, value: &str, errors: &mut Errors) {
    messages(path, value, name::check_dns1123_label(value), errors);
}

pub(crate) fn dns_subdomain(path: &Path, value: &str, errors: &mut Errors) {
    messages(path, value, name::check_dns1123_subdomain(value), errors);
}

pub(crate) fn qualified_name(path: &Path, value: &str, errors: &mut Errors) {
    messages(path, value, name::check_qualified_name(value), errors);
}

pub(crate) fn required(object: &Value, field: &str, path: &Path, errors: &mut Errors) {
    if string(object, field).is_empty() {
        errors.required(&path.child(field), "");
    }
}

/// A name that stands as one segment of a path.
pub(crate) fn path_segment(path: &Path, value: &str, errors: &mut Errors) {
    messages(path, value, name::check_path_segment(value), errors);
}

/// `acme.io/foo`.
pub(crate) fn domain_prefixed_path(path: &Path, value: &str, errors: &mut Errors) {
    const FMT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
    if value.is_empty() {
        errors.required(path, "");
        return;
    }
    let parts = value.split_once('/');
    let Some((host, rest)) = parts.filter(|(host, rest)| !host.is_empty() && !rest.is_empty()) else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.invalid(path, value, detail);
        return;
    };
    dns_subdomain(path, host, errors);
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c);
    if !rest.bytes().all(allowed) {
        errors.invalid(path, rest, &name::regex_error("Invalid path", FMT, &[]));
    }
}

/// Conditions of the kind that all newer types have (`metav1.Condition`).
pub(crate) fn conditions(all: &[Value], path: &Path, errors: &mut Errors) {
    const REASON_FMT: &str = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
    const REASON_MSG: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    const EXAMPLES: [&str; 5] = [
        "my_name",
        "MY_NAME",
        "MyName",
        "ReasonA,ReasonB",
        "ReasonA:ReasonB",
    ];
    const REASON_MAX: usize = 1024;
    const MESSAGE_MAX: usize = 32 * 1024;
    for (i, c) in all.iter().enumerate() {
        let (kind, path) = (string(c, "type"), path.index(i));
        if all[..i].iter().any(|other| string(other, "type") == kind) {
            errors.duplicate(&path.child("type"), kind);
        }
        qualified_name(&path.child("type"), kind, errors);
        let status = string(c, "status");
        let allowed = ["False", "True", "Unknown"];
        if !allowed.contains(&status) {
            errors.not_supported(&path.child("status"), status, &allowed);
        }
        let observed = crate::json::number(c, "observedGeneration");
        if observed < 0 {
            let path = path.child("observedGeneration");
            errors.invalid(&path, observed, "must be greater than or equal to zero");
        }
        required(c, "lastTransitionTime", &path, errors);
        let (reason, reason_path) = (string(c, "reason"), path.child("reason"));
        if reason.is_empty() {
            errors.required(&reason_path, "");
        } else if !is_reason(reason) {
            let detail = name::regex_error(REASON_MSG, REASON_FMT, &EXAMPLES);
            errors.invalid(&reason_path, reason, &detail);
        }
        if reason.len() > REASON_MAX {
            errors.too_long(&reason_path, REASON_MAX);
        }
        if string(c, "message").len() > MESSAGE_MAX {
            errors.too_long(&path.child("message"), MESSAGE_MAX);
        }
    }
}

fn is_reason(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.last().is_some_and(|c| word(*c));
    // A lone letter is one, too; what ends in `_` must be longer.
    ends && bytes.iter().all(|c| word(*c) || matches!(c, b',' | b':'))
}

/// A whole number that is given must not be negative.
pub(crate) fn not_negative(object: &Value, field: &str, path: &Path, errors: &mut Errors) {
    if let Some(n) = crate::json::int(object, field)
        && n < 0
    {
        errors.invalid(&path.child(field), n, NOT_NEGATIVE);
    }
}

/// A given text must be one of these; `required` when it must be given.
pub(crate) fn one_of(
    object: &Value,
    field: &str,
    allowed: &[&str],
    must: bool,
    path: &Path,
    errors: &mut Errors,
) {
    match string(object, field) {
        "" if must => errors.required(&path.child(field), ""),
        "" => {}
        value if allowed.contains(&value) => {}
        value => errors.not_supported(&path.child(field), value, allowed),
    }
}

/// An optional text, which must be one of these once it is given, even as the empty text.
pub(crate) fn one_of_given(object: &Value, field: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    if let Some(value) = get(object, field).as_str()
        && !allowed.contains(&value)
    {
        errors.not_supported(&path.child(field), value, allowed);
    }
}

/// What is said of `010.1.1.1`, which some read as octal.
pub(crate) const LEADING_ZEROS: &str = "must not have leading 0s";

pub(crate) const NOT_AN_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// An address of either family, as strict as upstream is since v1.36: no leading zeros, no IPv4 inside IPv6.
pub(crate) fn ip(text: &str, path: &Path, errors: &mut Errors) {
    if let Some(message) = ip_message(text) {
        errors.invalid(path, text, message);
    }
}

/// What is wrong with an address.
pub(crate) fn ip_message(text: &str) -> Option<&'static str> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            Some("must not be an IPv4-mapped IPv6 address")
        }
        Ok(_) => None,
        Err(_) if without_leading_zeros(text).parse::<Ipv4Addr>().is_ok() => Some(LEADING_ZEROS),
        Err(_) => Some(NOT_AN_IP),
    }
}

fn without_leading_zeros(text: &str) -> String {
    let part = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_string(),
        rest => rest.to_string(),
    };
    text.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// What is wrong with `address/bits`, whose address must be that of the range.
pub(crate) fn cidr_message(text: &str) -> Option<&'static str> {
    const BAD: Option<&str> = Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    let Some((address, bits)) = text.split_once('/') else {
        return BAD;
    };
    let plain = without_leading_zeros(address).parse::<Ipv4Addr>().map(IpAddr::V4);
    let Ok(ip) = address.parse::<IpAddr>().or(plain) else {
        return BAD;
    };
    let (all, address_bits) = match ip {
        IpAddr::V4(ip) => (32, u128::from(u32::from(ip)) << 96),
        IpAddr::V6(ip) => (128, u128::from(ip)),
    };
    let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
    let length = match bits.parse::<u32>() {
        Ok(length) if digits && length <= all => length,
        _ => return BAD,
    };
    if address.parse::<IpAddr>().is_err() || length.to_string() != bits {
        return Some("must not have leading 0s in IP or prefix length");
    }
    if matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
        return Some("must not have an IPv4-mapped IPv6 address");
    }
    let of_host = address_bits.checked_shl(length).unwrap_or(0);
    (of_host != 0).then_some("must not have bits set beyond the prefix length")
}

/// An interface's address with the bits of its network: `10.9.8.7/24`, in the one form that it has.
pub(crate) fn interface_address(text: &str, path: &Path, errors: &mut Errors) {
    let parsed = || {
        let (address, bits) = text.split_once('/')?;
        let plain = || without_leading_zeros(address).parse::<Ipv4Addr>().map(IpAddr::V4);
        let ip = address.parse::<IpAddr>().or_else(|_| plain()).ok()?;
        let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let length = bits.parse::<u32>().ok().filter(|_| digits)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        // Upstream takes an IPv4 address within IPv6 for what it is.
        let length_shown = if mapped && length > 32 {
            length - 96
        } else {
            length
        };
        (length <= most).then(|| format!("{}/{length_shown}", ip.to_canonical()))
    };
    match parsed() {
        None => {
            let detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
            errors.invalid(path, text, detail);
        }
        Some(canonical) if canonical != text => {
            let detail = format!("must be in canonical form ({canonical:?})");
            errors.invalid(path, text, &detail);
        }
        Some(_) => {}
    }
}

pub(crate) fn in_range(value: i64, low: i64, high: i64, path: &Path, errors: &mut Errors) {
    if value < low || value > high {
        errors.invalid(
            path,
            value,
            &format!("must be between {low} and {high}, inclusive"),
        );
    }
}

pub(crate) fn port_number(value: i64, path: &Path, errors: &mut Errors) {
    in_range(value, 1, 65_535, path, errors);
}

/// What is wrong with a port's name (IANA service name).
pub(crate) fn port_name_messages(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    if text.len() > 15 {
        out.push(name::max_len_error(15));
    }
    let allowed = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-';
    if !bytes.iter().all(allowed) || bytes.is_empty() {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        out.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        out.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        out.push("must not begin or end with a hyphen".into());
    }
    out
}

/// A port by number or by name.
pub(crate) fn port_or_name(value: &Value, path: &Path, errors: &mut Errors) {
    match value {
        Value::String(text) => messages(path, text, port_name_messages(text), errors),
        other => port_number(other.as_i64().unwrap_or(0), path, errors),
    }
}

pub(crate) fn labels(holder: &Value, field: &str, path: &Path, errors: &mut Errors) {
    for (key, value) in texts(holder, field) {
        qualified_name(path, key, errors);
        messages(path, value, name::check_label_value(value), errors);
    }
}

pub(crate) fn annotations(metadata: &Value, path: &Path, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in texts(metadata, "annotations") {
        // Keys are compared without regard to case here, and only here.
        messages(path, key, name::check_qualified_name(&key.to_lowercase()), errors);
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
}

/// A `metav1.LabelSelector`, where there is one.
pub(crate) fn label_selector(selector: &Value, path: &Path, errors: &mut Errors) {
    label_selector_over(selector, &Value::Null, path, errors);
}

/// A selector that takes the place of `old`: what was stored with wrong values may have others.
pub(crate) fn label_selector_over(selector: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let mut of_old = Errors::new();
    if !old.is_null() {
        label_selector(old, path, &mut of_old);
    }
    let any_value = !of_old.is_empty();
    labels(selector, "matchLabels", &path.child("matchLabels"), errors);
    for (i, e) in list(selector, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let values = list(e, "values");
        let operator = string(e, "operator");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        qualified_name(&path.child("key"), string(e, "key"), errors);
        for (i, value) in values.iter().enumerate().filter(|_| !any_value) {
            let text = value.as_str().unwrap_or_default();
            let path = path.child("values").index(i);
            messages(&path, text, name::check_label_value(text), errors);
        }
    }
}

/// A workload's selector: there, valid, not empty. `broken` is what is said of one that cannot be used; the template
/// is not looked at then. Gives the selector that the template must fit.
pub(crate) fn workload_selector(
    spec: &Value,
    word: &str,
    broken: &str,
    errors: &mut Errors,
) -> Option<LabelSelector> {
    let (path, selector) = (Path::new("spec").child("selector"), get(spec, "selector"));
    if selector.is_null() {
        errors.required(&path, "");
        return Some(LabelSelector::nothing());
    }
    let mut own = Errors::new();
    label_selector(selector, &path, &mut own);
    let wrong = !own.is_empty();
    errors.append(own);
    if is_empty(selector) {
        let detail = format!("empty selector is invalid for {word}");
        errors.invalid(&path, selector_shown(selector), &detail);
    }
    let parsed = serde_json::from_value(selector.clone()).ok();
    match LabelSelector::of_spec(parsed.as_ref()) {
        Ok(parsed) if !wrong => Some(parsed),
        _ => {
            errors.invalid(&path, selector_shown(selector), broken);
            None
        }
    }
}

fn is_empty(selector: &Value) -> bool {
    texts(selector, "matchLabels").next().is_none() && list(selector, "matchExpressions").is_empty()
}

pub(crate) fn selector_shown(selector: &Value) -> Shown {
    let mut parts = Vec::new();
    if let Some(labels) = get(selector, "matchLabels").as_object().filter(|m| !m.is_empty()) {
        parts.push(format!("\"matchLabels\":{}", Value::Object(labels.clone())));
    }
    let expressions = list(selector, "matchExpressions").iter().map(|e| {
        let values = Some(list(e, "values").to_vec()).filter(|values| !values.is_empty());
        Shown::members([
            ("key", Some(string(e, "key").into())),
            ("operator", Some(string(e, "operator").into())),
            ("values", values.map(Value::Array)),
        ])
    });
    let expressions: Vec<Shown> = expressions.collect();
    if !expressions.is_empty() {
        parts.push(format!("\"matchExpressions\":{}", Shown::list(expressions).0));
    }
    Shown(format!("{{{}}}", parts.join(",")))
}

/// The template's labels are what the selector asks for.
pub(crate) fn template_fits(selector: &LabelSelector, spec: &Value, errors: &mut Errors) {
    let metadata = at(spec, "/template/metadata");
    let labels: BTreeMap<String, String> = texts(metadata, "labels")
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    let all = !get(spec, "selector").is_null() && is_empty(get(spec, "selector"));
    if !all && !selector.matches_map(&labels) {
        let shown = get(metadata, "labels").clone();
        let path = Path::new("spec")
            .child("template")
            .child("metadata")
            .child("labels");
        errors.invalid(&path, shown, "`selector` does not match template `labels`");
    }
}

/// A whole number or a percentage; negative numbers and more than 100% are wrong.
pub(crate) fn int_or_percent(value: &Value, path: &Path, errors: &mut Errors) {
    match value {
        Value::String(text) => {
            if percent(text).is_none() {
                let msg = "a valid percent string must be a numeric string followed by an ending '%'";
                let detail = name::regex_error(msg, "[0-9]+%", &["1%", "93%"]);
                errors.invalid(path, text.as_str(), &detail);
            }
        }
        other => {
            let n = other.as_i64().unwrap_or(0);
            if n < 0 {
                errors.invalid(path, n, NOT_NEGATIVE);
            }
        }
    }
}

pub(crate) fn at_most_100_percent(value: &Value, path: &Path, errors: &mut Errors) {
    if let Some(text) = value.as_str()
        && percent(text).is_some_and(|p| p > 100)
    {
        errors.invalid(path, text, "must not be greater than 100%");
    }
}

/// The number, or the number before the `%` sign; 0 for what is neither.
pub(crate) fn int_or_percent_value(value: &Value) -> i64 {
    match value {
        Value::String(text) => percent(text).unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    }
}

fn percent(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(i64::MAX))
}

/// A field must be as it was.
pub(crate) fn immutable(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    if new != old {
        errors.invalid(path, new.clone(), IMMUTABLE);
    }
}

/// A text must be as it was; none is the empty one.
pub(crate) fn immutable_text(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    if text(new) != text(old) {
        errors.invalid(path, text(new), IMMUTABLE);
    }
}

/// A workload's selector is its identity.
pub(crate) fn immutable_selector(object: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (at(object, "/spec/selector"), at(old, "/spec/selector"));
    if selector_shown(new).0 != selector_shown(old).0 {
        let path = Path::new("spec").child("selector");
        match new.is_null() {
            true => errors.invalid(&path, Value::Null, IMMUTABLE),
            false => errors.invalid(&path, selector_shown(new), IMMUTABLE),
        }
    }
}

/// Counters of a status: none negative, none of `parts` above the whole.
pub(crate) fn status_counts(
    status: &Value,
    whole: &str,
    parts: &[&str],
    others: &[&str],
    errors: &mut Errors,
) {
    let path = Path::new("status");
    for field in [whole].iter().chain(parts).chain(others) {
        not_negative(status, field, &path, errors);
    }
    let total = crate::json::number(status, whole);
    for part in parts {
        let n = crate::json::number(status, part);
        if n > total {
            let detail = format!("cannot be greater than status.{whole}");
            errors.invalid(&path.child(part), n, &detail);
        }
    }
}

/// A quantity that may not be negative. Texts that are no quantity are refused before (types), but never trusted.
pub(crate) fn quantity(value: &Value, path: &Path, errors: &mut Errors) -> Option<Quantity> {
    let text = quantity_text(value);
    let Some(quantity) = Quantity::parse(&text) else {
        errors.invalid(path, text, meta::quantity::FORMAT_ERROR);
        return None;
    };
    if quantity.is_negative() {
        errors.invalid(path, text, NOT_NEGATIVE);
    }
    Some(quantity)
}

/// The count of hash collisions only grows.
pub(crate) fn collisions(status: &Value, old: &Value, errors: &mut Errors) {
    let field = "collisionCount";
    let (given, was) = (crate::json::int(status, field), crate::json::int(old, field));
    let now = given.unwrap_or(0);
    if was.is_some_and(|was| given.is_none() || now < was) {
        let path = Path::new("status").child(field);
        errors.invalid(&path, now, "cannot be decremented");
    }
}

/// What is counted, and so whole.
const COUNTS: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// A resource of Kubernetes' own.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource that someone else than Kubernetes defines.
pub(crate) fn is_extended(name: &str) -> bool {
    let in_quota = format!("requests.{name}");
    !is_native(name) && !name.starts_with("requests.") && name::check_qualified_name(&in_quota).is_empty()
}

/// An amount of a resource: a quantity that is not negative, and whole when it is a count.
pub(crate) fn amount(name: &str, value: &Value, path: &Path, errors: &mut Errors) {
    let Some(amount) = quantity(value, path, errors) else {
        return;
    };
    if (is_extended(name) || COUNTS.contains(&name)) && amount.millis() % 1000 != 0 {
        errors.invalid(path, quantity_text(value), "must be an integer");
    }
}
