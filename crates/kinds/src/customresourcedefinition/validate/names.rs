//! The names of a kind that somebody defines.

use super::found::{At, Found};
use super::schema::Schema;
use super::shown::{json_text, quoted};
use super::spec::Spec;
use crate::check::IMMUTABLE;
use meta::name::check_dns1035_label;

/// Names that are given are labels; none has to be.
pub(super) fn validate(names: Schema, at: &At, found: &mut Found) {
    for field in ["plural", "singular"] {
        let name = names.text(field);
        if !name.is_empty() {
            label(name, &at.child(field), found);
        }
    }
    for field in ["kind", "listKind"] {
        let name = names.text(field);
        let why = check_dns1035_label(&name.to_lowercase());
        if !name.is_empty() && !why.is_empty() {
            let detail = format!(
                "may have mixed case, but should otherwise match: {}",
                why.join(",")
            );
            found.invalid(&at.child(field), quoted(name), &detail);
        }
    }
    let list = |field: &str, found: &mut Found| {
        let at = at.child(field);
        for (i, name) in names.texts(field).enumerate() {
            label(name, &at.index(i), found);
        }
    };
    list("shortNames", found);
    let (kind, list_kind) = (names.text("kind"), names.text("listKind"));
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        found.invalid(&at.child("listKind"), quoted(list_kind), detail);
    }
    list("categories", found);
}

/// A DNS-1035 label, all complaints about it in one.
pub(super) fn label(name: &str, at: &At, found: &mut Found) {
    let why = check_dns1035_label(name);
    if !why.is_empty() {
        found.invalid(at, quoted(name), &why.join(","));
    }
}

/// What stays as it was: where objects are kept, and once the names are taken also what they are called.
pub(super) fn fixed(spec: &Spec, was: &Spec, established: bool, at: &At, found: &mut Found) {
    let (names, old_names) = (spec.names(), was.names());
    let names_at = at.child("names");
    if established {
        let (scope, kind) = (spec.text("scope"), names.text("kind"));
        if scope != was.text("scope") {
            found.invalid(&at.child("scope"), json_text(scope), IMMUTABLE);
        }
        if kind != old_names.text("kind") {
            found.invalid(&names_at.child("kind"), quoted(kind), IMMUTABLE);
        }
    }
    let group = spec.text("group");
    if group != was.text("group") {
        found.invalid(&at.child("group"), quoted(group), IMMUTABLE);
    }
    let plural = names.text("plural");
    if plural != old_names.text("plural") {
        found.invalid(&names_at.child("plural"), quoted(plural), IMMUTABLE);
    }
}
