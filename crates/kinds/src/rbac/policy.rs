//! The roles and bindings that every cluster has (`policy.txt`), and what becomes of them when a server starts: rights
//! that are missing are added, what somebody added stays, and what is marked with
//! `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone. Source: "Using RBAC Authorization",
//! default roles and auto-reconciliation.

use super::{CLUSTERROLEBINDINGS, CLUSTERROLES, GROUP, PolicyRule, ROLEBINDINGS, ROLES, rule, rules_of};
use crate::json::{ensure_object, get, has, list, push, put, string, take, texts};
use crate::row::{annotation, text};
use meta::{Call, Res, Snapshot};
use serde_json::{Map, Value, json};

const TABLE: &str = include_str!("policy.txt");
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// One object that is to be there.
pub struct Default {
    pub res: Res,
    /// Empty for those of the cluster.
    pub namespace: &'static str,
    pub object: Value,
}

/// What a stored object lacks of its default.
#[derive(Debug, PartialEq)]
pub enum Reconciled {
    Same,
    /// The stored object with what it lacked.
    Update(Value),
    /// A binding to another role: that cannot be changed, it is deleted and made anew.
    Replace,
}

/// The calls that bring a cluster to its defaults: each list in order, the lists in any.
pub fn calls(seen: &Snapshot) -> Vec<Vec<Call>> {
    let to_be = defaults().into_iter();
    let calls = to_be.map(|wanted| {
        let Default {
            res,
            namespace,
            object,
        } = wanted;
        let name = text(&object, "/metadata/name").to_string();
        let Some(stored) = seen.get(res, namespace, &name) else {
            return vec![Call::create(res, namespace, object)];
        };
        match reconciled(&stored.value(), &object) {
            Reconciled::Same => Vec::new(),
            Reconciled::Update(new) => vec![Call::update(res, namespace, &name, new)],
            Reconciled::Replace => vec![
                Call::delete(res, namespace, &name).if_uid(stored.uid()),
                Call::create(res, namespace, object),
            ],
        }
    });
    calls.filter(|calls| !calls.is_empty()).collect()
}

/// All default objects, in the order of the table.
pub fn defaults() -> Vec<Default> {
    let mut all: Vec<Default> = Vec::new();
    let lines = TABLE
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        match (line.strip_prefix("  "), all.last_mut()) {
            (Some(rule), Some(role)) => add_rule(&mut role.object, rule),
            _ => all.push(object(line)),
        }
    }
    all
}

fn object(line: &'static str) -> Default {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (word, name) = (word(), word());
    let (res, kind) = match word {
        "clusterrole" => (CLUSTERROLES, "ClusterRole"),
        "clusterrolebinding" => (CLUSTERROLEBINDINGS, "ClusterRoleBinding"),
        "role" => (ROLES, "Role"),
        _ => (ROLEBINDINGS, "RoleBinding"),
    };
    let (namespace, name) = match kind {
        "Role" | "RoleBinding" => name.split_once('/').unwrap_or(("", name)),
        _ => ("", name),
    };
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {
            "name": name, "annotations": {AUTO_UPDATE: "true"}, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        },
    });
    if kind.ends_with("Binding") {
        let (kind, name) = words
            .next()
            .and_then(|role| role.split_once('/'))
            .unwrap_or_default();
        object["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": name});
        object["subjects"] = words.map(subject).collect();
    } else {
        for (label, value) in words.filter_map(|label| label.split_once('=')) {
            object["metadata"]["labels"][label] = value.into();
        }
        object["rules"] = Value::Array(Vec::new());
    }
    Default {
        res,
        namespace,
        object,
    }
}

fn subject(word: &str) -> Value {
    let (kind, name) = word.split_once(':').unwrap_or_default();
    match kind {
        "user" => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        "group" => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        _ => {
            let (namespace, name) = name.split_once('/').unwrap_or_default();
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
    }
}

fn add_rule(role: &mut Value, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let texts = |word: &str| -> Vec<Box<str>> { word.split(',').map(Box::from).collect() };
    let group = |group: Box<str>| if &*group == "core" { Box::from("") } else { group };
    let rule = match words.as_slice() {
        ["aggregates", label] => {
            let (label, value) = label.split_once('=').unwrap_or_default();
            let selectors = json!([{"matchLabels": {label: value}}]);
            role["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
            return;
        }
        [verbs, "url", paths] => json!({"verbs": texts(verbs), "nonResourceURLs": texts(paths)}),
        [verbs, groups, resources, names @ ..] => {
            let groups: Vec<Box<str>> = texts(groups).into_iter().map(group).collect();
            let mut rule = json!({"verbs": texts(verbs), "apiGroups": groups, "resources": texts(resources)});
            if let [names] = names {
                rule["resourceNames"] = json!(texts(names));
            }
            rule
        }
        _ => return,
    };
    push(role, "rules", rule);
}

/// What the stored object has to become.
pub fn reconciled(stored: &Value, wanted: &Value) -> Reconciled {
    if annotation(stored, AUTO_UPDATE) == Some("false") {
        return Reconciled::Same;
    }
    let mut new = stored.clone();
    add_members(&mut new, wanted, "annotations");
    add_members(&mut new, wanted, "labels");
    if has(wanted, "roleRef") {
        let role = |of: &Value| {
            let role = get(of, "roleRef");
            ["apiGroup", "kind", "name"].map(|field| string(role, field).to_string())
        };
        if role(stored) != role(wanted) {
            return Reconciled::Replace;
        }
        add_subjects(&mut new, wanted);
    } else {
        add_rules(&mut new, wanted);
        add_selectors(&mut new, wanted);
    }
    match new == *stored {
        true => Reconciled::Same,
        false => Reconciled::Update(new),
    }
}

/// Labels or annotations that are not there yet.
fn add_members(new: &mut Value, wanted: &Value, field: &str) {
    let missing: Vec<(&str, &str)> = {
        let own = get(get(new, "metadata"), field).as_object();
        texts(get(wanted, "metadata"), field)
            .filter(|(key, _)| !own.is_some_and(|own| own.contains_key(*key)))
            .collect()
    };
    if missing.is_empty() {
        return;
    }
    let Some(own) = new
        .get_mut("metadata")
        .and_then(|meta| ensure_object(meta, field))
    else {
        return;
    };
    for (key, value) in missing {
        put(own, key, value);
    }
}

fn add_rules(new: &mut Value, wanted: &Value) {
    let (Ok(own), Ok(needed)) = (rules_of(new), rules_of(wanted)) else {
        return;
    };
    for rule in rule::missing(&own, &needed) {
        push(new, "rules", shown(&rule));
    }
}

/// A rule as it stands in an object.
pub(super) fn shown(rule: &PolicyRule) -> Value {
    serde_json::to_value(rule).unwrap_or_else(|_| Value::Object(Map::new()))
}

fn add_selectors(new: &mut Value, wanted: &Value) {
    if !has(wanted, "aggregationRule") {
        take(new, "aggregationRule");
        return;
    }
    let own = list(get(new, "aggregationRule"), "clusterRoleSelectors");
    let needed = list(get(wanted, "aggregationRule"), "clusterRoleSelectors").iter();
    let missing: Vec<Value> = needed.filter(|s| !own.contains(s)).cloned().collect();
    if missing.is_empty() {
        return;
    }
    if let Some(rule) = ensure_object(new, "aggregationRule") {
        missing
            .into_iter()
            .for_each(|s| push(rule, "clusterRoleSelectors", s));
    }
}

fn add_subjects(new: &mut Value, wanted: &Value) {
    let identity =
        |s: &Value| ["kind", "apiGroup", "name", "namespace"].map(|field| string(s, field).to_string());
    for subject in list(wanted, "subjects") {
        let own = list(new, "subjects");
        if !own.iter().any(|s| identity(s) == identity(subject)) {
            push(new, "subjects", subject.clone());
        }
    }
}
