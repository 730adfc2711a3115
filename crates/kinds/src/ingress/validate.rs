//! What an Ingress must be.

use crate::json::{at, get, has, list, number, string};
use crate::{address, check, ingressclass};
use meta::{Errors, Path, name};
use serde_json::Value;

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
/// What no path may have in it, and at its end.
const SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const SUFFIXES: [&str; 2] = ["/..", "/."];

/// Names of secrets that were bad before may stay so.
pub(super) fn spec(spec: &Value, bad_secrets: bool, errors: &mut Errors) {
    let path = Path::new("spec");
    let (rules, fallback) = (list(spec, "rules"), get(spec, "defaultBackend"));
    if rules.is_empty() && fallback.is_null() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.invalid(&path, get(spec, "rules").clone(), detail);
    }
    if !fallback.is_null() {
        backend(fallback, &path.child("defaultBackend"), errors);
    }
    for (i, given) in rules.iter().enumerate() {
        rule(given, &path.child("rules").index(i), errors);
    }
    for (i, tls) in list(spec, "tls").iter().enumerate() {
        let path = path.child("tls").index(i);
        for (i, host) in list(tls, "hosts").iter().enumerate() {
            host_name(
                host.as_str().unwrap_or_default(),
                &path.child("hosts").index(i),
                errors,
            );
        }
        let secret = string(tls, "secretName");
        if !bad_secrets && !secret.is_empty() {
            check::dns_subdomain(&path.child("secretName"), secret, errors);
        }
    }
    if let Some(class) = get(spec, "ingressClassName").as_str() {
        check::dns_subdomain(&path.child("ingressClassName"), class, errors);
    }
}

pub(super) fn has_bad_secret(object: &Value) -> bool {
    let mut names = list(get(object, "spec"), "tls")
        .iter()
        .map(|tls| string(tls, "secretName"));
    names.any(|secret| !secret.is_empty() && !name::check_dns1123_subdomain(secret).is_empty())
}

/// A name, or one with a star in place of its first part.
fn host_name(host: &str, path: &Path, errors: &mut Errors) {
    if host.contains('*') {
        check::messages(path, host, wildcard_messages(host), errors);
    } else {
        check::dns_subdomain(path, host, errors);
    }
}

fn wildcard_messages(host: &str) -> Vec<String> {
    const FMT: &str = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
    const MSG: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
    let mut out = Vec::new();
    if host.len() > name::SUBDOMAIN_MAX {
        out.push(name::max_len_error(name::SUBDOMAIN_MAX));
    }
    // Only the pattern counts for the rest, whatever its length.
    let too_long = name::max_len_error(name::SUBDOMAIN_MAX);
    let fits = |rest: &str| name::check_dns1123_subdomain(rest).iter().all(|m| *m == too_long);
    if !host.strip_prefix("*.").is_some_and(fits) {
        out.push(name::regex_error(MSG, FMT, &["*.example.com"]));
    }
    out
}

fn rule(rule: &Value, path: &Path, errors: &mut Errors) {
    let (host, host_path) = (string(rule, "host"), path.child("host"));
    if !host.is_empty() {
        if address::is_ip(host) {
            errors.invalid(&host_path, host, "must be a DNS name, not an IP address");
        }
        host_name(host, &host_path, errors);
    }
    if !has(rule, "http") {
        return;
    }
    let (paths, path) = (
        list(get(rule, "http"), "paths"),
        path.child("http").child("paths"),
    );
    if paths.is_empty() {
        errors.required(&path, "");
    }
    for (i, given) in paths.iter().enumerate() {
        http_path(given, &path.index(i), errors);
    }
}

fn http_path(http: &Value, path: &Path, errors: &mut Errors) {
    let Some(kind) = get(http, "pathType").as_str() else {
        errors.required(&path.child("pathType"), "pathType must be specified");
        return;
    };
    let (given, given_path) = (string(http, "path"), path.child("path"));
    let is_absolute = given.starts_with('/');
    match kind {
        "Exact" | "Prefix" => {
            if !is_absolute {
                errors.invalid(&given_path, given, "must be an absolute path");
            }
            for part in SEQUENCES.iter().filter(|part| given.contains(**part)) {
                errors.invalid(&given_path, given, &format!("must not contain '{part}'"));
            }
            for end in SUFFIXES.iter().filter(|end| given.ends_with(**end)) {
                errors.invalid(&given_path, given, &format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !given.is_empty() && !is_absolute {
                errors.invalid(&given_path, given, "must be an absolute path");
            }
        }
        other => errors.not_supported(&path.child("pathType"), other, &PATH_TYPES),
    }
    backend(get(http, "backend"), &path.child("backend"), errors);
}

fn backend(backend: &Value, path: &Path, errors: &mut Errors) {
    let (resource, service) = (get(backend, "resource"), get(backend, "service"));
    let service_path = path.child("service");
    match (resource.is_null(), service.is_null()) {
        (false, false) => errors.invalid(path, "", "cannot set both resource and service backends"),
        (false, true) => ingressclass::reference(resource, &path.child("resource"), errors),
        (true, true) => errors.invalid(path, "", "resource or service backend is required"),
        (true, false) => {
            match string(service, "name") {
                "" => errors.required(&service_path.child("name"), ""),
                name => check::dns_label(&service_path.child("name"), name, errors),
            }
            let port = get(service, "port");
            let (name, number) = (string(port, "name"), number(port, "number"));
            let port_path = service_path.child("port");
            match (name.is_empty(), number) {
                (true, 0) => errors.required(path, "port name or number is required"),
                (true, number) => check::port_number(number, &port_path.child("number"), errors),
                (false, 0) => {
                    let messages = check::port_name_messages(name);
                    check::messages(&port_path.child("name"), name, messages, errors);
                }
                (false, _) => errors.invalid(path, "", "cannot set both port name & port number"),
            }
        }
    }
}

/// Addresses that were reported before are let pass.
pub(super) fn status(object: &Value, old: &Value, errors: &mut Errors) {
    let points = |object| list(at(object, "/status/loadBalancer"), "ingress");
    let path = Path::new("status").child("loadBalancer").child("ingress");
    for (i, point) in points(object).iter().enumerate() {
        let (ip, host, path) = (string(point, "ip"), string(point, "hostname"), path.index(i));
        let known = points(old).iter().any(|old| string(old, "ip") == ip);
        if !ip.is_empty() && !known {
            check::ip(ip, &path.child("ip"), errors);
        }
        if !host.is_empty() {
            check::dns_subdomain(&path.child("hostname"), host, errors);
            if address::is_ip(host) {
                let detail = "must be a DNS name, not an IP address";
                errors.invalid(&path.child("hostname"), host, detail);
            }
        }
    }
}
