//! The whole cluster at ONE revision: a persistent map, so keeping an old one costs only what has changed since.

use crate::{Object, Res};
use imbl::OrdMap;
use std::sync::Arc;

/// Objects of one resource by `namespace/name`.
pub type Table = OrdMap<Arc<str>, Object>;

/// What one owner owns.
type Dependents = OrdMap<(Res, Arc<str>), ()>;

/// All objects at one revision. Cloning costs a few reference counts; readers never wait for writers.
#[derive(Clone, Default)]
pub struct Snapshot {
    revision: u64,
    tables: OrdMap<Res, Table>,
    /// Owner uid -> what it owns; kept in step with `tables` so that dependents are found without a scan.
    owned: OrdMap<Arc<str>, Dependents>,
}

/// One committed write as watchers see it.
#[derive(Clone, Debug)]
pub struct Change {
    pub res: Res,
    pub kind: ChangeKind,
    /// For a deletion: the last state, under the revision of the deletion.
    pub object: Object,
    pub previous: Option<Object>,
    pub revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

impl Snapshot {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn get(&self, res: Res, namespace: &str, name: &str) -> Option<&Object> {
        self.tables
            .get(&res)?
            .get(crate::object::key(namespace, name).as_str())
    }

    /// By `namespace/name` (or name).
    pub fn by_key(&self, res: Res, key: &str) -> Option<&Object> {
        self.tables.get(&res)?.get(key)
    }

    /// All objects of a resource, in key order; within one namespace when that is not empty.
    pub fn list<'a>(&'a self, res: Res, namespace: &str) -> impl Iterator<Item = &'a Object> + use<'a> {
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        self.after(res, &prefix, "").map(|(_, object)| object)
    }

    /// Objects whose key starts with `prefix` and comes after `after` (exclusive; empty: from the start).
    pub fn after<'a>(
        &'a self,
        res: Res,
        prefix: &str,
        after: &str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Object)> + use<'a> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = if after.is_empty() || after < prefix {
            Included(prefix)
        } else {
            Excluded(after)
        };
        // With an end no key has to be looked at.
        let end = behind(prefix);
        let beyond = end.as_deref().is_some_and(|end| after >= end);
        let to = end.as_deref().map_or(Unbounded, Excluded);
        let table = self.tables.get(&res).filter(|_| !beyond);
        let range = table.map(|table| table.range::<_, str>((from, to)));
        range.into_iter().flatten()
    }

    pub fn count(&self, res: Res) -> usize {
        self.tables.get(&res).map_or(0, OrdMap::len)
    }

    /// The table of one resource, if it has objects. Tables that are the same (`ptr_eq`) hold the same objects.
    pub fn table(&self, res: Res) -> Option<&Table> {
        self.tables.get(&res)
    }

    /// Every resource that has objects, with its table.
    pub fn tables(&self) -> impl Iterator<Item = (Res, &Table)> {
        self.tables.iter().map(|(res, table)| (*res, table))
    }

    /// What names this uid among its owner references.
    pub fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = (Res, &'a Object)> + use<'a> {
        let dependents = self.owned.get(uid);
        dependents
            .into_iter()
            .flat_map(|d| d.keys())
            .filter_map(|(res, key)| Some((*res, self.by_key(*res, key)?)))
    }

    /// Puts an object in place and returns what stood there. For the store alone: everyone else goes through the API.
    pub fn put(&mut self, res: Res, object: Object) -> Option<Object> {
        let key: Arc<str> = object.meta().key().into();
        let table = self.tables.entry(res).or_default();
        let previous = table.insert(key.clone(), object.clone());
        self.revision = self.revision.max(object.revision());
        if let Some(old) = &previous {
            self.disown(res, &key, old);
        }
        for owner in &object.meta().owners {
            let uid: Arc<str> = owner.uid.as_ref().into();
            self.owned.entry(uid).or_default().insert((res, key.clone()), ());
        }
        previous
    }

    /// Takes an object away at `revision`. For the store alone.
    pub fn remove(&mut self, res: Res, key: &str, revision: u64) -> Option<Object> {
        let table = self.tables.get_mut(&res)?;
        let old = table.remove(key)?;
        if table.is_empty() {
            self.tables.remove(&res);
        }
        self.revision = self.revision.max(revision);
        self.disown(res, &Arc::from(key), &old);
        Some(old)
    }

    /// For the store alone: revisions may advance without a change that is visible here.
    pub fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn disown(&mut self, res: Res, key: &Arc<str>, old: &Object) {
        for owner in &old.meta().owners {
            let Some(set) = self.owned.get_mut(&*owner.uid) else {
                continue;
            };
            set.remove(&(res, key.clone()));
            if set.is_empty() {
                self.owned.remove(&*owner.uid);
            }
        }
    }
}

/// The least text that comes after all that begin with `prefix`; `None` when nothing does.
fn behind(prefix: &str) -> Option<String> {
    let mut kept = prefix.chars();
    while let Some(last) = kept.next_back() {
        // No character comes after the last one, and none between the surrogates.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            return Some(format!("{}{next}", kept.as_str()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_what_only_looks_like_it() {
        for (prefix, end) in [
            ("", None),
            ("ns/", Some("ns0")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ] {
            assert_eq!(behind(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
