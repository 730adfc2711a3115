//! WATCH: the changes of one resource as lines of JSON or frames of protobuf, from a revision or from the state at the start.
//! A watcher holds a place in the store's history and no queue: one that does not read costs nothing and gets 410 later.

use super::body::{Body, CHUNK_BYTES};
use super::negotiate::{Encoding, Form, MEDIA_TYPES, Shape};
use super::table::{self, Include, Layout};
use super::{Server, respond};
use crate::core::page;
use crate::core::select::Filter;
use crate::options::Query;
use crate::views;
use bytes::{BufMut, Bytes, BytesMut};
use codec::protobuf::ProtobufError;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use kinds::Row;
use kinds::custom::DEFINITIONS;
use kinds::wire::Wire;
use meta::{Change, ChangeKind, Errors, Object, Options, Path, Res, Snapshot, Status};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use store::Changes;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Watches without a timeout end after this and up to twice this, as upstream's.
const MIN_SECONDS: u64 = 1800;

/// What stands around an object in a frame, at most, but for the names of unusually long kinds.
const FRAME_BYTES: usize = 160;

/// Where a watch begins.
struct Start {
    initial: bool,
    /// Tell where the initial events end.
    mark_end: bool,
    revision: Option<u64>,
}

struct Watcher {
    server: Arc<Server>,
    row: Arc<Row>,
    /// Where the row's objects are stored.
    res: Res,
    filter: Filter,
    form: Form,
    /// How events are written, if not as lines of JSON.
    wire: Option<Wire>,
    include: Include,
    /// State that is still to be sent, and the last key that was.
    initial: Option<(Snapshot, String)>,
    mark_end: bool,
    changes: Option<Changes>,
    columns_sent: bool,
    bookmarks: Option<tokio::time::Interval>,
    /// The newest revision that the client knows it has everything of.
    told: u64,
    seen: u64,
    /// Ready when the watch is to end: its time is over, or the server shuts down.
    end: BoxFuture<'static, ()>,
}

pub async fn watch(
    server: Arc<Server>,
    row: Arc<Row>,
    namespace: &str,
    options: &Options,
    query: &Query,
    form: Form,
) -> Result<Response<Body>, Status> {
    let include = Include::asked(form, query)?;
    let wire = wire(&row, form)?;
    let filter = Filter::new(&row, namespace, options)?;
    let start = start(options, query)?;
    if let Some(revision) = start.revision
        && start.initial
    {
        server.api().wait_for(revision).await?;
    }
    let seconds = match query.number("timeoutSeconds")? {
        Some(n) if n > 0 => n as u64,
        _ => MIN_SECONDS + server.api().parts().env.random() % MIN_SECONDS,
    };
    let store = &server.api().parts().store;
    let snapshot = store.snapshot();
    let after = match start.revision {
        Some(revision) if !start.initial => revision,
        _ => snapshot.revision(),
    };
    let changes = match store.changes(after) {
        Ok(changes) => changes,
        Err(gone) => return Ok(expired_at_once(&gone.to_string(), form)),
    };
    let mut bookmarks = query
        .flag("allowWatchBookmarks")
        .then(|| interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY));
    if let Some(interval) = &mut bookmarks {
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let watcher = Watcher {
        res: row.rules.version_of().unwrap_or(row.res),
        row,
        filter,
        form,
        wire,
        include,
        initial: start.initial.then(|| (snapshot, String::new())),
        mark_end: start.mark_end && bookmarks.is_some(),
        changes: Some(changes),
        columns_sent: false,
        bookmarks,
        told: after,
        seen: after,
        end: end(&server, Duration::from_secs(seconds.min(7 * 86_400))),
        server,
    };
    let stream = futures::stream::unfold(watcher, Watcher::next).boxed();
    Ok(respond_stream(Body::Stream(stream), form))
}

/// The kind whose messages the events carry; `None` for JSON.
fn wire(row: &Row, form: Form) -> Result<Option<Wire>, Status> {
    let wire = match (form.encoding, form.shape) {
        (Encoding::Protobuf, Shape::Partial) => Wire::of(form.version, "PartialObjectMetadata"),
        (Encoding::Protobuf, _) => Wire::of(&row.api_version(), row.kind),
        _ => return Ok(None),
    };
    match wire {
        Some(wire) => Ok(Some(wire)),
        None => Err(Status::not_acceptable(MEDIA_TYPES)),
    }
}

fn respond_stream(body: Body, form: Form) -> Response<Body> {
    let mut response = respond::respond(StatusCode::OK, body, form);
    if form.encoding == Encoding::Protobuf {
        let stream = HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");
        response.headers_mut().insert(CONTENT_TYPE, stream);
    }
    response
}

/// One future for the whole watch: to wait anew for each piece would cost more than most pieces.
fn end(server: &Server, after: Duration) -> BoxFuture<'static, ()> {
    let closing = server.closing.clone();
    let limit = tokio::time::sleep(after);
    async move {
        tokio::select! {
            () = limit => {}
            () = closing.cancelled() => {}
        }
    }
    .boxed()
}

fn start(options: &Options, query: &Query) -> Result<Start, Status> {
    let send = query
        .get("sendInitialEvents")
        .map(|_| query.flag("sendInitialEvents"));
    let given = options.resource_version_match.as_str();
    let mut errors = Errors::new();
    let (match_field, send_field) = (Path::new("resourceVersionMatch"), Path::new("sendInitialEvents"));
    match (send, given) {
        (None, "") | (Some(_), "NotOlderThan") => {}
        (None, _) => {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.forbidden(&match_field, detail);
        }
        (Some(_), "") => {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.forbidden(&send_field, detail);
        }
        (Some(_), other) => errors.not_supported(&match_field, other, &["NotOlderThan"]),
    }
    if !errors.is_empty() {
        return Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors));
    }
    let revision = page::parse_revision(&options.resource_version)?.filter(|r| *r > 0);
    let initial = match send {
        Some(send) => send,
        None => revision.is_none(),
    };
    Ok(Start {
        initial,
        mark_end: send == Some(true),
        revision,
    })
}

/// A watch that starts too far back: one ERROR event, as upstream's watch cache answers.
fn expired_at_once(why: &str, form: Form) -> Response<Body> {
    let mut out = BytesMut::new();
    error_event(&mut out, &Status::expired(why), form);
    respond_stream(out.freeze().into(), form)
}

fn error_event(out: &mut BytesMut, why: &Status, form: Form) {
    let status = why.to_value();
    if form.encoding == Encoding::Protobuf
        && let Some(wire) = Wire::of("v1", "Status")
        && let Ok(message) = wire.encode(status.to_string().as_bytes())
    {
        return wire.envelope.event("ERROR", &message, out);
    }
    json_event(out, "ERROR", status.to_string().as_bytes());
}

fn json_event(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}

impl Watcher {
    /// The next piece of the response; the end when the time is over or the server shuts down.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut out = BytesMut::new();
        if self.initial.is_some() {
            self.send_initial(&mut out);
            if !out.is_empty() {
                return Some((out.freeze(), self));
            }
        }
        while out.is_empty() {
            let changes = self.changes.as_mut()?;
            let tick = async {
                match &mut self.bookmarks {
                    Some(interval) => drop(interval.tick().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut self.end => return None,
                batch = changes.next() => {
                    self.take(batch, &mut out);
                    self.take_ready(&mut out);
                }
                () = tick => self.bookmark(&mut out),
            }
        }
        Some((out.freeze(), self))
    }

    /// A chunk of the state at the start.
    fn send_initial(&mut self, out: &mut BytesMut) {
        let Some((snapshot, after)) = self.initial.take() else {
            return;
        };
        let mut last = None;
        for (key, object) in snapshot.after(self.res, &self.filter.prefix(), &after) {
            if let Some(object) = self.shown(object)
                && self.filter.matches(&self.row, &object)
            {
                self.event(out, "ADDED", &object);
            }
            if out.len() >= CHUNK_BYTES {
                last = Some(key.to_string());
                break;
            }
        }
        if let Some(last) = last {
            self.initial = Some((snapshot, last));
        } else if self.mark_end {
            let marks = json!({"k8s.io/initial-events-end": "true"});
            self.bookmark_event(out, snapshot.revision(), Some(marks));
        }
    }

    fn take(&mut self, batch: Option<Result<Arc<[Change]>, store::Compacted>>, out: &mut BytesMut) {
        match batch {
            Some(Ok(changes)) => {
                for change in changes.iter() {
                    self.change(change, out);
                }
                self.seen = changes.last().map_or(self.seen, |c| c.revision);
            }
            Some(Err(gone)) => {
                error_event(out, &Status::expired(gone.to_string()), self.form);
                self.changes = None;
            }
            None => self.changes = None,
        }
    }

    /// What else is there already, up to a chunk: fewer, larger pieces when there is much.
    fn take_ready(&mut self, out: &mut BytesMut) {
        while out.len() < CHUNK_BYTES {
            let Some(changes) = &mut self.changes else { return };
            match changes.next().now_or_never() {
                Some(batch) => self.take(batch, out),
                None => return,
            }
        }
    }

    /// A change as this watcher's selectors see it: entering them is ADDED, leaving them DELETED.
    fn change(&mut self, change: &Change, out: &mut BytesMut) {
        if change.res != self.res {
            if change.res == DEFINITIONS && self.is_made_anew(change) {
                self.changes = None;
            }
            return;
        }
        let Some(object) = self.shown(&change.object) else {
            return;
        };
        let previous = change.previous.as_ref().and_then(|p| self.shown(p));
        let is = |object: &Object| self.filter.matches(&self.row, object);
        match change.kind {
            ChangeKind::Deleted => {
                if is(&object) {
                    self.event(out, "DELETED", &object);
                }
            }
            ChangeKind::Added | ChangeKind::Modified => {
                let was = previous.as_ref().filter(|p| is(p));
                match (was, is(&object)) {
                    (None, true) => self.event(out, "ADDED", &object),
                    (Some(_), true) => self.event(out, "MODIFIED", &object),
                    (Some(old), false) => {
                        let old = old.at_revision(change.revision);
                        self.event(out, "DELETED", &old);
                    }
                    (None, false) => {}
                }
            }
        }
    }

    /// What the row was made of has changed: its objects may have another form from now on, so clients begin anew.
    fn is_made_anew(&self, change: &Change) -> bool {
        let Some(made) = self.row.rules.made_of() else {
            return false;
        };
        let same = *made.uid == *change.object.uid();
        same && (change.kind == ChangeKind::Deleted || change.object.meta().generation != made.generation)
    }

    /// The object in the row's own form.
    fn shown<'a>(&self, object: &'a Object) -> Option<Cow<'a, Object>> {
        let shown = views::shown(&self.row, object);
        shown
            .inspect_err(
                |error| tracing::error!(%error, "a watch leaves out an object that does not convert"),
            )
            .ok()
    }

    fn event(&mut self, out: &mut BytesMut, kind: &str, object: &Object) {
        self.told = object.revision();
        if let Err(why) = self.put_event(out, kind, object) {
            tracing::error!(%why, "a watch ends at an object that it cannot send");
            error_event(out, &why, self.form);
            self.changes = None;
        }
    }

    fn put_event(&mut self, out: &mut BytesMut, kind: &str, object: &Object) -> Result<(), Status> {
        let version = self.form.version;
        let unencodable = |why: ProtobufError| Status::internal(why.to_string());
        match (self.form.shape, &self.wire) {
            (Shape::Plain, None) => json_event(out, kind, object.json()),
            (Shape::Plain, Some(wire)) => {
                let message = wire.encode_stored(object).map_err(unencodable)?;
                out.reserve(message.len() + FRAME_BYTES);
                wire.envelope.event(kind, &message, out);
            }
            (Shape::Partial, None) => json_event(out, kind, &table::partial_json(object, version)?),
            (Shape::Partial, Some(wire)) => {
                let whole = Wire::of(&self.row.api_version(), self.row.kind);
                let message = wire
                    .encode_metadata(whole.as_ref(), object)
                    .map_err(unencodable)?;
                wire.envelope.event(kind, &message, out);
            }
            (Shape::Table, _) => {
                let table = self.table(object.value(), object.revision(), self.include);
                json_event(out, kind, table.to_string().as_bytes());
            }
        }
        Ok(())
    }

    /// A table of one object; only the first of a watch names the columns.
    fn table(&mut self, object: Value, revision: u64, include: Include) -> Value {
        let layout = Layout {
            row: &self.row,
            version: self.form.version,
            include,
            now: self.server.api().parts().env.now(),
        };
        let metadata = json!({"resourceVersion": revision.to_string()});
        let table = layout.table(vec![layout.line(object)], metadata, !self.columns_sent);
        self.columns_sent = true;
        table
    }

    fn bookmark(&mut self, out: &mut BytesMut) {
        if self.seen > self.told {
            self.bookmark_event(out, self.seen, None);
        }
    }

    /// An object of which only the revision says something.
    fn bookmark_event(&mut self, out: &mut BytesMut, revision: u64, annotations: Option<Value>) {
        self.told = revision;
        let include = match (&annotations, self.include) {
            // Nobody would see the mark otherwise.
            (Some(_), Include::Nothing) => Include::Metadata,
            (_, include) => include,
        };
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let Some(annotations) = annotations {
            metadata["annotations"] = annotations;
        }
        let object =
            json!({"kind": self.row.kind, "apiVersion": self.row.api_version(), "metadata": metadata});
        let object = match self.form.shape {
            Shape::Plain => object,
            Shape::Partial => table::partial(object, self.form.version),
            Shape::Table => self.table(object, revision, include),
        };
        let json = object.to_string();
        match self
            .wire
            .as_ref()
            .map(|wire| (wire, wire.encode(json.as_bytes())))
        {
            None => json_event(out, "BOOKMARK", json.as_bytes()),
            Some((wire, Ok(message))) => wire.envelope.event("BOOKMARK", &message, out),
            Some((_, Err(error))) => {
                tracing::error!(%error, "a bookmark has no protobuf form; this is a bug")
            }
        }
    }
}
