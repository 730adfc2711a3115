//! Projected volumes: files from several sources, each file from one of them.

use super::volumes::{downward_file, key_paths, plain_file};
use crate::check;
use crate::json::{get, has, int, list, number, some, string};
use meta::field::Shown;
use meta::{Errors, Path, name};
use serde_json::Value;

const KEY_TYPES: [&str; 6] = [
    "RSA3072",
    "RSA4096",
    "ECDSAP256",
    "ECDSAP384",
    "ECDSAP521",
    "ED25519",
];
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Paths that are taken. What is said of a second one names the volume and `shown`.
struct Taken<'a> {
    paths: Vec<String>,
    volume: &'a Path,
}

impl Taken<'_> {
    fn take(&mut self, path: &str, shown: &str, errors: &mut Errors) {
        if self.paths.iter().any(|taken| taken == path) {
            errors.invalid(self.volume, shown, "conflicting duplicate paths");
        } else {
            self.paths.push(path.to_string());
        }
    }
}

pub(super) fn sources(volume: &Value, path: &Path, errors: &mut Errors) {
    let mut taken = Taken {
        paths: Vec::new(),
        volume: path,
    };
    for (i, source) in list(volume, "sources").iter().enumerate() {
        let at = path.child("sources").index(i);
        let mut given = 0;
        let mut part = |kind: &str| {
            let part = some(source, kind)?;
            given += 1;
            Some((part, at.child(kind)))
        };
        for kind in ["secret", "configMap"] {
            if let Some((part, at)) = part(kind) {
                check::required(part, "name", &at, errors);
                keys(part, &at, &mut taken, errors);
            }
        }
        if let Some((part, at)) = part("downwardAPI") {
            for file in list(part, "items") {
                downward_file(file, &at, errors);
                let file = string(file, "path");
                if !file.is_empty() {
                    taken.take(file, file, errors);
                }
            }
        }
        if let Some((part, at)) = part("serviceAccountToken") {
            token(part, path, &at, errors);
        }
        if let Some((part, at)) = part("clusterTrustBundle") {
            trust_bundle(part, &at, errors);
            let file = string(part, "path");
            taken.take(file, file, errors);
        }
        if let Some((part, at)) = part("podCertificate") {
            certificate(part, &at, &mut taken, errors);
        }
        if given > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type per source");
        }
    }
}

fn keys(part: &Value, at: &Path, taken: &mut Taken, errors: &mut Errors) {
    key_paths(part, at, errors);
    for item in list(part, "items") {
        let file = string(item, "path");
        if !file.is_empty() {
            taken.take(file, string(part, "name"), errors);
        }
    }
}

fn token(token: &Value, volume: &Path, path: &Path, errors: &mut Errors) {
    let seconds = number(token, "expirationSeconds");
    let seconds_path = path.child("expirationSeconds");
    if seconds < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        errors.invalid(&seconds_path, seconds, detail);
    } else if seconds > 1 << 32 {
        let detail = "may not specify a duration larger than 2^32 seconds";
        errors.invalid(&seconds_path, seconds, detail);
    }
    // Upstream names the volume's path here, not the source's.
    match string(token, "path") {
        "" => errors.required(&volume.child("path"), ""),
        file => plain_file(file, &volume.child("path"), errors),
    }
}

fn trust_bundle(bundle: &Value, path: &Path, errors: &mut Errors) {
    let selector = get(bundle, "labelSelector");
    match (has(bundle, "name"), has(bundle, "signerName")) {
        (true, true) => {
            let detail = "only one of name and signerName may be used";
            let part = |field: &str| Some(get(bundle, field).clone());
            let shown = Shown::members([
                ("Name", part("name")),
                ("SignerName", part("signerName")),
                ("LabelSelector", part("labelSelector")),
                ("Optional", part("optional")),
                ("Path", Some(string(bundle, "path").into())),
            ]);
            errors.invalid(path, shown, detail);
        }
        (true, false) => {
            let (text, at) = (string(bundle, "name"), path.child("name"));
            if text.is_empty() {
                errors.required(&at, "must be a valid object name");
            }
            for message in name::check_dns1123_subdomain(text) {
                let detail = format!("not a valid clustertrustbundlename: {message}");
                errors.invalid(&at, text, &detail);
            }
            if !selector.is_null() {
                let detail = "labelSelector must be unset if name is specified";
                let shown = check::selector_shown(selector);
                errors.invalid(&path.child("labelSelector"), shown, detail);
            }
        }
        (false, true) => {
            let (text, at) = (string(bundle, "signerName"), path.child("signerName"));
            if text.is_empty() {
                errors.required(&at, "must be a valid signer name");
            }
            signer(text, &at, errors);
            check::label_selector(selector, &path.child("labelSelector"), errors);
        }
        (false, false) => errors.required(path, "either name or signerName must be specified"),
    }
    check::required(bundle, "path", path, errors);
    plain_file(string(bundle, "path"), &path.child("path"), errors);
}

/// `domain/name`
pub(crate) fn signer(text: &str, path: &Path, errors: &mut Errors) {
    let Some((domain, rest)) = text.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        match text.is_empty() {
            true => errors.required(path, ""),
            false => errors.invalid(
                path,
                text,
                "must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ),
        }
        return;
    };
    const DOMAIN_MAX: usize = 253;
    const WHOLE_MAX: usize = DOMAIN_MAX + 1 + (253 + 63 + 1);
    if domain.len() > DOMAIN_MAX {
        errors.too_long(path, DOMAIN_MAX);
    }
    // Of several bad labels, one is said.
    let first_wrong = |check: fn(&str) -> Vec<String>, text: &str| {
        let mut parts = text.split('.').map(|part| (part.to_string(), check(part)));
        parts.find(|(_, wrong)| !wrong.is_empty())
    };
    let bad = [
        (domain, first_wrong(name::check_dns1123_label, domain)),
        (rest, first_wrong(name::check_dns1123_subdomain, rest)),
    ];
    for (i, (text, wrong)) in bad.into_iter().enumerate() {
        if let Some((label, messages)) = wrong {
            for message in messages {
                let detail = format!("validating label {label:?}: {message}");
                errors.invalid(path, text, &detail);
            }
        }
        if i == 0 && domain.split('.').count() < 2 {
            let detail = "should be a domain with at least two segments separated by dots";
            errors.invalid(path, domain, detail);
        }
    }
    if text.len() > WHOLE_MAX {
        errors.too_long(path, WHOLE_MAX);
    }
}

fn certificate(part: &Value, path: &Path, taken: &mut Taken, errors: &mut Errors) {
    let signer_name = string(part, "signerName");
    signer(signer_name, &path.child("signerName"), errors);
    let key = string(part, "keyType");
    if !KEY_TYPES.contains(&key) {
        errors.not_supported(&path.child("keyType"), key, &KEY_TYPES);
    }
    if let Some(seconds) = int(part, "maxExpirationSeconds") {
        let at = path.child("maxExpirationSeconds");
        if seconds < 3600 {
            errors.invalid(&at, seconds, "if provided, maxExpirationSeconds must be >= 3600");
        }
        let own = signer_name.starts_with("kubernetes.io/");
        let most = if own { DAY_SECONDS } else { 91 * DAY_SECONDS };
        if seconds > most {
            let detail = format!("if provided, maxExpirationSeconds must be <= {most}");
            errors.invalid(&at, seconds, &detail);
        }
    }
    let fields = ["credentialBundlePath", "keyPath", "certificateChainPath"];
    let files: Vec<(&str, &str)> = fields.iter().map(|f| (*f, string(part, f))).collect();
    for (field, file) in files.iter().filter(|(_, file)| !file.is_empty()) {
        plain_file(file, &path.child(field), errors);
        taken.take(file, file, errors);
    }
    if files.iter().all(|(_, file)| file.is_empty()) {
        let detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.required(path, detail);
    }
}
