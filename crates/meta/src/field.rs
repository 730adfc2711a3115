//! Field errors in upstream's words: where (`spec.containers[0].image`), what kind, and what is wrong.
//! Validation collects all errors of an object before anyone answers.

use serde_json::{Value, json};

/// A path to a field. Cheap to extend: each step is a small copy of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn new(root: &str) -> Self {
        Self(root.to_string())
    }

    /// The object itself.
    pub fn root() -> Self {
        Self(String::new())
    }

    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self(name.to_string())
        } else {
            Self(format!("{}.{name}", self.0))
        }
    }

    pub fn index(&self, i: usize) -> Self {
        Self(format!("{}[{i}]", self.0))
    }

    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// The kinds of field errors (`metav1.CauseType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Required,
    Invalid,
    NotSupported,
    Forbidden,
    Duplicate,
    TooLong,
    TooMany,
    NotFound,
    TypeInvalid,
    Internal,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub cause: Cause,
    pub field: String,
    /// Upstream's text after the field, value included: `Invalid value: "x": must be …`.
    pub message: String,
}

impl Cause {
    /// As it stands in `details.causes[].reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

/// All field errors of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, cause: Cause, field: &Path, message: String) {
        self.0.push(FieldError {
            cause,
            field: field.to_string(),
            message,
        });
    }

    /// `detail` may be empty.
    pub fn required(&mut self, field: &Path, detail: &str) {
        self.push(Cause::Required, field, with_detail("Required value", detail));
    }

    pub fn invalid(&mut self, field: &Path, value: impl Shows, detail: &str) {
        self.push(
            Cause::Invalid,
            field,
            with_detail(&valued("Invalid value", value), detail),
        );
    }

    /// Of something whose value says nothing.
    pub fn invalid_as_a_whole(&mut self, field: &Path, detail: &str) {
        self.push(Cause::Invalid, field, with_detail("Invalid value", detail));
    }

    pub fn type_invalid(&mut self, field: &Path, value: impl Shows, detail: &str) {
        self.push(
            Cause::TypeInvalid,
            field,
            with_detail(&format!("Invalid value: {}", value.shows()), detail),
        );
    }

    pub fn not_supported(&mut self, field: &Path, value: impl Shows, supported: &[&str]) {
        let list = supported
            .iter()
            .map(|s| format!("{s:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        let detail = if supported.is_empty() {
            String::new()
        } else {
            format!("supported values: {list}")
        };
        self.push(
            Cause::NotSupported,
            field,
            with_detail(&format!("Unsupported value: {}", value.shows()), &detail),
        );
    }

    pub fn forbidden(&mut self, field: &Path, detail: &str) {
        self.push(Cause::Forbidden, field, with_detail("Forbidden", detail));
    }

    pub fn duplicate(&mut self, field: &Path, value: impl Shows) {
        self.push(Cause::Duplicate, field, valued("Duplicate value", value));
    }

    /// With a sentence after the value.
    pub fn duplicate_because(&mut self, field: &Path, value: impl Shows, detail: &str) {
        let text = format!("Duplicate value: {}", value.shows());
        self.push(Cause::Duplicate, field, with_detail(&text, detail));
    }

    pub fn not_found(&mut self, field: &Path, value: impl Shows) {
        self.push(Cause::NotFound, field, format!("Not found: {}", value.shows()));
    }

    pub fn not_found_because(&mut self, field: &Path, value: impl Shows, detail: &str) {
        let text = format!("Not found: {}", value.shows());
        self.push(Cause::NotFound, field, with_detail(&text, detail));
    }

    /// `limit` in bytes.
    pub fn too_long(&mut self, field: &Path, limit: usize) {
        self.push(
            Cause::TooLong,
            field,
            format!("Too long: may not be more than {limit} bytes"),
        );
    }

    pub fn too_many(&mut self, field: &Path, actual: usize, limit: usize) {
        self.push(
            Cause::TooMany,
            field,
            format!("Too many: {actual}: must have at most {limit} items"),
        );
    }

    pub fn internal(&mut self, field: &Path, detail: &str) {
        self.push(Cause::Internal, field, with_detail("Internal error", detail));
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// `a: Required value`, or `[a: Required value, b: …]` for several, each once.
    pub fn summary(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for e in &self.0 {
            let line = format!("{}: {}", e.field, e.message);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        if lines.len() == 1 {
            lines.remove(0)
        } else {
            format!("[{}]", lines.join(", "))
        }
    }

    /// `details.causes`.
    pub fn causes(&self) -> Value {
        self.0
            .iter()
            .map(|e| json!({"reason": e.cause.reason(), "message": e.message, "field": e.field}))
            .collect()
    }
}

fn valued(text: &str, value: impl Shows) -> String {
    match value.shows() {
        // Nothing that is shown is empty: texts have quotes.
        shown if shown.is_empty() => text.to_string(),
        shown => format!("{text}: {shown}"),
    }
}

fn with_detail(text: &str, detail: &str) -> String {
    if detail.is_empty() {
        text.to_string()
    } else {
        format!("{text}: {detail}")
    }
}

/// A value as upstream prints it in field errors: strings quoted, numbers and booleans bare, `null`, the rest as JSON.
pub trait Shows {
    fn shows(self) -> String;
}

impl<T: Into<Value>> Shows for T {
    fn shows(self) -> String {
        self.into().to_string()
    }
}

/// A value that is too large to be shown.
pub struct Omitted;

impl Shows for Omitted {
    fn shows(self) -> String {
        String::new()
    }
}

/// A structure whose members are printed in the order of its type, which need not be that of their names.
pub struct Shown(pub String);

impl Shown {
    /// Members with their values; an absent value is left out.
    pub fn members<'a>(members: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Self {
        let given = members
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let texts: Vec<String> = given
            .map(|(name, value)| format!("{}:{value}", Value::from(name)))
            .collect();
        Self(format!("{{{}}}", texts.join(",")))
    }

    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        let texts: Vec<String> = items.into_iter().map(|item| item.0).collect();
        Self(format!("[{}]", texts.join(",")))
    }
}

impl Shows for Shown {
    fn shows(self) -> String {
        self.0
    }
}
