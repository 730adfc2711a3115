//! One request: who, what, the call, and its reply in the form that was asked for.

use super::asked::Asked;
use super::body::{Body, CHUNK_BYTES};
use super::negotiate::{self, Accepts, Form, Offer};
use super::request::{self, RequestBody};
use super::respond::{self, Wanted};
use super::route::{self, Place, Route};
use super::table::Include;
use super::{Compress, Peer, Server, impersonate, issuer, probes, watch};
use crate::core::{self, Caller};
use crate::options::{self, Query};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use http::request::Parts;
use http::{Method, Request, Response};
use kinds::wire::Wire;
use kinds::{Registry, Row};
use meta::client::{FieldValidation, Sent};
use meta::{Call, Options, Status, Verb};
use std::io::Write;
use std::sync::Arc;

/// Smaller responses are not worth compressing, as upstream decides.
const COMPRESS_FROM_BYTES: u64 = 128 * 1024;

/// Whoever asks whether the server is there gets an answer, as with upstream's `--authorization-always-allow-paths`.
const ALWAYS_ALLOWED: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// Watches, streams and what pods answer: they do not count against the limit of requests.
pub fn is_long_running(request: &Request<RequestBody>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let path = request.uri().path();
    let last = path.rsplit('/').next().unwrap_or_default();
    // `/api/v1/namespaces/n/pods/name/proxy`, and what follows.
    let proxied = path.split('/').nth(7) == Some(route::PROXY);
    query.contains("watch=") || proxied || matches!(last, "exec" | "attach" | "portforward" | "log")
}

pub async fn handle(server: Arc<Server>, peer: Arc<Peer>, request: Request<RequestBody>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let compress = compresses(&server, &peer, &parts);
    let head = parts.method == Method::HEAD;
    let accepts = Accepts::of(&parts);
    let response = match answer(&server, &peer, parts, body).await {
        Ok(response) => response,
        Err(status) => respond::status(&status, accepts.of_failure()),
    };
    let response = if compress { compressed(response) } else { response };
    if head { without_body(response) } else { response }
}

/// The answer to HEAD: headers alone, with the length that the body would have had. HTTP/2 would send a body.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    // A pod has said itself how long its body would be, if it knows.
    if let Some(length) = hyper::body::Body::size_hint(&body).exact()
        && !matches!(body, Body::Relay(_))
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::Full(None))
}

async fn answer(
    server: &Arc<Server>,
    peer: &Peer,
    mut parts: Parts,
    body: RequestBody,
) -> Result<Response<Body>, Status> {
    let path = parts.uri.path().to_string();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let api = server.api();
    let caller = request::authenticate(api, peer, &parts.headers)?;
    let asked = Asked::of(&parts.method, &path, &query);
    let ask = asked.ask();
    let caller = impersonate::acting_as(api, caller, &ask, &mut parts.headers)?;
    if !ALWAYS_ALLOWED.contains(&path.as_str()) {
        api.require(&caller, &ask)?;
    }
    if let Some(response) = probes::answer(server, &path, parts.uri.query().unwrap_or_default()) {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        return if reads {
            Ok(response)
        } else {
            Err(Status::method_not_allowed())
        };
    }
    let registry = api.registry();
    // What is rare and large is boxed: each request's future is moved about whole.
    match route::route(&registry, &path)? {
        Route::Path => Box::pin(other_path(server, &registry, &parts, &path, &query)).await,
        Route::Resource(place) if is_stream(place.subresource) => {
            let served = super::pods::serve(server, &caller, place, &mut parts, &query);
            Box::pin(served).await
        }
        Route::Resource(place) if place.subresource == route::PROXY => {
            let served = super::proxy::serve(server, peer, place, parts, body);
            Box::pin(served).await
        }
        Route::Resource(place) => resource(server, &caller, &registry, place, parts, body, &query).await,
    }
}

fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward")
}

/// Discovery, OpenAPI and metrics: paths that are no resource.
async fn other_path(
    server: &Arc<Server>,
    registry: &Arc<Registry>,
    parts: &Parts,
    path: &str,
    query: &Query,
) -> Result<Response<Body>, Status> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    if let Some(response) = issuer::answer(server.api().parts().signer.as_deref(), path) {
        return Ok(response);
    }
    if let Some(response) = crate::discovery::answer(&server.discovery, registry, path, &parts.headers) {
        return response;
    }
    let openapi = crate::openapi::answer(&server.openapi, registry, path, &parts.headers, query);
    match openapi.await {
        Some(response) => response,
        None => Err(Status::no_such_path()),
    }
}

async fn resource(
    server: &Arc<Server>,
    caller: &Caller,
    registry: &Arc<Registry>,
    place: Place,
    parts: Parts,
    body: RequestBody,
    query: &Query,
) -> Result<Response<Body>, Status> {
    let api = server.api();
    let options = options::of_query(query, options_kind(&parts.method, &place))?;
    let watching = place.watch || query.flag("watch");
    let reading = matches!(parts.method, Method::GET | Method::HEAD);
    let offer = Offer {
        watch: watching && reading,
        tables: has_tables(&place),
        protobuf: has_protobuf(&place),
    };
    let form = negotiate::negotiate(&parts.headers, query, offer)?;
    if reading && watching && place.row.rules.shows().is_some() {
        return Err(Status::method_not_allowed());
    }
    if reading && watching && place.subresource.is_empty() && !place.row.rules.is_question() {
        let deprecation = place.row.rules.deprecation();
        let watch = start_watch(server, place, options, query, form);
        let mut response = Box::pin(watch).await?;
        respond::warn(&mut response, deprecation);
        return Ok(response);
    }
    let media_type = request::media_type(&parts.headers);
    let verb = verb(&parts.method, &place, &media_type)?;
    let mut warnings: Vec<String> = place
        .row
        .rules
        .deprecation()
        .map(Into::into)
        .into_iter()
        .collect();
    let mut call = Call {
        verb,
        res: place.row.res,
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        subresource: place.subresource,
        body: None,
        sent: None,
        options,
    };
    if !matches!(verb, Verb::Get | Verb::List) {
        let bytes = request::read(body, server.config.max_body_bytes).await?;
        take_body(&mut call, &place, bytes, &media_type, &mut warnings)?;
    }
    if call.subresource == "binding" && call.name.is_empty() {
        call.name = named_in_body(&call)?;
    }
    let include = Include::asked(form, query)?;
    let (reply, more) = api.call_row(registry, &place.row, caller, call).await?;
    warnings.extend(more);
    let printed: &Row = match place.subresource {
        "scale" => kinds::scale::row(),
        _ => &place.row,
    };
    let wanted = Wanted {
        row: printed,
        form,
        include,
        now: api.parts().env.now(),
    };
    respond::reply(&wanted, reply, &warnings)
}

/// What upstream calls the options of a method.
fn options_kind(method: &Method, place: &Place) -> &'static str {
    match *method {
        Method::POST => "CreateOptions",
        Method::PUT => "UpdateOptions",
        Method::PATCH => "PatchOptions",
        Method::DELETE => "DeleteOptions",
        _ if place.name.is_empty() => "ListOptions",
        _ => "GetOptions",
    }
}

/// Whether there are tables of what stands there: of objects, not of questions and tokens.
fn has_tables(place: &Place) -> bool {
    matches!(place.subresource, "" | "status" | "scale" | "approval") && !place.row.rules.is_question()
}

/// Whether its answers are of kinds that have a protobuf form: not those of custom resources.
fn has_protobuf(place: &Place) -> bool {
    let row = &place.row;
    place.subresource == "scale" || Wire::of(&row.api_version(), row.kind).is_some()
}

fn named_in_body(call: &Call) -> Result<String, Status> {
    let name = call.body.as_ref().map_or("", |b| core::metadata::text(b, "name"));
    if name.is_empty() {
        return Err(Status::bad_request("the name of the object is missing"));
    }
    Ok(name.to_string())
}

/// Puts the decoded body where its verb looks for it.
fn take_body(
    call: &mut Call,
    place: &Place,
    bytes: Bytes,
    media_type: &str,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let strictness = call.options.field_validation;
    let deletes = matches!(call.verb, Verb::Delete | Verb::DeleteCollection);
    if deletes && bytes.is_empty() {
        return Ok(());
    }
    if !deletes && bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Status::bad_request(
            "the request has no body: an object or a patch is expected",
        ));
    }
    let default = match deletes {
        true => ("v1".to_string(), "DeleteOptions"),
        false => (place.row.api_version(), place.row.kind),
    };
    let decoded = request::decode(&bytes, media_type, (&default.0, default.1))?;
    if deletes {
        request::judge(decoded.duplicates, strictness, warnings)?;
        call.options = options::of_delete_body(&decoded.value, std::mem::take(&mut call.options))?;
        return Ok(());
    }
    // The pipeline tells of all that is wrong with an object's fields at once, in the order in which they were sent.
    let is_object = matches!(call.subresource, "" | "status" | "approval") && !place.row.rules.is_question();
    if is_object && strictness != FieldValidation::Ignore && media_type.ends_with("json") {
        call.sent = Some(Sent {
            json: bytes,
            duplicates: decoded.duplicates,
        });
    } else {
        request::judge(decoded.duplicates, strictness, warnings)?;
    }
    call.body = Some(decoded.value);
    Ok(())
}

async fn start_watch(
    server: &Arc<Server>,
    place: Place,
    mut options: Options,
    query: &Query,
    form: Form,
) -> Result<Response<Body>, Status> {
    if !place.name.is_empty() {
        let own = format!("metadata.name={}", place.name);
        options.field_selector = match options.field_selector.as_str() {
            "" => own,
            other => format!("{other},{own}"),
        };
    }
    watch::watch(server.clone(), place.row, &place.namespace, &options, query, form).await
}

/// The verb of a method on a place; 405 where there is none.
fn verb(method: &Method, place: &Place, media_type: &str) -> Result<Verb, Status> {
    let named = !place.name.is_empty();
    let across = place.row.namespaced && place.namespace.is_empty();
    let verb = match *method {
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE if place.row.rules.shows().is_some() => {
            return Err(Status::method_not_allowed());
        }
        Method::POST if !named && !across => Verb::Create,
        _ if place.row.rules.is_question() => return Err(Status::method_not_allowed()),
        Method::GET | Method::HEAD if named => Verb::Get,
        Method::GET | Method::HEAD => Verb::List,
        _ if across => return Err(Status::method_not_allowed()),
        Method::POST if posts(place.subresource) => Verb::Create,
        Method::PUT if named => Verb::Update,
        Method::PATCH if named => request::patch_verb(media_type)?,
        Method::DELETE if named => Verb::Delete,
        Method::DELETE if place.row.rules.deletes_collections() => Verb::DeleteCollection,
        _ => return Err(Status::method_not_allowed()),
    };
    let allowed = match place.subresource {
        "" => true,
        sub if posts(sub) => verb == Verb::Create,
        "finalize" => verb == Verb::Update,
        _ => !matches!(verb, Verb::Create | Verb::Delete),
    };
    if allowed {
        Ok(verb)
    } else {
        Err(Status::method_not_allowed())
    }
}

/// Subresources that are made, not read.
fn posts(subresource: &str) -> bool {
    matches!(subresource, "binding" | "eviction" | "token")
}

fn compresses(server: &Server, peer: &Peer, parts: &Parts) -> bool {
    let wanted = match server.config.compress {
        Compress::Never => false,
        Compress::Remote => !peer.loopback,
        Compress::Always => true,
    };
    let accepted = parts
        .headers
        .get(ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    wanted
        && accepted
            .split(',')
            .any(|e| e.split(';').next().unwrap_or_default().trim() == "gzip")
}

/// The response with its body compressed, if that is large.
fn compressed(response: Response<Body>) -> Response<Body> {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match body {
        Body::Full(Some(bytes)) if bytes.len() as u64 >= COMPRESS_FROM_BYTES => bytes,
        Body::List(list) if list.size_bytes() >= COMPRESS_FROM_BYTES => match list.into_bytes() {
            Ok(bytes) => bytes,
            Err(why) => return respond::status(&Status::internal(why.to_string()), Form::JSON),
        },
        other => return Response::from_parts(parts, other),
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(CHUNK_BYTES), Compression::fast());
    let zipped = encoder.write_all(&bytes).and_then(|()| encoder.finish());
    match zipped {
        Ok(zipped) => {
            parts
                .headers
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts
                .headers
                .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            Response::from_parts(parts, Bytes::from(zipped).into())
        }
        Err(error) => {
            tracing::warn!(%error, "a response could not be compressed");
            Response::from_parts(parts, bytes.into())
        }
    }
}
