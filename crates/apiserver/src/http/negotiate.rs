//! Which form a response takes: `Accept` with its parameters, read and ordered as upstream's server does, first header
//! alone. Source: k8s.io/apiserver's negotiation and the Accept parser that it uses.

use crate::options::Query;
use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue, USER_AGENT};
use http::request::Parts;
use meta::Status;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    Table,
    /// PartialObjectMetadata, or a list of them.
    Partial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

impl Encoding {
    /// In the order in which a wildcard takes them.
    const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Protobuf];

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    fn streams(self) -> bool {
        self != Self::Yaml
    }
}

/// All that an object can be sent as and taken in.
pub const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const STREAM_TYPES: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
/// More ranges of one header are not looked at: they are put in order by comparing each with each.
const MAX_RANGES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub shape: Shape,
    /// The version of that shape, where it is not plain.
    pub version: &'static str,
    /// A `PartialObjectMetadataList` was asked for.
    pub list: bool,
    pub encoding: Encoding,
    pub pretty: bool,
}

impl Form {
    pub const JSON: Self = Self::plain(Encoding::Json);

    pub const fn plain(encoding: Encoding) -> Self {
        Self {
            shape: Shape::Plain,
            version: V1,
            list: false,
            encoding,
            pretty: false,
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
    /// What is there has a protobuf form of its own; custom resources have none.
    pub protobuf: bool,
}

/// The form that a request asks for; 406 when we have none of those.
pub fn negotiate(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Form, Status> {
    let accept = header(headers.get(ACCEPT));
    let picked = pick(accept, |range, encoding| object_form(range, encoding, offer));
    let refused = |types| Err(Status::not_acceptable(types));
    let Some(form) = picked else {
        return refused(if offer.watch { STREAM_TYPES } else { MEDIA_TYPES });
    };
    if offer.watch && !form.encoding.streams() {
        return refused(STREAM_TYPES);
    }
    let agent = header(headers.get(USER_AGENT));
    Ok(Form {
        pretty: form.pretty || wants_pretty(agent, query),
        ..form
    })
}

fn header(value: Option<&HeaderValue>) -> &str {
    value.and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// What says in which form a failure is told: kept from a request that is about to be taken apart.
pub struct Accepts {
    accept: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    uri: http::Uri,
}

impl Accepts {
    pub fn of(parts: &Parts) -> Self {
        Self {
            accept: parts.headers.get(ACCEPT).cloned(),
            agent: parts.headers.get(USER_AGENT).cloned(),
            uri: parts.uri.clone(),
        }
    }

    /// The form of a `Status`: never converted, and JSON where none of the forms can be had.
    pub fn of_failure(&self) -> Form {
        let plain = |range: &Range, encoding: Encoding| {
            let takes = range.streams(encoding) && range.convert().is_none() && range.param("sv").is_empty();
            takes.then_some(encoding)
        };
        let query = Query::parse(self.uri.query().unwrap_or_default());
        let pretty = wants_pretty(header(self.agent.as_ref()), &query);
        match pick(header(self.accept.as_ref()), plain) {
            Some(encoding) => Form {
                pretty,
                ..Form::plain(encoding)
            },
            // Upstream indents what it writes without having been understood.
            None => Form {
                pretty: true,
                ..Form::JSON
            },
        }
    }
}

/// One media range of `Accept`.
pub struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f32,
    params: Vec<(&'a str, &'a str)>,
}

/// The group, version and kind that a range wants objects converted to.
pub struct Convert<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (media, rest) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = match media.split_once('/') {
            Some((kind, subtype)) if !subtype.is_empty() => (kind, subtype),
            _ if media.trim_matches('/') == "*" => ("*", "*"),
            _ => return None,
        };
        if subtype.contains('/') {
            return None;
        }
        let mut range = Self {
            kind: trimmed(kind),
            subtype: trimmed(subtype),
            quality: 1.0,
            params: Vec::new(),
        };
        for param in rest.split(';') {
            let Some((name, value)) = param.split_once('=') else {
                continue;
            };
            if value.is_empty() || value.contains('=') {
                continue;
            }
            match trimmed(name) {
                "q" => range.quality = value.parse().unwrap_or(0.0),
                name => range.params.push((name, trimmed(value))),
            }
        }
        Some(range)
    }

    /// A parameter's value; of two of one name the last.
    fn param(&self, name: &str) -> &'a str {
        let found = self.params.iter().rev().find(|(n, _)| *n == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn convert(&self) -> Option<Convert<'a>> {
        let given = self.params.iter().any(|(n, _)| matches!(*n, "as" | "g" | "v"));
        given.then(|| Convert {
            group: self.param("g"),
            version: self.param("v"),
            kind: self.param("as"),
        })
    }

    /// Whether the stream that it may ask for can be had in this encoding.
    pub fn streams(&self, encoding: Encoding) -> bool {
        match self.param("stream") {
            "" => true,
            stream => stream == "watch" && encoding.streams(),
        }
    }

    fn takes(&self, encoding: Encoding) -> bool {
        match (self.kind, self.subtype) {
            ("*", "*") | ("application", "*") => true,
            ("application", subtype) => encoding.media_type().strip_prefix("application/") == Some(subtype),
            _ => false,
        }
    }

    /// Whether this range is looked at before `other`: upstream's rule, which is no order in the strict sense.
    fn is_before(&self, other: &Self) -> bool {
        self.quality > other.quality
            || (self.kind != "*" && other.kind == "*")
            || (self.subtype != "*" && other.subtype == "*")
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(' ')
}

/// The first form of the ranges, in their order, that `judge` makes of a range and an encoding that it takes.
pub fn pick<T>(accept: &str, judge: impl Fn(&Range, Encoding) -> Option<T>) -> Option<T> {
    if accept.is_empty() {
        return judge(&Range::parse("*/*")?, Encoding::Json);
    }
    let mut ranges: Vec<Range> = Vec::new();
    for text in accept.split(',').take(MAX_RANGES) {
        let Some(range) = Range::parse(trimmed(text)) else {
            continue;
        };
        // By insertion, as upstream sorts so few: with such a rule the way of sorting decides.
        let mut at = ranges.len();
        while at > 0 && range.is_before(&ranges[at - 1]) {
            at -= 1;
        }
        ranges.insert(at, range);
    }
    let forms = ranges.iter().flat_map(|range| {
        let encodings = Encoding::ALL.into_iter().filter(|e| range.takes(*e));
        encodings.map(move |encoding| (range, encoding))
    });
    forms
        .into_iter()
        .find_map(|(range, encoding)| judge(range, encoding))
}

/// What a range means for objects.
fn object_form(range: &Range, encoding: Encoding, offer: Offer) -> Option<Form> {
    let server_version = range.param("sv");
    if !range.streams(encoding) || !matches!(server_version, "" | "v1") {
        return None;
    }
    let (shape, version, list) = match range.convert() {
        None if encoding == Encoding::Protobuf && !offer.protobuf => return None,
        None => (Shape::Plain, V1, false),
        Some(to) => {
            let version = match (to.group, to.version) {
                ("meta.k8s.io", "v1") => V1,
                ("meta.k8s.io", "v1beta1") => V1BETA1,
                _ => return None,
            };
            match to.kind {
                // A table has no protobuf form.
                "Table" if offer.tables && encoding != Encoding::Protobuf => (Shape::Table, version, false),
                "PartialObjectMetadata" => (Shape::Partial, version, false),
                "PartialObjectMetadataList" => (Shape::Partial, version, true),
                _ => return None,
            }
        }
    };
    Some(Form {
        shape,
        version,
        list,
        encoding,
        pretty: range.param("pretty") == "1",
    })
}

/// People at a terminal get line breaks, as upstream gives them.
fn wants_pretty(agent: &str, query: &Query) -> bool {
    if query.get("pretty").is_some_and(|p| !p.is_empty()) {
        return query.flag("pretty");
    }
    ["curl", "Wget", "Mozilla/5.0"]
        .iter()
        .any(|a| agent.starts_with(a))
}
