//! The proxy verbs of pods and Services: a request goes on to the pod as it is, less its credentials, and the answer
//! comes back with its links kept below the proxy's path. Source: apimachinery's `UpgradeAwareHandler` and its transport.

mod backend;
mod headers;
pub mod links;
mod target;

use super::body::{Body, Relay};
use super::request::RequestBody;
use super::route::Place;
use super::{Peer, Server, channel};
use backend::Failure;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use links::Links;
use meta::Status;
use std::sync::Arc;
use std::time::Duration;

/// When one end of an upgraded connection has said all, the other may go on for this long.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A method that is no verb (OPTIONS) is left to those who may do all.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

pub async fn serve(
    server: &Arc<Server>,
    peer: &Peer,
    place: Place,
    mut parts: Parts,
    body: RequestBody,
) -> Result<Response<Body>, Status> {
    let api = server.api().parts();
    let snapshot = api.store.snapshot();
    if !METHODS.contains(&parts.method) {
        return Err(Status::method_not_allowed());
    }
    if options_say_dry_run(&parts) {
        return Err(Status::bad_request("dryRun is not supported"));
    }
    let target = target::of(&place, &snapshot, api.env.random())?;
    let upgrades = headers::asks_for_upgrade(&parts.headers);
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if place.tail.is_empty() && reads && !upgrades {
        return redirect(&parts);
    }
    let base = below(parts.uri.path(), &place.tail);
    let links = Links {
        base,
        backend: target.authority(),
        asked: headers::host(&parts),
    };
    headers::forward(&mut parts, peer, &links, &place.tail, upgrades)?;
    let node = api.node.load_full();
    let Some(node) = &*node else {
        return Err(Status::unavailable("this server has no node that could be asked"));
    };
    let request = passed_on(&parts, &place.tail, body)?;
    match backend::ask(server, &**node, &target, request).await {
        Ok(answer) if upgrades => upgraded(server, &mut parts, answer),
        Ok(answer) => Ok(relayed(server, answer, &links)?),
        Err(Failure::Dial(why)) if upgrades => Err(unknown(format!("error dialing backend: {why}"))),
        Err(Failure::Exchange(why)) if upgrades => Err(unknown(why)),
        Err(Failure::Dial(why) | Failure::Exchange(why)) => Err(unreachable(&why)),
    }
}

fn options_say_dry_run(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    crate::options::Query::parse(query).get("dryRun").is_some()
}

/// Relative links on the pod's first page only work below a slash.
fn redirect(parts: &Parts) -> Result<Response<Body>, Status> {
    let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let to = format!("{}/{query}", parts.uri.path());
    let mut response = Response::new(Body::Full(None));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to = HeaderValue::from_str(&to).map_err(Status::internal)?;
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

/// The path without what belongs to the pod: where the proxy of this pod or Service is.
fn below(path: &str, tail: &str) -> String {
    path.strip_suffix(tail).unwrap_or(path).to_string()
}

fn passed_on(parts: &Parts, tail: &str, body: RequestBody) -> Result<Request<RequestBody>, Status> {
    let path = if tail.is_empty() { "/" } else { tail };
    let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let uri: Uri = format!("{path}{query}")
        .parse()
        .map_err(|e| Status::bad_request(format!("the path {path:?} cannot be passed on: {e}")))?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers.clone();
    Ok(request)
}

/// The pod's answer, piece by piece as it comes.
fn relayed(server: &Server, answer: Response<Incoming>, links: &Links) -> Result<Response<Body>, Status> {
    let (mut parts, body) = answer.into_parts();
    if parts.status.is_informational() {
        return Err(unreachable(&format!("unexpected answer {}", parts.status)));
    }
    headers::back(&mut parts.headers);
    let page = match parts.headers.get(LOCATION).map(HeaderValue::to_str) {
        Some(Ok(location)) => {
            if let Some(ours) = links.rewritten(location) {
                let ours = HeaderValue::from_str(&ours).map_err(Status::internal)?;
                parts.headers.insert(LOCATION, ours);
            }
            false
        }
        Some(Err(_)) => false,
        None => is_page(&parts.headers),
    };
    if page {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let page = page.then(|| links.clone().page());
    let body = Relay::new(body, page, server.closing.clone());
    let mut response = Response::new(Body::Relay(Box::new(body)));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    Ok(response)
}

/// HTML whose links can be read. What is compressed is passed on as it is.
fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = kind.and_then(|t| t.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/html") && !headers.contains_key(CONTENT_ENCODING)
}

/// Both connections become one, if the pod agrees; its refusal is passed on.
fn upgraded(
    server: &Arc<Server>,
    parts: &mut Parts,
    mut answer: Response<Incoming>,
) -> Result<Response<Body>, Status> {
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        if status.is_client_error() || status.is_server_error() {
            let (mut parts, body) = answer.into_parts();
            headers::back(&mut parts.headers);
            let body = Relay::new(body, None, server.closing.clone());
            let mut response = Response::new(Body::Relay(Box::new(body)));
            *response.status_mut() = status;
            *response.headers_mut() = parts.headers;
            return Ok(response);
        }
        let text = format!("invalid upgrade response: status code {}", status.as_u16());
        return Err(unknown(text));
    }
    let backend = hyper::upgrade::on(&mut answer);
    channel::upgraded(server, parts, |client| async {
        match backend.await {
            Ok(backend) => joined(client, backend).await,
            Err(error) => tracing::debug!(%error, "a pod did not finish its upgrade"),
        }
    })?;
    let mut response = Response::new(Body::Full(None));
    *response.status_mut() = status;
    *response.headers_mut() = answer.headers().clone();
    Ok(response)
}

/// Copies both ways, through buffers of a fixed size, until one end has said all and the other had time to finish.
async fn joined(client: hyper::upgrade::Upgraded, backend: hyper::upgrade::Upgraded) {
    let (mut client_out, mut client_in) = tokio::io::split(TokioIo::new(client));
    let (mut backend_out, mut backend_in) = tokio::io::split(TokioIo::new(backend));
    let up = copied(&mut client_out, &mut backend_in);
    let down = copied(&mut backend_out, &mut client_in);
    tokio::pin!(up, down);
    let drained = tokio::select! {
        () = &mut up => tokio::time::timeout(DRAIN_LIMIT, down).await,
        () = &mut down => tokio::time::timeout(DRAIN_LIMIT, up).await,
    };
    if drained.is_err() {
        tracing::debug!("one end of a proxied connection did not close");
    }
}

async fn copied(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) {
    let copy = async {
        tokio::io::copy(from, to).await?;
        tokio::io::AsyncWriteExt::shutdown(to).await
    };
    if let Err(error) = copy.await {
        tracing::debug!(%error, "a proxied connection broke");
    }
}

fn unreachable(why: &str) -> Status {
    Status::unavailable(format!("error trying to reach service: {why}"))
}

/// What upstream answers when an upgrade fails on the way: an error without a reason.
fn unknown(why: String) -> Status {
    Status::new(500, "", why)
}
