//! Parameters of operations: one table, described in a line each, from which operations name what they take.

use super::schemas::Edition;
use serde_json::{Value, json};

/// Where a parameter stands, its type and what it does.
struct Parameter {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const fn query(name: &'static str, kind: &'static str, text: &'static str) -> Parameter {
    Parameter { name, kind, text }
}

const PARAMETERS: &[Parameter] = &[
    query(
        "pretty",
        "string",
        "If 'true', the answer is written for people to read.",
    ),
    query(
        "dryRun",
        "string",
        "With the value All the request is processed as usual, but nothing is stored.",
    ),
    query(
        "fieldManager",
        "string",
        "The name under which changes are recorded in managedFields; at most 128 printable characters. Required for apply patches.",
    ),
    query(
        "fieldValidation",
        "string",
        "What happens to unknown and duplicate fields. Ignore: they are dropped in silence. Warn (the default): each one is a warning. Strict: the request fails and names all of them.",
    ),
    query(
        "force",
        "boolean",
        "Apply takes over fields that other managers own. Must be unset for other patches.",
    ),
    query(
        "gracePeriodSeconds",
        "integer",
        "Seconds before the object is deleted; zero deletes at once. When unset, the kind's own default is used.",
    ),
    query(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Deletes an object even if it cannot be read from the store, without its finalizers and preconditions.",
    ),
    query(
        "orphanDependents",
        "boolean",
        "Deprecated: use propagationPolicy. Whether dependents are orphaned.",
    ),
    query(
        "propagationPolicy",
        "string",
        "What happens to dependents: Orphan, Background or Foreground.",
    ),
    query(
        "allowWatchBookmarks",
        "boolean",
        "The watch may send BOOKMARK events, which only carry a resource version.",
    ),
    query(
        "continue",
        "string",
        "Where an earlier list with a limit ended: its continue token.",
    ),
    query("fieldSelector", "string", "Only objects with these field values."),
    query("labelSelector", "string", "Only objects whose labels match."),
    query(
        "limit",
        "integer",
        "At most this many objects; the answer's continue token leads to the next ones.",
    ),
    query(
        "resourceVersion",
        "string",
        "The version from which the answer may come, or from which a watch starts.",
    ),
    query(
        "resourceVersionMatch",
        "string",
        "How resourceVersion is meant for lists: NotOlderThan or Exact.",
    ),
    query(
        "sendInitialEvents",
        "boolean",
        "The watch starts with the objects that there are, then a bookmark.",
    ),
    query(
        "timeoutSeconds",
        "integer",
        "The list or watch ends after this time.",
    ),
    query(
        "watch",
        "boolean",
        "Changes are sent as a stream of events instead of a list.",
    ),
    query(
        "container",
        "string",
        "The container; may be left out when the pod has only one.",
    ),
    query(
        "command",
        "string",
        "The command and its arguments; not run in a shell. May be repeated.",
    ),
    query("stdin", "boolean", "Connects standard input."),
    query("stdout", "boolean", "Connects standard output."),
    query("stderr", "boolean", "Connects standard error."),
    query("tty", "boolean", "Gives the process a terminal."),
    query(
        "path",
        "string",
        "The path inside the pod, as far as the URL does not say it.",
    ),
    query("ports", "integer", "Ports to forward; required for WebSockets."),
    query("follow", "boolean", "Goes on with new lines as they are written."),
    query(
        "insecureSkipTLSVerifyBackend",
        "boolean",
        "Does not verify the certificate of the node.",
    ),
    query("limitBytes", "integer", "Ends the log after this many bytes."),
    query("previous", "boolean", "The log of the container's previous run."),
    query(
        "sinceSeconds",
        "integer",
        "Only lines that are not older than this.",
    ),
    query("stream", "string", "Which stream: All, Stdout or Stderr."),
    query("tailLines", "integer", "Only this many lines from the end."),
    query(
        "timestamps",
        "boolean",
        "Each line starts with the time at which it was written.",
    ),
];

pub const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
pub const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
pub const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
pub const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
pub const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
pub const LOG: &[&str] = &[
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
];
pub const EXEC: &[&str] = &["command", "container", "stderr", "stdin", "stdout", "tty"];
pub const ATTACH: &[&str] = &["container", "stderr", "stdin", "stdout", "tty"];
pub const PORT_FORWARD: &[&str] = &["ports"];
pub const PROXY: &[&str] = &["path"];

/// A query parameter; `None` for a name that is not in the table.
pub fn of(edition: Edition, name: &str) -> Option<Value> {
    let found = PARAMETERS.iter().find(|p| p.name == name)?;
    let value = json!({"name": found.name, "in": "query", "description": found.text});
    Some(typed(edition, value, found.kind))
}

/// A parameter in the path.
pub fn path(edition: Edition, name: &str, text: &str) -> Value {
    let value = json!({"name": name, "in": "path", "description": text, "required": true});
    typed(edition, value, "string")
}

fn typed(edition: Edition, mut value: Value, kind: &str) -> Value {
    match edition {
        Edition::V2 => {
            value["type"] = kind.into();
            value["uniqueItems"] = true.into();
        }
        Edition::V3 => value["schema"] = json!({"type": kind, "uniqueItems": true}),
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_parameter_is_in_the_table() {
        let all = [
            WRITE,
            PATCH,
            DELETE,
            LIST,
            DELETE_COLLECTION,
            LOG,
            EXEC,
            ATTACH,
            PORT_FORWARD,
            PROXY,
        ];
        for name in all.into_iter().flatten().chain(&["pretty"]) {
            assert!(of(Edition::V3, name).is_some(), "{name}");
        }
    }
}
