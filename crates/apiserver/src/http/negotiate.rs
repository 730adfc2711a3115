//! Which form a response takes: `Accept` with its `as=Table` and `as=PartialObjectMetadata` parameters.

use crate::options::Query;
use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};
use meta::Status;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    Table,
    /// PartialObjectMetadata, or a list of them.
    Partial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub shape: Shape,
    pub encoding: Encoding,
    pub pretty: bool,
}

impl Form {
    pub const JSON: Self = Self {
        shape: Shape::Plain,
        encoding: Encoding::Json,
        pretty: false,
    };

    pub fn content_type(&self) -> &'static str {
        match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        }
    }
}

/// The first form in `Accept` that we have; 406 when there is none.
pub fn negotiate(headers: &HeaderMap, query: &Query, watch: bool) -> Result<Form, Status> {
    let pretty = wants_pretty(headers, query);
    let accept = headers.get_all(ACCEPT);
    let mut given = false;
    for value in accept {
        let Ok(text) = value.to_str() else { continue };
        for range in text.split(',').map(str::trim).filter(|r| !r.is_empty()) {
            given = true;
            if let Some((shape, encoding)) = one(range, watch) {
                return Ok(Form {
                    shape,
                    encoding,
                    pretty,
                });
            }
        }
    }
    if given {
        return Err(Status::not_acceptable("application/json, application/yaml"));
    }
    Ok(Form { pretty, ..Form::JSON })
}

/// One media range, as shape and encoding.
fn one(range: &str, watch: bool) -> Option<(Shape, Encoding)> {
    let mut parts = range.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" if !watch => Encoding::Yaml,
        _ => return None,
    };
    let (mut target, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", v)) => target = v,
            Some(("g", v)) => group = v,
            Some(("v", v)) => version = v,
            Some(("q", "0" | "0.0")) => return None,
            _ => {}
        }
    }
    let shape = match target {
        "" => Shape::Plain,
        _ if group != "meta.k8s.io" || !matches!(version, "v1" | "v1beta1") => return None,
        "Table" => Shape::Table,
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Shape::Partial,
        _ => return None,
    };
    Some((shape, encoding))
}

/// People at a terminal get line breaks, as upstream gives them.
fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if query.get("pretty").is_some() {
        return query.flag("pretty");
    }
    let agent = headers
        .get(USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"]
        .iter()
        .any(|a| agent.starts_with(a))
}
