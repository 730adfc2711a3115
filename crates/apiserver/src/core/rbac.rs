//! The authorizer: administrators, nodes, and whoever a binding gives a role to. Bindings are kept by their subjects, so
//! a question looks at those of the caller alone; roles are read from the snapshot, decoded once a revision.

use super::access::{Ask, Authorizer, Verdict, Who};
use arc_swap::ArcSwap;
use kinds::node::access as nodes;
use kinds::rbac::{
    BindingView, CLUSTERROLEBINDINGS, Held, MASTERS, ROLEBINDINGS, RoleView, aggregate_errors,
};
use meta::snapshot::Table;
use meta::{Object, Res, Snapshot};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Role-based access, with administrators and nodes before it.
#[derive(Default)]
pub struct Rbac {
    index: ArcSwap<Index>,
}

/// Bindings by their subjects, at one state of both tables.
#[derive(Clone, Default)]
struct Index {
    revision: u64,
    cluster: Option<Table>,
    own: Option<Table>,
    users: HashMap<Box<str>, Arc<Grants>>,
    groups: HashMap<Box<str>, Arc<Grants>>,
}

/// What is given to one subject: bindings by their names.
#[derive(Clone, Default)]
struct Grants {
    cluster: BTreeMap<Box<str>, Grant>,
    /// By namespace.
    own: BTreeMap<Box<str>, BTreeMap<Box<str>, Grant>>,
}

#[derive(Clone)]
struct Grant {
    binding: Object,
    view: Arc<BindingView>,
}

impl Grant {
    fn of(binding: &Object) -> Option<Self> {
        match binding.typed::<BindingView>() {
            Ok(view) => Some(Self {
                binding: binding.clone(),
                view,
            }),
            // Stored bindings passed validation; one that cannot be read gives nothing.
            Err(_) => None,
        }
    }

    fn rules(&self, seen: &Snapshot) -> Result<Arc<RoleView>, String> {
        let rules = self.view.role_ref.rules(self.binding.namespace(), seen);
        rules.map_err(|status| status.message)
    }

    fn allows(&self, ask: &Ask, seen: &Snapshot) -> bool {
        self.rules(seen)
            .is_ok_and(|role| role.rules.iter().any(|rule| rule.allows(ask)))
    }

    /// As reasons name it.
    fn described(&self, who: Who) -> String {
        let (name, namespace) = (self.binding.name(), self.binding.namespace());
        let (kind, name) = match namespace {
            "" => ("ClusterRoleBinding", name.to_string()),
            namespace => ("RoleBinding", format!("{name}/{namespace}")),
        };
        let role = &self.view.role_ref;
        let mut subjects = self.view.subjects.iter();
        let subject = subjects.find(|subject| subject.is(who.name, who.groups, namespace));
        let to = subject.map(|s| s.described(namespace)).unwrap_or_default();
        format!("{kind} {name:?} of {} {:?} to {to}", role.kind, role.name)
    }
}

impl Index {
    fn fits(&self, seen: &Snapshot) -> bool {
        let same = |own: &Option<Table>, res: Res| match (own, seen.table(res)) {
            (None, None) => true,
            (Some(own), Some(table)) => own.ptr_eq(table),
            _ => false,
        };
        same(&self.cluster, CLUSTERROLEBINDINGS) && same(&self.own, ROLEBINDINGS)
    }

    /// The index of this snapshot, from one of another: only bindings that differ are looked at.
    fn updated(&self, seen: &Snapshot) -> Self {
        let mut new = self.clone();
        for res in [CLUSTERROLEBINDINGS, ROLEBINDINGS] {
            let table = seen.table(res).cloned();
            let kept = match res {
                ROLEBINDINGS => &mut new.own,
                _ => &mut new.cluster,
            };
            let old = std::mem::replace(kept, table.clone()).unwrap_or_default();
            let table = table.unwrap_or_default();
            if old.ptr_eq(&table) {
                continue;
            }
            for (key, binding) in &old {
                if !table.get(key).is_some_and(|now| now.same(binding)) {
                    new.change(binding, false);
                }
            }
            for (key, binding) in &table {
                if !old.get(key).is_some_and(|was| was.same(binding)) {
                    new.change(binding, true);
                }
            }
        }
        new.revision = seen.revision();
        new
    }

    /// Adds a binding under all of its subjects, or takes it out.
    fn change(&mut self, binding: &Object, add: bool) {
        let Some(grant) = Grant::of(binding) else { return };
        let namespace = binding.namespace();
        for subject in &grant.view.subjects {
            let (map, name): (_, Box<str>) = match &*subject.kind {
                "Group" => (&mut self.groups, subject.name.clone()),
                "User" => (&mut self.users, subject.name.clone()),
                _ => match subject.account(namespace) {
                    Some(user) => (&mut self.users, user.into()),
                    None => continue,
                },
            };
            let grants = Arc::make_mut(map.entry(name.clone()).or_default());
            grants.change(&grant, add);
            if grants.cluster.is_empty() && grants.own.is_empty() {
                map.remove(&name);
            }
        }
    }

    /// What is given to a caller: to the user, then to each group.
    fn of<'a>(&'a self, who: Who<'a>) -> impl Iterator<Item = &'a Grants> {
        let groups = who
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group.as_str()));
        self.users
            .get(who.name)
            .into_iter()
            .chain(groups)
            .map(|grants| &**grants)
    }

    /// All bindings that hold for a caller in a namespace, each once and in the order of their names.
    fn bindings<'a>(&'a self, who: Who<'a>, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let (mut cluster, mut own) = (BTreeMap::new(), BTreeMap::new());
        for grants in self.of(who) {
            cluster.extend(grants.cluster.iter());
            if !namespace.is_empty() {
                own.extend(grants.own.get(namespace).into_iter().flatten());
            }
        }
        cluster.into_values().chain(own.into_values())
    }
}

impl Grants {
    fn change(&mut self, grant: &Grant, add: bool) {
        let (name, namespace) = (grant.binding.name(), grant.binding.namespace());
        let bindings = match namespace {
            "" => &mut self.cluster,
            namespace => self.own.entry(namespace.into()).or_default(),
        };
        match add {
            true => drop(bindings.insert(name.into(), grant.clone())),
            false => drop(bindings.remove(name)),
        }
        if bindings.is_empty() {
            self.own.remove(namespace);
        }
    }

    fn allow(&self, ask: &Ask, seen: &Snapshot) -> bool {
        let own = || self.own.get(ask.namespace).into_iter().flatten();
        self.cluster.values().any(|grant| grant.allows(ask, seen))
            || (!ask.namespace.is_empty() && own().any(|(_, grant)| grant.allows(ask, seen)))
    }
}

impl Rbac {
    /// The index of this snapshot. One that is older than what is known (a request on its way) is made and not kept.
    fn index(&self, seen: &Snapshot) -> Arc<Index> {
        let known = self.index.load();
        if known.fits(seen) {
            return Arc::clone(&known);
        }
        let new = Arc::new(known.updated(seen));
        if new.revision >= known.revision {
            self.index.store(new.clone());
        }
        new
    }
}

fn is_master(who: Who) -> bool {
    who.groups.iter().any(|group| group == MASTERS)
}

impl Authorizer for Rbac {
    fn allows(&self, who: Who, ask: &Ask, seen: &Snapshot) -> bool {
        if is_master(who) {
            return true;
        }
        let node = nodes::node_of(who.name, who.groups);
        if node.is_some_and(|node| nodes::decide(node, ask, seen).is_ok()) {
            return true;
        }
        self.index(seen).of(who).any(|grants| grants.allow(ask, seen))
    }

    fn verdict(&self, who: Who, ask: &Ask, seen: &Snapshot) -> Verdict {
        let allowed = |reason: String| Verdict {
            allowed: true,
            reason,
        };
        if is_master(who) {
            return allowed(String::new());
        }
        let mut reasons = Vec::new();
        if let Some(node) = nodes::node_of(who.name, who.groups) {
            match nodes::decide(node, ask, seen) {
                Ok(()) => return allowed(String::new()),
                Err(why) if why.is_empty() => {}
                Err(why) => reasons.push(why),
            }
        }
        let mut errors = Vec::new();
        for grant in self.index(seen).bindings(who, ask.namespace) {
            match grant.rules(seen) {
                Ok(role) if role.rules.iter().any(|rule| rule.allows(ask)) => {
                    return allowed(format!("RBAC: allowed by {}", grant.described(who)));
                }
                Ok(_) => {}
                Err(why) => errors.push(why),
            }
        }
        if !errors.is_empty() {
            reasons.push(format!("RBAC: {}", aggregate_errors(&errors)));
        }
        Verdict {
            allowed: false,
            reason: reasons.join("\n"),
        }
    }

    fn held(&self, who: Who, namespace: &str, seen: &Snapshot) -> Held {
        let mut held = Held::default();
        for grant in self.index(seen).bindings(who, namespace) {
            match grant.rules(seen) {
                Ok(role) => held.rules.extend(role.rules.iter().cloned()),
                Err(why) => held.errors.push(why),
            }
        }
        held
    }
}
