//! What a definition of custom resources must be, in upstream's words, paths and order (`spec.validation` is what all
//! versions have in common). Everything here walks the object in place; depth and told errors have a limit.

mod ca_bundle;
mod conversion;
mod default_values;
mod expressions;
mod field_path;
mod found;
mod lists;
mod names;
mod open_api;
mod options;
mod pattern;
mod rules;
mod same;
mod schema;
mod shown;
mod spec;
mod structural;
mod unicode;
mod url;
mod versions;
mod warnings;

use crate::json::{at, get, is_true, list, string};
use found::{At, Found};
use meta::{Errors, Path};
use options::Options;
use serde_json::Value;
use shown::quoted;
use spec::Spec;
use std::collections::BTreeSet;

pub(super) use warnings::warnings;

/// Members inside members, at most. What comes over the wire is not that deep; what patches make of it may be.
const DEPTH_MAX: usize = 256;

const SPEC: At = At::root("spec");
const STATUS: At = At::root("status");
/// The annotation that a definition in one of Kubernetes' own groups must have.
const APPROVED: &str = "api-approved.kubernetes.io";

/// Errors of a new definition; metadata but the name is looked at elsewhere.
pub(super) fn validate_new(object: &Value, errors: &mut Errors) {
    if !is_shallow(object, errors) {
        return;
    }
    let (spec, mut found) = (Spec::of(object), Found::default());
    own_name(object, &spec, &mut found);
    versions::spec(&spec, Options::new(), &SPEC, &mut found);
    all_else(object, None, &spec, &mut found);
    errors.append(found.into_errors());
}

/// Errors of a definition that takes the place of `old`.
pub(super) fn validate_update(object: &Value, old: &Value, errors: &mut Errors) {
    if !is_shallow(object, errors) {
        return;
    }
    let (spec, was, mut found) = (Spec::of(object), Spec::of(old), Found::default());
    let options = Options::of(old, &was, &spec);
    let fixed = options.fixed_names;
    versions::spec(&spec, options, &SPEC, &mut found);
    names::fixed(&spec, &was, fixed, &SPEC, &mut found);
    all_else(object, Some(old), &spec, &mut found);
    errors.append(found.into_errors());
}

/// Errors of a status.
pub(super) fn validate_status(object: &Value, _old: &Value, errors: &mut Errors) {
    let mut found = Found::default();
    accepted_names(object, &mut found);
    errors.append(found.into_errors());
}

/// Recursion is bounded by the depth of what is recursed into.
fn is_shallow(object: &Value, errors: &mut Errors) -> bool {
    fn fits(value: &Value, left: usize) -> bool {
        let mut parts: Box<dyn Iterator<Item = &Value>> = match value {
            Value::Array(list) => Box::new(list.iter()),
            Value::Object(members) => Box::new(members.values()),
            _ => return true,
        };
        left > 0 && parts.all(|part| fits(part, left - 1))
    }
    let shallow = fits(object, DEPTH_MAX);
    if !shallow {
        let detail = format!("must not be nested deeper than {DEPTH_MAX} levels");
        errors.forbidden(&Path::new("spec"), &detail);
    }
    shallow
}

/// A definition is named after what it defines.
fn own_name(object: &Value, spec: &Spec, found: &mut Found) {
    let metadata = At::root("metadata");
    let wanted = format!("{}.{}", spec.names().text("plural"), spec.text("group"));
    for field in ["generateName", "name"] {
        let name = string(get(object, "metadata"), field);
        let given = field == "name" || !name.is_empty();
        if given && name != wanted && !name.is_empty() {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            found.invalid(&metadata.child(field), quoted(name), detail);
        }
    }
}

fn all_else(object: &Value, old: Option<&Value>, spec: &Spec, found: &mut Found) {
    accepted_names(object, found);
    stored_versions(object, spec, found);
    approval(object, old, spec, found);
    let kept = old.is_some_and(|old| is_true(get(old, "spec"), "preserveUnknownFields"));
    if spec.preserves_unknown() && !kept {
        found.invalid(
            &SPEC.child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        );
    }
}

fn accepted_names(object: &Value, found: &mut Found) {
    if let Some(accepted) = at(object, "/status/acceptedNames").as_object() {
        names::validate(schema::Schema(accepted), &STATUS.child("acceptedNames"), found);
    }
}

/// Every version in which objects may be stored is still there.
fn stored_versions(object: &Value, spec: &Spec, found: &mut Found) {
    let stored = list(get(object, "status"), "storedVersions");
    let at = STATUS.child("storedVersions");
    if stored.is_empty() {
        let given = get(get(object, "status"), "storedVersions").is_array();
        let shown = if given {
            Value::Array(Vec::new())
        } else {
            Value::Null
        };
        return found.invalid(&at, shown, "must have at least one stored version");
    }
    // Of two versions with one name, only the first is the one that is stored.
    let mut left: BTreeSet<&str> = stored.iter().filter_map(Value::as_str).collect();
    for version in &spec.versions {
        if found.is_full() {
            return;
        }
        if !left.remove(version.name) && version.raw.is("storage") {
            let detail = format!("must have the storage version {}", version.name);
            found.invalid(&at, shown::texts(stored), &detail);
        }
    }
    for (i, version) in stored.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        if found.is_full() {
            return;
        }
        // Of a repeated name the last counts.
        let is_last = stored[i + 1..].iter().all(|later| later != version);
        if left.contains(name) && is_last {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            found.invalid(&at.index(i), quoted(name), &detail);
        }
    }
}

#[derive(PartialEq)]
enum Approval {
    Missing,
    /// By this URL, or with the word that it is not.
    Approved,
    Bypassed,
    Invalid,
}

fn approval_of(object: &Value) -> Approval {
    match crate::row::annotation(object, APPROVED).unwrap_or_default() {
        "" => Approval::Missing,
        text if text.starts_with("unapproved") => Approval::Bypassed,
        text if url::is_absolute(text) => Approval::Approved,
        _ => Approval::Invalid,
    }
}

/// Kubernetes' own groups are not for everybody.
fn approval(object: &Value, old: Option<&Value>, spec: &Spec, found: &mut Found) {
    let group = spec.text("group");
    let own = |domain: &str| {
        let before = group.strip_suffix(domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    if !own("k8s.io") && !own("kubernetes.io") {
        return;
    }
    let state = approval_of(object);
    if old.is_some_and(|old| approval_of(old) == state) {
        return;
    }
    let (metadata, see) = (
        At::root("metadata"),
        "see https://github.com/kubernetes/enhancements/pull/1111",
    );
    let annotations = metadata.child("annotations");
    let at = annotations.key(APPROVED);
    match state {
        Approval::Approved | Approval::Bypassed => {}
        Approval::Missing => {
            let detail = format!("protected groups must have approval annotation {APPROVED:?}, {see}");
            found.required(&at, &detail);
        }
        Approval::Invalid => {
            let given = crate::row::annotation(object, APPROVED).unwrap_or_default();
            let detail = format!(
                "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", {see}"
            );
            found.invalid(&at, quoted(given), &detail);
        }
    }
}

/// A text that must be given and one of these.
fn one_of(value: &str, allowed: &[&str], at: &At, found: &mut Found) {
    match value {
        "" => found.required(at, ""),
        value if allowed.contains(&value) => {}
        value => found.not_supported(at, quoted(value), allowed),
    }
}

/// What a rule's `fieldPath` names, as field errors write it.
pub(crate) fn rule_path(path: &str, schema: &Value) -> Option<String> {
    let schema = schema::Schema(schema.as_object()?);
    field_path::follow(path, Some(schema), true)
        .ok()
        .map(|place| place.text)
}
