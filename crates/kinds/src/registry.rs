//! All rows that are served now: the built-in ones and those of custom resources. Cloning is cheap; a change makes a
//! new registry.

use crate::Row;
use meta::Res;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows by resource and version.
#[derive(Clone, Default)]
pub struct Registry {
    rows: Arc<BTreeMap<(Res, &'static str), Arc<Row>>>,
}

impl Registry {
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        let rows = rows
            .into_iter()
            .map(|row| ((row.res, row.version), Arc::new(row)))
            .collect();
        Self { rows: Arc::new(rows) }
    }

    pub fn builtin() -> Self {
        Self::new(crate::rows())
    }

    /// The row that a path names.
    pub fn by_path(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Row>> {
        self.iter()
            .find(|row| row.res.plural == plural && row.res.group == group && row.version == version)
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
        self.iter()
            .find(|row| row.kind == kind && row.res.group == group && row.version == version)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values()
    }
}
