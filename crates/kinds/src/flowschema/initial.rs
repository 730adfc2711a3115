//! The schemas that every cluster has from its first moment; two of them must be as they are.

use serde_json::{Value, json};

/// A schema: name, level, precedence, what tells flows apart, whose requests, and which.
type Line = (
    &'static str,
    &'static str,
    i64,
    &'static str,
    Whose,
    &'static [Which],
);

#[derive(Clone, Copy)]
enum Whose {
    Groups(&'static [&'static str]),
    Users(&'static [&'static str]),
    /// The service accounts of `kube-system`, after these users.
    SystemAccounts(&'static [&'static str]),
}

/// Verbs and what they are used on.
#[derive(Clone, Copy)]
enum Which {
    Resources(
        &'static [&'static str],
        &'static str,
        &'static [&'static str],
        bool,
    ),
    Paths(&'static [&'static str], &'static [&'static str]),
}

const ANY: &[&str] = &["*"];
const ALL: &[Which] = &[Which::Resources(ANY, "*", ANY, true), Which::Paths(ANY, ANY)];
const EVERYBODY: Whose = Whose::Groups(&["system:unauthenticated", "system:authenticated"]);
const NODES: Whose = Whose::Groups(&["system:nodes"]);
const MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const LEASES: (&str, &[&str]) = ("coordination.k8s.io", &["leases"]);

const MANDATORY: [Line; 2] = [
    ("exempt", "exempt", 1, "", Whose::Groups(&["system:masters"]), ALL),
    ("catch-all", "catch-all", 10_000, "ByUser", EVERYBODY, ALL),
];

const SUGGESTED: [Line; 9] = [
    ("system-nodes", "system", 500, "ByUser", NODES, ALL),
    (
        "system-node-high",
        "node-high",
        400,
        "ByUser",
        NODES,
        &[
            Which::Resources(ANY, "", &["nodes", "nodes/status"], true),
            Which::Resources(ANY, LEASES.0, LEASES.1, false),
        ],
    ),
    (
        "probes",
        "exempt",
        2,
        "",
        EVERYBODY,
        &[Which::Paths(&["get"], &["/healthz", "/readyz", "/livez"])],
    ),
    (
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        Whose::SystemAccounts(&[MANAGER, SCHEDULER]),
        &[Which::Resources(
            &["get", "create", "update"],
            LEASES.0,
            LEASES.1,
            false,
        )],
    ),
    (
        "kube-controller-manager",
        "workload-high",
        800,
        "ByNamespace",
        Whose::Users(&[MANAGER]),
        ALL,
    ),
    (
        "kube-scheduler",
        "workload-high",
        800,
        "ByNamespace",
        Whose::Users(&[SCHEDULER]),
        ALL,
    ),
    (
        "kube-system-service-accounts",
        "workload-high",
        900,
        "ByNamespace",
        Whose::SystemAccounts(&[]),
        ALL,
    ),
    (
        "service-accounts",
        "workload-low",
        9000,
        "ByUser",
        Whose::Groups(&["system:serviceaccounts"]),
        ALL,
    ),
    ("global-default", "global-default", 9900, "ByUser", EVERYBODY, ALL),
];

/// All of them, those that must be first.
pub fn initial() -> impl Iterator<Item = Value> {
    MANDATORY.iter().chain(&SUGGESTED).map(object)
}

/// The schema that an object of this name must be.
pub(super) fn mandatory(name: &str) -> Option<Value> {
    MANDATORY.iter().find(|line| line.0 == name).map(object)
}

fn object((name, level, precedence, method, whose, which): &Line) -> Value {
    let users = |names: &[&str]| -> Vec<Value> {
        let user = |name: &&str| json!({"kind": "User", "user": {"name": name}});
        names.iter().map(user).collect()
    };
    let subjects = match whose {
        Whose::Groups(names) => {
            let group = |name: &&str| json!({"kind": "Group", "group": {"name": name}});
            names.iter().map(group).collect()
        }
        Whose::Users(names) => users(names),
        Whose::SystemAccounts(names) => {
            let account = json!({"name": "*", "namespace": "kube-system"});
            let mut all = users(names);
            all.push(json!({"kind": "ServiceAccount", "serviceAccount": account}));
            all
        }
    };
    let mut rule = json!({"subjects": subjects});
    for one in *which {
        let (field, one) = match one {
            Which::Resources(verbs, group, resources, cluster) => {
                let mut one = json!({
                    "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"],
                });
                if *cluster {
                    one["clusterScope"] = true.into();
                }
                ("resourceRules", one)
            }
            Which::Paths(verbs, paths) => (
                "nonResourceRules",
                json!({"verbs": verbs, "nonResourceURLs": paths}),
            ),
        };
        crate::json::push(&mut rule, field, one);
    }
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule],
    });
    if !method.is_empty() {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
        "spec": spec,
    })
}
