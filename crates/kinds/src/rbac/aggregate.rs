//! Roles that gather others: the rules of a ClusterRole with an aggregationRule are those of all ClusterRoles whose
//! labels it selects.

use super::{CLUSTERROLES, RoleView, policy::shown};
use crate::json::list;
use crate::plan::{Act, Plan, Target};
use crate::{Controller, Key, Seen};
use meta::selector::LabelSelector;
use meta::{Change, Object};
use serde_json::{Value, json};

pub const CONTROLLER: Controller = Controller {
    name: "clusterrole-aggregation-controller",
    wakes,
    plan,
    failed: crate::plan::untold,
};

/// There are few of them, and which gather which is not known before they are read.
fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    if change.res != CLUSTERROLES {
        return Vec::new();
    }
    let roles = seen.snapshot.list(CLUSTERROLES, "");
    roles
        .filter(|role| gathers(role))
        .map(|role| Key::of(CLUSTERROLES, role))
        .collect()
}

fn gathers(role: &Object) -> bool {
    role.typed::<RoleView>()
        .is_ok_and(|view| view.aggregation_rule.is_some())
}

fn plan(seen: &Seen, key: &Key) -> Plan {
    let plan = Plan::nothing();
    let Some(role) = seen.snapshot.by_key(CLUSTERROLES, &key.key) else {
        return plan;
    };
    let Ok(own) = role.typed::<RoleView>() else {
        return plan.why("its rules cannot be read");
    };
    let Some(aggregation) = own
        .aggregation_rule
        .as_ref()
        .filter(|_| !role.meta().is_deleting())
    else {
        return plan;
    };
    let mut rules = Vec::new();
    for selector in list(aggregation, "clusterRoleSelectors") {
        let parsed = serde_json::from_value(selector.clone()).ok();
        let Ok(selector) = LabelSelector::of_spec(parsed.as_ref()) else {
            return plan.why("a selector of its aggregationRule cannot be read");
        };
        for other in seen.snapshot.list(CLUSTERROLES, "") {
            if other.name() == role.name() || !selector.matches(&other.meta().labels) {
                continue;
            }
            let Ok(view) = other.typed::<RoleView>() else {
                return plan.why(format!("the rules of {} cannot be read", other.name()));
            };
            for rule in &view.rules {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    if own.rules == rules {
        return plan.why("has the rules of all that it selects");
    }
    let rules: Vec<Value> = rules.iter().map(shown).collect();
    let mut plan = plan.why(format!("gathers {} rules", rules.len()));
    plan.acts.push(Act::Patch {
        target: Target::exactly(CLUSTERROLES, role),
        subresource: "",
        patch: json!({"rules": rules}),
    });
    plan
}
