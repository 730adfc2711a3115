//! Discovery from the rows: which groups, versions and resources there are.

use crate::http::Body;
use crate::http::respond_json as json_response;
use crate::options::Query;
use ::http::{HeaderMap, Response};
use kinds::{Registry, Row};
use meta::Status;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is derived from a registry and kept with it.
#[derive(Default)]
pub struct Cache;

/// The answer to a discovery path; `None` for any other path.
pub fn answer(
    _cache: &Cache,
    registry: &Arc<Registry>,
    path: &str,
    _headers: &HeaderMap,
    _query: &Query,
) -> Option<Result<Response<Body>, Status>> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let value = match segments.as_slice() {
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": []}),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups(registry)}),
        ["apis", group] => groups(registry)
            .into_iter()
            .find(|g| g["name"] == *group)
            .map(|mut g| {
                g["kind"] = "APIGroup".into();
                g["apiVersion"] = "v1".into();
                g
            })?,
        ["api", version] => resources(registry, "", version)?,
        ["apis", group, version] => resources(registry, group, version)?,
        _ => return None,
    };
    Some(Ok(json_response(&value)))
}

fn groups(registry: &Registry) -> Vec<Value> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in registry.iter().filter(|r| !r.res.group.is_empty()) {
        let list = versions.entry(row.res.group).or_default();
        if !list.contains(&row.version) {
            list.push(row.version);
        }
    }
    let one = |(group, versions): (&str, Vec<&str>)| {
        let list: Vec<Value> = versions
            .iter()
            .map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v}))
            .collect();
        json!({"name": group, "preferredVersion": list[0], "versions": list})
    };
    versions.into_iter().map(one).collect()
}

fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let rows: Vec<&Arc<Row>> = registry
        .iter()
        .filter(|r| r.res.group == group && r.version == version)
        .collect();
    let first = rows.first()?;
    let list: Vec<Value> = rows.iter().flat_map(|row| of_row(row)).collect();
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": first.api_version(), "resources": list}))
}

fn of_row(row: &Row) -> Vec<Value> {
    let verbs = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let mut own = json!({"name": row.res.plural, "singularName": row.singular, "namespaced": row.namespaced,
        "kind": row.kind, "verbs": verbs});
    if !row.short_names.is_empty() {
        own["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        own["categories"] = json!(row.categories);
    }
    let mut list = vec![own];
    let mut add = |name: &str, kind: &str, group: &str, version: &str, verbs: &[&str]| {
        let mut sub = json!({"name": format!("{}/{name}", row.res.plural), "singularName": "",
            "namespaced": row.namespaced, "kind": kind, "verbs": verbs});
        if !version.is_empty() {
            sub["group"] = group.into();
            sub["version"] = version.into();
        }
        list.push(sub);
    };
    if row.status {
        add("status", row.kind, "", "", &["get", "patch", "update"]);
    }
    if row.scale.is_some() {
        add("scale", "Scale", "autoscaling", "v1", &["get", "patch", "update"]);
    }
    for name in row.rules.subresources() {
        match *name {
            "binding" => add(name, "Binding", "", "", &["create"]),
            "eviction" => add(name, "Eviction", "policy", "v1", &["create"]),
            "token" => add(name, "TokenRequest", "authentication.k8s.io", "v1", &["create"]),
            "log" => add(name, row.kind, "", "", &["get"]),
            "finalize" => add(name, row.kind, "", "", &["update"]),
            "exec" => add(name, "PodExecOptions", "", "", &["create", "get"]),
            "attach" => add(name, "PodAttachOptions", "", "", &["create", "get"]),
            "portforward" => add(name, "PodPortForwardOptions", "", "", &["create", "get"]),
            other => add(other, row.kind, "", "", &["get", "patch", "update"]),
        }
    }
    list
}
