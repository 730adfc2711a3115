//! Where in a definition something is wrong, and what was found so far. Both cost little until there is an error, and what
//! is found has a limit: a definition of some megabytes could be wrong in a way whose telling takes terabytes.

use meta::field::{FieldError, Shows};
use meta::{Errors, Path};
use std::fmt::{Display, Formatter, Result};

/// A place, as the way to it; its text is made for errors only.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Child(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    pub(super) const fn root(name: &'a str) -> Self {
        Self {
            parent: None,
            step: Step::Child(name),
        }
    }

    pub(super) const fn child(&'a self, name: &'a str) -> At<'a> {
        At {
            parent: Some(self),
            step: Step::Child(name),
        }
    }

    pub(super) const fn index(&'a self, i: usize) -> At<'a> {
        At {
            parent: Some(self),
            step: Step::Index(i),
        }
    }

    pub(super) const fn key(&'a self, key: &'a str) -> At<'a> {
        At {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    fn path(&self) -> Path {
        Path::new(&self.to_string())
    }
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Child(name) if self.parent.is_none() => f.write_str(name),
            Step::Child(name) => write!(f, ".{name}"),
            Step::Index(i) => write!(f, "[{i}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// As many errors are told at most, and no more once they take this many bytes. Upstream has no such limits.
const ERRORS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

/// What is wrong so far.
pub(super) struct Found {
    errors: Errors,
    bytes: usize,
    max: usize,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            errors: Errors::new(),
            bytes: 0,
            max: ERRORS_MAX,
        }
    }
}

impl Found {
    /// For those who only ask whether anything is wrong.
    pub(super) fn first() -> Self {
        Self {
            max: 1,
            ..Self::default()
        }
    }

    /// No more is told: what is looked at from now on need not be.
    pub(super) fn is_full(&self) -> bool {
        self.errors.0.len() >= self.max || self.bytes >= BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.errors.0.len()
    }

    pub(super) fn required(&mut self, at: &At, detail: &str) {
        self.add(|errors| errors.required(&at.path(), detail));
    }

    pub(super) fn invalid(&mut self, at: &At, value: impl Shows, detail: &str) {
        self.add(|errors| errors.invalid(&at.path(), value, detail));
    }

    pub(super) fn not_supported(&mut self, at: &At, value: impl Shows, supported: &[&str]) {
        self.add(|errors| errors.not_supported(&at.path(), value, supported));
    }

    pub(super) fn forbidden(&mut self, at: &At, detail: &str) {
        self.add(|errors| errors.forbidden(&at.path(), detail));
    }

    pub(super) fn duplicate(&mut self, at: &At, value: impl Shows) {
        self.add(|errors| errors.duplicate(&at.path(), value));
    }

    pub(super) fn too_many(&mut self, at: &At, actual: usize, limit: usize) {
        self.add(|errors| errors.too_many(&at.path(), actual, limit));
    }

    pub(super) fn internal(&mut self, at: &At, detail: &str) {
        self.add(|errors| errors.internal(&at.path(), detail));
    }

    /// What somebody else found.
    pub(super) fn take(&mut self, errors: Errors) {
        for error in errors.0 {
            self.add(|own| own.0.push(error));
        }
    }

    fn add(&mut self, tell: impl FnOnce(&mut Errors)) {
        if self.is_full() {
            return;
        }
        tell(&mut self.errors);
        if let Some(told) = self.errors.0.last() {
            self.bytes += told.field.len() + told.message.len();
        }
    }

    /// In the order of their texts, as upstream tells errors that it found in no order.
    pub(super) fn sort(&mut self) {
        let text = |e: &FieldError| format!("{}: {}", e.field, e.message);
        self.errors.0.sort_by_cached_key(text);
    }

    pub(super) fn append(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.errors.append(other.errors);
    }

    pub(super) fn into_errors(self) -> Errors {
        self.errors
    }
}
