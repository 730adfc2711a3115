//! OpenAPI over HTTP: the index, documents by path and hash, `Accept`, ETags, and the cache of compressed documents.

use super::schemas::Documents;
use super::{index, v2, v2_proto, v3};
use crate::http::Body;
use crate::options::Query;
use ::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    LOCATION, VARY,
};
use ::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kinds::Registry;
use meta::Status;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

const JSON: &str = "application/json";
const PROTO_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// As client-go writes it.
const PROTO_V2_AT: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The documents of one registry that somebody has asked for.
#[derive(Default)]
pub struct Cache {
    /// Held while a document is built, so that many who ask at once cost one build.
    made: tokio::sync::Mutex<Option<Made>>,
}

struct Made {
    of: Arc<Registry>,
    index: Arc<Vec<(String, String)>>,
    /// Compressed; one entry a group version and two for v2, so bounded by the registry.
    documents: HashMap<Document, Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Document {
    V2,
    V2Proto,
    V3(String),
}

/// The answer to an OpenAPI path; `None` for any other path.
pub async fn answer(
    cache: &Cache,
    registry: &Arc<Registry>,
    path: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Option<Result<Response<Body>, Status>> {
    let path = path.trim_end_matches('/');
    match path.strip_prefix("/openapi/")? {
        "v2" => Some(whole(cache, registry, headers).await),
        "v3" => Some(list(cache, registry, headers).await),
        other => {
            let key = other.strip_prefix("v3/")?;
            one(cache, registry, key, headers, query).await
        }
    }
}

async fn whole(
    cache: &Cache,
    registry: &Arc<Registry>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let offered = [JSON, PROTO_V2, PROTO_V2_AT];
    let chosen = accept(headers, &offered).ok_or_else(|| Status::not_acceptable(&offered.join(", ")))?;
    let (document, content_type) = match chosen {
        JSON => (Document::V2, JSON),
        _ => (Document::V2Proto, PROTO_V2),
    };
    let index = cache.index(registry).await;
    let mut hash = Sha256::new();
    hash.update(content_type);
    for (key, own) in index.iter() {
        hash.update(key);
        hash.update(own);
    }
    let etag = etag(
        &hash
            .finalize()
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect::<String>(),
    );
    if matches(headers, &etag) {
        return Ok(unchanged(etag));
    }
    let packed = cache.document(registry, document).await?;
    let mut response = packed_response(packed, headers, content_type)?;
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

async fn list(
    cache: &Cache,
    registry: &Arc<Registry>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    accept(headers, &[JSON]).ok_or_else(|| Status::not_acceptable(JSON))?;
    let paths: Map<String, Value> = cache
        .index(registry)
        .await
        .iter()
        .map(|(key, hash)| {
            let url = format!("/openapi/v3/{key}?hash={hash}");
            (key.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    let text = json!({"paths": paths}).to_string();
    let hash: String = Sha256::digest(&text).iter().map(|b| format!("{b:02X}")).collect();
    let etag = etag(&hash);
    if matches(headers, &etag) {
        return Ok(unchanged(etag));
    }
    let mut response = Response::new(Body::from(Bytes::from(text)));
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    out.insert(ETAG, etag);
    Ok(response)
}

async fn one(
    cache: &Cache,
    registry: &Arc<Registry>,
    key: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Option<Result<Response<Body>, Status>> {
    let index = cache.index(registry).await;
    let (_, hash) = index.iter().find(|(k, _)| k == key)?;
    if accept(headers, &[JSON]).is_none() {
        return Some(Err(Status::not_acceptable(JSON)));
    }
    let asked = query.text("hash");
    if !asked.is_empty() && asked != hash {
        return Some(moved(&format!("/openapi/v3/{key}?hash={hash}")));
    }
    let etag = etag(hash);
    let mut response = if matches(headers, &etag) {
        unchanged(etag.clone())
    } else {
        let packed = cache.document(registry, Document::V3(key.to_string())).await;
        match packed.and_then(|packed| packed_response(packed, headers, JSON)) {
            Ok(response) => response,
            Err(status) => return Some(Err(status)),
        }
    };
    let out = response.headers_mut();
    out.insert(ETAG, etag);
    if !asked.is_empty() {
        // A path with this hash never means another document.
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        out.insert(CACHE_CONTROL, forever);
    }
    Some(Ok(response))
}

fn moved(to: &str) -> Result<Response<Body>, Status> {
    let location = HeaderValue::from_str(to).map_err(|e| Status::internal(e.to_string()))?;
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn etag(hash: &str) -> HeaderValue {
    // Digits and letters in quotes are always a legal header.
    HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag.as_bytes() == etag.as_bytes())
}

fn unchanged(etag: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(ETAG, etag);
    response
}

/// The first offered media type that `Accept` names, in the order of `Accept`.
fn accept(headers: &HeaderMap, offered: &[&'static str]) -> Option<&'static str> {
    let mut given = false;
    for value in headers.get_all(ACCEPT) {
        let Ok(text) = value.to_str() else { continue };
        for range in text.split(',') {
            let range = range.split(';').next().unwrap_or_default().trim();
            if range.is_empty() {
                continue;
            }
            given = true;
            if matches!(range, "*/*" | "application/*") {
                return Some(offered[0]);
            }
            if let Some(found) = offered.iter().find(|o| **o == range) {
                return Some(found);
            }
        }
    }
    (!given).then_some(offered[0])
}

/// The document as it is kept, or unpacked for a client that cannot.
fn packed_response(
    packed: Bytes,
    headers: &HeaderMap,
    content_type: &'static str,
) -> Result<Response<Body>, Status> {
    let zips = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|e| e.split(';').next().unwrap_or_default().trim() == "gzip");
    let body = if zips { packed } else { unpack(&packed)? };
    let mut response = Response::new(Body::from(body));
    let out = response.headers_mut();
    if zips {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    Ok(response)
}

fn unpack(packed: &[u8]) -> Result<Bytes, Status> {
    let mut out = Vec::new();
    GzDecoder::new(packed)
        .read_to_end(&mut out)
        .map_err(|e| Status::internal(format!("an OpenAPI document could not be unpacked: {e}")))?;
    Ok(out.into())
}

impl Made {
    /// What is kept of `registry`; whatever was of another one is dropped.
    fn of<'a>(kept: &'a mut Option<Self>, registry: &Arc<Registry>) -> &'a mut Self {
        let made = match kept.take() {
            Some(made) if Arc::ptr_eq(&made.of, registry) => made,
            before => {
                let index = index(registry);
                let documents = before.map(|before| before.same_in(&index));
                Self {
                    of: registry.clone(),
                    index: Arc::new(index),
                    documents: documents.unwrap_or_default(),
                }
            }
        };
        kept.insert(made)
    }

    /// The documents of single group versions that are the same under another index.
    fn same_in(self, index: &[(String, String)]) -> HashMap<Document, Bytes> {
        let is_same = |key: &String| {
            let of =
                |list: &[(String, String)]| list.iter().find(|(k, _)| k == key).map(|(_, hash)| hash.clone());
            of(&self.index).is_some_and(|hash| of(index) == Some(hash))
        };
        let documents = self.documents.into_iter();
        documents
            .filter(|(document, _)| matches!(document, Document::V3(key) if is_same(key)))
            .collect()
    }
}

impl Cache {
    async fn index(&self, registry: &Arc<Registry>) -> Arc<Vec<(String, String)>> {
        let mut kept = self.made.lock().await;
        Made::of(&mut kept, registry).index.clone()
    }

    async fn document(&self, registry: &Arc<Registry>, document: Document) -> Result<Bytes, Status> {
        let mut kept = self.made.lock().await;
        let made = Made::of(&mut kept, registry);
        if let Some(packed) = made.documents.get(&document) {
            return Ok(packed.clone());
        }
        let (of, which) = (registry.clone(), document.clone());
        // Tens of milliseconds of computing: not on a thread that answers others.
        let built = tokio::task::spawn_blocking(move || build(&of, &which)).await;
        let packed = built
            .map_err(|e| e.to_string())
            .and_then(|built| built.map_err(|e| e.to_string()))
            .map_err(|e| Status::internal(format!("an OpenAPI document could not be built: {e}")))?;
        made.documents.insert(document, packed.clone());
        Ok(packed)
    }
}

/// Builds and compresses one document.
fn build(registry: &Registry, document: &Document) -> std::io::Result<Bytes> {
    let text = kinds::schema::documents()?;
    let documents: Documents = serde_json::from_slice(&text)?;
    let mut zip = std::io::BufWriter::new(GzEncoder::new(Vec::new(), Compression::fast()));
    match document {
        Document::V2 => v2(registry, &documents, &mut zip)?,
        Document::V2Proto => v2_proto(registry, &documents, &mut zip)?,
        Document::V3(key) => v3(registry, key, &documents, &mut zip)?,
    }
    let zip = zip.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    let mut packed = zip.finish()?;
    packed.shrink_to_fit();
    Ok(packed.into())
}
