//! The spec of a definition and its versions: schemas, subresources, columns and selectable fields.

use super::expressions::{Expressions, Scope};
use super::found::{At, Found};
use super::open_api::{self, Place, Walk};
use super::options::{Options, SELECTABLE_MAX, has_extensions};
use super::schema::Schema;
use super::shown::{self, is_print, json_text, json_text_or_null, quoted};
use super::spec::{self, Spec, Version};
use super::{conversion, default_values, field_path, names, one_of, structural};
use meta::name;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

pub(super) fn spec(spec: &Spec, mut options: Options, at: &At, found: &mut Found) {
    group(spec.text("group"), &at.child("group"), found);
    let scope = spec.text("scope");
    one_of(scope, &["Cluster", "Namespaced"], &at.child("scope"), found);
    missing_schemas(spec, &options, at, found);
    let pruned = !spec.preserves_unknown();
    let has_defaults = spec.any(|s| s.given("default").is_some());
    if has_defaults && !pruned {
        let detail = "must be false in order to use defaults in the schema";
        found.invalid(&at.child("preserveUnknownFields"), true, detail);
    }
    options.structural |= pruned || has_defaults || spec.any(has_extensions);
    let versions_at = at.child("versions");
    for (i, version) in spec.versions.iter().enumerate() {
        let at = versions_at.index(i);
        names::label(version.name, &at.child("name"), found);
        let has_status = spec::has_status(spec.subresources_of(version.name));
        self::version(version, has_status, &options, &at, found);
    }
    version_list(spec, at, &versions_at, found);
    let names = spec.names();
    let names_at = at.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        if names.text(field).is_empty() {
            found.required(&names_at.child(field), "");
        }
    }
    names::validate(names, &names_at, found);
    common(spec, &options, at, found);
    conversion::validate(spec, at, &options, found);
}

fn group(group: &str, at: &At, found: &mut Found) {
    let why = name::check_dns1123_subdomain(group);
    if group.is_empty() {
        found.required(at, "");
    } else if !why.is_empty() {
        found.invalid(at, quoted(group), &why.join(","));
    } else if !group.contains('.') {
        found.invalid(at, quoted(group), "should be a domain with at least one dot");
    }
}

fn missing_schemas(spec: &Spec, options: &Options, at: &At, found: &mut Found) {
    if spec.validation.and_then(spec::open_api).is_some() {
        return;
    }
    let versions = at.child("versions");
    for (i, version) in spec.versions.iter().enumerate() {
        let version_at = versions.index(i);
        let schema = version_at.child("schema");
        let at = schema.child("openAPIV3Schema");
        if version.open_api().is_some() {
        } else if options.schemas {
            found.required(&at, "");
        } else if !spec.preserves_unknown() && version.raw.is("served") {
            found.required(&at, "because otherwise all fields are pruned");
        }
    }
}

/// What is wrong with the versions as a list.
fn version_list(spec: &Spec, at: &At, versions_at: &At, found: &mut Found) {
    let mut seen = HashSet::new();
    if !spec.versions.iter().all(|version| seen.insert(version.name)) {
        let shown = shown::versions(&spec.versions);
        found.invalid(versions_at, shown, "must contain unique version names");
    }
    let stored = spec.versions.iter().filter(|version| version.raw.is("storage"));
    if stored.count() != 1 {
        let shown = match spec.raw.given("versions") {
            None => meta::field::Shown("null".into()),
            Some(_) => shown::versions(&spec.versions),
        };
        let detail = "must have exactly one version marked as storage version";
        found.invalid(versions_at, shown, detail);
    }
    if !spec.version.is_empty() {
        names::label(spec.version, &at.child("version"), found);
    }
}

/// What all versions have in common.
fn common(spec: &Spec, options: &Options, at: &At, found: &mut Found) {
    if let Some(validation) = spec.validation {
        let (validation, at) = ((validation, spec.version), at.child("validation"));
        self::validation(validation, spec.any_has_status(), options, &at, found);
    }
    subresources(spec.subresources, &at.child("subresources"), found);
    columns(spec.columns, at, found);
    if spec.selectable.is_empty() {
        return;
    }
    let selectable = at.child("selectableFields");
    let Some(validation) = spec.validation else {
        let detail = "may only be set when validations.schema is included";
        return found.invalid(&selectable, "", detail);
    };
    let schema = at.child("schema.openAPIV3Schema");
    let open_api = spec::open_api(validation);
    selectable_fields(
        spec.selectable,
        open_api,
        "",
        options,
        (&selectable, &schema),
        found,
    );
}

fn version(version: &Version, has_status: bool, options: &Options, at: &At, found: &mut Found) {
    deprecation(version.raw, &at.child("deprecationWarning"), found);
    if let Some(schema) = version.schema {
        validation(
            (schema, version.name),
            has_status,
            options,
            &at.child("schema"),
            found,
        );
    }
    subresources(version.subresources, &at.child("subresources"), found);
    columns(version.columns.unwrap_or(&[]), at, found);
    let fields = version.selectable.unwrap_or(&[]);
    let selectable = at.child("selectableFields");
    if fields.is_empty() {
        return;
    }
    let Some(schema) = version.open_api() else {
        let detail = "may only be set when `version.schema.openAPIV3Schema` is not included";
        return found.invalid(&selectable, "", detail);
    };
    let schema_at = at.child("schema.openAPIV3Schema");
    selectable_fields(
        fields,
        Some(schema),
        version.name,
        options,
        (&selectable, &schema_at),
        found,
    );
}

fn deprecation(version: Schema, at: &At, found: &mut Found) {
    let warning = version.given_text("deprecationWarning");
    let mut wrong = |detail: &str| found.invalid(at, json_text_or_null(warning), detail);
    let Some(text) = warning else { return };
    if !version.is("deprecated") {
        return wrong("can only be set for deprecated versions");
    }
    if text.len() > 256 {
        wrong("must be <= 256 characters long");
    }
    if text.is_empty() {
        wrong("must not be an empty string");
    }
    if let Some((i, _)) = text.char_indices().find(|(_, c)| !is_print(*c)) {
        wrong(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {i}"
        ));
    }
}

/// Members of a schema that may stand at its root when the status has a subresource, in upstream's names.
const AT_ROOT: [&str; 22] = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// The schema of a version, or of all together when that is what the first one is asked for.
fn validation(
    (validation, version): (Schema, &str),
    has_status: bool,
    options: &Options,
    at: &At,
    found: &mut Found,
) {
    let Some(schema) = spec::open_api(validation) else {
        return;
    };
    let mut own = Found::default();
    if has_status {
        root(schema, at, &mut own);
    }
    if schema.is("nullable") {
        let detail = "nullable cannot be true at the root";
        own.forbidden(&at.child("openAPIV3Schema.nullable"), detail);
    }
    let schema_at = at.child("openAPIV3Schema");
    let (mut unreadable, mut scope) = (None, None);
    if options.structural {
        unreadable = structural::unreadable(schema);
        if unreadable.is_none() {
            let before = own.count();
            structural::validate(schema, &schema_at, &mut own);
            if own.count() == before {
                default_values::validate(schema, &schema_at, options.pruned_defaults, &mut own);
            }
            scope = (own.count() == before).then_some(Scope::ROOT);
        }
    }
    let mut walk = Walk {
        options,
        found: Found::default(),
        expressions: Expressions::new(options.unchanged.contains(version)),
    };
    open_api::validate(schema, &schema_at, Place::root(scope), &mut walk);
    let Walk {
        found: open,
        mut expressions,
        ..
    } = walk;
    own.append(open);
    own.append(std::mem::take(&mut expressions.found));
    if let Some(why) = unreadable.filter(|_| own.is_empty()) {
        own.invalid(&schema_at, "", why);
    }
    expressions.limit_total(&schema_at, &mut own);
    found.append(own);
}

/// The status is validated by the schema of its property alone, so the root may not say more of it.
fn root(schema: Schema, at: &At, found: &mut Found) {
    for member in shown::members_given(schema) {
        if member == "Type" && schema.kind() != "object" {
            let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            return found.invalid(&at.child("openAPIV3Schema.type"), quoted(schema.kind()), detail);
        }
        if !AT_ROOT.contains(&member) {
            let detail = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                AT_ROOT.join(" ")
            );
            return found.invalid(&at.child("openAPIV3Schema"), shown::schema(schema), &detail);
        }
    }
}

fn subresources(subresources: Option<Schema>, at: &At, found: &mut Found) {
    let Some(scale) = subresources.and_then(|subresources| subresources.inner("scale")) else {
        return;
    };
    let paths = [
        ("specReplicasPath", "scale.specReplicasPath", ".spec."),
        ("statusReplicasPath", "scale.statusReplicasPath", ".status."),
    ];
    for (field, told, under) in paths {
        let (path, at) = (scale.text(field), at.child(told));
        if path.is_empty() {
            found.required(&at, "");
        } else if is_simple(path, &at, found) && !path.starts_with(under) {
            let detail = format!("should be a json path under {}", under.trim_end_matches('.'));
            found.invalid(&at, quoted(path), &detail);
        }
    }
    let (path, at) = (
        scale.text("labelSelectorPath"),
        at.child("scale.labelSelectorPath"),
    );
    let known = path.starts_with(".spec.") || path.starts_with(".status.");
    if !path.is_empty() && is_simple(path, &at, found) && !known {
        let detail = "should be a json path under either .spec or .status";
        found.invalid(&at, json_text(path), detail);
    }
}

/// A path that is given begins with a dot.
fn is_simple(path: &str, at: &At, found: &mut Found) -> bool {
    let simple = path.starts_with('.');
    if !simple {
        found.invalid(at, quoted(path), "must be a simple json path starting with .");
    }
    simple
}

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];

fn columns(columns: &[Value], at: &At, found: &mut Found) {
    let list = at.child("additionalPrinterColumns");
    for (i, column) in columns.iter().enumerate() {
        if found.is_full() {
            return;
        }
        let (column, at) = (Schema::of(column), list.index(i));
        let must_be = |known: &[&str]| format!("must be one of {}", known.join(","));
        if column.text("name").is_empty() {
            found.required(&at.child("name"), "");
        }
        match column.kind() {
            "" => found.required(&at.child("type"), &must_be(&COLUMN_TYPES)),
            kind if COLUMN_TYPES.contains(&kind) => {}
            kind => found.invalid(&at.child("type"), quoted(kind), &must_be(&COLUMN_TYPES)),
        }
        let format = column.text("format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            found.invalid(&at.child("format"), quoted(format), &must_be(&COLUMN_FORMATS));
        }
        let (path, at) = (column.text("jsonPath"), at.child("JSONPath"));
        if path.is_empty() {
            found.required(&at, "");
        } else {
            is_simple(path, &at, found);
        }
    }
}

/// Fields that objects can be selected by; `at` is where they and their schema are told of.
fn selectable_fields(
    fields: &[Value],
    schema: Option<Schema>,
    version: &str,
    options: &Options,
    (at, schema_at): (&At, &At),
    found: &mut Found,
) {
    // A schema that is not there is missed elsewhere. Nor has one that cannot be read any fields; upstream's server fails
    // then.
    let why = schema.and_then(structural::unreadable);
    if let Some(why) = why {
        found.invalid(schema_at, "", why);
    }
    let schema = schema.filter(|_| why.is_none());
    let mut unique = BTreeSet::new();
    for (i, field) in fields.iter().enumerate() {
        if found.is_full() {
            return;
        }
        let item = at.index(i);
        let (path, at) = (Schema::of(field).text("jsonPath"), item.child("jsonPath"));
        if path.is_empty() {
            found.required(&at, "");
            continue;
        }
        let place = match field_path::follow(path, schema, false) {
            Ok(place) => place,
            Err(why) => {
                found.invalid(&at, quoted(path), &format!("is an invalid path: {why}"));
                continue;
            }
        };
        if place.in_metadata {
            found.invalid(&at, quoted(path), "must not point to fields in metadata");
        }
        let plain = |schema: Schema| ["string", "boolean", "integer"].contains(&schema.kind());
        if !place.schema.is_some_and(plain) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            found.invalid(&at, quoted(path), detail);
        }
        if !unique.insert(place.text) {
            found.duplicate(&at, quoted(path));
        }
    }
    if unique.len() > SELECTABLE_MAX && !options.many_selectable.contains(version) {
        found.too_many(at, unique.len(), SELECTABLE_MAX);
    }
}
