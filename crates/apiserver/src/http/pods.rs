//! Logs, exec, attach and port-forward: who may, what is asked for, and the node's answer as a stream.

use super::body::Body;
use super::route::Place;
use super::{Server, channel};
use crate::core::Caller;
use crate::core::access::Ask;
use crate::node_ops::{ExecOptions, LogOptions, NodeOps};
use crate::options::Query;
use futures::StreamExt;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use meta::{Status, Timestamp};
use std::sync::Arc;

pub async fn serve(
    server: &Arc<Server>,
    caller: &Caller,
    place: Place,
    parts: &mut Parts,
    query: &Query,
) -> Result<Response<Body>, Status> {
    let log = place.subresource == "log";
    match (&parts.method, log) {
        (&Method::GET, true) | (&Method::POST, false) => {}
        (&Method::GET, false) => may_create(server, caller, &place)?,
        _ => return Err(Status::method_not_allowed()),
    }
    let api = server.api().parts();
    let snapshot = api.store.snapshot();
    let pod = snapshot.get(place.row.res, &place.namespace, &place.name);
    let pod = pod.ok_or_else(|| Status::not_found(place.row.res, &place.name))?;
    if !log && kinds::row::text(&pod.value(), "/spec/nodeName").is_empty() {
        let text = format!("pod {} does not have a host assigned", place.name);
        return Err(Status::bad_request(text));
    }
    let node = api.node.load_full();
    let Some(node) = &*node else {
        return Err(Status::unavailable("this server has no node that could be asked"));
    };
    match place.subresource {
        "log" => logs(server, node, &place, query).await,
        "portforward" => channel::port_forward(server, node.clone(), place, parts, query).await,
        _ => {
            let options = exec_options(&place, query)?;
            channel::session(server, node.clone(), place, options, parts).await
        }
    }
}

/// A WebSocket begins with GET, but what it opens is made: who may only read pods gets no session.
fn may_create(server: &Server, caller: &Caller, place: &Place) -> Result<(), Status> {
    let api = server.api().parts();
    let ask = Ask {
        verb: "create",
        group: place.row.res.group,
        version: place.row.version,
        resource: place.row.res.plural,
        subresource: place.subresource,
        namespace: &place.namespace,
        name: &place.name,
        ..Ask::default()
    };
    let verdict = api.authorizer.verdict(caller.into(), &ask, &api.store.snapshot());
    match verdict.allowed {
        true => Ok(()),
        false => Err(Status::forbidden(place.row.res, &place.name, &verdict.reason)),
    }
}

async fn logs(
    server: &Arc<Server>,
    node: &Arc<dyn NodeOps>,
    place: &Place,
    query: &Query,
) -> Result<Response<Body>, Status> {
    let options = log_options(query)?;
    let stream = node.logs(&place.namespace, &place.name, options).await?;
    let stream = stream
        .scan((), |(), piece| {
            let piece = piece
                .inspect_err(|error| tracing::debug!(%error, "a log ended early"))
                .ok();
            std::future::ready(piece)
        })
        // One that is followed would keep its connection open until its container ends.
        .take_until(server.closing.clone().cancelled_owned())
        .boxed();
    let mut response = Response::new(Body::Stream(stream));
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}

fn log_options(query: &Query) -> Result<LogOptions, Status> {
    let mut errors = meta::Errors::new();
    let mut count = |name: &str, least: i64, detail: &str| -> Result<Option<i64>, Status> {
        let given = query.number(name)?;
        if let Some(n) = given
            && n < least
        {
            errors.invalid(&meta::Path::new(name), n, detail);
        }
        Ok(given)
    };
    let tail_lines = count("tailLines", 0, "must be greater than or equal to 0")?;
    let limit_bytes = count("limitBytes", 1, "must be greater than 0")?;
    let since_seconds = count("sinceSeconds", 1, "must be greater than 0")?;
    let since_time = match query.text("sinceTime") {
        "" => None,
        text => Some(
            Timestamp::parse(text)
                .ok_or_else(|| Status::bad_request(format!("sinceTime: {text:?} is not an RFC 3339 time")))?,
        ),
    };
    if since_seconds.is_some() && since_time.is_some() {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.forbidden(&meta::Path::root(), detail);
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", "", &errors));
    }
    Ok(LogOptions {
        container: query.text("container").to_string(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        since_seconds,
        since_time,
        tail_lines: tail_lines.map(i64::unsigned_abs),
        limit_bytes: limit_bytes.map(i64::unsigned_abs),
    })
}

fn exec_options(place: &Place, query: &Query) -> Result<ExecOptions, Status> {
    let attach = place.subresource == "attach";
    let flag = |name: &str, default: bool| query.get(name).map_or(default, |_| query.flag(name));
    let options = ExecOptions {
        container: query.text("container").to_string(),
        command: query.all("command").map(str::to_string).collect(),
        stdin: flag("stdin", false),
        stdout: flag("stdout", attach),
        stderr: flag("stderr", attach),
        tty: flag("tty", false),
    };
    if !attach && options.command.is_empty() {
        return Err(Status::bad_request(
            "you must specify at least one command for the container",
        ));
    }
    if !(options.stdin || options.stdout || options.stderr) {
        return Err(Status::bad_request(
            "you must specify at least one of stdin, stdout, stderr",
        ));
    }
    Ok(options)
}
