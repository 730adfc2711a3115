//! All rows that are served now: the built-in ones and those of custom resources. Cloning is cheap; a change makes a
//! new registry, which shares all that is the same.

use crate::custom;
use crate::row::Row;
use imbl::OrdMap;
use meta::snapshot::Table;
use meta::{Object, Res};
use std::sync::Arc;

/// Where a row is found: group, version, and plural or kind.
type Place<'a> = (&'a str, &'a str, &'a str);

type Key = (Res, &'static str);

/// Rows by resource and version, by path and by kind.
#[derive(Clone, Default)]
pub struct Registry {
    rows: OrdMap<Key, Arc<Row>>,
    paths: OrdMap<Place<'static>, Key>,
    kinds: OrdMap<Place<'static>, Key>,
    /// The definitions that custom rows were made of.
    definitions: Table,
}

impl Registry {
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut registry = Self::default();
        rows.into_iter().for_each(|row| registry.add(row));
        registry
    }

    pub fn builtin() -> Self {
        Self::new(crate::rows())
    }

    /// This registry with the rows of these definitions instead of those that it was made of. What has not changed is not
    /// looked at.
    pub fn with_definitions(&self, definitions: &Table) -> Self {
        use imbl::ordmap::DiffItem;
        let mut registry = self.clone();
        let mut added = Vec::new();
        // What goes, goes first: another definition may have taken over its names.
        for change in self.definitions.diff(definitions) {
            match change {
                DiffItem::Add(_, new) => added.push(new),
                DiffItem::Remove(_, old) => registry.forget(old),
                DiffItem::Update { old, new } => {
                    registry.forget(old.1);
                    added.push(new.1);
                }
            }
        }
        for definition in added {
            for row in custom::rows(definition, self) {
                registry.add(row);
            }
        }
        registry.definitions = definitions.clone();
        registry
    }

    /// Whether the custom rows are those of these definitions.
    pub fn is_of(&self, definitions: &Table) -> bool {
        self.definitions.ptr_eq(definitions) || (self.definitions.is_empty() && definitions.is_empty())
    }

    fn add(&mut self, row: Row) {
        let key @ (res, version) = (row.res, row.version);
        self.paths.insert((res.group, version, res.plural), key);
        self.kinds.insert((res.group, version, row.kind), key);
        self.rows.insert(key, Arc::new(row));
    }

    /// Takes out the rows that a definition gave.
    fn forget(&mut self, definition: &Object) {
        let uid = definition.uid();
        let res = custom::resource(&definition.value());
        let versions = self.rows.range((res, "")..).take_while(|((r, _), _)| *r == res);
        let own = versions.filter(|(_, row)| row.rules.made_of().is_some_and(|made| *made.uid == *uid));
        let own: Vec<Arc<Row>> = own.map(|(_, row)| row.clone()).collect();
        for row in own {
            self.rows.remove(&(res, row.version));
            self.paths.remove(&(res.group, row.version, res.plural));
            self.kinds.remove(&(res.group, row.version, row.kind));
        }
    }

    /// The row that a path names.
    pub fn by_path(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Row>> {
        self.rows.get(&find(&self.paths, (group, version, plural))?)
    }

    /// The row in whose form a resource is stored; its other versions are views on it.
    pub fn by_res(&self, res: Res) -> Option<&Arc<Row>> {
        let versions = self.rows.range((res, "")..).take_while(|((r, _), _)| *r == res);
        let mut rows = versions.map(|(_, row)| row);
        let first = rows.clone().next();
        rows.find(|row| row.is_stored()).or(first)
    }

    /// The row of an `apiVersion` and `kind`, as owner references name it.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Row>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.rows.get(&find(&self.kinds, (group, version, kind))?)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values()
    }

    /// One row for all that is stored under each resource.
    pub fn stored(&self) -> impl Iterator<Item = &Arc<Row>> {
        let mut last = None;
        let each = self
            .rows
            .keys()
            .map(|(res, _)| *res)
            .filter(move |res| last.replace(*res) != Some(*res));
        let rows = each.filter_map(|res| self.by_res(res));
        rows.filter(|row| row.rules.version_of().is_none_or(|of| of == row.res))
    }
}

/// The keys live as long as the process, those that are asked for need not.
fn find<'a>(map: &'a OrdMap<Place<'a>, Key>, place: Place<'a>) -> Option<Key> {
    map.get(&place).copied()
}
