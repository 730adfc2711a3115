//! What the kinds of resource.k8s.io have in common: names, lists with limits, configuration of drivers, tolerations.
//! Source: resource.k8s.io/v1 API reference.

pub(crate) mod claim;

use crate::check::{dns_label, dns_subdomain, messages, qualified_name};
use crate::json::{get, list, string};
use crate::volumes::check_driver;
use meta::field::Shows;
use meta::{Errors, Path, name};
use serde_json::Value;
use std::collections::BTreeSet;

/// Requests of a claim, and results of its allocation.
pub(crate) const REQUESTS_MAX: usize = 32;
/// Configurations of a claim or class.
pub(crate) const CONFIG_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
/// Bytes of an expression, of a name's last part, and of what a driver is told.
const EXPRESSION_MAX: usize = 10 * 1024;
const ID_MAX: usize = 32;
const DOMAIN_MAX: usize = 63;
pub(crate) const PARAMETERS_MAX: usize = 10 * 1024;
const POOL_MAX: usize = 253;
const BINDING_MAX: usize = 4;

type Check<'a> = &'a mut dyn FnMut(&Value, &Path, &mut Errors);

/// Checks each item; a list that is longer than `most` is told nothing else.
pub(crate) fn each(
    items: &[Value],
    most: Option<usize>,
    path: &Path,
    errors: &mut Errors,
    check: Check,
) -> bool {
    if let Some(most) = most.filter(|most| items.len() > *most) {
        errors.too_many(path, items.len(), most);
        return false;
    }
    for (i, item) in items.iter().enumerate() {
        check(item, &path.index(i), errors);
    }
    true
}

/// The same for lists whose items differ by a text.
pub(crate) fn each_once(
    items: &[Value],
    most: Option<usize>,
    key: impl Fn(&Value) -> String,
    path: &Path,
    errors: &mut Errors,
    check: Check,
) {
    if each(items, most, path, errors, check) {
        repeated(items, key, path, errors);
    }
}

fn repeated(items: &[Value], key: impl Fn(&Value) -> String, path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        let key = key(item);
        if !seen.insert(key.clone()) {
            errors.duplicate(&path.index(i), key);
        }
    }
}

pub(crate) fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// A pool: subdomains between slashes.
pub(crate) fn pool_name(given: &str, path: &Path, errors: &mut Errors) {
    if given.is_empty() {
        errors.required(path, "");
        return;
    }
    if given.len() > POOL_MAX {
        errors.too_long(path, POOL_MAX);
    }
    for part in given.split('/') {
        dns_subdomain(path, part, errors);
    }
}

/// A class by its name.
pub(crate) fn class_name(given: &str, path: &Path, errors: &mut Errors) {
    match given {
        "" => errors.required(path, ""),
        given => dns_subdomain(path, given, errors),
    }
}

/// `id` or `domain/id`. Upstream does not look at names with more slashes.
pub(crate) fn attribute_name(given: &str, path: &Path, errors: &mut Errors) {
    match *given.split('/').collect::<Vec<_>>() {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            match domain {
                "" => errors.invalid(path, "", "the domain must not be empty"),
                domain => check_driver(domain, path, errors),
            }
            match id {
                "" => errors.invalid(path, "", "the name must not be empty"),
                id => identifier(id, path, errors),
            }
        }
        _ => {}
    }
}

fn identifier(id: &str, path: &Path, errors: &mut Errors) {
    if id.len() > ID_MAX {
        errors.too_long(path, ID_MAX);
    }
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_one = id.starts_with(starts) && id.chars().all(|c| starts(c) || c.is_ascii_digit());
    if !is_one {
        let why = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
        let why = name::regex_error(why, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"]);
        errors.invalid(path, id, &why);
    }
}

/// A map whose keys name attributes or capacities: the key is wrong at the map, its value at the key.
pub(crate) fn attribute_path(path: &Path, key: &str) -> Path {
    path.key(&shortened(key, DOMAIN_MAX + 1 + ID_MAX))
}

/// A long key without its middle.
pub(crate) fn shortened(key: &str, most: usize) -> String {
    const GAP: &str = "...";
    if key.len() <= most {
        return key.to_string();
    }
    let rest = most - GAP.len();
    let (mut head, mut tail) = (rest.div_ceil(2), key.len() - rest / 2);
    while !key.is_char_boundary(head) {
        head -= 1;
    }
    while !key.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}{GAP}{}", &key[..head], &key[tail..])
}

/// An identifier of an object, in the one form that it may have.
pub(crate) fn uid(given: &str, path: &Path, errors: &mut Errors) {
    if let Some(why) = not_a_uid(given) {
        errors.invalid(path, given, &format!("error validating uid: {why}"));
    } else if given.len() != 36 || given != given.to_lowercase() {
        let detail = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
        errors.invalid(path, given, detail);
    }
}

fn not_a_uid(given: &str) -> Option<String> {
    const BAD: &str = "invalid UUID format";
    const URN: &str = "urn:uuid:";
    let hex = |part: &[u8]| part.iter().all(u8::is_ascii_hexdigit);
    let bytes = given.as_bytes();
    let inner = match bytes.len() {
        36 => bytes,
        45 if bytes[..9].eq_ignore_ascii_case(URN.as_bytes()) => &bytes[9..],
        45 => {
            let prefix = String::from_utf8_lossy(&bytes[..9]);
            return Some(format!("invalid urn prefix: {:?}", prefix));
        }
        38 if bytes[0] == b'{' && bytes[37] == b'}' => &bytes[1..37],
        38 => return Some("invalid bracketed UUID format".into()),
        32 => return (!hex(bytes)).then(|| BAD.into()),
        length => return Some(format!("invalid UUID length: {length}")),
    };
    let parts = [0..8, 9..13, 14..18, 19..23, 24..36];
    let fine = [8, 13, 18, 23].iter().all(|i| inner[*i] == b'-') && parts.into_iter().all(|p| hex(&inner[p]));
    (!fine).then(|| BAD.into())
}

/// Selectors by expressions. What an expression means is checked where expressions are compiled.
pub(crate) fn selectors(holder: &Value, path: &Path, errors: &mut Errors) {
    let path = path.child("selectors");
    each(
        list(holder, "selectors"),
        Some(SELECTORS_MAX),
        &path,
        errors,
        &mut |selector, path, errors| {
            let path = path.child("cel");
            match get(selector, "cel") {
                Value::Null => errors.required(&path, ""),
                cel => expression(string(cel, "expression"), &path.child("expression"), errors),
            }
        },
    );
}

fn expression(text: &str, path: &Path, errors: &mut Errors) {
    if text.len() > EXPRESSION_MAX {
        errors.too_long(path, EXPRESSION_MAX);
    }
}

/// What a driver is told; no other has an opinion on it. What is `stored` was never held to the limit.
pub(crate) fn configuration(config: &Value, stored: bool, path: &Path, errors: &mut Errors) {
    let (opaque, path) = (get(config, "opaque"), path.child("opaque"));
    if opaque.is_null() {
        errors.required(&path, "");
        return;
    }
    check_driver(string(opaque, "driver"), &path.child("driver"), errors);
    let most = Some(PARAMETERS_MAX).filter(|_| !stored);
    match opaque.get("parameters") {
        None => errors.required(&path.child("parameters"), ""),
        Some(parameters) => raw(parameters, most, &path.child("parameters"), errors),
    }
}

/// An object of somebody's own.
pub(crate) fn raw(value: &Value, most: Option<usize>, path: &Path, errors: &mut Errors) {
    match value {
        value if most.is_some_and(|most| value.to_string().len() > most) => {
            errors.too_long(path, most.unwrap_or_default());
        }
        Value::Null => errors.required(path, ""),
        Value::Object(_) => {}
        _ => errors.invalid(path, "<value omitted>", "must be a valid JSON object"),
    }
}

const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

pub(crate) fn taint(taint: &Value, path: &Path, errors: &mut Errors) {
    qualified_name(&path.child("key"), string(taint, "key"), errors);
    let (value, effect) = (string(taint, "value"), string(taint, "effect"));
    messages(
        &path.child("value"),
        value,
        name::check_label_value(value),
        errors,
    );
    match effect {
        "" => errors.required(&path.child("effect"), ""),
        effect if EFFECTS.contains(&effect) => {}
        effect => errors.not_supported(&path.child("effect"), effect, &EFFECTS),
    }
}

fn toleration(toleration: &Value, path: &Path, errors: &mut Errors) {
    let (key, value) = (string(toleration, "key"), string(toleration, "value"));
    if !key.is_empty() {
        qualified_name(&path.child("key"), key, errors);
    }
    match string(toleration, "operator") {
        "Exists" if value.is_empty() => {}
        "Exists" => {
            let detail = "must be empty for operator `Exists`";
            errors.invalid(&path.child("value"), value, detail);
        }
        "Equal" => messages(
            &path.child("value"),
            value,
            name::check_label_value(value),
            errors,
        ),
        "" => errors.required(&path.child("operator"), ""),
        other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
    }
    let effect = string(toleration, "effect");
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(&path.child("effect"), effect, &EFFECTS);
    }
}

/// Conditions that a device waits for before a pod is bound, and those that end the wait.
pub(crate) fn binding_conditions(device: &Value, path: &Path, errors: &mut Errors) {
    let (for_it, against) = ("bindingConditions", "bindingFailureConditions");
    for field in [for_it, against] {
        each(
            list(device, field),
            Some(BINDING_MAX),
            &path.child(field),
            errors,
            &mut |item, path, errors| {
                qualified_name(path, item.as_str().unwrap_or_default(), errors);
            },
        );
    }
    repeated(list(device, for_it), text_of, &path.child(for_it), errors);
    let mut seen = BTreeSet::new();
    for (i, item) in list(device, against).iter().enumerate() {
        let path = path.child(against).index(i);
        if !seen.insert(text_of(item)) {
            errors.duplicate(&path, text_of(item));
        }
        if list(device, for_it).contains(item) {
            let detail = "bindingFailureConditions must not overlap with bindingConditions";
            errors.invalid(&path, text_of(item), detail);
        }
    }
    for (missing, given) in [(for_it, against), (against, for_it)] {
        if list(device, missing).is_empty() && !list(device, given).is_empty() {
            let detail = format!("{missing} are required to use {given}");
            errors.invalid(&path.child(missing), get(device, missing).clone(), &detail);
        }
    }
}

/// A name that is required and a label.
pub(crate) fn label(holder: &Value, field: &str, path: &Path, errors: &mut Errors) {
    dns_label(&path.child(field), string(holder, field), errors);
}

/// `driver/pool/device`, and the share of it, as upstream shows them in errors.
pub(crate) fn device_id(device: &Value) -> String {
    ["driver", "pool", "device", "shareID"]
        .map(|f| Value::from(string(device, f)).shows())
        .join("/")
}
