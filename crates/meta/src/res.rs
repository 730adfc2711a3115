//! A resource's identity: API group and plural name, e.g. `apps` + `statefulsets`.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Group and plural of a resource. Copy and quick to compare; names of custom resources are interned, and each
/// distinct name is kept for the life of the process (bounded by the number of CRD names ever created).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Res {
    /// Empty for the core group.
    pub group: &'static str,
    pub plural: &'static str,
}

impl Res {
    pub const fn new(group: &'static str, plural: &'static str) -> Self {
        Self { group, plural }
    }

    pub fn interned(group: &str, plural: &str) -> Self {
        Self {
            group: intern(group),
            plural: intern(plural),
        }
    }

    /// `statefulsets.apps`, or `pods` for the core group, as it reads in messages.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

impl std::fmt::Debug for Res {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.qualified())
    }
}

/// One copy of a list of texts for the life of the process.
pub fn intern_list<'a>(texts: impl Iterator<Item = &'a str>) -> &'static [&'static str] {
    static LISTS: Mutex<Option<HashSet<&'static [&'static str]>>> = Mutex::new(None);
    let list: Vec<&'static str> = texts.map(intern).collect();
    let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    let lists = lists.get_or_insert_default();
    if let Some(&known) = lists.get(list.as_slice()) {
        return known;
    }
    let kept: &'static [&'static str] = Box::leak(list.into_boxed_slice());
    lists.insert(kept);
    kept
}

/// One copy of `text` for the life of the process.
pub fn intern(text: &str) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(&known) = names.get(text) {
        return known;
    }
    let kept: &'static str = Box::leak(text.to_string().into_boxed_str());
    names.insert(kept);
    kept
}
