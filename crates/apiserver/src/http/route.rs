//! Paths: `/api/v1/namespaces/a/pods/b/log` and its like, by the rows alone.

use kinds::{Registry, Row};
use meta::Status;
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// What a path names.
#[derive(Debug)]
pub enum Route {
    Resource(Place),
    /// Anything else: discovery, OpenAPI, health, metrics.
    Path,
}

/// A resource, an object or a subresource.
#[derive(Clone)]
pub struct Place {
    pub row: Arc<Row>,
    pub namespace: String,
    pub name: String,
    pub subresource: &'static str,
    /// What follows `proxy`, as the client wrote it: empty, or from a slash on.
    pub tail: String,
    /// The deprecated `/watch/` form.
    pub watch: bool,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {}/{} {}",
            self.row.res, self.namespace, self.name, self.subresource
        )
    }
}

/// Subresources that any kind may have; what a kind really has is decided with its row.
const SUBRESOURCES: [&str; 14] = [
    "status",
    "scale",
    "binding",
    "eviction",
    "token",
    "log",
    "exec",
    "attach",
    "portforward",
    "proxy",
    "ephemeralcontainers",
    "resize",
    "finalize",
    "approval",
];

/// The subresource whose path goes on inside a pod.
pub const PROXY: &str = "proxy";
/// Segments up to the last that names an object: `apis/g/v/namespaces/n/plural/name`.
const NAMES_DEPTH: usize = 7;

pub fn route(registry: &Registry, path: &str) -> Result<Route, Status> {
    let mut segments = Vec::new();
    for (depth, segment) in path.split('/').skip(1).enumerate() {
        let bytes = percent_decode_str(segment);
        // Deeper are paths inside a pod, which are not read here.
        let text = match depth < NAMES_DEPTH {
            true => bytes
                .decode_utf8()
                .map_err(|_| Status::bad_request("the path is not valid UTF-8"))?,
            false => bytes.decode_utf8_lossy(),
        };
        segments.push(text.into_owned());
    }
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(Route::Path),
    };
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (mut place, deeper) = place(registry, group, version, rest, watch)?;
    if place.subresource == PROXY {
        let own = path.match_indices('/').nth(segments.len() - deeper);
        place.tail = own.map_or("", |(at, _)| &path[at..]).to_string();
    }
    Ok(Route::Resource(place))
}

/// Where a path leads, and how many of its segments are the business of a pod.
fn place(
    registry: &Registry,
    group: &str,
    version: &str,
    rest: &[&str],
    watch: bool,
) -> Result<(Place, usize), Status> {
    let find = |plural: &str| {
        registry
            .by_path(group, version, plural)
            .cloned()
            .ok_or_else(Status::no_such_path)
    };
    let (namespace, rest) = match rest {
        ["namespaces", _, "status" | "finalize", ..] => ("", rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        _ => ("", rest),
    };
    if let ["bindings"] = rest
        && group.is_empty()
        && !namespace.is_empty()
    {
        let place = Place {
            row: find("pods")?,
            namespace: namespace.into(),
            name: String::new(),
            subresource: "binding",
            tail: String::new(),
            watch,
        };
        return Ok((place, 0));
    }
    let (plural, name, subresource, tail) = match rest {
        [plural] => (*plural, "", "", [].as_slice()),
        [plural, name] => (*plural, *name, "", [].as_slice()),
        [plural, name, subresource, tail @ ..] => (*plural, *name, *subresource, tail),
        [] => return Err(Status::no_such_path()),
    };
    let row = find(plural)?;
    if row.namespaced == namespace.is_empty() && !(row.namespaced && name.is_empty()) {
        return Err(Status::no_such_path());
    }
    let subresource = match subresource {
        "" => "",
        given => SUBRESOURCES
            .iter()
            .find(|s| **s == given && (tail.is_empty() || given == PROXY))
            .copied()
            .ok_or_else(Status::no_such_path)?,
    };
    if !has_subresource(&row, subresource) {
        return Err(Status::no_such_path());
    }
    let place = Place {
        row,
        namespace: namespace.into(),
        name: name.into(),
        subresource,
        tail: String::new(),
        watch,
    };
    Ok((place, tail.len()))
}

/// Subresources by what the row says; those of single kinds by `Row::subresources`.
fn has_subresource(row: &Row, subresource: &str) -> bool {
    match subresource {
        "" => true,
        "status" => row.status,
        "scale" => row.scale.is_some(),
        other => row.rules.subresources().contains(&other),
    }
}
