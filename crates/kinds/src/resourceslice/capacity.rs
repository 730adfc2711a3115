//! How much a device has of something, and how much of it one claim may ask for.

use crate::json::{get, list, quantity_text, some};
use meta::{Errors, Path, Quantity};
use serde_json::Value;

const OPTIONS_MAX: usize = 10;

/// An amount with the text that it is written as.
struct Amount {
    size: Quantity,
    text: String,
}

impl Amount {
    fn of(value: &Value) -> Self {
        let text = match value {
            Value::Null => "0".to_string(),
            given => quantity_text(given),
        };
        let size = Quantity::parse(&text).unwrap_or_default();
        Self { size, text }
    }

    fn in_place(holder: &Value, field: &str) -> Option<Self> {
        some(holder, field).map(Self::of)
    }
}

pub(super) fn positive(value: &Value, path: &Path, errors: &mut Errors) {
    let amount = Amount::of(value);
    if amount.size.is_zero() || amount.size.is_negative() {
        errors.invalid(path, amount.text, "must be positive");
    }
}

/// Only what several claims may share has a policy.
pub(super) fn check(capacity: &Value, shared: bool, path: &Path, errors: &mut Errors) {
    let Some(policy) = some(capacity, "requestPolicy") else {
        return;
    };
    let path = path.child("requestPolicy");
    if !shared {
        errors.forbidden(&path, "allowMultipleAllocations must be true");
        return;
    }
    let all = Amount::of(get(capacity, "value"));
    let default = Amount::in_place(policy, "default");
    let (options, range) = (list(policy, "validValues"), some(policy, "validRange"));
    let missing = |field: &str, errors: &mut Errors| {
        let detail = format!("required when {field} is defined");
        errors.required(&path.child("default"), &detail);
    };
    match (options.is_empty(), range, default) {
        (false, Some(_), _) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            errors.forbidden(&path, detail);
        }
        (false, None, None) => missing("validValues", errors),
        (false, None, Some(default)) => {
            valid_values(options, &default, &all, &path.child("validValues"), errors);
        }
        (true, Some(_), None) => missing("validRange", errors),
        (true, Some(range), Some(default)) => {
            valid_range(range, &default, &all, &path.child("validRange"), errors);
        }
        (true, None, _) => {}
    }
}

/// In order, each once, none larger than all that is there, and the default among them.
fn valid_values(options: &[Value], default: &Amount, all: &Amount, path: &Path, errors: &mut Errors) {
    let sizes: Vec<Amount> = options.iter().map(Amount::of).collect();
    for (i, pair) in sizes.windows(2).enumerate() {
        if pair[0].size > pair[1].size {
            let detail = "values must be sorted in ascending order";
            errors.invalid(&path.index(i + 1), pair[1].text.as_str(), detail);
        }
    }
    let mut found = false;
    let whole = |value: &Value| Amount::of(value).size.value().to_string();
    crate::devices::each_once(
        options,
        Some(OPTIONS_MAX),
        whole,
        path,
        errors,
        &mut |option, path, errors| {
            let option = Amount::of(option);
            if option.size > all.size {
                let detail = format!("option is larger than capacity value: {}", all.text);
                errors.invalid(path, option.text.as_str(), &detail);
            }
            found |= option.size == default.size;
        },
    );
    if !found {
        let detail = "default value is not valid according to the requestPolicy";
        errors.invalid(path, default.text.as_str(), detail);
    }
}

fn valid_range(range: &Value, default: &Amount, all: &Amount, path: &Path, errors: &mut Errors) {
    let at_min = path.child("min");
    let Some(min) = Amount::in_place(range, "min") else {
        errors.required(&at_min, "required when validRange is defined");
        return;
    };
    let mut exceeds = |what: &str, one: &Amount, other: &Amount, shown: &Amount, path: &Path| {
        if one.size > other.size {
            let named = if what.starts_with("default is less") {
                one
            } else {
                other
            };
            errors.invalid(path, shown.text.as_str(), &format!("{what}: {}", named.text));
        }
    };
    exceeds("min is larger than capacity value", &min, all, &min, &at_min);
    exceeds("default is less than min", &min, default, default, &at_min);
    let max = Amount::in_place(range, "max");
    if let Some(max) = &max {
        let path = path.child("max");
        exceeds("min is larger than max", &min, max, &min, &path);
        exceeds("max is larger than capacity value", max, all, max, &path);
        exceeds("default is more than max", default, max, default, &path);
    }
    let Some(step) = Amount::in_place(range, "step") else {
        return;
    };
    let path = path.child("step");
    let first = min.size.plus(step.size);
    if first > all.size {
        let format = Quantity::parse_with_format(&min.text).map(|(_, format)| format);
        let shown = format.map_or_else(String::new, |format| first.print(format));
        let detail = format!("one step {shown} is larger than capacity value: {}", all.text);
        errors.invalid(&path, step.text.as_str(), &detail);
    }
    for value in std::iter::once(default).chain(&max) {
        let distance = value.size.value() - min.size.value();
        // A step of nothing leads nowhere; upstream would divide by it.
        if distance.checked_rem(step.size.value()) != Some(0) {
            let detail = format!(
                "value is not a multiple of a given step ({}) from ({})",
                step.text, min.text
            );
            errors.invalid(&path, value.text.as_str(), &detail);
        }
    }
}
