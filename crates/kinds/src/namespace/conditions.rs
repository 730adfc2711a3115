//! The conditions of a namespace that waits for its content to go, in upstream's words. Source: KEP-3573, core/v1.

use crate::json::{at, list, string};
use meta::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is left in a namespace.
#[derive(Default)]
pub struct Left {
    /// Objects by resource, as `pods.` or `deployments.apps`.
    pub resources: BTreeMap<String, usize>,
    /// Objects that hold a finalizer, by finalizer.
    pub finalizers: BTreeMap<String, usize>,
}

/// Type of a condition, and reason and message while all is well.
const FINE: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (
        "NamespaceContentRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

/// The conditions that `namespace` should have, given what is left in it; `None` when it has them already. What is
/// discovered and parsed cannot fail here (the rows are in memory), and a delete that fails is tried again.
pub fn renewed(namespace: &Value, left: &Left, now: Timestamp) -> Option<Value> {
    let known = list(at(namespace, "/status"), "conditions");
    let mut conditions = known.to_vec();
    for (kind, reason, message) in FINE {
        let (status, reason, message) = match waits_for(kind, left) {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", reason, message.to_string()),
        };
        let place = conditions.iter_mut().find(|c| string(c, "type") == kind);
        let since = match &place {
            Some(old) if string(old, "status") == status => string(old, "lastTransitionTime").to_string(),
            _ => now.rfc3339(),
        };
        let condition = json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since});
        match place {
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
    }
    (conditions != known).then(|| conditions.into())
}

/// Reason and message of a condition that tells of something that is left.
fn waits_for(kind: &str, left: &Left) -> Option<(&'static str, String)> {
    let (reason, before, what, counts) = match kind {
        "NamespaceContentRemaining" => (
            "SomeResourcesRemain",
            "Some resources are remaining",
            "has",
            &left.resources,
        ),
        "NamespaceFinalizersRemaining" => (
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining",
            "in",
            &left.finalizers,
        ),
        _ => return None,
    };
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {what} {count} resource instances"))
        .collect();
    (!parts.is_empty()).then(|| (reason, format!("{before}: {}", parts.join(", "))))
}
