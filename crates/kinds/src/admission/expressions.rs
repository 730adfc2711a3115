//! Expressions in policies and webhooks: that they are there, and their names. Whether an expression compiles is a matter
//! of `expression` alone, through which all of them go.

use crate::check::qualified_name;
use crate::json::{get, list, string};
use meta::field::Shown;
use meta::{Errors, Path, name};
use serde_json::Value;
use std::collections::BTreeSet;

const CONDITIONS_MAX: usize = 64;
const ANNOTATIONS_MAX: usize = 20;
/// Bytes of the expression for an annotation's value.
const ANNOTATION_MAX: usize = 5 * 1024;
/// Words that cannot name a variable.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// An expression that must be there.
fn expression(holder: &Value, field: &str, missing: &str, path: &Path, errors: &mut Errors) {
    if string(holder, field).trim().is_empty() {
        errors.required(&path.child(field), missing);
    }
}

/// Conditions, each with a name of its own.
pub(crate) fn match_conditions(holder: &Value, path: &Path, errors: &mut Errors) {
    let (all, path) = (list(holder, "matchConditions"), path.child("matchConditions"));
    if all.len() > CONDITIONS_MAX {
        errors.too_many(&path, all.len(), CONDITIONS_MAX);
    }
    let mut names = BTreeSet::new();
    for (i, condition) in all.iter().enumerate() {
        let (given, path) = (string(condition, "name"), path.index(i));
        expression(condition, "expression", "", &path, errors);
        match given {
            "" => errors.required(&path.child("name"), ""),
            given => qualified_name(&path.child("name"), given, errors),
        }
        if !given.is_empty() && !names.insert(given) {
            errors.duplicate(&path.child("name"), given);
        }
    }
}

pub(crate) fn variables(spec: &Value, path: &Path, errors: &mut Errors) {
    for (i, variable) in list(spec, "variables").iter().enumerate() {
        let (given, path) = (string(variable, "name"), path.child("variables").index(i));
        if given.trim().is_empty() {
            errors.required(&path.child("name"), "name is not specified");
        } else if !is_identifier(given) {
            errors.invalid(&path.child("name"), given, "must be a valid CEL identifier");
        }
        expression(
            variable,
            "expression",
            "expression is not specified",
            &path,
            errors,
        );
    }
}

fn is_identifier(text: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let fits = text.starts_with(starts) && text.chars().all(|c| starts(c) || c.is_ascii_digit());
    fits && !RESERVED.contains(&text)
}

pub(crate) fn validation(validation: &Value, path: &Path, errors: &mut Errors) {
    expression(
        validation,
        "expression",
        "expression is not specified",
        path,
        errors,
    );
    let message = string(validation, "messageExpression");
    if !message.is_empty() && message.trim().is_empty() {
        let detail = "must be non-empty if specified";
        errors.invalid(&path.child("messageExpression"), message, detail);
    }
    let message = string(validation, "message");
    if !message.is_empty() && message.trim().is_empty() {
        let detail = "must be non-empty if specified";
        errors.invalid(&path.child("message"), message, detail);
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&path.child("message"), message, "must not contain line breaks");
    }
    let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    let given = get(validation, "reason").as_str();
    // Upstream also knows `Unauthorized`, but not here.
    if let Some(reason) = given.filter(|reason| !reasons.contains(reason)) {
        errors.not_supported(&path.child("reason"), reason, &reasons);
    }
}

/// Annotations of audit events: a key that goes with the policy's name, and a value.
pub(crate) fn audit_annotations(policy: &str, spec: &Value, path: &Path, errors: &mut Errors) {
    let (all, path) = (list(spec, "auditAnnotations"), path.child("auditAnnotations"));
    if all.len() > ANNOTATIONS_MAX {
        let one = |annotation: &Value| {
            Shown::members([
                ("Key", Some(string(annotation, "key").into())),
                (
                    "ValueExpression",
                    Some(string(annotation, "valueExpression").into()),
                ),
            ])
        };
        let detail = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        errors.invalid(&path, Shown::list(all.iter().map(one)), &detail);
    }
    let mut keys = BTreeSet::new();
    for (i, annotation) in all.iter().enumerate() {
        let (key, path) = (string(annotation, "key"), path.index(i));
        if policy.is_empty() {
            errors.invalid(&path.child("key"), key, "requires metadata.name be non-empty");
        } else {
            let whole = format!("{policy}/{key}");
            for why in name::check_qualified_name(&whole) {
                errors.invalid(&path.child("key"), whole.as_str(), &why);
            }
        }
        let field = "valueExpression";
        if string(annotation, field).trim().len() > ANNOTATION_MAX {
            let detail = format!("must not exceed {ANNOTATION_MAX} bytes in length");
            errors.required(&path.child(field), &detail);
        } else {
            expression(
                annotation,
                field,
                "valueExpression is not specified",
                &path,
                errors,
            );
        }
        if !keys.insert(key) {
            errors.duplicate(&path.child("key"), key);
        }
    }
}

/// A change, in one of its two forms.
pub(crate) fn mutation(mutation: &Value, path: &Path, errors: &mut Errors) {
    const FORMS: [(&str, &str); 2] = [
        ("ApplyConfiguration", "applyConfiguration"),
        ("JSONPatch", "jsonPatch"),
    ];
    let kind = string(mutation, "patchType");
    let Some((_, field)) = FORMS.iter().find(|(name, _)| *name == kind) else {
        let path = path.child("patchType");
        match kind {
            "" => errors.required(&path, ""),
            other => errors.not_supported(&path, other, &["ApplyConfiguration", "JSONPatch"]),
        }
        return;
    };
    match get(mutation, field) {
        Value::Null => {
            let detail = format!("must be specified when patchType is {kind}");
            errors.required(&path.child(field), &detail);
        }
        given => expression(given, "expression", "", &path.child(field), errors),
    }
    let other = FORMS
        .iter()
        .find(|(name, _)| *name != kind)
        .map_or("", |(_, field)| field);
    if !get(mutation, other).is_null() {
        let detail = format!("must not be specified when patchType is {kind}");
        errors.invalid(&path.child(other), format!("{{{other}}}"), &detail);
    }
}
