//! What discovery and OpenAPI say of a registry: groups in upstream's order, their versions, and what each row serves.

use kinds::{Registry, Row};
use meta::res::intern;
use std::cmp::Reverse;
use std::sync::Arc;

/// The verbs of a resource with everything.
const ALL_VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Groups in the order in which clients prefer them (upstream's group priorities); all others come after, by name.
const GROUP_ORDER: [&str; 20] = [
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
];

/// A group with its versions, the preferred one first.
pub struct Group {
    pub name: &'static str,
    pub versions: Vec<Version>,
}

/// One version and its resources, by name.
pub struct Version {
    pub name: &'static str,
    pub resources: Vec<Resource>,
}

/// A resource of one version.
pub struct Resource {
    pub plural: &'static str,
    pub singular: &'static str,
    pub namespaced: bool,
    pub kind: &'static str,
    pub verbs: Vec<&'static str>,
    /// Where the objects are; `None` for a resource that only takes posts (`bindings`).
    pub row: Option<Arc<Row>>,
    /// The row in whose form they are stored; `None` where nothing is.
    pub stored: Option<Arc<Row>>,
    pub subresources: Vec<Subresource>,
}

/// A subresource and the type that it speaks; an empty `version` means the resource's own group and version.
pub struct Subresource {
    pub name: &'static str,
    pub kind: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub verbs: &'static [&'static str],
}

/// Everything that a registry serves.
pub fn groups(registry: &Registry) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for row in registry.iter() {
        let at = groups.iter().position(|g| g.name == row.res.group);
        let at = at.unwrap_or_else(|| {
            groups.push(Group {
                name: row.res.group,
                versions: Vec::new(),
            });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        let place = versions.iter().position(|v| v.name == row.version);
        let place = place.unwrap_or_else(|| {
            versions.push(Version {
                name: row.version,
                resources: Vec::new(),
            });
            versions.len() - 1
        });
        let stored = row.rules.version_of().and_then(|of| registry.by_res(of));
        add(&mut versions[place].resources, row, stored.unwrap_or(row));
    }
    groups.sort_by_key(|g| (order_of(g.name), g.name));
    for group in &mut groups {
        group
            .versions
            .sort_by_key(|v| Reverse(meta::name::version_rank(v.name)));
        for version in &mut group.versions {
            version.resources.sort_by_key(|r| r.plural);
        }
    }
    groups
}

fn order_of(group: &str) -> usize {
    let found = GROUP_ORDER.iter().position(|g| *g == group);
    found.unwrap_or(GROUP_ORDER.len())
}

fn add(resources: &mut Vec<Resource>, row: &Arc<Row>, stored: &Arc<Row>) {
    let subresources = subresources(row);
    if subresources.iter().any(|s| s.name == "binding") {
        resources.push(Resource {
            plural: "bindings",
            singular: "binding",
            namespaced: true,
            kind: "Binding",
            verbs: vec!["create"],
            row: None,
            stored: None,
            subresources: Vec::new(),
        });
    }
    let verbs = ALL_VERBS.into_iter();
    let verbs = verbs
        .filter(|v| *v != "deletecollection" || row.rules.deletes_collections())
        .filter(|v| *v == "create" || !row.rules.is_question())
        .filter(|v| matches!(*v, "get" | "list") || row.rules.shows().is_none())
        .collect();
    resources.push(Resource {
        plural: row.res.plural,
        singular: row.singular,
        namespaced: row.namespaced,
        kind: row.kind,
        verbs,
        row: Some(row.clone()),
        stored: Some(stored.clone()).filter(|row| !row.rules.is_question() && row.rules.shows().is_none()),
        subresources,
    });
}

/// The subresources of a row, by name.
fn subresources(row: &Row) -> Vec<Subresource> {
    let named = row.rules.subresources().iter().copied();
    let status = row.status.then_some("status");
    let scale = row.scale.is_some().then_some("scale");
    let mut list: Vec<Subresource> = named
        .chain(status)
        .chain(scale)
        .map(|name| subresource(row, name))
        .collect();
    list.sort_by_key(|s| s.name);
    list
}

fn subresource(row: &Row, name: &'static str) -> Subresource {
    const RUN: &[&str] = &["create", "get"];
    const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
    let (kind, group, version, verbs): (_, _, _, &[&str]) = match name {
        "scale" => ("Scale", "autoscaling", "v1", &["get", "patch", "update"]),
        "binding" => ("Binding", "", "", &["create"]),
        "eviction" => ("Eviction", "policy", "v1", &["create"]),
        "token" => ("TokenRequest", "authentication.k8s.io", "v1", &["create"]),
        "log" => (row.kind, "", "", &["get"]),
        "finalize" => (row.kind, "", "", &["update"]),
        "exec" => ("PodExecOptions", "", "", RUN),
        "attach" => ("PodAttachOptions", "", "", RUN),
        "portforward" => ("PodPortForwardOptions", "", "", RUN),
        "proxy" => (intern(&format!("{}ProxyOptions", row.kind)), "", "", PROXY),
        _ => (row.kind, "", "", &["get", "patch", "update"]),
    };
    Subresource {
        name,
        kind,
        group,
        version,
        verbs,
    }
}
