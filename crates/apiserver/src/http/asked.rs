//! What a request asks for, as authorizers see it: read from its method and path alone, before anything else looks at
//! them, so that nobody learns from an error what they may not see. Source: apiserver's `RequestInfo`.

use crate::core::access::Ask;
use crate::options::Query;
use http::Method;
use meta::selector::FieldSelector;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// A request's attributes; `ask` is what decisions take.
#[derive(Default)]
pub struct Asked<'a> {
    verb: Cow<'a, str>,
    group: Cow<'a, str>,
    version: Cow<'a, str>,
    resource: Cow<'a, str>,
    subresource: Cow<'a, str>,
    namespace: Cow<'a, str>,
    name: Cow<'a, str>,
    field_selector: &'a str,
    /// Of a request that is for no resource.
    path: Option<Cow<'a, str>>,
}

impl<'a> Asked<'a> {
    pub fn of(method: &Method, path: &'a str, query: &'a Query) -> Self {
        Self::of_resource(method, path, query).unwrap_or_else(|| Self {
            verb: method.as_str().to_ascii_lowercase().into(),
            path: Some(decoded(path)),
            ..Self::default()
        })
    }

    fn of_resource(method: &Method, path: &'a str, query: &'a Query) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let mut asked = Self::default();
        match parts.next()? {
            "api" => {}
            "apis" => asked.group = decoded(parts.next()?),
            _ => return None,
        }
        asked.version = decoded(parts.next()?);
        let mut first = parts.next()?;
        asked.verb = verb(method).into();
        let by_prefix = matches!(first, "watch" | "proxy");
        if by_prefix {
            asked.verb = first.into();
            first = parts.next()?;
        }
        let mut rest = parts.clone();
        if first == "namespaces"
            && let Some(namespace) = rest.next()
        {
            asked.namespace = decoded(namespace);
            match rest.next() {
                Some(resource) if !matches!(resource, "status" | "finalize") => {
                    first = resource;
                    parts = rest;
                }
                _ => {}
            }
        }
        asked.resource = decoded(first);
        asked.name = parts.next().map(decoded).unwrap_or_default();
        if asked.verb != "proxy" {
            asked.subresource = parts.next().map(decoded).unwrap_or_default();
        }
        asked.many(query, by_prefix);
        Some(asked)
    }

    /// Without a name it is about all there are, or those that are selected.
    fn many(&mut self, query: &'a Query, by_prefix: bool) {
        let selector = query.text("fieldSelector");
        if self.name.is_empty() && self.verb == "get" {
            self.verb = if query.flag("watch") { "watch" } else { "list" }.into();
            self.name = exact_name(selector).into();
        }
        if self.name.is_empty() && self.verb == "delete" {
            self.verb = "deletecollection".into();
        }
        if !by_prefix && matches!(&*self.verb, "list" | "watch" | "deletecollection") {
            self.field_selector = selector;
        }
    }

    pub fn ask(&self) -> Ask<'_> {
        Ask {
            verb: &self.verb,
            group: &self.group,
            version: &self.version,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            field_selector: self.field_selector,
            path: self.path.as_deref(),
        }
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The one name that a selector allows.
fn exact_name(selector: &str) -> String {
    if !selector.contains("metadata.name") {
        return String::new();
    }
    let Ok(selector) = FieldSelector::parse(selector) else {
        return String::new();
    };
    let mut terms = selector.terms.into_iter();
    let name = terms.find(|term| term.equal && term.field == "metadata.name");
    name.map(|term| term.value)
        .filter(|name| meta::name::check_path_segment(name).is_empty())
        .unwrap_or_default()
}
