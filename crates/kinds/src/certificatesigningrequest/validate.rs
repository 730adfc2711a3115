//! What is wrong with a request, and what a decision or a certificate may change in it. What was stored with a weakness
//! may keep it.

use super::{APPROVAL, DECISIONS, pem};
use crate::Write;
use crate::json::{get, int, list, string};
use crate::pod::validate::signer;
use meta::{Errors, Path};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a certificate may be for, as errors list it.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY: &str = "kubernetes.io/legacy-unknown";
/// Seconds that a certificate lasts, at least.
const LIFETIME_MIN: i64 = 600;
/// Conditions that hold or are not there.
const ONLY_TRUE: [&str; 3] = ["Approved", "Denied", "Failed"];

pub(super) fn request(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    let request = string(spec, "request");
    if let Err(why) = pem::request(request) {
        errors.invalid(&path.child("request"), get(spec, "request").clone(), &why);
    }
    usages(
        spec,
        old.map(|old| get(old, "spec")),
        &path.child("usages"),
        errors,
    );
    let (name, at) = (string(spec, "signerName"), path.child("signerName"));
    let had_legacy = old.is_some_and(|old| string(get(old, "spec"), "signerName") == LEGACY);
    if name == LEGACY && !had_legacy {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.invalid(&at, name, detail);
    } else {
        signer(name, &at, errors);
    }
    let field = "expirationSeconds";
    if let Some(seconds) = int(spec, field).filter(|seconds| *seconds < LIFETIME_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&path.child(field), seconds, detail);
    }
    status(get(object, "status"), old.map(|old| get(old, "status")), errors);
}

fn usages(spec: &Value, old: Option<&Value>, path: &Path, errors: &mut Errors) {
    let texts = |spec: &'_ Value| -> Vec<String> {
        let all = list(spec, "usages").iter().filter_map(Value::as_str);
        all.map(String::from).collect()
    };
    let unknown = |usage: &String| !USAGES.contains(&usage.as_str());
    let given = texts(spec);
    let before = old.map(texts).unwrap_or_default();
    if given.is_empty() {
        errors.required(path, "");
    }
    if !before.iter().any(unknown) {
        for (i, usage) in given.iter().enumerate().filter(|(_, usage)| unknown(usage)) {
            errors.not_supported(&path.index(i), usage.as_str(), &USAGES);
        }
    }
    if before.iter().collect::<BTreeSet<_>>().len() == before.len() {
        let mut seen = BTreeSet::new();
        for (i, usage) in given.iter().enumerate() {
            if !seen.insert(usage) {
                errors.duplicate(&path.index(i), usage.as_str());
            }
        }
    }
}

fn status(status: &Value, old: Option<&Value>, errors: &mut Errors) {
    let path = Path::new("status");
    let types = |status: &'_ Value| -> Vec<String> {
        let all = list(status, "conditions").iter();
        all.map(|c| string(c, "type").to_string()).collect()
    };
    let before = old.map(types).unwrap_or_default();
    let had = |kind: &str| before.iter().any(|known| known == kind);
    let both = had("Approved") && had("Denied");
    let repeats = before.iter().collect::<BTreeSet<_>>().len() != before.len();
    let at = path.child("conditions");
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (i, condition) in list(status, "conditions").iter().enumerate() {
        let (kind, value) = (string(condition, "type"), string(condition, "status"));
        let here = at.index(i);
        if kind.is_empty() && !had("") {
            errors.required(&here.child("type"), "");
        }
        let all: &[&str] = match ONLY_TRUE.contains(&kind) {
            true => &["True"],
            false => &["False", "True", "Unknown"],
        };
        match value {
            "" => errors.required(&here.child("status"), ""),
            value if all.contains(&value) => {}
            value => errors.not_supported(&here.child("status"), value, all),
        }
        let other = DECISIONS
            .iter()
            .find(|other| DECISIONS.contains(&kind) && **other != kind);
        if !both && other.is_some_and(|other| seen.contains(other)) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.invalid(&at, kind, detail);
        }
        if !seen.insert(kind) && !repeats {
            errors.duplicate(&here.child("type"), kind);
        }
    }
    let certificate = |status: &'_ Value| string(status, "certificate").to_string();
    let was = old.map(certificate);
    if was.as_ref() == Some(&certificate(status)) || was.is_some_and(|was| pem::certificates(&was).is_err()) {
        return;
    }
    if let Err(why) = pem::certificates(&certificate(status)) {
        errors.invalid(&path.child("certificate"), "<certificate data>", &why);
    }
}

/// Decisions are never taken back. They are made through `approval`, certificates come with the status.
pub(super) fn change(write: Write, object: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("status").child("conditions");
    let count = |object: &Value, kind: &str| {
        let all = list(get(object, "status"), "conditions").iter();
        all.filter(|c| string(c, "type") == kind).count()
    };
    for kind in ONLY_TRUE {
        if count(object, kind) < count(old, kind) {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            errors.forbidden(&path, &detail);
        }
    }
    if write != Write::Other(APPROVAL) {
        for kind in DECISIONS {
            if count(object, kind) > count(old, kind) {
                let detail = format!("updates may not add a condition of type {kind:?}");
                errors.forbidden(&path, &detail);
            }
        }
    }
    let certificate = |object: &Value| string(get(object, "status"), "certificate").to_string();
    let (now, was) = (certificate(object), certificate(old));
    let path = Path::new("status").child("certificate");
    if now != was && write != Write::Status {
        errors.forbidden(&path, "updates may not set certificate content");
    } else if now != was && !was.is_empty() {
        errors.forbidden(&path, "updates may not modify existing certificate content");
    }
}
