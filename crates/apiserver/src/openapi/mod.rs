//! OpenAPI documents from the rows and the schemas of `kinds`: one a group version (v3), or all in one (v2).
//! Built when somebody first asks, kept compressed; another registry makes them anew.

mod http;
mod params;
mod paths;
mod proto;
mod schemas;

pub use http::{Cache, answer};

use crate::discovery::describe::{self, Group, Version};
use kinds::Registry;
use schemas::{Edition, Wanted};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// What makes the documents, so that a change of it changes their hashes.
const SOURCES: [&str; 4] = [
    include_str!("mod.rs"),
    include_str!("params.rs"),
    include_str!("paths.rs"),
    include_str!("schemas.rs"),
];

/// Version of the API that the documents describe.
const API_VERSION: &str = "v1.36.0";

/// A group version's path in the index: `api/v1`, `apis/apps/v1`.
fn key(group: &Group, version: &Version) -> String {
    match group.name {
        "" => format!("api/{}", version.name),
        name => format!("apis/{name}/{}", version.name),
    }
}

/// The OpenAPI v3 document of one group version; `None` for one that is not served.
fn v3(registry: &Registry, wanted_key: &str, documents: &Map<String, Value>) -> Option<Value> {
    let groups = describe::groups(registry);
    let mut all = groups.iter().flat_map(|g| g.versions.iter().map(move |v| (g, v)));
    let (group, version) = all.find(|(g, v)| key(g, v) == wanted_key)?;
    let mut wanted = Wanted::default();
    let paths = paths::paths(Edition::V3, group, version, &mut wanted);
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": API_VERSION},
        "paths": paths,
        "components": {
            "schemas": schemas::schemas(Edition::V3, &wanted, documents),
            "securitySchemes": {"BearerToken": security()},
        },
    }))
}

/// The OpenAPI v2 document of everything.
fn v2(registry: &Registry, documents: &Map<String, Value>) -> Value {
    let mut wanted = Wanted::default();
    let mut all = Map::new();
    for group in &describe::groups(registry) {
        for version in &group.versions {
            all.extend(paths::paths(Edition::V2, group, version, &mut wanted));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": API_VERSION},
        "paths": all,
        "definitions": schemas::schemas(Edition::V2, &wanted, documents),
        "securityDefinitions": {"BearerToken": security()},
        "security": [{"BearerToken": []}],
    })
}

fn security() -> Value {
    json!({"description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header"})
}

/// The paths of the v3 index with the hashes of their documents. The hash is of all that a document is made of, so the
/// index costs no document.
fn index(registry: &Registry) -> Vec<(String, String)> {
    let mut base = Sha256::new();
    base.update(kinds::schema::packed_documents());
    for source in SOURCES {
        base.update(source);
    }
    for (name, line) in kinds::facts::FACTS {
        base.update(format!("{name} {line}\n"));
    }
    let mut list = Vec::new();
    for group in &describe::groups(registry) {
        for version in &group.versions {
            let mut hash = base.clone();
            hash.update(key(group, version));
            for resource in &version.resources {
                let type_name = resource.row.as_ref().map_or("", |r| r.type_name);
                let namespaced = resource.namespaced;
                hash.update(format!(
                    "{} {} {namespaced} {type_name}",
                    resource.plural, resource.kind
                ));
                for sub in &resource.subresources {
                    hash.update(format!(" {}", sub.name));
                }
            }
            let hash: String = hash.finalize().iter().map(|b| format!("{b:02X}")).collect();
            list.push((key(group, version), hash));
        }
    }
    list
}
