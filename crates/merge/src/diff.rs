//! What changed between two objects, as three field sets, in one walk over both.
//! Nothing is allocated for what is equal.

use crate::element;
use crate::fields::{FieldSet, node};
use crate::shape::{Form, Place, fields_of, holds_nothing, items_of};
use crate::value::same;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Fields that a change touched. A path is in one of the three at most.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

/// Fields that are there upstream as soon as their parent is, set or not (Go structs that are no pointers, and lists
/// that are printed when empty), so that nobody adds or removes the field itself while the parent stays.
const ALWAYS_THERE: [&str; 14] = [
    "containers",
    "metadata",
    "spec",
    "status",
    "template",
    "strategy",
    "updateStrategy",
    "resources",
    "jobTemplate",
    "loadBalancer",
    "nodeInfo",
    "daemonEndpoints",
    "kubeletEndpoint",
    "source",
];

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Forgets fields that a write to this endpoint cannot change, and all below them.
    pub(crate) fn without(mut self, reset: &FieldSet) -> Self {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.subtract_recursive(reset);
        }
        self
    }

    /// Added and modified: what the writer now owns.
    pub(crate) fn written(&self) -> FieldSet {
        let mut written = self.modified.clone();
        written.union_with(self.added.clone());
        written
    }

    fn absorb(&mut self, key: &dyn Fn() -> String, below: Below) {
        let Below { set, also, within } = below;
        for (into, within, this) in [
            (&mut self.added, within.added, Kind::Added),
            (&mut self.modified, within.modified, Kind::Modified),
            (&mut self.removed, within.removed, Kind::Removed),
        ] {
            if let Some(node) = node(set == Some(this) || also == Some(this), within.0) {
                into.0.insert(key(), node);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Added,
    Modified,
    Removed,
}

/// What changed at one place (`set`) and below it.
#[derive(Default)]
struct Below {
    set: Option<Kind>,
    /// A second change at the place itself: duplicates that became one item, or the reverse.
    also: Option<Kind>,
    within: Changes,
}

impl Below {
    fn leaf(set: Option<Kind>) -> Self {
        Below {
            set,
            ..Below::default()
        }
    }
}

/// What changed from `old` (nothing: the object is created) to `new`.
pub(crate) fn diff(old: Option<&Value>, new: &Value, place: Place<'_>) -> Changes {
    compare(Some(old.unwrap_or(&EMPTY)), Some(new), place).within
}

fn compare(old: Option<&Value>, new: Option<&Value>, place: Place<'_>) -> Below {
    if let (Some(before), Some(after), None) = (old, new, place.kind())
        && before.is_object() != after.is_object()
    {
        let (gone, came) = (compare(old, None, place).within, compare(None, new, place).within);
        let within = Changes {
            added: came.added,
            modified: FieldSet::new(),
            removed: gone.removed,
        };
        return Below {
            set: Some(Kind::Modified),
            also: None,
            within,
        };
    }
    let form = place.form_of_pair(old, new);
    if matches!(form, Form::Leaf) || (holds_nothing(old) && holds_nothing(new)) {
        return Below::leaf(match (old, new) {
            (None, None) => None,
            (None, Some(_)) => Some(Kind::Added),
            (Some(_), None) => Some(Kind::Removed),
            (Some(old), Some(new)) => (!same(old, new)).then_some(Kind::Modified),
        });
    }
    let within = match form {
        Form::Fields => compare_fields(fields_of(old), fields_of(new), place),
        _ => compare_items(items_of(old), items_of(new), place, form),
    };
    let set = match (old, new) {
        (None, Some(_)) => Some(Kind::Added),
        (Some(_), None) => Some(Kind::Removed),
        _ => None,
    };
    Below {
        set,
        also: None,
        within,
    }
}

static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

fn compare_fields(
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    place: Place<'_>,
) -> Changes {
    let mut changes = Changes::default();
    let (had_parent, has_parent) = (old.is_some(), new.is_some());
    let (mut old, mut new) = (
        old.into_iter().flatten().peekable(),
        new.into_iter().flatten().peekable(),
    );
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let (a, b) = (
            if order.is_le() { old.next() } else { None },
            if order.is_ge() { new.next() } else { None },
        );
        let Some(name) = a.or(b).map(|(name, _)| name) else {
            return changes;
        };
        let (mut a, mut b) = (a.map(|(_, v)| v), b.map(|(_, v)| v));
        if (a.is_none() || b.is_none()) && ALWAYS_THERE.contains(&name.as_str()) && place.declares(name) {
            a = a.or(had_parent.then_some(&*EMPTY));
            b = b.or(has_parent.then_some(&*EMPTY));
            if had_parent && has_parent && holds_nothing(a) && holds_nothing(b) {
                continue;
            }
        }
        changes.absorb(
            &|| element::field(name),
            compare(a, b, place.field_or_deduced(name)),
        );
    }
}

/// Items of a list by name. An item without a name, which only a malformed object has, has no owner.
fn index<'v>(items: &'v [Value], place: Place<'_>, form: Form<'_>) -> BTreeMap<String, Vec<&'v Value>> {
    let mut named = BTreeMap::<String, Vec<&Value>>::new();
    for item in items {
        if let Ok(name) = place.element_of(form, item) {
            named.entry(name).or_default().push(item);
        }
    }
    named
}

fn compare_items(old: &[Value], new: &[Value], place: Place<'_>, form: Form<'_>) -> Changes {
    let mut changes = Changes::default();
    if old == new {
        return changes;
    }
    let (old, mut new) = (index(old, place, form), index(new, place, form));
    for (name, before) in old {
        let after = new.remove(&name).unwrap_or_default();
        changes.absorb(&|| name.clone(), compare_named(&before, &after, place));
    }
    for (name, after) in new {
        changes.absorb(&|| name.clone(), compare_named(&[], &after, place));
    }
    changes
}

/// Compares the items that share one name. Several are one leaf, as upstream has it.
fn compare_named(old: &[&Value], new: &[&Value], place: Place<'_>) -> Below {
    match (old, new) {
        ([] | [_], [] | [_]) => compare(old.first().copied(), new.first().copied(), place.items()),
        ([_, _, ..], [_, _, ..]) => {
            let equal = old.len() == new.len() && old.iter().zip(new).all(|(a, b)| same(a, b));
            Below::leaf((!equal).then_some(Kind::Modified))
        }
        ([_, _, ..], _) => {
            let mut below = new
                .first()
                .map(|item| compare(None, Some(item), place.items()))
                .unwrap_or_default();
            below.also = Some(Kind::Removed);
            below
        }
        (_, [_, _, ..]) => {
            let mut below = old
                .first()
                .map(|item| compare(Some(item), None, place.items()))
                .unwrap_or_default();
            below.also = Some(Kind::Added);
            below
        }
    }
}

/// Top-level and metadata fields that no manager ever owns; `"."` of metadata included.
pub(crate) static NEVER_OWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    const METADATA: [&str; 9] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let mut set = FieldSet::of_fields(&[&["apiVersion"], &["kind"], &["metadata"]]);
    for name in METADATA {
        set.insert([element::field("metadata"), element::field(name)]);
    }
    set
});

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
