//! Kubernetes' named formats: `format.dns1123Label().validate(text)`.

use crate::functions::Context;
use crate::value::{Outcome, Value, no_overload};
use base64::Engine;
use meta::name;

/// A format: its name and how it is checked.
pub struct Format {
    /// What `format.named` knows it by.
    key: &'static str,
    pub name: &'static str,
    /// The length of the pattern that costs are counted by.
    pub(crate) pattern_size: u64,
    check: fn(&str) -> Vec<String>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const fn format(
    key: &'static str,
    name: &'static str,
    pattern_size: u64,
    check: fn(&str) -> Vec<String>,
) -> Format {
    Format {
        key,
        name,
        pattern_size,
        check,
    }
}

static FORMATS: [Format; 13] = [
    format("dns1123Label", "DNS1123Label", 30, name::check_dns1123_label),
    format(
        "dns1123Subdomain",
        "DNS1123Subdomain",
        60,
        name::check_dns1123_subdomain,
    ),
    format("dns1035Label", "DNS1035Label", 30, name::check_dns1035_label),
    format("qualifiedName", "QualifiedName", 60, name::check_qualified_name),
    format("dns1123LabelPrefix", "DNS1123LabelPrefix", 30, |text| {
        name::check_dns1123_label(&name::mask_trailing_dash(text))
    }),
    format("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", 60, |text| {
        name::check_dns1123_subdomain(&name::mask_trailing_dash(text))
    }),
    format("dns1035LabelPrefix", "DNS1035LabelPrefix", 30, |text| {
        name::check_dns1035_label(&name::mask_trailing_dash(text))
    }),
    format("labelValue", "LabelValue", 40, name::check_label_value),
    format("uri", "URI", 1103, |text| {
        crate::url::Url::parse(text).err().into_iter().collect()
    }),
    format("uuid", "uuid", 70, |text| {
        unless(is_uuid(text), "does not match the UUID format")
    }),
    format("byte", "byte", 84, |text| {
        let valid = !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok();
        unless(valid, "invalid base64")
    }),
    format("date", "date", 70, |text| {
        unless(crate::time::Timestamp::parse_date(text).is_some(), "invalid date")
    }),
    format("datetime", "datetime", 70, |text| {
        unless(is_datetime(text), "invalid datetime")
    }),
];

fn unless(valid: bool, message: &str) -> Vec<String> {
    if valid {
        Vec::new()
    } else {
        vec![message.to_string()]
    }
}

/// Hexadecimal digits in groups of 8, 4, 4, 4 and 12, with or without dashes between them.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.get(..length) {
            Some(group) if group.bytes().all(|b| b.is_ascii_hexdigit()) => rest = &rest[length..],
            _ => return false,
        }
    }
    rest.is_empty()
}

/// A date, `T` and a time; hours, minutes and seconds are bounded, the offset is not.
fn is_datetime(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut parts = text.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    crate::time::Timestamp::parse_date(date).is_some() && crate::time::is_clock(time)
}

pub(crate) fn call<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Outcome<Value<'a>> {
    let named = |key: &str| FORMATS.iter().find(|format| format.key == key);
    match (context.name, args) {
        ("validate", [Value::Format(format), Value::String(text)]) => {
            let errors = (format.check)(text);
            let list = || crate::compare::shared(errors.iter().map(|error| Value::text(&**error)).collect());
            Ok(Value::optional((!errors.is_empty()).then(list)))
        }
        ("format.named", [Value::String(key)]) => Ok(Value::optional(named(key).map(Value::Format))),
        (name, []) => match name.strip_prefix("format.").and_then(named) {
            Some(format) => Ok(Value::Format(format)),
            None => no_overload(),
        },
        _ => no_overload(),
    }
}
