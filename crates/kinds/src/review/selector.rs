//! Selectors in a question about a list: as text, or as requirements. What cannot be read is left out, which asks for
//! more and not for less.

use crate::check::{messages, qualified_name};
use crate::json::{get, has, list, string};
use meta::selector::{FieldSelector, LabelSelector};
use meta::{Errors, Path, name};
use serde_json::Value;

/// A field selector as a request would have it.
pub struct Fields {
    pub text: String,
    pub ignored: Ignored,
}

/// How much of a selector could not be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    Nothing,
    Part,
    All,
}

impl Ignored {
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Part => Some("partially ignored"),
            Self::All => Some("ignored"),
        }
    }

    fn of(good: usize, bad: usize) -> Self {
        match (good, bad) {
            (_, 0) => Self::Nothing,
            (0, _) => Self::All,
            _ => Self::Part,
        }
    }
}

pub fn fields(attributes: &Value) -> Fields {
    let selector = get(attributes, "fieldSelector");
    let raw = string(selector, "rawSelector");
    if list(selector, "requirements").is_empty() {
        return match FieldSelector::parse(raw) {
            Ok(_) => Fields {
                text: raw.to_string(),
                ignored: Ignored::Nothing,
            },
            Err(_) => Fields {
                text: String::new(),
                ignored: Ignored::All,
            },
        };
    }
    let (mut terms, mut bad) = (Vec::new(), 0);
    for requirement in list(selector, "requirements") {
        let operator = match string(requirement, "operator") {
            "In" => "=",
            "NotIn" => "!=",
            _ => "",
        };
        match list(requirement, "values") {
            [value] if !operator.is_empty() => {
                let value = value.as_str().unwrap_or_default();
                terms.push(format!("{}{operator}{value}", string(requirement, "key")));
            }
            _ => bad += 1,
        }
    }
    Fields {
        ignored: Ignored::of(terms.len(), bad),
        text: terms.join(","),
    }
}

pub fn labels(attributes: &Value) -> Ignored {
    let selector = get(attributes, "labelSelector");
    let raw = string(selector, "rawSelector");
    if list(selector, "requirements").is_empty() {
        return match LabelSelector::parse(raw) {
            Ok(_) => Ignored::Nothing,
            Err(_) => Ignored::All,
        };
    }
    let known = |requirement: &&Value| {
        let operator = string(requirement, "operator");
        matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist")
    };
    let all = list(selector, "requirements");
    let good = all.iter().filter(known).count();
    Ignored::of(good, all.len() - good)
}

/// Errors of both selectors. Operators that are not known are let pass: newer clients may know more.
pub fn validate(attributes: &Value, path: &Path, errors: &mut Errors) {
    for field in ["fieldSelector", "labelSelector"] {
        if !has(attributes, field) {
            continue;
        }
        let (selector, path) = (get(attributes, field), path.child(field));
        let (raw, requirements) = (string(selector, "rawSelector"), list(selector, "requirements"));
        if !raw.is_empty() && !requirements.is_empty() {
            let detail = "may not specified at the same time as requirements";
            errors.invalid(&path.child("rawSelector"), raw, detail);
        }
        if raw.is_empty() && requirements.is_empty() {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            errors.required(&path.child("requirements"), &detail);
        }
        for (i, each) in requirements.iter().enumerate() {
            let path = path.child("requirements").index(i);
            requirement(each, field == "labelSelector", &path, errors);
        }
    }
}

fn requirement(given: &Value, of_labels: bool, path: &Path, errors: &mut Errors) {
    let (key, values) = (string(given, "key"), list(given, "values"));
    if !of_labels && key.is_empty() {
        errors.required(&path.child("key"), "must be specified");
    }
    match string(given, "operator") {
        "In" | "NotIn" if values.is_empty() => errors.required(
            &path.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        ),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        _ => {}
    }
    if of_labels {
        qualified_name(&path.child("key"), key, errors);
        for (i, value) in values.iter().enumerate() {
            let text = value.as_str().unwrap_or_default();
            let found = name::check_label_value(text);
            messages(&path.child("values").index(i), text, found, errors);
        }
    }
}
