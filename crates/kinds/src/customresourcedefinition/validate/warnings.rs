//! What a client is told although its definition is taken: formats of values that the server does not know, and so does
//! not check.

use super::schema::Schema;
use super::spec::Spec;
use serde_json::Value;
use std::collections::BTreeSet;

/// As many formats are told of at most.
const WARNINGS_MAX: usize = 100;

/// Formats of texts, without the hyphens, which do not count.
const FORMATS: [&str; 26] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Unknown formats, but for those that `old` had.
pub(in super::super) fn warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let old = old.map(|old| unknown_formats(&Spec::of(old))).unwrap_or_default();
    let old: BTreeSet<&str> = old.into_iter().collect();
    let new = unknown_formats(&Spec::of(object));
    let new = new.into_iter().filter(|format| !old.contains(format));
    let told = new.map(|format| format!("unrecognized format {}", super::quoted(format).0));
    told.take(WARNINGS_MAX).collect()
}

fn unknown_formats<'a>(spec: &Spec<'a>) -> Vec<&'a str> {
    let mut out = Vec::new();
    for schema in spec.schemas() {
        schema.any(&mut |node| {
            let format = node.text("format");
            if !format.is_empty() && !is_known(format, node) {
                out.push(format);
            }
            false
        });
    }
    out
}

fn is_known(format: &str, schema: Schema) -> bool {
    match schema.kind() {
        "" | "string" => FORMATS.contains(&format.replace('-', "").as_str()),
        "integer" => ["int32", "int64"].contains(&format),
        "number" => ["float", "double"].contains(&format),
        _ => false,
    }
}
