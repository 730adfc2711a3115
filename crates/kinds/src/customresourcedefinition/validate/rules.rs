//! `x-kubernetes-validations`: all of a rule but its expressions.

use super::field_path;
use super::found::{At, Found};
use super::open_api::named_shown;
use super::schema::Schema;
use super::shown::{RULES, quoted};
use super::structural;
use std::cell::LazyCell;

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

pub(super) fn validate(schema: Schema, at: &At, found: &mut Found) {
    let list = at.child(RULES);
    let is_readable = LazyCell::new(|| structural::unreadable(schema).is_none());
    for (i, rule) in schema.list(RULES).iter().enumerate() {
        if found.is_full() {
            return;
        }
        let (rule, at) = (Schema::of(rule), list.index(i));
        expression_and_message(rule, &at, found);
        let expression = rule.text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            found.required(
                &at.child("messageExpression"),
                "messageExpression must be non-empty if specified",
            );
        }
        if let Some(reason) = rule.given("reason")
            && !REASONS.contains(&reason.as_str().unwrap_or_default())
        {
            found.not_supported(&at.child("reason"), named_shown(reason), &REASONS);
        }
        let path = rule.text("fieldPath");
        if path.is_empty() {
            continue;
        }
        let at = at.child("fieldPath");
        if path.trim().is_empty() {
            found.invalid(&at, quoted(path), "must be non-empty if specified");
        }
        if has_newlines(path) {
            found.invalid(&at, quoted(path), "must not contain line breaks");
        }
        // A schema that cannot be read has errors of its own.
        if *is_readable && field_path::follow(path, Some(schema), true).is_err() {
            found.invalid(&at, quoted(path), "must be a valid path");
        }
    }
}

fn expression_and_message(rule: Schema, at: &At, found: &mut Found) {
    let (expression, message) = (rule.text("rule").trim(), rule.text("message"));
    let trimmed = message.trim();
    let at_message = at.child("message");
    if expression.is_empty() {
        found.required(&at.child("rule"), "rule is not specified");
    } else if !message.is_empty() && trimmed.is_empty() {
        found.invalid(&at_message, quoted(message), "must be non-empty if specified");
    } else if has_newlines(trimmed) {
        found.invalid(&at_message, quoted(message), "must not contain line breaks");
    } else if has_newlines(expression) && trimmed.is_empty() {
        found.required(
            &at_message,
            "message must be specified if rule contains line breaks",
        );
    }
}

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}
