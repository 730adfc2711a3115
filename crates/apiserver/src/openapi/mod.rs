//! OpenAPI documents from the rows and the schemas of `kinds`: one a group version (v3), or all in one (v2).
//! Built when somebody first asks, kept compressed; another registry makes them anew.

mod custom;
mod http;
mod params;
mod paths;
mod proto;
mod schemas;

pub use http::{Cache, answer};

use crate::discovery::describe::{self, Group, Version};
use kinds::Registry;
use schemas::{Documents, Edition, Wanted};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;

/// What makes the documents, so that a change of it changes their hashes.
const SOURCES: [&str; 5] = [
    include_str!("custom.rs"),
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

/// Why a document could not be written.
type Written = std::io::Result<()>;

/// Writes the OpenAPI v3 document of one group version; nothing for one that is not served.
fn v3(registry: &Registry, wanted_key: &str, documents: &Documents, out: &mut dyn Write) -> Written {
    let groups = describe::groups(registry);
    let mut all = groups.iter().flat_map(|g| g.versions.iter().map(move |v| (g, v)));
    let Some((group, version)) = all.find(|(g, v)| key(g, v) == wanted_key) else {
        return Ok(());
    };
    let mut wanted = Wanted::default();
    let paths = paths::paths(Edition::V3, group, version, &mut wanted);
    write!(out, r#"{{"openapi":"3.0.0","info":{},"paths":"#, info())?;
    serde_json::to_writer(&mut *out, &paths)?;
    drop(paths);
    out.write_all(br#","components":{"schemas":{"#)?;
    definitions(Edition::V3, &wanted, documents, out)?;
    write!(
        out,
        r#"}},"securitySchemes":{{"BearerToken":{}}}}}}}"#,
        security()
    )
}

/// Writes the OpenAPI v2 document of everything.
fn v2(registry: &Registry, documents: &Documents, out: &mut dyn Write) -> Written {
    let (paths, wanted) = all_paths(registry);
    write!(out, r#"{{"swagger":"2.0","info":{},"paths":"#, info())?;
    serde_json::to_writer(&mut *out, &paths)?;
    drop(paths);
    out.write_all(br#","definitions":{"#)?;
    definitions(Edition::V2, &wanted, documents, out)?;
    let security = security();
    write!(
        out,
        r#"}},"securityDefinitions":{{"BearerToken":{security}}},"security":[{{"BearerToken":[]}}]}}"#
    )
}

/// Writes the same document as protobuf.
fn v2_proto(registry: &Registry, documents: &Documents, out: &mut dyn Write) -> Written {
    let (paths, wanted) = all_paths(registry);
    let head = json!({"swagger": "2.0", "info": info(), "paths": paths});
    drop(paths);
    out.write_all(&proto::head(&head))?;
    let mut packed = proto::Definitions::default();
    schemas::schemas(Edition::V2, &wanted, documents, &mut |name, value| {
        packed.add(name, value);
        Written::Ok(())
    })?;
    out.write_all(&packed.finish())
}

fn all_paths(registry: &Registry) -> (Map<String, Value>, Wanted) {
    let mut wanted = Wanted::default();
    let mut all = Map::new();
    for group in &describe::groups(registry) {
        for version in &group.versions {
            all.extend(paths::paths(Edition::V2, group, version, &mut wanted));
        }
    }
    (all, wanted)
}

/// The members of the object that holds all types.
fn definitions(edition: Edition, wanted: &Wanted, documents: &Documents, out: &mut dyn Write) -> Written {
    let mut first = true;
    schemas::schemas(edition, wanted, documents, &mut |name, value| {
        if !first {
            out.write_all(b",")?;
        }
        first = false;
        write!(out, "{}:{value}", Value::from(name))
    })
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": API_VERSION})
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
                if let Some(made) = resource.row.as_ref().and_then(|r| r.rules.made_of()) {
                    hash.update(format!(" {} {}", made.uid, made.generation));
                }
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
