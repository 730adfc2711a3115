//! Discovery from the rows: which groups, versions and resources there are, one document a path or all in one
//! (`APIGroupDiscoveryList`). Made once a registry.

pub mod describe;

use crate::http::{Body, Encoding, MEDIA_TYPES, Range, pick};
use ::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use ::http::{HeaderMap, Response, StatusCode};
use base64::Engine;
use bytes::Bytes;
use describe::{Group, Resource, Version};
use kinds::{Registry, Row};
use meta::Status;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What is derived from a registry and kept with it.
#[derive(Default)]
pub struct Cache {
    made: Mutex<Option<Made>>,
}

/// The documents of one registry, by path and form.
struct Made {
    of: Arc<Registry>,
    documents: Arc<BTreeMap<(String, Form), Document>>,
}

#[derive(Clone)]
struct Document {
    body: Bytes,
    /// Quoted, as the header has it.
    etag: HeaderValue,
}

/// How a discovery document is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Plain,
    /// All groups in one list, of this version of the format.
    Aggregated(&'static str),
}

impl Form {
    fn content_type(self, encoding: Encoding) -> String {
        let media = encoding.media_type();
        match self {
            Self::Plain => media.into(),
            Self::Aggregated(version) => {
                format!("{media};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
            }
        }
    }
}

/// The answer to a discovery path; `None` for any other path.
pub fn answer(
    cache: &Cache,
    registry: &Arc<Registry>,
    path: &str,
    headers: &HeaderMap,
) -> Option<Result<Response<Body>, Status>> {
    let path = path.trim_end_matches('/');
    let documents = cache.documents(registry);
    if !documents.contains_key(&(path.to_string(), Form::Plain)) {
        return None;
    }
    let aggregates = matches!(path, "/api" | "/apis");
    let negotiated = match path {
        // The list of paths is no object of the API.
        "" => Some((Form::Plain, Encoding::Json)),
        _ => negotiate(headers, aggregates),
    };
    let Some((form, encoding)) = negotiated else {
        return Some(Err(Status::not_acceptable(MEDIA_TYPES)));
    };
    let document = documents.get(&(path.to_string(), form))?;
    Some(respond(document, form, encoding, headers))
}

fn respond(
    document: &Document,
    form: Form,
    encoding: Encoding,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag.as_bytes() == document.etag.as_bytes() || tag == "*"));
    let body = match known {
        true => Bytes::new(),
        false => document.encoded(encoding)?,
    };
    let mut response = Response::new(Body::from(body));
    let out = response.headers_mut();
    out.insert(ETAG, document.etag.clone());
    out.insert(VARY, HeaderValue::from_static("Accept"));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        let media = HeaderValue::from_str(&form.content_type(encoding));
        out.insert(CONTENT_TYPE, media.map_err(|e| Status::internal(e.to_string()))?);
    }
    Ok(response)
}

impl Document {
    fn encoded(&self, encoding: Encoding) -> Result<Bytes, Status> {
        if encoding == Encoding::Json {
            return Ok(self.body.clone());
        }
        let internal = |e: &dyn std::fmt::Display| Status::internal(e.to_string());
        let value: Value = serde_json::from_slice(&self.body).map_err(|e| internal(&e))?;
        if encoding == Encoding::Yaml {
            return codec::to_yaml(&value).map(Into::into).map_err(|e| internal(&e));
        }
        let body = kinds::wire::body(&value).map_err(|e| internal(&e))?;
        body.map(Into::into)
            .ok_or_else(|| Status::not_acceptable(MEDIA_TYPES))
    }
}

/// The form in `Accept` that there is; all groups in one list come before what is plain, wherever they stand.
fn negotiate(headers: &HeaderMap, aggregates: bool) -> Option<(Form, Encoding)> {
    let accept = headers
        .get(ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let form = |range: &Range| match range.convert() {
        None => Some(Form::Plain),
        Some(to) if (to.group, to.kind) == ("apidiscovery.k8s.io", "APIGroupDiscoveryList") => {
            match to.version {
                "v2" => Some(Form::Aggregated("v2")),
                "v2beta1" => Some(Form::Aggregated("v2beta1")),
                _ => None,
            }
        }
        Some(_) => None,
    };
    let of = |plain: bool| {
        pick(accept, |range, encoding| {
            let form = form(range).filter(|f| (*f == Form::Plain) == plain && range.streams(encoding))?;
            Some((form, encoding))
        })
    };
    aggregates.then(|| of(false)).flatten().or_else(|| of(true))
}

impl Cache {
    fn documents(&self, registry: &Arc<Registry>) -> Arc<BTreeMap<(String, Form), Document>> {
        // What is in there is whole at every moment, so a panic elsewhere does not spoil it.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(made) if Arc::ptr_eq(&made.of, registry) => made.documents.clone(),
            _ => {
                let documents = Arc::new(documents(registry));
                *made = Some(Made {
                    of: registry.clone(),
                    documents: documents.clone(),
                });
                documents
            }
        }
    }
}

/// Every discovery document of a registry.
fn documents(registry: &Registry) -> BTreeMap<(String, Form), Document> {
    let groups = describe::groups(registry);
    let (core, named): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|g| g.name.is_empty());
    let mut documents = BTreeMap::new();
    let mut put = |path: String, form: Form, value: Value| {
        documents.insert((path, form), document(&value));
    };
    let versions: Vec<&str> = core.iter().flat_map(|g| &g.versions).map(|v| v.name).collect();
    put(
        "/api".into(),
        Form::Plain,
        json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": []}),
    );
    let list: Vec<Value> = named.iter().map(|g| group(g)).collect();
    put(
        "/apis".into(),
        Form::Plain,
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list}),
    );
    for version in ["v2", "v2beta1"] {
        let form = Form::Aggregated(version);
        put("/api".into(), form, aggregated(&core, version));
        put("/apis".into(), form, aggregated(&named, version));
    }
    for one in &groups {
        let root = match one.name {
            "" => "/api".to_string(),
            name => format!("/apis/{name}"),
        };
        if !one.name.is_empty() {
            let mut value = group(one);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            put(root.clone(), Form::Plain, value);
        }
        for version in &one.versions {
            let path = format!("{root}/{}", version.name);
            put(path, Form::Plain, resources(one, version));
        }
    }
    let paths = paths(documents.keys().map(|(path, _)| path.as_str()));
    documents.insert((String::new(), Form::Plain), document(&json!({"paths": paths})));
    documents
}

/// What `GET /` lists: the documents here, and the paths that others answer.
fn paths<'a>(documents: impl Iterator<Item = &'a str>) -> Vec<String> {
    let others = [
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ];
    let all: BTreeSet<&str> = documents.chain(others).collect();
    all.into_iter().map(String::from).collect()
}

fn document(value: &Value) -> Document {
    let mut text = value.to_string();
    text.push('\n');
    let hash: String = Sha256::digest(text.as_bytes())
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    // Digits and letters in quotes are always a legal header.
    let etag = HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    Document {
        body: text.into(),
        etag,
    }
}

fn group_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_string(),
        group => format!("{group}/{version}"),
    }
}

fn group(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|v| json!({"groupVersion": group_version(group.name, v.name), "version": v.name}))
        .collect();
    json!({"name": group.name, "preferredVersion": versions.first(), "versions": versions})
}

fn resources(group: &Group, version: &Version) -> Value {
    let list: Vec<Value> = version.resources.iter().flat_map(plain).collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group.name, version.name), "resources": list})
}

/// A resource and its subresources as entries of an `APIResourceList`.
fn plain(resource: &Resource) -> Vec<Value> {
    let mut own = json!({"name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs});
    names(&mut own, resource.row.as_deref());
    if let Some(stored) = &resource.stored {
        let hash = storage_hash(stored.res.group, stored.version, stored.kind);
        own["storageVersionHash"] = hash.into();
    }
    let mut list = vec![own];
    for sub in &resource.subresources {
        let mut entry = json!({"name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
            "namespaced": resource.namespaced, "kind": sub.kind, "verbs": sub.verbs});
        if !sub.version.is_empty() {
            entry["group"] = sub.group.into();
            entry["version"] = sub.version.into();
        }
        list.push(entry);
    }
    list
}

fn names(entry: &mut Value, row: Option<&Row>) {
    let Some(row) = row else { return };
    if !row.short_names.is_empty() {
        entry["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        entry["categories"] = json!(row.categories);
    }
}

/// A text that changes with the version in which objects are kept, as upstream makes it.
fn storage_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{group}/{version}/{kind}"));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

fn aggregated(groups: &[&Group], format: &str) -> Value {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let metadata = match group.name {
                "" => json!({}),
                name => json!({"name": name}),
            };
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|version| {
                    let list: Vec<Value> = version
                        .resources
                        .iter()
                        .map(|r| nested(group, version, r))
                        .collect();
                    json!({"version": version.name, "resources": list, "freshness": "Current"})
                })
                .collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{format}"),
        "metadata": {}, "items": items})
}

/// A resource with its subresources inside, for the aggregated form.
fn nested(group: &Group, version: &Version, resource: &Resource) -> Value {
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut own = json!({"resource": resource.plural,
        "responseKind": {"group": group.name, "version": version.name, "kind": resource.kind},
        "scope": scope, "singularResource": resource.singular, "verbs": resource.verbs});
    names(&mut own, resource.row.as_deref());
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            let (group, version) = match sub.version {
                "" => (group.name, version.name),
                other => (sub.group, other),
            };
            json!({"subresource": sub.name, "verbs": sub.verbs,
                "responseKind": {"group": group, "version": version, "kind": sub.kind}})
        })
        .collect();
    if !subresources.is_empty() {
        own["subresources"] = subresources.into();
    }
    own
}
