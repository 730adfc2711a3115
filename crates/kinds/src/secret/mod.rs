//! Secret: bytes for pods that lists do not show. Source: core/v1 API reference.

mod token;

pub use token::{ISSUER as TOKEN_ISSUER, TOKENS, account_of as account_of_token};

use crate::configmap::check_key;
use crate::json::{ensure_object, get, has, is_true, members, put, put_default, string, take, texts};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{Errors, Path, Res, Snapshot, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const SECRETS: Res = Res::new("", "secrets");

pub fn row() -> Row {
    Row {
        res: SECRETS,
        version: "v1",
        kind: "Secret",
        singular: "secret",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Secret",
        generation: false,
        status: false,
        scale: None,
        selectable: &["type"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Type", "string").shows("core.v1.Secret", "type"),
                Column::new("Data", "string").shows("core.v1.Secret", "data"),
                Column::AGE,
            ]
        },
        rules: Arc::new(Secret),
    }
}

/// All values together, in bytes.
const MAX_SIZE: usize = 1 << 20;
const IMMUTABLE_SET: &str = "field is immutable when `immutable` is set";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

struct Secret;

impl Rules for Secret {
    fn default(&self, object: &mut Value) {
        put_default(object, "type", "Opaque");
        write_text(object);
    }

    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, _now: Timestamp) {
        // Clients that leave the type out on update mean the one that it has.
        if let Some(old) = old.filter(|_| write == Write::Update)
            && string(object, "type").is_empty()
        {
            put(object, "type", get(old, "type").clone());
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (path, mut size) = (Path::new("data"), 0);
        for (key, value) in texts(object, "data") {
            check_key(key, &path.key(key), errors);
            size += decoded_len(value);
        }
        if size > MAX_SIZE {
            errors.too_long(&path, MAX_SIZE);
        }
        by_type(object, errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => Check::CHANGES_FIRST,
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, _write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        let same = |field: &str| get(object, field) == get(old, field);
        crate::check::immutable(get(object, "type"), get(old, "type"), &Path::new("type"), errors);
        if !is_true(old, "immutable") {
            return;
        }
        if !is_true(object, "immutable") {
            errors.forbidden(&Path::new("immutable"), IMMUTABLE_SET);
        }
        if !same("data") {
            errors.forbidden(&Path::new("data"), IMMUTABLE_SET);
        }
    }

    fn wants_token(&self, object: &Value, seen: &Snapshot) -> Option<Value> {
        token::claims(object, seen)
    }

    fn put_token(&self, object: &mut Value, token: &str) {
        token::put_token(object, token);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            string(object, "type").into(),
            members(object, "data").count().into(),
            age(object, now).into(),
        ]
    }
}

/// `stringData` is written only: it goes into `data` and is gone.
fn write_text(object: &mut Value) {
    let Some(Value::Object(given)) = take(object, "stringData") else {
        return;
    };
    if given.is_empty() {
        return;
    }
    let Some(data) = ensure_object(object, "data") else {
        return;
    };
    for (key, value) in &given {
        put(data, key, STANDARD.encode(value.as_str().unwrap_or_default()));
    }
}

/// Bytes that a base64 text stands for.
pub(crate) fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn by_type(object: &Value, errors: &mut Errors) {
    let data = get(object, "data");
    let path = Path::new("data");
    match string(object, "type") {
        token::TYPE => {
            let account = texts(get(object, "metadata"), "annotations").find(|(k, _)| *k == ACCOUNT_NAME);
            if account.is_none_or(|(_, name)| name.is_empty()) {
                let path = Path::new("metadata").child("annotations").key(ACCOUNT_NAME);
                errors.required(&path, "");
            }
        }
        "kubernetes.io/dockercfg" => docker(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => docker(data, ".dockerconfigjson", errors),
        // One of both is enough.
        "kubernetes.io/basic-auth" if !has(data, "username") && !has(data, "password") => {
            errors.required(&path.key("username"), "");
            errors.required(&path.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if string(data, "ssh-privatekey").is_empty() => {
            errors.required(&path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !has(data, key) {
                    errors.required(&path.key(key), "");
                }
            }
        }
        _ => {}
    }
}

/// A registry's credentials: there, and JSON.
fn docker(data: &Value, key: &str, errors: &mut Errors) {
    let path = Path::new("data").key(key);
    if !has(data, key) {
        errors.required(&path, "");
        return;
    }
    let json = STANDARD
        .decode(string(data, key))
        .map_err(|e| e.to_string())
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|e| json_message(&bytes, &e)));
    match json {
        Ok(Value::Object(_) | Value::Null) => {}
        Ok(other) => {
            let found = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            let why =
                format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
            errors.invalid(&path, "<secret contents redacted>", &why);
        }
        Err(why) => errors.invalid(&path, "<secret contents redacted>", &why),
    }
}

/// What upstream's parser says of a text that is not JSON, as far as it is told alike.
pub(crate) fn json_message(bytes: &[u8], error: &serde_json::Error) -> String {
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    match first {
        _ if error.to_string().starts_with("trailing characters") => {
            let line = bytes.split(|b| *b == b'\n').nth(error.line().saturating_sub(1));
            let byte = line.and_then(|line| line.get(error.column().saturating_sub(1)));
            let shown = byte.map_or(' ', |byte| char::from(*byte));
            format!("invalid character '{shown}' after top-level value")
        }
        _ if error.is_eof() => "unexpected end of JSON input".to_string(),
        Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') | None => error.to_string(),
        Some(b'\'') => "invalid character '\\'' looking for beginning of value".to_string(),
        // Bytes are shown as characters of Latin-1.
        Some(byte) => format!(
            "invalid character '{}' looking for beginning of value",
            char::from(*byte)
        ),
    }
}
