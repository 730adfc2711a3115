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
    /// The version of that shape, where it is not plain.
    pub version: &'static str,
    pub encoding: Encoding,
    pub pretty: bool,
}

impl Form {
    pub const JSON: Self = Self {
        shape: Shape::Plain,
        version: V1,
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

const V1: &str = "meta.k8s.io/v1";
const V1BETA1: &str = "meta.k8s.io/v1beta1";

/// What can be had where the request goes.
#[derive(Clone, Copy)]
pub struct Offer {
    pub watch: bool,
    /// There are tables of it.
    pub tables: bool,
}

/// The first form in `Accept` that we have; 406 when there is none.
pub fn negotiate(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Form, Status> {
    let pretty = wants_pretty(headers, query);
    let accept = headers.get_all(ACCEPT);
    let mut given = false;
    for value in accept {
        let Ok(text) = value.to_str() else { continue };
        for range in text.split(',').map(str::trim).filter(|r| !r.is_empty()) {
            given = true;
            if let Some(form) = one(range, offer) {
                return Ok(Form { pretty, ..form });
            }
        }
    }
    if given {
        return Err(Status::not_acceptable("application/json, application/yaml"));
    }
    Ok(Form { pretty, ..Form::JSON })
}

/// One media range.
fn one(range: &str, offer: Offer) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" if !offer.watch => Encoding::Yaml,
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
    let version = match (group, version) {
        ("meta.k8s.io", "v1beta1") => V1BETA1,
        ("meta.k8s.io", "v1") => V1,
        ("", "") if target.is_empty() => V1,
        _ => return None,
    };
    let shape = match target {
        "" if group.is_empty() => Shape::Plain,
        "Table" if offer.tables => Shape::Table,
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Shape::Partial,
        _ => return None,
    };
    Some(Form {
        shape,
        version,
        encoding,
        pretty: false,
    })
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
