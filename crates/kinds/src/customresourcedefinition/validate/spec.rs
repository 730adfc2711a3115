//! The spec of a definition in the form that upstream validates it in: what is the same in all versions stands beside
//! them, and errors name it there (`spec.validation` instead of `spec.versions[0].schema`).

use super::same::{same_columns, same_schema, same_selectable, same_subresources};
use super::schema::Schema;
use serde_json::Value;
use std::collections::HashMap;

pub(super) struct Spec<'a> {
    pub(super) raw: Schema<'a>,
    pub(super) versions: Vec<Version<'a>>,
    /// Where the first version of each name stands.
    by_name: HashMap<&'a str, usize>,
    /// The name of the first version.
    pub(super) version: &'a str,
    /// `CustomResourceValidation`, `{openAPIV3Schema: …}`.
    pub(super) validation: Option<Schema<'a>>,
    pub(super) subresources: Option<Schema<'a>>,
    pub(super) columns: &'a [Value],
    pub(super) selectable: &'a [Value],
    versioned: Versioned,
}

/// What differs from version to version.
#[derive(Default)]
struct Versioned {
    schemas: bool,
    subresources: bool,
}

pub(super) struct Version<'a> {
    pub(super) raw: Schema<'a>,
    pub(super) name: &'a str,
    pub(super) schema: Option<Schema<'a>>,
    pub(super) subresources: Option<Schema<'a>>,
    pub(super) columns: Option<&'a [Value]>,
    pub(super) selectable: Option<&'a [Value]>,
}

impl<'a> Version<'a> {
    fn of(value: &'a Value) -> Self {
        let raw = Schema::of(value);
        let list = |field| raw.given(field).map(|_| raw.list(field));
        Self {
            raw,
            name: raw.text("name"),
            schema: raw.inner("schema"),
            subresources: raw.inner("subresources"),
            columns: list("additionalPrinterColumns"),
            selectable: list("selectableFields"),
        }
    }

    pub(super) fn open_api(&self) -> Option<Schema<'a>> {
        self.schema.and_then(open_api)
    }
}

/// The schema in a `CustomResourceValidation`.
pub(super) fn open_api(validation: Schema) -> Option<Schema> {
    validation.inner("openAPIV3Schema")
}

impl<'a> Spec<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        let raw = Schema::of(object.get("spec").unwrap_or(&Value::Null));
        let versions: Vec<Version> = raw.list("versions").iter().map(Version::of).collect();
        let names = versions.iter().map(|version| version.name).enumerate();
        let mut spec = Self {
            raw,
            by_name: names.rev().map(|(i, name)| (name, i)).collect(),
            versions,
            versioned: Versioned::default(),
            version: "",
            validation: None,
            subresources: None,
            columns: &[],
            selectable: &[],
        };
        spec.lift();
        spec
    }

    /// Takes out of the versions what they all have in common.
    fn lift(&mut self) {
        let Some(first) = self.versions.first() else {
            return;
        };
        let all = |same: &dyn Fn(&Version<'a>) -> bool| self.versions.iter().all(same);
        let content = |list: Option<&'a [Value]>| list.unwrap_or(&[]);
        let (columns, selectable) = (content(first.columns), content(first.selectable));
        let validated = all(&|v| {
            let there = v.schema.is_some() == first.schema.is_some();
            there && same_schema(v.open_api(), first.open_api())
        });
        let subresourced = all(&|v| same_subresources(v.subresources, first.subresources));
        let columned = all(&|v| same_columns(content(v.columns), columns));
        let selected = all(&|v| same_selectable(content(v.selectable), selectable));
        self.version = first.name;
        if validated {
            self.validation = first.schema;
        }
        if subresourced {
            self.subresources = first.subresources;
        }
        if columned {
            self.columns = columns;
        }
        if selected {
            self.selectable = selectable;
        }
        for version in &mut self.versions {
            version.schema = version.schema.filter(|_| !validated);
            version.subresources = version.subresources.filter(|_| !subresourced);
            version.columns = version.columns.filter(|_| !columned);
            version.selectable = version.selectable.filter(|_| !selected);
        }
        self.versioned = Versioned {
            schemas: self.versions.iter().any(|version| version.schema.is_some()),
            subresources: self.versions.iter().any(|version| version.subresources.is_some()),
        };
    }

    /// The first version of this name.
    fn named(&self, name: &str) -> Option<&Version<'a>> {
        self.versions.get(*self.by_name.get(name)?)
    }

    pub(super) fn text(&self, field: &str) -> &'a str {
        self.raw.text(field)
    }

    pub(super) fn names(&self) -> Schema<'a> {
        self.raw.inner("names").unwrap_or(Schema::of(&Value::Null))
    }

    pub(super) fn preserves_unknown(&self) -> bool {
        self.raw.is("preserveUnknownFields")
    }

    /// Every schema, each once.
    pub(super) fn schemas(&self) -> impl Iterator<Item = Schema<'a>> {
        let common = self.validation.and_then(open_api);
        common
            .into_iter()
            .chain(self.versions.iter().filter_map(Version::open_api))
    }

    /// Whether a schema says so somewhere.
    pub(super) fn any(&self, says: impl Fn(Schema) -> bool) -> bool {
        self.schemas().any(|schema| schema.any(&mut |node| says(node)))
    }

    /// The schema of a version; none of both when there is no such version.
    pub(super) fn schema_of(&self, version: &str) -> Option<Option<Schema<'a>>> {
        match self.versioned.schemas {
            true => self.named(version).map(|version| version.schema),
            false => Some(self.validation),
        }
    }

    pub(super) fn subresources_of(&self, version: &str) -> Option<Schema<'a>> {
        match self.versioned.subresources {
            true => self.named(version)?.subresources,
            false => self.subresources,
        }
    }

    pub(super) fn any_has_status(&self) -> bool {
        has_status(self.subresources) || self.versions.iter().any(|v| has_status(v.subresources))
    }
}

pub(super) fn has_status(subresources: Option<Schema>) -> bool {
    subresources.is_some_and(|s| s.given("status").is_some())
}
