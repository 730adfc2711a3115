//! Which names a definition may have: those that no other one of its group has. Source: the conditions of
//! CustomResourceDefinitions in the API reference.

use super::set_condition;
use crate::custom::{DEFINITIONS, condition};
use crate::row::text;
use meta::Snapshot;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What the definitions of a group have taken.
#[derive(Default)]
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

/// Writes accepted names and the conditions that follow from them into a definition. True when anything changed.
pub fn settle(definition: &mut Value, seen: &Snapshot, now: &str) -> bool {
    let group = text(definition, "/spec/group").to_string();
    let name = text(definition, "/metadata/name").to_string();
    let taken = taken(&group, seen);
    let wanted = definition.pointer("/spec/names").cloned().unwrap_or(json!({}));
    let had = definition
        .pointer("/status/acceptedNames")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let mut accepted = had.clone();
    let mut conflict = None;
    for (field, reason, used) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
    ] {
        one(field, reason, used, &wanted, &mut accepted, &mut conflict);
    }
    short_names(&wanted, &mut accepted, &taken.resources, &mut conflict);
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        one(field, reason, &taken.kinds, &wanted, &mut accepted, &mut conflict);
    }
    match wanted.get("categories") {
        Some(categories) => drop(accepted.insert("categories".into(), categories.clone())),
        None => drop(accepted.remove("categories")),
    }
    let mut changed = accepted != had;
    if changed {
        if !definition["status"].is_object() {
            definition["status"] = json!({});
        }
        definition["status"]["acceptedNames"] = accepted.into();
    }
    changed |= match &conflict {
        None => set_condition(
            definition,
            "NamesAccepted",
            true,
            "NoConflicts",
            "no conflicts found",
            now,
        ),
        Some((reason, why)) => set_condition(definition, "NamesAccepted", false, reason, why, now),
    };
    changed | established(definition, conflict.is_none(), now) | approved(definition, &group, &name, now)
}

fn taken(group: &str, seen: &Snapshot) -> Taken {
    let mut taken = Taken::default();
    let suffix = format!(".{group}");
    for other in seen.list(DEFINITIONS, "").filter(|d| d.name().ends_with(&suffix)) {
        let value = other.value();
        if text(&value, "/spec/group") != group {
            continue;
        }
        let name = |field: &str| text(&value, &format!("/status/acceptedNames/{field}")).to_string();
        taken.resources.extend([name("plural"), name("singular")]);
        let short = value
            .pointer("/status/acceptedNames/shortNames")
            .and_then(Value::as_array);
        let short = short.into_iter().flatten().filter_map(Value::as_str);
        taken.resources.extend(short.map(String::from));
        taken.kinds.extend([name("kind"), name("listKind")]);
    }
    taken
}

type Conflict = Option<(&'static str, String)>;

fn in_use(name: &str) -> String {
    format!("{name:?} is already in use")
}

fn one(
    field: &str,
    reason: &'static str,
    used: &BTreeSet<String>,
    wanted: &Value,
    accepted: &mut Map<String, Value>,
    conflict: &mut Conflict,
) {
    let name = wanted.get(field).and_then(Value::as_str).unwrap_or_default();
    let own = accepted.get(field).and_then(Value::as_str).unwrap_or_default();
    if name != own && used.contains(name) {
        *conflict = Some((reason, in_use(name)));
    } else {
        accepted.insert(field.into(), name.into());
    }
}

fn short_names(
    wanted: &Value,
    accepted: &mut Map<String, Value>,
    used: &BTreeSet<String>,
    conflict: &mut Conflict,
) {
    let list = |value: Option<&Value>| -> Vec<String> {
        let list = value.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(String::from).collect()
    };
    let (names, own) = (list(wanted.get("shortNames")), list(accepted.get("shortNames")));
    let others: Vec<String> = names
        .iter()
        .filter(|name| !own.contains(name) && used.contains(*name))
        .map(|name| in_use(name))
        .collect();
    match others.as_slice() {
        [] if names.is_empty() => drop(accepted.remove("shortNames")),
        [] => drop(accepted.insert("shortNames".into(), json!(names))),
        [only] => *conflict = Some(("ShortNamesConflict", only.clone())),
        several => *conflict = Some(("ShortNamesConflict", format!("[{}]", several.join(", ")))),
    }
}

/// Once established, always established.
fn established(definition: &mut Value, accepted: bool, now: &str) -> bool {
    let is = condition(definition, "Established").is_some_and(|c| text(c, "/status") == "True");
    match (is, accepted) {
        (true, _) => false,
        (false, true) => {
            let message = "the initial names have been accepted";
            set_condition(
                definition,
                "Established",
                true,
                "InitialNamesAccepted",
                message,
                now,
            )
        }
        (false, false) => {
            let message = "not all names are accepted";
            set_condition(definition, "Established", false, "NotAccepted", message, now)
        }
    }
}

/// Groups of the Kubernetes community name who has approved their API.
fn approved(definition: &mut Value, group: &str, _name: &str, now: &str) -> bool {
    const ANNOTATION: &str = "api-approved.kubernetes.io";
    let community = ["k8s.io", "kubernetes.io"].iter().any(|root| {
        let within = group.strip_suffix(root);
        within.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if !community {
        return false;
    }
    let given = crate::row::annotation(definition, ANNOTATION)
        .unwrap_or_default()
        .to_string();
    let see = "https://github.com/kubernetes/enhancements/pull/1111";
    let is_url = |text: &str| {
        text.split_once("://")
            .is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty())
    };
    let (status, reason, message) = match given.as_str() {
        "" => (
            false,
            "MissingAnnotation",
            format!("protected groups must have approval annotation {ANNOTATION:?}, see {see}"),
        ),
        text if text.starts_with("unapproved") => {
            (false, "UnapprovedAnnotation", format!("not approved: {text:?}"))
        }
        text if is_url(text) => (true, "ApprovedAnnotation", format!("approved in {text}")),
        text => (
            false,
            "InvalidAnnotation",
            format!(
                "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting with \"unapproved\", see {see}: found {text:?}"
            ),
        ),
    };
    set_condition(
        definition,
        "KubernetesAPIApprovalPolicyConformant",
        status,
        reason,
        &message,
        now,
    )
}
