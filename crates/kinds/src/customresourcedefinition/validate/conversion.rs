//! How versions are converted into each other, and the webhook that does it.

use super::ca_bundle;
use super::found::{At, Found};
use super::options::{Options, REVIEW_VERSIONS};
use super::schema::Schema;
use super::shown::{self, quoted};
use super::spec::Spec;
use super::url;
use meta::field::Shown;
use meta::name;
use serde_json::Value;
use std::collections::HashSet;

const FORM: &str = "; desired format: https://host[/path]";

pub(super) fn validate(spec: &Spec, at: &At, options: &Options, found: &mut Found) {
    let Some(conversion) = spec.raw.inner("conversion") else {
        return;
    };
    let at = at.child("conversion");
    let strategy = conversion.text("strategy");
    if strategy != "None" && spec.preserves_unknown() {
        let shown = shown::json_text(strategy);
        let detail = "must be None if spec.preserveUnknownFields is true";
        found.invalid(&at.child("strategy"), shown, detail);
    }
    super::one_of(strategy, &["None", "Webhook"], &at.child("strategy"), found);
    let webhook = conversion.inner("webhook");
    let config = webhook.and_then(|webhook| webhook.inner("clientConfig"));
    let versions = webhook.map_or(&[] as &[Value], |webhook| {
        webhook.list("conversionReviewVersions")
    });
    let (config_at, versions_at) = (
        at.child("webhookClientConfig"),
        at.child("conversionReviewVersions"),
    );
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            found.forbidden(&config_at, detail);
        }
        if !versions.is_empty() {
            found.forbidden(&versions_at, detail);
        }
        return;
    }
    match config {
        None => found.required(&config_at, "required when strategy is set to Webhook"),
        Some(config) => client_config(config, &config_at, options, found),
    }
    review_versions(versions, &versions_at, options, found);
}

fn client_config(config: Schema, at: &At, options: &Options, found: &mut Found) {
    match (config.given_text("url"), config.inner("service")) {
        (Some(url), None) => webhook_url(url, &at.child("url"), found),
        (None, Some(service)) => webhook_service(service, &at.child("service"), found),
        _ => found.required(at, "exactly one of url or service is required"),
    }
    let bundle = config.text("caBundle");
    if !bundle.is_empty()
        && !options.bad_ca_bundle
        && let Err(why) = ca_bundle::check(bundle)
    {
        found.invalid(&at.child("caBundle"), shown::json_text(bundle), &why);
    }
}

fn webhook_url(text: &str, at: &At, found: &mut Found) {
    let url = match url::parse(text) {
        Ok(url) => url,
        Err(why) => return found.required(at, &format!("url must be a valid URL: {why}{FORM}")),
    };
    if url.scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        found.invalid(at, quoted(&url.scheme), &detail);
    }
    if url.host.is_empty() {
        found.invalid(at, "", &format!("host must be specified{FORM}"));
    }
    if let Some(user) = &url.user {
        let detail = "user information is not permitted in the URL";
        found.invalid(at, quoted(user), detail);
    }
    if !url.fragment.is_empty() {
        let detail = "fragments are not permitted in the URL";
        found.invalid(at, quoted(&url.fragment), detail);
    }
    if !url.query.is_empty() {
        let detail = "query parameters are not permitted in the URL";
        found.invalid(at, quoted(&url.query), detail);
    }
}

fn webhook_service(service: Schema, at: &At, found: &mut Found) {
    // Upstream takes name and namespace for each other here.
    for (field, told) in [("namespace", "name"), ("name", "namespace")] {
        if service.text(field).is_empty() {
            found.required(&at.child(told), "");
        }
    }
    let port = service.given("port").and_then(Value::as_i64).unwrap_or(0);
    if !(1..=65_535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        found.invalid(&at.child("port"), port, detail);
    }
    service_path(service.text("path"), &at.child("path"), found);
}

fn service_path(path: &str, at: &At, found: &mut Found) {
    if path.is_empty() || path == "/" {
        return;
    }
    if path == "//" {
        return found.invalid(at, path, "segment[0] may not be empty");
    }
    if !path.starts_with('/') {
        found.invalid(at, quoted(path), "must start with a '/'");
    }
    // The first byte is not looked at, whatever it is.
    let rest = String::from_utf8_lossy(&path.as_bytes()[1..]);
    let rest = rest.strip_suffix('/').unwrap_or(&rest);
    for (i, segment) in rest.split('/').enumerate() {
        if found.is_full() {
            return;
        }
        if segment.is_empty() {
            found.invalid(at, quoted(path), &format!("segment[{i}] may not be empty"));
            continue;
        }
        for why in name::check_dns1123_subdomain(segment) {
            found.invalid(at, quoted(path), &format!("segment[{i}]: {why}"));
        }
    }
}

fn review_versions(versions: &[Value], at: &At, options: &Options, found: &mut Found) {
    if versions.is_empty() {
        return found.required(at, "");
    }
    let mut seen = HashSet::new();
    for (i, version) in versions.iter().enumerate() {
        let (version, at) = (version.as_str().unwrap_or_default(), at.index(i));
        if !seen.insert(version) {
            found.invalid(&at, quoted(version), "duplicate version");
            continue;
        }
        for why in name::check_dns1035_label(version) {
            found.invalid(&at, quoted(version), &why);
        }
    }
    if options.known_review_version && !REVIEW_VERSIONS.iter().any(|known| seen.contains(known)) {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        let shown: Shown = shown::texts(versions);
        found.invalid(at, shown, &detail);
    }
}
