//! How strict validation is: in full with a new definition; with a changed one, what was wrong before may stay so.

use super::ca_bundle;
use super::open_api::TYPES;
use super::schema::Schema;
use super::spec::{Spec, Version, open_api};
use super::structural;
use super::{default_values, lists, same};
use crate::json::{at, list, string};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// More selectable fields than this are refused.
pub(super) const SELECTABLE_MAX: usize = 8;
/// The versions of `ConversionReview` that the server speaks.
pub(super) const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

pub(super) struct Options {
    pub(super) known_review_version: bool,
    pub(super) fixed_names: bool,
    pub(super) schemas: bool,
    pub(super) valid_types: bool,
    pub(super) structural: bool,
    pub(super) atomic_sets: bool,
    pub(super) strict_maps_and_sets: bool,
    pub(super) bad_ca_bundle: bool,
    pub(super) pruned_defaults: bool,
    /// Versions whose schema stays as it was; what its rules cost was looked at before.
    pub(super) unchanged: BTreeSet<String>,
    /// Versions that may keep too many selectable fields; the empty name is that of all together.
    pub(super) many_selectable: BTreeSet<String>,
}

impl Options {
    /// For a definition that is new. Nobody uses it before it is established, so its certificates may come later.
    pub(super) fn new() -> Self {
        Self {
            known_review_version: true,
            fixed_names: false,
            schemas: true,
            valid_types: true,
            structural: true,
            atomic_sets: true,
            strict_maps_and_sets: true,
            bad_ca_bundle: true,
            pruned_defaults: true,
            unchanged: BTreeSet::new(),
            many_selectable: BTreeSet::new(),
        }
    }

    /// For one that takes the place of `old`.
    pub(super) fn of(old: &Value, was: &Spec, new: &Spec) -> Self {
        Self {
            known_review_version: speaks_known_version(old),
            fixed_names: is_established(old),
            schemas: has_all_schemas(was),
            valid_types: !was.any(|s| !s.kind().is_empty() && !TYPES.contains(&s.kind())),
            structural: was.schemas().all(structural::is_structural),
            atomic_sets: !was.any(lists::is_set_of_parts),
            strict_maps_and_sets: !was.any(lists::has_loose_items),
            bad_ca_bundle: may_have_bad_ca_bundle(old),
            pruned_defaults: was.schemas().all(has_pruned_defaults),
            unchanged: unchanged(was, new),
            many_selectable: many_selectable(was, new),
        }
    }
}

fn has_pruned_defaults(schema: Schema) -> bool {
    let looked_at = default_values::are_there(schema) && structural::is_structural(schema);
    !looked_at || !default_values::has_unknown_fields(schema)
}

fn unchanged(was: &Spec, new: &Spec) -> BTreeSet<String> {
    let same = |name: &str| match (new.schema_of(name), was.schema_of(name)) {
        (Some(new), Some(was)) => {
            new.is_some() == was.is_some()
                && same::same_schema(new.and_then(open_api), was.and_then(open_api))
        }
        _ => false,
    };
    let names = new.versions.iter().map(|version| version.name);
    names.filter(|name| same(name)).map(str::to_string).collect()
}

fn is_established(object: &Value) -> bool {
    let conditions = list(at(object, "/status"), "conditions");
    let established = conditions.iter().find(|c| string(c, "type") == "Established");
    established.is_some_and(|c| string(c, "status") == "True")
}

fn speaks_known_version(old: &Value) -> bool {
    let versions = list(at(old, "/spec/conversion/webhook"), "conversionReviewVersions");
    let known = |version: &Value| version.as_str().is_some_and(|v| REVIEW_VERSIONS.contains(&v));
    versions.is_empty() || versions.iter().any(known)
}

fn has_all_schemas(spec: &Spec) -> bool {
    let common = spec.validation.and_then(open_api);
    common.is_some() || spec.versions.iter().all(|version| version.open_api().is_some())
}

fn may_have_bad_ca_bundle(old: &Value) -> bool {
    if !is_established(old) {
        return true;
    }
    let bundle = string(at(old, "/spec/conversion/webhook/clientConfig"), "caBundle");
    !bundle.is_empty() && ca_bundle::check(bundle).is_err()
}

fn many_selectable(was: &Spec, new: &Spec) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let kept = |was: &[Value], new: &[Value]| was.len() > SELECTABLE_MAX && same::same_selectable(was, new);
    if kept(was.selectable, new.selectable) {
        out.insert(String::new());
    }
    // Of versions with the same name the last counts.
    let older: HashMap<&str, &Version> = was.versions.iter().map(|old| (old.name, old)).collect();
    for version in &new.versions {
        if let Some(before) = older.get(version.name)
            && kept(
                before.selectable.unwrap_or(&[]),
                version.selectable.unwrap_or(&[]),
            )
        {
            out.insert(version.name.to_string());
        }
    }
    out
}

/// Whether a schema uses what only structural schemas may.
pub(super) fn has_extensions(schema: Schema) -> bool {
    schema.is("x-kubernetes-embedded-resource")
        || schema.flag("x-kubernetes-preserve-unknown-fields").is_some()
        || schema.is("x-kubernetes-int-or-string")
        || !schema.list("x-kubernetes-list-map-keys").is_empty()
        || schema.given_text("x-kubernetes-list-type").is_some()
        || !schema.list(super::shown::RULES).is_empty()
}
