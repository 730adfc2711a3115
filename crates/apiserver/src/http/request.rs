//! Requests in: who sends them, and bodies within limits, decoded by their content type.

use super::Peer;
use super::negotiate::MEDIA_TYPES;
use crate::Api;
use crate::authenticators::AUTHENTICATED;
use crate::core::Caller;
use bytes::{Bytes, BytesMut};
use codec::Decoded;
use codec::protobuf::ProtobufError;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use kinds::review::Extra;
use meta::client::FieldValidation;
use meta::{Status, Verb};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use x509_parser::der_parser::oid;

const BODY_LIMIT: Duration = Duration::from_secs(60);
/// Who sends a request without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// What a client may still send after it was answered. Most clients read no answer before they have sent all.
const UNREAD_MAX_BYTES: usize = 8 << 20;
const UNREAD_LIMIT: Duration = Duration::from_secs(5);

/// A body that still has to be read, or one that is there.
pub enum RequestBody {
    Wire(Wire),
    Bytes(Bytes),
}

/// A body on its way. What nobody read of it is read in the background: if the connection were closed or the stream
/// reset under a client that still sends, it would see that instead of the answer.
pub struct Wire(Option<Incoming>);

impl Wire {
    pub fn new(incoming: Incoming) -> Self {
        Self((!incoming.is_end_stream()).then_some(incoming))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        if incoming.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(incoming) = self.0.take() {
            tokio::spawn(tokio::time::timeout(UNREAD_LIMIT, read_away(incoming)));
        }
    }
}

async fn read_away(mut incoming: Incoming) {
    let mut left = UNREAD_MAX_BYTES;
    while let Some(Ok(frame)) = incoming.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
            return;
        };
        left = rest;
    }
}

/// As it comes, for whoever passes it on.
impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Wire(wire) => wire.poll_frame(cx),
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Wire(wire) => wire.0.is_none(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Wire(wire) => wire
                .0
                .as_ref()
                .map_or(SizeHint::with_exact(0), Incoming::size_hint),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// The caller that a client certificate names: CN is the user, each O a group, and an attribute of Kubernetes' own the uid.
pub fn caller_of_certificate(certificate: &CertificateDer<'_>) -> Option<Caller> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_string();
    let groups = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok().map(str::to_string));
    let groups = groups.chain([AUTHENTICATED.to_string()]).collect();
    // Source: KEP-4827's OID of a user's uid.
    let uid = subject.iter_by_oid(&oid!(1.3.6.1.4.1.57683.2)).next();
    let uid = uid.and_then(|uid| uid.as_str().ok()).unwrap_or_default();
    let print = format!("X509SHA256={:x}", Sha256::digest(certificate));
    Some(Caller {
        name,
        uid: uid.to_string(),
        groups,
        extra: Extra::from([("authentication.kubernetes.io/credential-id".into(), vec![print])]),
        ..Caller::default()
    })
}

/// Who sends this request: somebody who proves it, or nobody in particular. An error is somebody who claims to be known
/// and is not.
pub fn authenticate(api: &Api, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Status> {
    let mut caller = match (&peer.caller, bearer(headers)) {
        (Some(caller), _) => caller.clone(),
        (None, None) => anonymous(),
        (None, Some(token)) => {
            let parts = api.parts();
            let authenticator = parts.authenticator.as_ref().ok_or_else(Status::unauthorized)?;
            let found = authenticator.authenticate(token, &[], &parts.store.snapshot(), parts.env.now());
            let holder = found.map_err(|unknown| {
                tracing::debug!(?unknown, "a bearer token is not believed");
                Status::unauthorized()
            })?;
            holder.caller
        }
    };
    let agent = headers
        .get(USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let agent = agent.split('/').next().unwrap_or_default();
    caller.agent = agent.chars().filter(|c| !c.is_control()).take(128).collect();
    Ok(caller)
}

fn anonymous() -> Caller {
    Caller {
        name: ANONYMOUS.to_string(),
        groups: vec![UNAUTHENTICATED.to_string()],
        ..Caller::default()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The whole body, if it is not over the limit and comes in time.
pub async fn read(mut body: RequestBody, limit: usize) -> Result<Bytes, Status> {
    match body {
        RequestBody::Bytes(bytes) if bytes.len() > limit => return Err(Status::too_large(limit)),
        RequestBody::Bytes(bytes) => return Ok(bytes),
        RequestBody::Wire(_) => {}
    }
    let all = async {
        let mut first: Option<Bytes> = None;
        let mut rest = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Status::bad_request(format!("the body could not be read: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            let have = first.as_ref().map_or(0, Bytes::len).max(rest.len());
            if have + data.len() > limit {
                return Err(Status::too_large(limit));
            }
            match (&first, rest.is_empty()) {
                (None, true) => first = Some(data),
                (Some(one), true) => {
                    rest.extend_from_slice(one);
                    rest.extend_from_slice(&data);
                }
                _ => rest.extend_from_slice(&data),
            }
        }
        Ok(match first {
            Some(one) if rest.is_empty() => one,
            _ => rest.freeze(),
        })
    };
    match tokio::time::timeout(BODY_LIMIT, all).await {
        Ok(read) => read,
        Err(_) => Err(Status::new(
            408,
            "Timeout",
            "the body of the request did not come in time",
        )),
    }
}

/// The content type without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Which patch a content type asks for.
pub fn patch_verb(media_type: &str) -> Result<Verb, Status> {
    match media_type {
        "application/json-patch+json" => Ok(Verb::PatchJson),
        "application/merge-patch+json" => Ok(Verb::PatchMerge),
        "application/strategic-merge-patch+json" => Ok(Verb::PatchStrategic),
        "application/apply-patch+yaml" => Ok(Verb::Apply),
        _ => Err(Status::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
        )),
    }
}

/// A body as a value; `default` is the version and kind of one that says nothing of it.
pub fn decode(bytes: &[u8], media_type: &str, default: (&str, &str)) -> Result<Decoded, Status> {
    let kind = default.1;
    let malformed = |e: codec::Malformed| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {e} ({})",
            shown(bytes)
        ))
    };
    match media_type {
        "" | "application/json" => codec::from_json(bytes).map_err(malformed),
        "application/yaml" | "application/apply-patch+yaml" => {
            codec::from_yaml(bytes).map_err(|e| Status::bad_request(e.to_string()))
        }
        "application/vnd.kubernetes.protobuf" => {
            let value = kinds::wire::decode(bytes, default).map_err(|e| not_read(e, bytes, default))?;
            Ok(Decoded {
                value,
                duplicates: Vec::new(),
            })
        }
        other if other.ends_with("-patch+json") => {
            codec::from_json(bytes).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))
        }
        _ => Err(Status::unsupported_media_type(MEDIA_TYPES)),
    }
}

/// Of custom resources.
const NO_PROTOBUF: &str = "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message";

/// What is wrong with a protobuf body, in upstream's words.
fn not_read(error: ProtobufError, bytes: &[u8], default: (&str, &str)) -> Status {
    let expected = default.1;
    Status::bad_request(match &error {
        ProtobufError::UnknownType { api_version, kind } => {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            let why = match (api_version.as_str(), kind.as_str()) == default {
                true => NO_PROTOBUF.to_string(),
                false => error.to_string(),
            };
            format!("{kind} in version {version:?} cannot be handled as a {expected}: {why}")
        }
        _ => format!(
            "the object provided is unrecognized (must be of type {expected}): {error} ({})",
            shown(bytes)
        ),
    })
}

/// The beginning of a body that is not understood, as text where it looks like JSON.
fn shown(bytes: &[u8]) -> String {
    const MAX_BYTES: usize = 30;
    let start = &bytes[..bytes.len().min(MAX_BYTES)];
    let mut text = match start.first() {
        None => "<empty>".to_string(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|b| format!("{b:02x}")).collect(),
    };
    if bytes.len() > MAX_BYTES {
        text += " ...";
    }
    text
}

/// Duplicate fields of a body that no schema describes: warnings or an error, as `strictness` says.
pub fn judge(
    duplicates: Vec<String>,
    strictness: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    match strictness {
        _ if duplicates.is_empty() => {}
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(duplicates),
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", duplicates.join(", "));
            return Err(Status::bad_request(why));
        }
    }
    Ok(())
}
