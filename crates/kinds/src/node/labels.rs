//! Labels of nodes that have had their time, and what is said of them.

use crate::json::{list, string, texts};
use meta::Path;
use serde_json::Value;

const DEPRECATED: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// What to use instead of this label, if it is an old one.
pub(crate) fn deprecation(key: &str) -> Option<&'static str> {
    let known = DEPRECATED.iter().find(|(old, _)| *old == key);
    known.map(|(_, why)| *why)
}

/// Warnings of a label selector that is about nodes.
pub(crate) fn selector_warnings(selector: &Value, path: &Path) -> Vec<String> {
    let expressions = list(selector, "matchExpressions").iter().enumerate();
    let of_expressions = expressions.filter_map(|(i, e)| {
        let (key, path) = (string(e, "key"), path.child("matchExpressions").index(i));
        deprecation(key).map(|why| format!("{}: {key} is {why}", path.child("key")))
    });
    let labels = texts(selector, "matchLabels");
    let of_labels = labels.filter_map(|(key, _)| {
        let path = path.child("matchLabels").child(key);
        deprecation(key).map(|why| format!("{path}: {why}"))
    });
    of_expressions.chain(of_labels).collect()
}
